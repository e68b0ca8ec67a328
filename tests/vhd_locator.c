/* SPDX-License-Identifier: BSD-2-Clause */
/* Parent names: byte orders, hostile text, paths that may be tried. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "vhd/locator.h"

static void utf16_of_both_orders_decodes_to_utf8(void **state)
{
	(void)state;
	char out[32];

	assert_int_equal(vhd_utf16_decode((const uint8_t *)"a\0\xe4\0", 4,
					  VHD_UTF16_LE, out, sizeof(out)),
			 3);
	assert_string_equal(out, "a\xc3\xa4");
	assert_int_equal(vhd_utf16_decode((const uint8_t *)"\0a\x20\xac", 4,
					  VHD_UTF16_BE, out, sizeof(out)),
			 4);
	assert_string_equal(out, "a\xe2\x82\xac");
	/* U+1F600 as a pair */
	assert_int_equal(vhd_utf16_decode((const uint8_t *)"\xd8\x3d\xde\0", 4,
					  VHD_UTF16_BE, out, sizeof(out)),
			 4);
	assert_string_equal(out, "\xf0\x9f\x98\x80");
}

static void a_lone_surrogate_becomes_the_replacement_character(void **state)
{
	(void)state;
	static const uint8_t high_then_a[] = {0xd8, 0x00, 0x00, 'a'};
	static const uint8_t high_then_e000[] = {0xd8, 0x00, 0xe0, 0x00};
	static const uint8_t low[] = {0xdc, 0x00};
	static const uint8_t high_at_end[] = {0xd8, 0x00};
	char out[32];

	vhd_utf16_decode(high_then_a, 4, VHD_UTF16_BE, out, sizeof(out));
	assert_string_equal(out, "\xef\xbf\xbd"
				 "a");
	vhd_utf16_decode(high_then_e000, 4, VHD_UTF16_BE, out, sizeof(out));
	assert_string_equal(out, "\xef\xbf\xbd"
				 "\xee\x80\x80");
	vhd_utf16_decode(low, 2, VHD_UTF16_BE, out, sizeof(out));
	assert_string_equal(out, "\xef\xbf\xbd");
	vhd_utf16_decode(high_at_end, 2, VHD_UTF16_BE, out, sizeof(out));
	assert_string_equal(out, "\xef\xbf\xbd");
}

static void a_nul_in_a_name_ends_it(void **state)
{
	(void)state;
	static const uint8_t text[] = {'a', 0, 'b', 0, 0, 0, '/', 0, 'x', 0};
	char out[32];

	assert_int_equal(vhd_utf16_decode(text, sizeof(text), VHD_UTF16_LE, out,
					  sizeof(out)),
			 2);
	assert_string_equal(out, "ab");
	assert_int_equal(vhd_utf16_decode(text + 4, 6, VHD_UTF16_LE, out,
					  sizeof(out)),
			 0);
	assert_string_equal(out, "");
}

static void decoding_never_overruns_either_side(void **state)
{
	(void)state;
	uint8_t full[512];
	char out[8];

	memset(full, 0x41, sizeof(full)); /* no NUL anywhere */
	assert_int_equal(vhd_utf16_decode(full, 512, VHD_UTF16_BE, out, 8),
			 -ENAMETOOLONG);
	assert_int_equal(vhd_utf16_decode(full, 511, VHD_UTF16_BE, out, 8),
			 -EINVAL);
	assert_int_equal(vhd_utf16_decode(full, 0, VHD_UTF16_BE, out, 1), 0);
	assert_int_equal(vhd_utf16_decode(full, 0, VHD_UTF16_BE, out, 0),
			 -ENAMETOOLONG);
}

static void utf8_encodes_and_malformed_utf8_is_refused(void **state)
{
	(void)state;
	uint8_t out[16];

	assert_int_equal(vhd_utf16_encode("\xf0\x9f\x98\x80", VHD_UTF16_LE, out,
					  sizeof(out)),
			 4);
	assert_memory_equal(out, "\x3d\xd8\x00\xde", 4);
	assert_int_equal(vhd_utf16_encode("\xf0\x9f\x98\x80", VHD_UTF16_LE, out,
					  3),
			 -ENAMETOOLONG);
	assert_int_equal(vhd_utf16_encode("\xc0\x80", VHD_UTF16_LE, out, 16),
			 -EINVAL); /* overlong */
	assert_int_equal(vhd_utf16_encode("\xed\xa0\x80", VHD_UTF16_LE, out,
					  16),
			 -EINVAL); /* surrogate */
	assert_int_equal(vhd_utf16_encode("\xee\x80\x80", VHD_UTF16_LE, out,
					  16),
			 2); /* behind them */
	assert_int_equal(vhd_utf16_encode("\xf4\x90\x80\x80", VHD_UTF16_LE,
					  out, 16),
			 -EINVAL); /* beyond Unicode */
	assert_int_equal(vhd_utf16_encode("\xe2\x82", VHD_UTF16_LE, out, 16),
			 -EINVAL); /* cut */
	assert_int_equal(vhd_utf16_encode("\xff", VHD_UTF16_LE, out, 16),
			 -EINVAL);
	assert_int_equal(vhd_utf16_encode("\x80", VHD_UTF16_LE, out, 16),
			 -EINVAL);
}

struct path_case {
	uint32_t platform;
	const char *text; /* ASCII; widened for UTF-16 platforms */
	const char *path; /* NULL: refused */
};

static const struct path_case path_cases[] = {
	{VHD_LOCATOR_W2RU, ".\\parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_W2RU, "parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_W2RU, "..\\base\\p.vhd", "../base/p.vhd"},
	{VHD_LOCATOR_W2RU, ".\\.\\a\\\\b.vhd", "a/b.vhd"},
	{VHD_LOCATOR_W2RU, "\\\\server\\share\\p.vhd", "p.vhd"},
	{VHD_LOCATOR_W2RU, "/etc/passwd", "passwd"},
	{VHD_LOCATOR_W2RU, "..", NULL},
	{VHD_LOCATOR_W2RU, "a\\..", NULL},
	{VHD_LOCATOR_W2RU, ".\\", NULL},
	{VHD_LOCATOR_W2RU, "", NULL},
	{VHD_LOCATOR_W2KU, "C:\\vm\\parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_W2KU, "C:parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_W2KU, ".\\parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_WI2K, "D:\\x\\y.vhd", "y.vhd"},
	{VHD_LOCATOR_WI2R, ".\\y.vhd", "y.vhd"},
	{VHD_LOCATOR_MACX, "file://localhost/a/b%20c.vhd", "b c.vhd"},
	{VHD_LOCATOR_MACX, "file:///a/b.vhd", "b.vhd"},
	{VHD_LOCATOR_MACX, "file://./b.vhd", "b.vhd"},
	{VHD_LOCATOR_MACX, "file://./b%00.vhd", NULL},
	{VHD_LOCATOR_MACX, "file://./b%4", NULL},
	{VHD_LOCATOR_MACX, "file://./b%4g", NULL},
	{VHD_LOCATOR_MACX, "file://./%4a%4B%6f%6F.vhd", "JKoo.vhd"},
	{VHD_LOCATOR_MACX, "file://./b%/0", NULL},
	{VHD_LOCATOR_MACX, "file://./b%:0", NULL},
	{VHD_LOCATOR_MACX, "file://./b%@0", NULL},
	{VHD_LOCATOR_W2KU, "c:\\vm\\parent.vhd", "parent.vhd"},
	{VHD_LOCATOR_W2RU, "{:parent.vhd", "{:parent.vhd"},
	{VHD_LOCATOR_W2RU, "/", NULL},
	{VHD_LOCATOR_MACX, "http://x/b.vhd", NULL},
	{VHD_LOCATOR_MAC, "whatever", NULL},
	{VHD_LOCATOR_W2KU, "", NULL},
	{VHD_LOCATOR_W2RU, "", NULL},
	{0x12345678, "whatever", NULL},
};

static void each_platform_gives_the_path_to_try(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(path_cases) / sizeof(path_cases[0]);
	     i++) {
		const struct path_case *c = &path_cases[i];
		uint8_t wide[256];
		const uint8_t *in = (const uint8_t *)c->text;
		size_t len = strlen(c->text);
		char out[64];
		ssize_t n;

		if (c->platform == VHD_LOCATOR_W2RU ||
		    c->platform == VHD_LOCATOR_W2KU) {
			n = vhd_utf16_encode(c->text, VHD_UTF16_LE, wide,
					     sizeof(wide));
			assert_true(n >= 0);
			in = wide;
			len = (size_t)n;
		}
		n = vhd_locator_path(c->platform, in, len, out, sizeof(out));
		if (!c->path) {
			assert_true(n < 0);
			continue;
		}
		assert_int_equal(n, strlen(c->path));
		assert_string_equal(out, c->path);
	}
}

/* A name that ends before it begins. */
static void an_empty_path_is_refused(void **state)
{
	(void)state;
	static const uint8_t nul[2] = {0};
	char out[8];

	assert_true(vhd_locator_path(VHD_LOCATOR_W2KU, nul, 2, out, 8) < 0);
	assert_true(vhd_locator_path(VHD_LOCATOR_W2RU, nul, 2, out, 8) < 0);
}

/* Each at the size that is just enough, and a byte less. */
static void paths_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	static const char url[] = "file://./abc.vhd";
	static char longest[VHD_PARENT_PATH_MAX + 1];
	const uint8_t *b = (const uint8_t *)url;
	char out[32];
	uint8_t wide[32];

	assert_int_equal(
		vhd_locator_path(VHD_LOCATOR_MACX, b, sizeof(url) - 1, out, 10),
		7); /* "./abc.vhd" before it is tidied */
	assert_string_equal(out, "abc.vhd");
	assert_int_equal(
		vhd_locator_path(VHD_LOCATOR_MACX, b, sizeof(url) - 1, out, 9),
		-ENAMETOOLONG);
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_WI2R, b, 3, out, 4), 3);
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_WI2R, b, 4, out, 4),
			 -ENAMETOOLONG);
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_WI2R, b, 4, out, 0),
			 -EINVAL);
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_MACX,
					  (const uint8_t *)longest,
					  sizeof(longest), out, sizeof(out)),
			 -ENAMETOOLONG);
	assert_int_equal(vhd_locator_payload("a/b", wide, 10), 10);
	assert_int_equal(vhd_locator_payload("a/b", wide, 9), -ENAMETOOLONG);
	assert_int_equal(vhd_locator_payload("a/b", wide, 3), -ENAMETOOLONG);
	/* U+2F00 has the byte of a slash, and is none */
	assert_int_equal(vhd_locator_payload("\xe2\xbc\xaf", wide, 6), 6);
	assert_memory_equal(wide + 4, "\x2f\x2f", 2);
}

static void every_kind_of_locator_has_a_name(void **state)
{
	(void)state;
	static const uint32_t kinds[] = {
		VHD_LOCATOR_WI2R, VHD_LOCATOR_WI2K, VHD_LOCATOR_W2RU,
		VHD_LOCATOR_W2KU, VHD_LOCATOR_MAC,  VHD_LOCATOR_MACX};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		assert_non_null(vhd_locator_name(kinds[i]));
	assert_null(vhd_locator_name(0));
}

static void a_payload_longer_than_the_limit_is_refused(void **state)
{
	(void)state;
	static uint8_t big[VHD_LOCATOR_PAYLOAD_MAX + 2];
	char out[16];

	memset(big, 0, sizeof(big));
	big[0] = 'p';
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_W2RU, big,
					  VHD_LOCATOR_PAYLOAD_MAX, out, 16),
			 1);
	assert_int_equal(vhd_locator_path(VHD_LOCATOR_W2RU, big,
					  VHD_LOCATOR_PAYLOAD_MAX + 2, out, 16),
			 -EINVAL);
}

static void the_name_field_gives_its_last_part(void **state)
{
	(void)state;
	uint8_t name[512] = {0};
	char out[64];

	assert_true(vhd_utf16_encode("C:\\vm\\sub\\p.vhd", VHD_UTF16_BE, name,
				     sizeof(name)) > 0);
	assert_int_equal(vhd_parent_name_path(name, out, sizeof(out)), 5);
	assert_string_equal(out, "p.vhd");
	memset(name, 0, sizeof(name));
	assert_true(vhd_parent_name_path(name, out, sizeof(out)) < 0);
	memset(name, 0x41, sizeof(name)); /* 256 units, no NUL */
	assert_int_equal(vhd_parent_name_path(name, out, sizeof(out)),
			 -ENAMETOOLONG);
}

static void a_written_payload_reads_back_as_the_path(void **state)
{
	(void)state;
	uint8_t payload[128];
	char out[64];
	ssize_t n = vhd_locator_payload("../b\xc3\xa4/p.vhd", payload,
					sizeof(payload));

	assert_true(n > 0);
	assert_memory_equal(payload, ".\0.\0\\\0b\0\xe4\0", 10);
	assert_true(vhd_locator_path(VHD_LOCATOR_W2RU, payload, (size_t)n, out,
				     sizeof(out)) > 0);
	assert_string_equal(out, "../b\xc3\xa4/p.vhd");
	n = vhd_locator_payload("..p.vhd", payload, sizeof(payload));
	assert_int_equal(n, 18);
	assert_memory_equal(payload, ".\0\\\0.\0.\0p\0", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf16_of_both_orders_decodes_to_utf8),
		cmocka_unit_test(
			a_lone_surrogate_becomes_the_replacement_character),
		cmocka_unit_test(a_nul_in_a_name_ends_it),
		cmocka_unit_test(decoding_never_overruns_either_side),
		cmocka_unit_test(utf8_encodes_and_malformed_utf8_is_refused),
		cmocka_unit_test(each_platform_gives_the_path_to_try),
		cmocka_unit_test(an_empty_path_is_refused),
		cmocka_unit_test(paths_that_do_not_fit_are_refused),
		cmocka_unit_test(every_kind_of_locator_has_a_name),
		cmocka_unit_test(a_payload_longer_than_the_limit_is_refused),
		cmocka_unit_test(the_name_field_gives_its_last_part),
		cmocka_unit_test(a_written_payload_reads_back_as_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
