/* SPDX-License-Identifier: BSD-2-Clause */
/* SCSI commands without rings: a task over disks that hold no data. */
#ifndef TESTS_LIB_SCSITASK_H
#define TESTS_LIB_SCSITASK_H

#include "storvsp/scsi/scsi.h"

#define TASK_SECTORS 0x12345u /* of the disk at 0:0:0 */

/* Disk 0:0:0 of TASK_SECTORS sectors with id 00 01 .. 0f; the guest's buffer
 * is `buffer_bytes` of the matching direction. Fields may be changed before
 * task_run.
 */
struct task {
	struct storvsp_disk disk;
	struct storvsp_switches switches;
	struct storvsp_luns luns;
	struct scsi_task t;
};

void task_init(struct task *k, uint32_t buffer_bytes, uint8_t data_in);

/* Run `n` bytes of CDB on 0:0:lun. */
enum scsi_verdict task_run(struct task *k, uint8_t lun, const void *cdb,
			   uint8_t n);

/* For CDBs spelled out in the call. */
#define RUN(k, ...)                                                            \
	task_run(k, 0, (const uint8_t[]){__VA_ARGS__},                         \
		 (uint8_t)sizeof((const uint8_t[]){__VA_ARGS__}))
#define RUN_ABSENT(k, ...)                                                     \
	task_run(k, 9, (const uint8_t[]){__VA_ARGS__},                         \
		 (uint8_t)sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
