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

/* A command that asks for what is so anyway. */
enum scsi_verdict scsi_nothing_to_do(struct scsi_task *t);

#endif
