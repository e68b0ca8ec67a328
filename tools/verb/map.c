/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd map: where the bytes of a disk are. Extents as long as they can be, of
 * one kind each; as a table, or as JSON in the shape of `qemu-img map`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/inspect/extent.h"
#include "verb.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_FORMAT = 256,
	OPT_HOST_HOLES,
	OPT_JSON,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_RAW_PARENT,
	OPT_START,
	OPT_LENGTH,
};

static const struct cli_option options[] = {
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as raw, fixed or dynamic instead of\n"
	 "finding out by looking"},
	{"host-holes", OPT_HOST_HOLES, NULL,
	 "show holes of the host's file inside blocks as zero,\n"
	 "too (of raw and fixed images always)"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "differencing disks, which are in or below DIR, may have\n"
	 "their parents there (default: their own directories)"},
	{"no-parent", OPT_NO_PARENT, NULL,
	 "do not look for parents; show what they would have"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let them be larger than their parents; the rest is zero"},
	{"raw-parent", OPT_RAW_PARENT, NULL,
	 "one that blktap made on a raw disk may name it"},
	{"start-offset", OPT_START, "SIZE",
	 "begin at this offset of the disk"},
	{"max-length", OPT_LENGTH, "SIZE", "show no more than this much of it"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"force", 'f', NULL,
	 "look although another program has it open for writing;\n"
	 "what is shown may be torn"},
	{0},
};

struct map {
	const char *prog;
	const char *path;
	struct vhd_open_opts opts;
	struct verb_parents parents;
	bool host_holes;
	bool json;
	uint64_t start_bytes;
	uint64_t most_bytes;
	struct vhd *img;
	uint32_t layers;
	bool any; /* an extent was printed */
	uint64_t sum_bytes[EXTENT_PARENT + 1];
	struct extents extents;
};

/* -------------------------------------------------------- command line -- */

/* --start-offset and --max-length: whole sectors. */
static int part_apply(struct map *m, int id, const char *text)
{
	const char *name = id == OPT_START ? "start-offset" : "max-length";
	uint64_t *to = id == OPT_START ? &m->start_bytes : &m->most_bytes;
	int status = verb_size(m->prog, name, text, to);

	if (status)
		return status;
	if (*to % VHD_SECTOR_BYTES || (!*to && id == OPT_LENGTH))
		return cli_usage(m->prog,
				 "--%s %s: not a whole number of 512-byte "
				 "sectors",
				 name, text);
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{OPT_HOST_HOLES, CLI_SETS(struct map, host_holes)},
	{OPT_JSON, CLI_SETS(struct map, json)},
	{OPT_PARENT_DIR, CLI_TAKES(struct map, parents.dir)},
	{OPT_NO_PARENT, CLI_SETS(struct map, parents.none)},
	{OPT_LARGER_CHILD, CLI_SETS(struct map, opts.larger_child)},
	{OPT_RAW_PARENT, CLI_SETS(struct map, opts.raw_parent)},
	{'f', CLI_SETS(struct map, opts.force_read)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct map *m = into;

	switch (id) {
	case OPT_FORMAT:
		return verb_format(m->prog, "format", value, true,
				   &m->opts.format);
	default:
		return part_apply(m, id, value);
	}
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct map *m, int argc, char **argv)
{
	struct cli_options o = {
		.prog = m->prog,
		.usage = "[options] FILE",
		.about = "Show where an image has data.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = m,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	status = verb_parents_check(m->prog, &m->parents);
	if (status)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(m->prog, "needs one file");
	m->path = argv[o.first_operand];
	return -1;
}

/* ------------------------------------------------------------- extents -- */

/* As qemu-img has it, and in chains, which that does not follow, the file. */
static void print_json(const struct map *m, const struct extent *x)
{
	bool parent = x->kind == EXTENT_PARENT;
	struct vhd_layer layer;

	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s",
	       m->any ? ",\n" : "[", x->start_bytes, x->len_bytes,
	       x->layer + parent, parent ? "false" : "true",
	       x->kind == EXTENT_ZERO || x->kind == EXTENT_HOLE ? "true"
								: "false",
	       x->kind == EXTENT_DATA ? "true" : "false");
	if (x->placed)
		printf(", \"offset\": %" PRIu64, x->off_bytes);
	if (x->placed && m->layers > 1 &&
	    !vhd_layer(m->img, x->layer, &layer) && layer.path) {
		char shown[VERB_SHOWN_BYTES];

		printf(", \"filename\": ");
		cli_json_print_text(verb_shown(layer.path, shown));
	}
	putchar('}');
}

static void print_text(const struct map *m, const struct extent *x)
{
	char offset[24] = "", shown[VERB_SHOWN_BYTES];
	struct vhd_layer layer;

	if (!m->any)
		printf("%-16s%-16s%-8s%s%s\n", "Start", "Length", "Kind",
		       "File offset", m->layers > 1 ? "     File" : "");
	printf("%-16" PRIu64 "%-16" PRIu64, x->start_bytes, x->len_bytes);
	if (x->placed)
		snprintf(offset, sizeof(offset), "%" PRIu64, x->off_bytes);
	if (m->layers > 1 && !vhd_layer(m->img, x->layer, &layer))
		printf("%-8s%-16s%s\n", extent_word(x->kind), offset,
		       verb_shown(layer.path ? layer.path : "", shown));
	else if (x->placed)
		printf("%-8s%s\n", extent_word(x->kind), offset);
	else
		printf("%s\n", extent_word(x->kind));
}

static void print(struct map *m, const struct extent *x)
{
	m->sum_bytes[x->kind] += x->len_bytes;
	if (m->json)
		print_json(m, x);
	else
		print_text(m, x);
	m->any = true;
}

/* What the table adds up to, in words. */
static void print_sum(const struct map *m, uint64_t len)
{
	char size[CLI_SIZE_TEXT];
	const char *before = ": ";

	printf("%-16s%-16" PRIu64 "%s", "Total", len,
	       cli_size_text(len, size, sizeof(size)));
	for (int kind = EXTENT_DATA; kind <= EXTENT_PARENT; kind++) {
		if (!m->sum_bytes[kind])
			continue;
		printf("%s%s %s", before, extent_word((enum extent_kind)kind),
		       cli_size_text(m->sum_bytes[kind], size, sizeof(size)));
		before = ", ";
	}
	putchar('\n');
}

static int walk(struct map *m, struct vhd_err *err)
{
	struct extent now = {0}, next;
	uint64_t end = m->extents.size_bytes;
	int rc;

	if (m->start_bytes >= end)
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"the disk has %" PRIu64 " bytes; nothing is at "
				"%" PRIu64, end, m->start_bytes);
	if (m->most_bytes && m->most_bytes < end - m->start_bytes)
		end = m->start_bytes + m->most_bytes;
	for (uint64_t at = m->start_bytes; at < end; at += next.len_bytes) {
		rc = extents_at(&m->extents, at, &next, err);
		if (rc)
			return rc;
		if (next.len_bytes > end - at)
			next.len_bytes = end - at;
		if (now.len_bytes && extent_joins(&now, &next)) {
			now.len_bytes += next.len_bytes;
			continue;
		}
		if (now.len_bytes)
			print(m, &now);
		now = next;
	}
	print(m, &now);
	if (m->json)
		puts("]");
	else
		print_sum(m, end - m->start_bytes);
	return 0;
}

/* ----------------------------------------------------------- the image -- */

/* Without its parents a differencing disk has a map, too: what is not here is
 * there. Nothing else that refuses an image is passed over.
 */
static int open_image(struct map *m, struct vhd_err *err)
{
	static const struct vhd_nbd_opts remote; /* all by default */
	int rc;

	m->opts.nbd = &remote;
	m->opts.parent_dir = verb_parent_dir(&m->parents, m->path);
	rc = vhd_open(m->path, &m->opts, &m->img, err);
	if (!rc || err->why != VHD_WHY_NEEDS_PARENT || !m->parents.none)
		return rc;
	m->opts.inspect = true;
	rc = vhd_open(m->path, &m->opts, &m->img, err);
	if (rc || vhd_get_info(m->img)->faults == 1)
		return rc;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_READ_ONLY_LAYOUT, 0,
			"a damaged differencing disk: see vhd check");
}

/* `m` is too large for the stack of some. */
static int sandbox(struct map *m)
{
	struct sandbox s = {.role = SANDBOX_READER};

	sandbox_allow_image(&s, m->path, verb_parent_dir(&m->parents, m->path));
	verb_parents_fini(&m->parents);
	return sandbox_enter(&s, m->prog);
}

static int run(struct map *m, int argc, char **argv)
{
	struct vhd_err err = {0};
	int rc, status = parse(m, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(m);
	if (status != CLI_OK)
		return status;
	rc = open_image(m, &err);
	if (!rc) {
		m->layers = vhd_get_info(m->img)->layers;
		extents_init(&m->extents, m->img);
		m->extents.host_holes = m->host_holes;
		rc = walk(m, &err);
	}
	vhd_abandon(m->img);
	verb_parents_fini(&m->parents);
	if (!rc)
		return cli_json_end(m->prog, NULL, CLI_OK);
	fflush(stdout);
	return cli_fail(m->prog, m->path, &err);
}

int verb_map(const char *prog, int argc, char **argv)
{
	struct map *m = calloc(1, sizeof(*m));
	int status;

	if (!m) {
		fprintf(stderr, "%s: out of memory\n", prog);
		return CLI_IO;
	}
	m->prog = prog;
	status = run(m, argc, argv);
	free(m);
	return status;
}
