/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd map: where the bytes of a disk are. Extents as long as they can be, of
 * one kind each; as a table, or as JSON in the shape of `qemu-img map`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "verb.h"

enum {
	OPT_FORMAT = 256,
	OPT_HOST_HOLES,
	OPT_JSON,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
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
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"force", 'f', NULL,
	 "look although another program has it open for writing;\n"
	 "what is shown may be torn"},
	{0},
};

/* What is known of one layer's file: a hole, and a piece that is none. */
struct holes {
	uint64_t hole_from;
	uint64_t hole_to;
	uint64_t data_from;
	uint64_t data_to;
};

struct map {
	const char *prog;
	const char *path;
	struct vhd_open_opts opts;
	struct verb_parents parents;
	bool host_holes;
	bool json;
	struct vhd *img;
	uint32_t layers;
	uint64_t size_bytes;
	bool any; /* an extent was printed */
	struct holes holes[VHD_CHAIN_MAX];
};

/* An extent of the disk. `off` holds for DATA, and for ZERO that has a place
 * in the file.
 */
enum kind { KIND_DATA, KIND_ZERO, KIND_HOLE, KIND_PARENT };

struct extent {
	uint64_t start;
	uint64_t len;
	uint64_t off;
	enum kind kind;
	bool placed;
	unsigned layer; /* that decided */
};

/* -------------------------------------------------------- command line -- */

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct map *m, int argc, char **argv)
{
	struct cli_options o = {
		.prog = m->prog,
		.usage = "[options] FILE",
		.about = "Show where an image has data.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int id, status = CLI_OK;

	while ((id = cli_options_next(&o, &status)) > 0) {
		if (id == OPT_FORMAT)
			status = verb_format(m->prog, "format", o.value, true,
					     &m->opts.format);
		else if (id == OPT_HOST_HOLES)
			m->host_holes = true;
		else if (id == OPT_JSON)
			m->json = true;
		else if (id == OPT_PARENT_DIR)
			m->parents.dir = o.value;
		else if (id == OPT_NO_PARENT)
			m->parents.none = true;
		else if (id == OPT_LARGER_CHILD)
			m->opts.larger_child = true;
		else
			m->opts.force_read = true;
		if (status)
			return status;
	}
	if (id < 0)
		return status;
	status = verb_parents_check(m->prog, &m->parents);
	if (status)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(m->prog, "needs one file");
	m->path = argv[o.first_operand];
	return -1;
}

/* --------------------------------------------------------------- holes -- */

/* Learn what is at `at` in a file. What has no holes is data. */
static void learn(struct holes *h, int fd, uint64_t at)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == ENXIO) {
		h->hole_from = at;
		h->hole_to = UINT64_MAX;
		return;
	}
	if (data < 0)
		data = (off_t)at;
	if ((uint64_t)data > at) {
		h->hole_from = at;
		h->hole_to = (uint64_t)data;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	h->data_from = (uint64_t)data;
	h->data_to = hole > data ? (uint64_t)hole : UINT64_MAX;
}

/* Cut a piece of data where its file goes from hole to data or back. A sector
 * that is partly a hole is data.
 */
static void split_at_holes(struct holes *h, int fd, struct extent *x)
{
	bool hole;
	uint64_t end;

	if ((x->off < h->data_from || x->off >= h->data_to) &&
	    (x->off < h->hole_from || x->off >= h->hole_to))
		learn(h, fd, x->off);
	hole = x->off >= h->hole_from && x->off < h->hole_to;
	end = hole ? h->hole_to : h->data_to;
	if (end - x->off < x->len) {
		x->len = end - x->off;
		if (!hole)
			x->len += VHD_SECTOR_BYTES - 1;
		x->len &= ~(uint64_t)(VHD_SECTOR_BYTES - 1);
		if (!x->len) {
			hole = false;
			x->len = VHD_SECTOR_BYTES;
		}
	}
	if (hole)
		x->kind = KIND_ZERO;
}

/* Of a raw or fixed layer the file system has the only map there is. */
static bool host_map(const struct map *m, const struct vhd_layer *layer)
{
	return layer->fd >= 0 &&
	       (m->host_holes || layer->info->format == VHD_FORMAT_RAW ||
		layer->info->format == VHD_FORMAT_FIXED);
}

/* ------------------------------------------------------------- extents -- */

static int look(struct map *m, uint64_t at, struct extent *x,
		struct vhd_err *err)
{
	static const enum kind kinds[] = {
		[VHD_RUN_FILE] = KIND_DATA,
		[VHD_RUN_ZERO] = KIND_ZERO,
		[VHD_RUN_HOLE] = KIND_HOLE,
		[VHD_RUN_PARENT] = KIND_PARENT,
	};
	struct vhd_layer layer;
	struct vhd_run run;
	unsigned i;
	int rc = vhd_map_chain(m->img, at / VHD_SECTOR_BYTES,
			       (m->size_bytes - at) / VHD_SECTOR_BYTES, &run,
			       &i, err);

	if (rc)
		return rc;
	*x = (struct extent){
		.start = at,
		.len = run.sectors * VHD_SECTOR_BYTES,
		.off = run.off_bytes,
		.kind = kinds[run.kind],
		.placed = run.kind == VHD_RUN_FILE,
		.layer = i,
	};
	if (x->placed && !vhd_layer(m->img, i, &layer) && host_map(m, &layer))
		split_at_holes(&m->holes[i], layer.fd, x);
	return 0;
}

static bool joins(const struct extent *a, const struct extent *b)
{
	return a->kind == b->kind && a->placed == b->placed &&
	       a->layer == b->layer &&
	       (!a->placed || a->off + a->len == b->off);
}

static const char *const kind_words[] = {
	[KIND_DATA] = "data",
	[KIND_ZERO] = "zero",
	[KIND_HOLE] = "hole",
	[KIND_PARENT] = "parent",
};

/* Numbers and fixed words only: nothing here needs escaping. */
static void print_json(const struct map *m, const struct extent *x)
{
	bool parent = x->kind == KIND_PARENT;

	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s",
	       m->any ? ",\n" : "[", x->start, x->len, x->layer + parent,
	       parent ? "false" : "true",
	       x->kind == KIND_ZERO || x->kind == KIND_HOLE ? "true" : "false",
	       x->kind == KIND_DATA ? "true" : "false");
	if (x->placed)
		printf(", \"offset\": %" PRIu64, x->off);
	putchar('}');
}

static void print_text(const struct map *m, const struct extent *x)
{
	char offset[24] = "", shown[VERB_SHOWN_BYTES];
	struct vhd_layer layer;

	if (!m->any)
		printf("%-16s%-16s%-8s%s%s\n", "Start", "Length", "Kind",
		       "File offset", m->layers > 1 ? "     File" : "");
	printf("%-16" PRIu64 "%-16" PRIu64, x->start, x->len);
	if (x->placed)
		snprintf(offset, sizeof(offset), "%" PRIu64, x->off);
	if (m->layers > 1 && !vhd_layer(m->img, x->layer, &layer))
		printf("%-8s%-16s%s\n", kind_words[x->kind], offset,
		       verb_shown(layer.path ? layer.path : "", shown));
	else if (x->placed)
		printf("%-8s%s\n", kind_words[x->kind], offset);
	else
		printf("%s\n", kind_words[x->kind]);
}

static void print(struct map *m, const struct extent *x)
{
	if (m->json)
		print_json(m, x);
	else
		print_text(m, x);
	m->any = true;
}

static int walk(struct map *m, struct vhd_err *err)
{
	struct extent now = {0}, next;
	int rc;

	for (uint64_t at = 0; at < m->size_bytes; at += next.len) {
		rc = look(m, at, &next, err);
		if (rc)
			return rc;
		if (now.len && joins(&now, &next)) {
			now.len += next.len;
			continue;
		}
		if (now.len)
			print(m, &now);
		now = next;
	}
	print(m, &now);
	if (m->json)
		puts("]");
	return 0;
}

/* ----------------------------------------------------------- the image -- */

/* Without its parents a differencing disk has a map, too: what is not here is
 * there. Nothing else that refuses an image is passed over.
 */
static int open_image(struct map *m, struct vhd_err *err)
{
	int rc;

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
static int run(struct map *m, int argc, char **argv)
{
	struct vhd_err err = {0};
	const struct vhd_info *info;
	int rc, status = parse(m, argc, argv);

	if (status >= 0)
		return status;
	rc = open_image(m, &err);
	if (!rc) {
		info = vhd_get_info(m->img);
		m->size_bytes = info->size_bytes;
		m->layers = info->layers;
		rc = walk(m, &err);
	}
	vhd_abandon(m->img);
	verb_parents_fini(&m->parents);
	if (!rc)
		return verb_finish(m->prog, NULL, CLI_OK);
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
