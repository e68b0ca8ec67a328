/* SPDX-License-Identifier: BSD-2-Clause */
/* READ and WRITE, SYNCHRONIZE CACHE, START STOP UNIT: what reaches the disk
 * queue, and what does not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

struct form {
	uint8_t opcode, bytes;
	bool write;
	uint64_t lba_max, count_max;
};

static const struct form forms[] = {
	{0x08, 6, false, 0x1FFFFF, 0xFF},
	{0x0A, 6, true, 0x1FFFFF, 0xFF},
	{0x28, 10, false, UINT32_MAX, UINT16_MAX},
	{0x2A, 10, true, UINT32_MAX, UINT16_MAX},
	{0xA8, 12, false, UINT32_MAX, UINT32_MAX},
	{0xAA, 12, true, UINT32_MAX, UINT32_MAX},
	{0x88, 16, false, UINT64_MAX, UINT32_MAX},
	{0x8A, 16, true, UINT64_MAX, UINT32_MAX},
};

#define FORMS (sizeof(forms) / sizeof(forms[0]))

/* A CDB of this form. */
static void build(const struct form *f, uint64_t lba, uint64_t count,
		  uint8_t flags, uint8_t *cdb)
{
	memset(cdb, 0, 16);
	cdb[0] = f->opcode;
	switch (f->bytes) {
	case 6:
		scsi_put32(cdb, (uint32_t)lba | (uint32_t)f->opcode << 24);
		cdb[4] = (uint8_t)count;
		return;
	case 10:
		scsi_put32(cdb + 2, (uint32_t)lba);
		scsi_put16(cdb + 7, (uint16_t)count);
		break;
	case 12:
		scsi_put32(cdb + 2, (uint32_t)lba);
		scsi_put32(cdb + 6, (uint32_t)count);
		break;
	default:
		scsi_put64(cdb + 2, lba);
		scsi_put32(cdb + 10, (uint32_t)count);
	}
	cdb[1] = flags;
}

static enum scsi_verdict rw(struct task *k, const struct form *f, uint64_t lba,
			    uint64_t count, uint8_t flags)
{
	uint8_t cdb[16];

	build(f, lba, count, flags, cdb);
	k->t.data_in = f->write ? STORVSP_DATA_OUT : STORVSP_DATA_IN;
	return task_run(k, 0, cdb, f->bytes);
}

static void transfers_reach_the_queue_as_asked(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		struct task k;

		task_init(&k, 7 * 512, 0);
		assert_int_equal(rw(&k, &forms[i], 0x1234, 7, 0), SCSI_IO);
		assert_int_equal(k.t.io.op,
				 forms[i].write ? VHD_OP_WRITE : VHD_OP_READ);
		assert_int_equal(k.t.io.lba, 0x1234);
		assert_int_equal(k.t.io.bytes, 7 * 512);
		assert_false(k.t.io.fua);
	}
}

static void fua_counts_for_writes_of_the_long_forms(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		struct task k;

		task_init(&k, 512, 0);
		/* DPO, too, and FUA_NV: advice and obsolete */
		assert_int_equal(rw(&k, &forms[i], 0, 1, 0x1A), SCSI_IO);
		assert_int_equal(k.t.io.fua,
				 forms[i].write && forms[i].bytes > 6);
	}
}

static void protection_and_relative_addresses_are_refused(void **state)
{
	static const uint8_t bad[] = {0x01, 0x20, 0x40, 0x80, 0xE0};

	(void)state;
	for (unsigned i = 2; i < FORMS; i++) {
		for (unsigned b = 0; b < sizeof(bad); b++) {
			struct task k;

			task_init(&k, 512, 0);
			assert_int_equal(rw(&k, &forms[i], 0, 1, bad[b]),
					 SCSI_BAD_FIELD);
		}
	}
}

/* The end of the disk at N and N + 1. */
static void range_ends_with_the_disk(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		const struct form *f = &forms[i];
		struct task k;

		task_init(&k, 65536, 0);
		assert_int_equal(rw(&k, f, TASK_SECTORS - 1, 1, 0), SCSI_IO);
		assert_int_equal(rw(&k, f, TASK_SECTORS, 1, 0), SCSI_LBA_RANGE);
		assert_int_equal(rw(&k, f, TASK_SECTORS - 8, 8, 0), SCSI_IO);
		assert_int_equal(rw(&k, f, TASK_SECTORS - 8, 9, 0),
				 SCSI_LBA_RANGE);
	}
}

static void addresses_and_counts_that_overflow_are_out_of_range(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		const struct form *f = &forms[i];
		struct task k;

		task_init(&k, 2u << 20, 0);
		assert_int_equal(rw(&k, f, f->lba_max, f->count_max, 0),
				 SCSI_LBA_RANGE);
		assert_int_equal(rw(&k, f, f->lba_max, 1, 0), SCSI_LBA_RANGE);
		if (f->bytes > 10)
			assert_int_equal(rw(&k, f, 0, f->count_max, 0),
					 SCSI_LBA_RANGE);
	}
	/* sums that wrap around 2^64 exactly to 0 and to 1 */
	for (uint64_t n = 2; n < 4; n++) {
		struct task k;

		task_init(&k, 4096, 0);
		assert_int_equal(rw(&k, &forms[6], UINT64_MAX - n + 1, n, 0),
				 SCSI_LBA_RANGE);
		assert_int_equal(rw(&k, &forms[7], UINT64_MAX - n + 2, n, 0),
				 SCSI_LBA_RANGE);
	}
}

static void zero_blocks_are_good_or_256_in_the_short_form(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		const struct form *f = &forms[i];
		struct task k;

		task_init(&k, 256 * 512, 0);
		if (f->bytes == 6) {
			assert_int_equal(rw(&k, f, 0, 0, 0), SCSI_IO);
			assert_int_equal(k.t.io.bytes, 256 * 512);
			continue;
		}
		assert_int_equal(rw(&k, f, 0, 0, 0), SCSI_GOOD);
		assert_int_equal(scsi_reply_sent(&k.t), 0);
		assert_int_equal(rw(&k, f, TASK_SECTORS, 0, 0), SCSI_GOOD);
		assert_int_equal(rw(&k, f, TASK_SECTORS + 1, 0, 0),
				 SCSI_LBA_RANGE);
	}
}

/* N bytes of buffer for N bytes of transfer, and one less. */
static void buffer_must_hold_the_transfer(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		struct task k;

		task_init(&k, 8 * 512, 0);
		assert_int_equal(rw(&k, &forms[i], 0, 8, 0), SCSI_IO);
		assert_int_equal(rw(&k, &forms[i], 0, 7, 0), SCSI_IO);
		assert_int_equal(k.t.io.bytes, 7 * 512);
		task_init(&k, 8 * 512 - 1, 0);
		assert_int_equal(rw(&k, &forms[i], 0, 8, 0), SCSI_BAD_FIELD);
		task_init(&k, 0, 0);
		assert_int_equal(rw(&k, &forms[i], 0, 1, 0), SCSI_BAD_FIELD);
	}
}

static void transfer_is_bounded_by_what_the_controller_says(void **state)
{
	(void)state;
	for (unsigned i = 2; i < FORMS; i++) {
		struct task k;

		task_init(&k, 1u << 20, 0);
		k.t.max_transfer_bytes = 64 << 10;
		assert_int_equal(rw(&k, &forms[i], 0, 128, 0), SCSI_IO);
		assert_int_equal(rw(&k, &forms[i], 0, 129, 0), SCSI_BAD_FIELD);
	}
}

static void writes_to_a_read_only_disk_are_protected(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FORMS; i++) {
		struct task k;

		task_init(&k, 512, 0);
		k.disk.read_only = true;
		assert_int_equal(rw(&k, &forms[i], 0, 1, 0),
				 forms[i].write ? SCSI_WRITE_PROTECTED
						: SCSI_IO);
		/* out of range comes first */
		assert_int_equal(rw(&k, &forms[i], TASK_SECTORS, 1, 0),
				 SCSI_LBA_RANGE);
	}
}

static void six_byte_address_has_21_bits(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 512, STORVSP_DATA_IN);
	k.switches.sectors = 0x200000;
	/* the LUN bits of old standards lie above and do not count */
	assert_int_equal(RUN(&k, 0x08, 0xFF, 0xFF, 0xFF, 1, 0), SCSI_IO);
	assert_int_equal(k.t.io.lba, 0x1FFFFF);
}

static void synchronize_cache_flushes_for_any_range_inside(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_NONE);
	assert_int_equal(RUN(&k, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_IO);
	assert_int_equal(k.t.io.op, VHD_OP_FLUSH);
	assert_int_equal(k.t.io.bytes, 0);
	/* IMMED, and a range up to the last sector */
	assert_int_equal(RUN(&k, 0x35, 2, 0, 1, 0x23, 0x44, 0, 0, 1, 0),
			 SCSI_IO);
	assert_int_equal(RUN(&k, 0x35, 0, 0, 1, 0x23, 0x44, 0, 0, 2, 0),
			 SCSI_LBA_RANGE);
	assert_int_equal(RUN(&k, 0x91, 0, 0, 0, 0, 0, 0, 1, 0x23, 0x45, 0, 0, 0,
			     0, 0, 0),
			 SCSI_IO);
	assert_int_equal(RUN(&k, 0x91, 0, 0, 0, 0, 0, 0, 1, 0x23, 0x46, 0, 0, 0,
			     0, 0, 0),
			 SCSI_LBA_RANGE);
	assert_int_equal(RUN(&k, 0x91, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0),
			 SCSI_LBA_RANGE);
}

static void flushing_a_read_only_disk_is_good_at_once(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_NONE);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x1B, 0, 0, 0, 0, 0), SCSI_GOOD);
}

static void stop_flushes_and_start_does_nothing(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		struct task k;
		enum scsi_verdict want = flags & 0xF2 ? SCSI_BAD_FIELD
					 : flags & 1  ? SCSI_GOOD
						      : SCSI_IO;

		task_init(&k, 0, STORVSP_DATA_NONE);
		/* with and without IMMED */
		assert_int_equal(RUN(&k, 0x1B, 0, 0, 0, (uint8_t)flags, 0),
				 want);
		assert_int_equal(RUN(&k, 0x1B, 1, 0, 0, (uint8_t)flags, 0),
				 want);
		if (want == SCSI_IO)
			assert_int_equal(k.t.io.op, VHD_OP_FLUSH);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transfers_reach_the_queue_as_asked),
		cmocka_unit_test(fua_counts_for_writes_of_the_long_forms),
		cmocka_unit_test(protection_and_relative_addresses_are_refused),
		cmocka_unit_test(range_ends_with_the_disk),
		cmocka_unit_test(
			addresses_and_counts_that_overflow_are_out_of_range),
		cmocka_unit_test(zero_blocks_are_good_or_256_in_the_short_form),
		cmocka_unit_test(buffer_must_hold_the_transfer),
		cmocka_unit_test(
			transfer_is_bounded_by_what_the_controller_says),
		cmocka_unit_test(writes_to_a_read_only_disk_are_protected),
		cmocka_unit_test(six_byte_address_has_21_bits),
		cmocka_unit_test(
			synchronize_cache_flushes_for_any_range_inside),
		cmocka_unit_test(flushing_a_read_only_disk_is_good_at_once),
		cmocka_unit_test(stop_flushes_and_start_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
