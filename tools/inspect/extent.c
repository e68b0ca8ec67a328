/* SPDX-License-Identifier: BSD-2-Clause */
/* Extents of a disk: see extent.h. Of a raw or fixed layer the file system has
 * the only map there is; a sector that is partly a hole is data.
 */
#include <errno.h>
#include <unistd.h>

#include "extent.h"

const char *extent_word(enum extent_kind kind)
{
	static const char *const words[] = {
		[EXTENT_DATA] = "data",
		[EXTENT_ZERO] = "zero",
		[EXTENT_HOLE] = "hole",
		[EXTENT_PARENT] = "parent",
	};

	return words[kind];
}

void extents_init(struct extents *x, struct vhd *img)
{
	*x = (struct extents){
		.img = img,
		.size_bytes = vhd_get_info(img)->size_bytes,
	};
}

/* --------------------------------------------------------------- holes -- */

/* Learn what is at `at` in a file. What has no holes is data. */
static void learn(struct extent_holes *h, int fd, uint64_t at)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == ENXIO) {
		h->hole_from = at;
		h->hole_to = UINT64_MAX;
		return;
	}
	if (data < 0)
		data = (off_t)at;
	if ((uint64_t)data > at) {
		h->hole_from = at;
		h->hole_to = (uint64_t)data;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	h->data_from = (uint64_t)data;
	h->data_to = hole > data ? (uint64_t)hole : UINT64_MAX;
}

/* Cut a piece of data where its file goes from hole to data or back. */
static void split_at_holes(struct extent_holes *h, int fd, struct extent *x)
{
	bool hole;
	uint64_t end;

	if ((x->off_bytes < h->data_from || x->off_bytes >= h->data_to) &&
	    (x->off_bytes < h->hole_from || x->off_bytes >= h->hole_to))
		learn(h, fd, x->off_bytes);
	hole = x->off_bytes >= h->hole_from && x->off_bytes < h->hole_to;
	end = hole ? h->hole_to : h->data_to;
	if (end - x->off_bytes < x->len_bytes) {
		x->len_bytes = end - x->off_bytes;
		if (!hole)
			x->len_bytes += VHD_SECTOR_BYTES - 1;
		x->len_bytes &= ~(uint64_t)(VHD_SECTOR_BYTES - 1);
		if (!x->len_bytes) {
			hole = false;
			x->len_bytes = VHD_SECTOR_BYTES;
		}
	}
	if (hole)
		x->kind = EXTENT_ZERO;
}

static bool has_blocks(const struct vhd_info *info)
{
	return info->format == VHD_FORMAT_DYNAMIC ||
	       info->format == VHD_FORMAT_DIFF;
}

static void look_for_holes(struct extents *x, struct extent *e)
{
	struct vhd_layer layer;

	if (!e->placed || vhd_layer(x->img, e->layer, &layer) || layer.fd < 0)
		return;
	if (x->host_holes || !has_blocks(layer.info))
		split_at_holes(&x->holes[e->layer], layer.fd, e);
}

/* ------------------------------------------------------ without bitmaps -- */

/* One layer by its table alone. */
static int layer_blocks(struct extents *x, unsigned i, uint64_t at,
			uint64_t len, struct extent *e, struct vhd_err *err)
{
	struct vhd_layer layer;
	uint64_t block_bytes, in, off;

	if (vhd_layer(x->img, i, &layer))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the image has no layer %u", i);
	*e = (struct extent){
		.start_bytes = at,
		.len_bytes = len,
		.off_bytes = at,
		.placed = true,
		.layer = i,
	};
	if (!has_blocks(layer.info))
		return 0;
	block_bytes = layer.info->block_size_bytes;
	in = at % block_bytes;
	if (block_bytes - in < len)
		e->len_bytes = block_bytes - in;
	if (vhd_layer_block(x->img, i, (uint32_t)(at / block_bytes), &off))
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"no block at disk offset %llu",
				(unsigned long long)at);
	e->placed = off != 0;
	e->off_bytes = off ? off + layer.info->bitmap_bytes + in : 0;
	if (!off)
		e->kind = layer.info->format == VHD_FORMAT_DIFF ? EXTENT_PARENT
								: EXTENT_HOLE;
	return 0;
}

static int chain_blocks(struct extents *x, uint64_t at, struct extent *e,
			struct vhd_err *err)
{
	uint64_t len = x->size_bytes - at;
	struct vhd_layer below;

	for (unsigned i = 0;; i++) {
		int rc = layer_blocks(x, i, at, len, e, err);

		if (rc || e->kind != EXTENT_PARENT ||
		    vhd_layer(x->img, i + 1, &below))
			return rc;
		len = e->len_bytes;
		if (at >= below.info->size_bytes) {
			e->kind = EXTENT_HOLE;
			return 0;
		}
		if (below.info->size_bytes - at < len)
			len = below.info->size_bytes - at;
	}
}

/* ------------------------------------------------------------- extents -- */

static void take_run(const struct vhd_run *run, uint64_t at, unsigned layer,
		     struct extent *e)
{
	static const enum extent_kind kinds[] = {
		[VHD_RUN_FILE] = EXTENT_DATA,
		[VHD_RUN_ZERO] = EXTENT_ZERO,
		[VHD_RUN_HOLE] = EXTENT_HOLE,
		[VHD_RUN_PARENT] = EXTENT_PARENT,
	};

	*e = (struct extent){
		.start_bytes = at,
		.len_bytes = run->sectors * VHD_SECTOR_BYTES,
		.off_bytes = run->off_bytes,
		.kind = kinds[run->kind],
		.placed = run->kind == VHD_RUN_FILE,
		.layer = layer,
	};
}

int extents_at(struct extents *x, uint64_t at_bytes, struct extent *out,
	       struct vhd_err *err)
{
	struct vhd_run run;
	unsigned layer;
	int rc;

	if (x->blocks_only) {
		rc = chain_blocks(x, at_bytes, out, err);
	} else {
		rc = vhd_map_chain(x->img, at_bytes / VHD_SECTOR_BYTES,
				   (x->size_bytes - at_bytes) /
					   VHD_SECTOR_BYTES,
				   &run, &layer, err);
		if (!rc)
			take_run(&run, at_bytes, layer, out);
	}
	if (!rc)
		look_for_holes(x, out);
	return rc;
}

int extents_layer_at(struct extents *x, unsigned i, uint64_t at_bytes,
		     struct extent *out, struct vhd_err *err)
{
	struct vhd_layer layer;
	struct vhd_run run;
	uint64_t len;
	int rc;

	if (vhd_layer(x->img, i, &layer))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the image has no layer %u", i);
	len = layer.info->size_bytes - at_bytes;
	if (x->blocks_only) {
		rc = layer_blocks(x, i, at_bytes, len, out, err);
	} else {
		rc = vhd_layer_map(x->img, i, at_bytes / VHD_SECTOR_BYTES,
				   len / VHD_SECTOR_BYTES, &run, err);
		if (!rc)
			take_run(&run, at_bytes, i, out);
	}
	if (!rc)
		look_for_holes(x, out);
	return rc;
}

bool extent_joins(const struct extent *a, const struct extent *b)
{
	return a->kind == b->kind && a->placed == b->placed &&
	       a->layer == b->layer &&
	       (!a->placed || a->off_bytes + a->len_bytes == b->off_bytes);
}
