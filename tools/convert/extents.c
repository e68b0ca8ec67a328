/* SPDX-License-Identifier: BSD-2-Clause */
/* Where an image has data: the library's map tells which blocks exist, and
 * the host's file system which parts of the file are holes. Reading neither
 * is the cheapest way to copy zeros.
 */
#include <errno.h>
#include <unistd.h>

#include "convert.h"

/* The places of a split set are not those of its first file. */
static bool one_file(const struct vhd *img)
{
	struct vhd_layer layer;

	return vhd_layer(img, 0, &layer) == 0 && layer.fd >= 0;
}

void convert_extents_init(struct convert_extents *x, struct vhd *img, int fd)
{
	*x = (struct convert_extents){
		.img = img,
		.fd = one_file(img) ? fd : -1,
		.size_bytes = vhd_get_info(img)->size_bytes,
	};
}

/* Learn what lies at `at` in the file. A file system that knows no holes says
 * that all is data; one that does not know the call is taken the same way.
 */
static void learn(struct convert_holes *h, int fd, uint64_t at)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == ENXIO) {
		h->hole_from_bytes = at;
		h->hole_to_bytes = UINT64_MAX;
		return;
	}
	if (data < 0)
		data = (off_t)at;
	if ((uint64_t)data > at) {
		h->hole_from_bytes = at;
		h->hole_to_bytes = (uint64_t)data;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	h->data_from_bytes = (uint64_t)data;
	h->data_to_bytes = hole > data ? (uint64_t)hole : UINT64_MAX;
}

static int layer_fd(const struct convert_extents *x, unsigned i)
{
	struct vhd_layer layer;

	return i && !vhd_layer(x->img, i, &layer) ? layer.fd : x->fd;
}

/* Whether a layer's file has data at `at`, and until where that answer holds.
 */
static bool data_at(struct convert_extents *x, unsigned layer, uint64_t at,
		    uint64_t *until)
{
	struct convert_holes *h = &x->holes[layer];
	bool data = at >= h->data_from_bytes && at < h->data_to_bytes;
	bool hole = at >= h->hole_from_bytes && at < h->hole_to_bytes;

	if (!data && !hole) {
		learn(h, layer_fd(x, layer), at);
		hole = at >= h->hole_from_bytes && at < h->hole_to_bytes;
	}
	*until = hole ? h->hole_to_bytes : h->data_to_bytes;
	return !hole;
}

/* What is at `at` on the disk: data or not, and for how many bytes. */
static int look(struct convert_extents *x, uint64_t at, bool *data,
		uint64_t *len, struct vhd_err *err)
{
	uint64_t left = (x->size_bytes - at) / VHD_SECTOR_BYTES;
	uint64_t until;
	struct vhd_run run;
	unsigned layer;
	int rc;

	rc = vhd_map_chain(x->img, at / VHD_SECTOR_BYTES, left, &run, &layer,
			   err);
	if (rc)
		return rc;
	*len = run.sectors * VHD_SECTOR_BYTES;
	*data = run.kind == VHD_RUN_FILE;
	if (run.kind == VHD_RUN_PARENT)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
				"data at disk offset %llu is in a parent image",
				(unsigned long long)at);
	if (!*data)
		return 0;
	*data = data_at(x, layer, run.off_bytes, &until);
	/* Holes need not end on a sector. The sector in which one ends, or
	 * in which data gives way to one, counts as data.
	 */
	if (until - run.off_bytes >= *len)
		return 0;
	until -= run.off_bytes;
	if (*data || until < VHD_SECTOR_BYTES) {
		*data = true;
		until += VHD_SECTOR_BYTES - 1;
	}
	*len = until / VHD_SECTOR_BYTES * VHD_SECTOR_BYTES;
	return 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int convert_extents_next(struct convert_extents *x, uint64_t unit_bytes,
			 uint64_t *off_bytes, uint64_t *len_bytes,
			 struct vhd_err *err)
{
	uint64_t floor = *off_bytes, at = floor, end, len;
	bool data = false;
	int rc;

	*len_bytes = 0;
	while (at < x->size_bytes) {
		rc = look(x, at, &data, &len, err);
		if (rc)
			return rc;
		if (data)
			break;
		at += len;
	}
	if (at >= x->size_bytes)
		return 0;
	/* Whole grains, so that zeros are judged alike everywhere; what was
	 * handed out before is not handed out again.
	 */
	*off_bytes = at & ~(uint64_t)(CONVERT_GRAIN_BYTES - 1);
	if (*off_bytes < floor)
		*off_bytes = floor;
	end = min_u64((*off_bytes | (unit_bytes - 1)) + 1, x->size_bytes);
	for (at += len; at < end; at += len) {
		rc = look(x, at, &data, &len, err);
		if (rc)
			return rc;
		if (!data)
			break;
	}
	at = (at + CONVERT_GRAIN_BYTES - 1) &
	     ~(uint64_t)(CONVERT_GRAIN_BYTES - 1);
	*len_bytes = min_u64(at, end) - *off_bytes;
	return 0;
}
