/* SPDX-License-Identifier: BSD-2-Clause */
/* Checking: sector bitmaps against the data under them, and blktap's batmap
 * against the bitmaps.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/checkimg.h"

/* ------------------------------------------------------------- bitmaps -- */

static void data_is_looked_at_only_when_asked_for(void **state)
{
	struct vhd_check_opts o = {0};
	struct memfile *m = img_three();
	struct found all;

	(void)state;
	img_hide_sector(m);
	found_by(m, &o, &all);
	assert_null(found_find(&all, VHD_FIND_BITMAP_HIDES));
	found_in(m, &all);
	assert_int_equal(found_find(&all, VHD_FIND_BITMAP_HIDES)->at_bytes,
			 img_place(IMG_THREE_BYTES, MIB, 1) + 2);
	memfile_destroy(m);
}

static void zeros_under_a_zero_bit_are_as_they_should_be(void **state)
{
	struct memfile *m = img_three();
	struct found all;

	(void)state;
	img_hide_sector(m);
	img_poke_zeros(m, 512,
		       img_place(IMG_THREE_BYTES, MIB, 1) + 512 + 23 * 512);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void bits_behind_the_disk_mean_nothing(void **state)
{
	struct memfile *m =
		img_dynamic(IMG_THREE_BYTES - 512, MIB, img_three_order, 3);
	uint8_t last = 0xfe;
	struct found all;

	(void)state;
	/* 2047 sectors belong to the last block: bit 2047 is padding. */
	img_poke(m, &last, 1, img_place(IMG_THREE_BYTES, MIB, 2) + 255);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

struct bad_medium {
	uint64_t at;
};

static int fail_at(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const struct bad_medium *b = ctx;

	return op == MEMFILE_READ && off <= b->at && b->at < off + len ? -EIO
								       : 0;
}

static void an_unreadable_place_is_told_and_the_rest_checked(void **state)
{
	struct memfile *m = img_three();
	struct bad_medium bad = {img_place(IMG_THREE_BYTES, MIB, 0) + 9999};
	struct found all;

	(void)state;
	img_hide_sector(m); /* in a later block */
	memfile_set_hook(m, fail_at, &bad);
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(found_find(&all, VHD_FIND_UNREADABLE));
	assert_int_equal(found_find(&all, VHD_FIND_UNREADABLE)->block, 2);
	assert_non_null(found_find(&all, VHD_FIND_BITMAP_HIDES));
	memfile_destroy(m);
}

static void unreadable_metadata_ends_the_check(void **state)
{
	struct memfile *m = img_three();
	struct bad_medium bad = {IMG_TABLE};
	struct found all;

	(void)state;
	memfile_set_hook(m, fail_at, &bad);
	found_in(m, &all);
	assert_refused(all.rc, &all.err, EIO, VHD_WHY_IO);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- batmap -- */

static void a_true_batmap_is_sound(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;

	(void)state;
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void a_batmap_that_understates_is_sound(void **state)
{
	struct memfile *m = img_blktap(0x40);
	struct found all;

	(void)state;
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void a_batmap_full_of_a_partial_block_is_found(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	const struct vhd_finding *f;
	struct found all;

	(void)state;
	img_poke(m, "\x7f", 1, IMG_BATMAP + 1024 + 2 * (512 + MIB) + 9);
	found_in(m, &all);
	f = found_find(&all, VHD_FIND_BATMAP_STALE);
	assert_non_null(f);
	assert_int_equal(f->block, 2);
	assert_int_equal(f->at_bytes, IMG_BATMAP + 512);
	assert_int_equal(all.r.count[VHD_FIND_BATMAP_STALE], 1);
	memfile_destroy(m);
}

static void a_batmap_full_of_a_missing_block_is_found(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;

	(void)state;
	img_bat(m, 1, 0xffffffff);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_BATMAP_STALE));
	assert_int_equal(found_find(&all, VHD_FIND_BATMAP_STALE)->block, 1);
	memfile_destroy(m);
}

static void a_batmap_that_points_nowhere_is_found(void **state)
{
	static const uint64_t bad[] = {0, 512, IMG_TABLE, 1ull << 40,
				       UINT64_MAX - 100};
	struct found all;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct memfile *m = img_blktap(0xf0);
		uint8_t b[8];

		img_put64(b, bad[i]);
		img_poke(m, b, 8, IMG_BATMAP + 8);
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		assert_non_null(found_find(&all, VHD_FIND_BATMAP_PLACE));
		memfile_destroy(m);
	}
}

static void a_wrong_batmap_checksum_is_found(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;

	(void)state;
	img_poke(m, "\1", 1, IMG_BATMAP + 27);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_BATMAP_CHECKSUM));
	memfile_destroy(m);
}

static void a_batmap_summed_with_signed_bytes_is_sound(void **state)
{
	struct memfile *m = img_blktap(0xf0);
	struct found all;
	uint8_t b[4];

	(void)state;
	img_put32(b, ~(uint32_t)(int32_t)(int8_t)0xf0);
	img_poke(m, b, 4, IMG_BATMAP + 24);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_is_looked_at_only_when_asked_for),
		cmocka_unit_test(zeros_under_a_zero_bit_are_as_they_should_be),
		cmocka_unit_test(bits_behind_the_disk_mean_nothing),
		cmocka_unit_test(
			an_unreadable_place_is_told_and_the_rest_checked),
		cmocka_unit_test(unreadable_metadata_ends_the_check),
		cmocka_unit_test(a_true_batmap_is_sound),
		cmocka_unit_test(a_batmap_that_understates_is_sound),
		cmocka_unit_test(a_batmap_full_of_a_partial_block_is_found),
		cmocka_unit_test(a_batmap_full_of_a_missing_block_is_found),
		cmocka_unit_test(a_batmap_that_points_nowhere_is_found),
		cmocka_unit_test(a_wrong_batmap_checksum_is_found),
		cmocka_unit_test(a_batmap_summed_with_signed_bytes_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
