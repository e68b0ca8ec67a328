/* SPDX-License-Identifier: BSD-2-Clause */
/* Verdict -> what the guest sees; library error -> verdict. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "storvsp/scsi/scsi.h"

static const struct row {
	enum scsi_verdict verdict;
	uint32_t status;
	uint8_t srb, scsi, key, asc, ascq;
} rows[] = {
	{SCSI_GOOD, 0, 0x01, 0x00, 0, 0, 0},
	{SCSI_NO_LUN, 0xC00000C0, 0x20, 0x00, 0, 0, 0},
	{SCSI_BAD_OPCODE, 0xC0000185, 0x86, 0x02, 0x5, 0x20, 0x00},
	{SCSI_BAD_FIELD, 0xC0000185, 0x86, 0x02, 0x5, 0x24, 0x00},
	{SCSI_BAD_PARAM, 0xC0000185, 0x86, 0x02, 0x5, 0x26, 0x00},
	{SCSI_PARAM_LENGTH, 0xC0000185, 0x86, 0x02, 0x5, 0x1A, 0x00},
	{SCSI_NO_SAVED_PAGES, 0xC0000185, 0x86, 0x02, 0x5, 0x39, 0x00},
	{SCSI_BAD_RELEASE, 0xC0000185, 0x86, 0x02, 0x5, 0x26, 0x04},
	{SCSI_RESERVED, 0x80000011, 0x05, 0x18, 0, 0, 0},
	{SCSI_LBA_RANGE, 0xC0000185, 0x86, 0x02, 0x5, 0x21, 0x00},
	{SCSI_WRITE_PROTECTED, 0xC0000185, 0x84, 0x02, 0x7, 0x27, 0x00},
	{SCSI_NO_SPACE, 0xC0000185, 0x84, 0x02, 0x7, 0x27, 0x07},
	{SCSI_NO_DISC, 0xC0000185, 0x84, 0x02, 0x2, 0x3A, 0x01},
	{SCSI_NO_DISC_TRAY_OPEN, 0xC0000185, 0x84, 0x02, 0x2, 0x3A, 0x02},
	{SCSI_TRAY_LOCKED, 0xC0000185, 0x84, 0x02, 0x5, 0x53, 0x02},
	{SCSI_MISCOMPARE, 0xC0000185, 0x84, 0x02, 0xE, 0x1D, 0x00},
	{SCSI_READ_ERROR, 0xC0000185, 0x84, 0x02, 0x3, 0x11, 0x00},
	{SCSI_WRITE_ERROR, 0xC0000185, 0x84, 0x02, 0x3, 0x0C, 0x00},
	{SCSI_TARGET_FAILURE, 0xC0000185, 0x84, 0x02, 0x4, 0x44, 0x00},
	{SCSI_RESOURCES, 0xC0000185, 0x84, 0x02, 0xB, 0x55, 0x03},
	{SCSI_TASK_SET_FULL, 0x80000011, 0x05, 0x28, 0, 0, 0},
	{SCSI_ABORTED, 0xC0000120, 0x82, 0x02, 0xB, 0x00, 0x00},
	{SCSI_UA_RESET, 0xC0000185, 0x84, 0x02, 0x6, 0x29, 0x00},
	{SCSI_UA_MEDIUM, 0xC0000185, 0x84, 0x02, 0x6, 0x28, 0x00},
	{SCSI_UA_RESERVATIONS_PREEMPTED, 0xC0000185, 0x84, 0x02, 0x6, 0x2A,
	 0x03},
	{SCSI_UA_MODE, 0xC0000185, 0x84, 0x02, 0x6, 0x2A, 0x01},
	{SCSI_UA_CAPACITY, 0xC0000185, 0x84, 0x02, 0x6, 0x2A, 0x09},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* The answer a guest of the newer protocol sees, spelled out. */
static void expect(const struct row *r, bool v1, uint8_t *p)
{
	memset(p, 0, 64);
	scsi_put32(p + 8, 0);
	p[8] = (uint8_t)r->status;
	p[9] = (uint8_t)(r->status >> 8);
	p[10] = (uint8_t)(r->status >> 16);
	p[11] = (uint8_t)(r->status >> 24);
	p[12] = v1 ? 36 : 52;
	p[14] = r->srb;
	p[15] = r->scsi;
	p[20] = 16;
	p[21] = v1 ? 18 : 20;
	if (r->verdict == SCSI_GOOD)
		p[24] = 0x34, p[25] = 0x12;
	if (r->srb & 0x80) {
		p[28] = 0x70;
		p[30] = r->key;
		p[35] = 10;
		p[40] = r->asc;
		p[41] = r->ascq;
		if (r->verdict == SCSI_MISCOMPARE)
			p[28] |= 0x80; /* VALID: at byte 0 */
	}
}

static void every_verdict_is_answered_byte_for_byte(void **state)
{
	(void)state;
	/* all but SCSI_IO, which is no end */
	assert_int_equal(ROWS, SCSI_VERDICT_COUNT - 1);
	for (unsigned i = 0; i < 2 * ROWS; i++) {
		const struct row *r = &rows[i % ROWS];
		const struct scsi_end end = {
			.verdict = r->verdict,
			.bytes_moved = 0x1234,
		};
		struct storvsp_packet_wire p = {0};
		uint8_t want[64];

		memset(&p.u, 0xEE, sizeof(p.u));
		scsi_answer(&p, &end, i >= ROWS);
		expect(r, i >= ROWS, want);
		assert_memory_equal(&p, want, 64);
	}
}

static void no_answer_fails_without_a_sense_key_or_freezes(void **state)
{
	(void)state;
	for (unsigned v = 0; v < SCSI_VERDICT_COUNT; v++) {
		const struct scsi_end end = {.verdict = v};
		struct storvsp_packet_wire p = {0};

		if (v == SCSI_IO)
			continue;
		scsi_answer(&p, &end, false);
		assert_int_equal(p.u.request.srb_status & 0x40, 0);
		if (p.u.request.scsi_status == 0x02) {
			assert_true(p.u.request.srb_status & 0x80);
			assert_true(p.u.request.cdb_or_sense[2] != 0);
		} else {
			assert_false(p.u.request.srb_status & 0x80);
		}
	}
}

static void fixed(uint8_t *s, const struct scsi_end *end)
{
	assert_int_equal(scsi_sense_fill(s, 20, end), 18);
}

static void first_bad_sector_of_a_read_is_told(void **state)
{
	struct scsi_end end = {
		.verdict = SCSI_READ_ERROR,
		.bad_lba_known = true,
		.bad_lba = 0x12345678,
	};
	uint8_t s[SCSI_SENSE_BYTES];

	(void)state;
	fixed(s, &end);
	assert_memory_equal(s, "\xF0\x00\x03\x12\x34\x56\x78\x0A", 8);
	end.bad_lba = UINT32_MAX;
	fixed(s, &end);
	assert_memory_equal(s, "\xF0\x00\x03\xff\xff\xff\xff\x0A", 8);
	/* does not fit: not told rather than told wrong */
	end.bad_lba = 0x100000000;
	fixed(s, &end);
	assert_memory_equal(s, "\x70\x00\x03\x00\x00\x00\x00\x0A", 8);
	end.bad_lba_known = false;
	end.bad_lba = 5;
	fixed(s, &end);
	assert_memory_equal(s, "\x70\x00\x03\x00\x00\x00\x00\x0A", 8);
	/* Linux would take the sectors before it for written */
	end.bad_lba_known = true;
	end.verdict = SCSI_WRITE_ERROR;
	fixed(s, &end);
	assert_memory_equal(s, "\x70\x00\x03\x00\x00\x00\x00\x0A", 8);
}

/* 8 bytes, and 12 more where an address is known, all 64 bits of it; guests
 * of the old protocol have room for 18.
 */
static void descriptors_are_told_where_they_are_asked_for(void **state)
{
	struct scsi_end end = {
		.verdict = SCSI_READ_ERROR,
		.descriptor_sense = true,
		.bad_lba_known = true,
		.bad_lba = 0x123456789ABC,
	};
	struct storvsp_packet_wire p = {0};
	uint8_t s[20];

	(void)state;
	assert_int_equal(scsi_sense_fill(s, 20, &end), 20);
	assert_memory_equal(s, "\x72\x03\x11\0\0\0\0\x0c"
			       "\x00\x0a\x80\0\0\0\x12\x34\x56\x78\x9a\xbc",
			    20);
	assert_int_equal(scsi_sense_fill(s, 19, &end), 8);
	assert_memory_equal(s, "\x72\x03\x11\0\0\0\0\0", 8);
	end.verdict = SCSI_BAD_RELEASE;
	assert_int_equal(scsi_sense_fill(s, 20, &end), 8);
	assert_memory_equal(s, "\x72\x05\x26\x04\0\0\0\0", 8);
	end.verdict = SCSI_READ_ERROR;
	scsi_answer(&p, &end, false);
	assert_int_equal(p.u.request.cdb_or_sense[19], 0xbc);
	scsi_answer(&p, &end, true);
	assert_int_equal(p.u.request.cdb_or_sense[7], 0);
	assert_int_equal(p.u.request.cdb_or_sense[19], 0);
}

#define R VHD_OP_READ
#define W VHD_OP_WRITE
#define F VHD_OP_FLUSH

static void library_errors_become_the_right_verdict(void **state)
{
	static const struct {
		enum vhd_op op;
		int result;
		enum vhd_why why;
		enum scsi_verdict want;
	} t[] = {
		{R, 0, VHD_WHY_NONE, SCSI_GOOD},
		{R, -EIO, VHD_WHY_IO, SCSI_READ_ERROR},
		{W, -EIO, VHD_WHY_IO, SCSI_WRITE_ERROR},
		{F, -EIO, VHD_WHY_IO, SCSI_WRITE_ERROR},
		{R, -EIO, VHD_WHY_SHORT_IO, SCSI_READ_ERROR},
		{R, -EIO, VHD_WHY_POISONED, SCSI_TARGET_FAILURE},
		{W, -EIO, VHD_WHY_POISONED, SCSI_TARGET_FAILURE},
		{F, -EIO, VHD_WHY_POISONED, SCSI_TARGET_FAILURE},
		{W, -ENOSPC, VHD_WHY_NO_SPACE, SCSI_NO_SPACE},
		{W, -ENOSPC, VHD_WHY_IO, SCSI_NO_SPACE},
		{F, -ENOSPC, VHD_WHY_IO, SCSI_NO_SPACE},
		{W, -EDQUOT, VHD_WHY_IO, SCSI_NO_SPACE},
		{W, -EFBIG, VHD_WHY_NO_SPACE, SCSI_NO_SPACE},
		{W, -EFBIG, VHD_WHY_IO, SCSI_NO_SPACE},
		{W, -EROFS, VHD_WHY_READ_ONLY, SCSI_WRITE_PROTECTED},
		{W, -EBADF, VHD_WHY_READ_ONLY, SCSI_WRITE_PROTECTED},
		{R, -EINVAL, VHD_WHY_RANGE, SCSI_LBA_RANGE},
		{W, -EINVAL, VHD_WHY_RANGE, SCSI_LBA_RANGE},
		{W, -EINVAL, VHD_WHY_ARGUMENT, SCSI_TARGET_FAILURE},
		{R, -EFAULT, VHD_WHY_IO, SCSI_BAD_FIELD},
		{R, -ENOMEM, VHD_WHY_NOMEM, SCSI_RESOURCES},
		{W, -EAGAIN, VHD_WHY_IO, SCSI_RESOURCES},
		{R, -ECANCELED, VHD_WHY_CANCELLED, SCSI_ABORTED},
		{W, -ECANCELED, VHD_WHY_NONE, SCSI_ABORTED},
		{R, -EUCLEAN, VHD_WHY_BAT_PAST_END, SCSI_READ_ERROR},
		{W, -EUCLEAN, VHD_WHY_BAT_PAST_END, SCSI_WRITE_ERROR},
		{R, -ENODEV, VHD_WHY_SYSTEM, SCSI_READ_ERROR},
		{F, -ENODEV, VHD_WHY_SYSTEM, SCSI_WRITE_ERROR},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(
			scsi_verdict_from_vhd(t[i].op, t[i].result, t[i].why),
			t[i].want);
}

/* No error at all may come out as success, or as "run it". */
static void no_error_becomes_success(void **state)
{
	static const enum vhd_op ops[] = {R, W, F};

	(void)state;
	for (unsigned o = 0; o < 3; o++)
		for (int e = 1; e < 200; e++)
			for (unsigned w = 0; w < VHD_WHY_COUNT; w++)
				assert_true(
					scsi_verdict_from_vhd(ops[o], -e, w) >
					SCSI_NO_LUN);
}

static void packet_status_follows_the_srb_status(void **state)
{
	static const struct {
		uint8_t srb;
		uint32_t status;
	} t[] = {
		{0x01, 0x00000000}, {0x12, 0x80000005}, {0x05, 0x80000011},
		{0x16, 0xC0000001}, {0x22, 0xC0000010}, {0x15, 0xC0000010},
		{0x0A, 0xC000009D}, {0x09, 0xC00000B5}, {0x0B, 0xC00000B5},
		{0x20, 0xC00000C0}, {0x21, 0xC00000C0}, {0x08, 0xC00000C0},
		{0x11, 0xC00000C0}, {0x02, 0xC0000120}, {0x04, 0xC0000185},
		{0x06, 0xC0000185}, {0x30, 0xC0000185},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(scsi_ntstatus(t[i].srb), t[i].status);
		assert_int_equal(scsi_ntstatus(t[i].srb | 0x80), t[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verdict_is_answered_byte_for_byte),
		cmocka_unit_test(
			no_answer_fails_without_a_sense_key_or_freezes),
		cmocka_unit_test(first_bad_sector_of_a_read_is_told),
		cmocka_unit_test(
			descriptors_are_told_where_they_are_asked_for),
		cmocka_unit_test(library_errors_become_the_right_verdict),
		cmocka_unit_test(no_error_becomes_success),
		cmocka_unit_test(packet_status_follows_the_srb_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
