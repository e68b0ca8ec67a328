/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk's BAT follows the one in memory: see alloc.h for the order.
 *
 * New blocks wait in a FIFO in the order of their sequence numbers. A ticket
 * is the number of the last block at the start of a flush; publishing writes
 * the entries up to it and no further, because only their blocks are covered
 * by the sync in between. The table as it lies on disk is kept apart for that
 * reason: a sector is written with the entries that are due, not with what
 * memory says by now.
 *
 * A block counts as durable only when a sync after its publishing is through;
 * until then every flush goes the long way, whoever published it.
 */
#include <errno.h>

#include "image.h"

uint64_t vhd_commit_begin(struct vhd *img)
{
	return atomic_load(&img->alloc_seq);
}

bool vhd_commit_needed(struct vhd *img, uint64_t ticket)
{
	return ticket > atomic_load(&img->durable_seq);
}

/* Take the blocks that are due off the FIFO and put them into the table.
 * Returns the last sequence number so treated.
 */
static uint64_t take_due(struct vhd *img, uint64_t ticket, uint32_t *first,
			 uint32_t *last)
{
	uint64_t seq;

	*first = UINT32_MAX;
	*last = 0;
	pthread_mutex_lock(&img->alloc_lock);
	while (img->fifo_head != VHD_BAT_NONE && img->head_seq <= ticket) {
		uint32_t block = img->fifo_head;
		uint32_t sector = block / VHD_BAT_SECTOR_ENTRIES;

		img->table[block] = be32_put(atomic_load_explicit(
			&img->bat[block], memory_order_relaxed));
		img->dirty[sector / 64] |= 1ull << (sector % 64);
		if (sector < *first)
			*first = sector;
		if (sector > *last)
			*last = sector;
		img->fifo_head = img->next[block];
		img->head_seq++;
	}
	seq = img->head_seq - 1;
	pthread_mutex_unlock(&img->alloc_lock);
	return seq;
}

static bool take_dirty(struct vhd *img, uint32_t sector)
{
	uint64_t mask = 1ull << (sector % 64);
	bool was = img->dirty[sector / 64] & mask;

	img->dirty[sector / 64] &= ~mask;
	return was;
}

static int write_dirty(struct vhd *img, uint32_t first, uint32_t last,
		       struct vhd_err *err)
{
	for (uint32_t s = first; s <= last; s++) {
		uint32_t run = 0;
		int rc;

		while (s + run <= last && take_dirty(img, s + run))
			run++;
		if (!run)
			continue;
		rc = vhd_file_write(
			&img->file,
			img->table + (size_t)s * VHD_BAT_SECTOR_ENTRIES,
			(size_t)run * VHD_SECTOR_BYTES,
			img->info.table_bytes + (uint64_t)s * VHD_SECTOR_BYTES,
			err);
		if (rc)
			return rc;
		s += run;
	}
	return 0;
}

static int publish_locked(struct vhd *img, uint64_t ticket, struct vhd_err *err)
{
	uint32_t first, last;
	uint64_t seq;
	int rc;

	seq = take_due(img, ticket, &first, &last);
	if (first == UINT32_MAX)
		return 0;
	rc = write_dirty(img, first, last, err);
	if (rc) {
		vhd_poison(img);
		return rc;
	}
	atomic_store(&img->published_seq, seq);
	return 0;
}

int vhd_commit_publish(struct vhd *img, uint64_t ticket, struct vhd_err *err)
{
	int rc;

	if (atomic_load(&img->published_seq) >= ticket)
		return 0;
	pthread_mutex_lock(&img->commit_lock);
	if (vhd_poisoned(img))
		rc = vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
			      "an earlier flush failed; open the image again");
	else
		rc = publish_locked(img, ticket, err);
	pthread_mutex_unlock(&img->commit_lock);
	return rc;
}

void vhd_commit_end(struct vhd *img, uint64_t ticket)
{
	uint64_t seen = atomic_load(&img->durable_seq);

	while (seen < ticket &&
	       !atomic_compare_exchange_weak(&img->durable_seq, &seen, ticket))
		;
}
