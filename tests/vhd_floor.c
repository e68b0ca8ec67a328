/* SPDX-License-Identifier: BSD-2-Clause */
/* The floor headers: byte order and checked arithmetic. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "vhd/checked.h"
#include "vhd/endian.h"
#include "vhd/err.h"

static void big_endian_is_most_significant_byte_first(void **state)
{
	(void)state;
	be64 v = be64_put(0x0102030405060708);

	assert_memory_equal(v.b, "\1\2\3\4\5\6\7\10", 8);
	assert_true(be64_get(v) == 0x0102030405060708);
	assert_int_equal(be32_get(be32_put(0xfedcba98)), 0xfedcba98);
	assert_int_equal(be16_get(be16_put(0xfedc)), 0xfedc);
}

static void little_endian_is_least_significant_byte_first(void **state)
{
	(void)state;
	le64 v = le64_put(0x0807060504030201);

	assert_memory_equal(v.b, "\1\2\3\4\5\6\7\10", 8);
	assert_true(le64_get(v) == 0x0807060504030201);
	assert_int_equal(le32_get(le32_put(0xfedcba98)), 0xfedcba98);
	assert_int_equal(le16_get(le16_put(0xfedc)), 0xfedc);
}

static void arithmetic_reports_overflow(void **state)
{
	(void)state;
	uint64_t r;

	assert_false(add_ovf(UINT64_MAX - 1, 1, &r));
	assert_true(add_ovf(UINT64_MAX, 1, &r));
	assert_true(sub_ovf(0, 1, &r));
	assert_true(mul_ovf(1ull << 32, 1ull << 32, &r));
	assert_false(align_up_ovf(4097, 4096, &r));
	assert_int_equal(r, 8192);
	assert_true(align_up_ovf(UINT64_MAX, 4096, &r));
	assert_true(range_ok(10, 10, 20));
	assert_false(range_ok(10, 11, 20));
	assert_false(range_ok(UINT64_MAX, 1, UINT64_MAX));
}

static void fail_fills_the_record_and_returns_the_code(void **state)
{
	(void)state;
	struct vhd_err e = {0};

	assert_int_equal(vhd_fail(&e, -5, VHD_WHY_IO, 512, "at %d", 7), -5);
	assert_int_equal(e.code, -5);
	assert_int_equal(e.why, VHD_WHY_IO);
	assert_int_equal(e.at_bytes, 512);
	assert_string_equal(e.text, "at 7");
	assert_int_equal(vhd_fail(NULL, -5, VHD_WHY_IO, 0, "x"), -5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(big_endian_is_most_significant_byte_first),
		cmocka_unit_test(little_endian_is_least_significant_byte_first),
		cmocka_unit_test(arithmetic_reports_overflow),
		cmocka_unit_test(fail_fills_the_record_and_returns_the_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
