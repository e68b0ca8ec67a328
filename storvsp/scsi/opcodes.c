/* SPDX-License-Identifier: BSD-2-Clause */
/* REPORT SUPPORTED OPERATION CODES: the tables of commands, told.
 * Source: SPC-4 6.35.
 */
#include <string.h>

#include "table.h"

#define RCTD		0x80
#define CONTROL_NACA	0x04
#define TIMEOUTS_BYTES	12u
#define SUPPORTED_NOT	1u
#define SUPPORTED_AS_IS 3u

/* No timeouts are recommended. */
static uint32_t put_timeouts(uint8_t *p)
{
	scsi_put16(p, TIMEOUTS_BYTES - 2);
	return TIMEOUTS_BYTES;
}

static uint32_t put_command(uint8_t *p, uint8_t opcode,
			    const struct scsi_command *c,
			    const struct scsi_action *a, bool rctd)
{
	p[0] = opcode;
	if (a) {
		scsi_put16(p + 2, a->action);
		p[5] = 0x01; /* SERVACTV */
	}
	p[5] |= rctd ? 0x02 : 0; /* CTDP */
	scsi_put16(p + 6, c->cdb_bytes);
	return 8 + (rctd ? put_timeouts(p + 8) : 0);
}

static enum scsi_verdict all_commands(struct scsi_task *t,
				      const struct scsi_command *table,
				      bool rctd, uint32_t alloc)
{
	uint8_t *p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, alloc);
	uint32_t n = 4;

	for (unsigned i = 0; i < 256; i++) {
		uint8_t op = (uint8_t)i;
		const struct scsi_command *c = scsi_row(table, t->disk, op);

		if (c && c->run)
			n += put_command(p + n, op, c, NULL, rctd);
		for (const struct scsi_action *a = c ? c->actions : NULL;
		     a && a->run; a++)
			n += put_command(p + n, op, c, a, rctd);
	}
	scsi_put32(p, n - 4);
	t->reply_bytes = n;
	return SCSI_GOOD;
}

/* `a` where the command has service actions; `c` NULL: not supported. */
static enum scsi_verdict one_command(struct scsi_task *t,
				     const struct scsi_command *c,
				     const struct scsi_action *a, bool rctd,
				     uint32_t alloc)
{
	uint8_t *p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, alloc);
	uint32_t n = 4;

	p[1] = c ? SUPPORTED_AS_IS : SUPPORTED_NOT;
	if (c) {
		p[1] |= rctd ? 0x80 : 0; /* CTDP */
		scsi_put16(p + 2, c->cdb_bytes);
		memcpy(p + 4, a ? a->usage : c->usage, c->cdb_bytes);
		p[4] = t->cdb[3];
		if (a) /* the action itself, not a mask */
			p[5] = (uint8_t)((p[5] & 0xE0) | a->action);
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
enum scsi_verdict scsi_opcodes_tell(struct scsi_task *t,
				    const struct scsi_command *table)
{
	const struct scsi_command *c = scsi_row(table, t->disk, t->cdb[3]);
	uint8_t option = t->cdb[2] & 0x07;
	uint16_t action = scsi_get16(t->cdb + 4);
	uint32_t alloc = scsi_get32(t->cdb + 6);
	bool rctd = t->cdb[2] & RCTD;
	const struct scsi_action *a = c ? scsi_action_row(c, action) : NULL;

	if (option == 0)
		return all_commands(t, table, rctd, alloc);
	if (option > 3)
		return SCSI_BAD_FIELD;
	if (c && option != 3 && (c->actions != NULL) != (option == 2))
		return SCSI_BAD_FIELD;
	if (c && (c->actions ? !a : option == 3 && action != 0))
		c = NULL;
	return one_command(t, c, a, rctd, alloc);
}
