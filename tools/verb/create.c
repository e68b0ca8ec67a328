/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd create: an empty image, or one that builds on another. It gets its name
 * when it is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/convert/convert.h"
#include "verb.h"
#include "preset.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_TYPE = 256,
	OPT_SIZE,
	OPT_BLOCK,
	OPT_PREALLOC,
	OPT_PARENT,
	OPT_PARENT_DIR,
	OPT_FOR,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"type", OPT_TYPE, "TYPE",
	 "fixed, dynamic or differencing (default: dynamic, or\n"
	 "what --for wants; with --parent: differencing)"},
	{"size", OPT_SIZE, "SIZE",
	 "the disk's size, such as 20G (default: the parent's)"},
	{"parent", OPT_PARENT, "PARENT",
	 "make a differencing image, which holds what is changed\n"
	 "and reads the rest from PARENT"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "FILE and its parents are in or below DIR (default: the\n"
	 "directory of FILE)"},
	{"block-size", OPT_BLOCK, "SIZE",
	 "bytes per block (default 2M, or what the parent has)"},
	{"prealloc", OPT_PREALLOC, NULL,
	 "reserve the space of a fixed image at once"},
	{"for", OPT_FOR, "PRODUCT",
	 "as this product wants it: hyperv, azure, virtualpc,\n"
	 "xenserver, virtualbox or qemu; the size may be rounded\n"
	 "up"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"force", 'f', NULL, "replace FILE if it exists"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

struct create {
	const char *prog;
	const char *path;
	struct vhd_create_opts opts;
	uint64_t asked_bytes;
	uint64_t parent_bytes; /* the parent's size */
	struct verb_parents parents;
	bool type_named;
	enum vhd_target target;
	bool prealloc;
	bool force;
	bool json;
	bool quiet;
};

/* -------------------------------------------------------- command line -- */

static int type_set(struct create *c, const char *text)
{
	c->type_named = true;
	if (!strcmp(text, "fixed"))
		c->opts.format = VHD_FORMAT_FIXED;
	else if (!strcmp(text, "dynamic"))
		c->opts.format = VHD_FORMAT_DYNAMIC;
	else if (!strcmp(text, "differencing"))
		c->opts.format = VHD_FORMAT_DIFF;
	else
		return cli_usage(c->prog,
				 "--type %s: not fixed, dynamic or "
				 "differencing",
				 text);
	return CLI_OK;
}

/* 0 is what stands for no such option. */
static const struct cli_set sets[] = {
	{OPT_PARENT, CLI_TAKES(struct create, opts.parent_path)},
	{OPT_PARENT_DIR, CLI_TAKES(struct create, parents.dir)},
	{OPT_PREALLOC, CLI_SETS(struct create, prealloc)},
	{OPT_JSON, CLI_SETS(struct create, json)},
	{'f', CLI_SETS(struct create, force)},
	{'q', CLI_SETS(struct create, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct create *c = into;

	switch (id) {
	case OPT_TYPE:
		return type_set(c, value);
	case OPT_SIZE:
		return verb_size(c->prog, "size", value, &c->asked_bytes);
	case OPT_BLOCK:
		return verb_block_size(c->prog, value,
				       &c->opts.block_size_bytes);
	default:
		return verb_target(c->prog, value, &c->target);
	}
}

static int preset_size(struct create *c, const struct verb_preset *p)
{
	char min[CLI_SIZE_TEXT], max[CLI_SIZE_TEXT];

	if (!c->asked_bytes) /* the parent's, whatever that is */
		return -1;
	if (verb_preset_size(p, c->asked_bytes, &c->opts.size_bytes))
		return -1;
	return cli_usage(c->prog, "--size %" PRIu64 ": %s takes %s to %s",
			 c->asked_bytes, vhd_target_name(c->target),
			 cli_size_text(p->size_min_bytes, min, sizeof(min)),
			 cli_size_text(p->size_max_bytes, max, sizeof(max)));
}

/* What a product takes of dynamic images it takes of differencing ones. */
static bool format_taken(const struct create *c, const struct verb_preset *p)
{
	enum vhd_format format = c->opts.format == VHD_FORMAT_DIFF
					 ? VHD_FORMAT_DYNAMIC
					 : c->opts.format;

	return !p->format_only || format == p->format;
}

static int preset_apply(struct create *c)
{
	const struct verb_preset *p = verb_preset(c->target);

	c->opts.size_bytes = c->asked_bytes;
	if (!p) {
		if (!c->type_named)
			c->opts.format = VHD_FORMAT_DYNAMIC;
		return -1;
	}
	if (c->type_named && !format_taken(c, p))
		return cli_usage(c->prog, "--type: %s takes %s images only",
				 vhd_target_name(c->target),
				 vhd_format_name(p->format));
	if (!c->type_named)
		c->opts.format = p->format;
	if (c->opts.block_size_bytes && p->block_size_bytes &&
	    c->opts.block_size_bytes != p->block_size_bytes)
		return cli_usage(c->prog, "--block-size: %s takes 2M only",
				 vhd_target_name(c->target));
	c->opts.creator = p->creator;
	c->opts.batmap = p->batmap;
	return preset_size(c, p);
}

/* --parent means a differencing image, and that needs --parent. */
static int family(struct create *c)
{
	bool diff = c->opts.format == VHD_FORMAT_DIFF;

	if (!c->opts.parent_path && diff)
		return cli_usage(c->prog, "--type differencing needs --parent");
	if (!c->opts.parent_path && c->parents.dir)
		return cli_usage(c->prog, "--parent-dir is for --parent");
	if (!c->opts.parent_path)
		return c->asked_bytes ? -1 : cli_usage(c->prog, "needs --size");
	if (c->type_named && !diff)
		return cli_usage(c->prog, "--parent: only a differencing image "
					  "has one");
	c->type_named = true;
	c->opts.format = VHD_FORMAT_DIFF;
	/* Whoever names a size means it. */
	c->opts.larger_child = c->asked_bytes > 0;
	return -1;
}

/* Through links, too. The lock on it would name somebody else as its user. */
static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* What makes no sense together. Returns -1, or the exit code. */
static int together(struct create *c)
{
	int status = family(c);

	if (status < 0)
		status = preset_apply(c);
	if (status >= 0)
		return status;
	if (c->opts.size_bytes % VHD_SECTOR_BYTES)
		return cli_usage(c->prog,
				 "--size %" PRIu64 ": not whole "
				 "512-byte sectors",
				 c->asked_bytes);
	if (c->opts.block_size_bytes && c->opts.format == VHD_FORMAT_FIXED)
		return cli_usage(c->prog, "--block-size is for dynamic and "
					  "differencing images");
	if (c->prealloc && c->opts.format != VHD_FORMAT_FIXED)
		return cli_usage(c->prog, "--prealloc is for fixed images");
	if (c->opts.parent_path && same_file(c->opts.parent_path, c->path))
		return cli_usage(c->prog,
				 "%s: is the parent that it is to build on",
				 c->path);
	return -1;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct create *c, int argc, char **argv)
{
	struct cli_options o = {
		.prog = c->prog,
		.usage = "--size SIZE | --parent PARENT [options] FILE",
		.about = "Make an empty Virtual Hard Disk image, or one that "
			 "builds on another.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = c,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(c->prog, "needs one file");
	c->path = argv[o.first_operand];
	return together(c);
}

/* ----------------------------------------------------------- the image -- */

static int reserve(const struct create *c, int fd, struct vhd_err *err)
{
	int rc;

	if (!c->prealloc)
		return 0;
	do
		rc = posix_fallocate(
			fd, 0, (off_t)(c->opts.size_bytes + VHD_SECTOR_BYTES));
	while (rc == EINTR);
	if (!rc)
		return 0;
	return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
			"cannot reserve %" PRIu64 " bytes: %s",
			c->opts.size_bytes, strerror(rc));
}

/* The directory that is to hold a child and its parents. */
static int child_dir(struct create *c, const struct convert_output *out,
		     char *final, size_t n, struct vhd_err *err)
{
	if (!c->opts.parent_path)
		return 0;
	if ((size_t)snprintf(final, n, "%s/%s", out->dir, out->name) >= n)
		return vhd_fail(err, -ENAMETOOLONG, VHD_WHY_SYSTEM, 0,
				"the name is too long");
	c->opts.final_path = final;
	c->opts.parent_dir = c->parents.dir ? c->parents.dir : out->dir;
	return 0;
}

/* What was not asked for is as the parent has it. */
static void learn(struct create *c, const struct vhd *img)
{
	struct vhd_layer parent;

	c->opts.size_bytes = vhd_get_info(img)->size_bytes;
	if (!vhd_layer(img, 1, &parent))
		c->parent_bytes = parent.info->size_bytes;
}

static int make(struct create *c, struct convert_output *out,
		struct vhd_err *err)
{
	char final[PATH_MAX];
	struct vhd *img = NULL;
	int rc = verb_new_id(c->opts.unique_id, err);

	c->opts.now_unix_s = time(NULL);
	if (!rc)
		rc = child_dir(c, out, final, sizeof(final), err);
	if (!rc)
		rc = vhd_create(out->path, &c->opts, &img, err);
	c->opts.final_path = NULL; /* it is ours */
	if (rc) {
		cli_strip_path(err, out->path);
		return rc;
	}
	learn(c, img);
	rc = reserve(c, out->fd, err);
	if (rc) {
		vhd_abandon(img);
		return rc;
	}
	rc = vhd_close(img, err);
	return rc ? rc : convert_output_publish(out, true, err);
}

static struct json_object *report(const struct create *c)
{
	struct json_object *o = cli_json_object();
	char hex[CLI_ID_TEXT], windows[CLI_ID_TEXT];

	verb_put_text(o, "path", c->path);
	verb_put_text(o, "format", vhd_format_name(c->opts.format));
	verb_put_number(o, "size", c->opts.size_bytes);
	verb_put_number(o, "size-asked",
			c->asked_bytes ? c->asked_bytes : c->opts.size_bytes);
	verb_put_text(o, "parent", c->opts.parent_path);
	verb_put_text(o, "for", vhd_target_name(c->target));
	verb_put_text(o, "id", cli_id_windows(c->opts.unique_id, windows));
	verb_put_text(o, "id-hex", cli_id_hex(c->opts.unique_id, hex));
	return o;
}

static void report_parent(const struct create *c)
{
	char shown[VERB_SHOWN_BYTES];

	printf(", on %s", verb_shown(c->opts.parent_path, shown));
	if (c->opts.size_bytes > c->parent_bytes)
		printf(" (larger than that by %" PRIu64 " bytes: to be opened "
		       "with --larger-child, and not by Windows)",
		       c->opts.size_bytes - c->parent_bytes);
}

static void report_text(const struct create *c)
{
	char size[CLI_SIZE_TEXT], shown[VERB_SHOWN_BYTES];

	cli_size_text(c->opts.size_bytes, size, sizeof(size));
	printf("%s: %s, %s", verb_shown(c->path, shown),
	       vhd_format_name(c->opts.format), size);
	if (c->asked_bytes && c->opts.size_bytes != c->asked_bytes)
		printf(" (rounded up by %" PRIu64 " bytes for %s)",
		       c->opts.size_bytes - c->asked_bytes,
		       vhd_target_name(c->target));
	if (c->opts.parent_path)
		report_parent(c);
	putchar('\n');
}

static int sandbox(struct create *c)
{
	const char *parent = c->opts.parent_path;
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_dir_of(&s, c->path, SANDBOX_MAKE);
	if (parent)
		sandbox_allow_image(&s, parent,
				    verb_parent_dir(&c->parents, parent));
	verb_parents_fini(&c->parents);
	return sandbox_enter(&s, c->prog);
}

int verb_create(const char *prog, int argc, char **argv)
{
	/* Nobody to take permissions from: those the umask leaves. */
	const struct stat nobody = {.st_mode = S_IFREG | 0666};
	struct create c = {.prog = prog};
	struct convert_output out;
	struct json_object *root = NULL;
	struct vhd_err err = {0};
	int status = parse(&c, argc, argv);
	int rc;

	if (status >= 0)
		return status;
	status = sandbox(&c);
	if (status != CLI_OK)
		return status;
	rc = convert_output_open(&out, c.path, c.force, &nobody, &err);
	if (!rc) {
		rc = make(&c, &out, &err);
		convert_output_close(&out);
	}
	if (rc)
		return cli_fail(prog, c.path, &err);
	if (c.json)
		root = report(&c);
	else if (!c.quiet)
		report_text(&c);
	return cli_json_end(prog, root, CLI_OK);
}
