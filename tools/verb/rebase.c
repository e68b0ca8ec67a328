/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd rebase: puts a differencing disk onto another parent. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "verb.h"
#include "tools/sandbox/sandbox.h"

enum { OPT_PARENT = 256, OPT_UNSAFE, OPT_PARENT_DIR, OPT_LARGER, OPT_JSON };

static const struct cli_option options[] = {
	{"parent", OPT_PARENT, "PARENT", "the image to build on from now on"},
	{"unsafe", OPT_UNSAFE, NULL,
	 "only name PARENT, without comparing it with the old\n"
	 "parent, which need not be there"},
	{"dry-run", 'n', NULL,
	 "compare, and show how much would be copied; change\n"
	 "nothing"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "CHILD, its parents and PARENT are in or below DIR\n"
	 "(default: the directory of CHILD)"},
	{"larger-child", OPT_LARGER, NULL,
	 "let CHILD be larger than PARENT"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

struct rebase {
	const char *prog;
	const char *path;
	struct verb_parents parents;
	struct vhd_rebase_opts opts;
	bool json;
	bool quiet;
	bool started; /* progress is on the screen */
	struct cli_progress progress;
	uint64_t size_bytes;
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_PARENT, CLI_TAKES(struct rebase, opts.parent_path)},
	{OPT_PARENT_DIR, CLI_TAKES(struct rebase, parents.dir)},
	{OPT_UNSAFE, CLI_SETS(struct rebase, opts.unsafe)},
	{'n', CLI_SETS(struct rebase, opts.dry_run)},
	{OPT_LARGER, CLI_SETS(struct rebase, opts.larger_child)},
	{OPT_JSON, CLI_SETS(struct rebase, json)},
	{'q', CLI_SETS(struct rebase, quiet)},
	{0},
};

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct rebase *b, int argc, char **argv)
{
	struct cli_options o = {
		.prog = b->prog,
		.usage = "--parent PARENT [options] CHILD",
		.about = "Put a differencing disk onto another parent.",
		.table = options,
		.sets = sets,
		.into = b,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	if (!b->opts.parent_path)
		return cli_usage(b->prog, "needs --parent");
	if (b->opts.unsafe && b->opts.dry_run)
		return cli_usage(b->prog, "--unsafe compares nothing that "
					  "--dry-run could show");
	if (argc - o.first_operand != 1)
		return cli_usage(b->prog, "needs one differencing disk");
	b->path = argv[o.first_operand];
	return -1;
}

/* ------------------------------------------------------------ the work -- */

static int progress(void *ctx, uint64_t pos_bytes, uint64_t moved_bytes)
{
	struct rebase *b = ctx;

	if (!b->started)
		cli_progress_start(&b->progress, "comparing", b->size_bytes,
				   b->quiet || b->json);
	b->started = true;
	cli_progress_show(&b->progress, pos_bytes, moved_bytes);
	return verb_stopped();
}

/* How far it is to go; what is wrong with it is told later. */
static void learn_size(struct rebase *b)
{
	const struct vhd_open_opts how = {.inspect = true, .force_read = true};
	struct vhd *img;

	if (vhd_open(b->path, &how, &img, NULL))
		return;
	b->size_bytes = vhd_get_info(img)->size_bytes;
	vhd_abandon(img);
}

/* -------------------------------------------------------------- the end -- */

static struct json_object *report(const struct rebase *b,
				  const struct vhd_rebase_result *r)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "path", b->path);
	verb_put_text(o, "parent", b->opts.parent_path);
	verb_put_bool(o, "written", !b->opts.dry_run);
	verb_put_bool(o, "compared", !b->opts.unsafe && !r->same_parent);
	verb_put_bool(o, "same-parent", r->same_parent);
	verb_put_number(o, "virtual-size", r->size_bytes);
	verb_put_number(o, "lacking-bytes", r->lacking_bytes);
	verb_put_number(o, "differing-bytes", r->differing_bytes);
	verb_put_number(o, "file-size-before", r->old_file_bytes);
	verb_put_number(o, "file-size-after", r->new_file_bytes);
	return o;
}

static void report_text(const struct rebase *b,
			const struct vhd_rebase_result *r)
{
	char shown[2][VERB_SHOWN_BYTES], size[CLI_SIZE_TEXT];

	printf("%s: %s %s", verb_shown(b->path, shown[0]),
	       b->opts.dry_run ? "would go onto" : "on",
	       verb_shown(b->opts.parent_path, shown[1]));
	cli_size_text(r->differing_bytes, size, sizeof(size));
	if (r->same_parent)
		puts(", which has the id of its parent");
	else if (b->opts.unsafe)
		puts(", not compared with its former parent");
	else
		printf(", %s %s from its former parent\n", size,
		       b->opts.dry_run ? "to be copied" : "copied");
}

/* A cut in the one instant that repair is for. */
static int failed(const struct rebase *b, struct vhd_err *err)
{
	int status = cli_fail(b->prog, b->path, err);

	if (err->why == VHD_WHY_HEADER_CHECKSUM && !b->quiet)
		fprintf(stderr,
			"%s: if a rebase was interrupted, `vhd repair` puts "
			"that right\n",
			b->prog);
	verb_stop_end();
	return status;
}

static int run(struct rebase *b)
{
	struct vhd_rebase_result r;
	struct vhd_err err = {0};
	struct json_object *root = NULL;
	int rc;

	b->opts.progress = progress;
	b->opts.ctx = b;
	b->opts.parent_dir = verb_parent_dir(&b->parents, b->path);
	learn_size(b);
	if (!b->opts.parent_dir)
		rc = vhd_fail(&err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot find: %s", strerror(errno));
	else
		rc = vhd_rebase(b->path, &b->opts, &r, &err);
	if (b->started)
		cli_progress_end(&b->progress);
	if (rc)
		return failed(b, &err);
	if (b->json)
		root = report(b, &r);
	else if (!b->quiet)
		report_text(b, &r);
	return cli_json_end(b->prog, root, CLI_OK);
}

static int sandbox(struct rebase *b)
{
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, b->path, verb_parent_dir(&b->parents, b->path));
	sandbox_allow(&s, b->path, SANDBOX_CHANGE);
	sandbox_allow_image(&s, b->opts.parent_path, NULL);
	verb_parents_fini(&b->parents);
	return sandbox_enter(&s, b->prog);
}

int verb_rebase(const char *prog, int argc, char **argv)
{
	struct rebase b = {.prog = prog};
	int status = parse(&b, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(&b);
	if (status != CLI_OK)
		return status;
	verb_stop_watch();
	status = run(&b);
	verb_parents_fini(&b.parents);
	return status;
}
