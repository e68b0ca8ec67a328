/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of commands and their rows: one a kind of device. */
#ifndef STORVSP_TABLE_H
#define STORVSP_TABLE_H

#include "scsi.h"

/* A command; the last argument is its usage map in braces. */
#define ROW(fn, bytes, way, flag_bits, ...)                                    \
	{                                                                      \
		.run = (fn), .cdb_bytes = (bytes), .dir = SCSI_DIR_##way,      \
		.flags = (flag_bits), .usage = __VA_ARGS__                     \
	}
/* Commands that share an opcode. */
#define ACTIONS(list, bytes, way, flag_bits)                                   \
	{                                                                      \
		.actions = (list), .cdb_bytes = (bytes),                       \
		.dir = SCSI_DIR_##way, .flags = (flag_bits)                    \
	}

extern const struct scsi_command scsi_disk_commands[256];
extern const struct scsi_command scsi_dvd_commands[256];

/* The row of an opcode; NULL: the device does not have it. UNMAP is there for
 * some disks only.
 */
static inline const struct scsi_command *
scsi_row(const struct scsi_command *table, const struct storvsp_disk *d,
	 uint8_t opcode)
{
	const struct scsi_command *c = &table[opcode];

	if (opcode == SCSI_UNMAP && d && !d->unmap)
		return NULL;
	return c->run || c->actions ? c : NULL;
}

/* The row of a service action; NULL: it has none. */
static inline const struct scsi_action *
scsi_action_row(const struct scsi_command *c, uint16_t action)
{
	for (const struct scsi_action *a = c->actions; a && a->run; a++)
		if (a->action == action)
			return a;
	return NULL;
}

/* REPORT SUPPORTED OPERATION CODES, of a table that has it. */
enum scsi_verdict scsi_opcodes_tell(struct scsi_task *t,
				    const struct scsi_command *table);

#endif
