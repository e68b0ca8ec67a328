/* SPDX-License-Identifier: BSD-2-Clause */
/* The seam for tests of salvage.c, and what salvage_parent.c does for it.
 * Private to vhd/.
 */
#ifndef VHD_SALVAGE_H
#define VHD_SALVAGE_H

#include "file.h"

/* As vhd_salvage, between media the caller has; borrows `f` and `dst`. Parents
 * are found by path only: a differencing disk is saved `alone`.
 */
int vhd_salvage_file(const struct vhd_file *f, const struct vhd_file *dst,
		     const struct vhd_salvage_opts *opts,
		     struct vhd_salvage_result *result, struct vhd_err *err);

/* The chain that the image at `path` stands on, itself opened for inspection
 * as its top. Errors: those of vhd_open. The caller abandons `*child`.
 */
int salvage_parents_open(const char *path, const struct vhd_salvage_opts *o,
			 struct vhd **child, struct vhd_err *err);

/* Whether the parent has bytes at the start of [off, off + len) of the disk,
 * or zeros, and for how far.
 */
int salvage_parent_run(struct vhd *parent, uint64_t off, uint64_t len,
		       bool *data, uint64_t *run_bytes, struct vhd_err *err);

#endif
