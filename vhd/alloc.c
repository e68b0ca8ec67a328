/* SPDX-License-Identifier: BSD-2-Clause */
/* New blocks, and old ones made whole; see alloc.h for the rule.
 *
 * A new block goes behind everything else: its data on a 4 KiB boundary, its
 * bitmap (all ones) in front. Its space must read as zero, because a write
 * may fill only part of it: space the file gained in this session is, what lay
 * in the file before (the rest of an interrupted writer, old footers) is
 * zeroed first. In a differencing disk the bitmap is all zeros and the space
 * may hold anything.
 *
 * A partial block, which other writers leave, is made whole before a sector
 * with a 0 is written: its unset sectors are zeroed and that is made durable
 * before the bitmap says all ones, so that no crash shows what lay beneath. The
 * bitmap is durable before the block counts as whole: a durable write into it
 * needs no flush of its own then.
 *
 * blktap's batmap needs no care: it may only understate which blocks are full
 * (a stale 0 costs speed, a stale 1 shows garbage), and bitmaps only ever get
 * fuller. It is never written and no block is put on it. A 1 for a block that
 * is not there yet would become stale in a differencing disk: open.c refuses
 * to write over it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "image.h"
#include "nbd.h"

int vhd_alloc_open(struct vhd *img, uint64_t used_end_bytes,
		   struct vhd_err *err)
{
	uint32_t blocks = img->info.blocks;
	uint32_t sectors =
		(blocks + VHD_BAT_SECTOR_ENTRIES - 1) / VHD_BAT_SECTOR_ENTRIES;

	img->alloc_end_bytes = used_end_bytes;
	img->file_end_bytes = img->info.file_bytes;
	img->zero_from_bytes = img->info.file_bytes;
	img->tail_ok = img->info.footer_end == VHD_FOOTER_OK;
	img->used = img->info.blocks_used;
	img->fifo_head = img->fifo_tail = VHD_BAT_NONE;
	img->head_seq = 1;
	img->dirty_first = UINT32_MAX;
	img->new_map = malloc(img->info.bitmap_bytes);
	img->next = malloc(blocks * sizeof(*img->next));
	img->dirty = calloc((sectors + 63) / 64, sizeof(*img->dirty));
	if (!img->new_map || !img->next || !img->dirty)
		return vhd_fail_nomem(err, blocks * sizeof(*img->next),
				      "block allocation");
	memset(img->new_map, img->marks ? 0 : 0xff, img->info.bitmap_bytes);
	return 0;
}

void vhd_alloc_close(struct vhd *img)
{
	free(img->new_map);
	free(img->next);
	free(img->dirty);
}

/* Behind everything: the bitmap ends where the data starts, on 4 KiB. False
 * when no 64-bit offset is left; tail.c knows the format's nearer limit.
 */
static bool place(const struct vhd *img, uint64_t *data_off,
		  uint64_t *end_bytes)
{
	return !add_ovf(img->alloc_end_bytes, img->info.bitmap_bytes,
			data_off) &&
	       !align_up_ovf(*data_off, VHD_ALIGN_BYTES, data_off) &&
	       !add_ovf(*data_off, img->info.block_size_bytes, end_bytes);
}

/* Let every queue see the block. The order is image.h's: number and state,
 * then the entry.
 */
static void admit(struct vhd *img, uint32_t block, uint64_t bitmap_off,
		  uint64_t end_bytes)
{
	img->alloc_end_bytes = end_bytes;
	img->settle = true;
	img->used++;
	img->next[block] = VHD_BAT_NONE;
	if (img->fifo_head == VHD_BAT_NONE)
		img->fifo_head = block;
	else
		img->next[img->fifo_tail] = block;
	img->fifo_tail = block;
	atomic_fetch_add(&img->alloc_seq, 1);
	atomic_store_explicit(&img->state[block],
			      img->marks ? VHD_BLOCK_PARTIAL : VHD_BLOCK_WHOLE,
			      memory_order_relaxed);
	/* Pairs with the acquire in map.c. */
	atomic_store_explicit(&img->bat[block],
			      (uint32_t)(bitmap_off / VHD_SECTOR_BYTES),
			      memory_order_release);
}

static int add_locked(struct vhd *img, uint32_t block, struct vhd_err *err)
{
	uint64_t bitmap_off, data_off, end_bytes, dirty_end;
	int rc;

	if (atomic_load(&img->bat[block]) != VHD_BAT_NONE)
		return 0; /* another queue was faster */
	if (!place(img, &data_off, &end_bytes))
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, 0,
				"no place for another block");
	bitmap_off = data_off - img->info.bitmap_bytes;
	rc = vhd_tail_room(img, end_bytes, err);
	if (rc)
		return rc;
	if (img->marks) {
		rc = vhd_bitmap_add(img, block, err);
		if (rc)
			return rc;
	}
	dirty_end = img->zero_from_bytes < end_bytes ? img->zero_from_bytes
						     : end_bytes;
	if (!img->marks && data_off < dirty_end) {
		rc = vhd_file_zero(&img->file, data_off, dirty_end - data_off,
				   err);
		if (rc)
			return rc;
	}
	rc = vhd_file_write(&img->file, img->new_map, img->info.bitmap_bytes,
			    bitmap_off, err);
	if (rc)
		return rc;
	admit(img, block, bitmap_off, end_bytes);
	return 0;
}

static int add_block(struct vhd *img, uint32_t block, struct vhd_err *err)
{
	int rc;

	pthread_mutex_lock(&img->alloc_lock);
	rc = add_locked(img, block, err);
	pthread_mutex_unlock(&img->alloc_lock);
	return rc;
}

static int zero_unset(struct vhd *img, const uint8_t *map, uint64_t data_off,
		      struct vhd_err *err)
{
	uint32_t sectors = vhd_block_sectors(img);
	uint32_t in = 0;

	while (in < sectors) {
		bool set;
		uint32_t n = vhd_bits_run(map, in, sectors, &set);
		int rc = 0;

		if (!set)
			rc = vhd_file_zero(&img->file,
					   data_off + (uint64_t)in *
							      VHD_SECTOR_BYTES,
					   (uint64_t)n * VHD_SECTOR_BYTES, err);
		if (rc)
			return rc;
		in += n;
	}
	return 0;
}

static int sync_or_poison(struct vhd *img, struct vhd_err *err)
{
	int rc = vhd_file_flush(&img->file, err);

	if (rc && !vhd_nbd_keeps(&img->file, rc))
		vhd_poison(img);
	return rc;
}

static int fill_locked(struct vhd *img, uint32_t block, struct vhd_err *err)
{
	uint32_t entry = atomic_load(&img->bat[block]);
	uint64_t bitmap_off = (uint64_t)entry * VHD_SECTOR_BYTES;
	uint32_t len = img->info.bitmap_bytes;
	uint8_t *map;
	int rc;

	if (atomic_load(&img->state[block]) == VHD_BLOCK_WHOLE)
		return 0; /* another queue was faster */
	map = malloc(len);
	if (!map)
		return vhd_fail_nomem(err, len, "a sector bitmap");
	rc = vhd_file_read(&img->file, map, len, bitmap_off, err);
	if (!rc)
		rc = zero_unset(img, map, vhd_block_data(img, entry), err);
	free(map);
	if (rc)
		return rc;
	rc = sync_or_poison(img, err);
	if (rc)
		return rc;
	/* Should this fail half-way, old and new bits say the same: what
	 * they differ in is zero and durable.
	 */
	rc = vhd_file_write(&img->file, img->new_map, len, bitmap_off, err);
	if (!rc)
		rc = sync_or_poison(img, err);
	if (rc)
		return rc;
	atomic_store_explicit(&img->state[block], VHD_BLOCK_WHOLE,
			      memory_order_release);
	return 0;
}

static int fill_block(struct vhd *img, uint32_t block, struct vhd_err *err)
{
	int rc;

	pthread_mutex_lock(&img->alloc_lock);
	rc = fill_locked(img, block, err);
	pthread_mutex_unlock(&img->alloc_lock);
	return rc;
}

/* Where a differencing disk has the sectors, whatever their bits say. */
static int place_write(struct vhd *img, uint64_t lba, uint64_t sectors,
		       struct vhd_run *run, struct vhd_err *err)
{
	uint32_t block = (uint32_t)(lba >> img->block_shift);
	uint32_t in = (uint32_t)lba & (vhd_block_sectors(img) - 1);
	uint32_t entry;
	int rc = 0;

	/* Pairs with the release in admit. */
	entry = atomic_load_explicit(&img->bat[block], memory_order_acquire);
	if (entry == VHD_BAT_NONE) {
		rc = add_block(img, block, err);
		entry = atomic_load_explicit(&img->bat[block],
					     memory_order_acquire);
	}
	if (!rc)
		rc = vhd_bitmap_hold(img, block, entry, err);
	if (rc)
		return rc;
	run->kind = VHD_RUN_FILE;
	run->off_bytes =
		vhd_block_data(img, entry) + (uint64_t)in * VHD_SECTOR_BYTES;
	run->sectors = sectors;
	return 0;
}

int vhd_map_write(struct vhd *img, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, struct vhd_err *err)
{
	uint64_t left;
	uint32_t block;
	int rc;

	if (!img->writable)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the image is open read-only");
	if (vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"an earlier flush failed; open the image "
				"again");
	if (!atomic_load_explicit(&img->touched, memory_order_relaxed))
		atomic_store(&img->touched, true);
	if (img->blocked) {
		left = vhd_block_sectors(img) -
		       (lba & (vhd_block_sectors(img) - 1));
		if (sectors > left && range_ok(lba, sectors, img->sectors))
			sectors = left;
	}
	if (img->marks && sectors && range_ok(lba, sectors, img->sectors))
		return place_write(img, lba, sectors, run, err);
	rc = vhd_map(img, lba, sectors, run, err);
	if (rc || run->kind == VHD_RUN_FILE)
		return rc;
	block = (uint32_t)(lba >> img->block_shift);
	rc = run->kind == VHD_RUN_HOLE ? add_block(img, block, err)
				       : fill_block(img, block, err);
	if (rc)
		return rc;
	return vhd_map(img, lba, sectors, run, err);
}

int vhd_place(struct vhd *img, uint64_t lba, uint64_t sectors,
	      struct vhd_run *run, struct vhd_err *err)
{
	if (img->info.format == VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"sectors of a differencing disk must be "
				"written");
	return vhd_map_write(img, lba, sectors, run, err);
}

void vhd_poison(struct vhd *img)
{
	atomic_store(&img->poisoned, true);
}

bool vhd_poisoned(const struct vhd *img)
{
	return atomic_load(&img->poisoned);
}
