/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SENSE (6) and (10), byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/scsitask.h"

static const uint8_t caching[20] = {0x08, 18, 0x04};
static const uint8_t control[12] = {0x0A, 10, 0, 0x10};
static const uint8_t exceptions[12] = {0x1C, 10, 0x08};

static const struct page {
	uint8_t code, bytes;
	const uint8_t *data;
} pages[] = {
	{0x08, 20, caching},
	{0x0A, 12, control},
	{0x1C, 12, exceptions},
};

static void single_pages_are_byte_exact_in_both_forms(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		const struct page *p = &pages[i];
		struct task k;

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(RUN(&k, 0x1A, 0, p->code, 0, 255, 0),
				 SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 4 + p->bytes);
		assert_int_equal(k.t.reply[0], 3 + p->bytes);
		assert_memory_equal(k.t.reply + 1, "\x00\x10\x00", 3);
		assert_memory_equal(k.t.reply + 4, p->data, p->bytes);

		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(
			RUN(&k, 0x5A, 0, p->code, 0, 0, 0, 0, 0, 255, 0),
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
		task_init(&k, 255, STORVSP_DATA_IN);
		assert_int_equal(
			RUN(&k, 0x1A, 0x08, 0x3F, (uint8_t)subpage, 255, 0),
			SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 4 + 44);
		assert_int_equal(k.t.reply[0], 3 + 44);
		assert_memory_equal(k.t.reply + 4, caching, 20);
		assert_memory_equal(k.t.reply + 24, control, 12);
		assert_memory_equal(k.t.reply + 36, exceptions, 12);
	}
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
	assert_memory_equal(k.t.reply, "\x2f\x00\x90\x00", 4);
	/* nothing is cached that could be lost */
	assert_int_equal(k.t.reply[4 + 2], 0);

	task_init(&k, 8, STORVSP_DATA_IN);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 8, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply[3], 0x90);
}

static void only_the_write_cache_can_be_changed_and_nothing_is_saved(void **state)
{
	uint8_t zeros[44] = {0};
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0x1A, 0, 0x48, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(k.t.reply[6], 0x04); /* WCE */
	k.t.reply[6] = 0;
	assert_memory_equal(k.t.reply + 6, zeros, 18);
	k.disk.read_only = true;
	assert_int_equal(RUN(&k, 0x1A, 0, 0x48, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 6, zeros, 18);
	k.disk.read_only = false;
	/* default values are the current ones */
	assert_int_equal(RUN(&k, 0x1A, 0, 0x88, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(k.t.reply + 4, caching, 20);
	assert_int_equal(RUN(&k, 0x1A, 0, 0xC8, 0, 255, 0),
			 SCSI_NO_SAVED_PAGES);
}

static void unknown_pages_and_subpages_are_refused(void **state)
{
	(void)state;
	for (unsigned code = 0; code < 0x40; code++) {
		bool known = code == 0x08 || code == 0x0A || code == 0x1C ||
			     code == 0x3F;
		struct task k;

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

static void every_allocation_length_and_buffer_cuts_without_error(void **state)
{
	(void)state;
	for (uint32_t alloc = 0; alloc < 60; alloc++) {
		for (uint32_t buffer = 0; buffer < 60; buffer++) {
			uint32_t want = alloc < buffer ? alloc : buffer;
			struct task k;

			task_init(&k, buffer, STORVSP_DATA_IN);
			assert_int_equal(
				RUN(&k, 0x1A, 0, 0x3F, 0, (uint8_t)alloc, 0),
				SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 want < 48 ? want : 48);
			assert_int_equal(RUN(&k, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0,
					     (uint8_t)alloc, 0),
					 SCSI_GOOD);
			assert_int_equal(scsi_reply_sent(&k.t),
					 want < 52 ? want : 52);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_pages_are_byte_exact_in_both_forms),
		cmocka_unit_test(all_pages_come_in_order),
		cmocka_unit_test(header_alone_tells_write_protection),
		cmocka_unit_test(
			only_the_write_cache_can_be_changed_and_nothing_is_saved),
		cmocka_unit_test(unknown_pages_and_subpages_are_refused),
		cmocka_unit_test(
			every_allocation_length_and_buffer_cuts_without_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
