/* SPDX-License-Identifier: BSD-2-Clause */
/* Sector bitmaps: which sectors of a block are valid, most significant bit
 * first. A 1 is a sector in this file; a 0 reads as zero in a dynamic disk
 * and comes from the parent in a differencing one.
 *
 * Each is read at most once: a block with all ones is only remembered as
 * whole, the bits of others are kept, up to a bound. Kept bits are never
 * freed before close, because a reader without a lock may be looking.
 * Source: VHD specification 1.0, "Data Blocks".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "image.h"

static bool bit(const uint8_t *map, uint32_t n)
{
	return map[n >> 3] & (0x80 >> (n & 7));
}

uint32_t vhd_bits_run(const uint8_t *map, uint32_t from, uint32_t to, bool *set)
{
	uint32_t n = from;
	uint8_t same;

	*set = bit(map, from);
	same = *set ? 0xff : 0;
	while (n < to) {
		if ((n & 7) == 0 && to - n >= 8 && map[n >> 3] == same)
			n += 8;
		else if (bit(map, n) == *set)
			n++;
		else
			break;
	}
	return n - from;
}

/* Sectors of this block that belong to the disk. */
static uint32_t sectors_of(const struct vhd *img, uint32_t block)
{
	uint64_t start = (uint64_t)block << img->block_shift;
	uint64_t left = img->sectors - start;

	return left < vhd_block_sectors(img) ? (uint32_t)left
					     : vhd_block_sectors(img);
}

/* Keep a partial block's bits; false when the bound is reached. */
static bool keep(struct vhd *img, uint32_t block, const uint8_t *map,
		 uint32_t len)
{
	_Atomic(uint8_t *) *maps = atomic_load(&img->bitmaps);
	uint8_t *copy;

	if (img->bitmaps_bytes + len > VHD_BITMAP_CACHE_BYTES)
		return false;
	if (!maps) {
		maps = calloc(img->info.blocks, sizeof(*maps));
		if (!maps)
			return false;
		atomic_store(&img->bitmaps, maps);
	}
	copy = malloc(len);
	if (!copy)
		return false;
	memcpy(copy, map, len);
	img->bitmaps_bytes += len;
	atomic_store(&maps[block], copy);
	return true;
}

static int load_locked(struct vhd *img, uint32_t block, uint32_t entry,
		       struct vhd_err *err)
{
	uint32_t sectors = sectors_of(img, block);
	uint32_t len = img->info.bitmap_bytes;
	uint8_t *map = malloc(len);
	bool set;
	int rc;

	if (!map)
		return vhd_fail_nomem(err, len, "a sector bitmap");
	rc = vhd_file_read(&img->file, map, len,
			   (uint64_t)entry * VHD_SECTOR_BYTES, err);
	if (rc)
		goto out;
	if (vhd_bits_run(map, 0, sectors, &set) == sectors && set) {
		atomic_store_explicit(&img->state[block], VHD_BLOCK_WHOLE,
				      memory_order_release);
		goto out;
	}
	/* Where it cannot be kept, the file is asked again each time. */
	(void)keep(img, block, map, (sectors + 7) / 8);
	/* Pairs with the acquire in vhd_map: the kept bits come first. */
	atomic_store_explicit(&img->state[block], VHD_BLOCK_PARTIAL,
			      memory_order_release);
out:
	free(map);
	return rc;
}

static int load(struct vhd *img, uint32_t block, uint32_t entry,
		struct vhd_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&img->bitmap_lock);
	if (atomic_load(&img->state[block]) == VHD_BLOCK_UNKNOWN)
		rc = load_locked(img, block, entry, err);
	pthread_mutex_unlock(&img->bitmap_lock);
	return rc;
}

/* The one sector of the bitmap that holds bit `in`; the run ends with it. */
static int run_from_file(struct vhd *img, uint32_t entry, uint32_t in,
			 uint32_t n, bool *set, uint32_t *len,
			 struct vhd_err *err)
{
	const uint32_t bits = VHD_SECTOR_BYTES * 8;
	uint32_t sector = in / bits, from = in % bits;
	uint8_t map[VHD_SECTOR_BYTES];
	int rc;

	rc = vhd_file_read(&img->file, map, sizeof(map),
			   ((uint64_t)entry + sector) * VHD_SECTOR_BYTES, err);
	if (rc)
		return rc;
	*len = vhd_bits_run(map, from, n < bits - from ? from + n : bits, set);
	return 0;
}

int vhd_bitmap_run(struct vhd *img, uint32_t block, uint32_t entry, uint32_t in,
		   uint32_t n, bool *set, uint32_t *len, struct vhd_err *err)
{
	_Atomic(uint8_t *) *maps;
	uint8_t *map;
	int rc;

	if (atomic_load_explicit(&img->state[block], memory_order_acquire) ==
	    VHD_BLOCK_UNKNOWN) {
		rc = load(img, block, entry, err);
		if (rc)
			return rc;
	}
	if (atomic_load_explicit(&img->state[block], memory_order_acquire) ==
	    VHD_BLOCK_WHOLE) {
		*set = true;
		*len = n;
		return 0;
	}
	maps = atomic_load(&img->bitmaps);
	map = maps ? atomic_load(&maps[block]) : NULL;
	if (!map)
		return run_from_file(img, entry, in, n, set, len, err);
	*len = vhd_bits_run(map, in, in + n, set);
	return 0;
}

void vhd_bitmap_close(struct vhd *img)
{
	_Atomic(uint8_t *) *maps = atomic_load(&img->bitmaps);

	if (!maps)
		return;
	for (uint32_t i = 0; i < img->info.blocks; i++)
		free(atomic_load_explicit(&maps[i], memory_order_relaxed));
	free((void *)maps);
}
