/* SPDX-License-Identifier: BSD-2-Clause */
/* Footers: checksum, fields, rules. */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/format.h"

static struct vhd_footer_wire wire_of(const uint8_t b[512])
{
	struct vhd_footer_wire w;

	memcpy(&w, b, sizeof(w));
	return w;
}

/* The footer of a fixed image that Azure exported, as QEMU's commit
 * 558d8eb7f3 shows it.
 */
static void azure_footer(uint8_t f[512])
{
	static const uint8_t id[16] = {0x8c, 0x54, 0xdf, 0x94, 0xbd, 0x35,
				       0x71, 0x4c, 0x94, 0x5f, 0xe5, 0x44,
				       0x44, 0x53, 0x92, 0x1a};

	memset(f, 0, 512);
	memcpy(f, "conectix", 8);
	img_put32(f + 8, 2);
	img_put32(f + 12, 0x00010000);
	img_put64(f + 16, UINT64_MAX);
	img_put32(f + 24, 0x2ec79b96);
	memcpy(f + 28, "wa\0\0", 4);
	img_put32(f + 32, 0x00070000);
	memcpy(f + 36, "Wi2k", 4);
	img_put64(f + 40, 0x140000000);
	img_put64(f + 48, 0x140000000);
	img_put32(f + 56, 10402u << 16 | 16 << 8 | 63);
	img_put32(f + 60, 2);
	memcpy(f + 68, id, 16);
	img_put32(f + 64, 0xffffe747);
}

static void the_azure_footer_has_its_published_checksum(void **state)
{
	(void)state;
	uint8_t f[512];
	struct vhd_footer_wire w;

	azure_footer(f);
	assert_int_equal(vhd_wire_checksum(f, 512, 64), 0xffffe747);
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_OK);
}

static void the_azure_footer_decodes_and_encodes_to_the_same_bytes(void **state)
{
	(void)state;
	uint8_t f[512];
	struct vhd_footer_wire w, again;
	struct vhd_footer d;

	azure_footer(f);
	w = wire_of(f);
	vhd_footer_decode(&w, &d);
	assert_int_equal(d.geometry.cylinders, 10402);
	assert_int_equal(d.geometry.heads, 16);
	assert_int_equal(d.geometry.sectors_per_track, 63);
	assert_int_equal(d.timestamp_s, 0x2ec79b96);
	assert_int_equal(d.type, VHD_WIRE_FIXED);
	assert_true(d.current_size_bytes == 5ull << 30);
	assert_int_equal(vhd_footer_check(&d, 0, NULL), 0);
	vhd_footer_encode(&d, &again);
	assert_memory_equal(&again, f, 512);
}

/* Every field has a value of its own, so that none can stand for another. */
static void fields_that_differ_come_back_as_they_were(void **state)
{
	(void)state;
	static const struct vhd_footer f = {
		.features = 3,
		.version = 0x00010002,
		.data_offset_bytes = 0x123456789a,
		.timestamp_s = 0x11223344,
		.creator_app = {'a', 'b', 'c', 'd'},
		.creator_version = 0x55667788,
		.creator_os = {'W', 'i', '2', 'k'},
		.original_size_bytes = 0x7000000000,
		.current_size_bytes = 0x5000000200,
		.geometry = {0x1234, 0x56, 0x78},
		.type = VHD_WIRE_DIFF,
		.unique_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
			      16},
		.saved_state = 1,
		.hidden = 2,
	};
	struct vhd_footer got;
	struct vhd_footer_wire w;

	vhd_footer_encode(&f, &w);
	vhd_footer_decode(&w, &got);
	assert_int_equal(got.features, f.features);
	assert_int_equal(got.version, f.version);
	assert_true(got.data_offset_bytes == f.data_offset_bytes);
	assert_int_equal(got.timestamp_s, f.timestamp_s);
	assert_memory_equal(got.creator_app, f.creator_app, 4);
	assert_int_equal(got.creator_version, f.creator_version);
	assert_memory_equal(got.creator_os, f.creator_os, 4);
	assert_true(got.original_size_bytes == f.original_size_bytes);
	assert_true(got.current_size_bytes == f.current_size_bytes);
	assert_memory_equal(&got.geometry, &f.geometry, sizeof(f.geometry));
	assert_int_equal(got.type, f.type);
	assert_memory_equal(got.unique_id, f.unique_id, 16);
	assert_int_equal(got.saved_state, 1);
	assert_int_equal(got.hidden, 2);
	assert_false(got.reserved_nonzero);
}

static void any_changed_byte_breaks_the_checksum(void **state)
{
	(void)state;
	for (size_t i = 8; i < 512; i++) {
		uint8_t f[512];
		struct vhd_footer_wire w;

		azure_footer(f);
		f[i]++;
		w = wire_of(f);
		assert_int_equal(vhd_footer_mark(&w), VHD_MARK_BAD_CHECKSUM);
	}
}

static void reserved_bytes_count_in_the_checksum(void **state)
{
	(void)state;
	uint8_t f[512];
	struct vhd_footer_wire w;
	struct vhd_footer d;

	azure_footer(f);
	f[300] = 7;
	img_seal(f, 512);
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_OK);
	vhd_footer_decode(&w, &d);
	assert_true(d.reserved_nonzero);
	assert_int_equal(d.hidden, 0);
	f[300] = 0;
	f[IMG_F_HIDDEN] = 1; /* a field of blktap's, though reserved */
	w = wire_of(f);
	vhd_footer_decode(&w, &d);
	assert_false(d.reserved_nonzero);
	assert_int_equal(d.hidden, 1);
}

static void cookies_are_told_apart(void **state)
{
	(void)state;
	uint8_t f[512];
	struct vhd_footer_wire w;

	azure_footer(f);
	memcpy(f, "v_poison", 8);
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_POISON);
	memcpy(f, "Conectix", 8); /* case matters */
	img_seal(f, 512);
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_NONE);
}

/* Early blktap set `hidden` behind the checksum's back. */
static void only_blktap_may_leave_hidden_out_of_the_sum(void **state)
{
	(void)state;
	uint8_t f[512];
	struct vhd_footer_wire w;

	img_footer(f, IMG_TYPE_DYNAMIC, 1 << 20);
	memcpy(f + IMG_F_APP, "tap\0", 4);
	img_seal(f, 512);
	f[IMG_F_HIDDEN] = 1;
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_OK);
	f[IMG_F_HIDDEN + 1] = 1;
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_BAD_CHECKSUM);

	img_footer(f, IMG_TYPE_DYNAMIC, 1 << 20);
	f[IMG_F_HIDDEN] = 1;
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_BAD_CHECKSUM);

	/* nothing is hidden: the sum is simply wrong */
	memcpy(f + IMG_F_APP, "tap\0", 4);
	f[IMG_F_HIDDEN] = 0;
	w = wire_of(f);
	assert_int_equal(vhd_footer_mark(&w), VHD_MARK_BAD_CHECKSUM);
}

static int check(struct vhd_footer d, struct vhd_err *err)
{
	return vhd_footer_check(&d, 1000, err);
}

static const struct vhd_footer good = {
	.version = 0x00010000,
	.type = VHD_WIRE_DYNAMIC,
	.current_size_bytes = 1 << 20,
};

static void versions_differ_by_their_major_number_only(void **state)
{
	(void)state;
	struct vhd_footer d = good;
	struct vhd_err e;

	d.version = 0x0001ffff;
	assert_int_equal(check(d, &e), 0);
	d.version = 0x00020000;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_FOOTER_VERSION);
	assert_int_equal(e.at_bytes, 1012);
	d.version = 0x00000001;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_FOOTER_VERSION);
}

static void types_other_than_two_three_four_are_refused(void **state)
{
	(void)state;
	static const uint32_t bad[] = {0, 1, 5, 6, 7, 0x03000000, UINT32_MAX};
	struct vhd_footer d = good;
	struct vhd_err e;

	for (uint32_t t = 2; t <= 4; t++) {
		d.type = t;
		assert_int_equal(check(d, &e), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		d.type = bad[i];
		assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_FOOTER_TYPE);
		assert_int_equal(e.at_bytes, 1060);
	}
}

static void sizes_are_whole_sectors_and_not_zero(void **state)
{
	(void)state;
	struct vhd_footer d = good;
	struct vhd_err e;

	d.current_size_bytes = 512;
	assert_int_equal(check(d, &e), 0);
	d.current_size_bytes = 0;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_ZERO);
	d.current_size_bytes = 511;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_ALIGN);
	d.current_size_bytes = 513;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_ALIGN);
	d.current_size_bytes = 768;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_ALIGN);
	assert_int_equal(e.at_bytes, 1048);
}

static void sizes_stop_at_each_types_limit(void **state)
{
	(void)state;
	struct vhd_footer d = good;
	struct vhd_err e;

	d.current_size_bytes = 2040ull << 30;
	assert_int_equal(check(d, &e), 0);
	d.current_size_bytes += 512;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_LIMIT);
	d.type = VHD_WIRE_DIFF;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_LIMIT);
	d.type = VHD_WIRE_FIXED;
	assert_int_equal(check(d, &e), 0);
	d.current_size_bytes = (1ull << 62) - 512;
	assert_int_equal(check(d, &e), 0);
	d.current_size_bytes = 1ull << 62;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_LIMIT);
	d.current_size_bytes = UINT64_MAX - 511;
	assert_refused(check(d, &e), &e, EUCLEAN, VHD_WHY_SIZE_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_azure_footer_has_its_published_checksum),
		cmocka_unit_test(
			the_azure_footer_decodes_and_encodes_to_the_same_bytes),
		cmocka_unit_test(fields_that_differ_come_back_as_they_were),
		cmocka_unit_test(any_changed_byte_breaks_the_checksum),
		cmocka_unit_test(reserved_bytes_count_in_the_checksum),
		cmocka_unit_test(cookies_are_told_apart),
		cmocka_unit_test(only_blktap_may_leave_hidden_out_of_the_sum),
		cmocka_unit_test(versions_differ_by_their_major_number_only),
		cmocka_unit_test(types_other_than_two_three_four_are_refused),
		cmocka_unit_test(sizes_are_whole_sectors_and_not_zero),
		cmocka_unit_test(sizes_stop_at_each_types_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
