/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a merge. Private to vhd/.
 *
 *   merge.c       opens the chain, parts it above the target, removes layers
 *   merge_plan.c  what there is to move, and whether the target has room
 *   merge_copy.c  moves it
 *
 * `upper` is the chain of layers to be brought down, parted from the target:
 * what it has not reads as VHD_RUN_PARENT. `target` has as many sectors.
 *
 * Why the disk seen through `upper` never changes: every sector written to the
 * target is one that `upper` holds and therefore hides; and the target itself
 * is a sound image at every instant, as alloc.h says.
 */
#ifndef VHD_MERGE_INT_H
#define VHD_MERGE_INT_H

#include "image.h"

/* Zeros are found and left out in units of this, counted from the disk's
 * start.
 */
#define MERGE_GRAIN_SECTORS (4096u / VHD_SECTOR_BYTES)

/* The next stretch that the layers hold at or behind `*lba`: its start goes
 * into `*lba`, its length, which ends at the latest at a multiple of `unit`
 * sectors, into `*sectors`. Length 0: there is no more.
 */
int merge_next(struct vhd *upper, uint32_t unit, uint64_t *lba,
	       uint64_t *sectors, struct vhd_err *err);

/* From `lba` to the end of its grain, at most to `end`. */
static inline uint64_t merge_grain(uint64_t lba, uint64_t end)
{
	uint64_t next = (lba | (MERGE_GRAIN_SECTORS - 1)) + 1;

	return (next < end ? next : end) - lba;
}

/* The blocks that a dynamic target lacks before anything is written to it: a
 * bit each. NULL for another target, which needs none, and without memory.
 */
uint64_t *merge_lacking(const struct vhd *target);

/* Whether zeros in this grain can be left out. In a dynamic target where the
 * block was missing at the start (`lacking`; NULL: is missing now), because
 * what is not written of a new block is zero; in a differencing one where it
 * has none of these sectors, and all below has zeros.
 */
int merge_leave_out(struct vhd *target, const uint64_t *lacking, uint64_t lba,
		    uint64_t sectors, bool *out, struct vhd_err *err);

/* What there is to do, into `r`. `read`: look for zeros, which makes it exact;
 * otherwise it is what is needed at most.
 */
int merge_plan(struct vhd *upper, struct vhd *target, bool read,
	       struct vhd_merge_result *r, struct vhd_err *err);

/* Plan as closely as it takes to tell that there is room, or that there is
 * none: -ENOSPC, -EFBIG (NO_SPACE).
 */
int merge_room(struct vhd *upper, struct vhd *target, bool exact,
	       struct vhd_merge_result *r, struct vhd_err *err);

/* Move the data; closing the target makes it durable. On failure, what was
 * moved stays. Into `r`: what was done.
 */
int merge_copy(struct vhd *upper, struct vhd *target,
	       const struct vhd_merge_opts *opts, struct vhd_merge_result *r,
	       struct vhd_err *err);

#endif
