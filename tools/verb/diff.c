/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd diff: what a differencing disk changes, or where two images differ.
 *
 * Of one image: the sectors that it holds itself; with --content only those
 * that differ from what its parents hold there. Of two: the sectors that
 * differ. Ranges are as long as they can be, and cut at partitions' edges.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "tools/inspect/picture.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_CONTENT = 256,
	OPT_FORMAT,
	OPT_NO_PARTITIONS,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_DIRECT,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"content", OPT_CONTENT, NULL,
	 "of one image: only what differs from the parent's\n"
	 "content (of two images always)"},
	{"no-partitions", OPT_NO_PARTITIONS, NULL,
	 "do not tell in which partitions the ranges are"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the files as raw, fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "differencing disks, which are in or below DIR, may have\n"
	 "their parents there (default: their own directories)"},
	{"no-parent", OPT_NO_PARENT, NULL,
	 "of one image: do not look for its parent"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let them be larger than their parents; the rest is zero"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors; see the exit status"},
	{0},
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_CONTENT, CLI_SETS(struct diff, content)},
	{OPT_NO_PARTITIONS, CLI_SETS(struct diff, no_partitions)},
	{OPT_PARENT_DIR, CLI_TAKES(struct diff, parents.dir)},
	{OPT_NO_PARENT, CLI_SETS(struct diff, parents.none)},
	{OPT_LARGER_CHILD, CLI_SETS(struct diff, larger_child)},
	{OPT_DIRECT, CLI_SETS(struct diff, direct)},
	{OPT_JSON, CLI_SETS(struct diff, json)},
	{'q', CLI_SETS(struct diff, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct diff *d = into;

	(void)id; /* the only one */
	return verb_format(d->prog, "format", value, true, &d->format);
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct diff *d, int argc, char **argv)
{
	struct cli_options o = {
		.prog = d->prog,
		.usage = "[options] CHILD\n[options] OLD NEW",
		.about = "Show what a differencing disk changes, or where two "
			 "images differ.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = d,
		.argc = argc,
		.argv = argv,
	};
	int status, count;

	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	status = verb_parents_check(d->prog, &d->parents);
	if (status)
		return status;
	count = argc - o.first_operand;
	if (count < 1 || count > 2)
		return cli_usage(d->prog,
				 "needs a differencing disk, or two images");
	d->two = count == 2;
	if (d->parents.none && (d->two || d->content))
		return cli_usage(d->prog, "--no-parent is for one image, "
					  "without --content");
	d->path[1] = argv[o.first_operand + count - 1];
	d->path[0] = d->two ? argv[o.first_operand] : NULL;
	return -1;
}

/* ---------------------------------------------------------- partitions -- */

/* The partition at `at`, or the number of them for none, and where that
 * answer ends.
 */
static unsigned part_at(const struct diff *d, uint64_t at, uint64_t *end)
{
	const struct inspect_content *c = d->parts;
	unsigned count = c ? c->part_count : 0;

	*end = UINT64_MAX;
	for (unsigned i = 0; i < count; i++) {
		const struct inspect_part *p = &c->parts[i];

		if (p->past_end || !p->len_bytes ||
		    inspect_part_extended(c, p))
			continue;
		if (at >= p->off_bytes && at - p->off_bytes < p->len_bytes) {
			*end = p->off_bytes + p->len_bytes;
			return i;
		}
		if (p->off_bytes > at && p->off_bytes < *end)
			*end = p->off_bytes;
	}
	return count;
}

static void find_parts(struct diff *d)
{
	const struct vhd_info *info = vhd_get_info(d->in[1].img);

	if (!d->no_partitions && !info->faults)
		d->parts = calloc(1, sizeof(*d->parts));
	if (d->parts)
		inspect_content_find(d->parts, d->in[1].img, d->path[1]);
	d->part_bytes = calloc((d->parts ? d->parts->part_count : 0) + 1,
			       sizeof(*d->part_bytes));
}

/* -------------------------------------------------------------- ranges -- */

static void end_range(struct diff *d)
{
	if (!d->len_bytes)
		return;
	diff_print_range(d);
	d->ranges++;
	d->len_bytes = 0;
}

static int add_range(void *ctx, uint64_t off, uint64_t len)
{
	struct diff *d = ctx;

	while (len) {
		uint64_t end;
		unsigned part = part_at(d, off, &end);
		uint64_t n = end - off < len ? end - off : len;

		if (d->len_bytes && (d->from_bytes + d->len_bytes != off ||
				     d->part != part))
			end_range(d);
		if (!d->len_bytes)
			d->from_bytes = off;
		d->part = part;
		d->len_bytes += n;
		d->range_bytes += n;
		d->part_bytes[part] += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* The next range that the child holds itself, from `*off` on. */
static int own_next(struct diff *d, uint64_t *off, uint64_t *len,
		    struct vhd_err *err)
{
	struct extent e;

	*len = 0;
	for (; *off < d->size_bytes[1]; *off += e.len_bytes) {
		int rc = extents_layer_at(&d->extents, 0, *off, &e, err);

		if (rc)
			return rc;
		if (e.kind != EXTENT_DATA)
			continue;
		*len = e.len_bytes;
		break;
	}
	return 0;
}

static int own_ranges(struct diff *d, struct vhd_err *err)
{
	uint64_t off = 0, len;
	int rc;

	while (!(rc = own_next(d, &off, &len, err)) && len) {
		add_range(d, off, len);
		off += len;
	}
	d->set_bytes = d->range_bytes;
	return rc;
}

/* -------------------------------------------- child and parent compared -- */

/* Both sides are read only where the child has sectors of its own: it gives
 * the pieces, the parent none.
 */
struct layer_source {
	struct convert_source source;
	struct diff *d;
	int side;
};

static struct layer_source *layer_of(struct convert_source *s)
{
	return (struct layer_source *)s;
}

static int layer_next(struct convert_source *s, uint64_t unit_bytes,
		      uint64_t *off_bytes, uint64_t *len_bytes,
		      struct vhd_err *err)
{
	struct diff *d = layer_of(s)->d;
	uint64_t unit_end;
	int rc;

	*len_bytes = 0;
	if (!layer_of(s)->side)
		return 0;
	rc = own_next(d, off_bytes, len_bytes, err);
	unit_end = (*off_bytes | (unit_bytes - 1)) + 1;
	if (*len_bytes > unit_end - *off_bytes)
		*len_bytes = unit_end - *off_bytes;
	d->set_bytes += *len_bytes;
	return rc;
}

static void layer_read(struct convert_source *s, struct convert_io *io)
{
	struct layer_source *l = layer_of(s);

	convert_submit(s->job, l->d->in[l->side].img, VHD_OP_READ, s->path,
		       io);
}

static void layer_close(struct convert_source *s)
{
	struct layer_source *l = layer_of(s);

	vhd_queue_detach(s->job->queue, l->d->in[l->side].img);
}

static const struct convert_source_ops layer_ops = {
	.next = layer_next,
	.read = layer_read,
	.close = layer_close,
};

static int layer_init(struct layer_source *l, struct convert_job *job,
		      struct diff *d, int side, struct vhd_err *err)
{
	*l = (struct layer_source){
		.source = {
			.ops = &layer_ops,
			.job = job,
			.path = d->path[side],
			.size_bytes = d->size_bytes[side],
		},
		.d = d,
		.side = side,
	};
	job->blame = d->path[side];
	return vhd_queue_attach(job->queue, d->in[side].img, err);
}

static int compare_layers(struct diff *d, struct convert_job *job,
			  struct vhd_err *err)
{
	const struct convert_differ differ = {add_range, d};
	struct layer_source ends[2];
	int rc = layer_init(&ends[0], job, d, 0, err);

	if (rc)
		return rc;
	rc = layer_init(&ends[1], job, d, 1, err);
	if (!rc) {
		rc = convert_differences(job, &ends[0].source, &ends[1].source,
					 &differ, err);
		convert_source_close(&ends[1].source);
	}
	convert_source_close(&ends[0].source);
	return rc;
}

static int compare_images(struct diff *d, struct convert_job *job,
			  struct vhd_err *err)
{
	const struct convert_differ differ = {add_range, d};
	struct convert_image_source *ends = calloc(2, sizeof(*ends));
	int rc;

	if (!ends)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = convert_image_source_init(&ends[0], job, &d->in[0], d->path[0],
				       err);
	if (rc)
		goto out;
	rc = convert_image_source_init(&ends[1], job, &d->in[1], d->path[1],
				       err);
	if (!rc) {
		rc = convert_differences(job, &ends[0].source, &ends[1].source,
					 &differ, err);
		convert_source_close(&ends[1].source);
	}
	convert_source_close(&ends[0].source);
out:
	free(ends);
	return rc;
}

/* ---------------------------------------------------------- the images -- */

static int open_one(struct diff *d, int i, const char **blame,
		    struct vhd_err *err)
{
	struct vhd_open_opts how = {
		.format = d->two || i ? d->format : VHD_FORMAT_AUTO,
		.direct = d->direct,
		.larger_child = d->larger_child,
	};
	int rc;

	/* A parent is sought where its child's were. */
	if (d->two || i)
		how.parent_dir = verb_parent_dir(&d->parents, d->path[i]);
	else
		how.parent_dir =
			d->parents.dir ? d->parents.dir : d->parents.own;
	*blame = d->path[i];
	rc = convert_input_open(&d->in[i], d->path[i], &how, err);
	if (rc && err->why == VHD_WHY_NEEDS_PARENT && d->parents.none) {
		how.inspect = true;
		rc = convert_input_open(&d->in[i], d->path[i], &how, err);
		if (!rc && vhd_get_info(d->in[i].img)->faults != 1)
			rc = vhd_fail(err, -EUCLEAN, VHD_WHY_READ_ONLY_LAYOUT,
				      0,
				      "a damaged differencing disk: see vhd "
				      "check");
	}
	if (!rc)
		d->size_bytes[i] = vhd_get_info(d->in[i].img)->size_bytes;
	return rc;
}

/* Of one image: the child, and with --content its parent once more, as a disk
 * of its own.
 */
static int open_child(struct diff *d, const char **blame, struct vhd_err *err)
{
	struct vhd_layer below;
	int rc = open_one(d, 1, blame, err);

	if (rc)
		return rc;
	if (vhd_get_info(d->in[1].img)->format != VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"is no differencing disk; name two images to "
				"see where they differ");
	if (vhd_layer(d->in[1].img, 1, &below) || !below.path)
		return 0;
	d->parent_path = strdup(below.path);
	if (!d->parent_path)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	d->path[0] = d->parent_path;
	d->size_bytes[0] = below.info->size_bytes;
	return d->content ? open_one(d, 0, blame, err) : 0;
}

static int compare(struct diff *d, struct convert_job *job,
		   struct vhd_err *err)
{
	int rc = convert_job_init(job, VHD_ENGINE_AUTO, err);
	uint64_t size = d->size_bytes[0] > d->size_bytes[1] ? d->size_bytes[0]
							    : d->size_bytes[1];

	if (rc)
		return rc;
	cli_progress_start(&job->progress, "comparing", size,
			   d->quiet || d->json);
	rc = d->two ? compare_images(d, job, err) : compare_layers(d, job, err);
	cli_progress_end(&job->progress);
	return rc;
}

static int sandbox(struct diff *d)
{
	struct sandbox s = {.role = SANDBOX_READER};

	for (int i = 0; i < 2; i++)
		if (d->path[i])
			sandbox_allow_image(&s, d->path[i],
					    verb_parent_dir(&d->parents,
							    d->path[i]));
	verb_parents_fini(&d->parents);
	return sandbox_enter(&s, d->prog);
}

static int run(struct diff *d, struct convert_job *job, struct vhd_err *err)
{
	int rc;

	if (d->two) {
		rc = open_one(d, 0, &job->blame, err);
		if (!rc)
			rc = open_one(d, 1, &job->blame, err);
	} else {
		rc = open_child(d, &job->blame, err);
	}
	if (rc)
		return rc;
	find_parts(d);
	if (!d->part_bytes)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	extents_init(&d->extents, d->in[1].img);
	diff_print_begin(d);
	rc = d->two || d->content ? compare(d, job, err) : own_ranges(d, err);
	if (rc)
		return rc;
	end_range(d);
	diff_print_end(d);
	return 0;
}

static void fini(struct diff *d, struct convert_job *job)
{
	convert_job_fini(job);
	convert_input_close(&d->in[0]);
	convert_input_close(&d->in[1]);
	verb_parents_fini(&d->parents);
	free(d->parent_path);
	free(d->part_bytes);
	free(d->parts);
	free(d);
}

int verb_diff(const char *prog, int argc, char **argv)
{
	struct convert_job job = {.signal_fd = -1, .wake_fd = -1};
	struct diff *d = calloc(1, sizeof(*d));
	struct vhd_err err = {0};
	int rc, status;

	if (!d) {
		fprintf(stderr, "%s: out of memory\n", prog);
		return CLI_IO;
	}
	d->prog = prog;
	d->in[0].fd = d->in[1].fd = -1;
	status = parse(d, argc, argv);
	if (status < 0) {
		status = sandbox(d);
		if (status == CLI_OK)
			status = -1;
	}
	if (status < 0) {
		rc = run(d, &job, &err);
		fflush(stdout);
		status = rc ? cli_fail(prog, job.blame, &err)
			    : cli_json_end(prog, NULL,
					  d->range_bytes ? CLI_DIFFERENT
							 : CLI_OK);
	}
	fini(d, &job);
	return status;
}
