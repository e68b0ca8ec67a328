/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd repair: shows what it would put right, does it when told so, takes it
 * back, or saves what an image beyond repair still holds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "verb.h"
#include "repair.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_UNDO = 256,
	OPT_NO_UNDO,
	OPT_UNDO_APPLY,
	OPT_SALVAGE,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_LOSSY,
	OPT_PREFER,
	OPT_SIZE,
	OPT_FORMAT,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"dry-run", 'n', NULL, "only show what would be done (the default)"},
	{"yes", 'y', NULL, "do it"},
	{"undo", OPT_UNDO, "UNDO",
	 "keep every replaced byte in the new file UNDO\n"
	 "(default: FILE.undo)"},
	{"no-undo", OPT_NO_UNDO, NULL, "keep nothing; there is no way back"},
	{"lossy", OPT_LOSSY, NULL,
	 "give up blocks that cannot be right; what is lost is\n"
	 "listed"},
	{"prefer", OPT_PREFER, "WHICH",
	 "of two footers that differ the right one: end or copy"},
	{"size", OPT_SIZE, "SIZE",
	 "the disk's size, where both footers are lost"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"undo-apply", OPT_UNDO_APPLY, NULL,
	 "bring FILE back to what it was before the repair\n"
	 "that made UNDO"},
	{"salvage", OPT_SALVAGE, "OUT",
	 "copy what can be read into the new dynamic image OUT\n"
	 "and list what cannot; FILE is only read"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "--salvage: a differencing disk, which is in or below DIR,\n"
	 "has its parents there (default: its own directory)"},
	{"no-parent", OPT_NO_PARENT, NULL,
	 "--salvage: save what it holds alone; the rest is lost"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "--salvage: let it be larger than its parent"},
	{"force", 'f', NULL,
	 "--undo-apply: although FILE was changed since;\n"
	 "--salvage: replace OUT"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors; see the exit status"},
	{0},
};

/* -------------------------------------------------------- command line -- */

static int prefer_set(struct repair_verb *v, const char *text)
{
	if (!strcmp(text, "end"))
		v->opts.prefer = VHD_PREFER_END;
	else if (!strcmp(text, "copy"))
		v->opts.prefer = VHD_PREFER_COPY;
	else
		return cli_usage(v->prog, "--prefer %s: not end or copy", text);
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{'y', CLI_SETS(struct repair_verb, opts.write)},
	{'n', CLI_SETS(struct repair_verb, dry_run)},
	{OPT_NO_UNDO, CLI_SETS(struct repair_verb, no_undo)},
	{OPT_UNDO_APPLY, CLI_SETS(struct repair_verb, undo_apply)},
	{OPT_LOSSY, CLI_SETS(struct repair_verb, opts.lossy)},
	{OPT_NO_PARENT, CLI_SETS(struct repair_verb, parents.none)},
	{OPT_LARGER_CHILD, CLI_SETS(struct repair_verb, larger_child)},
	{'f', CLI_SETS(struct repair_verb, force)},
	{OPT_JSON, CLI_SETS(struct repair_verb, json)},
	{OPT_UNDO, CLI_TAKES(struct repair_verb, opts.undo_path)},
	{OPT_SALVAGE, CLI_TAKES(struct repair_verb, salvage_path)},
	{OPT_PARENT_DIR, CLI_TAKES(struct repair_verb, parents.dir)},
	{'q', CLI_SETS(struct repair_verb, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct repair_verb *v = into;

	switch (id) {
	case OPT_PREFER:
		return prefer_set(v, value);
	case OPT_SIZE:
		return verb_size(v->prog, "size", value, &v->opts.size_bytes);
	default:
		return verb_format(v->prog, "format", value, false,
				   &v->opts.format);
	}
}

/* What makes no sense together. */
static int together(const struct repair_verb *v, int operands)
{
	bool plan = v->opts.write || v->dry_run || v->no_undo ||
		    v->opts.undo_path || v->opts.lossy || v->opts.prefer;

	if (v->undo_apply && v->salvage_path)
		return cli_usage(v->prog, "--undo-apply or --salvage, not "
					  "both");
	if ((v->undo_apply || v->salvage_path) && plan)
		return cli_usage(v->prog,
				 "%s takes none of the options of a "
				 "repair",
				 v->undo_apply ? "--undo-apply" : "--salvage");
	if (v->opts.write && v->dry_run)
		return cli_usage(v->prog, "--yes or --dry-run, not both");
	if (v->no_undo && v->opts.undo_path)
		return cli_usage(v->prog, "--undo or --no-undo, not both");
	if (v->force && !v->undo_apply && !v->salvage_path)
		return cli_usage(v->prog, "--force is for --undo-apply and "
					  "--salvage");
	if (!v->salvage_path &&
	    (v->parents.dir || v->parents.none || v->larger_child))
		return cli_usage(v->prog, "--parent-dir, --no-parent and "
					  "--larger-child are for --salvage");
	if (verb_parents_check(v->prog, &v->parents))
		return CLI_USAGE;
	if (v->undo_apply && operands != 2)
		return cli_usage(v->prog, "--undo-apply needs FILE and UNDO");
	if (!v->undo_apply && operands != 1)
		return cli_usage(v->prog, "needs one file");
	return -1;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct repair_verb *v, int argc, char **argv)
{
	struct cli_options o = {
		.prog = v->prog,
		.usage = "[options] FILE\n"
			 "--undo-apply [--force] FILE UNDO\n"
			 "--salvage OUT [options] FILE",
		.about = "Put a damaged Virtual Hard Disk image right. Without "
			 "--yes only shows how.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = v,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	v->path = argv[o.first_operand];
	v->undo_operand = argv[o.first_operand + (argc > o.first_operand + 1)];
	return together(v, argc - o.first_operand);
}

/* --------------------------------------------------------------- steps -- */

static void step_json(struct repair_verb *v, const struct vhd_repair_step *s)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "code", vhd_repair_name(s->code));
	verb_put_bool(o, "lossy", s->lossy);
	verb_put_bool(o, "held-back", s->held_back);
	verb_put_number(o, "offset", s->at_bytes);
	cli_json_put(o, "block",
		 s->block == VHD_NO_BLOCK ? NULL
					  : cli_json_number(s->block));
	if (s->lossy) {
		verb_put_number(o, "lost-start", s->lost_bytes);
		verb_put_number(o, "lost-length", s->lost_len_bytes);
	}
	verb_put_text(o, "text", s->text);
	cli_json_add(v->list, o);
}

static int step(void *ctx, const struct vhd_repair_step *s)
{
	struct repair_verb *v = ctx;

	if (v->json) {
		step_json(v, s);
	} else if (!v->quiet) {
		printf("%s: %s%s: %s", v->shown, vhd_repair_name(s->code),
		       s->held_back ? " (needs --lossy)" : "", s->text);
		if (s->lossy)
			printf("; lost: %" PRIu64
			       " bytes of the disk from %" PRIu64,
			       s->lost_len_bytes, s->lost_bytes);
		putchar('\n');
	}
	return 0;
}

/* What is still to be found, for the last line. */
static uint64_t errors_left(const struct repair_verb *v)
{
	const struct vhd_check_opts opts = {.format = v->opts.format};
	struct vhd_check_result r;

	if (vhd_check(v->path, &opts, &r, NULL))
		return 0;
	return r.severity_count[VHD_SEVERITY_ERROR];
}

static void end_text(const struct repair_verb *v,
		     const struct vhd_repair_result *r, uint64_t left)
{
	bool undo = v->opts.undo_path && r->steps;
	char shown[VERB_SHOWN_BYTES];

	if (!r->steps && !r->held_back) {
		printf("%s: nothing to repair\n", v->shown);
	} else if (!v->opts.write) {
		printf("%s: %" PRIu64 " step%s, %" PRIu64 " bytes; --yes "
		       "writes them%s\n",
		       v->shown, r->steps, r->steps == 1 ? "" : "s",
		       r->written_bytes,
		       r->held_back ? ", --lossy includes what is held back"
				    : "");
		return;
	} else {
		printf("%s: %" PRIu64 " step%s done, %" PRIu64 " bytes "
		       "written%s%s\n",
		       v->shown, r->steps, r->steps == 1 ? "" : "s",
		       r->written_bytes, undo ? ", replaced ones in " : "",
		       undo ? verb_shown(v->opts.undo_path, shown) : "");
	}
	if (left)
		printf("%s: %" PRIu64 " error%s left; see vhd check\n",
		       v->shown, left, left == 1 ? "" : "s");
}

static struct json_object *end_json(const struct repair_verb *v,
				    const struct vhd_repair_result *r,
				    uint64_t left)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "path", v->path);
	verb_put_bool(o, "written", v->opts.write);
	verb_put_number(o, "steps-done", v->opts.write ? r->steps : 0);
	verb_put_number(o, "steps-planned", r->steps);
	verb_put_number(o, "held-back", r->held_back);
	verb_put_number(o, "bytes", r->written_bytes);
	verb_put_number(o, "file-size-before", r->old_file_bytes);
	verb_put_number(o, "file-size-after", r->new_file_bytes);
	verb_put_text(o, "undo",
		      v->opts.write && r->steps ? v->opts.undo_path : NULL);
	verb_put_number(o, "errors-left", left);
	cli_json_put(o, "steps", v->list);
	return o;
}

/* FILE.undo, or the first of FILE.undo.2, ... that nobody has: a repair that
 * was cut off has left one, and it is still needed.
 */
static void undo_name(struct repair_verb *v)
{
	snprintf(v->undo_default, sizeof(v->undo_default), "%s.undo", v->path);
	for (int i = 2; i < 100 && access(v->undo_default, F_OK) == 0; i++)
		snprintf(v->undo_default, sizeof(v->undo_default), "%s.undo.%d",
			 v->path, i);
	v->opts.undo_path = v->undo_default;
}

/* An undo file may be the only way back for something else. */
static int repair_fail(const struct repair_verb *v, const struct vhd_err *err)
{
	char shown[VERB_SHOWN_BYTES];

	if (err->why != VHD_WHY_SYSTEM || err->code != -EEXIST)
		return cli_fail(v->prog, v->path, err);
	fprintf(stderr,
		"%s: %s: exists already: an undo file is never "
		"replaced, choose another name\n",
		v->prog, verb_shown(v->opts.undo_path, shown));
	return CLI_REFUSED;
}

static int repair(struct repair_verb *v)
{
	struct vhd_repair_result r;
	struct vhd_err err = {0};
	struct json_object *root = NULL;
	uint64_t left;
	int rc = verb_new_id(v->opts.new_id, &err);

	if (v->json)
		v->list = cli_json_array();
	if (!v->opts.undo_path && !v->no_undo && v->opts.write)
		undo_name(v);
	v->opts.now_unix_s = time(NULL);
	v->opts.step = step;
	v->opts.ctx = v;
	if (!rc)
		rc = vhd_repair(v->path, &v->opts, &r, &err);
	if (rc) {
		json_object_put(v->list);
		fflush(stdout);
		return repair_fail(v, &err);
	}
	left = errors_left(v);
	if (v->json)
		root = end_json(v, &r, left);
	else if (!v->quiet)
		end_text(v, &r, left);
	return cli_json_end(v->prog, root,
			   left || r.held_back || (!v->opts.write && r.steps)
				   ? CLI_DIFFERENT
				   : CLI_OK);
}

/* ---------------------------------------------------------------- back -- */

static int undo_apply(struct repair_verb *v)
{
	struct vhd_undo_result r;
	struct vhd_err err = {0};
	struct json_object *root = NULL;
	int rc = vhd_undo(v->path, v->undo_operand, v->force, &r, &err);

	if (rc)
		return cli_fail(v->prog,
				err.why == VHD_WHY_UNDO_FILE ? v->undo_operand
							     : v->path,
				&err);
	if (v->json) {
		root = cli_json_object();
		verb_put_text(root, "path", v->path);
		verb_put_text(root, "undo", v->undo_operand);
		verb_put_number(root, "records", r.records);
		verb_put_number(root, "restored-bytes", r.restored_bytes);
		verb_put_number(root, "file-size", r.old_file_bytes);
	} else if (!v->quiet) {
		printf("%s: as before the repair again; %" PRIu64 " bytes "
		       "restored\n",
		       v->shown, r.restored_bytes);
	}
	return cli_json_end(v->prog, root, CLI_OK);
}

/* The directory of what is made beside the image, which is only read then. */
static int sandbox(struct repair_verb *v)
{
	const char *made = v->salvage_path ? v->salvage_path
			   : !v->opts.write || v->no_undo ? NULL
			   : v->opts.undo_path		  ? v->opts.undo_path
							  : v->path;
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, v->path, verb_parent_dir(&v->parents, v->path));
	if (!v->salvage_path)
		sandbox_allow(&s, v->path, SANDBOX_CHANGE);
	if (v->undo_apply)
		sandbox_allow(&s, v->undo_operand, SANDBOX_READ);
	else
		sandbox_allow_dir_of(&s, made, SANDBOX_MAKE);
	verb_parents_fini(&v->parents);
	return sandbox_enter(&s, v->prog);
}

int verb_repair(const char *prog, int argc, char **argv)
{
	struct repair_verb v = {.prog = prog};
	int status = parse(&v, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(&v);
	if (status != CLI_OK)
		return status;
	verb_shown(v.path, v.shown);
	if (v.undo_apply)
		return undo_apply(&v);
	return v.salvage_path ? verb_salvage(&v) : repair(&v);
}
