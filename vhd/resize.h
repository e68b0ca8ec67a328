/* SPDX-License-Identifier: BSD-2-Clause */
/* A resize under way, and its parts. Private to vhd/resize*.c,
 * grow.c and open.c.
 *
 * Each part leads from one valid image to the next, with a sync between them,
 * so that a power cut leaves the old size or the new one; the same command,
 * run again, takes up what is left to do.
 *
 *   resize.c          opens, looks, calls the parts in order
 *   grow.c            the same for an image that stays open
 *   resize_blocked.c  dynamic and differencing: table, footers, tail
 *   resize_fixed.c    fixed: the file is the disk
 */
#ifndef VHD_RESIZE_H
#define VHD_RESIZE_H

#include "layout.h"

struct resize {
	const struct vhd_resize_opts *opts;
	struct vhd_resize_result *result;
	const char *path; /* NULL: not opened by one */
	struct vhd *img;
	uint64_t old_bytes;
	uint64_t new_bytes;
	struct vhd_footer_wire footer; /* as it will be */
};

/* The footer of the image with another size: its geometry is one by which no
 * reader cuts the disk; everything else stays.
 */
void resize_footer(const struct vhd_footer_wire *now, uint64_t size_bytes,
		   struct vhd_footer_wire *then);

/* Judge all of it before anything is written. */
int resize_plan(struct resize *r, struct vhd_err *err);

int resize_blocked_plan(struct resize *r, struct vhd_err *err);
int resize_blocked(struct resize *r, struct vhd_err *err);

int resize_fixed_plan(struct resize *r, struct vhd_err *err);
int resize_fixed(struct resize *r, struct vhd_err *err);

/* A grown fixed disk has its former footer in the middle, and its new one
 * tells where, until that is erased. Whether this one tells, and the end of
 * that: nothing happens where the sector there is no such footer any more.
 */
bool resize_fixed_pending(const struct vhd_footer_wire *w);
int resize_fixed_finish(struct vhd *img, struct vhd_err *err);
/* The same for a repair: where the former footer is and whether it still is
 * there. `w` loses the note.
 */
int resize_fixed_former(const struct vhd_file *f, struct vhd_footer_wire *w,
			uint64_t *at_bytes, bool *there, struct vhd_err *err);

/* The seam for tests: over a medium the caller has, which is not closed. */
int vhd_resize_file(const struct vhd_file *f,
		    const struct vhd_resize_opts *opts,
		    struct vhd_resize_result *result, struct vhd_err *err);

#endif
