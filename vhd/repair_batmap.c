/* SPDX-License-Identifier: BSD-2-Clause */
/* blktap's batmap made truthful: the bits of blocks that are not full, or not
 * there, become 0, which costs its reader a look at the bitmap and nothing
 * else. A batmap that points nowhere loses its cookie, which is how blktap
 * itself tells that there is none. No bit is ever set.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "repair.h"

static int drop(struct repair *r, struct vhd_err *err)
{
	struct vhd_batmap_wire w = r->s.batmap_wire;

	memset(w.cookie, 0, sizeof(w.cookie));
	repair_step(r, VHD_REPAIR_BATMAP, r->s.batmap_at,
		    "the batmap points nowhere; it is given up");
	return repair_put(r, REPAIR_MAIN, r->s.batmap_at, &w, sizeof(w), err);
}

/* The bits that may stay, for as many blocks as `len` bytes cover. */
static int truth(struct repair *r, const uint8_t *map, size_t len,
		 uint8_t *keep, struct vhd_err *err)
{
	uint8_t *bits = malloc(r->s.bitmap_bytes);
	int rc = 0;

	if (!bits)
		return vhd_fail_nomem(err, r->s.bitmap_bytes,
				      "a sector bitmap");
	for (uint32_t i = 0; i < r->place_count && !rc; i++) {
		uint32_t block = r->places[i].block;
		uint8_t bit = (uint8_t)(0x80 >> (block & 7));
		bool full = false;

		if (block / 8 >= len || !(map[block / 8] & bit))
			continue;
		rc = survey_bitmap(&r->s, block, r->places[i].sector, bits,
				   &full, err);
		if (full)
			keep[block / 8] |= bit;
	}
	free(bits);
	return rc;
}

static int put_map(struct repair *r, const uint8_t *map, size_t len,
		   struct vhd_err *err)
{
	struct vhd_batmap_wire w = r->s.batmap_wire;
	uint64_t at = be64_get(w.map_offset);
	uint32_t sum = 0;
	int rc = 0;

	for (size_t i = 0; i < len; i++)
		sum += map[i];
	w.checksum = be32_put(~sum);
	for (size_t i = 0; i < len && !rc; i += VHD_SECTOR_BYTES)
		rc = repair_put(r, REPAIR_MAIN, at + i, map + i,
				VHD_SECTOR_BYTES, err);
	if (!rc)
		rc = repair_put(r, REPAIR_MAIN, r->s.batmap_at, &w, sizeof(w),
				err);
	return rc;
}

/* Bits behind the disk's last block say nothing and stay. */
static void keep_rest(const struct repair *r, const uint8_t *map, size_t len,
		      uint8_t *keep)
{
	for (size_t b = r->s.blocks; b / 8 < len; b++)
		keep[b / 8] |= (uint8_t)(map[b / 8] & 0x80 >> (b & 7));
}

static int compare(struct repair *r, const uint8_t *map, uint8_t *keep,
		   size_t len, struct vhd_err *err)
{
	const struct vhd_batmap_wire *w = &r->s.batmap_wire;
	bool sum_ok = survey_batmap_sum_ok(w, map, len);
	int rc = truth(r, map, len, keep, err);

	if (rc)
		return rc;
	keep_rest(r, map, len, keep);
	if (sum_ok && memcmp(map, keep, len) == 0)
		return 0;
	repair_step(r, VHD_REPAIR_BATMAP, r->s.batmap_at,
		    "the batmap %s; it is made truthful",
		    memcmp(map, keep, len) ? "calls blocks full that are not"
					   : "has a wrong checksum");
	return put_map(r, keep, len, err);
}

int repair_batmap(struct repair *r, struct vhd_err *err)
{
	size_t len = (size_t)be32_get(r->s.batmap_wire.map_sectors) *
		     VHD_SECTOR_BYTES;
	uint8_t *map, *keep;
	int rc;

	if (!r->s.batmap_ok)
		return drop(r, err);
	map = malloc(len);
	keep = calloc(1, len);
	if (!map || !keep)
		rc = vhd_fail_nomem(err, 2 * len, "the batmap");
	else
		rc = vhd_file_read(r->file, map, len,
				   be64_get(r->s.batmap_wire.map_offset), err);
	if (!rc)
		rc = compare(r, map, keep, len, err);
	free(map);
	free(keep);
	return rc;
}
