/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd create: an empty image. It gets its name when it is complete. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "convert.h"
#include "verb.h"
#include "verb_preset.h"

enum { OPT_TYPE = 256, OPT_SIZE, OPT_BLOCK, OPT_PREALLOC, OPT_FOR, OPT_JSON };

static const struct cli_option options[] = {
	{"type", OPT_TYPE, "TYPE",
	 "fixed or dynamic (default: dynamic, or what --for\n"
	 "wants)"},
	{"size", OPT_SIZE, "SIZE", "the disk's size, such as 20G"},
	{"block-size", OPT_BLOCK, "SIZE",
	 "bytes per block of a dynamic image (default 2M)"},
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
	uint64_t block_size_bytes;
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
	else
		return cli_usage(c->prog, "--type %s: not fixed or dynamic",
				 text);
	return CLI_OK;
}

static int option_apply(struct create *c, int id, const char *value)
{
	switch (id) {
	case OPT_TYPE:
		return type_set(c, value);
	case OPT_SIZE:
		return verb_size(c->prog, "size", value, &c->asked_bytes);
	case OPT_BLOCK:
		return verb_size(c->prog, "block-size", value,
				 &c->block_size_bytes);
	case OPT_FOR:
		return verb_target(c->prog, value, &c->target);
	case OPT_PREALLOC:
		c->prealloc = true;
		return CLI_OK;
	case OPT_JSON:
		c->json = true;
		return CLI_OK;
	case 'f':
		c->force = true;
		return CLI_OK;
	default:
		c->quiet = true;
		return CLI_OK;
	}
}

static int preset_size(struct create *c, const struct verb_preset *p)
{
	char min[CLI_SIZE_TEXT], max[CLI_SIZE_TEXT];

	if (verb_preset_size(p, c->asked_bytes, &c->opts.size_bytes))
		return -1;
	return cli_usage(c->prog, "--size %" PRIu64 ": %s takes %s to %s",
			 c->asked_bytes, vhd_target_name(c->target),
			 cli_size_text(p->size_min_bytes, min, sizeof(min)),
			 cli_size_text(p->size_max_bytes, max, sizeof(max)));
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
	if (c->type_named && p->format_only && c->opts.format != p->format)
		return cli_usage(c->prog, "--type: %s takes %s images only",
				 vhd_target_name(c->target),
				 vhd_format_name(p->format));
	if (!c->type_named)
		c->opts.format = p->format;
	if (c->block_size_bytes && p->block_size_bytes &&
	    c->block_size_bytes != p->block_size_bytes)
		return cli_usage(c->prog, "--block-size: %s takes 2M only",
				 vhd_target_name(c->target));
	c->opts.creator = p->creator;
	c->opts.batmap = p->batmap;
	return preset_size(c, p);
}

/* What makes no sense together. Returns -1, or the exit code. */
static int together(struct create *c)
{
	int status;

	if (!c->asked_bytes)
		return cli_usage(c->prog, "needs --size");
	status = preset_apply(c);
	if (status >= 0)
		return status;
	if (c->opts.size_bytes % VHD_SECTOR_BYTES)
		return cli_usage(c->prog,
				 "--size %" PRIu64 ": not whole "
				 "512-byte sectors",
				 c->asked_bytes);
	if (c->block_size_bytes && c->opts.format != VHD_FORMAT_DYNAMIC)
		return cli_usage(c->prog, "--block-size is for dynamic "
					  "images");
	if (c->block_size_bytes > UINT32_MAX)
		return cli_usage(c->prog,
				 "--block-size %" PRIu64 ": too large "
				 "a number",
				 c->block_size_bytes);
	if (c->prealloc && c->opts.format != VHD_FORMAT_FIXED)
		return cli_usage(c->prog, "--prealloc is for fixed images");
	c->opts.block_size_bytes = (uint32_t)c->block_size_bytes;
	return -1;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct create *c, int argc, char **argv)
{
	struct cli_options o = {
		.prog = c->prog,
		.usage = "--size SIZE [options] FILE",
		.about = "Make an empty Virtual Hard Disk image.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int id, status = CLI_OK;

	while ((id = cli_options_next(&o, &status)) > 0) {
		status = option_apply(c, id, o.value);
		if (status)
			return status;
	}
	if (id < 0)
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

static int make(struct create *c, struct convert_output *out,
		struct vhd_err *err)
{
	struct vhd *img = NULL;
	int rc = verb_new_id(c->opts.unique_id, err);

	c->opts.now_unix_s = time(NULL);
	if (!rc)
		rc = vhd_create(out->path, &c->opts, &img, err);
	if (rc) {
		cli_strip_path(err, out->path);
		return rc;
	}
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
	struct json_object *o = json_object_new_object();
	char hex[CLI_ID_TEXT], windows[CLI_ID_TEXT];

	verb_put_text(o, "path", c->path);
	verb_put_text(o, "format", vhd_format_name(c->opts.format));
	verb_put_number(o, "size", c->opts.size_bytes);
	verb_put_number(o, "size-asked", c->asked_bytes);
	verb_put_text(o, "for", vhd_target_name(c->target));
	verb_put_text(o, "id", cli_id_windows(c->opts.unique_id, windows));
	verb_put_text(o, "id-hex", cli_id_hex(c->opts.unique_id, hex));
	return o;
}

static void report_text(const struct create *c)
{
	char size[CLI_SIZE_TEXT], shown[VERB_SHOWN_BYTES];

	cli_size_text(c->opts.size_bytes, size, sizeof(size));
	printf("%s: %s, %s", verb_shown(c->path, shown),
	       vhd_format_name(c->opts.format), size);
	if (c->opts.size_bytes != c->asked_bytes)
		printf(" (rounded up by %" PRIu64 " bytes for %s)",
		       c->opts.size_bytes - c->asked_bytes,
		       vhd_target_name(c->target));
	putchar('\n');
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
	return verb_finish(prog, root, CLI_OK);
}
