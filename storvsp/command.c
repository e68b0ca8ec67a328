/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcode table, and what holds for every command: the length of the CDB,
 * the direction of the data, the control byte and absent LUNs.
 * Sources: SPC-3 4.3 (CDB), SAM-3 5.2 (control byte).
 */
#include <assert.h>
#include <string.h>

#include "scsi.h"

enum data_dir {
	DIR_NONE,
	DIR_IN,
	DIR_OUT,
};

/* Answered where no LUN is. */
#define ABSENT_TOO 1u
/* The guest's buffer holds parameters, not the disk's data. */
#define PARAMS 2u

struct command {
	enum scsi_verdict (*run)(struct scsi_task *t);
	uint8_t cdb_bytes;
	uint8_t dir;
	uint8_t flags;
};

static enum scsi_verdict test_unit_ready(struct scsi_task *t)
{
	(void)t;
	return SCSI_GOOD;
}

/* clang-format off */
static const struct command commands[256] = {
	[SCSI_TEST_UNIT_READY] = {test_unit_ready, 6, DIR_NONE, 0},
	[SCSI_REQUEST_SENSE] = {scsi_request_sense, 6, DIR_IN, 0},
	[SCSI_READ_6] = {scsi_read_6, 6, DIR_IN, 0},
	[SCSI_WRITE_6] = {scsi_write_6, 6, DIR_OUT, 0},
	[SCSI_INQUIRY] = {scsi_inquiry, 6, DIR_IN, ABSENT_TOO},
	[SCSI_MODE_SENSE_6] = {scsi_mode_sense_6, 6, DIR_IN, 0},
	[SCSI_START_STOP_UNIT] = {scsi_start_stop_unit, 6, DIR_NONE, 0},
	[SCSI_READ_CAPACITY_10] = {scsi_read_capacity_10, 10, DIR_IN, 0},
	[SCSI_READ_10] = {scsi_read_10, 10, DIR_IN, 0},
	[SCSI_WRITE_10] = {scsi_write_10, 10, DIR_OUT, 0},
	[SCSI_SYNCHRONIZE_CACHE_10] = {scsi_synchronize_cache_10, 10, DIR_NONE, 0},
	[SCSI_WRITE_SAME_10] = {scsi_write_same_10, 10, DIR_OUT, PARAMS},
	[SCSI_UNMAP] = {scsi_unmap, 10, DIR_OUT, PARAMS},
	[SCSI_MODE_SENSE_10] = {scsi_mode_sense_10, 10, DIR_IN, 0},
	[SCSI_READ_16] = {scsi_read_16, 16, DIR_IN, 0},
	[SCSI_WRITE_16] = {scsi_write_16, 16, DIR_OUT, 0},
	[SCSI_SYNCHRONIZE_CACHE_16] = {scsi_synchronize_cache_16, 16, DIR_NONE, 0},
	[SCSI_WRITE_SAME_16] = {scsi_write_same_16, 16, DIR_OUT, PARAMS},
	[SCSI_SERVICE_ACTION_IN_16] = {scsi_service_action_in_16, 16, DIR_IN, 0},
	[SCSI_REPORT_LUNS] = {scsi_report_luns, 12, DIR_IN, ABSENT_TOO},
	[SCSI_READ_12] = {scsi_read_12, 12, DIR_IN, 0},
	[SCSI_WRITE_12] = {scsi_write_12, 12, DIR_OUT, 0},
};
/* clang-format on */

static bool cdb_bytes_legal(uint8_t n)
{
	return n == 6 || n == 10 || n == 12 || n == 16;
}

/* The buffer's direction must not contradict the command's. Commands without
 * data leave whatever buffer they get alone.
 */
static bool direction_ok(const struct scsi_task *t, uint8_t dir)
{
	if (t->data_in > STORVSP_DATA_NONE)
		return false;
	if (dir == DIR_NONE || t->buffer_bytes == 0)
		return true;
	return t->data_in ==
	       (dir == DIR_IN ? STORVSP_DATA_IN : STORVSP_DATA_OUT);
}

enum scsi_verdict scsi_run(struct scsi_task *t, uint8_t cdb_bytes)
{
	const struct command *c = &commands[t->cdb[0]];

	t->reply_bytes = 0;
	t->alloc_bytes = 0;
	t->extent_count = 0;
	memset(&t->io, 0, sizeof(t->io));
	if (!t->disk && !(c->flags & ABSENT_TOO))
		return SCSI_NO_LUN;
	if (!c->run)
		return SCSI_BAD_OPCODE;
	/* A longer CDB than the opcode has is harmless: some initiators
	 * always claim 16. What lies behind is never looked at.
	 */
	if (!cdb_bytes_legal(cdb_bytes) || cdb_bytes < c->cdb_bytes)
		return SCSI_BAD_FIELD;
	/* NACA in the control byte: INQUIRY says NormACA = 0 */
	if (t->cdb[c->cdb_bytes - 1] & 0x04)
		return SCSI_BAD_FIELD;
	if (!direction_ok(t, c->dir))
		return SCSI_BAD_FIELD;
	return c->run(t);
}

uint32_t scsi_param_wanted(const struct scsi_task *t)
{
	const struct command *c = &commands[t->cdb[0]];

	if (!t->disk || !(c->flags & PARAMS) || !direction_ok(t, c->dir))
		return 0;
	return t->buffer_bytes < SCSI_PARAM_BYTES_MAX ? t->buffer_bytes
						      : SCSI_PARAM_BYTES_MAX;
}

uint8_t *scsi_reply(struct scsi_task *t, uint32_t bytes, uint32_t alloc_bytes)
{
	assert(bytes <= sizeof(t->reply));
	memset(t->reply, 0, bytes);
	t->reply_bytes = bytes;
	t->alloc_bytes = alloc_bytes;
	return t->reply;
}

uint32_t scsi_reply_sent(const struct scsi_task *t)
{
	uint32_t n = t->reply_bytes;

	if (n > t->alloc_bytes)
		n = t->alloc_bytes;
	if (n > t->buffer_bytes)
		n = t->buffer_bytes;
	return n;
}
