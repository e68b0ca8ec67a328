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
 * until then every flush goes the long way, whoever published it. The sector
 * bits of differencing disks keep the same rule: see written.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "image.h"
#include "nbd.h"

/* The bits first: whatever block they are in, the ticket then covers it. */
int vhd_commit_begin(struct vhd *img, struct vhd_commit *c, struct vhd_err *err)
{
	int rc = img->marks ? vhd_written_copy(img, c, err) : 0;

	if (!rc)
		c->ticket = atomic_load(&img->alloc_seq);
	return rc;
}

bool vhd_commit_needed(struct vhd *img, const struct vhd_commit *c)
{
	return c->ticket > atomic_load(&img->durable_seq) ||
	       c->bits_seq > atomic_load(&img->bits_durable_seq);
}

/* Take the blocks that are due off the FIFO and put them into the table.
 * Returns the last sequence number so treated.
 */
static uint64_t take_due(struct vhd *img, uint64_t ticket)
{
	uint64_t seq;

	pthread_mutex_lock(&img->alloc_lock);
	while (img->fifo_head != VHD_BAT_NONE && img->head_seq <= ticket) {
		uint32_t block = img->fifo_head;
		uint32_t sector = block / VHD_BAT_SECTOR_ENTRIES;

		img->table[block] = be32_put(atomic_load_explicit(
			&img->bat[block], memory_order_relaxed));
		img->dirty[sector / 64] |= 1ull << (sector % 64);
		if (sector < img->dirty_first)
			img->dirty_first = sector;
		if (sector > img->dirty_last)
			img->dirty_last = sector;
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

static void give_dirty(struct vhd *img, uint32_t sector, uint32_t count)
{
	for (uint32_t s = sector; s < sector + count; s++)
		img->dirty[s / 64] |= 1ull << (s % 64);
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
		if (rc) {
			give_dirty(img, s, run);
			return rc;
		}
		s += run;
	}
	return 0;
}

static int publish_locked(struct vhd *img, uint64_t ticket, struct vhd_err *err)
{
	uint64_t seq = take_due(img, ticket);
	int rc;

	if (img->dirty_first > img->dirty_last)
		return 0;
	rc = write_dirty(img, img->dirty_first, img->dirty_last, err);
	if (rc) /* they stay dirty */
		return rc;
	img->dirty_first = UINT32_MAX;
	img->dirty_last = 0;
	atomic_store(&img->published_seq, seq);
	return 0;
}

int vhd_commit_publish(struct vhd *img, const struct vhd_commit *c,
		       struct vhd_err *err)
{
	int rc = 0;

	if (atomic_load(&img->published_seq) >= c->ticket && !c->used_bytes)
		return 0;
	pthread_mutex_lock(&img->commit_lock);
	if (vhd_poisoned(img)) {
		rc = vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
			      "an earlier flush failed; open the image again");
	} else {
		if (c->used_bytes)
			rc = vhd_written_publish(img, c, err);
		if (!rc)
			rc = publish_locked(img, c->ticket, err);
		/* Without a connection nobody knows what a server took: the
		 * same bytes go there again with the next flush.
		 */
		if (rc && !vhd_nbd_keeps(&img->file, rc))
			vhd_poison(img);
	}
	pthread_mutex_unlock(&img->commit_lock);
	return rc;
}

void vhd_commit_end(struct vhd *img, const struct vhd_commit *c)
{
	uint64_t seen = atomic_load(&img->durable_seq);

	while (seen < c->ticket &&
	       !atomic_compare_exchange_weak(&img->durable_seq, &seen,
					     c->ticket))
		;
	if (img->marks)
		vhd_written_end(img, c);
}

void vhd_commit_fini(struct vhd_commit *c)
{
	free(c->copies);
	*c = (struct vhd_commit){0};
}
