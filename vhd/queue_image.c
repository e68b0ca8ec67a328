/* SPDX-License-Identifier: BSD-2-Clause */
/* Attached images: finding one by its pointer, and its facts gathered once so
 * that no request asks for them again.
 *
 * O_DIRECT. The kernel wants addresses, offsets and lengths aligned as statx
 * said when the file was opened (STATX_DIOALIGN, Linux 6.1). Writes go direct only in whole pages of the file: a direct
 * write to one part of a page while a buffered write dirties another part of
 * the same page could be undone when the page, read in before, is written
 * back. What does not fit goes through the page cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "nbd.h"
#include "queue_int.h"

#define PAGE_BYTES 4096u

static unsigned hash_of(const struct vhd *img)
{
	uint64_t h = (uint64_t)(uintptr_t)img * 0x9e3779b97f4a7c15ull;

	return (unsigned)(h >> (64 - QUEUE_HASH_BITS));
}

static unsigned hash_next(unsigned at)
{
	return (at + 1) & ((1u << QUEUE_HASH_BITS) - 1);
}

/* The table is never more than half full, so every search ends. */
static void hash_add(struct vhd_queue *q, uint16_t index)
{
	unsigned at = hash_of(q->images[index].img);

	while (q->hash[at] != QUEUE_NO_IMAGE)
		at = hash_next(at);
	q->hash[at] = index;
}

static void hash_rebuild(struct vhd_queue *q)
{
	memset(q->hash, 0xff, sizeof(q->hash));
	for (uint16_t i = 0; i < VHD_QUEUE_IMAGES_MAX; i++)
		if (q->images[i].img)
			hash_add(q, i);
}

struct queue_image *queue_image_find(struct vhd_queue *q,
				     const struct vhd *img)
{
	unsigned at;

	if (!img)
		return NULL;
	for (at = hash_of(img); q->hash[at] != QUEUE_NO_IMAGE;
	     at = hash_next(at)) {
		struct queue_image *im = &q->images[q->hash[at]];

		if (im->img == img)
			return im;
	}
	return NULL;
}

static bool direct_take(const struct vhd_file *f, struct queue_direct *d)
{
	uint32_t mem = f->direct_mem_bytes, off = f->direct_off_bytes;

	if (f->direct_fd < 0 || !mem || !off)
		return false;
	d->mem_mask = mem - 1;
	d->read_mask = off - 1;
	d->write_mask = (off > PAGE_BYTES ? off : PAGE_BYTES) - 1;
	return true;
}

static struct queue_image *image_place(struct vhd_queue *q)
{
	for (unsigned i = 0; i < VHD_QUEUE_IMAGES_MAX; i++)
		if (!q->images[i].img)
			return &q->images[i];
	return NULL;
}

static bool grows(enum vhd_format format)
{
	return format == VHD_FORMAT_DYNAMIC || format == VHD_FORMAT_DIFF;
}

static int file_attach(struct vhd_queue *q, struct vhd *img,
		       struct queue_file *f, struct vhd_err *err)
{
	const struct vhd_file *file = vhd_get_file(img);
	uint32_t slot = 0;
	int rc;

	while (slot < VHD_ENGINE_FILES_MAX && q->slot_used[slot])
		slot++;
	if (slot == VHD_ENGINE_FILES_MAX)
		return vhd_fail(err, -ENOSPC, VHD_WHY_ARGUMENT, 0,
				"a queue serves at most %u files, parents "
				"among them",
				VHD_ENGINE_FILES_MAX);
	rc = vhd_nbd_of(file) ? queue_go_nbd(q, err) : 0;
	if (!rc)
		rc = q->engine->attach(q->state, file, slot, err);
	/* A split set is no one descriptor: only one engine can serve it. */
	if (rc == -ENOTSUP && queue_go_sync(q, err) == 0)
		rc = q->engine->attach(q->state, file, slot, err);
	if (rc)
		return rc;
	q->slot_used[slot] = true;
	*f = (struct queue_file){.file = file, .slot = slot};
	f->use_direct = vhd_data_aligned(img) &&
			direct_take(file, &f->direct);
	return 0;
}

static void file_detach(struct vhd_queue *q, struct queue_file *f)
{
	if (!q->broken)
		q->engine->detach(q->state, f->file, f->slot);
	q->slot_used[f->slot] = false;
}

/* The parents, in order; on failure those before are detached again. */
static int below_attach(struct vhd_queue *q, struct queue_image *im,
			uint32_t count, struct vhd_err *err)
{
	int rc = 0;

	if (!count)
		return 0;
	im->below = calloc(count, sizeof(*im->below));
	if (!im->below)
		return vhd_fail_nomem(err, count * sizeof(*im->below),
				      "the parents of an image");
	while (!rc && im->below_count < count) {
		struct vhd *layer = vhd_get_layer(im->img, im->below_count + 1);

		rc = file_attach(q, layer, &im->below[im->below_count], err);
		if (!rc)
			im->below_count++;
	}
	return rc;
}

static void files_detach(struct vhd_queue *q, struct queue_image *im)
{
	while (im->below_count)
		file_detach(q, &im->below[--im->below_count]);
	free(im->below);
	im->below = NULL;
	file_detach(q, &im->own);
	im->img = NULL;
}

/* The end of a ring lets go of its files some time later, and a lock could stay
 * as long.
 */
void queue_images_release(struct vhd_queue *q)
{
	for (unsigned i = 0; i < VHD_QUEUE_IMAGES_MAX; i++) {
		struct queue_image *im = &q->images[i];

		if (!im->img)
			continue;
		vhd_commit_fini(&im->flush.commit);
		files_detach(q, im);
	}
}

int vhd_queue_attach(struct vhd_queue *q, struct vhd *img, struct vhd_err *err)
{
	const struct vhd_info *info = vhd_get_info(img);
	struct queue_image *im;
	struct queue_file own;
	int rc;

	if (queue_image_find(q, img))
		return vhd_fail(err, -EEXIST, VHD_WHY_ARGUMENT, 0,
				"the image is attached to this queue already");
	if (q->broken)
		return vhd_fail(err, -EIO, VHD_WHY_IO, 0,
				"the queue's engine is broken");
	im = image_place(q);
	if (!im)
		return vhd_fail(err, -ENOSPC, VHD_WHY_ARGUMENT, 0,
				"a queue serves at most %u images",
				VHD_QUEUE_IMAGES_MAX);
	rc = file_attach(q, img, &own, err);
	if (rc)
		return rc;
	*im = (struct queue_image){
		.img = img,
		.own = own,
		.sectors = info->size_bytes / VHD_SECTOR_BYTES,
		.writable = vhd_is_writable(img),
		.grows = grows(info->format),
		.marks = info->format == VHD_FORMAT_DIFF,
	};
	rc = below_attach(q, im, info->layers - 1, err);
	if (rc) {
		files_detach(q, im);
		return rc;
	}
	hash_add(q, (uint16_t)(im - q->images));
	return 0;
}

void vhd_queue_detach(struct vhd_queue *q, struct vhd *img)
{
	struct queue_image *im = queue_image_find(q, img);

	if (!im)
		return;
	queue_flush_forget(q, im);
	files_detach(q, im);
	hash_rebuild(q);
}
