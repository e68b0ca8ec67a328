/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk's logical and physical blocks: see blocks.c. */
#ifndef STORVSP_BLOCKS_H
#define STORVSP_BLOCKS_H

#include "storvsp.h"

struct storvsp_disk;

/* The sizes of a disk's blocks, for an image of `size_bytes`; -EINVAL. */
int storvsp_blocks_set(struct storvsp_disk *d,
		       const struct storvsp_disk_opts *o, uint64_t size_bytes,
		       struct vhd_err *err);

#endif
