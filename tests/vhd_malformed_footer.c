/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of malformed images (tests/lib/malformed.h), 16 to 31: what
 * header and footers say of the whole.
 *
 *  16-22  places and types  23-28  size and length         29-31  footers
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/malformed.h"

/* -------------------------------------------------------- places and types -- */

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

/* --------------------------------------------------------- size and length -- */

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

/* ---------------------------------------------------------------- footers -- */

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

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
