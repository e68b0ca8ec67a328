/* SPDX-License-Identifier: BSD-2-Clause */
/* A controller's disks: see disks.c. */
#ifndef STORVSP_DISKS_H
#define STORVSP_DISKS_H

#include "storvsp.h"

/* Of all disks, and of those that leave: see vhd_hurry. */
void storvsp_disks_wait_less(struct storvsp *vsp, uint32_t ms);
/* -ENOENT: nothing is there. */
int storvsp_no_disk(struct storvsp_address at, struct vhd_err *err);

#endif
