/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd compare: whether two images hold the same, whatever their types. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/convert/convert.h"
#include "verb.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_FORMAT = 256,
	OPT_FORMAT_A,
	OPT_FORMAT_B,
	OPT_STRICT,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
	OPT_RAW_PARENT,
	OPT_DIRECT,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"format", OPT_FORMAT, "FORMAT",
	 "take both files as raw, fixed or dynamic instead of\n"
	 "finding out by looking"},
	{"format-a", OPT_FORMAT_A, "FORMAT", "the same for A only"},
	{"format-b", OPT_FORMAT_B, "FORMAT", "the same for B only"},
	{"strict", OPT_STRICT, NULL,
	 "disks of different sizes differ, even when the rest of\n"
	 "the larger one is zero"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "differencing disks, which are in or below DIR, may have\n"
	 "their parents there (default: their own directories)"},
	{"no-parent", OPT_NO_PARENT, NULL, "refuse differencing disks"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let them be larger than their parents; the rest is zero"},
	{"raw-parent", OPT_RAW_PARENT, NULL,
	 "one that blktap made on a raw disk may name it"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors; see the exit status"},
	{0},
};

struct compare {
	const char *prog;
	const char *path[2];
	enum vhd_format format[2];
	struct verb_parents parents;
	bool larger_child;
	bool raw_parent;
	bool strict;
	bool direct;
	bool json;
	bool quiet;
	struct convert_input in[2];
	uint64_t size_bytes[2];
};

/* -------------------------------------------------------- command line -- */

static int apply(void *into, int id, const char *value)
{
	struct compare *c = into;
	const char *name = id == OPT_FORMAT	? "format"
			   : id == OPT_FORMAT_A ? "format-a"
						: "format-b";
	enum vhd_format format;
	int status = verb_format(c->prog, name, value, true, &format);

	if (status)
		return status;
	if (id != OPT_FORMAT_B)
		c->format[0] = format;
	if (id != OPT_FORMAT_A)
		c->format[1] = format;
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{OPT_PARENT_DIR, CLI_TAKES(struct compare, parents.dir)},
	{OPT_STRICT, CLI_SETS(struct compare, strict)},
	{OPT_DIRECT, CLI_SETS(struct compare, direct)},
	{OPT_NO_PARENT, CLI_SETS(struct compare, parents.none)},
	{OPT_LARGER_CHILD, CLI_SETS(struct compare, larger_child)},
	{OPT_RAW_PARENT, CLI_SETS(struct compare, raw_parent)},
	{OPT_JSON, CLI_SETS(struct compare, json)},
	{'q', CLI_SETS(struct compare, quiet)},
	{0},
};

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct compare *c, int argc, char **argv)
{
	struct cli_options o = {
		.prog = c->prog,
		.usage = "[options] A B",
		.about = "Compare what two images hold, whatever their types.",
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
	if (argc - o.first_operand != 2)
		return cli_usage(c->prog, "needs two images");
	c->path[0] = argv[o.first_operand];
	c->path[1] = argv[o.first_operand + 1];
	return -1;
}

/* ------------------------------------------------------------- verdict -- */

static void report_text(const struct compare *c, bool same, bool content,
			uint64_t at)
{
	char shown[2][VERB_SHOWN_BYTES];
	bool sizes = c->size_bytes[0] == c->size_bytes[1];

	for (int i = 0; i < 2; i++)
		verb_shown(c->path[i], shown[i]);
	if (!content)
		printf("%s and %s differ: first at disk offset %" PRIu64 "\n",
		       shown[0], shown[1], at);
	else if (same && sizes)
		printf("%s and %s hold the same\n", shown[0], shown[1]);
	else
		printf("%s and %s %s: sizes %" PRIu64 " and %" PRIu64
		       ", the rest of the larger one is zero\n",
		       shown[0], shown[1], same ? "hold the same" : "differ",
		       c->size_bytes[0], c->size_bytes[1]);
}

static struct json_object *report(const struct compare *c, bool same,
				  bool content, uint64_t at)
{
	static const char *const keys[] = {"a", "b"};
	struct json_object *o = cli_json_object();

	for (int i = 0; i < 2; i++) {
		struct json_object *side = cli_json_object();

		verb_put_text(side, "path", c->path[i]);
		verb_put_text(
			side, "format",
			vhd_format_name(vhd_get_info(c->in[i].img)->format));
		verb_put_number(side, "size", c->size_bytes[i]);
		cli_json_put(o, keys[i], side);
	}
	verb_put_bool(o, "same", same);
	verb_put_bool(o, "same-content", content);
	cli_json_put(o, "first-difference",
		 content ? NULL : cli_json_number(at));
	return o;
}

static int verdict(const struct compare *c, bool content, uint64_t at)
{
	bool same =
		content && (!c->strict || c->size_bytes[0] == c->size_bytes[1]);
	struct json_object *root = NULL;

	if (c->json)
		root = report(c, same, content, at);
	else if (!c->quiet)
		report_text(c, same, content, at);
	return cli_json_end(c->prog, root, same ? CLI_OK : CLI_DIFFERENT);
}

/* ---------------------------------------------------------- the images -- */

static int inputs_open(struct compare *c, const char **blame,
		       struct vhd_err *err)
{
	static const struct vhd_nbd_opts remote; /* all by default */

	for (int i = 0; i < 2; i++) {
		const struct vhd_open_opts how = {
			.format = c->format[i],
			.direct = c->direct,
			.parent_dir = verb_parent_dir(&c->parents, c->path[i]),
			.larger_child = c->larger_child,
			.raw_parent = c->raw_parent,
			.nbd = &remote,
		};
		int rc = convert_input_open(&c->in[i], c->path[i], &how, err);

		*blame = c->path[i];
		if (rc)
			return rc;
		c->size_bytes[i] = vhd_get_info(c->in[i].img)->size_bytes;
	}
	return 0;
}

static int compare(struct compare *c, struct convert_job *job, uint64_t *at,
		   struct vhd_err *err)
{
	uint64_t larger;
	int rc = inputs_open(c, &job->blame, err);

	if (!rc)
		rc = convert_job_init(job, VHD_ENGINE_AUTO, err);
	if (rc)
		return rc;
	larger = c->size_bytes[0] > c->size_bytes[1] ? c->size_bytes[0]
						     : c->size_bytes[1];
	cli_progress_start(&job->progress, "comparing", larger,
			   c->quiet || c->json);
	rc = convert_compare(job, &c->in[0], &c->in[1], at, err);
	cli_progress_end(&job->progress);
	return rc;
}

static int sandbox(struct compare *c)
{
	struct sandbox s = {.role = SANDBOX_READER};

	for (int i = 0; i < 2; i++)
		sandbox_allow_image(&s, c->path[i],
				    verb_parent_dir(&c->parents, c->path[i]));
	verb_parents_fini(&c->parents);
	return sandbox_enter(&s, c->prog);
}

int verb_compare(const char *prog, int argc, char **argv)
{
	struct compare c = {
		.prog = prog,
		.in = {{.fd = -1}, {.fd = -1}},
	};
	struct convert_job job = {.signal_fd = -1, .wake_fd = -1};
	struct vhd_err err = {0};
	uint64_t at = 0;
	int rc, status = parse(&c, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(&c);
	if (status != CLI_OK)
		return status;
	job.src = c.path[0];
	job.dst = c.path[1];
	rc = compare(&c, &job, &at, &err);
	status = rc < 0 ? cli_fail(prog, job.blame, &err)
			: verdict(&c, rc == 0, at);
	convert_job_fini(&job);
	convert_input_close(&c.in[0]);
	convert_input_close(&c.in[1]);
	verb_parents_fini(&c.parents);
	return status;
}
