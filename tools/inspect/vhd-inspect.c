/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-inspect: what there is to know about disk images. Nothing is written.
 *
 * An image that is refused for use is opened once more in a way that shows
 * what can be shown; the report is followed by the fault, and the exit status
 * says so.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "picture.h"
#include "tools/sandbox/sandbox.h"

static const char prog[] = "vhd-inspect";

enum {
	OPT_JSON = 256,
	OPT_FORMAT,
	OPT_NO_CONTENT,
	OPT_PARENT_DIR,
	OPT_NO_PARENT,
	OPT_MAP,
	OPT_SVG,
	OPT_ZEROS,
	OPT_BITMAPS,
	OPT_WIDTH,
	OPT_COLOR,
	OPT_LARGER_CHILD,
	OPT_RAW_PARENT,
};

static const struct cli_option options[] = {
	{ "json", OPT_JSON, NULL, "print JSON for programs" },
	{ "map", OPT_MAP, NULL,
	  "draw where the disk has data, layer by layer" },
	{ "svg", OPT_SVG, "PATH",
	  "draw the same for a report, into this file" },
	{ "zeros", OPT_ZEROS, NULL,
	  "read all data to part what is only zeros from the rest" },
	{ "bitmaps", OPT_BITMAPS, NULL,
	  "read every block's bitmap, however many there are" },
	{ "width", OPT_WIDTH, "COLUMNS",
	  "of --map (default: the terminal's, or 80)" },
	{ "color", OPT_COLOR, "WHEN",
	  "colours in --map: auto (on a terminal), always, never" },
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
	{ "raw-parent", OPT_RAW_PARENT, NULL,
	  "one that blktap made on a raw disk may name it" },
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
	bool map;
	bool zeros;
	bool bitmaps;
	const char *svg;
	struct inspect_style style;
	bool larger_child;
	bool raw_parent;
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

static int width_set(struct inspect_opts *opts, const char *text)
{
	uint64_t n;

	if (cli_number_parse(text, 20, 1000, &n))
		return cli_usage(prog, "--width %s: not a number from 20 to "
				       "1000", text);
	opts->style.columns = (unsigned)n;
	return CLI_OK;
}

static bool terminal_colours(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (!no || !*no) && term && *term &&
	       strcmp(term, "dumb") != 0;
}

static int color_set(struct inspect_opts *opts, const char *text)
{
	if (!strcmp(text, "auto"))
		opts->style.colour = terminal_colours();
	else if (!strcmp(text, "always"))
		opts->style.colour = true;
	else if (!strcmp(text, "never"))
		opts->style.colour = false;
	else
		return cli_usage(prog, "--color %s: not one of auto, always, "
				       "never", text);
	return CLI_OK;
}

static unsigned terminal_columns(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return columns && atoi(columns) > 0 ? (unsigned)atoi(columns) : 80;
}

static const struct cli_set sets[] = {
	{OPT_JSON, CLI_SETS(struct inspect_opts, json)},
	{OPT_MAP, CLI_SETS(struct inspect_opts, map)},
	{OPT_SVG, CLI_TAKES(struct inspect_opts, svg)},
	{OPT_ZEROS, CLI_SETS(struct inspect_opts, zeros)},
	{OPT_BITMAPS, CLI_SETS(struct inspect_opts, bitmaps)},
	{OPT_NO_CONTENT, CLI_SETS(struct inspect_opts, no_content)},
	{'f', CLI_SETS(struct inspect_opts, force)},
	{OPT_PARENT_DIR, CLI_TAKES(struct inspect_opts, parent_dir)},
	{OPT_NO_PARENT, CLI_SETS(struct inspect_opts, no_parent)},
	{OPT_LARGER_CHILD, CLI_SETS(struct inspect_opts, larger_child)},
	{OPT_RAW_PARENT, CLI_SETS(struct inspect_opts, raw_parent)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct inspect_opts *opts = into;

	switch (id) {
	case OPT_WIDTH:
		return width_set(opts, value);
	case OPT_COLOR:
		return color_set(opts, value);
	default:
		return format_set(opts, value);
	}
}

/* Options that have no sense together. */
static int combination_check(const struct inspect_opts *opts)
{
	if (opts->no_parent && opts->parent_dir)
		return cli_usage(prog, "--no-parent excludes --parent-dir");
	if (opts->map && opts->json)
		return cli_usage(prog, "--map excludes --json, whose member "
				       "allocation has the numbers");
	if (!opts->path_count)
		return cli_usage(prog, "needs a file to look at");
	if (opts->svg && opts->path_count > 1)
		return cli_usage(prog, "--svg takes one image");
	return -1;
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
		.sets = sets,
		.apply = apply,
		.into = opts,
		.argc = argc,
		.argv = argv,
	};
	int status;

	opts->style = (struct inspect_style){
		.columns = terminal_columns(),
		.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8"),
		.colour = terminal_colours(),
	};
	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	opts->paths = argv + o.first_operand;
	opts->path_count = argc - o.first_operand;
	return combination_check(opts);
}

/* All files are named by now: the images, where their parents may be, and the
 * picture's directory.
 */
static int sandbox(const struct inspect_opts *opts)
{
	struct sandbox s = {
		.role = opts->svg ? SANDBOX_WRITER : SANDBOX_READER,
	};

	tzset(); /* reads its file now */
	for (int i = 0; i < opts->path_count; i++) {
		char *own = opts->no_parent || opts->parent_dir
				    ? NULL
				    : cli_parent_dir(opts->paths[i]);

		sandbox_allow_image(&s, opts->paths[i],
				    opts->parent_dir ? opts->parent_dir : own);
		free(own);
	}
	sandbox_allow_dir_of(&s, opts->svg, SANDBOX_MAKE);
	return sandbox_enter(&s, prog);
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
	static const struct vhd_nbd_opts remote; /* all by default */
	struct vhd_open_opts how = {
		.format = opts->format,
		.force_read = opts->force,
		.larger_child = opts->larger_child,
		.raw_parent = opts->raw_parent,
		.parent_dir = opts->parent_dir ? opts->parent_dir : own,
		.nbd = &remote,
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

/* Whether the map leads anywhere: the image is sound, or nothing is wrong with
 * it but that its parent is not here.
 */
static bool has_map(const struct inspect_report *r)
{
	if (!r->img || r->fault.why == VHD_WHY_NONE)
		return r->img != NULL;
	return r->info->faults == 1 &&
	       (r->fault.why == VHD_WHY_NEEDS_PARENT ||
		r->fault.why == VHD_WHY_PARENT_MISSING ||
		r->fault.why == VHD_WHY_PARENT_ID);
}

/* Who holds what is counted where it is asked for, and of chains always. */
static int count(struct inspect_report *r, const struct inspect_opts *opts,
		 struct inspect_alloc *a)
{
	struct inspect_alloc_opts how = {
		.bitmaps = opts->bitmaps,
		.zeros = opts->zeros,
		.quiet = opts->json,
		.grids = 2,
	};
	bool asked = opts->map || opts->svg || opts->zeros || opts->bitmaps;
	struct vhd_err err;

	if (!has_map(r) || (!asked && (!inspect_chain_whole(r) ||
				       r->fault.why != VHD_WHY_NONE)))
		return CLI_OK;
	how.cell_bytes[0] = inspect_map_cell(r->info->size_bytes,
					     opts->style.columns);
	how.cell_bytes[1] = inspect_svg_cell(r->info->size_bytes);
	if (inspect_alloc_count(a, r->img, &how, &err))
		return cli_fail(prog, r->path, &err);
	r->alloc = a;
	return CLI_OK;
}

static int pictures(const struct inspect_report *r,
		    const struct inspect_opts *opts)
{
	struct vhd_err err;

	if (!r->alloc)
		return CLI_OK;
	if (opts->map)
		inspect_map(r, r->alloc, &r->alloc->grid[0], &opts->style,
			    stdout);
	fflush(stdout);
	if (opts->svg &&
	    inspect_svg(r, r->alloc, &r->alloc->grid[1], opts->svg, &err))
		return cli_fail(prog, opts->svg, &err);
	return CLI_OK;
}

static int worse(int a, int b)
{
	return a > b ? a : b;
}

/* Show one image; returns its exit code. */
static int inspect(const char *path, const struct inspect_opts *opts,
		   struct json_object *list, bool first)
{
	struct inspect_report r = { .path = path };
	struct inspect_alloc alloc = { 0 };
	int status;

	gather(&r, opts);
	status = count(&r, opts, &alloc);
	if (list) {
		cli_json_add(list, inspect_json(&r));
	} else if (r.img) {
		if (!first)
			putchar('\n');
		inspect_text(&r, stdout);
		fflush(stdout);
	}
	status = worse(status, pictures(&r, opts));
	if (r.fault.why != VHD_WHY_NONE)
		status = worse(status, cli_fail(prog, path, &r.fault));
	inspect_alloc_free(&alloc);
	free(r.content);
	free(r.parent_dir_own);
	vhd_abandon(r.img);
	return status;
}

int main(int argc, char **argv)
{
	struct inspect_opts opts = { 0 };
	struct json_object *root = NULL, *list = NULL;
	int status;

	if (!cli_streams_hold()) {
		cli_tell("vhd-inspect: cannot open /: %s\n", strerror(errno));
		return CLI_IO;
	}
	signal(SIGXFSZ, SIG_IGN); /* the file size limit becomes EFBIG */
	/* Only what a character is: numbers stay as they are. */
	setlocale(LC_CTYPE, "");
	status = parse(argc, argv, &opts);
	if (status >= 0)
		return status;
	status = sandbox(&opts);
	if (status != CLI_OK)
		return status;
	if (opts.json) {
		root = cli_json_object();
		list = cli_json_array();
	}
	for (int i = 0; i < opts.path_count; i++) {
		int one = inspect(opts.paths[i], &opts, list, i == 0);

		if (one > status)
			status = one;
	}
	if (opts.json)
		cli_json_put(root, "images", list);
	return cli_json_end(prog, root, status);
}
