/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing single fields of an image's footers, over a medium the caller has.
 * Private to vhd/.
 */
#ifndef VHD_SET_H
#define VHD_SET_H

#include "file.h"

/* vhd_set; borrows `f`, which is locked as the caller sees fit. */
int vhd_set_file(const struct vhd_file *f, const struct vhd_set_opts *opts,
		 struct vhd_set_result *result, struct vhd_err *err);

#endif
