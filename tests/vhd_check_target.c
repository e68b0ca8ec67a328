/* SPDX-License-Identifier: BSD-2-Clause */
/* Checking: what a differencing disk says of its parent, and what products
 * demand.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/checkimg.h"

/* -------------------------------------------------------- differencing -- */

static void a_sound_child_is_sound_but_for_its_parent(void **state)
{
	struct memfile *m = img_child();
	struct found all;

	(void)state;
	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.r.format, VHD_FORMAT_DIFF);
	assert_int_equal(found_faults(&all), 0);
	assert_non_null(found_find(&all, VHD_FIND_PARENT));
	memfile_destroy(m);
}

static void bits_over_data_of_a_child_are_no_fault(void **state)
{
	struct memfile *m = img_child();
	struct found all;

	(void)state;
	img_hide_sector(m);
	found_in(m, &all);
	assert_int_equal(found_faults(&all), 0);
	memfile_destroy(m);
}

static void locator32(struct memfile *m, size_t field, uint32_t v)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + field, v);
}

static void bad_locators_are_found(void **state)
{
	static const struct {
		size_t field;
		uint32_t value;
		enum vhd_finding_code code;
	} cases[] = {
		{0, 0x12345678, VHD_FIND_LOCATOR_PLATFORM},
		{8, 13, VHD_FIND_LOCATOR_LENGTH},
		{8, 65538, VHD_FIND_LOCATOR_LENGTH},
		{8, 514, VHD_FIND_LOCATOR_LENGTH},
		{16, 0x7fffffff, VHD_FIND_LOCATOR_PLACE},
		{20, 512, VHD_FIND_LOCATOR_PLACE},
		{20, IMG_TABLE, VHD_FIND_LOCATOR_PLACE},
	};
	struct found all;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memfile *m = img_child();

		locator32(m, cases[i].field, cases[i].value);
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		assert_non_null(found_find(&all, cases[i].code));
		memfile_destroy(m);
	}
}

static void a_parent_name_without_end_is_found(void **state)
{
	struct memfile *m = img_child();
	uint8_t name[512];
	struct found all;

	(void)state;
	memset(name, 0x41, sizeof(name));
	img_set(m, IMG_HEADER, 1024, 64, name, 512);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_PARENT_NAME));
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\0a\0\0", 6);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_PARENT_NAME));
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\xdc\0\0\0", 6);
	found_in(m, &all);
	assert_null(found_find(&all, VHD_FIND_PARENT_NAME));
	memfile_destroy(m);
}

static void a_child_without_a_way_to_its_parent_is_found(void **state)
{
	struct memfile *m = img_child();
	struct found all;

	(void)state;
	locator32(m, 0, 0);
	found_in(m, &all);
	assert_non_null(found_find(&all, VHD_FIND_LOCATOR_NONE));
	memfile_destroy(m);
}

/* ------------------------------------------------------------ products -- */

static uint64_t refusals(struct memfile *m, enum vhd_target target,
			 const char *name)
{
	struct vhd_check_opts o = {.target = target, .name = name};
	struct found all;

	found_by(m, &o, &all);
	assert_int_equal(all.rc, 0);
	return all.r.refusals;
}

static void azure_takes_whole_mib_fixed_disks_only(void **state)
{
	struct memfile *m = img_fixed(20 * MIB);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 0);
	memfile_destroy(m);
	m = img_fixed(20 * MIB + 512);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
	m = img_fixed(19 * MIB);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
	m = img_bare(20 * MIB, 2 * MIB, NULL, 0);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
}

static void a_mild_demand_is_no_refusal(void **state)
{
	struct vhd_check_opts o = {.target = VHD_TARGET_AZURE, .name = "x.img"};
	struct memfile *m = img_fixed(20 * MIB);
	struct found all;

	(void)state;
	img_set(m, 20 * MIB, 512, 36, "FBSD", 4);
	found_by(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.r.refusals, 0);
	assert_int_equal(found_find(&all, VHD_FIND_WANTS_CREATOR)->severity,
			 VHD_SEVERITY_WARNING);
	assert_non_null(found_find(&all, VHD_FIND_WANTS_NAME));
	memfile_destroy(m);
}

static void virtual_pc_wants_exact_geometry_and_2_mib_blocks(void **state)
{
	/* 31 MiB * 5 is whole cylinders of 31/16; so its geometry is exact. */
	const uint64_t size = 155ull * MIB;
	struct memfile *m = img_bare(size, 2 * MIB, NULL, 0);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 1);
	img_footers(m, 56, "\x02\x80\x10\x1f", 4);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 0);
	memfile_destroy(m);
	m = img_bare(size, MIB, NULL, 0);
	img_footers(m, 56, "\x02\x80\x10\x1f", 4);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 1);
	memfile_destroy(m);
}

static void xenserver_wants_its_own_creator_and_unit(void **state)
{
	struct memfile *m = img_blktap(0xf0);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	memfile_destroy(m);
	m = img_bare(8 * MIB, 2 * MIB, NULL, 0);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 0);
	memfile_destroy(m);
	m = img_bare(9 * MIB, 2 * MIB, NULL, 0);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	memfile_destroy(m);
}

static void qemu_cuts_its_own_and_takes_no_child(void **state)
{
	struct memfile *m = img_three();

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	img_harm(m, "geometry -");
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	img_footers(m, IMG_F_APP, "qemu", 4);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 1);
	memfile_destroy(m);
	m = img_child();
	assert_true(refusals(m, VHD_TARGET_QEMU, NULL) > 0);
	memfile_destroy(m);
}

static void products_judge_checksums_as_their_readers_do(void **state)
{
	struct memfile *m = img_three();

	(void)state;
	img_harm(m, "header sum");
	assert_true(refusals(m, VHD_TARGET_HYPERV, NULL) > 0);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALBOX, NULL), 0);
	memfile_destroy(m);
	m = img_three();
	img_harm(m, "footer gone");
	assert_true(refusals(m, VHD_TARGET_HYPERV, NULL) > 0);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_child_is_sound_but_for_its_parent),
		cmocka_unit_test(bits_over_data_of_a_child_are_no_fault),
		cmocka_unit_test(bad_locators_are_found),
		cmocka_unit_test(a_parent_name_without_end_is_found),
		cmocka_unit_test(a_child_without_a_way_to_its_parent_is_found),
		cmocka_unit_test(azure_takes_whole_mib_fixed_disks_only),
		cmocka_unit_test(a_mild_demand_is_no_refusal),
		cmocka_unit_test(
			virtual_pc_wants_exact_geometry_and_2_mib_blocks),
		cmocka_unit_test(xenserver_wants_its_own_creator_and_unit),
		cmocka_unit_test(qemu_cuts_its_own_and_takes_no_child),
		cmocka_unit_test(products_judge_checksums_as_their_readers_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
