/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of malformed images (tests/lib/malformed.h), 1 to 15: tables and
 * what they are made of.
 *
 *    1-5  block table        6-11  header and table size   12-15  block size
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/malformed.h"

/* ------------------------------------------------------------ block table -- */

static void in_locator(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(IMG_THREE_BYTES, MIB, 3) / 512) + 1);
}

static void r01_an_entry_over_metadata_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("entry 0", BAT_IN_METADATA, BAT_IN_METADATA,
			  GIVES_UP),
		MALFORMED("in header", BAT_IN_METADATA, BAT_IN_METADATA,
			  GIVES_UP),
		MALFORMED("in table", BAT_IN_METADATA, BAT_IN_METADATA,
			  GIVES_UP),
	};
	static const struct malformed child =
		MALFORMED_BY(in_locator, img_child, BAT_IN_METADATA,
			     BAT_IN_METADATA, GIVES_UP);
	struct memfile *m = img_three();
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	malformed_row(cases, COUNT(cases));
	malformed_row(&child, 1);
	img_harm(m, "in table");
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e),
			 -EUCLEAN);
	assert_non_null(strstr(e.text, "block 1 ")); /* reported by number */
	memfile_destroy(m);
}

static void r02_equal_entries_are_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("same place", BAT_DUPLICATE, BAT_DUPLICATE, GIVES_UP),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r03_blocks_that_overlap_are_refused,
    MALFORMED("overlap", BAT_OVERLAP, BAT_OVERLAP, GIVES_UP))

static void r04_an_entry_past_the_end_is_refused_and_salvaged_as_zero(
	void **state)
{
	const struct vhd_salvage_opts o = {.now_unix_s = FOUND_NOW_S};
	static const struct malformed cases[] = {
		MALFORMED("entry FFFFFFFE", BAT_PAST_END, BAT_PAST_END,
			  GIVES_UP),
		MALFORMED("on the footer", BAT_PAST_END, BAT_PAST_END,
			  GIVES_UP),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m = malformed_image(&cases[i]), *out;
		struct vhd_salvage_result r = malformed_salvage(m, &o, &out);

		assert_int_equal(r.lost_bytes, MIB);
		assert_int_equal(r.copied_bytes, 3 * MIB);
		assert_int_equal(malformed_byte(out, MIB), 0);
		assert_int_equal(malformed_byte(out, 2 * MIB), img_byte(2));
		memfile_destroy(out);
		memfile_destroy(m);
	}
}

/* Sector 2^23 is byte 2^32. In 32 bits it would be 0, and the sector behind
 * it block 2's bitmap.
 */
static void entry_4g(struct memfile *m)
{
	img_bat(m, 1, 1u << 23);
}

static void entry_4g_block(struct memfile *m)
{
	img_bat(m, 1,
		(1u << 23) +
			(uint32_t)(img_place(IMG_THREE_BYTES, MIB, 0) / 512));
}

static void r05_an_entry_beyond_32_bits_of_bytes_does_not_wrap(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED_BY(entry_4g, NULL, BAT_PAST_END, BAT_PAST_END,
			     GIVES_UP),
		MALFORMED_BY(entry_4g_block, NULL, BAT_PAST_END, BAT_PAST_END,
			     GIVES_UP),
	};
	struct memfile *m = img_three();
	uint8_t f[512], ones[512], data[512];
	uint64_t at = 1ull << 32;

	(void)state;
	malformed_row(cases, COUNT(cases));
	/* A block that is really there is found. */
	memfile_peek(m, f, 512, img_end(m));
	memset(ones, 0xff, 512);
	memset(data, 0x77, 512);
	img_poke(m, ones, 512, at);
	img_poke(m, data, 512, at + 512);
	img_poke(m, f, 512, at + 512 + MIB);
	img_bat(m, 1, 1u << 23);
	assert_int_equal(malformed_byte(m, MIB), 0x77);
	assert_int_equal(malformed_byte(m, MIB + 512), 0);
	memfile_destroy(m);
}

/* ------------------------------------------------ header and table size -- */

static void r06_a_wrong_header_sum_is_refused_but_can_be_inspected(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("header sum", HEADER_CHECKSUM, HEADER_CHECKSUM,
			  MENDS),
	};
	struct memfile *m = malformed_image(&cases[0]);
	struct vhd *img = NULL;
	struct vhd_err e;
	uint8_t b[512];

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, WHY(HEADER_CHECKSUM));
	assert_int_equal(vhd_read(img, 2 * MIB, b, 512, &e), 0);
	assert_int_equal(b[0], img_byte(2));
	vhd_abandon(img);
	memfile_destroy(m);
}

static void r07_of_two_footers_the_one_with_a_right_sum_counts(void **state)
{
	static const struct malformed cases[] = {
		ODD("footer sum", VHD_NOTE_DIRTY, FOOTER_CHECKSUM, E, MENDS),
		ODD("copy sum", VHD_NOTE_DIRTY, COPY_CHECKSUM, E, MENDS),
		MALFORMED("both sums", FOOTER_CHECKSUM, FOOTER_CHECKSUM, MENDS),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

/* The table has its 4 GiB in the file, and the disk needs 16 bytes of it. */
static void a_table_of_4_gib_costs_no_memory(void)
{
	struct memfile *m = img_bare(IMG_THREE_BYTES, MIB, NULL, 0);
	const uint64_t table = 1u << 20, len = 1ull << 32;
	uint8_t f[512], none[512];
	struct vhd *img = NULL;
	struct vhd_err e;

	memfile_peek(m, f, 512, 0);
	memset(none, 0xff, 512);
	img_poke(m, none, 512, table);
	img_poke(m, f, 512, table + len);
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, table);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 1u << 30);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_TABLE_LONG);
	assert_int_equal(vhd_get_info(img)->blocks, 4);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void r08_entries_times_four_do_not_wrap(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("2^30 entries", TABLE_PAST_END, TABLE_PAST_END,
			  REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
	a_table_of_4_gib_costs_no_memory();
}

static void r09_a_table_without_entries_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("no entries", TABLE_ENTRIES, TABLE_ENTRIES, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r10_a_table_shorter_than_the_disk_is_refused,
    MALFORMED("few entries", TABLE_SHORT, TABLE_SHORT, REFUSES))

/* The file ends where the table does, or one sector earlier. */
static void r11_a_table_must_lie_within_the_file(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("2^30 entries", TABLE_PAST_END, TABLE_PAST_END,
			  REFUSES),
		MALFORMED("a table too long", TABLE_PAST_END, TABLE_PAST_END,
			  REFUSES),
	};
	struct memfile *m = img_bare(IMG_THREE_BYTES, MIB, NULL, 0);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	malformed_row(cases, COUNT(cases));
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 128);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 129);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, WHY(TABLE_PAST_END));
	memfile_destroy(m);
}

/* ------------------------------------------------------------- block size -- */

static void r12_blocks_of_0_bytes_are_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("block 0", BLOCK_SIZE, BLOCK_SIZE, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r13_a_block_size_of_no_power_of_two_is_refused,
    MALFORMED("block 3M", BLOCK_SIZE, BLOCK_SIZE, REFUSES))

/* An empty disk of one block of this size. */
static enum vhd_why why_of_block(uint32_t block)
{
	struct memfile *m = img_bare(4096, 4096, NULL, 0);
	struct vhd *img = NULL;
	struct vhd_err e = {0};

	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, block);
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES,
		  block < 4096 ? 4096 / block : 1);
	if (!img_open(m, VHD_FORMAT_AUTO, false, &img, &e))
		vhd_abandon(img);
	memfile_destroy(m);
	return e.why;
}

static void r14_blocks_below_4_kib_are_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("block 256", BLOCK_SIZE, BLOCK_SIZE, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(why_of_block(512), WHY(BLOCK_SIZE));
	assert_int_equal(why_of_block(2048), WHY(BLOCK_SIZE));
	assert_int_equal(why_of_block(4096), WHY(NONE));
}

static void r15_blocks_above_256_mib_are_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("block 2G", BLOCK_SIZE, BLOCK_SIZE, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(why_of_block(256u << 20), WHY(NONE));
	assert_int_equal(why_of_block(512u << 20), WHY(BLOCK_SIZE));
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(r01_an_entry_over_metadata_is_refused),
		T(r02_equal_entries_are_refused),
		T(r03_blocks_that_overlap_are_refused),
		T(r04_an_entry_past_the_end_is_refused_and_salvaged_as_zero),
		T(r05_an_entry_beyond_32_bits_of_bytes_does_not_wrap),
		T(r06_a_wrong_header_sum_is_refused_but_can_be_inspected),
		T(r07_of_two_footers_the_one_with_a_right_sum_counts),
		T(r08_entries_times_four_do_not_wrap),
		T(r09_a_table_without_entries_is_refused),
		T(r10_a_table_shorter_than_the_disk_is_refused),
		T(r11_a_table_must_lie_within_the_file),
		T(r12_blocks_of_0_bytes_are_refused),
		T(r13_a_block_size_of_no_power_of_two_is_refused),
		T(r14_blocks_below_4_kib_are_refused),
		T(r15_blocks_above_256_mib_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
