/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd resize: a disk larger or smaller, in place. The library moves the image
 * from one size to the other; what is on the disk is seen to here: no
 * partition may reach behind a new end, and a GUID partition table has a
 * backup that belongs to the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpt.h"
#include "tools/inspect/inspect.h"
#include "verb.h"
#include "set.h"
#include "tools/sandbox/sandbox.h"

enum {
	OPT_SHRINK = 256,
	OPT_GPT,
	OPT_PREALLOC,
	OPT_FORMAT,
	OPT_PARENT_DIR,
	OPT_LARGER_CHILD,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"shrink", OPT_SHRINK, NULL, "a smaller disk is meant"},
	{"gpt", OPT_GPT, NULL,
	 "bring the backup of a GUID partition table to the new\n"
	 "end of a larger disk (of a smaller one: always)"},
	{"prealloc", OPT_PREALLOC, NULL,
	 "reserve the new space of a fixed image at once"},
	{"dry-run", 'n', NULL, "only show what would be done"},
	{"force", 'f', NULL,
	 "although partitions or data behind the new end are\n"
	 "lost, or other disks build on it"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "a differencing disk, which is in or below DIR, may have\n"
	 "its parents there (default: its own directory)"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let a differencing disk be larger than its parent"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

struct resize_verb {
	const char *prog;
	const char *path;
	const char *cut; /* the operand that had a minus */
	char shown[VERB_SHOWN_BYTES];
	struct vhd_resize_opts opts;
	struct verb_parents parents;
	bool gpt;
	bool json;
	bool quiet;
	/* found */
	struct inspect_content *content;
	bool has_gpt;
	bool gpt_moved;
	bool gpt_behind; /* its backup is not at the end */
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_SHRINK, CLI_SETS(struct resize_verb, opts.shrink)},
	{OPT_GPT, CLI_SETS(struct resize_verb, gpt)},
	{OPT_PREALLOC, CLI_SETS(struct resize_verb, opts.prealloc)},
	{'n', CLI_CLEARS(struct resize_verb, opts.write)},
	{'f', CLI_SETS(struct resize_verb, opts.force)},
	{OPT_PARENT_DIR, CLI_TAKES(struct resize_verb, parents.dir)},
	{OPT_LARGER_CHILD, CLI_SETS(struct resize_verb, opts.larger_child)},
	{OPT_JSON, CLI_SETS(struct resize_verb, json)},
	{'q', CLI_SETS(struct resize_verb, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct resize_verb *v = into;

	(void)id; /* the only one */
	return verb_format(v->prog, "format", value, false,
			   &v->opts.format);
}

/* "-4G" is a size here and no option. */
static void find_cut(struct resize_verb *v, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (argv[i][0] == '-' && argv[i][1] >= '0' &&
		    argv[i][1] <= '9' && !v->cut)
			v->cut = ++argv[i];
}

static int size_set(struct resize_verb *v, const char *text)
{
	if (text == v->cut) {
		v->opts.by = VHD_RESIZE_CUT;
	} else if (*text == '+') {
		v->opts.by = VHD_RESIZE_GROW;
		text++;
	}
	if (cli_size_parse(text, &v->opts.size_bytes))
		return cli_usage(v->prog,
				 "%s: not a size such as 20G, +512M or -1T",
				 text);
	if (v->opts.size_bytes % VHD_SECTOR_BYTES)
		return cli_usage(v->prog,
				 "%" PRIu64 ": not whole 512-byte sectors",
				 v->opts.size_bytes);
	return -1;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct resize_verb *v, int argc, char **argv)
{
	struct cli_options o = {
		.prog = v->prog,
		.usage = "[options] SIZE|+SIZE FILE\n"
			 "--shrink [options] SIZE|-SIZE FILE",
		.about = "Make the disk in a VHD image larger or smaller.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = v,
		.argc = argc,
		.argv = argv,
	};
	int status;

	v->opts.write = true;
	find_cut(v, argc, argv);
	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	if (argc - o.first_operand != 2)
		return cli_usage(v->prog, "needs a size and one file");
	v->path = argv[o.first_operand + 1];
	return size_set(v, argv[o.first_operand]);
}

/* ------------------------------------------------------ what is on it -- */

static int behind(struct vhd_err *err, const char *what, uint64_t end_bytes)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_BEHIND, 0,
			"%s reaches to byte %" PRIu64 ", behind the new end",
			what, end_bytes);
}

static int parts_allow(const struct inspect_content *c, uint64_t new_bytes,
		       struct vhd_err *err)
{
	char name[32];

	for (unsigned i = 0; i < c->part_count; i++) {
		const struct inspect_part *p = &c->parts[i];
		uint64_t end =
			p->past_end ? UINT64_MAX : p->off_bytes + p->len_bytes;

		snprintf(name, sizeof(name), "partition %d", p->number);
		if (end > new_bytes)
			return behind(err, name, end);
	}
	if (c->part_more)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_BEHIND, 0,
				"too many partitions to look at");
	return 0;
}

/* May the disk end there? Nothing is known of a file system's own end when it
 * has the disk to itself.
 */
static int content_allows(struct resize_verb *v, struct vhd *img,
			  uint64_t new_bytes, struct vhd_err *err)
{
	struct inspect_content *c = v->content;

	inspect_content_find(c, img, v->path);
	if (v->opts.force)
		return 0;
	if (!c->looked) {
		*err = c->err;
		return c->err.code ? c->err.code : -EIO;
	}
	if (!c->table[0] && (c->fs.type[0] || c->fs.ambiguous))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_BEHIND, 0,
				"%s has the disk without a partition table "
				"and may use all of it",
				c->fs.type[0] ? c->fs.type
					      : "more than one file system");
	return parts_allow(c, new_bytes, err);
}

static void gone_backup(const struct gpt *g, uint64_t old_bytes,
			uint64_t new_bytes, struct vhd_resize_free *gone)
{
	uint64_t off = g->backup_lba * VHD_SECTOR_BYTES;

	if (off < new_bytes) /* shorter by less than a backup */
		off = new_bytes;
	if (g->backup_there)
		*gone = (struct vhd_resize_free){off, old_bytes - off};
}

static void child_found(void *ctx, const char *path)
{
	char *child = ctx;

	if (!*child)
		verb_shown(path, child);
}

/* A child of another size than its parent's is refused wherever it is opened:
 * all that builds on the disk would be out of reach.
 */
static int children_allow(const struct resize_verb *v, const struct vhd *img,
			  const struct vhd_resize_result *plan,
			  struct vhd_err *err)
{
	char child[VERB_SHOWN_BYTES] = "";

	if (v->opts.force || plan->new_size_bytes == plan->old_size_bytes)
		return 0;
	set_children_find(v->path, vhd_get_info(img)->unique_id, child_found,
			  child);
	if (!*child)
		return 0;
	return vhd_fail(err, -EBUSY, VHD_WHY_UNSUPPORTED, 0,
			"%.60s builds on it and would no longer open; "
			"--force does it nevertheless",
			child);
}

static int look(struct resize_verb *v, struct vhd *img,
		const struct vhd_resize_result *plan,
		struct vhd_resize_free *gone, struct vhd_err *err)
{
	uint64_t new_sectors = plan->new_size_bytes / VHD_SECTOR_BYTES;
	bool shrinks = plan->new_size_bytes < plan->old_size_bytes;
	struct gpt g;
	int rc = children_allow(v, img, plan, err);

	if (!rc && shrinks)
		rc = content_allows(v, img, plan->new_size_bytes, err);
	if (rc)
		return rc;
	rc = gpt_read(&g, img, err);
	if (rc < 0 && rc != -EUCLEAN)
		return rc;
	if (rc < 0) /* damaged: nothing that could be kept by moving it */
		return (shrinks || v->gpt) && !v->opts.force ? rc : 0;
	v->has_gpt = rc;
	if (!rc)
		return 0;
	v->gpt_behind = !gpt_fits(&g, new_sectors);
	rc = 0;
	if (shrinks)
		gone_backup(&g, plan->old_size_bytes, plan->new_size_bytes,
			    gone);
	if (shrinks && !v->opts.force)
		rc = gpt_room(&g, new_sectors, err);
	gpt_fini(&g);
	return rc;
}

static int move_gpt(struct resize_verb *v, struct vhd *img, uint64_t bytes,
		    struct vhd_err *err)
{
	struct gpt g;
	int rc = gpt_read(&g, img, err);

	if (rc <= 0)
		return rc;
	rc = 0;
	if (!gpt_fits(&g, bytes / VHD_SECTOR_BYTES))
		rc = gpt_move(&g, img, bytes / VHD_SECTOR_BYTES, err);
	if (!rc)
		v->gpt_moved = v->gpt_behind;
	gpt_fini(&g);
	return rc;
}

static int disk(void *ctx, enum vhd_resize_moment moment, struct vhd *img,
		const struct vhd_resize_result *plan,
		struct vhd_resize_free *gone, struct vhd_err *err)
{
	struct resize_verb *v = ctx;
	bool shrinks = plan->new_size_bytes < plan->old_size_bytes;
	int rc;

	if (moment == VHD_RESIZE_LOOK)
		return look(v, img, plan, gone, err);
	if (!v->has_gpt || shrinks != (moment == VHD_RESIZE_BEFORE) ||
	    (!shrinks && !v->gpt))
		return 0;
	rc = move_gpt(v, img, plan->new_size_bytes, err);
	/* Forced past its partitions it is of no more use. */
	return rc == -EUCLEAN && shrinks && v->opts.force ? 0 : rc;
}

/* --------------------------------------------------------------- report -- */

static struct json_object *report(const struct resize_verb *v,
				  const struct vhd_resize_result *r)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "path", v->path);
	verb_put_bool(o, "written", v->opts.write);
	verb_put_text(o, "format", vhd_format_name(r->format));
	verb_put_number(o, "size-before", r->old_size_bytes);
	verb_put_number(o, "size-after", r->new_size_bytes);
	verb_put_number(o, "file-size-before", r->old_file_bytes);
	cli_json_put(o, "file-size-after",
		 r->new_file_bytes ? cli_json_number(r->new_file_bytes)
				   : NULL);
	verb_put_bool(o, "table-moved", r->table_moved);
	verb_put_number(o, "blocks-dropped", r->blocks_dropped);
	verb_put_bool(o, "data-dropped", r->data_dropped);
	verb_put_bool(o, "gpt", v->has_gpt);
	verb_put_bool(o, "gpt-moved", v->gpt_moved);
	verb_put_bool(o, "gpt-behind", v->gpt_behind && !v->gpt_moved);
	return o;
}

static void report_text(const struct resize_verb *v,
			const struct vhd_resize_result *r)
{
	char old[CLI_SIZE_TEXT], now[CLI_SIZE_TEXT], *what = "";

	cli_size_text(r->old_size_bytes, old, sizeof(old));
	cli_size_text(r->new_size_bytes, now, sizeof(now));
	if (r->new_size_bytes == r->old_size_bytes)
		printf("%s: has %s already\n", v->shown, now);
	else
		printf("%s: %s %s %s, was %s\n", v->shown,
		       vhd_format_name(r->format),
		       v->opts.write ? "of" : "would become one of", now, old);
	if (r->blocks_dropped)
		printf("%s: %u blocks behind the new end%s dropped%s\n",
		       v->shown, r->blocks_dropped,
		       v->opts.write ? "" : " would be",
		       r->data_dropped ? ", with data" : "");
	if (r->table_moved && v->opts.write)
		what = " moved";
	else if (r->table_moved)
		what = " would move";
	if (*what)
		printf("%s: the block table%s behind the blocks to become "
		       "longer\n",
		       v->shown, what);
	if (v->gpt_moved)
		printf("%s: the backup of the partition table is at the new "
		       "end\n",
		       v->shown);
	else if (v->gpt_behind && r->new_size_bytes > r->old_size_bytes)
		printf("%s: the backup of the partition table%s not at the "
		       "new end; --gpt moves it, or `sgdisk -e` in the "
		       "guest\n",
		       v->shown, v->opts.write ? " is" : " would be");
}

/* Who builds on the disk is looked for beside it. */
static int sandbox(struct resize_verb *v)
{
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, v->path, verb_parent_dir(&v->parents, v->path));
	sandbox_allow_dir_of(&s, v->path, SANDBOX_READ);
	sandbox_allow(&s, v->path, SANDBOX_CHANGE);
	verb_parents_fini(&v->parents);
	return sandbox_enter(&s, v->prog);
}

int verb_resize(const char *prog, int argc, char **argv)
{
	struct resize_verb v = {.prog = prog};
	struct vhd_resize_result r;
	struct vhd_err err = {0};
	int status = parse(&v, argc, argv), rc;

	if (status >= 0)
		return status;
	status = sandbox(&v);
	if (status != CLI_OK)
		return status;
	verb_shown(v.path, v.shown);
	v.content = calloc(1, sizeof(*v.content));
	if (!v.content) {
		fprintf(stderr, "%s: out of memory\n", prog);
		return CLI_IO;
	}
	v.opts.parent_dir = verb_parent_dir(&v.parents, v.path);
	v.opts.disk = disk;
	v.opts.ctx = &v;
	rc = vhd_resize(v.path, &v.opts, &r, &err);
	free(v.content);
	verb_parents_fini(&v.parents);
	if (rc)
		return cli_fail(prog, v.path, &err);
	if (!v.json && !v.quiet)
		report_text(&v, &r);
	return cli_json_end(prog, v.json ? report(&v, &r) : NULL, CLI_OK);
}
