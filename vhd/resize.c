/* SPDX-License-Identifier: BSD-2-Clause */
/* Resizing: see resize.h. Everything is looked at before anything is written;
 * the caller, who knows partitions, has its say at three moments while the
 * image is locked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <isa-l/mem_routines.h>

#include "checked.h"
#include "fail.h"
#include "resize.h"

#define READ_BYTES (1u << 20)

/* ------------------------------------------------------ what is there -- */

/* How far the file has no data from `off`, or 0. */
static uint64_t hole_bytes(const struct vhd *layer, uint64_t off)
{
	off_t data;

	if (layer->file.fd < 0)
		return 0;
	data = lseek(layer->file.fd, (off_t)off, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return UINT64_MAX;
	return data > (off_t)off ? (uint64_t)data - off : 0;
}

static int read_zero(const struct vhd_file *f, uint64_t off, size_t len,
		     uint8_t *buf, size_t *same, struct vhd_err *err)
{
	int rc = vhd_file_read(f, buf, len, off, err);

	*same = len;
	if (rc || isal_zero_detect(buf, len) == 0)
		return rc;
	for (size_t i = 0; i < len; i += VHD_SECTOR_BYTES)
		if (isal_zero_detect(buf + i, VHD_SECTOR_BYTES)) {
			*same = i;
			break;
		}
	return 0;
}

/* The start of [lba, lba + sectors) that is zero, in sectors: all of one run,
 * or less where there is data.
 */
static int zero_run(struct vhd *img, uint64_t lba, uint64_t sectors,
		    uint8_t *buf, uint64_t *run_sectors, uint64_t *zero,
		    struct vhd_err *err)
{
	struct vhd *layer;
	struct vhd_run run;
	uint64_t hole;
	size_t same, len;
	int rc = vhd_resolve(img, lba, sectors, &layer, &run, err);

	if (rc)
		return rc;
	if (run.kind == VHD_RUN_PARENT)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
				"without the parent nobody knows what is "
				"there");
	*run_sectors = *zero = run.sectors;
	if (run.kind != VHD_RUN_FILE)
		return 0;
	hole = hole_bytes(layer, run.off_bytes) / VHD_SECTOR_BYTES;
	if (hole) {
		*run_sectors = *zero = hole < run.sectors ? hole : run.sectors;
		return 0;
	}
	if (run.sectors > READ_BYTES / VHD_SECTOR_BYTES)
		*run_sectors = READ_BYTES / VHD_SECTOR_BYTES;
	len = (size_t)*run_sectors * VHD_SECTOR_BYTES;
	rc = read_zero(&layer->file, run.off_bytes, len, buf, &same, err);
	*zero = same / VHD_SECTOR_BYTES;
	return rc;
}

int vhd_find_data(struct vhd *img, uint64_t off_bytes, uint64_t end_bytes,
		  uint64_t *at_bytes, struct vhd_err *err)
{
	uint64_t lba = off_bytes / VHD_SECTOR_BYTES;
	uint64_t end = end_bytes / VHD_SECTOR_BYTES;
	uint8_t *buf;
	int rc = 0;

	if (off_bytes % VHD_SECTOR_BYTES || end_bytes % VHD_SECTOR_BYTES ||
	    off_bytes > end_bytes || end > img->sectors)
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"not whole sectors of this disk");
	buf = malloc(READ_BYTES);
	if (!buf)
		return vhd_fail_nomem(err, READ_BYTES, "a buffer");
	while (!rc && lba < end) {
		uint64_t run = 0, zero = 0;

		rc = zero_run(img, lba, end - lba, buf, &run, &zero, err);
		if (rc)
			break;
		lba += zero;
		if (zero < run)
			break;
	}
	free(buf);
	if (!rc)
		*at_bytes = lba * VHD_SECTOR_BYTES;
	return rc;
}

/* -------------------------------------------------------------- the plan -- */

static int new_size(struct resize *r, struct vhd_err *err)
{
	uint64_t by = r->opts->size_bytes;
	bool fits = true;

	switch (r->opts->by) {
	case VHD_RESIZE_GROW:
		fits = !add_ovf(r->old_bytes, by, &r->new_bytes);
		break;
	case VHD_RESIZE_CUT:
		fits = !sub_ovf(r->old_bytes, by, &r->new_bytes);
		break;
	default:
		r->new_bytes = by;
		break;
	}
	if (!fits)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_LIMIT, 0,
				"a disk of %llu bytes cannot become %s by "
				"%llu",
				(unsigned long long)r->old_bytes,
				r->opts->by == VHD_RESIZE_CUT ? "smaller"
							      : "larger",
				(unsigned long long)by);
	if (!r->new_bytes)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ZERO, 0,
				"a disk of 0 bytes is of no use");
	if (r->new_bytes % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"size %llu is not a multiple of 512",
				(unsigned long long)r->new_bytes);
	return 0;
}

static int size_allowed(const struct resize *r, struct vhd_err *err)
{
	uint64_t max =
		r->img->blocked ? VHD_DYNAMIC_BYTES_MAX : VHD_FIXED_BYTES_MAX;

	if (r->new_bytes > max && r->new_bytes > r->old_bytes)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_LIMIT, 0,
				"size %llu is beyond the limit of %llu for a "
				"%s disk",
				(unsigned long long)r->new_bytes,
				(unsigned long long)max,
				vhd_format_name(r->img->info.format));
	if (r->new_bytes < r->old_bytes && !r->opts->shrink)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SHRINK, 0,
				"%llu bytes is smaller than the disk, which "
				"has %llu",
				(unsigned long long)r->new_bytes,
				(unsigned long long)r->old_bytes);
	return 0;
}

/* A child may be larger than its parent where that was agreed on, and never
 * smaller.
 */
static int parent_allows(const struct resize *r, struct vhd_err *err)
{
	uint64_t parent;

	if (r->img->info.format != VHD_FORMAT_DIFF)
		return 0;
	if (!r->img->parent)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
				"a differencing disk is resized together with "
				"its parent only");
	parent = r->img->parent->info.size_bytes;
	if (r->new_bytes < parent)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_SIZE, 0,
				"its parent has %llu bytes, and a child must "
				"not be smaller",
				(unsigned long long)parent);
	if (r->new_bytes > parent && !r->opts->larger_child)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_SIZE, 0,
				"its parent has %llu bytes; a larger child "
				"must be asked for, and Windows refuses it",
				(unsigned long long)parent);
	return 0;
}

static int state_allows(const struct resize *r, struct vhd_err *err)
{
	if (r->img->info.format == VHD_FORMAT_RAW)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a raw disk, whose size is its file's: "
				"`truncate -s` does it");
	if (r->img->info.saved_state)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SAVED_STATE, 0,
				"a suspended machine depends on this disk as "
				"it is");
	if (r->img->footer.hidden && !r->opts->force)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"blktap says that other disks build on it, and "
				"they need its size");
	return 0;
}

/* The data behind the new end, but for what is said to be free. */
static int data_behind(struct resize *r, const struct vhd_resize_free *gone,
		       struct vhd_err *err)
{
	uint64_t end = r->old_bytes, at, from = r->new_bytes;
	uint64_t skip = end, skip_end = end;
	int rc;

	if (gone->len_bytes && gone->off_bytes >= from &&
	    range_ok(gone->off_bytes, gone->len_bytes, end)) {
		skip = gone->off_bytes;
		skip_end = skip + gone->len_bytes;
	}
	/* Left by a resize of a fixed disk that was cut off. */
	if (!r->img->blocked) {
		struct vhd_footer_wire w;

		rc = vhd_file_read(&r->img->file, &w, sizeof(w), from, err);
		if (rc)
			return rc;
		if (memcmp(&w, &r->footer, sizeof(w)) == 0)
			from += VHD_FOOTER_BYTES;
	}
	rc = vhd_find_data(r->img, from, skip, &at, err);
	if (!rc && at == skip && skip < end) {
		skip = end;
		rc = vhd_find_data(r->img, skip_end, end, &at, err);
	}
	if (rc || at == skip)
		return rc;
	r->result->data_dropped = true;
	if (r->opts->force)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_BEHIND, 0,
			"there is data behind the new end, at byte %llu of "
			"the disk",
			(unsigned long long)at);
}

static int ask(struct resize *r, enum vhd_resize_moment moment,
	       struct vhd_resize_free *gone, struct vhd_err *err)
{
	if (!r->opts->disk)
		return 0;
	return r->opts->disk(r->opts->ctx, moment, r->img, r->result, gone,
			     err);
}

int resize_plan(struct resize *r, struct vhd_err *err)
{
	struct vhd_resize_result *res = r->result;
	struct vhd_resize_free gone = {0, 0};
	int rc = state_allows(r, err);

	r->old_bytes = r->img->info.size_bytes;
	if (!rc)
		rc = new_size(r, err);
	if (!rc)
		rc = size_allowed(r, err);
	if (!rc)
		rc = parent_allows(r, err);
	if (rc)
		return rc;
	res->format = r->img->info.format;
	res->old_size_bytes = r->old_bytes;
	res->new_size_bytes = r->new_bytes;
	res->old_file_bytes = r->img->info.file_bytes;
	if (r->new_bytes == r->old_bytes)
		r->footer = r->img->footer;
	else
		resize_footer(&r->img->footer, r->new_bytes, &r->footer);
	res->geometry = (struct vhd_geometry){
		.cylinders = be16_get(r->footer.cylinders),
		.heads = r->footer.heads,
		.sectors_per_track = r->footer.sectors_per_track,
	};
	rc = r->img->blocked ? resize_blocked_plan(r, err)
			     : resize_fixed_plan(r, err);
	if (!rc)
		rc = ask(r, VHD_RESIZE_LOOK, &gone, err);
	if (!rc && r->new_bytes < r->old_bytes)
		rc = data_behind(r, &gone, err);
	return rc;
}

/* -------------------------------------------------------------- the deed -- */

static struct vhd_open_opts open_opts(const struct vhd_resize_opts *o)
{
	return (struct vhd_open_opts){
		.format = o->format,
		.writable = o->write,
		.parent_dir = o->parent_dir,
		.larger_child = o->larger_child,
	};
}

/* The same file, with what is now in it. */
static int reopen(struct resize *r, struct vhd_err *err)
{
	const struct vhd_open_opts o = open_opts(r->opts);
	struct vhd_file f = r->img->file;
	int rc;

	vhd_chain_free(r->img);
	vhd_image_free(r->img);
	r->img = NULL;
	rc = vhd_open_file(&f, &o, &r->img, err);
	if (rc) {
		vhd_file_close(&f);
		return rc;
	}
	if (r->path && r->img->follow && r->img->info.format == VHD_FORMAT_DIFF)
		rc = vhd_parents_open(r->img, r->path, &o, err);
	return rc;
}

static int carry_out(struct resize *r, struct vhd_err *err)
{
	int rc = ask(r, VHD_RESIZE_BEFORE, NULL, err);

	if (!rc)
		rc = vhd_finish(r->img, err);
	if (!rc)
		rc = r->img->blocked ? resize_blocked(r, err)
				     : resize_fixed(r, err);
	if (!rc)
		rc = reopen(r, err);
	if (!rc)
		rc = ask(r, VHD_RESIZE_AFTER, NULL, err);
	if (!rc)
		rc = vhd_finish(r->img, err);
	if (!rc)
		rc = vhd_file_size(&r->img->file, &r->result->new_file_bytes,
				   err);
	return rc;
}

static int opts_check(const struct vhd_resize_opts *o, struct vhd_err *err)
{
	if (!o || o->format > VHD_FORMAT_DIFF || o->by > VHD_RESIZE_CUT)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no such resize");
	return 0;
}

/* Takes `img`. What failed may not be written to any more. */
static int resize(struct vhd *img, const char *path,
		  const struct vhd_resize_opts *opts,
		  struct vhd_resize_result *result, struct vhd_err *err)
{
	struct vhd_resize_result unused;
	struct resize r = {
		.opts = opts,
		.result = result ? result : &unused,
		.path = path,
		.img = img,
	};
	int rc;

	memset(r.result, 0, sizeof(*r.result));
	rc = resize_plan(&r, err);
	if (!rc && opts->write)
		rc = carry_out(&r, err);
	if (rc || !opts->write) {
		vhd_abandon(r.img);
		return rc;
	}
	return vhd_close(r.img, err);
}

int vhd_resize_file(const struct vhd_file *f,
		    const struct vhd_resize_opts *opts,
		    struct vhd_resize_result *result, struct vhd_err *err)
{
	struct vhd_open_opts o;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts);
	rc = vhd_open_file(f, &o, &img, err);
	return rc ? rc : resize(img, NULL, opts, result, err);
}

int vhd_resize(const char *path, const struct vhd_resize_opts *opts,
	       struct vhd_resize_result *result, struct vhd_err *err)
{
	struct vhd_open_opts o;
	struct vhd *img;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	o = open_opts(opts);
	rc = vhd_open(path, &o, &img, err);
	return rc ? rc : resize(img, path, opts, result, err);
}
