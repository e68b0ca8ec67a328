/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcode table of a disk: everything else about a command is in the file
 * of its function.
 * Sources: SPC-3 clause 6, SBC-3 clause 5.
 */
#include "scsi.h"
#include "table.h"

static enum scsi_verdict report_opcodes(struct scsi_task *t)
{
	return scsi_opcodes_tell(t, scsi_disk_commands);
}

/* clang-format off */
#define LBA4  0xFF, 0xFF, 0xFF, 0xFF
#define LBA8  LBA4, LBA4

static const struct scsi_action service_in_16[] = {
	{0x10, scsi_read_capacity_16, {0, 0x1F, LBA8, LBA4, 0x01}},
	{0x12, scsi_get_lba_status, {0, 0x1F, LBA8, LBA4}},
	{0},
};

static const struct scsi_action maintenance_in[] = {
	{0x0C, report_opcodes, {0, 0x1F, 0x87, 0xFF, 0xFF, 0xFF, LBA4}},
	{0},
};

static const struct scsi_action reserve_in[] = {
	{0, scsi_read_keys, {0, 0x1F, [7] = 0xFF, 0xFF}},
	{1, scsi_read_reservation, {0, 0x1F, [7] = 0xFF, 0xFF}},
	{2, scsi_report_capabilities, {0, 0x1F, [7] = 0xFF, 0xFF}},
	{3, scsi_read_full_status, {0, 0x1F, [7] = 0xFF, 0xFF}},
	{0},
};

/* no REGISTER AND MOVE: there is nobody it could move to */
#define RESERVE_OUT(action, scope_type)                                        \
	{(action), scsi_persistent_reserve_out,                                \
	 {0, 0x1F, (scope_type), 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}}
static const struct scsi_action reserve_out[] = {
	RESERVE_OUT(0, 0), /* REGISTER */
	RESERVE_OUT(1, 0xFF), /* RESERVE */
	RESERVE_OUT(2, 0xFF), /* RELEASE */
	RESERVE_OUT(3, 0), /* CLEAR */
	RESERVE_OUT(4, 0xFF), /* PREEMPT */
	RESERVE_OUT(5, 0xFF), /* PREEMPT AND ABORT */
	RESERVE_OUT(6, 0), /* REGISTER AND IGNORE EXISTING KEY */
	{0},
};

const struct scsi_command scsi_disk_commands[256] = {
	[SCSI_TEST_UNIT_READY] = ROW(scsi_nothing_to_do, 6, NONE, 0, {0}),
	[SCSI_REQUEST_SENSE] = ROW(scsi_request_sense, 6, IN, SCSI_UA_WAITS,
		{[1] = 0x01, [4] = 0xFF}),
	[SCSI_READ_6] = ROW(scsi_read, 6, IN, 0,
		{0, 0x1F, 0xFF, 0xFF, 0xFF}),
	[SCSI_WRITE_6] = ROW(scsi_write, 6, OUT, 0,
		{0, 0x1F, 0xFF, 0xFF, 0xFF}),
	[SCSI_INQUIRY] = ROW(scsi_inquiry, 6, IN,
		SCSI_ABSENT_TOO | SCSI_UA_WAITS,
		{0, 0x01, 0xFF, 0xFF, 0xFF}),
	[SCSI_MODE_SELECT_6] = ROW(scsi_mode_select_6, 6, OUT, SCSI_PARAMS,
		{0, 0x11, [4] = 0xFF}),
	[SCSI_RESERVE_6] = ROW(scsi_reserve, 6, NONE, 0, {0, 0x1F}),
	[SCSI_RELEASE_6] = ROW(scsi_release, 6, NONE, 0, {0, 0x1F}),
	[SCSI_MODE_SENSE_6] = ROW(scsi_mode_sense_6, 6, IN, SCSI_UA_WAITS,
		{0, 0x08, 0xFF, 0xFF, 0xFF}),
	[SCSI_START_STOP_UNIT] = ROW(scsi_start_stop_unit, 6, NONE, 0,
		{0, 0x01, [4] = 0xF3}),
	[SCSI_SEND_DIAGNOSTIC] = ROW(scsi_send_diagnostic, 6, NONE, 0,
		{0, 0xF7, 0, 0xFF, 0xFF}),
	/* nothing that could be taken out */
	[SCSI_PREVENT_ALLOW] = ROW(scsi_nothing_to_do, 6, NONE, 0,
		{[4] = 0x03}),
	[SCSI_READ_CAPACITY_10] = ROW(scsi_read_capacity_10, 10, IN, 0,
		{0, 0, LBA4, [8] = 0x01}),
	[SCSI_READ_10] = ROW(scsi_read, 10, IN, 0,
		{0, 0x18, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_WRITE_10] = ROW(scsi_write, 10, OUT, 0,
		{0, 0x18, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_WRITE_VERIFY_10] = ROW(scsi_write_verify, 10, OUT, 0,
		{0, 0x10, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_VERIFY_10] = ROW(scsi_verify, 10, NONE, 0,
		{0, 0x10, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_PRE_FETCH_10] = ROW(scsi_pre_fetch, 10, NONE, 0,
		{0, 0x02, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_SYNCHRONIZE_CACHE_10] = ROW(scsi_synchronize_cache, 10, NONE,
		0, {0, 0x02, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_WRITE_SAME_10] = ROW(scsi_write_same_10, 10, OUT, SCSI_PARAMS,
		{0, 0x08, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_UNMAP] = ROW(scsi_unmap, 10, OUT, SCSI_PARAMS,
		{[7] = 0xFF, 0xFF}),
	[SCSI_LOG_SENSE] = ROW(scsi_log_sense, 10, IN, 0,
		{0, 0x01, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF}),
	[SCSI_MODE_SELECT_10] = ROW(scsi_mode_select_10, 10, OUT, SCSI_PARAMS,
		{0, 0x11, [7] = 0xFF, 0xFF}),
	[SCSI_RESERVE_10] = ROW(scsi_reserve, 10, NONE, 0, {0, 0x1F}),
	[SCSI_RELEASE_10] = ROW(scsi_release, 10, NONE, 0, {0, 0x1F}),
	[SCSI_MODE_SENSE_10] = ROW(scsi_mode_sense_10, 10, IN, 0,
		{0, 0x18, 0xFF, 0xFF, [7] = 0xFF, 0xFF}),
	[SCSI_PERSISTENT_RESERVE_IN] = ACTIONS(reserve_in, 10, IN, 0),
	[SCSI_PERSISTENT_RESERVE_OUT] = ACTIONS(reserve_out, 10, OUT,
		SCSI_PARAMS),
	[SCSI_READ_16] = ROW(scsi_read, 16, IN, 0, {0, 0x18, LBA8, LBA4}),
	[SCSI_COMPARE_AND_WRITE] = ROW(scsi_compare_and_write, 16, OUT,
		SCSI_PARAMS, {0, 0x18, LBA8, 0, 0, 0, 0xFF}),
	[SCSI_WRITE_16] = ROW(scsi_write, 16, OUT, 0,
		{0, 0x18, LBA8, LBA4}),
	[SCSI_WRITE_VERIFY_16] = ROW(scsi_write_verify, 16, OUT, 0,
		{0, 0x10, LBA8, LBA4}),
	[SCSI_VERIFY_16] = ROW(scsi_verify, 16, NONE, 0,
		{0, 0x10, LBA8, LBA4}),
	[SCSI_PRE_FETCH_16] = ROW(scsi_pre_fetch, 16, NONE, 0,
		{0, 0x02, LBA8, LBA4}),
	[SCSI_SYNCHRONIZE_CACHE_16] = ROW(scsi_synchronize_cache, 16, NONE,
		0, {0, 0x02, LBA8, LBA4}),
	[SCSI_WRITE_SAME_16] = ROW(scsi_write_same_16, 16, OUT, SCSI_PARAMS,
		{0, 0x09, LBA8, LBA4}),
	[SCSI_SERVICE_ACTION_IN_16] = ACTIONS(service_in_16, 16, IN, 0),
	[SCSI_REPORT_LUNS] = ROW(scsi_report_luns, 12, IN,
		SCSI_ABSENT_TOO | SCSI_UA_WAITS,
		{0, 0, 0xFF, [6] = LBA4}),
	[SCSI_MAINTENANCE_IN] = ACTIONS(maintenance_in, 12, IN, 0),
	[SCSI_READ_12] = ROW(scsi_read, 12, IN, 0, {0, 0x18, LBA4, LBA4}),
	[SCSI_WRITE_12] = ROW(scsi_write, 12, OUT, 0,
		{0, 0x18, LBA4, LBA4}),
	[SCSI_WRITE_VERIFY_12] = ROW(scsi_write_verify, 12, OUT, 0,
		{0, 0x10, LBA4, LBA4}),
	[SCSI_VERIFY_12] = ROW(scsi_verify, 12, NONE, 0,
		{0, 0x10, LBA4, LBA4}),
};
/* clang-format on */
