/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd merge: brings what a differencing disk holds down into one of the images
 * it builds on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verb.h"
#include "merge.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_INTO = 256,
	OPT_ALL,
	OPT_DELETE,
	OPT_LARGER_CHILD,
	OPT_PARENT_DIR,
	OPT_ENGINE,
	OPT_DIRECT,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"into", OPT_INTO, "BASE",
	 "merge into BASE, one of the images below CHILD, with all\n"
	 "layers between (default: CHILD's parent)"},
	{"all", OPT_ALL, NULL, "merge into the lowest image"},
	{"delete", OPT_DELETE, NULL,
	 "remove CHILD, and the layers between, when their content\n"
	 "is safe in the target"},
	{"dry-run", 'n', NULL,
	 "show what would be written and how much space that\n"
	 "takes; change nothing"},
	{"force", 'f', NULL,
	 "merge although other images, which are named, become\n"
	 "invalid by it"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "CHILD, which is in or below DIR, may have its parents\n"
	 "there (default: its own directory)"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let the target be larger than its own parent"},
	{"engine", OPT_ENGINE, "ENGINE",
	 "auto, uring, aio or sync (default: auto)"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors and warnings"},
	{0},
};

struct merge {
	const char *prog;
	const char *path;
	struct verb_parents parents;
	struct vhd_merge_opts opts;
	bool force;
	bool json;
	bool quiet;
	struct cli_progress progress;
	/* from the plan */
	char *target;		    /* owned */
	struct json_object *merged; /* owned: paths, topmost first */
	struct json_object *others; /* owned: paths */
	struct vhd_err fault;	    /* of looking for others */
	bool refused;		    /* because of them */
};

/* -------------------------------------------------------- command line -- */

static int engine_set(struct merge *m, const char *text)
{
	for (int e = VHD_ENGINE_AUTO; e <= VHD_ENGINE_SYNC; e++)
		if (!strcmp(vhd_engine_name((enum vhd_engine)e), text)) {
			m->opts.engine = (enum vhd_engine)e;
			return CLI_OK;
		}
	return cli_usage(m->prog, "--engine %s: not auto, uring, aio or sync",
			 text);
}

static const struct cli_set sets[] = {
	{OPT_ALL, CLI_SETS(struct merge, opts.all)},
	{OPT_DELETE, CLI_SETS(struct merge, opts.remove)},
	{'n', CLI_SETS(struct merge, opts.dry_run)},
	{'f', CLI_SETS(struct merge, force)},
	{OPT_LARGER_CHILD, CLI_SETS(struct merge, opts.larger_child)},
	{OPT_DIRECT, CLI_SETS(struct merge, opts.direct)},
	{OPT_JSON, CLI_SETS(struct merge, json)},
	{OPT_INTO, CLI_TAKES(struct merge, opts.into)},
	{OPT_PARENT_DIR, CLI_TAKES(struct merge, parents.dir)},
	{'q', CLI_SETS(struct merge, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct merge *m = into;

	(void)id; /* the only one */
	return engine_set(m, value);
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct merge *m, int argc, char **argv)
{
	struct cli_options o = {
		.prog = m->prog,
		.usage = "[options] CHILD",
		.about = "Merge a differencing disk into an image it builds "
			 "on.",
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
	if (argc - o.first_operand != 1)
		return cli_usage(m->prog, "needs one differencing disk");
	if (m->opts.into && m->opts.all)
		return cli_usage(m->prog, "--into or --all, not both");
	m->path = argv[o.first_operand];
	return -1;
}

/* ------------------------------------------------------------ the plan -- */

/* All paths of an array on one line, cut where it would be too long. */
static void names(struct json_object *array, char *buf, size_t n)
{
	size_t count = cli_json_count(array), at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < count && at < n; i++) {
		char shown[VERB_SHOWN_BYTES];
		const char *path = cli_json_at(array, i);

		at += (size_t)snprintf(buf + at, n - at, "%s%s", i ? ", " : "",
				       verb_shown(path, shown));
	}
}

/* What becomes invalid is told; without --force that is the end of it, but a
 * dry run goes on to show the rest.
 */
static int others_judge(struct merge *m)
{
	char shown[VERB_SHOWN_BYTES], list[VERB_SHOWN_BYTES];
	bool many = cli_json_count(m->others) != 1;

	if (!cli_json_count(m->others))
		return 0;
	m->refused = !m->force;
	names(m->others, list, sizeof(list));
	fprintf(stderr, "%s: %s: %s on it, or on a layer above it, %s: %s%s\n",
		m->prog, verb_shown(m->target, shown),
		many ? "other images that build" : "another image that builds",
		m->refused || m->opts.dry_run ? "would become invalid"
		: many			      ? "become invalid"
					      : "becomes invalid",
		list, m->force ? "" : "; --force merges nevertheless");
	return m->refused && !m->opts.dry_run;
}

static int planned(void *ctx, const struct vhd_layer *layers,
		   const struct vhd_merge_result *plan)
{
	struct merge *m = ctx;
	int rc;

	m->target = strdup(layers[plan->layers].path);
	if (!m->target)
		return vhd_fail(&m->fault, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	for (uint32_t i = 0; i < plan->layers; i++)
		cli_json_add(m->merged, cli_json_text(layers[i].path));
	if (cli_json_lost())
		return vhd_fail(&m->fault, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = merge_others_find(layers, plan->layers + 1, m->opts.remove,
			       m->others, &m->fault);
	if (!rc)
		rc = others_judge(m);
	if (!rc && !m->opts.dry_run)
		cli_progress_start(&m->progress, "merging", plan->size_bytes,
				   m->quiet || m->json);
	return rc;
}

static int progress(void *ctx, uint64_t pos_bytes, uint64_t moved_bytes)
{
	struct merge *m = ctx;

	cli_progress_show(&m->progress, pos_bytes, moved_bytes);
	return verb_stopped();
}

/* ------------------------------------------------------------- the end -- */

static void end_text(const struct merge *m, const struct vhd_merge_result *r,
		     int64_t took_ms)
{
	char shown[2][VERB_SHOWN_BYTES], write[CLI_SIZE_TEXT];
	char need[CLI_SIZE_TEXT], have[CLI_SIZE_TEXT];

	verb_shown(m->path, shown[0]);
	verb_shown(m->target, shown[1]);
	cli_size_text(r->write_bytes, write, sizeof(write));
	cli_size_text(r->need_bytes, need, sizeof(need));
	cli_size_text(r->free_bytes, have, sizeof(have));
	printf("%s: %u layer%s into %s: %s %s, %u new block%s", shown[0],
	       r->layers, r->layers == 1 ? "" : "s", shown[1], write,
	       m->opts.dry_run ? "to write" : "written", r->new_blocks,
	       r->new_blocks == 1 ? "" : "s");
	if (m->opts.dry_run)
		printf(", up to %s more on the host, %s free", need, have);
	else
		printf(", %" PRId64 ".%" PRId64 " s", took_ms / 1000,
		       took_ms / 100 % 10);
	puts("");
	if (m->opts.remove && !m->opts.dry_run) {
		names(m->merged, shown[0], sizeof(shown[0]));
		printf("removed: %s\n", shown[0]);
	}
}

static struct json_object *end_json(struct merge *m,
				    const struct vhd_merge_result *r)
{
	struct json_object *o = cli_json_object();
	bool removed = m->opts.remove && !m->opts.dry_run;

	verb_put_text(o, "path", m->path);
	verb_put_text(o, "target", m->target);
	verb_put_text(o, "target-format", vhd_format_name(r->target_format));
	cli_json_put(o, "layers", json_object_get(m->merged));
	cli_json_put(o, "other-children", json_object_get(m->others));
	verb_put_bool(o, "written", !m->opts.dry_run);
	verb_put_bool(o, "removed", removed);
	verb_put_number(o, "virtual-size", r->size_bytes);
	verb_put_number(o, "held-bytes", r->held_bytes);
	verb_put_number(o, "write-bytes", r->write_bytes);
	verb_put_number(o, "zero-bytes", r->zero_bytes);
	verb_put_number(o, "new-blocks", r->new_blocks);
	verb_put_number(o, "need-bytes", r->need_bytes);
	cli_json_put(o, "free-bytes",
		 r->free_bytes == UINT64_MAX
			 ? NULL
			 : cli_json_number(r->free_bytes));
	verb_put_number(o, "file-size-before", r->old_file_bytes);
	verb_put_number(o, "file-size-after", r->new_file_bytes);
	return o;
}

static int failed(struct merge *m, struct vhd_err *err)
{
	int status = CLI_REFUSED;
	const char *path = m->target ? m->target : m->path;

	if (m->fault.code)
		status = cli_fail(m->prog, path, &m->fault);
	else if (!m->refused)
		status = cli_fail(m->prog, path, err);
	verb_stop_end();
	return status;
}

static int merge(struct merge *m)
{
	struct vhd_merge_result r;
	struct vhd_err err = {0};
	struct json_object *root = NULL;
	int64_t start_ms = cli_now_ms();
	int rc;

	m->merged = cli_json_array();
	m->others = cli_json_array();
	m->opts.planned = planned;
	m->opts.progress = progress;
	m->opts.ctx = m;
	m->opts.parent_dir = verb_parent_dir(&m->parents, m->path);
	if (!m->opts.parent_dir)
		rc = vhd_fail(&err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot find: %s", strerror(errno));
	else
		rc = vhd_merge(m->path, &m->opts, &r, &err);
	cli_progress_end(&m->progress);
	if (rc)
		return failed(m, &err);
	if (m->json)
		root = end_json(m, &r);
	else if (!m->quiet)
		end_text(m, &r, cli_now_ms() - start_ms);
	return cli_json_end(m->prog, root, m->refused ? CLI_DIFFERENT : CLI_OK);
}

/* What is merged into may be anywhere where parents may be; so may what goes
 * with --remove.
 */
static int sandbox(struct merge *m)
{
	const char *dir = verb_parent_dir(&m->parents, m->path);
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow(&s, m->path, SANDBOX_CHANGE);
	sandbox_allow(&s, dir, m->opts.remove ? SANDBOX_MAKE : SANDBOX_CHANGE);
	verb_parents_fini(&m->parents);
	return sandbox_enter(&s, m->prog);
}

int verb_merge(const char *prog, int argc, char **argv)
{
	struct merge m = {.prog = prog};
	int status = parse(&m, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(&m);
	if (status != CLI_OK)
		return status;
	verb_stop_watch();
	status = merge(&m);
	json_object_put(m.merged);
	json_object_put(m.others);
	free(m.target);
	verb_parents_fini(&m.parents);
	return status;
}
