/* SPDX-License-Identifier: BSD-2-Clause */
/* Compacting: see compact_int.h. Blocks that need not be there leave the table
 * first, and durably; only then does anything use their places.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compact_int.h"
#include "fail.h"
#include "filesys.h"

static_assert(VHD_BLOCK_BYTES_MAX / VHD_SECTOR_BYTES / 8 <= COMPACT_BUF_BYTES,
	      "a bitmap fits the buffer");

/* -------------------------------------------------------------- set-up -- */

static int allowed(const struct compact *c, bool to, struct vhd_err *err)
{
	const struct vhd_info *info = &c->img->info;

	if (info->notes & VHD_NOTE_SPLIT)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, 0,
				"a split set of several files; make it one "
				"first");
	if (info->format == VHD_FORMAT_RAW)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a raw disk; `fallocate --dig-holes` gives "
				"back what is zero");
	if (info->format == VHD_FORMAT_FIXED && (to || !c->opts->punch))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a fixed disk has every byte in its file; "
				"only holes can be punched into that");
	if (info->saved_state)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SAVED_STATE, 0,
				"a suspended machine depends on this disk as "
				"it is");
	if (c->opts->parent_equal && info->format == VHD_FORMAT_DIFF &&
	    !c->img->parent)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
				"without the parent there is nothing to "
				"compare with");
	return 0;
}

static int begin(struct compact *c, struct vhd_err *err)
{
	const struct vhd_info *info = &c->img->info;
	uint32_t words = info->blocks / 64 + 1;
	int rc;

	c->buf = malloc(COMPACT_BUF_BYTES);
	c->other = malloc(COMPACT_BUF_BYTES);
	c->dropped = calloc(words, sizeof(*c->dropped));
	c->dirty = calloc(words, sizeof(*c->dirty));
	if (!c->buf || !c->other || !c->dropped || !c->dirty)
		return vhd_fail_nomem(err,
				      2 * COMPACT_BUF_BYTES + 16ull * words,
				      "compacting");
	c->result->format = info->format;
	c->result->size_bytes = info->size_bytes;
	c->result->old_file_bytes = info->file_bytes;
	c->result->new_file_bytes = info->file_bytes;
	c->result->blocks_before = info->blocks_used;
	if (c->opts->look) {
		rc = c->opts->look(c->opts->ctx, c->img, err);
		if (rc)
			return rc;
	}
	return c->img->blocked ? layout_open(&c->l, c->img, err) : 0;
}

static void end(struct compact *c)
{
	if (c->img && c->img->blocked)
		layout_close(&c->l);
	free(c->buf);
	free(c->other);
	free(c->dropped);
	free(c->dirty);
	free(c->moves);
}

/* ------------------------------------------------------------- in place -- */

/* Nothing may use a place while the table on disk still has it. */
static int give_back(struct compact *c, struct vhd_err *err)
{
	bool any = false;
	int rc;

	for (uint32_t b = 0; b < c->img->info.blocks; b++) {
		if (!compact_is_dropped(c, b))
			continue;
		layout_batmap_clear(&c->l, b);
		compact_entry(c, b, VHD_BAT_NONE);
		any = true;
	}
	if (!any)
		return 0;
	rc = layout_batmap_write(&c->l, err);
	return rc ? rc : compact_publish(c, err);
}

static int in_place(struct compact *c, struct vhd_err *err)
{
	int rc = compact_scan(c, err);

	if (!rc)
		rc = compact_plan(c, err);
	if (rc || !c->opts->write)
		return rc;
	rc = give_back(c, err);
	if (!rc)
		rc = compact_carry_out(c, err);
	if (!rc)
		rc = vhd_file_size(&c->img->file, &c->result->new_file_bytes,
				   err);
	return rc;
}

static int run(struct compact *c, struct vhd_err *err)
{
	int rc = allowed(c, false, err);

	if (!rc)
		rc = begin(c, err);
	if (!rc)
		rc = c->img->blocked ? in_place(c, err) : compact_punch(c, err);
	end(c);
	return rc;
}

static struct vhd_open_opts open_opts(const struct vhd_compact_opts *o,
				      bool write)
{
	return (struct vhd_open_opts){
		.format = o->format,
		.writable = write,
		.parent_dir = o->parent_dir,
		.larger_child = o->larger_child,
	};
}

static int opts_check(const struct vhd_compact_opts *o, struct vhd_err *err)
{
	if (!o || o->format > VHD_FORMAT_DIFF)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no such format");
	return 0;
}

/* Takes `img`. */
static int compact(struct vhd *img, const struct vhd_compact_opts *opts,
		   struct vhd_compact_result *result, struct vhd_err *err)
{
	struct vhd_compact_result unused;
	struct compact c = {
		.opts = opts,
		.result = result ? result : &unused,
		.img = img,
	};
	int rc;

	memset(c.result, 0, sizeof(*c.result));
	rc = run(&c, err);
	if (rc || !opts->write) {
		vhd_abandon(img);
		return rc;
	}
	return vhd_close(img, err);
}

int vhd_compact_file(const struct vhd_file *f,
		     const struct vhd_compact_opts *opts,
		     struct vhd_compact_result *result, struct vhd_err *err)
{
	struct vhd_open_opts o;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts, opts->write);
	rc = vhd_open_file(f, &o, &img, err);
	return rc ? rc : compact(img, opts, result, err);
}

int vhd_compact(const char *path, const struct vhd_compact_opts *opts,
		struct vhd_compact_result *result, struct vhd_err *err)
{
	struct vhd_open_opts o;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts, opts->write);
	rc = vhd_open(path, &o, &img, err);
	return rc ? rc : compact(img, opts, result, err);
}

/* ------------------------------------------------------ into a new file -- */

static int run_to(struct compact *c, const struct vhd_file *out,
		  struct vhd_err *err)
{
	int rc = allowed(c, true, err);

	if (!rc)
		rc = begin(c, err);
	if (!rc)
		rc = compact_scan(c, err);
	if (!rc)
		rc = compact_plan(c, err);
	for (uint32_t b = 0; !rc && b < c->img->info.blocks; b++)
		if (compact_is_dropped(c, b))
			layout_batmap_clear(&c->l, b);
	c->result->blocks_moved = 0;
	c->result->table_moved = false;
	if (!rc)
		rc = compact_copy(c, out, err);
	end(c);
	return rc;
}

/* Takes `img`. */
static int compact_to(struct vhd *img, const struct vhd_file *out,
		      const struct vhd_compact_opts *opts,
		      struct vhd_compact_result *result, struct vhd_err *err)
{
	struct vhd_compact_result unused;
	struct compact c = {
		.opts = opts,
		.result = result ? result : &unused,
		.img = img,
	};
	int rc;

	memset(c.result, 0, sizeof(*c.result));
	rc = run_to(&c, out, err);
	vhd_abandon(img);
	return rc;
}

int vhd_compact_to_file(const struct vhd_file *f, const struct vhd_file *out,
			const struct vhd_compact_opts *opts,
			struct vhd_compact_result *result, struct vhd_err *err)
{
	struct vhd_open_opts o;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts, false);
	rc = vhd_open_file(f, &o, &img, err);
	return rc ? rc : compact_to(img, out, opts, result, err);
}

int vhd_compact_to(const char *path, bool no_lock, const char *out_path,
		   const struct vhd_compact_opts *opts,
		   struct vhd_compact_result *result, struct vhd_err *err)
{
	const struct vhd_file_open how = {.writable = true, .create = true};
	struct vhd_open_opts o;
	struct vhd_file out;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts, false);
	o.force_read = no_lock;
	rc = vhd_open(path, &o, &img, err);
	if (rc)
		return rc;
	if (!opts->write)
		return compact_to(img, NULL, opts, result, err);
	rc = vhd_file_open(out_path, &how, &out, err);
	if (rc) {
		vhd_abandon(img);
		return rc;
	}
	rc = compact_to(img, &out, opts, result, err);
	return vhd_file_close_after(&out, rc, err);
}
