/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-inspect: what there is to know about disk images. Nothing is written.
 *
 * An image that is refused for use is opened once more in a way that shows
 * what can be shown; the report is followed by the fault, and the exit status
 * says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspect.h"

static const char prog[] = "vhd-inspect";

enum {
	OPT_JSON = 256,
	OPT_FORMAT,
	OPT_NO_CONTENT,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_LARGER_CHILD,
};

static const struct cli_option options[] = {
	{ "json", OPT_JSON, NULL, "print JSON for programs" },
	{ "format", OPT_FORMAT, "FORMAT",
	  "take the files as raw, fixed or dynamic instead of\n"
	  "finding out by looking" },
	{ "no-content", OPT_NO_CONTENT, NULL,
	  "do not look for partitions and file systems" },
	{ "parent-dir", OPT_PARENT_DIR, "DIR",
	  "differencing disks, which are in or below DIR, may have\n"
	  "their parents there (default: their own directories)" },
	{ "no-parent", OPT_NO_PARENT, NULL, "do not look for parents" },
	{ "larger-child", OPT_LARGER_CHILD, NULL,
	  "a child may be larger than its parent, what the parent\n"
	  "lacks is zero" },
	{ "force", 'f', NULL,
	  "look although another program has it open for writing;\n"
	  "what is shown may be torn" },
	{ 0 },
};

struct inspect_opts {
	bool json;
	bool no_content;
	bool force;
	bool no_parent;
	bool larger_child;
	const char *parent_dir; /* NULL: the image's own */
	enum vhd_format format;
	char **paths;
	int path_count;
};

static int format_set(struct inspect_opts *opts, const char *text)
{
	for (int f = VHD_FORMAT_AUTO; f <= VHD_FORMAT_DYNAMIC; f++)
		if (!strcmp(vhd_format_name((enum vhd_format)f), text)) {
			opts->format = (enum vhd_format)f;
			return CLI_OK;
		}
	return cli_usage(prog, "--format %s: not one of raw, fixed, dynamic, "
			       "auto", text);
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(int argc, char **argv, struct inspect_opts *opts)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "[options] FILE...",
		.about = "Show what there is to know about disk images, VHD or "
			 "raw.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int id, status = CLI_OK;

	while ((id = cli_options_next(&o, &status)) > 0) {
		if (id == OPT_JSON)
			opts->json = true;
		else if (id == OPT_NO_CONTENT)
			opts->no_content = true;
		else if (id == 'f')
			opts->force = true;
		else if (id == OPT_PARENT_DIR)
			opts->parent_dir = o.value;
		else if (id == OPT_NO_PARENT)
			opts->no_parent = true;
		else if (id == OPT_LARGER_CHILD)
			opts->larger_child = true;
		else
			status = format_set(opts, o.value);
		if (status)
			return status;
	}
	if (id < 0)
		return status;
	opts->paths = argv + o.first_operand;
	opts->path_count = argc - o.first_operand;
	if (opts->no_parent && opts->parent_dir)
		return cli_usage(prog, "--no-parent excludes --parent-dir");
	if (!opts->path_count)
		return cli_usage(prog, "needs a file to look at");
	return -1;
}

/* Open as for use; failing that, to look. `r->fault` tells why the former
 * was refused.
 */
static void open_image(struct inspect_report *r,
		       const struct inspect_opts *opts)
{
	char *own = opts->no_parent || opts->parent_dir
			    ? NULL
			    : cli_parent_dir(r->path);
	struct vhd_open_opts how = {
		.format = opts->format,
		.force_read = opts->force,
		.larger_child = opts->larger_child,
		.parent_dir = opts->parent_dir ? opts->parent_dir : own,
	};

	r->parent_dir = how.parent_dir;
	r->parent_dir_own = own;
	if (!vhd_open(r->path, &how, &r->img, &r->fault))
		return;
	how.inspect = true;
	if (vhd_open(r->path, &how, &r->img, NULL))
		r->img = NULL;
}

static void gather(struct inspect_report *r, const struct inspect_opts *opts)
{
	open_image(r, opts);
	if (!r->img)
		return;
	r->info = vhd_get_info(r->img);
	if (stat(r->path, &r->st) < 0)
		memset(&r->st, 0, sizeof(r->st));
	/* The map of a damaged image leads anywhere. */
	if (opts->no_content || r->fault.why != VHD_WHY_NONE)
		return;
	r->content = calloc(1, sizeof(*r->content));
	if (r->content)
		inspect_content_find(r->content, r->img, r->path);
}

/* Show one image; returns its exit code. */
static int inspect(const char *path, const struct inspect_opts *opts,
		   struct json_object *list, bool first)
{
	struct inspect_report r = { .path = path };
	int status = CLI_OK;

	gather(&r, opts);
	if (list) {
		json_object_array_add(list, inspect_json(&r));
	} else if (r.img) {
		if (!first)
			putchar('\n');
		inspect_text(&r, stdout);
		fflush(stdout);
	}
	if (r.fault.why != VHD_WHY_NONE)
		status = cli_fail(prog, path, &r.fault);
	free(r.content);
	free(r.parent_dir_own);
	vhd_abandon(r.img);
	return status;
}

static int finish(struct json_object *root, int status)
{
	if (root) {
		puts(json_object_to_json_string_ext(
			root, JSON_C_TO_STRING_PRETTY |
				      JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(root);
	}
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "%s: standard output: %s\n", prog,
			strerror(errno));
		return CLI_IO;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct inspect_opts opts = { 0 };
	struct json_object *root = NULL, *list = NULL;
	int status = parse(argc, argv, &opts);

	if (status >= 0)
		return status;
	status = CLI_OK;
	if (opts.json) {
		root = json_object_new_object();
		list = json_object_new_array();
		json_object_object_add(root, "images", list);
	}
	for (int i = 0; i < opts.path_count; i++) {
		int one = inspect(opts.paths[i], &opts, list, i == 0);

		if (one > status)
			status = one;
	}
	return finish(root, status);
}
