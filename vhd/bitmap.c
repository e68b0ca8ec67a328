/* SPDX-License-Identifier: BSD-2-Clause */
/* Sector bitmaps: which sectors of a block are valid, most significant bit
 * first. A 1 is a sector in this file; a 0 reads as zero in a dynamic disk
 * and comes from the parent in a differencing one.
 *
 * Each is read at most once: a block with all ones is only remembered as
 * whole, the bits of others are kept, up to a bound; those of a block that is
 * about to be written to, always. Kept bits are never freed before close,
 * because a reader without a lock may be looking. How they change: written.c.
 * Source: VHD specification 1.0, "Data Blocks".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "image.h"

/* Blocks whose bits are asked for before they are needed. */
#define AHEAD_BLOCKS 64u

/* Pairs with the release in written.c: whoever sees a bit may read the data. */
static uint8_t byte(const uint8_t *map, uint32_t i)
{
	return __atomic_load_n(&map[i], __ATOMIC_ACQUIRE);
}

static bool bit(const uint8_t *map, uint32_t n)
{
	return byte(map, n >> 3) & (0x80 >> (n & 7));
}

uint32_t vhd_bits_run(const uint8_t *map, uint32_t from, uint32_t to, bool *set)
{
	uint32_t n = from;
	uint8_t same;

	*set = bit(map, from);
	same = *set ? 0xff : 0;
	while (n < to) {
		if ((n & 7) == 0 && to - n >= 8 && byte(map, n >> 3) == same)
			n += 8;
		else if (bit(map, n) == *set)
			n++;
		else
			break;
	}
	return n - from;
}

uint32_t vhd_bitmap_sectors(const struct vhd *img, uint32_t block)
{
	uint64_t start = (uint64_t)block << img->block_shift;
	uint64_t left = img->sectors - start;

	return left < vhd_block_sectors(img) ? (uint32_t)left
					     : vhd_block_sectors(img);
}

struct vhd_bitmap *vhd_bitmap_kept(const struct vhd *img, uint32_t block)
{
	_Atomic(struct vhd_bitmap *) *all = atomic_load(&img->bitmaps);

	return all ? atomic_load(&all[block]) : NULL;
}

static bool room_made(struct vhd *img)
{
	_Atomic(struct vhd_bitmap *) *all = atomic_load(&img->bitmaps);

	if (!all) {
		all = calloc(img->info.blocks, sizeof(*all));
		atomic_store(&img->bitmaps, all);
	}
	return all;
}

/* Keep a block's bits: where they must be (`hold`), or where the bound allows
 * it. False where they are not, for want of memory or leave.
 */
static bool keep(struct vhd *img, uint32_t block, const uint8_t *map, bool hold)
{
	uint32_t len = (vhd_bitmap_sectors(img, block) + 7) / 8;
	size_t size = sizeof(struct vhd_bitmap) + (img->marks ? 2 : 1) * len;
	struct vhd_bitmap *b;

	if (!hold && img->bitmaps_bytes + size > VHD_BITMAP_CACHE_BYTES)
		return false;
	b = room_made(img) ? calloc(1, size) : NULL;
	if (!b)
		return false;
	b->block = block;
	b->len_bytes = len;
	memcpy(b->map, map, len);
	if (img->marks) {
		b->disk = b->map + len;
		memcpy(b->disk, map, len);
	}
	img->bitmaps_bytes += size;
	atomic_store(&atomic_load(&img->bitmaps)[block], b);
	return true;
}

/* Read the block's bits and say what it is. */
static int load_locked(struct vhd *img, uint32_t block, uint32_t entry,
		       bool hold, struct vhd_err *err)
{
	uint32_t sectors = vhd_bitmap_sectors(img, block);
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
	/* What cannot be kept is asked for again each time. */
	if (!keep(img, block, map, hold) && hold) {
		rc = vhd_fail_nomem(err, len, "a sector bitmap");
		goto out;
	}
	/* Pairs with the acquire in vhd_map: the kept bits come first. */
	atomic_store_explicit(&img->state[block], VHD_BLOCK_PARTIAL,
			      memory_order_release);
out:
	free(map);
	return rc;
}

/* Who goes through the disk wants the next blocks' bits, too, and would wait
 * for the medium at each: have the kernel fetch them meanwhile. It is advice,
 * and each block's is given about once.
 */
static void ask_ahead(struct vhd *img, uint32_t block)
{
	uint32_t from = img->asked_block, to = img->info.blocks;
	bool onward = block >= img->loaded_block &&
		      block - img->loaded_block < AHEAD_BLOCKS;

	img->loaded_block = block;
	if (!onward || img->file.fd < 0)
		return;
	if (from <= block || from > block + AHEAD_BLOCKS)
		from = block + 1;
	else if (from > block + AHEAD_BLOCKS / 2)
		return;
	if (to - block > AHEAD_BLOCKS)
		to = block + AHEAD_BLOCKS;
	for (uint32_t b = from; b < to; b++) {
		uint32_t entry = atomic_load(&img->bat[b]);

		if (entry != VHD_BAT_NONE &&
		    atomic_load(&img->state[b]) == VHD_BLOCK_UNKNOWN)
			(void)posix_fadvise(img->file.fd,
					    (off_t)entry * VHD_SECTOR_BYTES,
					    (off_t)img->info.bitmap_bytes,
					    POSIX_FADV_WILLNEED);
	}
	img->asked_block = to;
}

static int load(struct vhd *img, uint32_t block, uint32_t entry,
		struct vhd_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&img->bitmap_lock);
	if (atomic_load(&img->state[block]) == VHD_BLOCK_UNKNOWN) {
		ask_ahead(img, block);
		rc = load_locked(img, block, entry, false, err);
	}
	pthread_mutex_unlock(&img->bitmap_lock);
	return rc;
}

static bool held(const struct vhd *img, uint32_t block)
{
	return atomic_load_explicit(&img->state[block],
				    memory_order_acquire) ==
		       VHD_BLOCK_WHOLE ||
	       vhd_bitmap_kept(img, block);
}

int vhd_bitmap_hold(struct vhd *img, uint32_t block, uint32_t entry,
		    struct vhd_err *err)
{
	int rc = 0;

	if (held(img, block))
		return 0;
	pthread_mutex_lock(&img->bitmap_lock);
	if (!held(img, block))
		rc = load_locked(img, block, entry, true, err);
	pthread_mutex_unlock(&img->bitmap_lock);
	return rc;
}

int vhd_bitmap_add(struct vhd *img, uint32_t block, struct vhd_err *err)
{
	bool ok = true;

	pthread_mutex_lock(&img->bitmap_lock);
	/* There already, where an earlier attempt failed behind this. */
	if (!vhd_bitmap_kept(img, block))
		ok = keep(img, block, img->new_map, true);
	pthread_mutex_unlock(&img->bitmap_lock);
	return ok ? 0
		  : vhd_fail_nomem(err, img->info.bitmap_bytes,
				   "a sector bitmap");
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
	struct vhd_bitmap *kept;
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
	kept = vhd_bitmap_kept(img, block);
	if (!kept)
		return run_from_file(img, entry, in, n, set, len, err);
	*len = vhd_bits_run(kept->map, in, in + n, set);
	return 0;
}

void vhd_bitmap_close(struct vhd *img)
{
	_Atomic(struct vhd_bitmap *) *all = atomic_load(&img->bitmaps);

	if (!all)
		return;
	for (uint32_t i = 0; i < img->info.blocks; i++)
		free(atomic_load_explicit(&all[i], memory_order_relaxed));
	free((void *)all);
}
