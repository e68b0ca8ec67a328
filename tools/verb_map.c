/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd map: where the bytes of a disk are. Extents as long as they can be, of
 * one kind each; as a table, or as JSON in the shape of `qemu-img map`.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verb.h"

enum { OPT_FORMAT = 256, OPT_HOST_HOLES, OPT_JSON };

static const struct cli_option options[] = {
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as raw, fixed or dynamic instead of\n"
	 "finding out by looking"},
	{"host-holes", OPT_HOST_HOLES, NULL,
	 "show holes of the host's file inside blocks as zero,\n"
	 "too (of raw and fixed images always)"},
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
	bool host_holes;
	bool json;
	struct vhd *img;
	int fd; /* of the same file, for its holes */
	uint64_t size_bytes;
	uint64_t hole_from; /* a hole of the file, remembered */
	uint64_t hole_to;
	uint64_t data_from; /* and a piece that is none */
	uint64_t data_to;
	bool any; /* an extent was printed */
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
		else
			m->opts.force_read = true;
		if (status)
			return status;
	}
	if (id < 0)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(m->prog, "needs one file");
	m->path = argv[o.first_operand];
	return -1;
}

/* --------------------------------------------------------------- holes -- */

/* Learn what is at `at` in the file. What has no holes is data. */
static void learn(struct map *m, uint64_t at)
{
	off_t data = lseek(m->fd, (off_t)at, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == ENXIO) {
		m->hole_from = at;
		m->hole_to = UINT64_MAX;
		return;
	}
	if (data < 0)
		data = (off_t)at;
	if ((uint64_t)data > at) {
		m->hole_from = at;
		m->hole_to = (uint64_t)data;
	}
	hole = lseek(m->fd, data, SEEK_HOLE);
	m->data_from = (uint64_t)data;
	m->data_to = hole > data ? (uint64_t)hole : UINT64_MAX;
}

/* Cut a piece of data where the file goes from hole to data or back. A sector
 * that is partly a hole is data.
 */
static void split_at_holes(struct map *m, struct extent *x)
{
	bool hole;
	uint64_t end;

	if (x->off < m->data_from || x->off >= m->data_to)
		if (x->off < m->hole_from || x->off >= m->hole_to)
			learn(m, x->off);
	hole = x->off >= m->hole_from && x->off < m->hole_to;
	end = hole ? m->hole_to : m->data_to;
	if (end - x->off < x->len) {
		x->len = end - x->off;
		if (hole)
			x->len &= ~(uint64_t)511;
		else
			x->len = (x->len + 511) & ~(uint64_t)511;
		if (!x->len) {
			hole = false;
			x->len = VHD_SECTOR_BYTES;
		}
	}
	if (hole)
		x->kind = KIND_ZERO;
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
	struct vhd_run run;
	int rc = vhd_map(m->img, at / VHD_SECTOR_BYTES,
			 (m->size_bytes - at) / VHD_SECTOR_BYTES, &run, err);

	if (rc)
		return rc;
	*x = (struct extent){
		.start = at,
		.len = run.sectors * VHD_SECTOR_BYTES,
		.off = run.off_bytes,
		.kind = kinds[run.kind],
		.placed = run.kind == VHD_RUN_FILE,
	};
	if (x->placed && m->host_holes)
		split_at_holes(m, x);
	return 0;
}

static bool joins(const struct extent *a, const struct extent *b)
{
	return a->kind == b->kind && a->placed == b->placed &&
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
	       ", \"depth\": %d, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s",
	       m->any ? ",\n" : "[", x->start, x->len, parent,
	       parent ? "false" : "true",
	       x->kind == KIND_ZERO || x->kind == KIND_HOLE ? "true" : "false",
	       x->kind == KIND_DATA ? "true" : "false");
	if (x->placed)
		printf(", \"offset\": %" PRIu64, x->off);
	putchar('}');
}

static void print_text(const struct map *m, const struct extent *x)
{
	if (!m->any)
		printf("%-16s%-16s%-8s%s\n", "Start", "Length", "Kind",
		       "File offset");
	printf("%-16" PRIu64 "%-16" PRIu64, x->start, x->len);
	if (x->placed)
		printf("%-8s%" PRIu64 "\n", kind_words[x->kind], x->off);
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

/* A differencing disk has a map without its parent: what is not here is
 * there. Nothing else that refuses an image is passed over.
 */
static int open_image(struct map *m, struct vhd_err *err)
{
	char self[32];
	int rc;

	m->fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (m->fd < 0) {
		rc = -errno;
		return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0, "cannot open: %s",
				strerror(errno));
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", m->fd);
	rc = vhd_open(self, &m->opts, &m->img, err);
	if (rc && err->why == VHD_WHY_NEEDS_PARENT) {
		m->opts.inspect = true;
		rc = vhd_open(self, &m->opts, &m->img, err);
		if (!rc && vhd_get_info(m->img)->faults > 1) {
			*err = vhd_get_info(m->img)->fault;
			rc = err->code;
		}
	}
	if (rc)
		cli_strip_path(err, self);
	return rc;
}

int verb_map(const char *prog, int argc, char **argv)
{
	struct map m = {.prog = prog, .fd = -1};
	struct vhd_err err = {0};
	const struct vhd_info *info;
	int rc, status = parse(&m, argc, argv);

	if (status >= 0)
		return status;
	rc = open_image(&m, &err);
	if (!rc) {
		info = vhd_get_info(m.img);
		m.size_bytes = info->size_bytes;
		m.host_holes |= info->format == VHD_FORMAT_RAW ||
				info->format == VHD_FORMAT_FIXED;
		rc = walk(&m, &err);
	}
	vhd_abandon(m.img);
	if (m.fd >= 0)
		close(m.fd);
	if (!rc)
		return verb_finish(prog, NULL, CLI_OK);
	fflush(stdout);
	return cli_fail(prog, m.path, &err);
}
