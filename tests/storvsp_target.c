/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of LUNs and REPORT LUNS. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

static struct vhd *image(unsigned n)
{
	return (struct vhd *)(uintptr_t)(0x1000 + 16 * n); /* never followed */
}

static struct storvsp_disk disk(unsigned n, uint8_t path, uint8_t target,
				uint8_t lun)
{
	return (struct storvsp_disk){
		.img = image(n),
		.path = path,
		.target = target,
		.lun = lun,
	};
}

static void disks_are_found_where_they_are_and_nowhere_else(void **state)
{
	struct storvsp_disk d[4] = {
		disk(0, 7, 1, 254),
		disk(1, 0, 0, 0),
		disk(2, 0, 1, 3),
		disk(3, 1, 0, 3),
	};
	struct storvsp_luns luns = {0};
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(storvsp_luns_add(&luns, &d[i]), 0);
	for (unsigned p = 0; p < 9; p++)
		for (unsigned t = 0; t < 3; t++)
			for (unsigned l = 0; l < 256; l++)
				found += storvsp_luns_find(&luns, (uint8_t)p,
							   (uint8_t)t,
							   (uint8_t)l) != NULL;
	assert_int_equal(found, 4);
	assert_ptr_equal(storvsp_luns_find(&luns, 7, 1, 254), &d[0]);
	assert_ptr_equal(storvsp_luns_find(&luns, 0, 1, 3), &d[2]);
	assert_null(storvsp_luns_find(&luns, 255, 255, 255));
}

static void an_address_or_image_is_used_once(void **state)
{
	struct storvsp_disk a = disk(0, 0, 0, 0), b = disk(1, 0, 0, 0),
			    c = disk(0, 0, 0, 1);
	struct storvsp_luns luns = {0};

	(void)state;
	assert_int_equal(storvsp_luns_add(&luns, &a), 0);
	assert_int_equal(storvsp_luns_add(&luns, &b), -EEXIST);
	assert_int_equal(storvsp_luns_add(&luns, &c), -EEXIST);
	assert_int_equal(luns.count, 1);
}

static void list_is_full_at_its_limit(void **state)
{
	static struct storvsp_disk d[STORVSP_DISKS_MAX + 1];
	struct storvsp_luns luns = {0};

	(void)state;
	for (unsigned i = 0; i <= STORVSP_DISKS_MAX; i++)
		d[i] = disk(i, (uint8_t)(i >> 7), 0, (uint8_t)(i & 0x7F));
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		assert_int_equal(storvsp_luns_add(&luns, &d[i]), 0);
	assert_int_equal(storvsp_luns_add(&luns, &d[STORVSP_DISKS_MAX]),
			 -ENOSPC);
	assert_int_equal(luns.count, STORVSP_DISKS_MAX);
}

static void report_luns_lists_the_target_in_order(void **state)
{
	struct storvsp_disk d[4] = {
		disk(1, 0, 0, 200),
		disk(2, 0, 0, 7),
		disk(3, 0, 1, 1),
		disk(4, 1, 0, 2),
	};
	static const uint8_t want[32] = {
		0, 0, 0, 24, 0, 0, 0, 0, 0, 0,	 0, 0, 0, 0, 0, 0,
		0, 7, 0, 0,  0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0,
	};
	struct task k;

	(void)state;
	task_init(&k, 4096, STORVSP_DATA_IN);
	k.disk.img = image(0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(storvsp_luns_add(&k.luns, &d[i]), 0);
	assert_int_equal(RUN(&k, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 32);
	assert_memory_equal(k.t.reply, want, 32);

	/* any LUN of the target may be asked */
	assert_int_equal(
		RUN_ABSENT(&k, 0xA0, 0, 2, 0, 0, 0, 0, 0, 0x10, 0, 0, 0),
		SCSI_GOOD);
	assert_memory_equal(k.t.reply, want, 32);
}

static void report_luns_of_a_target_without_disks_is_empty(void **state)
{
	struct task k;

	(void)state;
	for (unsigned path = 0; path < 256; path += 5) {
		task_init(&k, 4096, STORVSP_DATA_IN);
		k.t.path = (uint8_t)path;
		k.t.target = 1;
		assert_int_equal(
			RUN(&k, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0),
			SCSI_GOOD);
		assert_int_equal(scsi_reply_sent(&k.t), 8);
		assert_memory_equal(k.t.reply, "\0\0\0\0\0\0\0\0", 8);
	}
}

static void well_known_luns_are_none_and_other_selections_refused(void **state)
{
	(void)state;
	for (unsigned select = 0; select < 256; select++) {
		struct task k;

		task_init(&k, 4096, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0xA0, 0, (uint8_t)select, 0, 0, 0, 0,
				     0, 0x10, 0, 0, 0),
				 select <= 2 ? SCSI_GOOD : SCSI_BAD_FIELD);
		if (select <= 2)
			assert_int_equal(k.t.reply[3], select == 1 ? 0 : 8);
	}
}

static void report_luns_holds_every_lun_of_a_target(void **state)
{
	static struct storvsp_disk d[STORVSP_LUNS_MAX];
	struct task k;

	(void)state;
	task_init(&k, 4096, STORVSP_DATA_IN);
	k.disk.img = image(0);
	for (unsigned i = 1; i < STORVSP_LUNS_MAX; i++) {
		d[i] = disk(i, 0, 0, (uint8_t)i);
		assert_int_equal(storvsp_luns_add(&k.luns, &d[i]), 0);
	}
	assert_int_equal(RUN(&k, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 8 + 8 * 255);
	assert_int_equal(scsi_get32(k.t.reply), 8 * 255);
	for (unsigned i = 0; i < STORVSP_LUNS_MAX; i++)
		assert_int_equal(k.t.reply[8 + 8 * i + 1], i);
}

static void every_length_cuts_report_luns_without_error(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 24; alloc++) {
		for (uint32_t buffer = 0; buffer < 24; buffer++) {
			uint32_t want = alloc < buffer ? alloc : buffer;
			struct task k;

			task_init(&k, buffer, STORVSP_DATA_IN);
			assert_int_equal(RUN(&k, 0xA0, 0, 0, 0, 0, 0, 0, 0, 0,
					     (uint8_t)alloc, 0, 0),
					 SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 want < 16 ? want : 16);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			disks_are_found_where_they_are_and_nowhere_else),
		cmocka_unit_test(an_address_or_image_is_used_once),
		cmocka_unit_test(list_is_full_at_its_limit),
		cmocka_unit_test(report_luns_lists_the_target_in_order),
		cmocka_unit_test(
			report_luns_of_a_target_without_disks_is_empty),
		cmocka_unit_test(
			well_known_luns_are_none_and_other_selections_refused),
		cmocka_unit_test(report_luns_holds_every_lun_of_a_target),
		cmocka_unit_test(every_length_cuts_report_luns_without_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
