/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcode table: which commands exist, and what holds for all of them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

/* Every command with a CDB that is good as it stands, its length, and the
 * direction of its data ('-' none, 'i' in, 'o' out).
 */
static const struct known {
	uint8_t bytes;
	char dir;
	enum scsi_verdict verdict;
	uint8_t cdb[16];
} known[] = {
	{6, '-', SCSI_GOOD, {0x00}},
	{6, 'i', SCSI_GOOD, {0x03, 0, 0, 0, 18}},
	{6, 'i', SCSI_IO, {0x08, 0, 0, 0, 1}},
	{6, 'o', SCSI_IO, {0x0A, 0, 0, 0, 1}},
	{6, 'i', SCSI_GOOD, {0x12, 0, 0, 0, 36}},
	{6, 'o', SCSI_GOOD, {0x15, 0x10}},
	{6, '-', SCSI_GOOD, {0x16}},
	{6, '-', SCSI_GOOD, {0x17}},
	{6, 'i', SCSI_GOOD, {0x1A, 0, 0x3F, 0, 4}},
	{6, '-', SCSI_GOOD, {0x1E}},
	{6, '-', SCSI_GOOD, {0x1B, 0, 0, 0, 1}},
	{6, '-', SCSI_GOOD, {0x1D, 0x04}},
	{10, 'i', SCSI_GOOD, {0x25}},
	{10, 'i', SCSI_IO, {0x28, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, 'o', SCSI_IO, {0x2A, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, 'o', SCSI_IO, {0x2E, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, '-', SCSI_IO, {0x2F, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, '-', SCSI_IO, {0x34, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, '-', SCSI_IO, {0x35}},
	{10, 'o', SCSI_IO, {0x41, 0, 0, 0, 0, 0, 0, 0, 1}},
	{10, 'o', SCSI_GOOD, {0x42}},
	{10, 'i', SCSI_GOOD, {0x4D, 0, 0, 0, 0, 0, 0, 0, 4}},
	{10, 'o', SCSI_GOOD, {0x55, 0x10}},
	{10, '-', SCSI_GOOD, {0x56}},
	{10, '-', SCSI_GOOD, {0x57}},
	{10, 'i', SCSI_GOOD, {0x5E, 0, 0, 0, 0, 0, 0, 0, 8}},
	{10, 'o', SCSI_GOOD, {0x5F, 0, 0, 0, 0, 0, 0, 0, 24}},
	{10, 'i', SCSI_GOOD, {0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 8}},
	{16, 'i', SCSI_IO, {0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, 'o', SCSI_IO, {0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, 'o', SCSI_IO, {0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, 'o', SCSI_IO, {0x8E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, '-', SCSI_IO, {0x8F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, '-', SCSI_IO, {0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, '-', SCSI_IO, {0x91}},
	{16, 'o', SCSI_IO, {0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{16, 'i', SCSI_GOOD, {0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}},
	{12, 'i', SCSI_GOOD, {0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10}},
	{12, 'i', SCSI_GOOD, {0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0x10}},
	{12, 'i', SCSI_IO, {0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{12, 'o', SCSI_IO, {0xAA, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{12, 'o', SCSI_IO, {0xAE, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	{12, '-', SCSI_IO, {0xAF, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
};

#define KNOWN (sizeof(known) / sizeof(known[0]))

static const struct known *find(uint8_t opcode)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (known[i].cdb[0] == opcode)
			return &known[i];
	return NULL;
}

static uint8_t fitting(char dir)
{
	return dir == 'i'   ? STORVSP_DATA_IN
	       : dir == 'o' ? STORVSP_DATA_OUT
			    : STORVSP_DATA_NONE;
}

static enum scsi_verdict run(const struct known *c, uint8_t cdb_bytes,
			     uint32_t buffer, uint8_t data_in)
{
	struct task k;

	task_init(&k, buffer, data_in);
	k.t.luns = &k.luns;
	k.t.disk = &k.disk;
	memcpy(k.t.cdb, c->cdb, 16);
	k.disk.unmap = true;
	k.t.param_bytes = scsi_param_wanted(&k.t);
	return scsi_run(&k.t, cdb_bytes);
}

static void known_opcodes_run_and_all_others_are_refused(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		const struct known *c = find((uint8_t)op);
		const struct known other = {.bytes = 16, .cdb = {(uint8_t)op}};

		if (c)
			assert_int_equal(
				run(c, c->bytes, 4096, fitting(c->dir)),
				c->verdict);
		else
			assert_int_equal(run(&other, 16, 4096, STORVSP_DATA_IN),
					 SCSI_BAD_OPCODE);
	}
}

/* The default one, without a list of parameters. */
static void a_self_test_is_all_there_is_to_diagnose(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 512, STORVSP_DATA_OUT);
	assert_int_equal(RUN(&k, 0x1D, 0x04, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x1D, 0x04, 0, 0, 1, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x1D, 0x04, 0, 1, 0, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x1D, 0x24, 0, 0, 0, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x1D, 0, 0, 0, 0, 0), SCSI_BAD_FIELD);
}

static void absent_lun_answers_inquiry_and_report_luns_only(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		uint8_t cdb[16] = {(uint8_t)op};
		bool answered = op == 0x12 || op == 0xA0;
		struct task k;

		task_init(&k, 0, STORVSP_DATA_NONE);
		assert_int_equal(task_run(&k, 9, cdb, 16),
				 answered ? SCSI_GOOD : SCSI_NO_LUN);
	}
}

static void cdb_length_must_be_one_of_four_and_long_enough(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		const struct known *c = &known[i];

		for (unsigned n = 0; n < 256; n++) {
			bool ok = (n == 6 || n == 10 || n == 12 || n == 16) &&
				  n >= c->bytes;

			assert_int_equal(
				run(c, (uint8_t)n, 4096, fitting(c->dir)),
				ok ? c->verdict : SCSI_BAD_FIELD);
		}
	}
}

/* What lies behind the command's own bytes is never looked at. */
static void bytes_behind_the_command_do_not_matter(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		struct known c = known[i];

		memset(c.cdb + c.bytes, 0xFF, sizeof(c.cdb) - c.bytes);
		assert_int_equal(run(&c, 16, 4096, fitting(c.dir)), c.verdict);
	}
}

static void direction_that_contradicts_the_command_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		const struct known *c = &known[i];

		for (unsigned d = 0; d < 256; d++) {
			bool ok = d <= 2 &&
				  (c->dir == '-' || d == fitting(c->dir));

			assert_int_equal(run(c, c->bytes, 4096, (uint8_t)d),
					 ok ? c->verdict : SCSI_BAD_FIELD);
		}
	}
}

/* Without a buffer a small answer is good and empty, a transfer is refused. */
static void missing_buffer_refuses_transfers_only(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		const struct known *c = &known[i];
		bool transfer = (c->verdict == SCSI_IO && c->dir != '-') ||
				c->cdb[0] == 0x5F; /* a list it needs */

		assert_int_equal(run(c, c->bytes, 0, STORVSP_DATA_NONE),
				 transfer ? SCSI_BAD_FIELD : c->verdict);
	}
}

/* What would write is protected; all else does as on any disk, but for a flush,
 * which has nothing to do.
 */
static void a_read_only_disk_is_never_written(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		const struct known *c = &known[i];
		bool flush = c->cdb[0] == 0x35 || c->cdb[0] == 0x91;
		enum scsi_verdict want = c->verdict;
		struct task k;

		task_init(&k, 4096, fitting(c->dir));
		k.disk.read_only = true;
		k.disk.unmap = true;
		k.t.disk = &k.disk;
		k.t.luns = &k.luns;
		memcpy(k.t.cdb, c->cdb, 16);
		k.t.param_bytes = scsi_param_wanted(&k.t);
		if (flush)
			want = SCSI_GOOD;
		else if (want == SCSI_IO && c->dir == 'o')
			want = SCSI_WRITE_PROTECTED;
		assert_int_equal(scsi_run(&k.t, c->bytes), want);
		if (want == SCSI_IO)
			assert_int_equal(k.t.io.op, VHD_OP_READ);
	}
}

static void naca_in_the_control_byte_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KNOWN; i++) {
		struct known c = known[i];

		c.cdb[c.bytes - 1] = 0x04;
		assert_int_equal(run(&c, c.bytes, 4096, fitting(c.dir)),
				 SCSI_BAD_FIELD);
		c.cdb[c.bytes - 1] = 0xC0; /* vendor specific: ignored */
		assert_int_equal(run(&c, c.bytes, 4096, fitting(c.dir)),
				 c.verdict);
	}
}

static void request_sense_has_nothing_to_tell(void **state)
{
	static const uint8_t want[18] = {0x70, 0, 0, 0, 0, 0, 0, 10};
	struct task k;

	(void)state;
	for (unsigned alloc = 0; alloc < 256; alloc++) {
		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x03, 0, 0, 0, (uint8_t)alloc, 0),
				 SCSI_GOOD);
		assert_int_equal(scsi_reply_sent(&k.t),
				 alloc < 18 ? alloc : 18);
		assert_memory_equal(k.t.reply, want, 18);
	}
	assert_int_equal(RUN(&k, 0x03, 1, 0, 0, 18, 0), SCSI_GOOD); /* DESC */
	assert_int_equal(scsi_reply_sent(&k.t), 8);
	assert_memory_equal(k.t.reply, "\x72\0\0\0\0\0\0\0", 8);
}

/* However much was asked for, no byte lands behind the guest's buffer. */
static void answers_end_with_the_buffer(void **state)
{
	struct task k;

	(void)state;
	for (unsigned bytes = 0; bytes < 32; bytes++) {
		task_init(&k, bytes, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x03, 0, 0, 0, 255, 0), SCSI_GOOD);
		assert_int_equal(scsi_reply_sent(&k.t),
				 bytes < 18 ? bytes : 18);
	}
}

static void test_unit_ready_moves_nothing(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_NONE);
	assert_int_equal(RUN(&k, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_opcodes_run_and_all_others_are_refused),
		cmocka_unit_test(
			a_self_test_is_all_there_is_to_diagnose),
		cmocka_unit_test(
			absent_lun_answers_inquiry_and_report_luns_only),
		cmocka_unit_test(
			cdb_length_must_be_one_of_four_and_long_enough),
		cmocka_unit_test(bytes_behind_the_command_do_not_matter),
		cmocka_unit_test(
			direction_that_contradicts_the_command_is_refused),
		cmocka_unit_test(missing_buffer_refuses_transfers_only),
		cmocka_unit_test(a_read_only_disk_is_never_written),
		cmocka_unit_test(naca_in_the_control_byte_is_refused),
		cmocka_unit_test(request_sense_has_nothing_to_tell),
		cmocka_unit_test(answers_end_with_the_buffer),
		cmocka_unit_test(test_unit_ready_moves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
