/* SPDX-License-Identifier: BSD-2-Clause */
/* Compacting under way, and its parts. Private to vhd/compact*.c.
 *
 *   compact.c        opens, gives blocks back, calls the parts in order
 *   compact_scan.c   which blocks need not be there
 *   compact_move.c   the last blocks, and the table, into free places
 *   compact_copy.c   all of it in order into another file
 *   compact_punch.c  fixed: zeros become holes
 */
#ifndef VHD_COMPACT_INT_H
#define VHD_COMPACT_INT_H

#include "layout.h"

#define COMPACT_GRAIN_BYTES 4096u
#define COMPACT_BUF_BYTES   (1u << 20) /* no bitmap is longer */

struct compact_move {
	uint32_t block;
	uint32_t from_sector;
	uint32_t to_sector;
};

struct compact {
	const struct vhd_compact_opts *opts;
	struct vhd_compact_result *result;
	struct vhd *img;
	struct layout l;
	uint8_t *buf;	   /* owned; COMPACT_BUF_BYTES */
	uint8_t *other;	   /* owned; as long: what the parent has, a bitmap */
	uint64_t *dropped; /* owned; a bit a block */
	uint64_t *dirty;   /* owned; a bit a sector of the table */
	struct compact_move *moves; /* owned */
	uint32_t move_count;
	uint64_t table_to_bytes; /* 0: it stays */
};

/* compact_tell.c. -ECANCELED: the caller has had enough. */
int compact_tell(const struct compact *c, uint64_t pos, uint64_t total,
		 struct vhd_err *err);

/* Mark in `dropped`, and count, what need not be there. */
int compact_scan(struct compact *c, struct vhd_err *err);
static inline bool compact_is_dropped(const struct compact *c, uint32_t block)
{
	return c->dropped[block / 64] >> (block % 64) & 1;
}

/* Where everything goes, with the dropped blocks gone from the layout. */
int compact_plan(struct compact *c, struct vhd_err *err);
/* Carry that out; stops between two batches where the caller says so. */
int compact_carry_out(struct compact *c, struct vhd_err *err);
/* An entry of the table, here and, with the next publishing, on disk. */
void compact_entry(struct compact *c, uint32_t block, uint32_t sector);
int compact_publish(struct compact *c, struct vhd_err *err);

/* Write [buf, buf + len) to the file, long zeros as holes. */
int compact_put(const struct vhd_file *f, const uint8_t *buf, uint64_t len,
		uint64_t off_bytes, bool fresh, struct vhd_err *err);

/* `out` NULL: only the new length is found out. */
int compact_copy(struct compact *c, const struct vhd_file *out,
		 struct vhd_err *err);
int compact_punch(struct compact *c, struct vhd_err *err);

/* The seams for tests. */
int vhd_compact_file(const struct vhd_file *f,
		     const struct vhd_compact_opts *opts,
		     struct vhd_compact_result *result, struct vhd_err *err);
int vhd_compact_to_file(const struct vhd_file *f, const struct vhd_file *out,
			const struct vhd_compact_opts *opts,
			struct vhd_compact_result *result, struct vhd_err *err);

#endif
