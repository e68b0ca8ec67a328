/* SPDX-License-Identifier: BSD-2-Clause */
/* Who made it, and which readers would cut it. */
#include "tests/lib/cm.h"
#include "vhd/format.h"

static const char *name(const char app[4], uint32_t version)
{
	return vhd_creator_name((const uint8_t *)app, version);
}

static void known_tags_have_names(void **state)
{
	(void)state;
	assert_string_equal(name("win ", 0x000a0000), "Windows 10 or later");
	assert_string_equal(name("win ", 0x00060003),
			    "Windows 8.1 / Server 2012 R2");
	assert_string_equal(name("win ", 0x00990000), "Windows / Hyper-V");
	assert_string_equal(name("vpc ", 0x00050003), "Virtual PC 2007");
	assert_string_equal(name("vpc ", 0x00010000), "Virtual PC");
	assert_string_equal(name("qemu", 0), "QEMU");
	assert_string_equal(name("tap\0", 0x00010003),
			    "XenServer / XCP-ng blktap");
	assert_string_equal(name("d2v\0", 0), "Sysinternals Disk2vhd");
	assert_string_equal(name("\0\0\0\0", 0x000a0000), "OpenVMM");
}

static void unknown_tags_have_none(void **state)
{
	(void)state;
	assert_null(name("d2v ", 0)); /* the fourth byte is a NUL */
	assert_null(name("\0\0\0\0", 1));
	assert_null(name("abcd", 0x000a0000));
}

static void readers_that_multiply_see_the_product(void **state)
{
	(void)state;
	struct vhd_info info = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = 136365211648,
		.geometry_bytes = 136363130880,
		.geometry = {65278, 16, 255},
	};

	assert_true(vhd_chs_reader_bytes(&info) == 136363130880);
	info.geometry = (struct vhd_geometry){65535, 16, 255};
	assert_true(vhd_chs_reader_bytes(&info) == 136365211648);
	info.format = VHD_FORMAT_RAW;
	info.geometry = (struct vhd_geometry){0};
	assert_true(vhd_chs_reader_bytes(&info) == 136365211648);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_tags_have_names),
		cmocka_unit_test(unknown_tags_have_none),
		cmocka_unit_test(readers_that_multiply_see_the_product),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
