/* SPDX-License-Identifier: BSD-2-Clause */
/* Header and block table. The header has no copy: only its checksum and a
 * pointer that nothing uses are put right, and only while every field is one
 * that opening accepts. Of the table, entries that cannot be right are given
 * up, which loses what the disk had there and is done only when asked for;
 * of blocks that claim the same place the lower one in the table stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "repair.h"

#define CHUNK_BYTES 65536u

/* -------------------------------------------------------------- header -- */

static void first_fault(void *ctx, const struct vhd_err *fault)
{
	struct vhd_err *first = ctx;

	if (first->why == VHD_WHY_NONE)
		*first = *fault;
}

static int header_usable(const struct repair *r, struct vhd_err *err)
{
	const struct survey *s = &r->s;
	struct vhd_err fault = {.why = VHD_WHY_NONE};

	if (!s->header_read)
		return vhd_fail(
			err, -EUCLEAN, VHD_WHY_DATA_OFFSET,
			s->probe.footer_at_bytes +
				offsetof(struct vhd_footer_wire, data_offset),
			"the footer puts the dynamic header at offset "
			"%llu, where it cannot be",
			(unsigned long long)s->header_at);
	if (!s->header.cookie_ok)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_COOKIE,
				s->header_at,
				"no dynamic header at offset %llu, and there "
				"is no copy of it",
				(unsigned long long)s->header_at);
	(void)survey_header_faults(s, first_fault, &fault);
	if (fault.why == VHD_WHY_NONE)
		return 0;
	if (err)
		*err = fault;
	return fault.code;
}

int repair_header(struct repair *r, struct vhd_err *err)
{
	const struct survey *s = &r->s;
	struct vhd_header_wire w = s->header_wire;
	int rc = header_usable(r, err);

	if (rc)
		return rc;
	if (s->header.next_offset_bytes != VHD_NO_OFFSET) {
		repair_step(r, VHD_REPAIR_NEXT_OFFSET,
			    s->header_at + offsetof(struct vhd_header_wire,
						    next_offset),
			    "the dynamic header points to a further one at "
			    "%llu, which nothing reads: it points nowhere",
			    (unsigned long long)s->header.next_offset_bytes);
		w.next_offset = be64_put(VHD_NO_OFFSET);
	}
	if (!s->header.checksum_ok)
		repair_step(r, VHD_REPAIR_HEADER_CHECKSUM,
			    s->header_at +
				    offsetof(struct vhd_header_wire, checksum),
			    "the dynamic header's checksum is wrong while all "
			    "its fields make sense: it is computed anew");
	w.checksum = be32_put(vhd_wire_checksum(
		&w, sizeof(w), offsetof(struct vhd_header_wire, checksum)));
	/* All of it is in the first sector, which is written whole or not. */
	return repair_put(r, REPAIR_MAIN, s->header_at, &w, VHD_SECTOR_BYTES,
			  err);
}

/* ------------------------------------------------------------- entries -- */

/* Entries to be emptied, in any order. */
struct clears {
	uint32_t *entry; /* owned */
	uint32_t count;
	uint32_t room;
	uint32_t extra; /* of them, behind the disk's last block */
};

static int clear(struct clears *c, uint32_t entry, struct vhd_err *err)
{
	if (c->count == c->room) {
		uint32_t room = c->room ? c->room * 2 : 64;
		uint32_t *more = realloc(c->entry, room * sizeof(*more));

		if (!more)
			return vhd_fail_nomem(err, room * sizeof(*more),
					      "a repair plan");
		c->entry = more;
		c->room = room;
	}
	c->entry[c->count++] = entry;
	return 0;
}

/* A block that is cut keeps what is there; the footer makes room for it. */
static bool keep_cut(struct repair *r, uint32_t block, uint64_t start,
		     bool lossy)
{
	const struct survey *s = &r->s;
	uint64_t data_at = start + s->bitmap_bytes;
	const struct repair_loss loss = {
		.code = VHD_REPAIR_FOOTER_MOVE,
		.at_bytes = survey_entry_at(s, block),
		.block = block,
		.in_block_bytes = s->limit_bytes - data_at,
	};
	unsigned long long kept = loss.in_block_bytes;

	if (lossy && !repair_step_lossy(r, &loss,
					"block %u keeps its first %llu "
					"bytes; of the rest nothing is left",
					block, kept)) {
		r->cut_stays = true;
		return false;
	}
	if (s->limit_bytes < s->file_bytes) {
		r->footer_moves = true;
		if (lossy)
			r->erase_at_bytes = s->end.at_bytes;
	}
	return true;
}

static bool give_up(struct repair *r, uint32_t block, const char *what)
{
	const struct repair_loss loss = {
		.code = VHD_REPAIR_BAT_CLEAR,
		.at_bytes = survey_entry_at(&r->s, block),
		.block = block,
	};

	return repair_step_lossy(r, &loss, "block %u %s; its entry is emptied",
				 block, what);
}

static int entry(struct repair *r, struct clears *c, uint32_t block,
		 uint32_t sector, struct vhd_err *err)
{
	uint64_t start = (uint64_t)sector * VHD_SECTOR_BYTES;
	enum survey_entry kind = survey_judge(&r->s, block, sector);

	switch (kind) {
	case SURVEY_ENTRY_METADATA:
		return give_up(r, block, "lies over metadata")
			       ? clear(c, block, err)
			       : 0;
	case SURVEY_ENTRY_PAST_END:
		return give_up(r, block, "is behind the data of the file")
			       ? clear(c, block, err)
			       : 0;
	case SURVEY_ENTRY_CUT:
	case SURVEY_ENTRY_SHORT_LAST:
		if (!keep_cut(r, block, start, kind == SURVEY_ENTRY_CUT))
			return 0;
		break;
	case SURVEY_ENTRY_OK:
		break;
	}
	r->places[r->place_count++] = (struct survey_place){sector, block};
	return 0;
}

static int scan_chunk(struct repair *r, struct clears *c, const be32 *entries,
		      uint32_t first, uint32_t count, struct vhd_err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t sector = be32_get(entries[i]);
		int rc;

		if (sector == VHD_BAT_NONE)
			continue;
		if (first + i < r->s.blocks) {
			rc = entry(r, c, first + i, sector, err);
		} else {
			c->extra++;
			rc = clear(c, first + i, err);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int scan(struct repair *r, struct clears *c, struct vhd_err *err)
{
	const uint32_t step = CHUNK_BYTES / 4;
	uint32_t entries = r->s.header.table_entries;
	be32 *chunk = malloc(CHUNK_BYTES);
	int rc = 0;

	if (!chunk)
		return vhd_fail_nomem(err, CHUNK_BYTES, "the block table");
	if (entries > VHD_BLOCKS_MAX) /* no disk can come to use them */
		entries = VHD_BLOCKS_MAX;
	for (uint32_t b = 0; b < entries && !rc; b += step) {
		uint32_t n = entries - b < step ? entries - b : step;

		rc = vhd_file_read(r->file, chunk, (size_t)n * 4,
				   survey_entry_at(&r->s, b), err);
		if (!rc)
			rc = scan_chunk(r, c, chunk, b, n, err);
	}
	free(chunk);
	if (!rc && c->extra)
		repair_step(r, VHD_REPAIR_BAT_EXTRA,
			    survey_entry_at(&r->s, r->s.blocks),
			    "%u entries behind the disk's last block are "
			    "emptied",
			    c->extra);
	return rc;
}

/* ------------------------------------------------------------- clashes -- */

static void note_end(struct repair *r, uint32_t sector)
{
	uint64_t end = (uint64_t)sector * VHD_SECTOR_BYTES + r->s.stride_bytes;

	if (end > r->data_end_bytes)
		r->data_end_bytes = end;
}

static bool lose_clash(struct repair *r, uint32_t keep, uint32_t lose)
{
	char what[120];

	snprintf(what, sizeof(what),
		 "shares its place with block %u, which stays and may hold "
		 "content of either",
		 keep);
	return give_up(r, lose, what);
}

/* Walk the places in order; who begins before the last one kept ends goes.
 * Of equal places the sort puts the lower block first.
 */
static int clashes(struct repair *r, struct clears *c, struct vhd_err *err)
{
	uint32_t kept = 0;

	survey_places_sort(r->places, r->place_count);
	for (uint32_t i = 0; i < r->place_count; i++) {
		struct survey_place p = r->places[i];
		int rc = 0;

		if (kept && (uint64_t)(p.sector - r->places[kept - 1].sector) *
					    VHD_SECTOR_BYTES <
				    r->s.stride_bytes) {
			if (lose_clash(r, r->places[kept - 1].block, p.block))
				rc = clear(c, p.block, err);
			else
				note_end(r, p.sector);
			if (rc)
				return rc;
			continue;
		}
		r->places[kept++] = p;
	}
	r->place_count = kept;
	return 0;
}

/* -------------------------------------------------------- what changes -- */

static int entry_order(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Only those of clashes come out of order. */
static void sort_clears(struct clears *c)
{
	for (uint32_t i = 1; i < c->count; i++) {
		if (c->entry[i - 1] < c->entry[i])
			continue;
		qsort(c->entry, c->count, sizeof(*c->entry), entry_order);
		return;
	}
}

/* One change for each sector of the table that has entries to empty. */
static int put_clears(struct repair *r, struct clears *c, struct vhd_err *err)
{
	uint64_t table = r->s.header.table_bytes;
	uint64_t table_len = (uint64_t)r->s.header.table_entries * 4;
	be32 sector[VHD_BAT_SECTOR_ENTRIES];

	sort_clears(c);
	for (uint32_t i = 0; i < c->count;) {
		uint32_t first = c->entry[i] / VHD_BAT_SECTOR_ENTRIES *
				 VHD_BAT_SECTOR_ENTRIES;
		uint64_t off = (uint64_t)first * 4;
		uint32_t len = table_len - off < sizeof(sector)
				       ? (uint32_t)(table_len - off)
				       : (uint32_t)sizeof(sector);
		int rc = vhd_file_read(r->file, sector, len, table + off, err);

		if (rc)
			return rc;
		for (; i < c->count &&
		       c->entry[i] - first < VHD_BAT_SECTOR_ENTRIES;
		     i++)
			sector[c->entry[i] - first] = be32_put(VHD_BAT_NONE);
		rc = repair_put(r, REPAIR_MAIN, table + off, sector, len, err);
		if (rc)
			return rc;
	}
	return 0;
}

static void find_data_end(struct repair *r)
{
	const struct survey *s = &r->s;

	for (unsigned i = 0; i < s->range_count; i++)
		if (s->ranges[i].end_bytes > r->data_end_bytes)
			r->data_end_bytes = s->ranges[i].end_bytes;
	for (uint32_t i = 0; i < r->place_count; i++)
		note_end(r, r->places[i].sector);
}

int repair_bat(struct repair *r, struct vhd_err *err)
{
	uint64_t bytes = (uint64_t)r->s.blocks * sizeof(*r->places);
	struct clears c = {0};
	int rc;

	if (!r->s.table_ok)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_OFFSET,
				r->s.header_at,
				"the block table cannot be read");
	r->places = malloc(bytes ? bytes : 1);
	if (!r->places)
		return vhd_fail_nomem(err, bytes, "the block table");
	rc = scan(r, &c, err);
	if (!rc)
		rc = clashes(r, &c, err);
	if (!rc)
		rc = put_clears(r, &c, err);
	find_data_end(r);
	free(c.entry);
	return rc;
}
