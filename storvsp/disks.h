/* SPDX-License-Identifier: BSD-2-Clause */
/* A controller's disks: disks.c, holders.c and blocks.c. */
#ifndef STORVSP_DISKS_H
#define STORVSP_DISKS_H

#include "storvsp.h"

struct channel;
struct storvsp_disk;

/* -------------------------------------------------------------- disks.c -- */

/* Of all disks, and of those that leave: see vhd_hurry. */
void storvsp_disks_wait_less(struct storvsp *vsp, uint32_t ms);
/* -ENOENT: nothing is there. */
int storvsp_no_disk(struct storvsp_address at, struct vhd_err *err);

/* ------------------------------------------------------------ holders.c -- */

/* Which list the channel knows of, and which disks it still holds that this
 * one lacks, may have changed.
 */
void storvsp_holders_settled(struct storvsp *vsp, struct channel *ch);
/* Perhaps now nobody holds a disk any more: say so to who waits for that. */
void storvsp_holders_notify(struct storvsp *vsp);

/* ------------------------------------------------------------- blocks.c -- */

/* The sizes of a disk's blocks, for an image of `size_bytes`; -EINVAL. */
int storvsp_blocks_set(struct storvsp_disk *d,
		       const struct storvsp_disk_opts *o, uint64_t size_bytes,
		       struct vhd_err *err);

#endif
