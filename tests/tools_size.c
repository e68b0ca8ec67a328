/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/cli/size.c: sizes typed and sizes printed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tools/cli/cli.h"

static uint64_t parsed(const char *text)
{
	uint64_t bytes = 1;

	assert_int_equal(cli_size_parse(text, &bytes), 0);
	return bytes;
}

static void refused(const char *text, int code)
{
	uint64_t bytes = 77;

	assert_int_equal(cli_size_parse(text, &bytes), code);
	assert_int_equal(bytes, 77);
}

static void plain_number_is_bytes(void **state)
{
	(void)state;
	assert_int_equal(parsed("0"), 0);
	assert_int_equal(parsed("512"), 512);
	assert_int_equal(parsed("00012"), 12);
}

static void units_are_powers_of_1024(void **state)
{
	(void)state;
	assert_int_equal(parsed("1K"), 1024);
	assert_int_equal(parsed("2m"), 2 << 20);
	assert_int_equal(parsed("512MiB"), 512 << 20);
	assert_int_equal(parsed("3gib"), UINT64_C(3) << 30);
	assert_int_equal(parsed("64T"), UINT64_C(64) << 40);
}

static void text_that_is_no_size_is_refused(void **state)
{
	static const char *const bad[] = {
		"",    " ",   "M",    "-1",   "+1",   " 1",   "1 ",   "1 M",
		"1KB", "1.5G", "0x10", "1MM", "1Mi", "1iB", "1B", "12q",
		"99999999999999999999999x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i], -EINVAL);
}

static void numbers_are_digits_between_their_bounds(void **state)
{
	static const char *const not_one[] = {
		"", " 7", "+7", "-7", "7 ", "7k", "0x7", "3", "11",
		"18446744073709551616", "99999999999999999999",
	};
	uint64_t n = 1234;

	(void)state;
	for (size_t i = 0; i < sizeof(not_one) / sizeof(not_one[0]); i++)
		assert_int_equal(cli_number_parse(not_one[i], 4, 10, &n),
				 -EINVAL);
	assert_true(n == 1234);
	assert_int_equal(cli_number_parse("4", 4, 10, &n), 0);
	assert_true(n == 4);
	assert_int_equal(cli_number_parse("0010", 4, 10, &n), 0);
	assert_true(n == 10);
	assert_int_equal(cli_number_parse("18446744073709551615", 0,
					  UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	assert_true(parsed("18446744073709551615") == UINT64_MAX);
	refused("18446744073709551616", -ERANGE);
	refused("184467440737095516150", -ERANGE);
	assert_true(parsed("16777215T") == UINT64_C(16777215) << 40);
	refused("16777216T", -ERANGE);
	refused("18014398509481984K", -ERANGE);
}

static void printed(uint64_t bytes, const char *text)
{
	char buf[CLI_SIZE_TEXT];

	assert_string_equal(cli_size_text(bytes, buf, sizeof(buf)), text);
}

static void whole_units_print_without_a_decimal(void **state)
{
	(void)state;
	printed(0, "0 bytes");
	printed(1, "1 byte");
	printed(1023, "1023 bytes");
	printed(1024, "1 KiB");
	printed(127 << 20, "127 MiB");
	printed(UINT64_C(2040) << 30, "2.0 TiB");
	printed(UINT64_C(2) << 40, "2 TiB");
}

static void other_sizes_round_to_one_decimal(void **state)
{
	(void)state;
	printed(1536, "1.5 KiB");
	printed(1024 + 50, "1.0 KiB");
	printed(1024 + 52, "1.1 KiB");
	printed((1 << 20) + 512, "1.0 MiB");
	printed((1 << 20) - 1, "1.0 MiB");
	printed((1 << 20) - 512, "1023.5 KiB");
	printed(UINT64_MAX, "16.0 EiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_number_is_bytes),
		cmocka_unit_test(units_are_powers_of_1024),
		cmocka_unit_test(text_that_is_no_size_is_refused),
		cmocka_unit_test(sizes_that_do_not_fit_are_refused),
		cmocka_unit_test(numbers_are_digits_between_their_bounds),
		cmocka_unit_test(whole_units_print_without_a_decimal),
		cmocka_unit_test(other_sizes_round_to_one_decimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
