/* SPDX-License-Identifier: BSD-2-Clause */
/* See layout.h.
 * Source: VHD specification 1.0, "Dynamic Disk Header Format", "Block
 * Allocation Table and Data Blocks"; blktap's batmap as its readers describe
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "layout.h"

#define CHUNK_ENTRIES	   16384u
#define BATMAP_VERSION	   0x00010002u /* sums unsigned bytes */
#define BATMAP_SECTORS_MAX 8192u       /* twice what VHD_BLOCKS_MAX needs */

/* ------------------------------------------------------------- reading -- */

static uint64_t table_end(const struct layout *l)
{
	return l->img->info.table_bytes +
	       layout_table_bytes(l->img->info.table_entries);
}

static bool batmap_sum_ok(const struct layout_batmap *b)
{
	uint32_t sum = 0, wrapped = 0;

	for (uint32_t i = 0; i < b->len_bytes; i++) {
		sum += b->map[i];
		if (b->map[i] & 0x80)
			wrapped += 256;
	}
	return be32_get(b->w.checksum) == ~sum ||
	       be32_get(b->w.checksum) == ~(sum - wrapped);
}

/* One whose sum is wrong says nothing: it goes on as a map of no block. */
static int batmap_read(struct layout *l, struct vhd_err *err)
{
	struct layout_batmap *b = &l->batmap;
	uint32_t notes = l->img->info.notes;
	uint32_t sectors;
	int rc;

	if (!(notes & VHD_NOTE_BATMAP) || (notes & VHD_NOTE_BATMAP_BAD))
		return 0;
	rc = vhd_file_read(&l->img->file, &b->w, sizeof(b->w), table_end(l),
			   err);
	sectors = be32_get(b->w.map_sectors);
	if (rc || !sectors || sectors > BATMAP_SECTORS_MAX)
		return rc;
	b->len_bytes = sectors * VHD_SECTOR_BYTES;
	b->map = malloc(b->len_bytes);
	if (!b->map)
		return vhd_fail_nomem(err, b->len_bytes, "the batmap");
	rc = vhd_file_read(&l->img->file, b->map, b->len_bytes,
			   be64_get(b->w.map_offset), err);
	if (rc)
		return rc;
	b->there = true;
	if (!batmap_sum_ok(b)) {
		memset(b->map, 0, b->len_bytes);
		b->dirty = true;
	}
	return 0;
}

static int place_order(const void *a, const void *b)
{
	const struct layout_place *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

void layout_sort(struct layout *l)
{
	for (uint32_t i = 1; i < l->count; i++) {
		if (l->places[i - 1].sector < l->places[i].sector)
			continue;
		qsort(l->places, l->count, sizeof(*l->places), place_order);
		return;
	}
}

static int places_read(struct layout *l, struct vhd_err *err)
{
	const struct vhd *img = l->img;
	uint64_t bytes = (uint64_t)img->info.blocks * sizeof(*l->places);

	l->places = malloc(bytes);
	if (!l->places)
		return vhd_fail_nomem(err, bytes, "the places of blocks");
	for (uint32_t b = 0; b < img->info.blocks; b++) {
		uint32_t sector = atomic_load_explicit(&img->bat[b],
						       memory_order_relaxed);

		if (sector != VHD_BAT_NONE)
			l->places[l->count++] =
				(struct layout_place){sector, b};
	}
	layout_sort(l);
	return 0;
}

static int range_order(const void *a, const void *b)
{
	const struct vhd_range *x = a, *y = b;

	return x->off_bytes < y->off_bytes ? -1 : x->off_bytes > y->off_bytes;
}

static void add(struct layout *l, uint64_t off, uint64_t len, const char *what)
{
	uint64_t end;

	if (!len || add_ovf(off, len, &end))
		return;
	l->ranges[l->range_count++] = (struct vhd_range){off, end, what};
}

/* Locators keep the room that they have reserved for longer names. One that
 * opening ignores, because it lies over something else, has none.
 */
static void add_locators(struct layout *l)
{
	struct vhd_header h;

	if (l->img->info.format != VHD_FORMAT_DIFF)
		return;
	vhd_header_decode(&l->header, &h);
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *loc = &h.locator[i];
		uint32_t len = loc->space_bytes > loc->len_bytes
				       ? loc->space_bytes
				       : loc->len_bytes;

		if (!loc->platform)
			continue;
		if (!range_ok(loc->off_bytes, len, l->img->limit_bytes))
			len = loc->len_bytes;
		if (range_ok(loc->off_bytes, len, l->img->limit_bytes))
			add(l, loc->off_bytes, len, "parent locator");
	}
}

void layout_ranges(struct layout *l)
{
	const struct vhd_info *info = &l->img->info;

	l->range_count = 0;
	add(l, 0, VHD_FOOTER_BYTES, "footer copy");
	add(l, info->header_bytes, VHD_HEADER_BYTES, "dynamic header");
	add(l, info->table_bytes, layout_table_bytes(info->table_entries),
	    "block table");
	if (l->batmap.there) {
		add(l, table_end(l), sizeof(l->batmap.w), "batmap header");
		add(l, be64_get(l->batmap.w.map_offset), l->batmap.len_bytes,
		    "batmap");
	}
	add_locators(l);
	qsort(l->ranges, l->range_count, sizeof(*l->ranges), range_order);
}

int layout_open(struct layout *l, struct vhd *img, struct vhd_err *err)
{
	int rc;

	memset(l, 0, sizeof(*l));
	l->img = img;
	l->stride_bytes =
		(uint64_t)img->info.bitmap_bytes + img->info.block_size_bytes;
	rc = vhd_file_read(&img->file, &l->header, sizeof(l->header),
			   img->info.header_bytes, err);
	if (!rc)
		rc = batmap_read(l, err);
	if (!rc)
		rc = places_read(l, err);
	if (rc) {
		layout_close(l);
		return rc;
	}
	layout_ranges(l);
	return 0;
}

void layout_close(struct layout *l)
{
	free(l->batmap.map);
	free(l->places);
	memset(l, 0, sizeof(*l));
}

/* ------------------------------------------------------------ the room -- */

static uint64_t place_off(const struct layout *l, uint32_t i)
{
	return (uint64_t)l->places[i].sector * VHD_SECTOR_BYTES;
}

uint64_t layout_end(const struct layout *l)
{
	uint64_t end = 0;

	if (l->count)
		end = place_off(l, l->count - 1) + l->stride_bytes;
	for (unsigned i = 0; i < l->range_count; i++)
		if (l->ranges[i].end_bytes > end)
			end = l->ranges[i].end_bytes;
	return end;
}

void layout_gaps_begin(struct layout_gaps *g, const struct layout *l)
{
	*g = (struct layout_gaps){.l = l};
}

bool layout_gaps_next(struct layout_gaps *g, struct vhd_range *gap)
{
	const struct layout *l = g->l;

	while (g->place < l->count || g->range < l->range_count) {
		uint64_t start = UINT64_MAX, end, from = g->at_bytes;

		if (g->place < l->count)
			start = place_off(l, g->place);
		if (g->range < l->range_count &&
		    l->ranges[g->range].off_bytes <= start) {
			start = l->ranges[g->range].off_bytes;
			end = l->ranges[g->range++].end_bytes;
		} else {
			end = start + l->stride_bytes;
			g->place++;
		}
		if (end > g->at_bytes)
			g->at_bytes = end;
		if (start > from) {
			*gap = (struct vhd_range){from, start, "free"};
			return true;
		}
	}
	return false;
}

/* ---------------------------------------------------------- the batmap -- */

void layout_batmap_clear(struct layout *l, uint32_t block)
{
	struct layout_batmap *b = &l->batmap;
	uint8_t bit = (uint8_t)(0x80 >> (block & 7));

	if (!b->there || block / 8 >= b->len_bytes ||
	    !(b->map[block / 8] & bit))
		return;
	b->map[block / 8] &= (uint8_t)~bit;
	b->dirty = true;
}

static void batmap_seal(struct layout_batmap *b)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < b->len_bytes; i++)
		sum += b->map[i];
	b->w.version = be32_put(BATMAP_VERSION);
	b->w.checksum = be32_put(~sum);
}

static int batmap_put(struct layout *l, uint64_t header_at, struct vhd_err *err)
{
	struct layout_batmap *b = &l->batmap;
	int rc;

	batmap_seal(b);
	rc = vhd_file_write(&l->img->file, b->map, b->len_bytes,
			    be64_get(b->w.map_offset), err);
	if (!rc)
		rc = vhd_file_write(&l->img->file, &b->w, sizeof(b->w),
				    header_at, err);
	if (!rc)
		b->dirty = false;
	return rc;
}

int layout_batmap_write(struct layout *l, struct vhd_err *err)
{
	if (!l->batmap.there || !l->batmap.dirty)
		return 0;
	return batmap_put(l, table_end(l), err);
}

/* The map for so many blocks, behind a header at `at`. */
static int batmap_resize(struct layout *l, uint64_t at, uint32_t entries,
			 struct vhd_err *err)
{
	struct layout_batmap *b = &l->batmap;
	uint64_t need = layout_unit_bytes(l, entries) -
			layout_table_bytes(entries) - sizeof(b->w);
	uint8_t *map;

	if (need > b->len_bytes) {
		map = realloc(b->map, need);
		if (!map)
			return vhd_fail_nomem(err, need, "the batmap");
		memset(map + b->len_bytes, 0, need - b->len_bytes);
		b->map = map;
	}
	b->len_bytes = (uint32_t)need;
	b->w.map_sectors = be32_put((uint32_t)(need / VHD_SECTOR_BYTES));
	b->w.map_offset = be64_put(at + sizeof(b->w));
	return 0;
}

/* ------------------------------------------------------ the table unit -- */

uint64_t layout_table_bytes(uint32_t entries)
{
	return ((uint64_t)entries * 4 + VHD_SECTOR_BYTES - 1) &
	       ~(uint64_t)(VHD_SECTOR_BYTES - 1);
}

uint64_t layout_unit_bytes(const struct layout *l, uint32_t entries)
{
	uint64_t len = layout_table_bytes(entries);
	uint64_t map = (((uint64_t)entries + 7) / 8 + VHD_SECTOR_BYTES - 1) &
		       ~(uint64_t)(VHD_SECTOR_BYTES - 1);

	if (l->batmap.there)
		len += sizeof(l->batmap.w) + map;
	return len;
}

/* Entries [from, to) as the disk has them, the rest empty, to `off_bytes`,
 * where entry `from` goes.
 */
static int entries_write(const struct layout *l, uint64_t off_bytes,
			 uint32_t from, uint32_t to, bool empty,
			 struct vhd_err *err)
{
	const struct vhd *img = l->img;
	be32 *chunk = malloc(CHUNK_ENTRIES * sizeof(*chunk));
	int rc = 0;

	if (!chunk)
		return vhd_fail_nomem(err, CHUNK_ENTRIES * sizeof(*chunk),
				      "the block table");
	for (uint32_t b = from; b < to && !rc;) {
		uint32_t n = to - b < CHUNK_ENTRIES ? to - b : CHUNK_ENTRIES;

		for (uint32_t i = 0; i < n; i++)
			chunk[i] = be32_put(
				empty || b + i >= img->info.blocks
					? VHD_BAT_NONE
					: atomic_load_explicit(
						  &img->bat[b + i],
						  memory_order_relaxed));
		rc = vhd_file_write(&img->file, chunk, (size_t)n * 4,
				    off_bytes + (uint64_t)(b - from) * 4, err);
		b += n;
	}
	free(chunk);
	return rc;
}

int layout_entries_clear(struct layout *l, uint32_t from, uint32_t to,
			 struct vhd_err *err)
{
	return entries_write(l, l->img->info.table_bytes + (uint64_t)from * 4,
			     from, to, true, err);
}

int layout_unit_write(struct layout *l, uint64_t off_bytes, uint32_t entries,
		      struct vhd_err *err)
{
	uint64_t table_len = layout_table_bytes(entries);
	int rc = entries_write(l, off_bytes, 0, (uint32_t)(table_len / 4),
			       false, err);

	if (rc || !l->batmap.there)
		return rc;
	rc = batmap_resize(l, off_bytes + table_len, entries, err);
	return rc ? rc : batmap_put(l, off_bytes + table_len, err);
}

static_assert(offsetof(struct vhd_header_wire, checksum) + 4 <=
		      VHD_SECTOR_BYTES,
	      "what a switch changes is in the header's first sector");

int layout_unit_switch(struct layout *l, uint64_t off_bytes, uint32_t entries,
		       struct vhd_err *err)
{
	struct vhd_info *info = &l->img->info;
	struct vhd_header_wire w = l->header;
	int rc;

	w.table_offset = be64_put(off_bytes);
	w.table_entries = be32_put(entries);
	w.checksum = be32_put(vhd_wire_checksum(
		&w, sizeof(w), offsetof(struct vhd_header_wire, checksum)));
	rc = vhd_file_write(&l->img->file, &w, VHD_SECTOR_BYTES,
			    info->header_bytes, err);
	if (!rc)
		rc = vhd_file_flush(&l->img->file, err);
	if (rc)
		return rc;
	l->header = w;
	info->table_bytes = off_bytes;
	info->table_entries = entries;
	layout_ranges(l);
	return 0;
}
