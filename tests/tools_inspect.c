/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/inspect_*.c: where file systems are looked for, and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tools/inspect/inspect.h"

static void put_le(uint8_t *p, uint64_t n, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t)(n >> (8 * i));
}

static void ntfs_sector(uint8_t s[512], uint8_t cluster, uint64_t mft)
{
	memset(s, 0, 512);
	memcpy(s + 3, "NTFS    ", 8);
	put_le(s + 0x0b, 512, 2);
	s[0x0d] = cluster;
	put_le(s + 0x30, mft, 8);
	put_le(s + 0x38, 2, 8);
}

static void ntfs_hints_are_its_two_file_tables(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512];

	(void)state;
	ntfs_sector(s, 8, 786432);
	assert_int_equal(inspect_hints(s, r), 2);
	assert_int_equal(r[0].off_bytes, UINT64_C(3) << 30);
	assert_int_equal(r[1].off_bytes, 8192);
	assert_true(r[0].len_bytes >= 4096);
}

static void ntfs_cluster_may_be_a_negative_power_of_two(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512];

	(void)state;
	ntfs_sector(s, 0xf4, 4); /* 2^12 sectors: 2 MiB */
	assert_int_equal(inspect_hints(s, r), 2);
	assert_int_equal(r[0].off_bytes, 8 << 20);
}

static void hints_that_overflow_are_dropped(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512];

	(void)state;
	ntfs_sector(s, 8, UINT64_MAX);
	assert_int_equal(inspect_hints(s, r), 1);
	assert_int_equal(r[0].off_bytes, 8192);
}

static void fat32_hints_are_its_table_and_root(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512] = { 0 };

	(void)state;
	memcpy(s + 82, "FAT32   ", 8);
	put_le(s + 11, 512, 2);
	s[13] = 8;
	put_le(s + 14, 32, 2);
	s[16] = 2;
	put_le(s + 36, 1000, 4);
	put_le(s + 44, 5, 4);
	assert_int_equal(inspect_hints(s, r), 2);
	assert_int_equal(r[0].off_bytes, 32 * 512);
	assert_int_equal(r[1].off_bytes, (32 + 2000 + 3 * 8) * 512);
	put_le(s + 44, 1, 4); /* clusters count from 2 */
	assert_int_equal(inspect_hints(s, r), 1);
}

static void exfat_hints_are_its_table_and_root(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512] = { 0 };

	(void)state;
	memcpy(s + 3, "EXFAT   ", 8);
	put_le(s + 80, 128, 4);
	put_le(s + 88, 4096, 4);
	put_le(s + 96, 4, 4);
	s[108] = 9;
	s[109] = 6;
	assert_int_equal(inspect_hints(s, r), 2);
	assert_int_equal(r[0].off_bytes, 128 * 512);
	assert_int_equal(r[1].off_bytes, (4096 + 2 * 64) * 512);
}

static void bitlocker_hints_are_its_three_metadata_blocks(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512] = { 0 };

	(void)state;
	memcpy(s + 3, "-FVE-FS-", 8);
	put_le(s + 176, 1 << 20, 8);
	put_le(s + 184, 2 << 20, 8);
	put_le(s + 192, 3 << 20, 8);
	assert_int_equal(inspect_hints(s, r), 3);
	assert_int_equal(r[2].off_bytes, 3 << 20);
}

static void unknown_sectors_give_no_hint(void **state)
{
	struct inspect_range r[INSPECT_HINTS_MAX];
	uint8_t s[512];

	(void)state;
	for (int fill = 0; fill < 256; fill += 255) {
		memset(s, fill, sizeof(s));
		assert_int_equal(inspect_hints(s, r), 0);
	}
}

static void every_note_has_a_name_and_a_text(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VHD_NOTE_COUNT_BITS; i++) {
		enum vhd_note note = (enum vhd_note)(1u << i);

		assert_string_not_equal(inspect_note_name(note), "unknown");
		assert_string_not_equal(vhd_note_text(note), "");
	}
	assert_string_equal(
		inspect_note_name((enum vhd_note)(1u << VHD_NOTE_COUNT_BITS)),
		"unknown");
}

static struct vhd_info sized(const char app[4], uint64_t size, uint16_t c)
{
	struct vhd_info info = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = size,
		.geometry = { c, 4, 17 },
		.geometry_bytes = (uint64_t)c * 4 * 17 * 512,
	};

	memcpy(info.creator_app, app, 4);
	return info;
}

static void readers_of_the_geometry_depend_on_the_creator(void **state)
{
	const uint64_t mib = 1 << 20;
	struct vhd_info win = sized("win ", mib, 30);
	struct vhd_info vpc = sized("vpc ", mib, 30);
	struct vhd_info azure = sized("wa\0\0", mib, 30);
	struct vhd_info exact = sized("vpc ", 30 * 4 * 17 * 512, 30);

	(void)state;
	assert_string_equal(inspect_chs_readers(&win),
			    "Virtual PC and QEMU before 2.6");
	assert_string_equal(inspect_chs_readers(&vpc),
			    "Virtual PC and every QEMU");
	assert_string_equal(inspect_chs_readers(&azure),
			    "Virtual PC and QEMU before 10.0");
	assert_string_equal(inspect_chs_readers(&exact), "");
}

static void partition_types_are_known_by_table_and_code(void **state)
{
	(void)state;
	assert_string_equal(inspect_part_type("dos", "0x83"), "Linux");
	assert_string_equal(
		inspect_part_type("gpt",
				  "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
		"EFI system");
	assert_null(inspect_part_type("gpt", "0x83"));
	assert_null(inspect_part_type("dos", "0x84"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ntfs_hints_are_its_two_file_tables),
		cmocka_unit_test(ntfs_cluster_may_be_a_negative_power_of_two),
		cmocka_unit_test(hints_that_overflow_are_dropped),
		cmocka_unit_test(fat32_hints_are_its_table_and_root),
		cmocka_unit_test(exfat_hints_are_its_table_and_root),
		cmocka_unit_test(bitlocker_hints_are_its_three_metadata_blocks),
		cmocka_unit_test(unknown_sectors_give_no_hint),
		cmocka_unit_test(every_note_has_a_name_and_a_text),
		cmocka_unit_test(readers_of_the_geometry_depend_on_the_creator),
		cmocka_unit_test(partition_types_are_known_by_table_and_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
