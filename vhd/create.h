/* SPDX-License-Identifier: BSD-2-Clause */
/* New images: what create_write.c does for create.c, create_child.c and
 * stream.c. Private to vhd/.
 */
#ifndef VHD_CREATE_H
#define VHD_CREATE_H

#include "image.h"
#include "relate.h"

/* Judge the options; `*block` becomes the block size, 0 for flat images. */
int vhd_create_check(const struct vhd_create_opts *o, uint32_t *block,
		     struct vhd_err *err);
/* `*made`: the file was not there before; who made it takes it away again where
 * the rest fails.
 */
int vhd_create_open(const char *path, const struct vhd_create_opts *opts,
		    struct vhd_file *f, bool *made, struct vhd_err *err);
/* Write all of a new image; `r` for a differencing one, else NULL. */
int vhd_create_write(const struct vhd_file *f, const struct vhd_create_opts *o,
		     uint32_t block, const struct vhd_relation *r,
		     struct vhd_err *err);

/* The header of a new image, whose numbers were found good; it says where the
 * table belongs.
 */
struct vhd_header vhd_create_header(uint64_t size_bytes,
				    uint32_t block_size_bytes);

/* create_child.c: vhd_create for VHD_FORMAT_DIFF. */
int vhd_create_child(const char *path, const struct vhd_create_opts *opts,
		     struct vhd **out, struct vhd_err *err);

#endif
