/* SPDX-License-Identifier: BSD-2-Clause */
/* A dynamic or differencing disk longer or shorter.
 *
 * Growing: first the table, then the footers. A table that is longer than the
 * disk needs is valid for every reader, so the image is the old one until its
 * footers say otherwise.
 *
 *   1  the rest of the last block, which the old disk did not have, is zeroed
 *   2  the longer table: where there is room behind the old one its new
 *      entries are emptied there; where not, a whole new table is written
 *      behind the last block            -- sync
 *   3  the header's first sector names place and length    -- sync
 *   4  the footer copy at offset 0      -- sync
 *   5  the trailing footer              -- sync
 *
 * Moving the table instead of the blocks in its way was chosen because it
 * commits with one sector. To make room at the old place would also push aside
 * parent locators, which are pointed to from the header's second sector, and
 * blktap's batmap, which has to follow the table at once; neither can change
 * together with the first sector. The former place of the table is left free;
 * compacting uses it.
 *
 * Shrinking: first the footers, then what is behind the new end.
 *
 *   1  the footer copy at offset 0      -- sync
 *   2  the trailing footer              -- sync
 *   3  the rest of the last block is zeroed, the entries behind it emptied,
 *      their bits in the batmap, too    -- sync
 *   4  the header's first sector: the shorter table (it stays long where a
 *      batmap follows it)               -- sync
 *   5  the file is cut behind the last block
 *
 * Between the two footers both are sound and differ in size; probe.c says
 * which one rules. What steps 3 to 5 leave undone is space that nothing uses;
 * resizing to the same size does it.
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "resize.h"

static uint32_t blocks_for(const struct resize *r, uint64_t size_bytes)
{
	return (uint32_t)vhd_blocks_for(size_bytes,
					r->img->info.block_size_bytes);
}

/* -------------------------------------------------------- new geometry -- */

void resize_footer(const struct vhd_footer_wire *now, uint64_t size_bytes,
		   struct vhd_footer_wire *then)
{
	struct vhd_geometry g = vhd_geometry_for_create(size_bytes);

	*then = *now;
	then->current_size = be64_put(size_bytes);
	then->cylinders = be16_put(g.cylinders);
	then->heads = g.heads;
	then->sectors_per_track = g.sectors_per_track;
	then->checksum = be32_put(
		vhd_wire_checksum(then, sizeof(*then),
				  offsetof(struct vhd_footer_wire, checksum)));
}

/* ------------------------------------------------------------- planning -- */

/* The room from the table's start to what follows it: UINT64_MAX when nothing
 * but the footer does.
 */
static uint64_t table_room(const struct layout *l)
{
	uint64_t at = l->img->info.table_bytes, next = UINT64_MAX;

	for (unsigned i = 0; i < l->range_count; i++)
		if (l->ranges[i].off_bytes > at &&
		    l->ranges[i].off_bytes < next)
			next = l->ranges[i].off_bytes;
	for (uint32_t i = 0; i < l->count; i++) {
		uint64_t off = (uint64_t)l->places[i].sector * VHD_SECTOR_BYTES;

		if (off > at) {
			next = off < next ? off : next;
			break;
		}
	}
	return next == UINT64_MAX ? next : next - at;
}

/* Can the table have `entries` entries where it is? A batmap behind it must
 * not come into its way and must reach as far.
 */
static bool fits_in_place(const struct layout *l, uint32_t entries)
{
	uint32_t now = l->img->info.table_entries;

	if (entries <= now && !l->batmap.there)
		return true;
	if (l->batmap.there)
		return layout_table_bytes(entries) <= layout_table_bytes(now) &&
		       (uint64_t)l->batmap.len_bytes * 8 >= entries;
	return layout_table_bytes(entries) <= table_room(l);
}

static int place_for_unit(const struct layout *l, uint64_t *at,
			  struct vhd_err *err)
{
	if (align_up_ovf(layout_end(l), VHD_ALIGN_BYTES, at))
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, 0,
				"no place for a longer block table");
	return 0;
}

static uint32_t entries_wanted(const struct resize *r)
{
	uint32_t need = blocks_for(r, r->new_bytes);

	return need > r->img->info.table_entries ? need
						 : r->img->info.table_entries;
}

int resize_blocked_plan(struct resize *r, struct vhd_err *err)
{
	const struct vhd_info *info = &r->img->info;
	struct layout l;
	int rc;

	if (vhd_blocks_for(r->new_bytes, info->block_size_bytes) >
	    VHD_BLOCKS_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_TABLE_ENTRIES, 0,
				"blocks of %u bytes are too small for a disk "
				"of %llu: more than %u of them",
				info->block_size_bytes,
				(unsigned long long)r->new_bytes,
				VHD_BLOCKS_MAX);
	rc = layout_open(&l, r->img, err);
	if (rc)
		return rc;
	r->result->table_moved = r->new_bytes > r->old_bytes &&
				 !fits_in_place(&l, entries_wanted(r));
	for (uint32_t i = 0; i < l.count; i++)
		if (l.places[i].block >= blocks_for(r, r->new_bytes))
			r->result->blocks_dropped++;
	layout_close(&l);
	return 0;
}

/* --------------------------------------------------------------- parts -- */

/* What the disk does not have of the block in which it ends, by `size_bytes`,
 * becomes zero: other writers leave anything there.
 */
static int zero_rest(struct layout *l, uint64_t size_bytes, struct vhd_err *err)
{
	const struct vhd *img = l->img;
	uint32_t in = (uint32_t)(size_bytes % img->info.block_size_bytes);
	uint32_t block = (uint32_t)(size_bytes / img->info.block_size_bytes);
	uint32_t entry;

	if (!in || block >= img->info.blocks)
		return 0;
	entry = atomic_load_explicit(&img->bat[block], memory_order_relaxed);
	if (entry == VHD_BAT_NONE)
		return 0;
	/* full means: of all that the disk has of it */
	layout_batmap_clear(l, block);
	return vhd_file_zero(&img->file, vhd_block_data(img, entry) + in,
			     img->info.block_size_bytes - in, err);
}

static int write_footers(struct resize *r, struct vhd_err *err)
{
	struct vhd *img = r->img;
	int rc = vhd_file_write(&img->file, &r->footer, VHD_FOOTER_BYTES, 0,
				err);

	if (!rc)
		rc = vhd_file_flush(&img->file, err);
	if (!rc)
		rc = vhd_file_write(&img->file, &r->footer, VHD_FOOTER_BYTES,
				    img->file_end_bytes - VHD_FOOTER_BYTES,
				    err);
	if (!rc)
		rc = vhd_file_flush(&img->file, err);
	if (!rc)
		img->footer = r->footer;
	return rc;
}

/* Put the trailing footer behind `end_bytes`, and the file's end behind that;
 * everything written so far is durable then.
 */
static int settle(struct vhd *img, uint64_t end_bytes, struct vhd_err *err)
{
	if (end_bytes > VHD_FILE_BYTES_MAX - VHD_ALIGN_BYTES)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, end_bytes,
				"the file would pass 2^32 sectors, the reach "
				"of a VHD's block table");
	img->alloc_end_bytes = end_bytes;
	img->tail_ok = false; /* written in any case, and all synced with it */
	return vhd_tail_settle(img, err);
}

/* A full disk in the middle of a longer table: nothing points to it, the file
 * gets its former end back. Should that fail, the copy of the footer at offset
 * 0 holds, and opening for writing does the same.
 */
static void give_back(struct vhd *img, uint64_t end_bytes)
{
	img->tail_ok = false;
	img->alloc_end_bytes = end_bytes;
	(void)vhd_tail_settle(img, NULL);
}

/* ------------------------------------------------------------- growing -- */

static int lengthen_in_place(struct layout *l, uint32_t from, uint32_t entries,
			     struct vhd_err *err)
{
	struct vhd *img = l->img;
	uint32_t whole = (uint32_t)(layout_table_bytes(entries) / 4);
	uint64_t old_end = layout_end(l), end;
	int rc;

	/* The room may be the footer's. */
	end = img->info.table_bytes + layout_table_bytes(entries);
	rc = layout_entries_clear(l, from, whole, err);
	if (!rc)
		rc = layout_batmap_write(l, err);
	if (!rc)
		rc = settle(img, end > old_end ? end : old_end, err);
	if (rc) {
		give_back(img, old_end);
		return rc;
	}
	if (entries == img->info.table_entries)
		return 0;
	return layout_unit_switch(l, img->info.table_bytes, entries, err);
}

static int lengthen_elsewhere(struct layout *l, uint32_t entries,
			      struct vhd_err *err)
{
	struct vhd *img = l->img;
	uint64_t old_end = layout_end(l), at;
	int rc = place_for_unit(l, &at, err);

	if (rc)
		return rc;
	/* That is where the footer is. */
	rc = layout_unit_write(l, at, entries, err);
	if (!rc)
		rc = settle(img, at + layout_unit_bytes(l, entries), err);
	if (rc) {
		give_back(img, old_end);
		return rc;
	}
	return layout_unit_switch(l, at, entries, err);
}

static int grow(struct resize *r, struct layout *l, struct vhd_err *err)
{
	uint32_t entries = entries_wanted(r);
	int rc = zero_rest(l, r->old_bytes, err);

	if (rc)
		return rc;
	/* A bit behind the disk's last block said nothing so far. */
	for (uint32_t b = r->img->info.blocks; b < entries; b++)
		layout_batmap_clear(l, b);
	/* What does not move may hold anything behind the disk's last entry. */
	if (fits_in_place(l, entries))
		rc = lengthen_in_place(l, r->img->info.blocks, entries, err);
	else
		rc = lengthen_elsewhere(l, entries, err);
	return rc ? rc : write_footers(r, err);
}

/* ----------------------------------------------------------- shrinking -- */

/* The blocks that the disk keeps, in order. */
static void drop_places(struct layout *l, uint32_t blocks)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		if (l->places[i].block < blocks)
			l->places[kept++] = l->places[i];
		else
			layout_batmap_clear(l, l->places[i].block);
	}
	l->count = kept;
}

/* What another resize, or another writer, left behind the new end. */
static int trim(struct resize *r, struct layout *l, struct vhd_err *err)
{
	struct vhd *img = r->img;
	uint32_t blocks = blocks_for(r, r->new_bytes);
	int rc = zero_rest(l, r->new_bytes, err);

	if (rc)
		return rc;
	drop_places(l, blocks);
	rc = layout_entries_clear(l, blocks, img->info.table_entries, err);
	if (!rc)
		rc = layout_batmap_write(l, err);
	if (!rc)
		rc = vhd_file_flush(&img->file, err);
	if (!rc && !l->batmap.there && img->info.table_entries > blocks)
		rc = layout_unit_switch(l, img->info.table_bytes, blocks, err);
	return rc ? rc : settle(img, layout_end(l), err);
}

int resize_blocked(struct resize *r, struct vhd_err *err)
{
	struct layout l;
	int rc = layout_open(&l, r->img, err);

	if (rc)
		return rc;
	if (r->new_bytes > r->old_bytes) {
		rc = grow(r, &l, err);
	} else {
		if (r->new_bytes < r->old_bytes)
			rc = write_footers(r, err);
		if (!rc)
			rc = trim(r, &l, err);
	}
	layout_close(&l);
	return rc;
}
