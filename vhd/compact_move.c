/* SPDX-License-Identifier: BSD-2-Clause */
/* The last blocks go into the lowest free places. A place is free when nothing
 * on disk points to it, and none that becomes free on the way is used again,
 * so at every instant each entry of the table leads to the block's content:
 *
 *   copies of many blocks    -- sync --    their entries    -- sync
 *
 * and so on in batches. Blocks whose free place overlaps their present one
 * stay.
 *
 * A table behind all blocks, where resizing puts it, gets the lowest free place
 * that is long enough; it goes last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/mem_routines.h>

#include "checked.h"
#include "compact_int.h"
#include "fail.h"

#define BATCH_BYTES  (128u << 20)
#define BATCH_BLOCKS 512u
#define HOLE_BYTES   65536u /* shorter zeros are written */

/* ------------------------------------------------------------ the plan -- */

static uint64_t place_off(const struct layout *l, uint32_t i)
{
	return (uint64_t)l->places[i].sector * VHD_SECTOR_BYTES;
}

/* Where in [from, to) a block fits, or 0. An image whose blocks are all on
 * 4 KiB boundaries stays such a one; between blocks that lie densely the room
 * that boundaries take would add up to blocks that find no place.
 */
static uint64_t fit(const struct layout *l, uint64_t from, uint64_t to)
{
	uint32_t bitmap = l->img->info.bitmap_bytes;
	uint64_t unit =
		l->img->data_aligned ? VHD_ALIGN_BYTES : VHD_SECTOR_BYTES;
	uint64_t data;

	if (align_up_ovf(from + bitmap, unit, &data) ||
	    data - bitmap + l->stride_bytes > to)
		return 0;
	return data - bitmap;
}

static void plan_blocks(struct compact *c)
{
	struct layout *l = &c->l;
	struct layout_gaps gaps;
	struct vhd_range gap;
	uint32_t top = l->count;

	layout_gaps_begin(&gaps, l);
	while (top && layout_gaps_next(&gaps, &gap)) {
		uint64_t from = gap.off_bytes;

		if (c->table_to_bytes >= from &&
		    c->table_to_bytes < gap.end_bytes)
			from = c->table_to_bytes +
			       layout_unit_bytes(l, l->img->info.table_entries);
		while (top) {
			uint64_t last = place_off(l, top - 1), at;
			uint64_t to =
				gap.end_bytes < last ? gap.end_bytes : last;

			if (from >= last)
				return;
			at = fit(l, from, to);
			if (!at)
				break;
			top--;
			c->moves[c->move_count++] = (struct compact_move){
				.block = l->places[top].block,
				.from_sector = l->places[top].sector,
				.to_sector = (uint32_t)(at / VHD_SECTOR_BYTES),
			};
			from = at + l->stride_bytes;
		}
	}
}

static bool is_unit(const struct layout *l, const struct vhd_range *r)
{
	return r->off_bytes >= l->img->info.table_bytes &&
	       r->end_bytes <=
		       l->img->info.table_bytes +
			       layout_unit_bytes(l, l->img->info.table_entries);
}

/* Nothing but the footer is behind the table. */
static bool table_is_last(const struct layout *l)
{
	uint64_t at = l->img->info.table_bytes;

	if (l->count && place_off(l, l->count - 1) > at)
		return false;
	for (unsigned i = 0; i < l->range_count; i++)
		if (l->ranges[i].off_bytes > at && !is_unit(l, &l->ranges[i]))
			return false;
	return true;
}

static void plan_table(struct compact *c)
{
	struct layout *l = &c->l;
	const struct vhd_info *info = &l->img->info;
	uint64_t len = layout_unit_bytes(l, info->table_entries), at;
	struct layout_gaps gaps;
	struct vhd_range gap;

	if (c->table_to_bytes || !table_is_last(l))
		return;
	layout_gaps_begin(&gaps, l);
	while (layout_gaps_next(&gaps, &gap) &&
	       gap.end_bytes <= info->table_bytes) {
		if (align_up_ovf(gap.off_bytes, VHD_SECTOR_BYTES, &at) ||
		    at + len > gap.end_bytes)
			continue;
		c->table_to_bytes = at;
		return;
	}
}

/* The layout with everything where it will be. */
static void place_all(struct compact *c)
{
	for (uint32_t i = 0; i < c->move_count; i++)
		c->l.places[c->l.count - 1 - i].sector = c->moves[i].to_sector;
	layout_sort(&c->l);
}

/* Where the last of it will end. */
static uint64_t end_then(const struct compact *c)
{
	const struct layout *l = &c->l;
	uint64_t end = 0;

	if (!c->table_to_bytes)
		return layout_end(l);
	if (l->count)
		end = place_off(l, l->count - 1) + l->stride_bytes;
	for (unsigned i = 0; i < l->range_count; i++)
		if (!is_unit(l, &l->ranges[i]) && l->ranges[i].end_bytes > end)
			end = l->ranges[i].end_bytes;
	if (c->table_to_bytes +
		    layout_unit_bytes(l, l->img->info.table_entries) >
	    end)
		end = c->table_to_bytes +
		      layout_unit_bytes(l, l->img->info.table_entries);
	return end;
}

int compact_plan(struct compact *c, struct vhd_err *err)
{
	struct layout *l = &c->l;
	uint32_t kept = 0;
	uint64_t bytes;

	for (uint32_t i = 0; i < l->count; i++)
		if (!compact_is_dropped(c, l->places[i].block))
			l->places[kept++] = l->places[i];
	l->count = kept;
	bytes = (uint64_t)(kept ? kept : 1) * sizeof(*c->moves);
	c->moves = malloc(bytes);
	if (!c->moves)
		return vhd_fail_nomem(err, bytes, "a plan of moves");
	plan_table(c);
	plan_blocks(c);
	place_all(c);
	plan_table(c); /* now there may be nothing but the table at the end */
	c->result->blocks_moved = c->move_count;
	c->result->table_moved = c->table_to_bytes != 0;
	c->result->new_file_bytes = vhd_length_for(end_then(c));
	return 0;
}

/* ------------------------------------------------------------- the table -- */

void compact_entry(struct compact *c, uint32_t block, uint32_t sector)
{
	uint32_t s = block / VHD_BAT_SECTOR_ENTRIES;

	atomic_store(&c->img->bat[block], sector);
	c->img->table[block] = be32_put(sector);
	c->dirty[s / 64] |= 1ull << (s % 64);
}

static bool take_dirty(struct compact *c, uint32_t s)
{
	uint64_t mask = 1ull << (s % 64);
	bool was = c->dirty[s / 64] & mask;

	c->dirty[s / 64] &= ~mask;
	return was;
}

int compact_publish(struct compact *c, struct vhd_err *err)
{
	struct vhd *img = c->img;
	uint32_t sectors = (img->info.blocks + VHD_BAT_SECTOR_ENTRIES - 1) /
			   VHD_BAT_SECTOR_ENTRIES;

	for (uint32_t s = 0; s < sectors; s++) {
		uint32_t run = 0;
		int rc;

		while (s + run < sectors && take_dirty(c, s + run))
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
	return vhd_file_flush(&img->file, err);
}

/* ------------------------------------------------------------- the deed -- */

static uint64_t zeros_at(const uint8_t *buf, uint64_t len)
{
	uint64_t n = 0;

	while (n < len) {
		size_t g = len - n < COMPACT_GRAIN_BYTES ? (size_t)(len - n)
							 : COMPACT_GRAIN_BYTES;

		if (isal_zero_detect((void *)(uintptr_t)(buf + n), g))
			break;
		n += g;
	}
	return n;
}

int compact_put(const struct vhd_file *f, const uint8_t *buf, uint64_t len,
		uint64_t off_bytes, bool fresh, struct vhd_err *err)
{
	uint64_t at = 0, from = 0;
	int rc = 0;

	while (at < len && !rc) {
		uint64_t zeros = zeros_at(buf + at, len - at);

		if (zeros < HOLE_BYTES && !(fresh && zeros)) {
			at += zeros ? zeros : COMPACT_GRAIN_BYTES;
			continue;
		}
		if (at > from)
			rc = vhd_file_write(f, buf + from, at - from,
					    off_bytes + from, err);
		if (!rc && !fresh)
			rc = vhd_file_zero(f, off_bytes + at, zeros, err);
		from = at += zeros;
	}
	if (!rc && from < len)
		rc = vhd_file_write(f, buf + from, len - from, off_bytes + from,
				    err);
	return rc;
}

static int copy_block(struct compact *c, const struct compact_move *m,
		      struct vhd_err *err)
{
	const struct vhd_file *f = &c->img->file;
	uint64_t from = (uint64_t)m->from_sector * VHD_SECTOR_BYTES;
	uint64_t to = (uint64_t)m->to_sector * VHD_SECTOR_BYTES;
	uint32_t bitmap = c->img->info.bitmap_bytes;
	int rc = vhd_file_read(f, c->buf, bitmap, from, err);

	if (!rc)
		rc = vhd_file_write(f, c->buf, bitmap, to, err);
	for (uint64_t at = bitmap, n; at < c->l.stride_bytes && !rc; at += n) {
		n = c->l.stride_bytes - at;
		if (n > COMPACT_BUF_BYTES)
			n = COMPACT_BUF_BYTES;
		rc = vhd_file_read(f, c->buf, n, from + at, err);
		if (!rc)
			rc = compact_put(f, c->buf, n, to + at, false, err);
	}
	return rc;
}

static int batch(struct compact *c, uint32_t from, uint32_t to,
		 struct vhd_err *err)
{
	int rc = 0;

	for (uint32_t i = from; i < to && !rc; i++)
		rc = copy_block(c, &c->moves[i], err);
	if (!rc)
		rc = vhd_file_flush(&c->img->file, err);
	if (rc)
		return rc;
	for (uint32_t i = from; i < to; i++)
		compact_entry(c, c->moves[i].block, c->moves[i].to_sector);
	return compact_publish(c, err);
}

static int move_table(struct compact *c, struct vhd_err *err)
{
	uint32_t entries = c->img->info.table_entries;
	int rc;

	if (!c->table_to_bytes)
		return 0;
	rc = layout_unit_write(&c->l, c->table_to_bytes, entries, err);
	if (!rc)
		rc = vhd_file_flush(&c->img->file, err);
	return rc ? rc
		  : layout_unit_switch(&c->l, c->table_to_bytes, entries, err);
}

/* What is in the table now, not what was planned. */
static uint64_t end_now(const struct compact *c)
{
	uint64_t end = 0;

	for (uint32_t b = 0; b < c->img->info.blocks; b++) {
		uint32_t s = atomic_load_explicit(&c->img->bat[b],
						  memory_order_relaxed);
		uint64_t e = (uint64_t)s * VHD_SECTOR_BYTES + c->l.stride_bytes;

		if (s != VHD_BAT_NONE && e > end)
			end = e;
	}
	for (unsigned i = 0; i < c->l.range_count; i++)
		if (c->l.ranges[i].end_bytes > end)
			end = c->l.ranges[i].end_bytes;
	return end;
}

int compact_carry_out(struct compact *c, struct vhd_err *err)
{
	uint64_t stride = c->l.stride_bytes;
	uint32_t each = (uint32_t)(BATCH_BYTES / stride), i = 0;
	int rc = 0, settled;

	if (!each)
		each = 1;
	if (each > BATCH_BLOCKS)
		each = BATCH_BLOCKS;
	while (i < c->move_count && !rc) {
		uint32_t n =
			c->move_count - i < each ? c->move_count - i : each;

		rc = batch(c, i, i + n, err);
		if (rc)
			return rc;
		i += n;
		rc = compact_tell(c, i, c->move_count, err);
	}
	if (!rc)
		rc = move_table(c, err);
	if (rc && rc != -ECANCELED)
		return rc;
	c->img->alloc_end_bytes = end_now(c);
	settled = vhd_tail_settle(c->img, rc ? NULL : err);
	return rc ? rc : settled;
}
