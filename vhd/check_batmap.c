/* SPDX-License-Identifier: BSD-2-Clause */
/* blktap's batmap: one bit a block, 1 where every sector is present, so that
 * its reader skips the bitmap. A stale 0 costs speed; a stale 1 shows what
 * happens to lie in sectors never written.
 * Source: blktap's own description of its extension.
 */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "fail.h"

static bool says_full(const uint8_t *map, size_t len, uint32_t block)
{
	return block / 8 < len && map[block / 8] & 0x80 >> (block & 7);
}

static void tell_stale(struct check *c, uint64_t map_at, uint32_t block,
		       const char *what)
{
	check_tell(c, VHD_FIND_BATMAP_STALE, map_at + block / 8, block,
		   "the batmap says that block %u is full, but %s: blktap "
		   "shows what was never written",
		   block, what);
}

/* Bits of blocks without a place. */
static int absent_blocks(struct check *c, const uint8_t *map, size_t len,
			 uint64_t map_at, struct vhd_err *err)
{
	size_t bytes = (size_t)c->s.blocks / 8 + 1;
	uint8_t *used = calloc(1, bytes);

	if (!used)
		return vhd_fail_nomem(err, bytes, "a map of used blocks");
	for (uint32_t i = 0; i < c->place_count; i++)
		used[c->places[i].block / 8] |=
			(uint8_t)(0x80 >> (c->places[i].block & 7));
	for (uint32_t b = 0; b < c->s.blocks; b++)
		if (says_full(map, len, b) && !says_full(used, bytes, b))
			tell_stale(c, map_at, b, "it has no place");
	free(used);
	return 0;
}

static int present_blocks(struct check *c, const uint8_t *map, size_t len,
			  uint64_t map_at, struct vhd_err *err)
{
	uint8_t *bits = malloc(c->s.bitmap_bytes);
	int rc = 0;

	if (!bits)
		return vhd_fail_nomem(err, c->s.bitmap_bytes,
				      "a sector bitmap");
	for (uint32_t i = 0; i < c->place_count && !rc; i++) {
		uint32_t block = c->places[i].block;
		bool full;

		if (!says_full(map, len, block))
			continue;
		rc = survey_bitmap(&c->s, block, c->places[i].sector, bits,
				   &full, err);
		if (!rc && !full)
			tell_stale(c, map_at, block, "its bitmap has zeros");
	}
	free(bits);
	return rc;
}

static int judge_map(struct check *c, struct vhd_err *err)
{
	const struct vhd_batmap_wire *w = &c->s.batmap_wire;
	uint64_t map_at = be64_get(w->map_offset);
	size_t len = (size_t)be32_get(w->map_sectors) * VHD_SECTOR_BYTES;
	uint64_t need = ((uint64_t)c->s.blocks + 7) / 8;
	uint8_t *map;
	int rc;

	if (len < need)
		check_tell(c, VHD_FIND_BATMAP_SIZE, c->s.batmap_at,
			   VHD_NO_BLOCK,
			   "the batmap has %zu bytes, %u blocks need %llu", len,
			   c->s.blocks, (unsigned long long)need);
	map = malloc(len);
	if (!map)
		return vhd_fail_nomem(err, len, "the batmap");
	rc = vhd_file_read(c->s.file, map, len, map_at, err);
	if (!rc && !survey_batmap_sum_ok(w, map, len))
		check_tell(c, VHD_FIND_BATMAP_CHECKSUM, c->s.batmap_at,
			   VHD_NO_BLOCK, "the batmap's checksum is wrong");
	if (!rc)
		rc = present_blocks(c, map, len, map_at, err);
	if (!rc)
		rc = absent_blocks(c, map, len, map_at, err);
	free(map);
	return rc;
}

int check_batmap(struct check *c, struct vhd_err *err)
{
	if (!c->s.batmap_ok) {
		check_tell(c, VHD_FIND_BATMAP_PLACE, c->s.batmap_at,
			   VHD_NO_BLOCK,
			   "the batmap's header points to offset %llu, where "
			   "it cannot be",
			   (unsigned long long)be64_get(
				   c->s.batmap_wire.map_offset));
		return 0;
	}
	return judge_map(c, err);
}
