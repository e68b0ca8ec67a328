/* SPDX-License-Identifier: BSD-2-Clause */
/* Dynamic headers: every number bounded before use, at N and N+1. */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/format.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static const struct vhd_header good = {
	.table_bytes = 1536,
	.version = 0x00010000,
	.table_entries = 8,
	.block_size_bytes = 2 << 20,
};

static int check(const struct vhd_header *h, uint64_t size, uint64_t file,
		 struct vhd_err *err)
{
	return vhd_header_check(h, 512, size, file, err);
}

static void a_hand_made_header_decodes(void **state)
{
	(void)state;
	uint8_t b[1024];
	struct vhd_header_wire w;
	struct vhd_header h;

	img_header(b, 8, 2 << 20);
	memcpy(&w, b, sizeof(w));
	vhd_header_decode(&w, &h);
	assert_true(h.cookie_ok && h.checksum_ok);
	assert_int_equal(h.table_bytes, 1536);
	assert_int_equal(h.table_entries, 8);
	assert_int_equal(h.block_size_bytes, 2 << 20);
	assert_true(h.next_offset_bytes == UINT64_MAX);
	assert_false(h.reserved_nonzero);
	b[1000] = 1;
	memcpy(&w, b, sizeof(w));
	vhd_header_decode(&w, &h);
	assert_false(h.checksum_ok);
	assert_true(h.reserved_nonzero);
}

static void an_encoded_header_is_the_hand_made_one(void **state)
{
	(void)state;
	uint8_t b[1024];
	struct vhd_header_wire w;
	struct vhd_header h = good;

	h.next_offset_bytes = UINT64_MAX;
	vhd_header_encode(&h, &w);
	img_header(b, 8, 2 << 20);
	assert_memory_equal(&w, b, 1024);
}

/* Everyone writes bytes where the specification says sectors. */
static void small_locator_spaces_are_sectors(void **state)
{
	(void)state;
	uint8_t b[1024];
	struct vhd_header_wire w;
	struct vhd_header h;

	img_header(b, 8, 2 << 20);
	img_put32(b + IMG_H_LOCATOR + 4, 1);
	img_put32(b + IMG_H_LOCATOR + 24 + 4, 512);
	memcpy(&w, b, sizeof(w));
	vhd_header_decode(&w, &h);
	assert_int_equal(h.locator[0].space_bytes, 512);
	assert_int_equal(h.locator[1].space_bytes, 512);
}

static void only_major_version_one_is_known(void **state)
{
	(void)state;
	struct vhd_header h = good;
	struct vhd_err e;

	assert_int_equal(check(&h, 16 * MIB, MIB, &e), 0);
	h.version = 0x00010003;
	assert_int_equal(check(&h, 16 * MIB, MIB, &e), 0);
	h.version = 0x00020000;
	assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_HEADER_VERSION);
	assert_int_equal(e.at_bytes, 512 + 24);
}

static void block_sizes_are_powers_of_two_from_4k_to_256m(void **state)
{
	(void)state;
	static const uint32_t bad[] = {
		0,	   1,	     256,
		512,	   2048,     4095,
		4097,	   3 << 20,  (2 << 20) + 512,
		512 << 20, 1u << 31, UINT32_MAX,
	};
	struct vhd_header h = good;
	struct vhd_err e;

	h.table_entries = 4096;
	for (uint32_t n = 4096; n <= 256 << 20; n *= 2) {
		h.block_size_bytes = n;
		assert_int_equal(check(&h, 16 * MIB, MIB, &e), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		h.block_size_bytes = bad[i];
		assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
			       VHD_WHY_BLOCK_SIZE);
	}
}

static void the_table_covers_the_disk(void **state)
{
	(void)state;
	struct vhd_header h = good;
	struct vhd_err e;

	assert_int_equal(check(&h, 16 * MIB, MIB, &e), 0);
	assert_refused(check(&h, 16 * MIB + 512, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_SHORT);
	h.table_entries = 9; /* longer is legal */
	assert_int_equal(check(&h, 16 * MIB, MIB, &e), 0);
	h.table_entries = 0;
	assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_ENTRIES);
}

static void more_blocks_than_the_bound_are_refused(void **state)
{
	(void)state;
	struct vhd_header h = good;
	struct vhd_err e;

	h.block_size_bytes = 4096;
	h.table_entries = UINT32_MAX;
	assert_int_equal(check(&h, 64 * GIB, 20 * GIB, &e), 0);
	assert_refused(check(&h, 64 * GIB + 512, 20 * GIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_ENTRIES);
}

static void the_largest_disk_fits_blocks_of_128k(void **state)
{
	(void)state;
	struct vhd_header h = good;
	struct vhd_err e;

	h.block_size_bytes = 128 << 10;
	h.table_entries = (uint32_t)(2040 * GIB / h.block_size_bytes);
	assert_int_equal(check(&h, 2040 * GIB, GIB, &e), 0);
}

static void the_table_lies_inside_the_file(void **state)
{
	(void)state;
	struct vhd_header h = good;
	struct vhd_err e;

	assert_int_equal(check(&h, 16 * MIB, 1536 + 32, &e), 0);
	assert_refused(check(&h, 16 * MIB, 1536 + 31, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_PAST_END);
	h.table_entries = 0x40000000; /* times four wraps in 32 bits */
	assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_PAST_END);
	h.table_entries = 8;
	h.table_bytes = UINT64_MAX - 511;
	assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_PAST_END);
	h.table_entries = 128; /* the sum wraps in 64 */
	assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
		       VHD_WHY_TABLE_PAST_END);
}

static void the_table_avoids_the_other_structures(void **state)
{
	(void)state;
	static const uint64_t bad[] = {0, 1, 511, 1535, 1537, 512, 1024};
	struct vhd_header h = good;
	struct vhd_err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		h.table_bytes = bad[i];
		assert_refused(check(&h, 16 * MIB, MIB, &e), &e, EUCLEAN,
			       VHD_WHY_TABLE_OFFSET);
		assert_int_equal(e.at_bytes, 512 + 16);
	}
	/* in front of a header that lies further back */
	h.table_bytes = 512;
	h.table_entries = 128;
	assert_int_equal(vhd_header_check(&h, 1024, 16 * MIB, MIB, &e), 0);
	h.table_entries = 129;
	assert_refused(vhd_header_check(&h, 1024, 16 * MIB, MIB, &e), &e,
		       EUCLEAN, VHD_WHY_TABLE_OFFSET);
}

static void bitmaps_take_whole_sectors(void **state)
{
	(void)state;
	assert_int_equal(vhd_bitmap_size(4096), 512);
	assert_int_equal(vhd_bitmap_size(512 << 10), 512);
	assert_int_equal(vhd_bitmap_size(2 << 20), 512);
	assert_int_equal(vhd_bitmap_size(4 << 20), 1024);
	assert_int_equal(vhd_bitmap_size(16 << 20), 4096);
	assert_int_equal(vhd_bitmap_size(256 << 20), 65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hand_made_header_decodes),
		cmocka_unit_test(an_encoded_header_is_the_hand_made_one),
		cmocka_unit_test(small_locator_spaces_are_sectors),
		cmocka_unit_test(only_major_version_one_is_known),
		cmocka_unit_test(block_sizes_are_powers_of_two_from_4k_to_256m),
		cmocka_unit_test(the_table_covers_the_disk),
		cmocka_unit_test(more_blocks_than_the_bound_are_refused),
		cmocka_unit_test(the_largest_disk_fits_blocks_of_128k),
		cmocka_unit_test(the_table_lies_inside_the_file),
		cmocka_unit_test(the_table_avoids_the_other_structures),
		cmocka_unit_test(bitmaps_take_whole_sectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
