/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcode table of a DVD-ROM drive.
 * Sources: MMC-6 clause 6, SPC-3 clause 6; which of them guests send: Linux
 *   sr.c and cdrom.c, OpenVMM scsidvd.
 */
#include "table.h"

static enum scsi_verdict report_opcodes(struct scsi_task *t)
{
	return scsi_opcodes_tell(t, scsi_dvd_commands);
}

/* clang-format off */
#define LBA4 0xFF, 0xFF, 0xFF, 0xFF
#define DISC SCSI_NEEDS_DISC

static const struct scsi_action maintenance_in[] = {
	{0x0C, report_opcodes, {0, 0x1F, 0x87, 0xFF, 0xFF, 0xFF, LBA4}},
	{0},
};

const struct scsi_command scsi_dvd_commands[256] = {
	[SCSI_TEST_UNIT_READY] = ROW(scsi_nothing_to_do, 6, NONE, DISC, {0}),
	[SCSI_REQUEST_SENSE] = ROW(scsi_request_sense, 6, IN, SCSI_UA_WAITS,
		{[1] = 0x01, [4] = 0xFF}),
	[SCSI_INQUIRY] = ROW(scsi_inquiry, 6, IN,
		SCSI_ABSENT_TOO | SCSI_UA_WAITS,
		{0, 0x01, 0xFF, 0xFF, 0xFF}),
	[SCSI_MODE_SELECT_6] = ROW(scsi_mode_select_6, 6, OUT, SCSI_PARAMS,
		{0, 0x11, [4] = 0xFF}),
	[SCSI_MODE_SENSE_6] = ROW(scsi_mode_sense_6, 6, IN, SCSI_UA_WAITS,
		{0, 0x08, 0xFF, 0xFF, 0xFF}),
	[SCSI_START_STOP_UNIT] = ROW(scsi_dvd_start_stop, 6, NONE, 0,
		{0, 0x01, [4] = 0xF3}),
	[SCSI_SEND_DIAGNOSTIC] = ROW(scsi_send_diagnostic, 6, NONE, 0,
		{0, 0xF7, 0, 0xFF, 0xFF}),
	[SCSI_PREVENT_ALLOW] = ROW(scsi_dvd_prevent, 6, NONE, 0,
		{[4] = 0x03}),
	[SCSI_READ_CAPACITY_10] = ROW(scsi_read_capacity_10, 10, IN, DISC,
		{0, 0, LBA4, [8] = 0x01}),
	[SCSI_READ_10] = ROW(scsi_read, 10, IN, DISC,
		{0, 0x18, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_SEEK_10] = ROW(scsi_seek, 10, NONE, DISC, {0, 0, LBA4}),
	[SCSI_VERIFY_10] = ROW(scsi_verify, 10, NONE, DISC,
		{0, 0x10, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_SYNCHRONIZE_CACHE_10] = ROW(scsi_synchronize_cache, 10, NONE,
		DISC, {0, 0x02, LBA4, 0, 0xFF, 0xFF}),
	[SCSI_READ_TOC] = ROW(scsi_dvd_toc, 10, IN, DISC,
		{0, 0x02, 0x0F, [6] = 0xFF, 0xFF, 0xFF, 0xC0}),
	[SCSI_GET_CONFIGURATION] = ROW(scsi_dvd_configuration, 10, IN,
		SCSI_UA_WAITS, {0, 0x03, 0xFF, 0xFF, [7] = 0xFF, 0xFF}),
	[SCSI_GET_EVENT_STATUS] = ROW(scsi_dvd_event_status, 10, IN,
		SCSI_UA_WAITS, {0, 0x01, [4] = 0xFF, [7] = 0xFF, 0xFF}),
	[SCSI_READ_DISC_INFORMATION] = ROW(scsi_dvd_disc_information, 10, IN,
		DISC, {0, 0x07, [7] = 0xFF, 0xFF}),
	[SCSI_READ_TRACK_INFORMATION] = ROW(scsi_dvd_track_information, 10, IN,
		DISC, {0, 0x03, LBA4, [7] = 0xFF, 0xFF}),
	[SCSI_MODE_SELECT_10] = ROW(scsi_mode_select_10, 10, OUT, SCSI_PARAMS,
		{0, 0x11, [7] = 0xFF, 0xFF}),
	[SCSI_MODE_SENSE_10] = ROW(scsi_mode_sense_10, 10, IN, 0,
		{0, 0x18, 0xFF, 0xFF, [7] = 0xFF, 0xFF}),
	[SCSI_READ_BUFFER_CAPACITY] = ROW(scsi_dvd_buffer_capacity, 10, IN, 0,
		{[7] = 0xFF, 0xFF}),
	[SCSI_REPORT_LUNS] = ROW(scsi_report_luns, 12, IN,
		SCSI_ABSENT_TOO | SCSI_UA_WAITS,
		{0, 0, 0xFF, [6] = LBA4}),
	[SCSI_MAINTENANCE_IN] = ACTIONS(maintenance_in, 12, IN, 0),
	[SCSI_READ_12] = ROW(scsi_read, 12, IN, DISC,
		{0, 0x18, LBA4, LBA4}),
	[SCSI_GET_PERFORMANCE] = ROW(scsi_dvd_performance, 12, IN, DISC,
		{0, 0x1F, LBA4, 0, 0, 0xFF, 0xFF, 0xFF}),
	[SCSI_READ_DVD_STRUCTURE] = ROW(scsi_dvd_structure, 12, IN, DISC,
		{0, 0x0F, LBA4, 0xFF, 0xFF, 0xFF, 0xFF}),
	/* a speed: it is as fast as it is */
	[SCSI_SET_STREAMING] = ROW(scsi_nothing_to_do, 12, OUT, 0,
		{[9] = 0xFF, 0xFF}),
	[SCSI_SET_CD_SPEED] = ROW(scsi_nothing_to_do, 12, NONE, 0,
		{0, 0, LBA4}),
	[SCSI_MECHANISM_STATUS] = ROW(scsi_dvd_mechanism_status, 12, IN, 0,
		{[8] = 0xFF, 0xFF}),
};
/* clang-format on */
