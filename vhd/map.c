/* SPDX-License-Identifier: BSD-2-Clause */
/* From an LBA to where its bytes live. Random reads pass here once each: for
 * a block whose bitmap is known to be full it is two loads and an addition.
 *
 * A run of data ends at its block's edge; runs of missing blocks are joined,
 * so that a copy skips a hole in one step.
 */
#include <errno.h>

#include "checked.h"
#include "image.h"

static void put_run(struct vhd_run *run, enum vhd_run_kind kind,
		    uint64_t off_bytes, uint64_t sectors)
{
	run->kind = kind;
	run->off_bytes = off_bytes;
	run->sectors = sectors;
}

/* Sectors from `lba` that lie in missing blocks, at most `sectors`. */
static uint64_t absent_run(const struct vhd *img, uint64_t lba,
			   uint64_t sectors)
{
	uint64_t end = lba + sectors;
	uint64_t next = lba;

	do {
		next = ((next >> img->block_shift) + 1) << img->block_shift;
	} while (next < end &&
		 atomic_load_explicit(&img->bat[next >> img->block_shift],
				      memory_order_relaxed) == VHD_BAT_NONE);
	return (next < end ? next : end) - lba;
}

static int map_block(struct vhd *img, uint64_t lba, uint64_t sectors,
		     struct vhd_run *run, struct vhd_err *err)
{
	uint32_t block = (uint32_t)(lba >> img->block_shift);
	uint32_t in = (uint32_t)lba & (vhd_block_sectors(img) - 1);
	uint32_t left = vhd_block_sectors(img) - in;
	uint32_t n = sectors < left ? (uint32_t)sectors : left;
	uint32_t entry, len;
	uint64_t off_bytes;
	bool set;
	int rc;

	/* Pairs with the release in alloc.c: state and place come first. */
	entry = atomic_load_explicit(&img->bat[block], memory_order_acquire);
	if (entry == VHD_BAT_NONE) {
		put_run(run, img->absent, 0, absent_run(img, lba, sectors));
		return 0;
	}
	off_bytes =
		vhd_block_data(img, entry) + (uint64_t)in * VHD_SECTOR_BYTES;
	if (atomic_load_explicit(&img->state[block], memory_order_acquire) ==
	    VHD_BLOCK_WHOLE) {
		put_run(run, VHD_RUN_FILE, off_bytes, n);
		return 0;
	}
	rc = vhd_bitmap_run(img, block, entry, in, n, &set, &len, err);
	if (rc)
		return rc;
	if (set)
		put_run(run, VHD_RUN_FILE, off_bytes, len);
	else
		put_run(run, img->unset, 0, len);
	return 0;
}

int vhd_map(struct vhd *img, uint64_t lba, uint64_t sectors,
	    struct vhd_run *run, struct vhd_err *err)
{
	if (sectors == 0 || !range_ok(lba, sectors, img->sectors))
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"sectors %llu+%llu are not on a disk of %llu",
				(unsigned long long)lba,
				(unsigned long long)sectors,
				(unsigned long long)img->sectors);
	if (img->blocked)
		return map_block(img, lba, sectors, run, err);
	put_run(run, VHD_RUN_FILE, lba * VHD_SECTOR_BYTES, sectors);
	return 0;
}
