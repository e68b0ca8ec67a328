/* SPDX-License-Identifier: BSD-2-Clause */
/* The seam for tests of salvage.c. Private to vhd/. */
#ifndef VHD_SALVAGE_H
#define VHD_SALVAGE_H

#include "file.h"

/* As vhd_salvage, between media the caller has; borrows `f` and `dst`. */
int vhd_salvage_file(const struct vhd_file *f, const struct vhd_file *dst,
		     const struct vhd_salvage_opts *opts,
		     struct vhd_salvage_result *result, struct vhd_err *err);

#endif
