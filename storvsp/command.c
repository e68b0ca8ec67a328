/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcode table, and what holds for every command: the length of the CDB,
 * the direction of the data, the control byte and absent LUNs.
 * Sources: SPC-3 4.3 (CDB), SAM-3 5.2 (control byte).
 */
#include <assert.h>
#include <string.h>

#include "attention.h"

enum data_dir {
	DIR_NONE,
	DIR_IN,
	DIR_OUT,
};

/* Answered where no LUN is. */
#define ABSENT_TOO 1u
/* The guest's buffer holds parameters, not the disk's data. */
#define PARAMS 2u
/* A unit attention waits for another command. MODE SENSE(6) is not one of
 * those SPC names; but Linux' storvsc takes every answer to it for good, so
 * the attention would be lost.
 */
#define UA_WAITS 4u

struct command {
	enum scsi_verdict (*run)(struct scsi_task *t);
	uint8_t cdb_bytes;
	uint8_t dir;
	uint8_t flags;
	/* bits that are looked at; the first and the last byte, which are the
	 * same for all, are left out
	 */
	uint8_t usage[STORVSP_CDB_BYTES];
};

static enum scsi_verdict test_unit_ready(struct scsi_task *t)
{
	(void)t;
	return SCSI_GOOD;
}

/* Reservations of the only initiator there is, and a medium that cannot be
 * taken out.
 */
static enum scsi_verdict nothing_to_do(struct scsi_task *t)
{
	(void)t;
	return SCSI_GOOD;
}

static enum scsi_verdict scsi_maintenance_in(struct scsi_task *t);

/* clang-format off */
#define LBA4  0xFF, 0xFF, 0xFF, 0xFF
#define LBA8  LBA4, LBA4
static const struct command commands[256] = {
	[SCSI_TEST_UNIT_READY] = {test_unit_ready, 6, DIR_NONE, 0, {0}},
	[SCSI_REQUEST_SENSE] = {scsi_request_sense, 6, DIR_IN, UA_WAITS,
		{[1] = 0x01, [4] = 0xFF}},
	[SCSI_READ_6] = {scsi_read_6, 6, DIR_IN, 0, {0, 0x1F, 0xFF, 0xFF, 0xFF}},
	[SCSI_WRITE_6] = {scsi_write_6, 6, DIR_OUT, 0, {0, 0x1F, 0xFF, 0xFF, 0xFF}},
	[SCSI_INQUIRY] = {scsi_inquiry, 6, DIR_IN, ABSENT_TOO | UA_WAITS,
		{0, 0x01, 0xFF, 0xFF, 0xFF}},
	[SCSI_MODE_SELECT_6] = {scsi_mode_select_6, 6, DIR_OUT, PARAMS,
		{0, 0x11, [4] = 0xFF}},
	[SCSI_RESERVE_6] = {nothing_to_do, 6, DIR_NONE, 0, {0}},
	[SCSI_RELEASE_6] = {nothing_to_do, 6, DIR_NONE, 0, {0}},
	[SCSI_MODE_SENSE_6] = {scsi_mode_sense_6, 6, DIR_IN, UA_WAITS,
		{0, 0x08, 0xFF, 0xFF, 0xFF}},
	[SCSI_START_STOP_UNIT] = {scsi_start_stop_unit, 6, DIR_NONE, 0,
		{0, 0x01, [4] = 0xF3}},
	[SCSI_PREVENT_ALLOW] = {nothing_to_do, 6, DIR_NONE, 0, {[4] = 0x03}},
	[SCSI_READ_CAPACITY_10] = {scsi_read_capacity_10, 10, DIR_IN, 0,
		{0, 0, LBA4, [8] = 0x01}},
	[SCSI_READ_10] = {scsi_read_10, 10, DIR_IN, 0,
		{0, 0x18, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_WRITE_10] = {scsi_write_10, 10, DIR_OUT, 0,
		{0, 0x18, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_WRITE_VERIFY_10] = {scsi_write_verify_10, 10, DIR_OUT, 0,
		{0, 0x10, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_VERIFY_10] = {scsi_verify_10, 10, DIR_NONE, 0,
		{0, 0x10, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_SYNCHRONIZE_CACHE_10] = {scsi_synchronize_cache_10, 10, DIR_NONE, 0,
		{0, 0x02, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_WRITE_SAME_10] = {scsi_write_same_10, 10, DIR_OUT, PARAMS,
		{0, 0x08, LBA4, 0, 0xFF, 0xFF}},
	[SCSI_UNMAP] = {scsi_unmap, 10, DIR_OUT, PARAMS, {[7] = 0xFF, 0xFF}},
	[SCSI_MODE_SELECT_10] = {scsi_mode_select_10, 10, DIR_OUT, PARAMS,
		{0, 0x11, [7] = 0xFF, 0xFF}},
	[SCSI_MODE_SENSE_10] = {scsi_mode_sense_10, 10, DIR_IN, 0,
		{0, 0x08, 0xFF, 0xFF, [7] = 0xFF, 0xFF}},
	[SCSI_READ_16] = {scsi_read_16, 16, DIR_IN, 0, {0, 0x18, LBA8, LBA4}},
	[SCSI_WRITE_16] = {scsi_write_16, 16, DIR_OUT, 0, {0, 0x18, LBA8, LBA4}},
	[SCSI_WRITE_VERIFY_16] = {scsi_write_verify_16, 16, DIR_OUT, 0,
		{0, 0x10, LBA8, LBA4}},
	[SCSI_VERIFY_16] = {scsi_verify_16, 16, DIR_NONE, 0,
		{0, 0x10, LBA8, LBA4}},
	[SCSI_SYNCHRONIZE_CACHE_16] = {scsi_synchronize_cache_16, 16, DIR_NONE, 0,
		{0, 0x02, LBA8, LBA4}},
	[SCSI_WRITE_SAME_16] = {scsi_write_same_16, 16, DIR_OUT, PARAMS,
		{0, 0x09, LBA8, LBA4}},
	[SCSI_SERVICE_ACTION_IN_16] = {scsi_service_action_in_16, 16, DIR_IN, 0,
		{0, 0x1F, LBA8, LBA4, 0x01}},
	[SCSI_REPORT_LUNS] = {scsi_report_luns, 12, DIR_IN, ABSENT_TOO | UA_WAITS,
		{0, 0, 0xFF, [6] = LBA4}},
	[SCSI_MAINTENANCE_IN] = {scsi_maintenance_in, 12, DIR_IN, 0,
		{0, 0x1F, 0x87, 0xFF, 0xFF, 0xFF, LBA4}},
	[SCSI_READ_12] = {scsi_read_12, 12, DIR_IN, 0, {0, 0x18, LBA4, LBA4}},
	[SCSI_WRITE_12] = {scsi_write_12, 12, DIR_OUT, 0, {0, 0x18, LBA4, LBA4}},
	[SCSI_WRITE_VERIFY_12] = {scsi_write_verify_12, 12, DIR_OUT, 0,
		{0, 0x10, LBA4, LBA4}},
	[SCSI_VERIFY_12] = {scsi_verify_12, 12, DIR_NONE, 0,
		{0, 0x10, LBA4, LBA4}},
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

/* News of the disk come before what the command asks; and its capacity after
 * the news, so that nobody who has heard of the new one sees the old.
 */
static enum scsi_verdict disk_look(struct scsi_task *t, const struct command *c)
{
	enum scsi_verdict v = SCSI_GOOD;

	if (!t->disk)
		return SCSI_GOOD;
	if (!(c->flags & UA_WAITS))
		v = scsi_attention_take(t->disk->switches);
	t->sectors = atomic_load_explicit(&t->disk->switches->sectors,
					  memory_order_acquire);
	return v;
}

enum scsi_verdict scsi_run(struct scsi_task *t, uint8_t cdb_bytes)
{
	const struct command *c = &commands[t->cdb[0]];
	enum scsi_verdict v;

	t->reply_bytes = 0;
	t->alloc_bytes = 0;
	t->extent_count = 0;
	memset(&t->io, 0, sizeof(t->io));
	if (!t->disk && !(c->flags & ABSENT_TOO))
		return SCSI_NO_LUN;
	v = disk_look(t, c);
	if (v != SCSI_GOOD)
		return v;
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

/* ------------------------------------- REPORT SUPPORTED OPERATION CODES -- */

#define SUPPORTED_CODES	 0x0C /* service action of MAINTENANCE IN */
#define RCTD		 0x80
#define CONTROL_NACA	 0x04
#define TIMEOUTS_BYTES	 12u
#define SUPPORTED_NOT	 1u
#define SUPPORTED_AS_IS	 3u

/* Commands that are told apart by a service action. */
static const struct {
	uint8_t opcode, action;
} actions[] = {
	{SCSI_SERVICE_ACTION_IN_16, 0x10},
	{SCSI_SERVICE_ACTION_IN_16, 0x12},
	{SCSI_MAINTENANCE_IN, SUPPORTED_CODES},
};

#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

static bool has_actions(uint8_t opcode)
{
	for (unsigned i = 0; i < ACTIONS; i++)
		if (actions[i].opcode == opcode)
			return true;
	return false;
}

static bool has_action(uint8_t opcode, uint16_t action)
{
	for (unsigned i = 0; i < ACTIONS; i++)
		if (actions[i].opcode == opcode && actions[i].action == action)
			return true;
	return false;
}

/* UNMAP is there for some disks only. */
static bool is_there(const struct scsi_task *t, uint8_t opcode)
{
	return commands[opcode].run &&
	       (opcode != SCSI_UNMAP || t->disk->unmap);
}

/* No timeouts are recommended. */
static uint32_t put_timeouts(uint8_t *p)
{
	scsi_put16(p, TIMEOUTS_BYTES - 2);
	return TIMEOUTS_BYTES;
}

static uint32_t put_command(uint8_t *p, uint8_t opcode, int action, bool rctd)
{
	p[0] = opcode;
	if (action >= 0) {
		scsi_put16(p + 2, (uint16_t)action);
		p[5] = 0x01; /* SERVACTV */
	}
	p[5] |= rctd ? 0x02 : 0; /* CTDP */
	scsi_put16(p + 6, commands[opcode].cdb_bytes);
	return 8 + (rctd ? put_timeouts(p + 8) : 0);
}

static enum scsi_verdict all_commands(struct scsi_task *t, bool rctd,
				      uint32_t alloc)
{
	uint8_t *p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, alloc);
	uint32_t n = 4;

	for (unsigned op = 0; op < 256; op++)
		if (is_there(t, (uint8_t)op) && !has_actions((uint8_t)op))
			n += put_command(p + n, (uint8_t)op, -1, rctd);
	for (unsigned i = 0; i < ACTIONS; i++)
		n += put_command(p + n, actions[i].opcode, actions[i].action,
				 rctd);
	scsi_put32(p, n - 4);
	t->reply_bytes = n;
	return SCSI_GOOD;
}

static enum scsi_verdict one_command(struct scsi_task *t, bool rctd,
				     bool supported, uint32_t alloc)
{
	uint8_t opcode = t->cdb[3];
	const struct command *c = &commands[opcode];
	uint8_t *p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, alloc);
	uint32_t n = 4;

	p[1] = supported ? SUPPORTED_AS_IS : SUPPORTED_NOT;
	if (supported) {
		p[1] |= rctd ? 0x80 : 0; /* CTDP */
		scsi_put16(p + 2, c->cdb_bytes);
		memcpy(p + 4, c->usage, c->cdb_bytes);
		p[4] = opcode;
		if (has_actions(opcode)) /* the action itself, not a mask */
			p[5] = (uint8_t)((p[5] & 0xE0) | (t->cdb[5] & 0x1F));
		p[3 + c->cdb_bytes] |= CONTROL_NACA;
		n += c->cdb_bytes;
		n += rctd ? put_timeouts(p + n) : 0;
	}
	t->reply_bytes = n;
	return SCSI_GOOD;
}

/* Reporting options: 0 all; 1 an opcode without service actions; 2 one with;
 * 3 either.
 */
static enum scsi_verdict scsi_maintenance_in(struct scsi_task *t)
{
	uint8_t opcode = t->cdb[3], option = t->cdb[2] & 0x07;
	uint16_t action = scsi_get16(t->cdb + 4);
	uint32_t alloc = scsi_get32(t->cdb + 6);
	bool rctd = t->cdb[2] & RCTD, by_action = has_actions(opcode);

	if ((t->cdb[1] & 0x1F) != SUPPORTED_CODES)
		return SCSI_BAD_FIELD;
	switch (option) {
	case 0:
		return all_commands(t, rctd, alloc);
	case 1:
	case 2:
		if (is_there(t, opcode) && by_action != (option == 2))
			return SCSI_BAD_FIELD;
		break;
	case 3:
		break;
	default:
		return SCSI_BAD_FIELD;
	}
	return one_command(t, rctd,
			   is_there(t, opcode) &&
				   (by_action ? has_action(opcode, action)
					      : option == 1 || action == 0),
			   alloc);
}
