/* SPDX-License-Identifier: BSD-2-Clause */
/* The workloads of vhd_fault.c: every public operation on small images. Each
 * table ends with a name of NULL.
 */
#ifndef TESTS_LIB_FAULTWORK_H
#define TESTS_LIB_FAULTWORK_H

#include "tests/lib/faultrun.h"

extern const struct work fault_work_bytes[];  /* open, read, write, close */
extern const struct work fault_work_queue[];  /* the same by each engine */
extern const struct work fault_work_create[]; /* create, salvage, copies */
extern const struct work fault_work_edit[];   /* operations in place */

/* --------------------------------------------------------------- images -- */

#define FW_SECTORS 131u
#define FW_BYTES   (FW_SECTORS * 512ull)
#define FW_BLOCK   8192u

/* "l0.vhd" and up, `count` of them, the lowest of this IMG_TYPE_*; model[i]
 * is what layer i reads as; the disk is the topmost.
 */
void fw_chain(struct fx *f, unsigned count, uint32_t type);
void fw_fixed(struct fx *f);
void fw_dynamic(struct fx *f);
void fw_diff(struct fx *f);   /* of three layers */
void fw_blocks(struct fx *f); /* dynamic, some blocks zero, one missing */

extern uint64_t fw_seed; /* of their content */

#endif
