/* SPDX-License-Identifier: BSD-2-Clause */
/* All metadata of an image, read once and kept as it lies on disk, so that a
 * check can judge every part and a repair can change it. Where an image is
 * opened the first fault ends the story; here everything that can still be
 * understood is. Decoding, the verdict on what the file is, and the rules for
 * footer and header fields are those of opening (probe.c, footer.c, header.c).
 * Private to vhd/.
 */
#ifndef VHD_SURVEY_H
#define VHD_SURVEY_H

#include "image.h"

struct survey_footer {
	struct vhd_footer_wire wire;
	struct vhd_footer f;
	enum vhd_mark mark;
	uint64_t at_bytes;
};

/* One used entry of the BAT. Sorted by place. */
struct survey_place {
	uint32_t sector;
	uint32_t block;
};

enum survey_entry {
	SURVEY_ENTRY_OK,
	SURVEY_ENTRY_SHORT_LAST, /* cut, but behind the end of the disk */
	SURVEY_ENTRY_CUT,	 /* its first bytes are there */
	SURVEY_ENTRY_PAST_END,
	SURVEY_ENTRY_METADATA,
};

struct survey {
	const struct vhd_file *file;
	uint64_t file_bytes;

	/* what the file is */
	int verdict; /* of vhd_probe, inspecting */
	struct vhd_err verdict_err;
	struct vhd_info info; /* probe's part, and the layout below */
	struct vhd_probe probe;
	struct survey_footer end;
	struct survey_footer copy;
	bool end_511;
	uint64_t size_bytes; /* of the disk, 0 if it makes no sense */

	/* dynamic and differencing */
	bool blocked;
	bool header_read; /* there is one where the footer says */
	uint64_t header_at;
	struct vhd_header_wire header_wire;
	struct vhd_header header;

	/* set where header and table are sound enough to read blocks */
	bool table_ok;
	uint32_t blocks; /* that the disk has and the table, too */
	uint32_t bitmap_bytes;
	uint64_t stride_bytes;	  /* bitmap and data */
	uint64_t table_end_bytes; /* whole sectors */
	uint64_t limit_bytes;	  /* blocks end before this */
	struct vhd_range ranges[VHD_RANGES_MAX];
	unsigned range_count;

	bool batmap;	    /* has a header */
	bool batmap_ok;	    /* and a place inside the file */
	uint64_t batmap_at; /* the header */
	struct vhd_batmap_wire batmap_wire;
};

struct survey_opts {
	enum vhd_format format;
	enum vhd_prefer prefer; /* where both ends have a footer */
	uint64_t size_bytes;	/* of the disk, where neither has */
};

/* Read the ends, the verdict, the header and what it leads to. Borrows `f`.
 * Errors: only what keeps the file from being read.
 */
int survey_read(struct survey *s, const struct vhd_file *f,
		const struct survey_opts *o, struct vhd_err *err);

/* Holes of the host's file, remembered between questions. */
struct survey_hole {
	uint64_t from_bytes;
	uint64_t to_bytes;
};

/* The first offset at or behind `at` that is no hole: what lies between reads
 * as zero. Media that know no holes answer `at`.
 */
uint64_t survey_skip_hole(const struct survey *s, struct survey_hole *hole,
			  uint64_t at);

/* Tell each rule a footer or header breaks; the rules of vhd_footer_check and
 * vhd_header_check, asked again with the offending field replaced.
 */
typedef void (*survey_fault_fn)(void *ctx, const struct vhd_err *fault);
void survey_footer_faults(const struct survey_footer *sf, survey_fault_fn fn,
			  void *ctx);
/* Returns true when the table can be read nevertheless. */
bool survey_header_faults(const struct survey *s, survey_fault_fn fn,
			  void *ctx);

/* The metadata that [start, end) touches, or NULL. */
const char *survey_hit(const struct survey *s, uint64_t start, uint64_t end);

/* Judge one entry by itself; the rules of bat.c. */
enum survey_entry survey_judge(const struct survey *s, uint32_t block,
			       uint32_t sector);

static inline uint64_t survey_entry_at(const struct survey *s, uint32_t block)
{
	return s->header.table_bytes + (uint64_t)block * 4;
}

/* Sectors of this block that belong to the disk. */
static inline uint32_t survey_block_sectors(const struct survey *s,
					    uint32_t block)
{
	uint64_t start = (uint64_t)block * s->header.block_size_bytes;
	uint64_t left = s->size_bytes - start;

	if (left > s->header.block_size_bytes)
		left = s->header.block_size_bytes;
	return (uint32_t)((left + VHD_SECTOR_BYTES - 1) / VHD_SECTOR_BYTES);
}

void survey_places_sort(struct survey_place *places, uint32_t count);

/* Whether a block's bitmap has a 1 for every sector of the disk's part.
 * `map` has room for s->bitmap_bytes and holds the bitmap afterwards.
 */
int survey_bitmap(const struct survey *s, uint32_t block, uint32_t sector,
		  uint8_t *map, bool *full, struct vhd_err *err);

/* The checksum of a batmap; version 1.1 summed signed bytes. */
bool survey_batmap_sum_ok(const struct vhd_batmap_wire *w, const uint8_t *map,
			  size_t len);

/* A geometry that no rule gives for the footer's size: larger than the disk,
 * or smaller by a cylinder and more.
 */
bool survey_geometry_wrong(const struct vhd_footer *f);

/* Nothing that the file itself could be blamed for. */
bool survey_is_system(enum vhd_why why);

#endif
