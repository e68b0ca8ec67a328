/* SPDX-License-Identifier: BSD-2-Clause */
/* Checking: every damage is named by its own word, with its place, and what
 * opening refuses is never called sound.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/random.h"

#define KIB 1024u

static void each_damage_is_named_with_its_place_and_code(void **state)
{
	(void)state;
	for (size_t i = 0; i < img_damage_count; i++) {
		const struct img_damage *d = &img_damages[i];
		struct memfile *m = img_three();
		const struct vhd_finding *f;
		struct found all;

		print_message("%s\n", d->what);
		d->harm(m);
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		f = found_find(&all, d->code);
		assert_non_null(f);
		assert_int_equal(f->severity, d->severity);
		assert_int_equal(f->hresult,
				 d->hresult ? 0xc03a0000u | d->hresult : 0);
		assert_int_equal(f->block, d->block);
		if (d->at != IMG_ANYWHERE)
			assert_int_equal(f->at_bytes, d->at);
		memfile_destroy(m);
	}
}

static void what_opening_refuses_is_found_for_the_same_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < img_damage_count; i++) {
		struct memfile *m = img_three();
		struct vhd *img = NULL;
		struct vhd_err err;
		struct found all;
		bool same = false;

		img_damages[i].harm(m);
		found_in(m, &all);
		if (!img_open(m, VHD_FORMAT_AUTO, false, &img, &err)) {
			vhd_abandon(img);
			memfile_destroy(m);
			continue;
		}
		print_message("%s: %s\n", img_damages[i].what, err.text);
		for (unsigned k = 0; k < all.count; k++)
			same |= all.f[k].why == err.why &&
				all.f[k].severity == VHD_SEVERITY_ERROR;
		/* Both footers lost is told of each place. */
		assert_true(same || err.why == VHD_WHY_NOT_VHD);
		memfile_destroy(m);
	}
}

static void a_sound_image_has_no_errors_or_warnings(void **state)
{
	struct memfile *m = img_three();
	struct found all;

	(void)state;
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(found_faults(&all), 0);
	assert_int_equal(all.r.blocks_used, 3);
	assert_int_equal(all.r.size_bytes, IMG_THREE_BYTES);
	assert_int_equal(all.r.format, VHD_FORMAT_DYNAMIC);
	memfile_destroy(m);
	m = img_fixed(IMG_THREE_BYTES);
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.count, 0);
	assert_int_equal(all.r.format, VHD_FORMAT_FIXED);
	memfile_destroy(m);
}

static void several_damages_are_all_found(void **state)
{
	struct memfile *m = img_three();
	struct found all;

	(void)state;
	img_harm(m, "version");
	img_harm(m, "saved state");
	img_harm(m, "next");
	img_harm(m, "header version");
	img_harm(m, "entry 0");
	img_bat(m, 3, 0xfffffffe);
	img_harm(m, "header sum");
	img_harm(m, "footer sum");
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(found_find(&all, VHD_FIND_FOOTER_VERSION));
	assert_non_null(found_find(&all, VHD_FIND_FOOTER_CHECKSUM));
	assert_non_null(found_find(&all, VHD_FIND_SAVED_STATE));
	assert_non_null(found_find(&all, VHD_FIND_NEXT_OFFSET));
	assert_non_null(found_find(&all, VHD_FIND_HEADER_VERSION));
	assert_non_null(found_find(&all, VHD_FIND_HEADER_CHECKSUM));
	assert_non_null(found_find(&all, VHD_FIND_BAT_IN_METADATA));
	assert_non_null(found_find(&all, VHD_FIND_BAT_PAST_END));
	memfile_destroy(m);
}

static void every_bad_entry_is_found_and_the_rest_counted(void **state)
{
	struct vhd_check_opts o = {.limit = 5};
	struct memfile *m = img_bare(64 * MIB, MIB, NULL, 0);
	struct found all;

	(void)state;
	for (uint32_t b = 0; b < 64; b++)
		img_bat(m, b, 0);
	found_by(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.r.count[VHD_FIND_BAT_IN_METADATA], 64);
	assert_int_equal(all.r.severity_count[VHD_SEVERITY_ERROR], 64);
	assert_int_equal(all.count, 1 + 5); /* with the block size */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(all.f[1 + i].block, i);
	assert_true(!found_find(&all, VHD_FIND_BAT_DUPLICATE));
	memfile_destroy(m);
}

/* --------------------------------------------------------- fixed disks -- */

static bool has(struct memfile *m, enum vhd_finding_code code)
{
	struct found all;

	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	return found_find(&all, code);
}

/* The last block ends where the footer begins; a sector more is too much. */
static void a_block_may_end_at_the_footer_and_no_further(void **state)
{
	struct memfile *m = img_three();
	uint32_t last = (uint32_t)(img_place(IMG_THREE_BYTES, MIB, 2) / 512);

	(void)state;
	assert_int_equal(img_end(m), last * 512ull + 512 + MIB);
	assert_false(has(m, VHD_FIND_BAT_CUT));
	img_bat(m, 3, last + 1);
	assert_true(has(m, VHD_FIND_BAT_CUT));
	/* As far as one sector of data is there, it is cut; else past it. */
	img_bat(m, 3, (uint32_t)(img_end(m) / 512) - 2);
	assert_true(has(m, VHD_FIND_BAT_CUT));
	img_bat(m, 3, (uint32_t)(img_end(m) / 512) - 1);
	assert_true(has(m, VHD_FIND_BAT_PAST_END));
	memfile_destroy(m);
}

static void blocks_may_touch_and_share_no_sector(void **state)
{
	struct memfile *m = img_three();
	uint32_t second = (uint32_t)(img_place(IMG_THREE_BYTES, MIB, 1) / 512);

	(void)state;
	assert_false(has(m, VHD_FIND_BAT_OVERLAP));
	img_bat(m, 0, second - 1);
	assert_true(has(m, VHD_FIND_BAT_OVERLAP));
	img_bat(m, 0, second + 1);
	assert_true(has(m, VHD_FIND_BAT_OVERLAP));
	memfile_destroy(m);
}

/* The table ends at sector 4, where the first block begins. */
static void a_block_may_touch_the_table_and_share_no_sector(void **state)
{
	struct memfile *m = img_three();

	(void)state;
	assert_int_equal(img_place(IMG_THREE_BYTES, MIB, 0), 4 * 512);
	assert_false(has(m, VHD_FIND_BAT_IN_METADATA));
	img_bat(m, 2, 3);
	assert_true(has(m, VHD_FIND_BAT_IN_METADATA));
	memfile_destroy(m);
}

static void a_fixed_disk_of_another_length_is_found(void **state)
{
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	const struct vhd_finding *f;
	struct found all;

	(void)state;
	img_set64(m, IMG_THREE_BYTES, 512, IMG_F_CURRENT_SIZE,
		  IMG_THREE_BYTES + 512);
	found_in(m, &all);
	f = found_find(&all, VHD_FIND_FILE_LENGTH);
	assert_non_null(f);
	assert_int_equal(f->why, VHD_WHY_FIXED_LENGTH);
	assert_int_equal(f->hresult, 0xc03a0013);
	assert_int_equal(f->at_bytes, IMG_THREE_BYTES);
	memfile_destroy(m);
}

static void a_forged_start_of_a_fixed_disk_is_found(void **state)
{
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	uint8_t f[512];
	struct found all;

	(void)state;
	img_footer(f, IMG_TYPE_DYNAMIC, IMG_THREE_BYTES);
	img_poke(m, f, 512, 0);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_FORGED_START));
	assert_int_equal(all.r.format, VHD_FORMAT_FIXED);
	memfile_destroy(m);
}

static void a_fixed_disk_without_footer_must_be_named(void **state)
{
	struct vhd_check_opts o = {.format = VHD_FORMAT_FIXED};
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct found all;

	(void)state;
	memfile_resize(m, IMG_THREE_BYTES);
	found_in(m, &all);
	assert_refused(all.rc, &all.err, EUCLEAN, VHD_WHY_NOT_VHD);
	found_by(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(found_find(&all, VHD_FIND_FOOTER_MISSING));
	memfile_destroy(m);
}

static void a_vhdx_is_no_vhd_to_check(void **state)
{
	struct memfile *m = memfile_create();
	struct found all;

	(void)state;
	img_poke(m, "vhdxfile", 8, 0);
	memfile_resize(m, MIB);
	found_in(m, &all);
	assert_refused(all.rc, &all.err, EUCLEAN, VHD_WHY_IS_VHDX);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- limits -- */

static int end_it(void *ctx, const struct vhd_finding *f)
{
	unsigned *calls = ctx;

	(void)f;
	++*calls;
	return 1;
}

static void the_caller_can_end_a_check(void **state)
{
	unsigned calls = 0;
	struct vhd_check_opts o = {.found = end_it, .ctx = &calls};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;

	(void)state;
	img_bat(m, 0, 0);
	img_bat(m, 1, 0);
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, ECANCELED,
		       VHD_WHY_CANCELLED);
	assert_int_equal(calls, 1);
	memfile_destroy(m);
}

static void raw_is_no_format_to_check(void **state)
{
	struct vhd_check_opts o = {.format = VHD_FORMAT_RAW};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;

	(void)state;
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.format = VHD_FORMAT_FIXED;
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_TYPE_MISMATCH);
	memfile_destroy(m);
}

static void every_code_and_product_has_its_own_word(void **state)
{
	(void)state;
	for (int i = 0; i < VHD_FIND_COUNT; i++) {
		const char *name = vhd_finding_name((enum vhd_finding_code)i);

		assert_non_null(name);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				name,
				vhd_finding_name((enum vhd_finding_code)k));
	}
	for (int i = 1; i < VHD_TARGET_COUNT; i++)
		assert_non_null(vhd_target_name((enum vhd_target)i));
	assert_null(vhd_target_name(VHD_TARGET_NONE));
}

/* Bytes of the metadata changed at random, some sealed again: what opening
 * refuses must have been found, and a check must come to an end.
 */
static void no_random_damage_is_called_sound_and_then_refused(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (int round = 0; round < 4000; round++) {
		struct memfile *m =
			img_dynamic(4 * 4096, 4096, img_three_order, 3);
		unsigned harms = 1 + (unsigned)random_below(&seed, 3);
		struct vhd *img = NULL;
		struct vhd_err err;
		struct found all;

		for (unsigned i = 0; i < harms; i++) {
			uint64_t at = random_below(&seed, 2 * KIB);
			uint8_t b = (uint8_t)random_next(&seed);

			img_poke(m, &b, 1, at);
		}
		if (random_next(&seed) & 1)
			img_set(m, IMG_HEADER, 1024, 0, "cxsparse", 8);
		if (random_next(&seed) & 1)
			img_set(m, 0, 512, 0, "conectix", 8);
		found_in(m, &all);
		if (img_open(m, VHD_FORMAT_AUTO, false, &img, &err))
			assert_true(all.rc || found_faults(&all));
		else if (!all.rc)
			for (unsigned i = 0; i < all.count; i++)
				assert_false(all.f[i].code >=
						     VHD_FIND_BAT_IN_METADATA &&
					     all.f[i].severity ==
						     VHD_SEVERITY_ERROR);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void a_table_of_2040_gib_in_reverse_order_is_sound(void **state)
{
	const uint64_t size = 2040ull << 30;
	const uint32_t blocks = 1044480;
	uint32_t *order = malloc(blocks * sizeof(*order));
	struct vhd_check_opts o = {0};
	struct memfile *m;
	struct found all;

	(void)state;
	assert_non_null(order);
	for (uint32_t i = 0; i < blocks; i++)
		order[i] = blocks - 1 - i;
	m = img_bare(size, 2 * MIB, order, blocks);
	found_by(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(found_faults(&all), 0);
	assert_int_equal(all.r.blocks_used, blocks);
	img_bat(m, 7, (uint32_t)(img_place(size, 2 * MIB, 9) / 512));
	found_by(m, &o, &all);
	assert_int_equal(all.r.count[VHD_FIND_BAT_DUPLICATE], 1);
	memfile_destroy(m);
	free(order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damage_is_named_with_its_place_and_code),
		cmocka_unit_test(
			what_opening_refuses_is_found_for_the_same_reason),
		cmocka_unit_test(a_sound_image_has_no_errors_or_warnings),
		cmocka_unit_test(several_damages_are_all_found),
		cmocka_unit_test(every_bad_entry_is_found_and_the_rest_counted),
		cmocka_unit_test(a_block_may_end_at_the_footer_and_no_further),
		cmocka_unit_test(blocks_may_touch_and_share_no_sector),
		cmocka_unit_test(
			a_block_may_touch_the_table_and_share_no_sector),
		cmocka_unit_test(a_fixed_disk_of_another_length_is_found),
		cmocka_unit_test(a_forged_start_of_a_fixed_disk_is_found),
		cmocka_unit_test(a_fixed_disk_without_footer_must_be_named),
		cmocka_unit_test(a_vhdx_is_no_vhd_to_check),
		cmocka_unit_test(the_caller_can_end_a_check),
		cmocka_unit_test(raw_is_no_format_to_check),
		cmocka_unit_test(every_code_and_product_has_its_own_word),
		cmocka_unit_test(
			no_random_damage_is_called_sound_and_then_refused),
		cmocka_unit_test(a_table_of_2040_gib_in_reverse_order_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
