/* SPDX-License-Identifier: BSD-2-Clause */
/* blktap's batmap: one bit a block, 1 where every sector of the block is in
 * this file, so that its bitmap need not be read. It lies behind the BAT. Here
 * it is neither used nor written, but its place is kept free and it must not
 * become untrue: a stale 1 makes blktap read garbage, a stale 0 costs it time.
 * Source: blktap's readers and writers of the structure.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "image.h"

#define CHUNK_BYTES 4096u

bool vhd_is_blktap(const struct vhd_info *info)
{
	return memcmp(info->creator_app, "tap", 4) == 0;
}

/* One that points nowhere is ignored. A place for its header is kept even
 * where there is none: in a block's bitmap there, a guest could forge one.
 */
int vhd_batmap_find(struct vhd *img, struct vhd_range *ranges, unsigned *count,
		    uint64_t table_end_bytes, struct vhd_err *err)
{
	struct vhd_batmap_wire w;
	uint64_t off, len, end;
	int rc;

	if (!vhd_is_blktap(&img->info))
		return 0;
	img->alloc_end_bytes = table_end_bytes + sizeof(w);
	if (!range_ok(table_end_bytes, sizeof(w), img->limit_bytes))
		return 0;
	rc = vhd_file_read(&img->file, &w, sizeof(w), table_end_bytes, err);
	if (rc)
		return rc;
	if (memcmp(w.cookie, VHD_COOKIE_BATMAP, VHD_COOKIE_BYTES) != 0)
		return 0;
	img->info.notes |= VHD_NOTE_BATMAP;
	off = be64_get(w.map_offset);
	len = (uint64_t)be32_get(w.map_sectors) * VHD_SECTOR_BYTES;
	if (add_ovf(off, len, &end))
		end = UINT64_MAX;
	if (end > img->limit_bytes)
		vhd_outside(img, "blktap's batmap", off, end);
	if (end > img->limit_bytes ||
	    (off < table_end_bytes + sizeof(w) && end > table_end_bytes) ||
	    vhd_range_hit(ranges, *count, off, end)) {
		img->info.notes |= VHD_NOTE_BATMAP_BAD;
		return 0;
	}
	vhd_range_add(ranges, count, table_end_bytes,
		      table_end_bytes + sizeof(w), "batmap header");
	vhd_range_add(ranges, count, off, end, "batmap");
	img->batmap_bytes = off;
	img->batmap_len_bytes = len;
	return 0;
}

/* The first block in this piece of the map that is called full and is not
 * there, or UINT32_MAX.
 */
static uint32_t claimed(const struct vhd *img, const uint8_t *map, uint64_t at,
			size_t len)
{
	for (size_t i = 0; i < len * 8; i++) {
		uint64_t block = at * 8 + i;

		if (block >= img->info.blocks)
			break;
		if (map[i / 8] & (0x80 >> i % 8) &&
		    atomic_load_explicit(&img->bat[block],
					 memory_order_relaxed) == VHD_BAT_NONE)
			return (uint32_t)block;
	}
	return UINT32_MAX;
}

int vhd_batmap_writable(const struct vhd *img, struct vhd_err *err)
{
	uint64_t need = ((uint64_t)img->info.blocks + 7) / 8;
	uint64_t end = need < img->batmap_len_bytes ? need
						    : img->batmap_len_bytes;
	uint8_t map[CHUNK_BYTES];

	for (uint64_t at = 0; at < end; at += sizeof(map)) {
		size_t n = end - at < sizeof(map) ? (size_t)(end - at)
						  : sizeof(map);
		uint32_t block;
		int rc = vhd_file_read(&img->file, map, n,
				       img->batmap_bytes + at, err);

		if (rc)
			return rc;
		block = claimed(img, map, at, n);
		if (block != UINT32_MAX)
			return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT,
					img->batmap_bytes + block / 8,
					"blktap's batmap calls block %u full, "
					"which has no place; repair the image, "
					"or open it read-only",
					block);
	}
	return 0;
}
