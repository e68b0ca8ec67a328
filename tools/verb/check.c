/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd check: every fault of an image, one line or one object each. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "verb.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_DATA = 256,
	OPT_FOR,
	OPT_FORMAT,
	OPT_JSON,
	OPT_ALL,
	OPT_CHAIN,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
};

static const struct cli_option options[] = {
	{"data", OPT_DATA, NULL,
	 "read every allocated byte: is it readable, and do\n"
	 "bitmaps agree with it"},
	{"for", OPT_FOR, "PRODUCT",
	 "say whether this product takes the file, and why not:\n"
	 "hyperv, azure, virtualpc, xenserver, virtualbox, qemu"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"chain", OPT_CHAIN, NULL,
	 "check the parents of a differencing disk, too"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "differencing disks, which are in or below DIR, may have\n"
	 "their parents there (default: their own directories)"},
	{"no-parent", OPT_NO_PARENT, NULL, "do not look for parents"},
	{"all", OPT_ALL, NULL,
	 "tell each finding; else at most 32 of one kind"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"force", 'f', NULL,
	 "look although another program has it open for writing;\n"
	 "what is found may be its doing"},
	{"quiet", 'q', NULL, "print nothing but errors; see the exit status"},
	{0},
};

struct check {
	const char *prog;
	const char *path;
	char shown[VERB_SHOWN_BYTES]; /* the path, for people */
	struct vhd_check_opts opts;
	struct verb_parents parents;
	bool chain;
	bool json;
	bool quiet;
	struct json_object *findings; /* of this file */
	struct cli_progress progress;
};

static const char *const severities[] = {
	[VHD_SEVERITY_INFO] = "note",
	[VHD_SEVERITY_WARNING] = "warning",
	[VHD_SEVERITY_ERROR] = "error",
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_DATA, CLI_SETS(struct check, opts.data)},
	{OPT_JSON, CLI_SETS(struct check, json)},
	{OPT_CHAIN, CLI_SETS(struct check, chain)},
	{OPT_PARENT_DIR, CLI_TAKES(struct check, parents.dir)},
	{OPT_NO_PARENT, CLI_SETS(struct check, parents.none)},
	{'f', CLI_SETS(struct check, opts.force_read)},
	{'q', CLI_SETS(struct check, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct check *c = into;

	switch (id) {
	case OPT_FOR:
		return verb_target(c->prog, value, &c->opts.target);
	case OPT_FORMAT:
		return verb_format(c->prog, "format", value, false,
				   &c->opts.format);
	default:
		c->opts.limit = UINT32_MAX;
		return CLI_OK;
	}
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct check *c, int argc, char **argv, int *first)
{
	struct cli_options o = {
		.prog = c->prog,
		.usage = "[options] FILE...",
		.about = "Name every fault of Virtual Hard Disk images. Only "
			 "reads.",
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
	status = verb_parents_check(c->prog, &c->parents);
	if (status)
		return status;
	if (c->chain && c->parents.none)
		return cli_usage(c->prog, "--no-parent excludes --chain");
	*first = o.first_operand;
	if (*first == argc)
		return cli_usage(c->prog, "needs a file to check");
	return -1;
}

/* ------------------------------------------------------------ findings -- */

static void finding_json(struct check *c, const struct vhd_finding *f)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "severity", severities[f->severity]);
	verb_put_text(o, "code", vhd_finding_name(f->code));
	verb_put_text(o, "why",
		      f->why == VHD_WHY_NONE ? NULL : cli_why_name(f->why));
	verb_put_hresult(o, f->hresult);
	verb_put_bool(o, "refuses", f->refuses);
	verb_put_number(o, "offset", f->at_bytes);
	cli_json_put(o, "block",
		 f->block == VHD_NO_BLOCK ? NULL
					  : cli_json_number(f->block));
	verb_put_text(o, "text", f->text);
	cli_json_add(c->findings, o);
}

static void finding_text(struct check *c, const struct vhd_finding *f)
{
	char text[sizeof(f->text)];

	cli_progress_end(&c->progress);
	snprintf(text, sizeof(text), "%s", f->text);
	cli_text_clean(text);
	printf("%s: %s: %s: %s (at offset %" PRIu64, c->shown,
	       severities[f->severity], vhd_finding_name(f->code), text,
	       f->at_bytes);
	if (f->hresult)
		printf(", Windows 0x%08X", f->hresult);
	printf(")%s%s%s\n", f->refuses ? ": " : "",
	       f->refuses ? vhd_target_name(c->opts.target) : "",
	       f->refuses ? " refuses this" : "");
}

static int found(void *ctx, const struct vhd_finding *f)
{
	struct check *c = ctx;

	if (c->json)
		finding_json(c, f);
	else if (!c->quiet)
		finding_text(c, f);
	return 0;
}

static int progressed(void *ctx, uint64_t pos, uint64_t total)
{
	struct check *c = ctx;

	c->progress.total = total;
	cli_progress_show(&c->progress, pos, pos);
	return 0;
}

/* ------------------------------------------------------------- verdict -- */

static void untold(const struct check *c, const struct vhd_check_result *r)
{
	uint64_t limit =
		c->opts.limit ? c->opts.limit : VHD_CHECK_LIMIT_DEFAULT;

	for (int i = 0; i < VHD_FIND_COUNT; i++)
		if (r->count[i] > limit)
			printf("%s: and %" PRIu64 " more of %s; --all tells "
			       "them\n",
			       c->shown, r->count[i] - limit,
			       vhd_finding_name((enum vhd_finding_code)i));
}

static void summary_text(const struct check *c,
			 const struct vhd_check_result *r)
{
	char size[CLI_SIZE_TEXT];

	untold(c, r);
	cli_size_text(r->size_bytes, size, sizeof(size));
	printf("%s: %s, %s: %" PRIu64 " error%s, %" PRIu64
	       " warning%s, %" PRIu64 " note%s\n",
	       c->shown, vhd_format_name(r->format), size,
	       r->severity_count[VHD_SEVERITY_ERROR],
	       r->severity_count[VHD_SEVERITY_ERROR] == 1 ? "" : "s",
	       r->severity_count[VHD_SEVERITY_WARNING],
	       r->severity_count[VHD_SEVERITY_WARNING] == 1 ? "" : "s",
	       r->severity_count[VHD_SEVERITY_INFO],
	       r->severity_count[VHD_SEVERITY_INFO] == 1 ? "" : "s");
	if (c->opts.target != VHD_TARGET_NONE)
		printf("%s: %s %s\n", c->shown, vhd_target_name(c->opts.target),
		       r->refusals ? "does not take this file"
				   : "takes this "
				     "file");
}

static struct json_object *summary_json(struct check *c,
					const struct vhd_check_result *r)
{
	struct json_object *o = cli_json_object();
	struct json_object *counts = cli_json_object();

	verb_put_text(o, "path", c->path);
	verb_put_text(o, "format", vhd_format_name(r->format));
	verb_put_number(o, "size", r->size_bytes);
	verb_put_number(o, "file-size", r->file_bytes);
	verb_put_number(o, "blocks-used", r->blocks_used);
	verb_put_number(o, "layers", r->layers);
	verb_put_number(o, "orphan-bytes", r->orphan_bytes);
	verb_put_number(o, "errors", r->severity_count[VHD_SEVERITY_ERROR]);
	verb_put_number(o, "warnings", r->severity_count[VHD_SEVERITY_WARNING]);
	verb_put_number(o, "notes", r->severity_count[VHD_SEVERITY_INFO]);
	for (int i = 0; i < VHD_FIND_COUNT; i++)
		if (r->count[i])
			verb_put_number(
				counts,
				vhd_finding_name((enum vhd_finding_code)i),
				r->count[i]);
	cli_json_put(o, "counts", counts);
	verb_put_text(o, "for", vhd_target_name(c->opts.target));
	cli_json_put(o, "taken",
		 c->opts.target == VHD_TARGET_NONE
			 ? NULL
			 : cli_json_bool(!r->refusals));
	cli_json_put(o, "findings", c->findings);
	return o;
}

/* Check one file; returns its exit code. */
static int check(struct check *c, struct json_object *list)
{
	static const struct vhd_nbd_opts remote; /* all by default */
	struct vhd_check_result r;
	struct vhd_err err = {0};
	int rc;

	if (list)
		c->findings = cli_json_array();
	c->opts.name = c->path;
	c->opts.parent_dir = verb_parent_dir(&c->parents, c->path);
	c->opts.nbd = &remote;
	verb_shown(c->path, c->shown);
	cli_progress_start(&c->progress, "reading", 0, c->quiet);
	rc = vhd_check(c->path, &c->opts, &r, &err);
	cli_progress_end(&c->progress);
	if (rc) {
		json_object_put(c->findings);
		c->findings = NULL;
		fflush(stdout);
		return cli_fail(c->prog, c->path, &err);
	}
	if (list)
		cli_json_add(list, summary_json(c, &r));
	else if (!c->quiet)
		summary_text(c, &r);
	return r.severity_count[VHD_SEVERITY_ERROR] ||
			       r.severity_count[VHD_SEVERITY_WARNING] ||
			       r.refusals
		       ? CLI_DIFFERENT
		       : CLI_OK;
}

/* The parents, by their own paths, each with what is below it. `told`: the exit
 * code of the child; what keeps its chain from being opened is a finding.
 */
static int check_parents(struct check *c, struct json_object *list, int told)
{
	const struct vhd_open_opts how = {
		.force_read = c->opts.force_read,
		.parent_dir = c->opts.parent_dir,
		.nbd = c->opts.nbd,
	};
	struct vhd_layer layer;
	struct vhd_err err = {0};
	struct vhd *img;
	int status = CLI_OK;

	if (vhd_open(c->path, &how, &img, &err)) {
		if (told != CLI_OK && cli_exit_code(&err) != CLI_IO)
			return CLI_OK;
		return cli_fail(c->prog, c->path, &err);
	}
	for (unsigned i = 1; !vhd_layer(img, i, &layer); i++) {
		int one;

		c->path = layer.path;
		one = check(c, list);
		if (one > status)
			status = one;
	}
	vhd_abandon(img);
	return status;
}

static int sandbox(struct check *c, char *const *paths, int count)
{
	struct sandbox s = {.role = SANDBOX_READER};

	for (int i = 0; i < count; i++)
		sandbox_allow_image(&s, paths[i],
				    verb_parent_dir(&c->parents, paths[i]));
	verb_parents_fini(&c->parents);
	return sandbox_enter(&s, c->prog);
}

int verb_check(const char *prog, int argc, char **argv)
{
	struct check c = {.prog = prog};
	struct json_object *root = NULL, *list = NULL;
	int first = 0, status = parse(&c, argc, argv, &first);

	if (status >= 0)
		return status;
	status = sandbox(&c, argv + first, argc - first);
	if (status != CLI_OK)
		return status;
	c.opts.found = found;
	c.opts.progress = progressed;
	c.opts.ctx = &c;
	c.opts.now_unix_s = time(NULL);
	if (c.json) {
		root = cli_json_object();
		list = cli_json_array();
	}
	for (int i = first; i < argc; i++) {
		int one;

		c.path = argv[i];
		one = check(&c, list);
		if (one > status)
			status = one;
		/* an image that cannot be looked at has told why */
		one = c.chain && one < CLI_REFUSED
			      ? check_parents(&c, list, one)
			      : CLI_OK;
		if (one > status)
			status = one;
	}
	if (c.json)
		cli_json_put(root, "images", list);
	verb_parents_fini(&c.parents);
	return cli_json_end(prog, root, status);
}
