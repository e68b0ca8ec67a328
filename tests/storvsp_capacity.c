/* SPDX-License-Identifier: BSD-2-Clause */
/* READ CAPACITY (10) and (16). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

static void ten_tells_last_lba_and_sector_size(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 8, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 8);
	assert_memory_equal(k.t.reply, "\x00\x01\x23\x44\x00\x00\x02\x00", 8);
}

static void ten_is_capped_for_large_disks(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 8, STORVSP_DATA_IN);
	k.switches.sectors = 0xFFFFFFFF; /* last LBA still fits */
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\xff\xff\xff\xfe", 4);
	k.switches.sectors = 0x100000000;
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\xff\xff\xff\xff", 4);
	k.switches.sectors = 0x100000001;
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\xff\xff\xff\xff", 4);
}

static void sixteen_tells_64_bits_and_nothing_special(void **state)
{
	static const uint8_t want[32] = {0x00, 0x00, 0x00, 0x01, 0xff, 0xff,
					 0xff, 0xff, 0x00, 0x00, 0x02, 0x00};
	struct task k;

	(void)state;
	task_init(&k, 32, STORVSP_DATA_IN);
	k.switches.sectors = 0x200000000;
	assert_int_equal(
		RUN(&k, 0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0),
		SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 32);
	assert_memory_equal(k.t.reply, want, 32);
}

static void address_without_pmi_is_refused(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 32, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 1, 0, 0, 1, 0), SCSI_GOOD);
	assert_int_equal(
		RUN(&k, 0x9E, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0),
		SCSI_BAD_FIELD);
	assert_int_equal(
		RUN(&k, 0x9E, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 1, 0),
		SCSI_GOOD);
}

static void other_service_actions_are_refused(void **state)
{
	(void)state;
	for (unsigned action = 0; action < 256; action++) {
		struct task k;

		if ((action & 0x1F) == 0x12) /* GET LBA STATUS */
			continue;
		task_init(&k, 32, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x9E, (uint8_t)action, 0, 0, 0, 0, 0,
				     0, 0, 0, 0, 0, 0, 32, 0, 0),
				 (action & 0x1F) == 0x10 ? SCSI_GOOD
							 : SCSI_BAD_FIELD);
	}
}

static void every_length_cuts_without_error(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 40; alloc++) {
		for (uint32_t buffer = 0; buffer < 40; buffer++) {
			uint32_t want = alloc < buffer ? alloc : buffer;
			struct task k;

			task_init(&k, buffer, STORVSP_DATA_IN);
			assert_int_equal(RUN(&k, 0x9E, 0x10, 0, 0, 0, 0, 0, 0,
					     0, 0, 0, 0, 0, (uint8_t)alloc, 0,
					     0),
					 SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 want < 32 ? want : 32);
			assert_int_equal(
				RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0),
				SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 buffer < 8 ? buffer : 8);
		}
	}
}

static void largest_allocation_length_is_good(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 32, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
			     0xff, 0xff, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_tells_last_lba_and_sector_size),
		cmocka_unit_test(ten_is_capped_for_large_disks),
		cmocka_unit_test(sixteen_tells_64_bits_and_nothing_special),
		cmocka_unit_test(address_without_pmi_is_refused),
		cmocka_unit_test(other_service_actions_are_refused),
		cmocka_unit_test(every_length_cuts_without_error),
		cmocka_unit_test(largest_allocation_length_is_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
