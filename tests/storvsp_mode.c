/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SENSE (6) and (10), byte for byte; LOG SENSE. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

static const uint8_t recovery[12] = {0x01, 10};
static const uint8_t caching[20] = {0x08, 18, 0x04};
static const uint8_t control[12] = {0x0A, 10, 0x02, 0x10};
static const uint8_t exceptions[12] = {0x1C, 10, 0x08};

static const struct page {
	uint8_t code, bytes;
	const uint8_t *data;
} pages[] = {
	{0x01, 12, recovery},
	{0x08, 20, caching},
	{0x0A, 12, control},
	{0x1C, 12, exceptions},
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))
#define ALL_BYTES 56u

static void single_pages_are_byte_exact_in_both_forms(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * PAGES; i++) {
		const struct page *p = &pages[i / 2];
		uint8_t subpage = i % 2 ? 0xFF : 0;
		struct task k;

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x1A, 8, p->code, subpage, 255, 0),
				 SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 4 + p->bytes);
		assert_int_equal(k.t.reply[0], 3 + p->bytes);
		assert_memory_equal(k.t.reply + 1, "\x00\x10\x00", 3);
		assert_memory_equal(k.t.reply + 4, p->data, p->bytes);

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x5A, 8, p->code, subpage, 0, 0, 0, 0,
				     255, 0),
				 SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 8 + p->bytes);
		assert_int_equal(k.t.reply[0], 0);
		assert_int_equal(k.t.reply[1], 6 + p->bytes);
		assert_memory_equal(k.t.reply + 2, "\x00\x10\0\0\0\0", 6);
		assert_memory_equal(k.t.reply + 8, p->data, p->bytes);
	}
}

static void all_pages_come_in_order(void **state)
{
	struct task k;

	(void)state;
	for (unsigned subpage = 0; subpage < 256; subpage += 255) {
		uint32_t at = 4;

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(
			RUN(&k, 0x1A, 0x08, 0x3F, (uint8_t)subpage, 255, 0),
			SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 4 + ALL_BYTES);
		assert_int_equal(k.t.reply[0], 3 + ALL_BYTES);
		for (unsigned i = 0; i < PAGES; at += pages[i++].bytes)
			assert_memory_equal(k.t.reply + at, pages[i].data,
					    pages[i].bytes);
	}
}

/* 8 bytes: the blocks, or as many as 32 bits hold, and their size. With LLBAA
 * 16.
 */
static void a_block_descriptor_comes_unless_it_is_not_wanted(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x1A, 0, 0x0A, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 4 + 8 + 12);
	assert_memory_equal(k.t.reply, "\x17\x00\x10\x08", 4);
	assert_memory_equal(k.t.reply + 4, "\0\x01\x23\x45\0\0\x02\0", 8);
	assert_memory_equal(k.t.reply + 12, control, 12);

	atomic_store(&k.switches.sectors, 1ull << 35);
	k.disk.block_log2 = 3;
	assert_int_equal(RUN(&k, 0x5A, 0, 0x0A, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 8 + 8 + 12);
	assert_memory_equal(k.t.reply, "\0\x1A\0\x10\0\0\0\x08", 8);
	assert_memory_equal(k.t.reply + 8, "\xff\xff\xff\xff\0\0\x10\0", 8);
	assert_int_equal(RUN(&k, 0x5A, 0x10, 0x0A, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_memory_equal(k.t.reply, "\0\x22\0\x10\x01\0\0\x10", 8);
	assert_memory_equal(k.t.reply + 8, "\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x10\0",
			    16);
	assert_memory_equal(k.t.reply + 24, control, 12);
}

/* Linux asks for 4 bytes of page 3F and looks at byte 2 only. */
static void header_alone_tells_write_protection(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 4, STORVSP_DATA_IN);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x1A, 0, 0x3F, 0, 4, 0), SCSI_GOOD);
	assert_int_equal(scsi_reply_sent(&k.t), 4);
	assert_memory_equal(k.t.reply, "\x43\x00\x90\x08", 4);
	/* nothing is cached that could be lost */
	assert_int_equal(k.t.reply[12 + 12 + 2], 0);

	task_init(&k, 8, STORVSP_DATA_IN);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 8, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply[3], 0x90);
}

static void what_can_be_changed_is_told_and_nothing_is_saved(void **state)
{
	uint8_t zeros[44] = {0};
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x1A, 8, 0x48, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply[6], 0x04); /* WCE */
	k.t.reply[6] = 0;
	assert_memory_equal(k.t.reply + 6, zeros, 18);
	assert_int_equal(RUN(&k, 0x1A, 8, 0x4A, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply[6], 0x04); /* D_SENSE */
	k.t.reply[6] = 0;
	assert_memory_equal(k.t.reply + 6, zeros, 10);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x1A, 8, 0x48, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 6, zeros, 18);
	k.disk.read_only = false;
	/* default values are the current ones, as long as none is changed */
	for (unsigned i = 0; i < PAGES; i++) {
		assert_int_equal(RUN(&k, 0x1A, 8, 0x80 | pages[i].code, 0, 255,
				     0),
				 SCSI_GOOD);
		assert_memory_equal(k.t.reply + 4, pages[i].data,
				    pages[i].bytes);
	}
	assert_int_equal(RUN(&k, 0x1A, 8, 0xC8, 0, 255, 0),
			 SCSI_NO_SAVED_PAGES);
}

static void unknown_pages_and_subpages_are_refused(void **state)
{
	(void)state;
	for (unsigned code = 0; code < 0x40; code++) {
		bool known = code == 0x3F;
		struct task k;

		for (unsigned i = 0; i < PAGES; i++)
			known |= pages[i].code == code;
		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x1A, 0, (uint8_t)code, 0, 255, 0),
				 known ? SCSI_GOOD : SCSI_BAD_FIELD);
		assert_int_equal(RUN(&k, 0x1A, 0, (uint8_t)code, 1, 255, 0),
				 SCSI_BAD_FIELD);
		assert_int_equal(
			RUN(&k, 0x5A, 0, (uint8_t)code, 1, 0, 0, 0, 0, 255, 0),
			SCSI_BAD_FIELD);
	}
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void every_allocation_length_and_buffer_cuts_without_error(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 80; alloc++) {
		for (uint32_t buffer = 0; buffer < 80; buffer++) {
			uint32_t want = least(alloc, buffer);
			uint8_t n = (uint8_t)alloc;
			struct task k;

			task_init(&k, buffer, STORVSP_DATA_IN);
			assert_int_equal(RUN(&k, 0x1A, 0, 0x3F, 0, n, 0),
					 SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 least(want, 12 + ALL_BYTES));
			assert_int_equal(
				RUN(&k, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0, n, 0),
				SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 least(want, 16 + ALL_BYTES));
			assert_int_equal(
				RUN(&k, 0x4D, 0, 0x2F, 0, 0, 0, 0, 0, n, 0),
				SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t), least(want, 12));
		}
	}
}

static void log_pages_are_byte_exact(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x4D, 0, 0x40, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 6);
	assert_memory_equal(k.t.reply, "\0\0\0\x02\0\x2f", 6);
	assert_int_equal(RUN(&k, 0x4D, 0, 0x40, 0xFF, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 10);
	assert_memory_equal(k.t.reply, "\x40\xff\0\x06\0\0\0\xff\x2f\0", 10);
	assert_int_equal(RUN(&k, 0x4D, 0, 0x6F, 0, 0, 0, 0, 0, 255, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 12);
	assert_memory_equal(k.t.reply, "\x2f\0\0\x08\0\0\x03\x04\0\0\xff\0",
			    12);
}

static void log_pages_that_are_none_are_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 0x40 * 256; i++) {
		uint8_t code = (uint8_t)(i / 256), subpage = (uint8_t)i;
		bool known = (code == 0 && (subpage == 0 || subpage == 0xFF)) ||
			     (code == 0x2F && subpage == 0);
		struct task k;

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(
			RUN(&k, 0x4D, 0, code, subpage, 0, 0, 0, 0, 255, 0),
			known ? SCSI_GOOD : SCSI_BAD_FIELD);
		/* to save, changed ones only, from parameter 1 on */
		assert_int_equal(
			RUN(&k, 0x4D, 1, code, subpage, 0, 0, 0, 0, 255, 0),
			SCSI_BAD_FIELD);
		assert_int_equal(
			RUN(&k, 0x4D, 2, code, subpage, 0, 0, 0, 0, 255, 0),
			SCSI_BAD_FIELD);
		assert_int_equal(
			RUN(&k, 0x4D, 0, code, subpage, 0, 0, 1, 0, 255, 0),
			SCSI_BAD_FIELD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_pages_are_byte_exact_in_both_forms),
		cmocka_unit_test(all_pages_come_in_order),
		cmocka_unit_test(
			a_block_descriptor_comes_unless_it_is_not_wanted),
		cmocka_unit_test(header_alone_tells_write_protection),
		cmocka_unit_test(
			what_can_be_changed_is_told_and_nothing_is_saved),
		cmocka_unit_test(unknown_pages_and_subpages_are_refused),
		cmocka_unit_test(
			every_allocation_length_and_buffer_cuts_without_error),
		cmocka_unit_test(log_pages_are_byte_exact),
		cmocka_unit_test(log_pages_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
