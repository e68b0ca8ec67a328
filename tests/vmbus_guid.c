/* SPDX-License-Identifier: BSD-2-Clause */
/* GUIDs from text. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/vmbus.h"

static void first_three_groups_are_little_endian(void **state)
{
	static const uint8_t wire[16] = {0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04,
					 0x29, 0x4d, 0xb6, 0x05, 0x72, 0xe2,
					 0xff, 0xb1, 0xdc, 0x7f};
	struct vmbus_guid g;

	(void)state;
	assert_int_equal(
		vmbus_guid_parse("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f", &g),
		0);
	assert_memory_equal(g.b, wire, 16);
	assert_int_equal(
		vmbus_guid_parse("BA6163D9-04A1-4D29-B605-72E2FFB1DC7F", &g),
		0);
	assert_memory_equal(g.b, wire, 16);
}

static void other_text_is_refused_and_the_result_left_alone(void **state)
{
	static const char *const bad[] = {
		"",
		"ba6163d9-04a1-4d29-b605-72e2ffb1dc7",
		"ba6163d9-04a1-4d29-b605-72e2ffb1dc7f0",
		"ba6163d904a1-4d29-b605-72e2ffb1dc7f-",
		"ba6163d9-04a1-4d29-b605+72e2ffb1dc7f",
		"ga6163d9-04a1-4d29-b605-72e2ffb1dc7f",
		"ba6163d9-04a1-4d29-b605-72e2ffb1dc7g",
		"{ba6163d9-04a1-4d29-b605-72e2ffb1dc7",
		"ba6163d9-04a1-4d29-b605-72e2ffb1dc f",
	};
	struct vmbus_guid g;

	(void)state;
	memset(g.b, 0x5A, sizeof(g.b));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(vmbus_guid_parse(bad[i], &g), -22);
		assert_int_equal(g.b[0], 0x5A);
		assert_int_equal(g.b[15], 0x5A);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_three_groups_are_little_endian),
		cmocka_unit_test(
			other_text_is_refused_and_the_result_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
