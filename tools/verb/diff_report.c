/* SPDX-License-Identifier: BSD-2-Clause */
/* What vhd diff says: see diff.h. Ranges may be many, so nothing is kept. */
#include <inttypes.h>
#include <stdio.h>

#include "diff.h"
#include "tools/inspect/picture.h"

static bool has_parts(const struct diff *d)
{
	return d->parts && d->parts->part_count;
}

static const char *part_label(const struct diff *d, unsigned i, char *buf,
			      size_t n)
{
	if (i == d->parts->part_count)
		snprintf(buf, n, "outside partitions");
	else
		inspect_part_label(d->parts, &d->parts->parts[i], buf, n);
	return buf;
}

void diff_print_range(const struct diff *d)
{
	char label[256];

	if (d->quiet)
		return;
	if (d->json) {
		printf("%s\n    { \"start\": %" PRIu64 ", \"length\": %" PRIu64
		       ", \"partition\": ",
		       d->ranges ? "," : "", d->from_bytes, d->len_bytes);
		if (has_parts(d) && d->part < d->parts->part_count)
			printf("%d }", d->parts->parts[d->part].number);
		else
			printf("null }");
		return;
	}
	if (!d->ranges)
		printf("%-16s%s\n", "Start",
		       has_parts(d) ? "Length          Partition" : "Length");
	if (has_parts(d))
		printf("%-16" PRIu64 "%-16" PRIu64 "%s\n", d->from_bytes,
		       d->len_bytes, part_label(d, d->part, label,
						sizeof(label)));
	else
		printf("%-16" PRIu64 "%" PRIu64 "\n", d->from_bytes,
		       d->len_bytes);
}

static void print_path(const char *key, const char *path)
{
	char shown[VERB_SHOWN_BYTES];

	printf("  \"%s\": ", key);
	cli_json_print_text(path ? verb_shown(path, shown) : NULL);
	puts(",");
}

void diff_print_begin(const struct diff *d)
{
	if (!d->json || d->quiet)
		return;
	puts("{");
	print_path(d->two ? "old" : "parent", d->path[0]);
	print_path(d->two ? "new" : "child", d->path[1]);
	printf("  \"ranges\": [");
}

static void end_json(const struct diff *d)
{
	unsigned count = d->parts ? d->parts->part_count : 0;
	const char *between = "";

	printf("%s],\n  \"range-bytes\": %" PRIu64 ",\n",
	       d->ranges ? "\n  " : "", d->range_bytes);
	if (d->two)
		printf("  \"set-bytes\": null,\n  \"identical-bytes\": null,\n");
	else if (d->content)
		printf("  \"set-bytes\": %" PRIu64
		       ",\n  \"identical-bytes\": %" PRIu64 ",\n",
		       d->set_bytes, d->set_bytes - d->range_bytes);
	else
		printf("  \"set-bytes\": %" PRIu64
		       ",\n  \"identical-bytes\": null,\n",
		       d->set_bytes);
	printf("  \"sizes\": [%" PRIu64 ", %" PRIu64 "],\n", d->size_bytes[0],
	       d->size_bytes[1]);
	printf("  \"partitions\": [");
	for (unsigned i = 0; i < count; i++) {
		printf("%s\n    { \"number\": %d, \"bytes\": %" PRIu64 " }",
		       between, d->parts->parts[i].number, d->part_bytes[i]);
		between = ",";
	}
	printf("%s],\n  \"outside-bytes\": %" PRIu64
	       ",\n  \"same\": %s\n}\n",
	       count ? "\n  " : "", d->part_bytes[count],
	       d->range_bytes ? "false" : "true");
}

static void end_parts(const struct diff *d)
{
	char size[CLI_SIZE_TEXT], label[256];

	for (unsigned i = 0; has_parts(d) && i <= d->parts->part_count; i++)
		if (d->part_bytes[i])
			printf("%-10s %s\n",
			       cli_size_text(d->part_bytes[i], size,
					     sizeof(size)),
			       part_label(d, i, label, sizeof(label)));
}

static void end_text(const struct diff *d)
{
	char size[CLI_SIZE_TEXT], same[CLI_SIZE_TEXT], shown[VERB_SHOWN_BYTES];

	verb_shown(d->path[1], shown);
	cli_size_text(d->range_bytes, size, sizeof(size));
	if (d->ranges) {
		putchar('\n');
		end_parts(d);
		printf("%-10s in %" PRIu64 " range%s ", size, d->ranges,
		       d->ranges == 1 ? "" : "s");
	}
	if (d->two)
		printf(d->ranges ? "of %s differ\n" : "%s holds the same\n",
		       shown);
	else if (!d->set_bytes)
		printf("%s holds nothing itself\n", shown);
	else if (!d->content)
		printf("set in %s\n", shown);
	else if (!d->ranges)
		printf("%s holds %s itself, all as its parent has it\n", shown,
		       cli_size_text(d->set_bytes, same, sizeof(same)));
	else
		printf("of %s differ from its parent; %s more are set, but "
		       "the same\n",
		       shown, cli_size_text(d->set_bytes - d->range_bytes, same,
					    sizeof(same)));
	if (d->two && d->size_bytes[0] != d->size_bytes[1])
		printf("sizes %" PRIu64 " and %" PRIu64
		       "; the shorter counts as zero behind its end\n",
		       d->size_bytes[0], d->size_bytes[1]);
}

void diff_print_end(const struct diff *d)
{
	if (d->quiet)
		return;
	if (d->json)
		end_json(d);
	else
		end_text(d);
}
