/* SPDX-License-Identifier: BSD-2-Clause */
/* Which footer is in force: the table in vhd/probe.c, row by row. */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"

#define MIB (1u << 20)

static const uint32_t two[] = {0, 1};

static struct memfile *dynamic(void)
{
	return img_dynamic(4 * MIB, MIB, two, 2);
}

static void wipe(struct memfile *m, uint64_t off, uint8_t with)
{
	uint8_t b[512];

	memset(b, with, sizeof(b));
	assert_int_equal(memfile_poke(m, b, sizeof(b), off), 0);
}

static void flip(struct memfile *m, uint64_t off)
{
	uint8_t b;

	memfile_peek(m, &b, 1, off);
	b ^= 1;
	assert_int_equal(memfile_poke(m, &b, 1, off), 0);
}

static uint64_t end_of(const struct memfile *m)
{
	return memfile_len(m) - 512;
}

static void refused(struct memfile *m, enum vhd_format format, int code,
		    enum vhd_why why)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(img_open(m, format, false, &img, &e), &e, code, why);
	assert_refused(img_open(m, format, true, &img, &e), &e, code, why);
}

static struct vhd_info accepted(struct memfile *m, enum vhd_format format)
{
	struct vhd *img;
	struct vhd_err e;
	struct vhd_info info;

	assert_int_equal(img_open(m, format, false, &img, &e), 0);
	info = *vhd_get_info(img);
	assert_int_equal(vhd_close(img, &e), 0);
	return info;
}

static void equal_footers_are_clean(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i = accepted(m, VHD_FORMAT_AUTO);

	assert_int_equal(i.format, VHD_FORMAT_DYNAMIC);
	assert_true(i.probed);
	assert_int_equal(i.notes, 0);
	assert_int_equal(i.footer_end, VHD_FOOTER_OK);
	assert_int_equal(i.footer_copy, VHD_FOOTER_OK);
	assert_true(i.footer_end_bytes == end_of(m));
	assert_int_equal(i.blocks_used, 2);
	i = accepted(m, VHD_FORMAT_DYNAMIC);
	assert_false(i.probed);
	memfile_destroy(m);
}

static void a_missing_trailing_footer_is_a_dirty_image(void **state)
{
	(void)state;
	static const uint8_t kinds[] = {0, 0xc7, 'x'};

	for (size_t k = 0; k < sizeof(kinds); k++) {
		struct memfile *m = dynamic();
		struct vhd_info i;

		wipe(m, end_of(m), kinds[k]);
		i = accepted(m, VHD_FORMAT_AUTO);
		assert_int_equal(i.format, VHD_FORMAT_DYNAMIC);
		assert_int_equal(i.notes, VHD_NOTE_DIRTY);
		assert_int_equal(i.footer_end, VHD_FOOTER_MISSING);
		assert_int_equal(i.footer_copy, VHD_FOOTER_OK);
		memfile_destroy(m);
	}
}

static void a_trailing_footer_with_a_wrong_sum_is_passed_over(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i;

	flip(m, end_of(m) + IMG_F_TIMESTAMP);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_DIRTY);
	assert_int_equal(i.footer_end, VHD_FOOTER_BAD_CHECKSUM);
	memfile_destroy(m);
}

static void a_cut_off_footer_is_a_dirty_image(void **state)
{
	(void)state;
	struct memfile *m = dynamic();

	memfile_resize(m, end_of(m));
	assert_int_equal(accepted(m, VHD_FORMAT_AUTO).notes, VHD_NOTE_DIRTY);
	memfile_destroy(m);
}

static void a_bad_copy_leaves_the_trailing_footer_in_force(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i;

	flip(m, IMG_F_TIMESTAMP);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_DIRTY);
	assert_int_equal(i.footer_copy, VHD_FOOTER_BAD_CHECKSUM);
	assert_int_equal(i.timestamp_s, 0x12345678);
	wipe(m, 0, 0);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_DIRTY);
	assert_int_equal(i.footer_copy, VHD_FOOTER_MISSING);
	memfile_destroy(m);
}

static void of_two_that_differ_the_trailing_one_rules(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i;

	img_set32(m, 0, 512, IMG_F_TIMESTAMP, 1);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_FOOTERS_DIFFER);
	assert_int_equal(i.footer_end, VHD_FOOTER_OK);
	assert_int_equal(i.footer_copy, VHD_FOOTER_DIFFERS);
	assert_int_equal(i.timestamp_s, 0x12345678);
	memfile_destroy(m);
}

static void of_two_sizes_the_one_that_fits_the_table_rules(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i;

	img_set64(m, end_of(m), 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.footer_end, VHD_FOOTER_DIFFERS);
	assert_int_equal(i.footer_copy, VHD_FOOTER_OK);
	assert_true(i.size_bytes == 4 * MIB);
	memfile_destroy(m);

	m = dynamic();
	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.footer_copy, VHD_FOOTER_DIFFERS);
	assert_true(i.size_bytes == 4 * MIB);
	memfile_destroy(m);
}

/* Not only the size differs, so no resize did that. */
static void of_two_disks_the_one_that_fits_the_table_is_shown(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd_info i;

	img_set64(m, end_of(m), 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	img_set32(m, end_of(m), 512, IMG_F_TIMESTAMP, 1);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_FOOTERS_DIFFER);
	assert_int_equal(i.footer_end, VHD_FOOTER_DIFFERS);
	assert_true(i.size_bytes == 4 * MIB);
	assert_int_equal(i.timestamp_s, 0x12345678);
	memfile_destroy(m);
}

/* Neither fits a table of blocks of no size; then that is what is said. */
static void sizes_are_not_judged_by_a_header_without_one(void **state)
{
	(void)state;
	for (int dates = 0; dates < 2; dates++) {
		struct memfile *m = dynamic();

		img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, 0);
		img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
		if (dates)
			img_set32(m, 0, 512, IMG_F_TIMESTAMP, 1);
		refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_BLOCK_SIZE);
		memfile_destroy(m);
	}
}

static int fail_header(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	unsigned *passed = ctx;

	(void)len;
	if (op != MEMFILE_READ || off != IMG_HEADER)
		return 0;
	return (*passed)-- ? 0 : -EIO;
}

/* The header is looked at to tell them apart. */
static void footers_that_cannot_be_told_apart_are_an_error(void **state)
{
	(void)state;
	for (unsigned passed = 0; passed < 2; passed++) {
		struct memfile *m = dynamic();
		unsigned left = passed;
		struct vhd *img;
		struct vhd_err e;

		img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
		memfile_set_hook(m, fail_header, &left);
		assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
			       &e, EIO, VHD_WHY_IO);
		memfile_destroy(m);
	}
}

/* A resize makes the table long enough before it writes the first footer, and
 * the larger size hides nothing.
 */
static void an_interrupted_resize_has_the_larger_size_that_fits(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd *img;
	struct vhd_err e;
	struct vhd_info i;

	img_set64(m, end_of(m), 512, IMG_F_CURRENT_SIZE, 3 * MIB + 512);
	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 3 * MIB + 1024);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, VHD_NOTE_FOOTERS_DIFFER |
					  VHD_NOTE_RESIZE_CUT);
	assert_true(i.size_bytes == 3 * MIB + 1024);
	assert_int_equal(i.footer_end, VHD_FOOTER_DIFFERS);
	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 4 * MIB + 512);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_true(i.size_bytes == 3 * MIB + 512);
	assert_int_equal(i.footer_copy, VHD_FOOTER_DIFFERS);

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes, 0);
	assert_true(i.size_bytes == 3 * MIB + 512);
	memfile_destroy(m);
}

/* No rule says which is right, so nothing is written on a guess. */
static void footers_of_different_disks_are_not_written_to(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd *img;
	struct vhd_err e;

	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	img_set32(m, 0, 512, IMG_F_ID, 0x01020304);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	memfile_destroy(m);
}

/* The one at the end is in force: a writer makes the copy like it. */
static void footers_that_differ_in_dates_become_alike(void **state)
{
	(void)state;
	struct memfile *m = dynamic(), *before = memfile_clone(m);
	struct vhd *img;
	struct vhd_err e;

	img_set32(m, 0, 512, IMG_F_TIMESTAMP, 1);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

static void a_fixed_disk_has_no_copy(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB + 512);
	struct vhd_info i = accepted(m, VHD_FORMAT_AUTO);

	assert_int_equal(i.format, VHD_FORMAT_FIXED);
	assert_int_equal(i.notes, 0);
	assert_int_equal(i.footer_copy, VHD_FOOTER_ABSENT);
	assert_int_equal(i.footer_end, VHD_FOOTER_OK);
	assert_true(i.size_bytes == MIB + 512);
	accepted(m, VHD_FORMAT_FIXED);
	memfile_destroy(m);
}

/* What a guest may do with its own disk: write the beginning of a dynamic
 * image, with a map of its choosing, to LBA 0.
 */
static void a_forged_start_of_a_fixed_disk_is_ignored(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(4 * MIB), *forged = dynamic();
	uint8_t start[2048], got[512];
	struct vhd *img;
	struct vhd_err e;

	memfile_peek(forged, start, sizeof(start), 0);
	assert_int_equal(memfile_poke(m, start, sizeof(start), 0), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->format, VHD_FORMAT_FIXED);
	assert_int_equal(vhd_get_info(img)->notes, VHD_NOTE_FORGED_START);
	assert_int_equal(vhd_read(img, 0, got, 512, &e), 0);
	assert_memory_equal(got, start, 512);
	assert_int_equal(vhd_close(img, &e), 0);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_TYPE_MISMATCH);
	memcpy(start, "v_poison", 8);
	assert_int_equal(memfile_poke(m, start, sizeof(start), 0), 0);
	assert_int_equal(accepted(m, VHD_FORMAT_AUTO).format, VHD_FORMAT_FIXED);
	memfile_destroy(forged);
	memfile_destroy(m);
}

static void a_fixed_disk_of_another_length_is_refused(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	uint8_t f[512];

	memfile_peek(m, f, 512, MIB);
	assert_int_equal(memfile_poke(m, f, 512, MIB + 512), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	refused(m, VHD_FORMAT_FIXED, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	memfile_resize(m, MIB);
	assert_int_equal(memfile_poke(m, f, 512, MIB - 512), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	memfile_destroy(m);
}

static void a_fixed_footer_in_both_places_goes_by_length(void **state)
{
	(void)state;
	struct memfile *m = dynamic();

	img_footers32(m, IMG_F_TYPE, IMG_TYPE_FIXED);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FIXED_LENGTH);
	memfile_destroy(m);
}

static void a_fixed_footer_at_the_start_only_is_refused(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	uint8_t f[512];

	memfile_peek(m, f, 512, MIB);
	assert_int_equal(memfile_poke(m, f, 512, 0), 0);
	wipe(m, MIB, 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FOOTER_TYPE);
	memfile_destroy(m);
}

static void the_name_given_must_be_the_type_found(void **state)
{
	(void)state;
	struct memfile *m = dynamic();

	refused(m, VHD_FORMAT_FIXED, EUCLEAN, VHD_WHY_TYPE_MISMATCH);
	refused(m, VHD_FORMAT_DIFF, EUCLEAN, VHD_WHY_TYPE_MISMATCH);
	memfile_destroy(m);
	m = img_fixed(MIB);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_TYPE_MISMATCH);
	memfile_destroy(m);
}

/* A guest may write any footer into its raw disk. */
static void a_disk_named_raw_stays_raw(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd_info i = accepted(m, VHD_FORMAT_RAW);

	assert_int_equal(i.format, VHD_FORMAT_RAW);
	assert_true(i.size_bytes == MIB + 512);
	assert_false(i.probed);
	memfile_destroy(m);
}

static void a_file_without_structures_is_raw_unless_named(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();

	memfile_resize(m, MIB);
	assert_int_equal(accepted(m, VHD_FORMAT_AUTO).format, VHD_FORMAT_RAW);
	refused(m, VHD_FORMAT_FIXED, EUCLEAN, VHD_WHY_NOT_VHD);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_NOT_VHD);
	memfile_resize(m, 511);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_TOO_SMALL);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_SIZE_ALIGN);
	memfile_resize(m, 512);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_NOT_VHD);
	assert_int_equal(accepted(m, VHD_FORMAT_AUTO).size_bytes, 512);
	memfile_resize(m, 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_SIZE_ZERO);
	refused(m, VHD_FORMAT_RAW, EUCLEAN, VHD_WHY_SIZE_ZERO);
	refused(m, VHD_FORMAT_FIXED, EUCLEAN, VHD_WHY_TOO_SMALL);
	memfile_destroy(m);
}

static void damaged_footers_do_not_make_a_raw_disk(void **state)
{
	(void)state;
	struct memfile *m = dynamic();

	flip(m, IMG_F_TIMESTAMP);
	flip(m, end_of(m) + IMG_F_TIMESTAMP);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FOOTER_CHECKSUM);
	wipe(m, end_of(m), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FOOTER_CHECKSUM);
	wipe(m, 0, 0); /* both lost, the dynamic header is still there */
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_NOT_VHD);
	memfile_destroy(m);

	m = img_fixed(MIB);
	flip(m, MIB + IMG_F_TIMESTAMP);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_FOOTER_CHECKSUM);
	memfile_destroy(m);
}

static void vhdx_is_recognised_by_name(void **state)
{
	(void)state;
	struct memfile *m = memfile_create();

	memfile_resize(m, 4 * MIB);
	assert_int_equal(memfile_poke(m, "vhdxfile", 8, 0), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_IS_VHDX);
	refused(m, VHD_FORMAT_DYNAMIC, EUCLEAN, VHD_WHY_IS_VHDX);
	memfile_destroy(m);
}

static void a_poisoned_cookie_at_either_end_is_explained(void **state)
{
	(void)state;
	struct memfile *m = dynamic();

	assert_int_equal(memfile_poke(m, "v_poison", 8, end_of(m)), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_POISON_COOKIE);
	memfile_destroy(m);
	m = dynamic();
	assert_int_equal(memfile_poke(m, "v_poison", 8, 0), 0);
	refused(m, VHD_FORMAT_AUTO, EUCLEAN, VHD_WHY_POISON_COOKIE);
	memfile_destroy(m);
}

static void a_511_byte_footer_is_read_but_not_written_behind(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd *img;
	struct vhd_err e;
	struct vhd_info i;

	memfile_resize(m, MIB + 511);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.format, VHD_FORMAT_FIXED);
	assert_int_equal(i.notes, VHD_NOTE_FOOTER_511);
	assert_true(i.size_bytes == MIB && i.footer_end_bytes == MIB);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	memfile_destroy(m);

	m = dynamic();
	memfile_resize(m, memfile_len(m) - 1);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.format, VHD_FORMAT_DYNAMIC);
	assert_int_equal(i.notes, VHD_NOTE_FOOTER_511);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	/* no resize of ours leaves one of that length behind */
	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, 2 * MIB);
	i = accepted(m, VHD_FORMAT_AUTO);
	assert_int_equal(i.notes,
			 VHD_NOTE_FOOTER_511 | VHD_NOTE_FOOTERS_DIFFER);
	assert_true(i.size_bytes == 4 * MIB);
	memfile_destroy(m);
}

static void a_footer_off_its_sector_is_not_written_behind(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	uint64_t end = end_of(m);
	uint8_t f[512];
	struct vhd *img;
	struct vhd_err e;

	memfile_peek(m, f, 512, end);
	wipe(m, end, 0);
	assert_int_equal(memfile_poke(m, f, 512, end + 100), 0);
	assert_int_equal(accepted(m, VHD_FORMAT_AUTO).notes, 0);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	memfile_destroy(m);
}

static void inspecting_shows_what_use_refuses(void **state)
{
	(void)state;
	struct memfile *m = dynamic();
	struct vhd *img;
	struct vhd_err e;

	flip(m, IMG_F_TIMESTAMP);
	flip(m, end_of(m) + IMG_F_TIMESTAMP);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_FOOTER_CHECKSUM);
	assert_int_equal(vhd_get_info(img)->faults, 1);
	assert_int_equal(vhd_get_info(img)->footer_end,
			 VHD_FOOTER_BAD_CHECKSUM);
	assert_int_equal(vhd_get_info(img)->footer_copy,
			 VHD_FOOTER_BAD_CHECKSUM);
	assert_int_equal(vhd_get_info(img)->blocks_used, 2);
	vhd_abandon(img);
	/* who does not ask for a reason gets the code */
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, NULL),
			 -EUCLEAN);
	wipe(m, end_of(m), 0);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_FOOTER_CHECKSUM);
	assert_int_equal(vhd_get_info(img)->fault.at_bytes, 0);
	assert_int_equal(vhd_get_info(img)->footer_end, VHD_FOOTER_MISSING);
	vhd_abandon(img);
	memfile_destroy(m);

	m = img_fixed(MIB);
	flip(m, MIB + IMG_F_TIMESTAMP);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->format, VHD_FORMAT_FIXED);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_FOOTER_CHECKSUM);
	vhd_abandon(img);
	memfile_resize(m, MIB);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_footers_are_clean),
		cmocka_unit_test(a_missing_trailing_footer_is_a_dirty_image),
		cmocka_unit_test(
			a_trailing_footer_with_a_wrong_sum_is_passed_over),
		cmocka_unit_test(a_cut_off_footer_is_a_dirty_image),
		cmocka_unit_test(
			a_bad_copy_leaves_the_trailing_footer_in_force),
		cmocka_unit_test(of_two_that_differ_the_trailing_one_rules),
		cmocka_unit_test(
			of_two_sizes_the_one_that_fits_the_table_rules),
		cmocka_unit_test(
			of_two_disks_the_one_that_fits_the_table_is_shown),
		cmocka_unit_test(sizes_are_not_judged_by_a_header_without_one),
		cmocka_unit_test(
			footers_that_cannot_be_told_apart_are_an_error),
		cmocka_unit_test(
			an_interrupted_resize_has_the_larger_size_that_fits),
		cmocka_unit_test(footers_of_different_disks_are_not_written_to),
		cmocka_unit_test(
			footers_that_differ_in_dates_become_alike),
		cmocka_unit_test(a_fixed_disk_has_no_copy),
		cmocka_unit_test(a_forged_start_of_a_fixed_disk_is_ignored),
		cmocka_unit_test(a_fixed_disk_of_another_length_is_refused),
		cmocka_unit_test(a_fixed_footer_in_both_places_goes_by_length),
		cmocka_unit_test(a_fixed_footer_at_the_start_only_is_refused),
		cmocka_unit_test(the_name_given_must_be_the_type_found),
		cmocka_unit_test(a_disk_named_raw_stays_raw),
		cmocka_unit_test(a_file_without_structures_is_raw_unless_named),
		cmocka_unit_test(damaged_footers_do_not_make_a_raw_disk),
		cmocka_unit_test(vhdx_is_recognised_by_name),
		cmocka_unit_test(a_poisoned_cookie_at_either_end_is_explained),
		cmocka_unit_test(
			a_511_byte_footer_is_read_but_not_written_behind),
		cmocka_unit_test(a_footer_off_its_sector_is_not_written_behind),
		cmocka_unit_test(inspecting_shows_what_use_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
