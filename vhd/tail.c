/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of the file: its length and the trailing footer.
 *
 * The file grows in large sparse steps with the footer at the new end, so that
 * most allocations touch neither. Nothing here needs a sync of its own while
 * growing: the copy at offset 0 is the anchor, and the sync that precedes a
 * BAT update makes the length durable with the data. On close the footer goes
 * to its place right behind the last block: written there and synced before
 * the file is cut, so that one of the two places is always valid.
 *
 * A device's length is what it is: the footer is in its last sector from the
 * first, where all readers look that know images on devices, and blocks are
 * placed up to there.
 *
 * Final layout, as Windows writes it: length a multiple of 4096, footer in the
 * last sector; the next block's bitmap takes the footer's place, which puts
 * its data on a 4 KiB boundary.
 */
#include <errno.h>

#include "checked.h"
#include "image.h"

#define STEP_BYTES_MIN (64ull << 20)
#define STEP_BYTES_MAX (1ull << 30)
#define STEP_DIVISOR   16 /* of the file's length */

/* A generous length, but no more than the disk can ever need. The block in
 * `need_bytes` is not among the used ones yet.
 */
static uint64_t step_length(const struct vhd *img, uint64_t need_bytes)
{
	uint64_t step = img->file_end_bytes / STEP_DIVISOR;
	uint64_t stride = vhd_length_for((uint64_t)img->info.bitmap_bytes +
				     img->info.block_size_bytes);
	uint64_t rest = (img->info.blocks - img->used - 1) * stride;
	uint64_t len;

	if (step < STEP_BYTES_MIN)
		step = STEP_BYTES_MIN;
	if (step > STEP_BYTES_MAX)
		step = STEP_BYTES_MAX;
	len = vhd_length_for(need_bytes + (step < rest ? step : rest));
	return len < VHD_FILE_BYTES_MAX ? len : VHD_FILE_BYTES_MAX;
}

static int write_footer(struct vhd *img, uint64_t file_end_bytes,
			struct vhd_err *err)
{
	return vhd_file_write(&img->file, &img->footer, VHD_FOOTER_BYTES,
			      file_end_bytes - VHD_FOOTER_BYTES, err);
}

/* Lengthen the file. A host that is nearly full, or limits file sizes, may
 * still grant the little that is needed now.
 */
static int lengthen(struct vhd *img, uint64_t need_bytes, struct vhd_err *err)
{
	uint64_t len = step_length(img, need_bytes);
	struct vhd_err first;
	int rc;

	if (img->fixed_len)
		return vhd_fail(err, -ENOSPC, VHD_WHY_NO_SPACE, need_bytes,
				"the device is full: it has %llu bytes, the "
				"next block ends at %llu, with a footer behind "
				"it",
				(unsigned long long)img->file_end_bytes,
				(unsigned long long)need_bytes);
	rc = vhd_file_truncate(&img->file, len, &first);
	if (rc && first.why == VHD_WHY_NO_SPACE &&
	    vhd_length_for(need_bytes) < len) {
		len = vhd_length_for(need_bytes);
		rc = vhd_file_truncate(&img->file, len, &first);
	}
	if (rc) {
		if (err)
			*err = first;
		return rc;
	}
	img->file_end_bytes = len;
	img->settle = true;
	return 0;
}

/* The footer of the former end now lies among the space that blocks will
 * take; where that space counts as zero it must become so.
 */
static int erase_old_footer(struct vhd *img, uint64_t old_end_bytes,
			    struct vhd_err *err)
{
	uint64_t at = old_end_bytes - VHD_FOOTER_BYTES;
	int rc;

	if (old_end_bytes < VHD_FOOTER_BYTES || at < img->zero_from_bytes)
		return 0;
	rc = vhd_file_zero(&img->file, at, VHD_FOOTER_BYTES, err);
	if (rc) /* the space before the new end is not known zero any more */
		img->zero_from_bytes = img->file_end_bytes;
	return rc;
}

int vhd_tail_room(struct vhd *img, uint64_t need_bytes, struct vhd_err *err)
{
	uint64_t old_end_bytes = img->file_end_bytes;
	int rc;

	if (vhd_length_for(need_bytes) > VHD_FILE_BYTES_MAX)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, need_bytes,
				"the file would pass 2^32 sectors, the reach "
				"of a VHD's block table");
	if (need_bytes + VHD_FOOTER_BYTES > old_end_bytes) {
		rc = lengthen(img, need_bytes, err);
		if (rc)
			return rc;
		img->tail_ok = false;
		rc = erase_old_footer(img, old_end_bytes, err);
		if (rc)
			return rc;
	}
	if (img->tail_ok)
		return 0;
	rc = write_footer(img, img->file_end_bytes, err);
	if (rc)
		return rc;
	img->tail_ok = true;
	return 0;
}

int vhd_tail_settle(struct vhd *img, struct vhd_err *err)
{
	uint64_t len = img->fixed_len ? img->file_end_bytes
				      : vhd_length_for(img->alloc_end_bytes);
	int rc;

	img->settle = false;
	if (img->tail_ok && len == img->file_end_bytes)
		return 0;
	rc = write_footer(img, len, err);
	if (rc)
		return rc;
	rc = vhd_file_flush(&img->file, err);
	if (rc)
		return rc;
	if (len < img->file_end_bytes) {
		rc = vhd_file_truncate(&img->file, len, err);
		if (rc)
			return rc;
		rc = vhd_file_flush(&img->file, err);
		if (rc)
			return rc;
	}
	img->file_end_bytes = len;
	img->zero_from_bytes = len;
	img->tail_ok = true;
	return 0;
}
