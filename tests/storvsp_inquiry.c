/* SPDX-License-Identifier: BSD-2-Clause */
/* INQUIRY byte for byte, and cut at every length. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

/* clang-format off */
static const uint8_t standard[104] = {
	0x00, 0x00, 0x05, 0x02, 99, 0, 0, 0x02,
	'M', 's', 'f', 't', ' ', ' ', ' ', ' ',
	'V', 'i', 'r', 't', 'u', 'a', 'l', ' ',
	'D', 'i', 's', 'k', ' ', ' ', ' ', ' ',
	'1', '.', '0', ' ',
};
/* clang-format on */

static void standard_data_is_that_of_a_hyper_v_disk(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 0, 0, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 104);
	assert_memory_equal(k.t.reply, standard, 104);
}

static void absent_lun_answers_well_with_type_7f(void **state)
{
	uint8_t want[104];
	struct task k;

	(void)state;
	memcpy(want, standard, 104);
	want[0] = 0x7F;
	task_init(&k, 36, STORVSP_DATA_IN);
	assert_int_equal(RUN_ABSENT(&k, 0x12, 0, 0, 0, 36, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, want, 104);
	assert_int_equal(scsi_reply_sent(&k.t), 36);
}

static void absent_lun_has_no_product_data(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN_ABSENT(&k, 0x12, 1, 0, 0, 255, 0), SCSI_BAD_FIELD);
}

struct page {
	uint8_t code;
	uint16_t bytes;
	uint8_t data[64];
};

static const struct page pages[] = {
	{0x00, 10, {0, 0x00, 0, 6, 0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2}},
	{0x80, 36,
	 "\x00\x80\x00\x20"
	 "000102030405060708090a0b0c0d0e0f"},
	{0x83,
	 52,
	 {0x00, 0x83, 0x00, 0x30,
	  /* T10 vendor id, binary */
	  0x01, 0x01, 0x00, 0x18, 'M', 's', 'f', 't', ' ', ' ', ' ', ' ', 0, 1,
	  2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	  /* NAA 6, OUI 00-22-48 */
	  0x01, 0x03, 0x00, 0x10, 0x60, 0x02, 0x24, 0x80, 0, 1, 2, 3, 4, 5, 10,
	  11, 12, 13, 14, 15}},
	/* WSNZ, granularity 8 blocks, maximum 4096 blocks = 2 MiB, WRITE SAME
	 * up to 4 GiB
	 */
	{0xB0, 64, {[1] = 0xB0, [3] = 0x3C, [4] = 1, [5] = 8, [7] = 8, [10] = 0x10,
		    [17] = 1, [41] = 0x80}},
	{0xB1, 64, {0x00, 0xB1, 0x00, 0x3C, 0, 1}},
	{0xB2, 8, {0x00, 0xB2, 0x00, 0x04, 0, 0, 0, 0}},
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

static void product_data_pages_are_byte_exact(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAGES; i++) {
		struct task k;

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x12, 1, pages[i].code, 0, 255, 0),
				 SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, pages[i].bytes);
		assert_memory_equal(k.t.reply, pages[i].data, pages[i].bytes);
	}
}

static void a_disk_that_takes_space_back_says_so(void **state)
{
	static const uint8_t b0[64] = {
		[1] = 0xB0, [3] = 0x3C, [4] = 1, [5] = 8, [7] = 8, [10] = 0x10,
		[17] = 1,    /* 0x10000 blocks of PRE-FETCH */
		[21] = 0x80, /* 0x800000 blocks */
		[27] = 64,   /* descriptors */
		[31] = 8,    /* granularity */
		[32] = 0x80, /* alignment 0 is meant */
		[41] = 0x80,
	};
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	k.disk.unmap = true;
	assert_int_equal(RUN(&k, 0x12, 1, 0xB0, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply, b0, 64);
	assert_int_equal(RUN(&k, 0x12, 1, 0xB2, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 4, "\0\xe0\x02\0", 4);
	k.disk.reads_zero = true;
	assert_int_equal(RUN(&k, 0x12, 1, 0xB2, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 4, "\0\xe4\x02\0", 4);
}

static void limits_page_follows_the_transfer_size(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 64, STORVSP_DATA_IN);
	k.t.max_transfer_bytes = 4096;
	assert_int_equal(RUN(&k, 0x12, 1, 0xB0, 0, 64, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 8, "\0\0\0\x08", 4);
}

/* Windows: first page 0, strictly ascending, or B0 to B2 do not exist. */
static void list_of_pages_is_ascending_and_complete(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 1, 0, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply[4], 0);
	for (unsigned i = 5; i < k.t.reply_bytes; i++)
		assert_true(k.t.reply[i] > k.t.reply[i - 1]);
	for (unsigned code = 0, n = 0; code < 256; code++) {
		bool listed = n < PAGES && pages[n].code == code;
		struct task q;

		task_init(&q, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&q, 0x12, 1, (uint8_t)code, 0, 255, 0),
				 listed ? SCSI_GOOD : SCSI_BAD_FIELD);
		n += listed;
	}
}

static void every_allocation_length_and_buffer_cuts_without_error(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 110; alloc++) {
		for (uint32_t buffer = 0; buffer < 110; buffer++) {
			uint32_t want = alloc < buffer ? alloc : buffer;
			struct task k;

			task_init(&k, buffer, STORVSP_DATA_IN);
			assert_int_equal(
				RUN(&k, 0x12, 0, 0, 0, (uint8_t)alloc, 0),
				SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 want < 104 ? want : 104);
			/* the length told does not depend on the cut */
			assert_int_equal(k.t.reply[4], 99);
		}
	}
}

static void largest_allocation_length_is_good(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 65535, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 0, 0, 0xFF, 0xFF, 0), SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 104);
}

static void page_without_evpd_and_old_bits_are_refused(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x12, 0, 0x80, 0, 255, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x12, 2, 0, 0, 255, 0), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x12, 3, 0, 0, 255, 0), SCSI_BAD_FIELD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standard_data_is_that_of_a_hyper_v_disk),
		cmocka_unit_test(absent_lun_answers_well_with_type_7f),
		cmocka_unit_test(absent_lun_has_no_product_data),
		cmocka_unit_test(product_data_pages_are_byte_exact),
		cmocka_unit_test(a_disk_that_takes_space_back_says_so),
		cmocka_unit_test(limits_page_follows_the_transfer_size),
		cmocka_unit_test(list_of_pages_is_ascending_and_complete),
		cmocka_unit_test(
			every_allocation_length_and_buffer_cuts_without_error),
		cmocka_unit_test(largest_allocation_length_is_good),
		cmocka_unit_test(page_without_evpd_and_old_bits_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
