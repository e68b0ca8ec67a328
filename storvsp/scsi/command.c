/* SPDX-License-Identifier: BSD-2-Clause */
/* What holds for every command: the length of the CDB, the direction of the
 * data, the control byte and absent LUNs. The commands themselves are rows of
 * the tables (table.h).
 * Sources: SPC-3 4.3 (CDB), SAM-3 5.2 (control byte).
 */
#include <string.h>

#include "attention.h"
#include "dvd.h"
#include "table.h"

/* Where no LUN is, the answers are those of a disk. */
static const struct scsi_command *command_find(const struct storvsp_disk *d,
					       uint8_t opcode)
{
	return scsi_row(d && d->dvd ? scsi_dvd_commands : scsi_disk_commands, d,
			opcode);
}

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
	if (dir == SCSI_DIR_NONE || t->buffer_bytes == 0)
		return true;
	return t->data_in ==
	       (dir == SCSI_DIR_IN ? STORVSP_DATA_IN : STORVSP_DATA_OUT);
}

static enum scsi_verdict run_row(struct scsi_task *t,
				 const struct scsi_command *c)
{
	const struct scsi_action *a;

	if (c->run)
		return c->run(t);
	a = scsi_action_row(c, t->cdb[1] & 0x1F);
	return a ? a->run(t) : SCSI_BAD_FIELD;
}

/* News of the disk come before what the command asks; and its capacity after
 * the news, so that nobody who has heard of the new one sees the old.
 */
static enum scsi_verdict disk_look(struct scsi_task *t,
				   const struct scsi_command *c)
{
	enum scsi_verdict v = SCSI_GOOD;

	if (!t->disk)
		return SCSI_GOOD;
	if (!(c && c->flags & SCSI_UA_WAITS))
		v = scsi_attention_take(t->disk->switches);
	t->blocks = atomic_load_explicit(&t->disk->switches->sectors,
					 memory_order_acquire) >>
		    t->disk->block_log2;
	return v;
}

enum scsi_verdict scsi_run(struct scsi_task *t, uint8_t cdb_bytes)
{
	const struct scsi_command *c = command_find(t->disk, t->cdb[0]);
	enum scsi_verdict v;

	t->reply_bytes = 0;
	t->alloc_bytes = 0;
	t->extent_count = 0;
	t->blocks = 0;
	memset(&t->io, 0, sizeof(t->io));
	if (!t->disk && !(c && c->flags & SCSI_ABSENT_TOO))
		return SCSI_NO_LUN;
	v = disk_look(t, c);
	if (v != SCSI_GOOD)
		return v;
	if (!c)
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
	v = c->flags & SCSI_NEEDS_DISC ? scsi_dvd_disc(t->disk) : SCSI_GOOD;
	return v == SCSI_GOOD ? run_row(t, c) : v;
}

uint32_t scsi_param_wanted(const struct scsi_task *t)
{
	const struct scsi_command *c = command_find(t->disk, t->cdb[0]);

	if (!t->disk || !c || !(c->flags & SCSI_PARAMS) ||
	    !direction_ok(t, c->dir))
		return 0;
	return t->buffer_bytes < SCSI_PARAM_BYTES_MAX ? t->buffer_bytes
						      : SCSI_PARAM_BYTES_MAX;
}
