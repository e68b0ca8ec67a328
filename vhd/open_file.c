/* SPDX-License-Identifier: BSD-2-Clause */
/* From a file to an image.
 *
 * Opening reads and judges everything but the bitmaps. Opening for writing
 * ends by putting right what an interrupted writer left (a footer missing at
 * one end, a resize half done); that is the only thing it writes, and an
 * untouched sound image is closed without a byte changed.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "filesys.h"
#include "image.h"
#include "locator.h"
#include "split.h"
#include "resize.h"

#define BLKTAP_0_1 0x00000001u /* little-endian bitmaps, no batmap */

/* --------------------------------------------------------- dynamic disks -- */

/* A length that its text cannot have. */
static bool locator_len_ok(const struct vhd_locator *l)
{
	bool utf16 = l->platform == VHD_LOCATOR_W2RU ||
		     l->platform == VHD_LOCATOR_W2KU;

	return l->len_bytes <= VHD_LOCATOR_PAYLOAD_MAX &&
	       !(utf16 && l->len_bytes % 2);
}

/* All the space that a locator says it has, as far as it lies in the file: a
 * later, longer name goes there. Nothing is refused for it, as some writers
 * say anything; new blocks and the footer stay behind it.
 */
static void spare_space(struct vhd *img, const struct vhd_locator *l)
{
	uint64_t end;

	if (!add_ovf(l->off_bytes, l->space_bytes, &end) &&
	    end <= img->limit_bytes && end > img->alloc_end_bytes)
		img->alloc_end_bytes = end;
}

/* Locators with a place outside the file or over other metadata are ignored,
 * as the names they hold would be; the others' places are taken.
 */
static void find_locators(struct vhd *img, const struct vhd_header *h,
			  struct vhd_range *ranges, unsigned *count)
{
	unsigned fixed_count = *count;

	if (img->info.format != VHD_FORMAT_DIFF)
		return;
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &h->locator[i];
		uint64_t end;

		if (!l->platform || !l->len_bytes)
			continue;
		if (add_ovf(l->off_bytes, l->len_bytes, &end))
			end = UINT64_MAX;
		if (end > img->limit_bytes) {
			img->info.notes |= VHD_NOTE_LOCATOR_BAD;
			vhd_outside(img, "a parent locator", l->off_bytes,
				    end);
			continue;
		}
		if (vhd_range_hit(ranges, fixed_count, l->off_bytes, end)) {
			img->info.notes |= VHD_NOTE_LOCATOR_BAD;
			continue;
		}
		if (!locator_len_ok(l))
			img->info.notes |= VHD_NOTE_LOCATOR_BAD;
		else
			img->locator[img->locator_count++] = *l;
		vhd_range_add(ranges, count, l->off_bytes, end, "parent locator");
		spare_space(img, l);
	}
}

static void header_info(struct vhd_info *info, const struct vhd_header *h,
			uint64_t header_bytes)
{
	info->header_bytes = header_bytes;
	info->table_bytes = h->table_bytes;
	info->table_entries = h->table_entries;
	info->block_size_bytes = h->block_size_bytes;
	info->bitmap_bytes = vhd_bitmap_size(h->block_size_bytes);
	info->blocks =
		(uint32_t)vhd_blocks_for(info->size_bytes, h->block_size_bytes);
	memcpy(info->parent_id, h->parent_id, sizeof(info->parent_id));
	info->parent_timestamp_s = h->parent_timestamp_s;
	memcpy(info->parent_name_utf16be, h->parent_name,
	       sizeof(info->parent_name_utf16be));
	if (h->next_offset_bytes != VHD_NO_OFFSET)
		info->notes |= VHD_NOTE_NEXT_OFFSET;
	if (h->table_entries > info->blocks)
		info->notes |= VHD_NOTE_TABLE_LONG;
	if (h->reserved_nonzero)
		info->notes |= VHD_NOTE_RESERVED_NONZERO;
}

static int read_header(struct vhd *img, uint64_t off, struct vhd_header *h,
		       struct vhd_err *err)
{
	struct vhd_header_wire w;
	struct vhd_err fault;
	int rc;

	if (off < VHD_FOOTER_BYTES || off % VHD_SECTOR_BYTES ||
	    !range_ok(off, sizeof(w), img->limit_bytes))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_DATA_OFFSET,
				offsetof(struct vhd_footer_wire, data_offset),
				"the footer puts the dynamic header at offset "
				"%llu, where it cannot be",
				(unsigned long long)off);
	rc = vhd_file_read(&img->file, &w, sizeof(w), off, err);
	if (rc)
		return rc;
	vhd_header_decode(&w, h);
	if (!h->cookie_ok)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_COOKIE, off,
				"no dynamic header (`cxsparse`) at offset "
				"%llu, where the footer says",
				(unsigned long long)off);
	if (!h->checksum_ok) {
		vhd_fail(&fault, -EUCLEAN, VHD_WHY_HEADER_CHECKSUM, off,
			 "dynamic header checksum wrong; there is no second "
			 "copy, so the image is not used as it is");
		rc = vhd_tolerate(&img->info, img->inspect, &fault, err);
		if (rc)
			return rc;
	}
	return vhd_header_check(h, off, img->info.size_bytes, img->limit_bytes,
				err);
}

static int parent_check(struct vhd *img, struct vhd_err *err)
{
	struct vhd_err fault;

	if (img->info.format != VHD_FORMAT_DIFF)
		return 0;
	if (img->follow)
		return 0;
	vhd_fail(&fault, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
		 "a differencing disk: most of its content is in a parent "
		 "image, and chains are not followed here");
	return vhd_tolerate(&img->info, img->inspect, &fault, err);
}

static int open_blocked(struct vhd *img, const struct vhd_probe *p,
			struct vhd_err *err)
{
	struct vhd_range ranges[VHD_RANGES_MAX];
	uint64_t off = p->footer.data_offset_bytes, table_end, end = 0;
	unsigned count = 0;
	struct vhd_header h;
	int rc;

	if (vhd_is_blktap(&img->info) &&
	    img->info.creator_version == BLKTAP_0_1)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED,
				p->footer_at_bytes,
				"written by blktap 0.1, whose bitmaps are in "
				"the machine's byte order");
	rc = parent_check(img, err);
	if (!rc)
		rc = read_header(img, off, &h, err);
	if (rc)
		return rc;
	header_info(&img->info, &h, off);
	img->blocked = true;
	img->block_shift =
		(uint32_t)__builtin_ctz(h.block_size_bytes / VHD_SECTOR_BYTES);
	table_end = h.table_bytes +
		    (((uint64_t)h.table_entries * 4 + VHD_SECTOR_BYTES - 1) &
		     ~(uint64_t)(VHD_SECTOR_BYTES - 1));
	vhd_range_add(ranges, &count, 0, VHD_FOOTER_BYTES, "footer copy");
	vhd_range_add(ranges, &count, off, off + VHD_HEADER_BYTES,
		  "dynamic header");
	vhd_range_add(ranges, &count, h.table_bytes, table_end, "block table");
	rc = vhd_batmap_find(img, ranges, &count, table_end, err);
	if (rc)
		return rc;
	find_locators(img, &h, ranges, &count);
	rc = vhd_bat_open(img, ranges, count, err);
	if (rc)
		return rc;
	for (unsigned i = 0; i < count; i++)
		if (ranges[i].end_bytes > end)
			end = ranges[i].end_bytes;
	if (end > img->alloc_end_bytes)
		img->alloc_end_bytes = end;
	img->data_aligned = img->info.blocks_aligned == img->info.blocks_used;
	return 0;
}

/* --------------------------------------------------------------- any disk --
 */

static void footer_info(struct vhd_info *info, const struct vhd_footer *f)
{
	info->size_bytes = f->current_size_bytes;
	info->original_size_bytes = f->original_size_bytes;
	info->geometry = f->geometry;
	info->geometry_bytes = vhd_geometry_product_bytes(&f->geometry);
	info->features = f->features;
	info->version = f->version;
	memcpy(info->creator_app, f->creator_app, sizeof(info->creator_app));
	info->creator_version = f->creator_version;
	memcpy(info->creator_os, f->creator_os, sizeof(info->creator_os));
	info->timestamp_s = f->timestamp_s;
	memcpy(info->unique_id, f->unique_id, sizeof(info->unique_id));
	info->saved_state = f->saved_state;
	info->footer_checksum = f->checksum;
	if (f->hidden)
		info->notes |= VHD_NOTE_HIDDEN;
	if (f->saved_state)
		info->notes |= VHD_NOTE_SAVED_STATE;
	if (f->features & ~(VHD_FEATURE_TEMPORARY | VHD_FEATURE_RESERVED))
		info->notes |= VHD_NOTE_UNKNOWN_FEATURES;
	if (f->reserved_nonzero)
		info->notes |= VHD_NOTE_RESERVED_NONZERO;
}

static int raw_size(struct vhd *img, struct vhd_err *err)
{
	uint64_t size = img->info.file_bytes;

	if (size == 0)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ZERO, 0,
				"the file is empty: a disk of 0 bytes");
	if (size % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ALIGN, size,
				"a raw disk of %llu bytes is not a whole "
				"number of 512-byte sectors; pad it first "
				"(truncate -s %%512)",
				(unsigned long long)size);
	img->info.size_bytes = size;
	return 0;
}

static int refuse_writing(uint64_t at, const char *text, struct vhd_err *err)
{
	return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, at,
			"%s; open it read-only", text);
}

/* A device ends before the footer that belongs behind the last block. */
static bool length_short(const struct vhd *img)
{
	return img->info.file_bytes < VHD_FOOTER_BYTES ||
	       img->alloc_end_bytes > img->info.file_bytes - VHD_FOOTER_BYTES;
}

/* What can be read but not written to without making it worse. */
static int writable_check(const struct vhd *img, const struct vhd_probe *p,
			  struct vhd_err *err)
{
	uint32_t notes = img->info.notes;

	if (notes & VHD_NOTE_FOOTER_511)
		return refuse_writing(img->info.footer_end_bytes,
				      "the footer has 511 bytes", err);
	if (notes & VHD_NOTE_LAST_BLOCK_SHORT)
		return refuse_writing(img->limit_bytes,
				      "the file ends inside the last block",
				      err);
	if (p->footers_disagree)
		return refuse_writing(img->info.footer_end_bytes,
				      "the footers describe different disks",
				      err);
	if (img->blocked && img->info.footer_end == VHD_FOOTER_OK &&
	    img->info.footer_end_bytes % VHD_SECTOR_BYTES)
		return refuse_writing(img->info.footer_end_bytes,
				      "the footer is not on a sector", err);
	if (img->outside)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT,
				img->limit_bytes,
				"%s lies outside the file, where blocks are "
				"or would go; open it read-only",
				img->outside);
	if (img->fixed_len && length_short(img))
		return refuse_writing(img->alloc_end_bytes,
				      "the device has no room for a footer "
				      "behind the last block",
				      err);
	return 0;
}

/* Put right what an interrupted writer left: a footer that is missing, or one
 * that differs from the one in force in what does not make it another disk's.
 * The good footer stays where it is until the other is durable.
 */
static int restore_footers(struct vhd *img, struct vhd_err *err)
{
	const uint32_t left = VHD_NOTE_DIRTY | VHD_NOTE_RESIZE_CUT |
			      VHD_NOTE_FOOTERS_DIFFER;
	int rc;

	if (!(img->info.notes & left))
		return 0;
	if (img->info.footer_copy == VHD_FOOTER_OK)
		return vhd_tail_settle(img, err);
	rc = vhd_file_write(&img->file, &img->footer, VHD_FOOTER_BYTES, 0, err);
	return rc ? rc : vhd_file_flush(&img->file, err);
}

static int set_up(struct vhd *img, const struct vhd_open_opts *opts,
		  struct vhd_err *err)
{
	struct vhd_probe p;
	int rc = vhd_probe(&img->file, opts, &img->info, &p, err);

	if (rc)
		return rc;
	img->limit_bytes = p.limit_bytes;
	img->data_aligned = true;
	if (img->info.format == VHD_FORMAT_RAW) {
		rc = raw_size(img, err);
	} else {
		img->footer = p.wire;
		rc = vhd_footer_check(&p.footer, p.footer_at_bytes, err);
		if (!rc)
			footer_info(&img->info, &p.footer);
	}
	if (!rc && (img->info.format == VHD_FORMAT_DYNAMIC ||
		    img->info.format == VHD_FORMAT_DIFF))
		rc = open_blocked(img, &p, err);
	if (rc)
		return rc;
	img->sectors = img->info.size_bytes / VHD_SECTOR_BYTES;
	if (vhd_split_parts(&img->file) > 1)
		img->info.notes |= VHD_NOTE_SPLIT;
	if (!img->writable)
		return 0;
	img->fixed_len = img->blocked && vhd_file_is_device(&img->file);
	rc = writable_check(img, &p, err);
	if (!rc && img->info.format == VHD_FORMAT_FIXED &&
	    resize_fixed_pending(&img->footer))
		rc = resize_fixed_finish(img, err);
	if (rc || !img->blocked)
		return rc;
	img->marks = img->info.format == VHD_FORMAT_DIFF;
	if (img->marks)
		rc = vhd_batmap_writable(img, err);
	if (!rc)
		rc = vhd_alloc_open(img, img->alloc_end_bytes, err);
	return rc ? rc : restore_footers(img, err);
}

int vhd_image_again(struct vhd *img, struct vhd_err *err)
{
	const struct vhd_open_opts opts = {
		.format = img->info.format,
		.writable = img->writable,
	};
	const struct vhd_file f = img->file;
	const uint64_t size_bytes = img->info.size_bytes;
	char *path = img->path;
	int rc;

	vhd_image_fini(img);
	memset(img, 0, sizeof(*img));
	vhd_image_init(img, &f, &opts);
	img->path = path;
	rc = set_up(img, &opts, err);
	if (rc) { /* nothing of it is used any more, under its old size */
		vhd_poison(img);
		img->sectors = 0;
		img->info.size_bytes = size_bytes;
	}
	return rc;
}

int vhd_open_check(const struct vhd_open_opts *opts, struct vhd_err *err)
{
	if (!opts)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no options given");
	if (opts->writable && (opts->force_read || opts->inspect))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"writing excludes force_read and inspect");
	if (opts->format > VHD_FORMAT_DIFF)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"unknown format %d", (int)opts->format);
	return 0;
}

int vhd_open_file(const struct vhd_file *f, const struct vhd_open_opts *opts,
		  struct vhd **out, struct vhd_err *err)
{
	struct vhd *img;
	int rc = vhd_open_check(opts, err);

	if (rc)
		return rc;
	img = vhd_image_new(f, opts);
	if (!img)
		return vhd_fail_nomem(err, sizeof(*img), "an image");
	rc = set_up(img, opts, err);
	if (rc) {
		vhd_image_free(img);
		return rc;
	}
	if (img->info.format == VHD_FORMAT_DIFF)
		img->absent = img->unset = VHD_RUN_PARENT;
	*out = img;
	return 0;
}
