/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of malformed images, one case a row: what is refused and for
 * which reason, what opens and with which note, what a check says of it and
 * what a repair does. A refused image is left as it was.
 *
 *    1-5  block table        6-11  header and table size   12-15  block size
 *  16-22  places and types  23-28  size and length         29-31  footers
 *  32-36  parents           37-41  oddities
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/malformed.h"
#include "vhd/image.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WHY(x)	 VHD_WHY_##x
#define FIND(x)	 VHD_FIND_##x
/* A row of nothing but cases. */
#define ROW(name, ...)                                                         \
	static void name(void **state)                                         \
	{                                                                      \
		static const struct malformed cases[] = {__VA_ARGS__};         \
                                                                               \
		(void)state;                                                   \
		malformed_row(cases, COUNT(cases));                            \
	}

#define E VHD_SEVERITY_ERROR
#define W VHD_SEVERITY_WARNING

/* ------------------------------------------------------------ block table --
 */

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

/* ------------------------------------------------------------- block size --
 */

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

/* -------------------------------------------------------- places and types --
 */

static void r16_an_impossible_place_of_the_table_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("table 0", TABLE_OFFSET, TABLE_OFFSET, REFUSES),
		MALFORMED("table odd", TABLE_OFFSET, TABLE_OFFSET, REFUSES),
		MALFORMED("table header", TABLE_OFFSET, TABLE_OFFSET, REFUSES),
		MALFORMED("table far", TABLE_PAST_END, TABLE_PAST_END, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r17_an_impossible_place_of_the_header_is_refused,
    MALFORMED("data offset 0", DATA_OFFSET, DATA_OFFSET, REFUSES),
    MALFORMED("data offset 256", DATA_OFFSET, DATA_OFFSET, REFUSES),
    MALFORMED("data offset odd", DATA_OFFSET, DATA_OFFSET, REFUSES),
    MALFORMED("data offset far", DATA_OFFSET, DATA_OFFSET, REFUSES))

static void minor_versions(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_VERSION, 0x0001ffff);
	img_footers32(m, IMG_F_VERSION, 0x0001ffff);
}

/* Only the major number is a break of compatibility. */
static void r18_a_header_of_version_2_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("header version", HEADER_VERSION, HEADER_VERSION,
			  REFUSES),
	};
	struct memfile *m = img_three();

	(void)state;
	malformed_row(cases, COUNT(cases));
	minor_versions(m);
	assert_int_equal(malformed_byte(m, 2 * MIB), img_byte(2));
	memfile_destroy(m);
}

static void r19_a_footer_of_version_2_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("version", FOOTER_VERSION, FOOTER_VERSION, REFUSES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r20_an_unknown_disk_type_is_refused,
    MALFORMED("type 0", FOOTER_TYPE, FOOTER_TYPE, REFUSES),
    MALFORMED("type 1", FOOTER_TYPE, FOOTER_TYPE, REFUSES),
    MALFORMED("type 5", FOOTER_TYPE, FOOTER_TYPE, REFUSES),
    MALFORMED("type", FOOTER_TYPE, FOOTER_TYPE, REFUSES),
    MALFORMED("type 7", FOOTER_TYPE, FOOTER_TYPE, REFUSES))

static void both_fixed(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, IMG_TYPE_FIXED);
}

static void both_fixed_that_fit(struct memfile *m)
{
	both_fixed(m);
	img_footers64(m, IMG_F_CURRENT_SIZE, memfile_len(m) - 512);
}

/* The trailing footer decides; where the length does not bear it out, the
 * caller is asked to name the format.
 */
ROW(r21_a_fixed_footer_over_a_dynamic_layout_decides_by_length,
    MALFORMED_BY(both_fixed, NULL, FIXED_LENGTH, FILE_LENGTH, REFUSES),
    ODD_BY(both_fixed_that_fit, NULL, VHD_NOTE_FORGED_START, FORGED_START, W,
	   LEAVES))

ROW(r22_a_dynamic_disk_without_its_header_is_refused,
    MALFORMED("cookie", HEADER_COOKIE, HEADER_COOKIE, REFUSES))

/* --------------------------------------------------------- size and length --
 */

static void r23_a_child_without_its_parent_gives_nothing(void **state)
{
	struct memfile *m = img_child();
	struct vhd *img = NULL;
	const struct vhd_finding *f;
	struct found all;
	struct vhd_err e;
	uint8_t b[512];

	(void)state;
	for (int rw = 0; rw < 2; rw++)
		assert_refused(img_open(m, VHD_FORMAT_AUTO, rw, &img, &e), &e,
			       ENOTSUP, WHY(NEEDS_PARENT));
	found_in(m, &all);
	f = found_find(&all, FIND(PARENT));
	assert_non_null(f);
	assert_int_equal(f->hresult, 0xc03a000du);
	/* Told to do without: what the parent has is no zeros. */
	assert_int_equal(malformed_open(m, false, &img, &e), 0);
	assert_refused(vhd_read(img, MIB, b, 512, &e), &e, ENOTSUP,
		       WHY(NEEDS_PARENT));
	vhd_abandon(img);
	memfile_destroy(m);
}

static struct memfile *empty_fixed(void)
{
	return img_fixed(0);
}

ROW(r24_a_disk_of_0_bytes_is_refused,
    MALFORMED("size 0", SIZE_ZERO, SIZE, REFUSES),
    MALFORMED_BY(NULL, empty_fixed, SIZE_ZERO, SIZE, REFUSES))

ROW(r25_a_size_of_no_whole_sectors_is_refused,
    MALFORMED("size odd", SIZE_ALIGN, SIZE, REFUSES))

static void r26_a_size_beyond_the_format_is_refused(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("size huge", SIZE_LIMIT, SIZE, REFUSES),
	};
	struct memfile *m = img_bare(2040ull << 30, 2 * MIB, NULL, 0);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	img_footers64(m, IMG_F_CURRENT_SIZE, (2040ull << 30) + 512);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, WHY(SIZE_LIMIT));
	memfile_destroy(m);
}

/* A fixed disk of 64 KiB with 4 KiB less, or more, in front of its footer. */
static struct memfile *fixed_of(uint64_t there)
{
	struct memfile *m = img_fixed(64 << 10);
	uint8_t f[512], data[512];

	memfile_peek(m, f, 512, 64 << 10);
	memfile_resize(m, there);
	memset(data, 0x3c, sizeof(data));
	img_poke(m, data, 512, 0);
	img_poke(m, f, 512, there);
	return m;
}

static struct memfile *fixed_short(void)
{
	return fixed_of(60 << 10);
}

static struct memfile *fixed_long(void)
{
	return fixed_of(68 << 10);
}

static void r27_a_fixed_disk_of_another_length_is_refused_and_salvaged(
	void **state)
{
	static const struct malformed cases[] = {
		MALFORMED_BY(NULL, fixed_short, FIXED_LENGTH, FILE_LENGTH,
			     REFUSES),
		MALFORMED_BY(NULL, fixed_long, FIXED_LENGTH, FILE_LENGTH,
			     REFUSES),
	};
	const struct vhd_salvage_opts o = {.now_unix_s = FOUND_NOW_S};

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m = cases[i].make(), *out;
		struct vhd_salvage_result r = malformed_salvage(m, &o, &out);

		assert_int_equal(r.size_bytes, 64 << 10);
		assert_int_equal(r.lost_bytes, i ? 0 : 4 << 10);
		assert_int_equal(malformed_byte(out, 0), 0x3c);
		assert_int_equal(malformed_byte(out, (64 << 10) - 1), 0);
		memfile_destroy(out);
		memfile_destroy(m);
	}
}

static void r28_a_file_cut_in_a_block_is_refused_and_salvaged(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("cut", BAT_PAST_END, BAT_CUT, GIVES_UP),
		MALFORMED("file cut", BAT_PAST_END, BAT_CUT, GIVES_UP),
	};
	const struct vhd_salvage_opts o = {.now_unix_s = FOUND_NOW_S};
	struct memfile *m = malformed_image(&cases[1]), *out;
	struct vhd_salvage_result r = malformed_salvage(m, &o, &out);

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(r.lost_bytes, MIB / 2);
	assert_int_equal(malformed_byte(out, 3 * MIB), img_byte(3));
	assert_int_equal(malformed_byte(out, 3 * MIB + MIB / 2 - 1),
			 img_byte(3));
	assert_int_equal(malformed_byte(out, 3 * MIB + MIB / 2), 0);
	memfile_destroy(out);
	memfile_destroy(m);
}

/* ---------------------------------------------------------------- footers --
 */

static void r29_without_a_trailing_footer_the_copy_serves(void **state)
{
	static const struct malformed cases[] = {
		ODD("footer gone", VHD_NOTE_DIRTY, FOOTER_MISSING, E, MENDS),
		ODD("footer C7", VHD_NOTE_DIRTY, FOOTER_MISSING, E, MENDS),
		ODD("footer cut off", VHD_NOTE_DIRTY, FOOTER_MISSING, E, MENDS),
		{.what = "footer 511",
		 .rw = WHY(READ_ONLY_LAYOUT),
		 .notes = VHD_NOTE_FOOTER_511,
		 .find = FIND(FOOTER_511),
		 .severity = W,
		 .mends = MENDS},
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

ROW(r30_without_a_copy_the_trailing_footer_serves,
    ODD("copy gone", VHD_NOTE_DIRTY, COPY_MISSING, E, MENDS),
    ODD("copy sum", VHD_NOTE_DIRTY, COPY_CHECKSUM, E, MENDS))

/* What a guest wrote to LBA 0 to 3 of its own disk. */
static struct memfile *forged(void)
{
	struct memfile *m = img_fixed(MIB), *other = img_three();
	uint8_t start[2048];

	memfile_peek(other, start, sizeof(start), 0);
	img_poke(m, start, sizeof(start), 0);
	memfile_destroy(other);
	return m;
}

static void r31_a_forged_header_in_a_fixed_disk_is_its_guests_data(void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(NULL, forged, VHD_NOTE_FORGED_START, FORGED_START, W,
		       LEAVES),
	};
	struct memfile *m = forged();

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(malformed_byte(m, 0), 'c');
	memfile_destroy(m);
}

/* ---------------------------------------------------------------- parents --
 */

static void locator(struct memfile *m, uint32_t len, uint64_t at)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 8, len);
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 16, at);
}

#define PAYLOAD (img_place(IMG_THREE_BYTES, MIB, 3) + 512)

static void locator_past_file(struct memfile *m)
{
	locator(m, 60000, PAYLOAD);
}

static void locator_64k(struct memfile *m)
{
	uint8_t f[512];

	memfile_peek(m, f, 512, img_end(m));
	img_poke_zeros(m, 512, img_end(m));
	img_poke(m, f, 512, PAYLOAD + (128 << 10));
	locator(m, (64 << 10) + 2, PAYLOAD);
}

static void locator_odd(struct memfile *m)
{
	locator(m, 13, PAYLOAD);
}

static void r32_a_locator_of_impossible_length_is_ignored(void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(locator_past_file, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
		ODD_BY(locator_64k, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_LENGTH, W, LEAVES),
		ODD_BY(locator_odd, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_LENGTH, W, LEAVES),
	};
	char text[1024];

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m = malformed_image(&cases[i]);
		struct vhd *img = NULL;
		struct vhd_err e;

		/* Only the name field is left, which says the same. */
		assert_int_equal(malformed_open(m, false, &img, &e), 0);
		assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)),
				 5);
		assert_string_equal(text, "p.vhd");
		assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)),
				 -ENOENT);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void locator_in_header(struct memfile *m)
{
	locator(m, 14, IMG_HEADER + 64);
}

static void locator_in_table(struct memfile *m)
{
	locator(m, 14, IMG_TABLE);
}

/* Nothing is written through it, either: a repair leaves the file alone. */
static void r33_a_locator_over_other_metadata_is_ignored(void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(locator_in_header, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
		ODD_BY(locator_in_table, img_child, VHD_NOTE_LOCATOR_BAD,
		       LOCATOR_PLACE, W, LEAVES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static void name_half_pair(struct memfile *m)
{
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\0a\xdc\0\0b\0\0", 10);
}

static void name_endless(struct memfile *m)
{
	uint8_t name[512];

	for (size_t i = 0; i < sizeof(name); i += 2)
		memcpy(name + i, "\0x", 2);
	img_set(m, IMG_HEADER, 1024, 64, name, sizeof(name));
}

static void r34_a_parents_name_that_is_no_text_is_shown_as_far_as_it_goes(
	void **state)
{
	static const struct malformed cases[] = {
		ODD_BY(name_half_pair, img_child, 0, PARENT_NAME, W, LEAVES),
		ODD_BY(name_endless, img_child, 0, PARENT_NAME, W, LEAVES),
	};
	/* The locator comes first. */
	static const int lengths[] = {8, 256};
	char text[1024];

	(void)state;
	malformed_row(cases, COUNT(cases));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct memfile *m = malformed_image(&cases[i]);
		struct vhd *img = NULL;
		struct vhd_err e;

		assert_int_equal(malformed_open(m, false, &img, &e), 0);
		assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)),
				 lengths[i]);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

/* One layer of an empty chain, told that a parent will come. */
static struct vhd *layer(struct memfile *m, bool larger_child)
{
	const struct vhd_open_opts o = {
		.parent_dir = ".",
		.larger_child = larger_child,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	return img;
}

static void link_is(struct vhd *child, struct vhd *parent, enum vhd_why why)
{
	struct vhd_err e = {0};
	int rc = vhd_chain_set_parent(child, parent, &e);

	assert_int_equal(!!rc, why != WHY(NONE));
	assert_int_equal(e.why, why);
	if (rc)
		vhd_abandon(parent);
}

/* Ids are what counts: two files may hold the same disk. */
static void r35_circles_and_chains_without_end_are_refused(void **state)
{
	struct memfile *own = diff_empty(1, 8192, 4096);
	struct memfile *a = diff_empty(2, 8192, 4096);
	struct memfile *b = diff_empty(1, 8192, 4096);
	struct memfile *stack[VHD_CHAIN_MAX + 1];
	struct vhd *child, *top = NULL;
	uint8_t id[16];

	(void)state;
	diff_id(id, 1);
	diff_parent_id(own, id); /* its own parent */
	child = layer(own, false);
	link_is(child, layer(own, false), WHY(CHAIN_CYCLE));
	vhd_abandon(child);
	diff_id(id, 2);
	diff_parent_id(b, id); /* a over b over a */
	child = layer(a, false);
	top = layer(b, false);
	link_is(top, layer(a, false), WHY(NONE));
	link_is(child, top, WHY(CHAIN_CYCLE));
	vhd_abandon(child);
	top = NULL;
	memfile_destroy(own);
	memfile_destroy(a);
	memfile_destroy(b);
	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++) {
		stack[i] = diff_empty(i + 1, 8192, 4096);
		child = layer(stack[i], false);
		if (top)
			link_is(child, top,
				i < VHD_CHAIN_MAX ? WHY(NONE)
						  : WHY(CHAIN_DEPTH));
		top = child;
	}
	vhd_abandon(top);
	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++)
		memfile_destroy(stack[i]);
}

static void r36_a_parent_of_another_size_is_refused(void **state)
{
	struct memfile *low = diff_empty(1, 8192, 4096);
	struct memfile *small = diff_empty(2, 4096, 4096);
	struct memfile *large = diff_empty(2, 16384, 4096);
	struct vhd *child;

	(void)state;
	child = layer(small, false);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	child = layer(small, true);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	child = layer(large, false);
	link_is(child, layer(low, false), WHY(PARENT_SIZE));
	vhd_abandon(child);
	/* Where it is allowed, what the parent lacks is zero. */
	child = layer(large, true);
	link_is(child, layer(low, false), WHY(NONE));
	{
		struct vhd_run run;
		struct vhd_err e;
		unsigned at;

		assert_int_equal(vhd_map_chain(child, 16, 16, &run, &at, &e),
				 0);
		assert_int_equal(run.kind, VHD_RUN_HOLE);
	}
	vhd_abandon(child);
	memfile_destroy(low);
	memfile_destroy(small);
	memfile_destroy(large);
}

/* --------------------------------------------------------------- oddities --
 */

static void r37_a_further_header_is_never_followed(void **state)
{
	static const struct malformed cases[] = {
		ODD("next", VHD_NOTE_NEXT_OFFSET, NEXT_OFFSET, W, MENDS),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static struct memfile *blktap(void)
{
	return img_blktap(0xf0);
}

static void batmap_far(struct memfile *m)
{
	uint8_t b[8];

	img_put64(b, 1ull << 40);
	img_poke(m, b, 8, IMG_BATMAP + 8);
}

static void batmap_long(struct memfile *m)
{
	uint8_t b[4];

	img_put32(b, UINT32_MAX);
	img_poke(m, b, 4, IMG_BATMAP + 16);
}

/* Its last two bytes are the map's first. */
static void batmap_own(struct memfile *m)
{
	uint8_t b[8];

	img_put64(b, IMG_BATMAP + 510);
	img_poke(m, b, 8, IMG_BATMAP + 8);
}

ROW(r38_a_batmap_over_its_own_header_is_ignored,
    ODD_BY(batmap_own, blktap, VHD_NOTE_BATMAP | VHD_NOTE_BATMAP_BAD,
	   BATMAP_PLACE, W, MENDS))

#define BATMAP_OUTSIDE(by)                                                     \
	{                                                                      \
		.harm = by, .make = blktap, .rw = WHY(READ_ONLY_LAYOUT),       \
		.notes = VHD_NOTE_BATMAP | VHD_NOTE_BATMAP_BAD,                \
		.find = FIND(BATMAP_PLACE), .severity = W, .mends = MENDS      \
	}
ROW(r38_a_batmap_outside_the_file_is_only_read, BATMAP_OUTSIDE(batmap_far),
    BATMAP_OUTSIDE(batmap_long))

static void r39_data_under_a_0_bit_reads_as_zero(void **state)
{
	static const struct malformed cases[] = {
		ODD("hidden data", 0, BITMAP_HIDES, W, LEAVES),
	};
	struct memfile *m = malformed_image(&cases[0]);

	(void)state;
	malformed_row(cases, COUNT(cases));
	/* Bit 7 of byte 2: sector 23 of block 0. */
	assert_int_equal(malformed_byte(m, 22 * 512), img_byte(0));
	assert_int_equal(malformed_byte(m, 23 * 512), 0);
	memfile_destroy(m);
}

static void r40_a_saved_state_is_noted(void **state)
{
	static const struct malformed cases[] = {
		ODD("saved state", VHD_NOTE_SAVED_STATE, SAVED_STATE, W,
		    LEAVES),
	};

	(void)state;
	malformed_row(cases, COUNT(cases));
}

static void r41_a_poisoned_image_is_refused_and_explained(void **state)
{
	static const struct malformed cases[] = {
		MALFORMED("poison", POISON_COOKIE, POISON_COOKIE, REFUSES),
		MALFORMED("copy poisoned", POISON_COOKIE, POISON_COOKIE,
			  REFUSES),
	};
	struct memfile *m = malformed_image(&cases[0]);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	malformed_row(cases, COUNT(cases));
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
			 -EUCLEAN);
	assert_non_null(strstr(e.text, "XenServer"));
	memfile_destroy(m);
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
		T(r16_an_impossible_place_of_the_table_is_refused),
		T(r17_an_impossible_place_of_the_header_is_refused),
		T(r18_a_header_of_version_2_is_refused),
		T(r19_a_footer_of_version_2_is_refused),
		T(r20_an_unknown_disk_type_is_refused),
		T(r21_a_fixed_footer_over_a_dynamic_layout_decides_by_length),
		T(r22_a_dynamic_disk_without_its_header_is_refused),
		T(r23_a_child_without_its_parent_gives_nothing),
		T(r24_a_disk_of_0_bytes_is_refused),
		T(r25_a_size_of_no_whole_sectors_is_refused),
		T(r26_a_size_beyond_the_format_is_refused),
		T(r27_a_fixed_disk_of_another_length_is_refused_and_salvaged),
		T(r28_a_file_cut_in_a_block_is_refused_and_salvaged),
		T(r29_without_a_trailing_footer_the_copy_serves),
		T(r30_without_a_copy_the_trailing_footer_serves),
		T(r31_a_forged_header_in_a_fixed_disk_is_its_guests_data),
		T(r32_a_locator_of_impossible_length_is_ignored),
		T(r33_a_locator_over_other_metadata_is_ignored),
		T(r34_a_parents_name_that_is_no_text_is_shown_as_far_as_it_goes),
		T(r35_circles_and_chains_without_end_are_refused),
		T(r36_a_parent_of_another_size_is_refused),
		T(r37_a_further_header_is_never_followed),
		T(r38_a_batmap_over_its_own_header_is_ignored),
		T(r38_a_batmap_outside_the_file_is_only_read),
		T(r39_data_under_a_0_bit_reads_as_zero),
		T(r40_a_saved_state_is_noted),
		T(r41_a_poisoned_image_is_refused_and_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
