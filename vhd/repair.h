/* SPDX-License-Identifier: BSD-2-Clause */
/* A repair: planned on a survey, as changes of at most a sector each, then
 * carried out. Private to vhd/repair*.c.
 *
 * Order. Changes belong to one of four stages with a sync behind each, so
 * that one sound footer exists at every instant and whatever a power cut
 * leaves is again something that a repair takes further:
 *
 *   FIRST  the copy at offset 0, where only the trailing footer is sound
 *   ERASE  a trailing footer that lies in a block; the copy is the anchor
 *   MAIN   trailing footer, header, table, batmap, the file's length
 *   LAST   the copy at offset 0 otherwise
 *
 *   repair.c        opens, plans in order, writes the undo file, writes
 *   repair_note.c   the steps and changes as they are planned
 *   repair_footer.c which footer is right, and what in it is not
 *   repair_bat.c    entries that cannot be right; where the data ends
 *   repair_batmap.c blktap's map of full blocks
 */
#ifndef VHD_REPAIR_H
#define VHD_REPAIR_H

#include "survey.h"
#include "undo.h"

enum repair_stage {
	REPAIR_FIRST,
	REPAIR_ERASE,
	REPAIR_MAIN,
	REPAIR_LAST,
	REPAIR_STAGES,
};

struct repair_change {
	uint64_t off_bytes;
	uint32_t len_bytes;
	enum repair_stage stage;
	uint8_t now[VHD_SECTOR_BYTES];
};

struct repair {
	const struct vhd_repair_opts *opts;
	struct vhd_repair_result *result;
	const struct vhd_file *file;
	struct survey s;
	bool stopped; /* the caller said so */

	struct repair_change *changes; /* owned */
	size_t change_count;
	size_t change_room;

	/* the footer both places shall have; repair_footer.c */
	struct vhd_footer_wire footer;
	uint8_t old_id[16];

	/* entries that stay, in the order of the file; repair_bat.c */
	struct survey_place *places; /* owned */
	uint32_t place_count;
	uint64_t data_end_bytes; /* nothing that is used lies behind */
	bool cut_stays; /* a block reaches up to the data's end and behind it,
			 * and giving up the rest is held back */
	bool footer_moves;	 /* it lies in a block's space */
	uint64_t erase_at_bytes; /* ... that the disk uses; or 0 */
};

/* repair_note.c */
/* Tell a step and count it. */
__attribute__((format(printf, 4, 5))) void repair_step(
	struct repair *r, enum vhd_repair_code code, uint64_t at_bytes,
	const char *fmt, ...);
/* The same for one after which a part of the disk, `lost_bytes` and on in
 * block `block`, reads otherwise. Returns whether it may be done.
 */
struct repair_loss {
	enum vhd_repair_code code;
	uint64_t at_bytes;
	uint32_t block;
	uint64_t in_block_bytes; /* from here to the end of the block */
};
__attribute__((format(printf, 3, 4))) bool repair_step_lossy(
	struct repair *r, const struct repair_loss *loss, const char *fmt, ...);

/* Note that [off, off + len), all in one sector, shall read `now`. What reads
 * so already is no change.
 */
int repair_put(struct repair *r, enum repair_stage stage, uint64_t off_bytes,
	       const void *now, uint32_t len_bytes, struct vhd_err *err);

/* Plans. Errors: there is no safe repair (-EUCLEAN), or the file cannot be
 * read.
 */
int repair_choose_footer(struct repair *r, struct vhd_err *err);
int repair_place_footer(struct repair *r, struct vhd_err *err);
int repair_header(struct repair *r, struct vhd_err *err);
int repair_bat(struct repair *r, struct vhd_err *err);
int repair_batmap(struct repair *r, struct vhd_err *err);

/* The seam for tests: over media the caller has; `undo` may be NULL. */
int vhd_repair_file(const struct vhd_file *f, const struct vhd_file *undo,
		    const struct vhd_repair_opts *opts,
		    struct vhd_repair_result *result, struct vhd_err *err);

#endif
