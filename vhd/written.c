/* SPDX-License-Identifier: BSD-2-Clause */
/* The sector bits of a differencing disk that is being written.
 *
 * A bit says that a sector lives in this file. In memory it is set when the
 * sector's data has been written, not before: until then, and for good where
 * the write fails, readers get the parent's. In the file it is set by a flush,
 * behind a sync that covers that data: a bit that a power cut leaves set never
 * shows anything but what was written, and a sector whose bit was not durable
 * yet reads from the parent again, which a write that was never flushed may.
 *
 * Changes are numbered. Bitmaps with a change that is not durable are on a
 * list in the order of their last one. A flush copies them as they are when it
 * begins, for by the time of its first sync further bits may be set that the
 * sync does not cover; then it adds its copies to what the file's bitmaps are
 * known to hold (vhd_bitmap.disk) and writes those. What is in the file thus
 * only grows, by bits that some sync has covered: flushes of several queues
 * may overlap and publish in any order. A change is durable, and its bitmap
 * leaves the list, when a flush that had it in a copy has ended well. Until
 * then every flush that begins takes it along, whoever published it: the sync
 * behind the publishing may be another queue's and still to come.
 *
 * A sector whose bit is durable is overwritten in place like any other.
 */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "image.h"

/* --------------------------------------------------------- setting bits -- */

static void list_remove(struct vhd *img, struct vhd_bitmap *b)
{
	if (b->prev)
		b->prev->next = b->next;
	else
		img->bits_head = b->next;
	if (b->next)
		b->next->prev = b->prev;
	else
		img->bits_tail = b->prev;
	b->prev = b->next = NULL;
	b->listed = false;
}

static void list_append(struct vhd *img, struct vhd_bitmap *b)
{
	b->prev = img->bits_tail;
	b->next = NULL;
	if (b->prev)
		b->prev->next = b;
	else
		img->bits_head = b;
	img->bits_tail = b;
	b->listed = true;
}

/* A copy is the bitmap's address and its bits, padded for the next one. */
static size_t copy_bytes(const struct vhd_bitmap *b)
{
	return sizeof(b) + ((b->len_bytes + 7u) & ~7u);
}

static void set_bits(uint8_t *map, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint32_t in = from & 7;
		uint32_t n = to - from < 8 - in ? to - from : 8 - in;
		unsigned mask = (0xffu >> in) & (0xff00u >> (in + n));

		/* Pairs with the acquire in bitmap.c. */
		__atomic_fetch_or(&map[from >> 3], (uint8_t)mask,
				  __ATOMIC_RELEASE);
		from += n;
	}
}

static bool all_set(const struct vhd_bitmap *b, uint32_t from, uint32_t to)
{
	bool set;

	return vhd_bits_run(b->map, from, to, &set) == to - from && set;
}

static bool whole(const struct vhd *img, uint32_t block)
{
	return atomic_load_explicit(&img->state[block],
				    memory_order_acquire) == VHD_BLOCK_WHOLE;
}

void vhd_written(struct vhd *img, uint64_t lba, uint64_t sectors)
{
	uint32_t in = (uint32_t)lba & (vhd_block_sectors(img) - 1);
	uint32_t to = in + (uint32_t)sectors;
	uint32_t block = (uint32_t)(lba >> img->block_shift);
	struct vhd_bitmap *b;

	if (!img->marks || !sectors || whole(img, block))
		return;
	b = vhd_bitmap_kept(img, block);
	/* Set by others: then the list has them, or will before it is read by
	 * this thread.
	 */
	if (all_set(b, in, to))
		return;
	pthread_mutex_lock(&img->bits_lock);
	if (b->listed)
		list_remove(img, b);
	else
		img->bits_bytes += copy_bytes(b);
	list_append(img, b);
	/* The number first: vhd_write_needs_flush looks at the bits first. */
	atomic_store(&b->changed_seq, atomic_fetch_add(&img->bits_seq, 1) + 1);
	set_bits(b->map, in, to);
	pthread_mutex_unlock(&img->bits_lock);
}

static bool bits_durable(const struct vhd *img, uint64_t lba, uint64_t sectors)
{
	uint32_t in = (uint32_t)lba & (vhd_block_sectors(img) - 1);
	uint32_t block = (uint32_t)(lba >> img->block_shift);
	const struct vhd_bitmap *b;

	if (whole(img, block))
		return true;
	b = vhd_bitmap_kept(img, block);
	return b && all_set(b, in, in + (uint32_t)sectors) &&
	       atomic_load(&b->changed_seq) <=
		       atomic_load(&img->bits_durable_seq);
}

bool vhd_write_needs_flush(struct vhd *img, uint64_t lba, uint64_t sectors)
{
	return atomic_load(&img->alloc_seq) > atomic_load(&img->durable_seq) ||
	       (img->marks && !bits_durable(img, lba, sectors));
}

/* --------------------------------------------------------------- flushes -- */

static int make_room(struct vhd_commit *c, size_t bytes, struct vhd_err *err)
{
	size_t room = bytes + bytes / 2;
	uint8_t *copies = malloc(room);

	if (!copies)
		return vhd_fail_nomem(err, room, "copies of sector bitmaps");
	free(c->copies);
	c->copies = copies;
	c->room_bytes = room;
	return 0;
}

int vhd_written_copy(struct vhd *img, struct vhd_commit *c, struct vhd_err *err)
{
	int rc;

	c->used_bytes = 0;
	pthread_mutex_lock(&img->bits_lock);
	while (c->room_bytes < img->bits_bytes) {
		size_t bytes = img->bits_bytes;

		pthread_mutex_unlock(&img->bits_lock);
		rc = make_room(c, bytes, err);
		if (rc)
			return rc;
		pthread_mutex_lock(&img->bits_lock);
	}
	for (struct vhd_bitmap *b = img->bits_head; b; b = b->next) {
		uint8_t *to = c->copies + c->used_bytes;

		memcpy(to, &b, sizeof(b));
		memcpy(to + sizeof(b), b->map, b->len_bytes);
		c->used_bytes += copy_bytes(b);
	}
	c->bits_seq = atomic_load(&img->bits_seq);
	pthread_mutex_unlock(&img->bits_lock);
	return 0;
}

/* Add one sector's worth of copied bits; true where the file lacked some. */
static bool add_bits(uint8_t *disk, const uint8_t *copy, uint32_t len)
{
	bool more = false;

	for (uint32_t i = 0; i < len; i++) {
		if (copy[i] & ~disk[i])
			more = true;
		disk[i] |= copy[i];
	}
	return more;
}

static int publish_one(struct vhd *img, struct vhd_bitmap *b,
		       const uint8_t *copy, struct vhd_err *err)
{
	uint32_t entry = atomic_load_explicit(&img->bat[b->block],
					      memory_order_relaxed);
	uint64_t at = (uint64_t)entry * VHD_SECTOR_BYTES;

	for (uint32_t i = 0; i < b->len_bytes; i += VHD_SECTOR_BYTES) {
		uint32_t left = b->len_bytes - i;
		uint32_t n = left < VHD_SECTOR_BYTES ? left : VHD_SECTOR_BYTES;
		uint8_t sector[VHD_SECTOR_BYTES];
		int rc;

		memcpy(sector, b->disk + i, n);
		if (!add_bits(sector, copy + i, n))
			continue;
		rc = vhd_file_write(&img->file, sector, n, at + i, err);
		if (rc) /* not known to be there: to be written again */
			return rc;
		memcpy(b->disk + i, sector, n);
	}
	return 0;
}

int vhd_written_publish(struct vhd *img, const struct vhd_commit *c,
			struct vhd_err *err)
{
	size_t at = 0;
	int rc = 0;

	while (!rc && at < c->used_bytes) {
		struct vhd_bitmap *b;

		memcpy(&b, c->copies + at, sizeof(b));
		rc = publish_one(img, b, c->copies + at + sizeof(b), err);
		at += copy_bytes(b);
	}
	return rc;
}

void vhd_written_end(struct vhd *img, const struct vhd_commit *c)
{
	struct vhd_bitmap *b;

	pthread_mutex_lock(&img->bits_lock);
	if (c->bits_seq > atomic_load(&img->bits_durable_seq))
		atomic_store(&img->bits_durable_seq, c->bits_seq);
	while ((b = img->bits_head) &&
	       atomic_load(&b->changed_seq) <= c->bits_seq) {
		list_remove(img, b);
		img->bits_bytes -= copy_bytes(b);
		if (all_set(b, 0, vhd_bitmap_sectors(img, b->block)))
			atomic_store_explicit(&img->state[b->block],
					      VHD_BLOCK_WHOLE,
					      memory_order_release);
	}
	pthread_mutex_unlock(&img->bits_lock);
}
