/* SPDX-License-Identifier: BSD-2-Clause */
/* The block allocation table: every entry by itself, against its neighbours
 * in the file, and what lies between blocks. One pass over the table, one
 * sort, one pass over the places: O(n log n), eight bytes a block (and as
 * much again while sorting what does not ascend).
 * Source: VHD specification 1.0, "Block Allocation Table and Data Blocks".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checked.h"
#include "fail.h"

#define CHUNK_BYTES 65536u

static void tell_cut(struct check *c, uint32_t block, uint64_t start)
{
	const struct survey *s = &c->s;
	uint64_t over = start + s->stride_bytes - s->limit_bytes;

	check_tell(c, VHD_FIND_BAT_CUT, survey_entry_at(s, block), block,
		   "the last %llu bytes of block %u at offset %llu are %s",
		   (unsigned long long)over, block, (unsigned long long)start,
		   s->limit_bytes < s->file_bytes
			   ? "where the footer is"
			   : "missing: the file was cut");
}

/* Tell what is wrong with one entry; true when the block can be read. */
static bool entry(struct check *c, uint32_t block, uint32_t sector)
{
	const struct survey *s = &c->s;
	uint64_t start = (uint64_t)sector * VHD_SECTOR_BYTES;

	switch (survey_judge(s, block, sector)) {
	case SURVEY_ENTRY_OK:
		return true;
	case SURVEY_ENTRY_SHORT_LAST:
		check_tell(c, VHD_FIND_BAT_SHORT_LAST,
			   survey_entry_at(s, block), block,
			   "block %u at offset %llu is cut behind the end of "
			   "the disk",
			   block, (unsigned long long)start);
		return true;
	case SURVEY_ENTRY_CUT:
		tell_cut(c, block, start);
		return true;
	case SURVEY_ENTRY_METADATA:
		check_tell(c, VHD_FIND_BAT_IN_METADATA,
			   survey_entry_at(s, block), block,
			   "block %u at offset %llu lies over the %s", block,
			   (unsigned long long)start,
			   survey_hit(s, start, start + s->stride_bytes));
		return false;
	case SURVEY_ENTRY_PAST_END:
		check_tell(c, VHD_FIND_BAT_PAST_END, survey_entry_at(s, block),
			   block,
			   "block %u at offset %llu is behind the data, which "
			   "ends at %llu",
			   block, (unsigned long long)start,
			   (unsigned long long)s->limit_bytes);
		return false;
	}
	return false;
}

/* ------------------------------------------------------ reading it all -- */

static void scan_chunk(struct check *c, const be32 *entries, uint32_t first,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count && !c->stopped; i++) {
		uint32_t sector = be32_get(entries[i]);
		uint32_t block = first + i;

		if (sector == VHD_BAT_NONE)
			continue;
		if (block >= c->s.blocks) {
			check_tell(c, VHD_FIND_BAT_EXTRA,
				   survey_entry_at(&c->s, block), block,
				   "entry %u is behind the disk's last block "
				   "and not empty",
				   block);
			continue;
		}
		c->result->blocks_used++;
		if (entry(c, block, sector))
			c->places[c->place_count++] =
				(struct survey_place){sector, block};
	}
}

/* What fills the table's last sector: all ones from most writers, zeros from
 * Disk2vhd.
 */
static void padding(struct check *c, const uint8_t *pad, size_t len,
		    uint64_t at_bytes)
{
	for (size_t i = 1; i < len; i++)
		if (pad[i] != pad[0])
			len = 0;
	if (len && (pad[0] == 0 || pad[0] == 0xff))
		return;
	check_tell(c, VHD_FIND_BAT_PADDING, at_bytes, VHD_NO_BLOCK,
		   "the table's last sector is padded with neither zeros nor "
		   "ones");
}

static int scan_padding(struct check *c, struct vhd_err *err)
{
	uint64_t at = survey_entry_at(&c->s, c->s.header.table_entries);
	size_t len = (size_t)(c->s.table_end_bytes - at);
	uint8_t pad[VHD_SECTOR_BYTES];
	int rc;

	if (!len || c->s.table_end_bytes > c->s.limit_bytes)
		return 0;
	rc = vhd_file_read(c->s.file, pad, len, at, err);
	if (!rc)
		padding(c, pad, len, at);
	return rc;
}

static int scan(struct check *c, struct vhd_err *err)
{
	const uint32_t step = CHUNK_BYTES / 4;
	uint32_t entries = c->s.header.table_entries;
	be32 *chunk = malloc(CHUNK_BYTES);
	int rc = 0;

	if (!chunk)
		return vhd_fail_nomem(err, CHUNK_BYTES, "the block table");
	if (entries > VHD_BLOCKS_MAX) /* no disk can come to use them */
		entries = VHD_BLOCKS_MAX;
	for (uint64_t b = 0; b < entries && !rc && !c->stopped; b += step) {
		uint32_t n =
			entries - b < step ? (uint32_t)(entries - b) : step;

		rc = vhd_file_read(c->s.file, chunk, (size_t)n * 4,
				   survey_entry_at(&c->s, (uint32_t)b), err);
		if (!rc)
			scan_chunk(c, chunk, (uint32_t)b, n);
	}
	free(chunk);
	return rc ? rc : scan_padding(c, err);
}

/* -------------------------------------------------- between the blocks -- */

/* Two entries with a place in common. */
static void clash(struct check *c, const struct survey_place *low,
		  const struct survey_place *high)
{
	uint64_t at = survey_entry_at(&c->s, high->block);

	if (low->sector == high->sector)
		check_tell(c, VHD_FIND_BAT_DUPLICATE, at, high->block,
			   "blocks %u and %u have the same place at offset "
			   "%llu",
			   low->block, high->block,
			   (unsigned long long)high->sector * VHD_SECTOR_BYTES);
	else
		check_tell(c, VHD_FIND_BAT_OVERLAP, at, high->block,
			   "blocks %u and %u share bytes at offset %llu",
			   low->block, high->block,
			   (unsigned long long)high->sector * VHD_SECTOR_BYTES);
}

static int range_order(const void *a, const void *b)
{
	const struct vhd_range *x = a, *y = b;

	return x->off_bytes < y->off_bytes ? -1 : x->off_bytes > y->off_bytes;
}

/* Bytes from `from` to `to` belong to nothing. Less than an alignment is how
 * every aligning writer spaces its blocks.
 */
static void gap(struct check *c, uint64_t from, uint64_t to, bool tail)
{
	if (to <= from || to - from < VHD_ALIGN_BYTES)
		return;
	c->result->orphan_bytes += to - from;
	if (tail)
		check_tell(c, VHD_FIND_TAIL_GAP, from, VHD_NO_BLOCK,
			   "%llu bytes between the last block and the %s",
			   (unsigned long long)(to - from),
			   c->s.limit_bytes < c->s.file_bytes
				   ? "footer"
				   : "end of the file");
	else
		check_tell(c, VHD_FIND_ORPHAN_SPACE, from, VHD_NO_BLOCK,
			   "%llu bytes belong to nothing%s",
			   (unsigned long long)(to - from),
			   to - from >= c->s.stride_bytes
				   ? "; a block that was lost may be there"
				   : "");
}

/* All that is not a block: metadata, and the space that parent locators have
 * reserved for names longer than theirs.
 */
static unsigned taken(const struct check *c, struct vhd_range *ranges)
{
	unsigned count = c->s.range_count;

	memcpy(ranges, c->s.ranges, count * sizeof(*ranges));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &c->s.header.locator[i];

		if (c->s.info.format == VHD_FORMAT_DIFF && l->platform &&
		    range_ok(l->off_bytes, l->space_bytes, c->s.limit_bytes))
			ranges[count++] = (struct vhd_range){
				l->off_bytes, l->off_bytes + l->space_bytes,
				"parent locator"};
	}
	qsort(ranges, count, sizeof(*ranges), range_order);
	return count;
}

/* Walk blocks and metadata together, in the order of the file. */
static void walk(struct check *c)
{
	struct vhd_range ranges[VHD_RANGES_MAX + VHD_LOCATORS];
	unsigned count = taken(c, ranges), r = 0;
	uint64_t end = 0;

	for (uint32_t i = 0; i < c->place_count || r < count;) {
		uint64_t start = UINT64_MAX, stop;

		if (i < c->place_count)
			start = (uint64_t)c->places[i].sector *
				VHD_SECTOR_BYTES;
		if (r < count && ranges[r].off_bytes <= start) {
			start = ranges[r].off_bytes;
			stop = ranges[r++].end_bytes;
		} else {
			stop = start + c->s.stride_bytes;
			if (i && start < (uint64_t)c->places[i - 1].sector *
							 VHD_SECTOR_BYTES +
						 c->s.stride_bytes)
				clash(c, &c->places[i - 1], &c->places[i]);
			i++;
		}
		gap(c, end, start, false);
		if (stop > end)
			end = stop;
	}
	gap(c, end, c->s.limit_bytes, true);
}

static void alignment(struct check *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->place_count; i++)
		if (((uint64_t)c->places[i].sector * VHD_SECTOR_BYTES +
		     c->s.bitmap_bytes) %
		    VHD_ALIGN_BYTES)
			n++;
	c->unaligned = n;
	if (n)
		check_tell(c, VHD_FIND_UNALIGNED, c->s.header.table_bytes,
			   VHD_NO_BLOCK,
			   "data of %u of %u blocks is not on a 4 KiB "
			   "boundary: slower, and no O_DIRECT on 4 KiB disks",
			   n, c->place_count);
}

int check_bat(struct check *c, struct vhd_err *err)
{
	uint64_t bytes = (uint64_t)c->s.blocks * sizeof(*c->places);
	int rc;

	c->places = malloc(bytes ? bytes : 1);
	if (!c->places)
		return vhd_fail_nomem(err, bytes, "the block table");
	rc = scan(c, err);
	if (rc || c->stopped)
		return rc;
	survey_places_sort(c->places, c->place_count);
	walk(c);
	alignment(c);
	return 0;
}
