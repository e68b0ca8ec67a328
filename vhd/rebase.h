/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd_rebase. Private to vhd/.
 *
 *   rebase.c         what is opened, whether it may be, in which order
 *   rebase_copy.c    what the parents differ in, into the child
 *   rebase_header.c  the child names its new parent
 */
#ifndef VHD_REBASE_H
#define VHD_REBASE_H

#include "image.h"
#include "relate.h"

/* Compare what `child` lacks between its parent and `parent`, and write the
 * former where they differ. Borrows both. No flush.
 */
int rebase_copy(struct vhd *child, struct vhd *parent,
		const struct vhd_rebase_opts *opts,
		struct vhd_rebase_result *r, struct vhd_err *err);

/* Copy unless that is not wanted, make it durable, name the new parent. The
 * child has its old parents where there is something to copy.
 */
int rebase_carry_out(struct vhd *child, struct vhd *parent,
		     const struct vhd_relation *rel,
		     const struct vhd_rebase_opts *opts,
		     struct vhd_rebase_result *r, struct vhd_err *err);

/* All that the child must hold is durable. Durable on return. */
int rebase_header(struct vhd *child, const struct vhd_relation *r,
		  struct vhd_err *err);

#endif
