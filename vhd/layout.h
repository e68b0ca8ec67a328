/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that has a place in the file of an open dynamic or differencing
 * image, for the operations that move such places: resizing and compacting.
 * They own the image alone; nothing here is for a queue to see meanwhile.
 *
 * The table unit is the block table with what must follow it at once: blktap
 * looks for the header of its batmap right behind the table, so the two move
 * together. A unit is moved by writing it to free space, which nothing points
 * to yet, and then switching the one sector of the dynamic header that holds
 * table offset, number of entries and checksum. There is no moment at which
 * neither of the two is a valid image. Private to vhd/.
 */
#ifndef VHD_LAYOUT_H
#define VHD_LAYOUT_H

#include "image.h"

/* A used block. Sorted by place. */
struct layout_place {
	uint32_t sector;
	uint32_t block;
};

/* blktap's map of full blocks. */
struct layout_batmap {
	bool there; /* and its place makes sense */
	struct vhd_batmap_wire w;
	uint8_t *map; /* owned; as long as the header says */
	uint32_t len_bytes;
	bool dirty; /* to be written */
};

#define LAYOUT_RANGES_MAX (5 + VHD_LOCATORS)

struct layout {
	struct vhd *img;
	struct vhd_header_wire header;
	uint64_t stride_bytes; /* bitmap and data of a block */
	struct layout_batmap batmap;
	struct layout_place *places; /* owned */
	uint32_t count;
	/* all that is no block, sorted; the table unit among it */
	struct vhd_range ranges[LAYOUT_RANGES_MAX];
	unsigned range_count;
};

/* Find it all out. Borrows `img`. */
int layout_open(struct layout *l, struct vhd *img, struct vhd_err *err);
void layout_close(struct layout *l);
/* Again, after places changed. */
void layout_sort(struct layout *l);
void layout_ranges(struct layout *l);

/* Where the last of it ends. */
uint64_t layout_end(const struct layout *l);

/* Walks the free space between all that, upwards. */
struct layout_gaps {
	const struct layout *l;
	uint32_t place;
	unsigned range;
	uint64_t at_bytes; /* everything before is known */
};

void layout_gaps_begin(struct layout_gaps *g, const struct layout *l);
/* The next one, which ends where something begins; false: there is none. */
bool layout_gaps_next(struct layout_gaps *g, struct vhd_range *gap);

/* A bit of the batmap to 0, where there is one. Only in memory. */
void layout_batmap_clear(struct layout *l, uint32_t block);
/* Write what was cleared; no sync. A power cut may leave a wrong sum. */
int layout_batmap_write(struct layout *l, struct vhd_err *err);

/* The length of a table of so many entries, in whole sectors. */
uint64_t layout_table_bytes(uint32_t entries);
/* Of the table unit, if the table had so many entries. */
uint64_t layout_unit_bytes(const struct layout *l, uint32_t entries);
/* Write the unit with `entries` entries at `off_bytes`, all those that the
 * disk does not have empty. No sync, and nothing points to it yet.
 */
int layout_unit_write(struct layout *l, uint64_t off_bytes, uint32_t entries,
		      struct vhd_err *err);
/* Let the dynamic header point to it, and sync. Everything the new table
 * needs must be durable.
 */
int layout_unit_switch(struct layout *l, uint64_t off_bytes, uint32_t entries,
		       struct vhd_err *err);

/* Empty the table's entries [from, to) on disk; no sync. */
int layout_entries_clear(struct layout *l, uint32_t from, uint32_t to,
			 struct vhd_err *err);

#endif
