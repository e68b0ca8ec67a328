/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk as a row of extents: what map prints, diff compares and inspect
 * draws. The library's map, and of files that have no other the file system's.
 * Private to tools/.
 */
#ifndef EXTENT_H
#define EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vhd/vhd.h"

enum extent_kind {
	EXTENT_DATA,
	EXTENT_ZERO,   /* reads as zero although a file has the space */
	EXTENT_HOLE,   /* reads as zero; nothing allocated */
	EXTENT_PARENT, /* in a parent that is not open */
};

const char *extent_word(enum extent_kind kind);

/* `off_bytes` holds for DATA, and for ZERO that has a place in the file. */
struct extent {
	uint64_t start_bytes;
	uint64_t len_bytes;
	uint64_t off_bytes;
	enum extent_kind kind;
	bool placed;
	unsigned layer; /* that decided */
};

/* What is known of one layer's file: a hole, and a piece that is none. */
struct extent_holes {
	uint64_t hole_from;
	uint64_t hole_to;
	uint64_t data_from;
	uint64_t data_to;
};

struct extents {
	struct vhd *img;     /* borrowed */
	uint64_t size_bytes;
	bool host_holes;     /* look for holes inside blocks, too */
	bool blocks_only;    /* no bitmap is read: a block is all data */
	struct extent_holes holes[VHD_CHAIN_MAX];
};

void extents_init(struct extents *x, struct vhd *img);

/* What is at `at_bytes`, a multiple of 512 on the disk, and for how long one
 * answer holds; never past a block's end where there is a block.
 */
int extents_at(struct extents *x, uint64_t at_bytes, struct extent *out,
	       struct vhd_err *err);

/* The same of layer `i` alone: what is not in it is EXTENT_PARENT (of a
 * differencing disk) or EXTENT_HOLE. `at_bytes` is on that layer's disk.
 */
int extents_layer_at(struct extents *x, unsigned i, uint64_t at_bytes,
		     struct extent *out, struct vhd_err *err);

/* Whether `b`, which begins where `a` ends, continues it in every respect. */
bool extent_joins(const struct extent *a, const struct extent *b);

#endif
