/* SPDX-License-Identifier: BSD-2-Clause */
/* LBA to run: ranges, edges, joined holes, and no I/O on the way. */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"

#define MIB (1u << 20)

static struct vhd_run mapped(struct vhd *img, uint64_t lba, uint64_t sectors)
{
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(vhd_map(img, lba, sectors, &r, &e), 0);
	assert_true(r.sectors >= 1 && r.sectors <= sectors);
	return r;
}

static void flat_disks_map_in_one_run(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(4 * MIB);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_FIXED, false, &img, &e), 0);
	r = mapped(img, 5, 8000);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.off_bytes, 5 * 512);
	assert_int_equal(r.sectors, 8000);
	vhd_abandon(img);
	assert_int_equal(img_open(m, VHD_FORMAT_RAW, false, &img, &e), 0);
	r = mapped(img, 0, 8193); /* the footer is the raw disk's, too */
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.sectors, 8193);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void ranges_off_the_disk_are_refused(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m[] = {img_fixed(4 * MIB),
			       img_dynamic(4 * MIB, MIB, order, 1)};

	for (int i = 0; i < 2; i++) {
		struct vhd *img;
		struct vhd_run r;
		struct vhd_err e;

		assert_int_equal(
			img_open(m[i], VHD_FORMAT_AUTO, false, &img, &e), 0);
		mapped(img, 8191, 1);
		assert_refused(vhd_map(img, 0, 0, &r, &e), &e, EINVAL,
			       VHD_WHY_RANGE);
		assert_refused(vhd_map(img, 8191, 2, &r, &e), &e, EINVAL,
			       VHD_WHY_RANGE);
		assert_refused(vhd_map(img, 8192, 1, &r, &e), &e, EINVAL,
			       VHD_WHY_RANGE);
		assert_refused(vhd_map(img, UINT64_MAX, 1, &r, &e), &e, EINVAL,
			       VHD_WHY_RANGE);
		assert_refused(vhd_map(img, 1, UINT64_MAX, &r, &e), &e, EINVAL,
			       VHD_WHY_RANGE);
		vhd_abandon(img);
		memfile_destroy(m[i]);
	}
}

static void data_runs_end_at_their_block(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 1, 3};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 3);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	r = mapped(img, 0, 8192);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.off_bytes, img_place(4 * MIB, MIB, 0) + 512);
	assert_int_equal(r.sectors, 2048);
	r = mapped(img, 2048 + 7, 8);
	assert_int_equal(r.off_bytes,
			 img_place(4 * MIB, MIB, 1) + 512 + 7 * 512);
	assert_int_equal(r.sectors, 8);
	r = mapped(img, 8191, 1);
	assert_int_equal(r.off_bytes,
			 img_place(4 * MIB, MIB, 2) + 512 + 2047 * 512);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void holes_are_joined_over_blocks(void **state)
{
	(void)state;
	static const uint32_t order[] = {5};
	struct memfile *m = img_dynamic(8 * MIB, MIB, order, 1);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	r = mapped(img, 0, 16384);
	assert_int_equal(r.kind, VHD_RUN_HOLE);
	assert_int_equal(r.sectors, 5 * 2048);
	assert_int_equal(r.off_bytes, 0);
	r = mapped(img, 100, 5000);
	assert_int_equal(r.sectors, 5000);
	r = mapped(img, 2047, 2);
	assert_int_equal(r.sectors, 2);
	r = mapped(img, 6 * 2048, 4096);
	assert_int_equal(r.kind, VHD_RUN_HOLE);
	assert_int_equal(r.sectors, 4096);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void the_end_of_a_disk_that_is_no_multiple_maps(void **state)
{
	(void)state;
	static const uint32_t order[] = {1};
	struct memfile *m = img_dynamic(MIB + 512, MIB, order, 1);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	r = mapped(img, 2048, 1);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_refused(vhd_map(img, 2048, 2, &r, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void mapping_known_blocks_does_no_io(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 1, 2, 3};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 4);
	struct vhd *img;
	struct vhd_err e;
	uint64_t reads;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	for (uint64_t b = 0; b < 4; b++)
		mapped(img, b * 2048, 1);
	reads = memfile_count(m, MEMFILE_READ);
	for (uint64_t lba = 0; lba < 8192; lba++)
		mapped(img, lba, 8192 - lba);
	assert_int_equal(memfile_count(m, MEMFILE_READ), reads);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_differencing_disk_points_to_its_parent(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	uint8_t first = 0x7f, buf[512];

	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
	assert_int_equal(memfile_poke(m, &first, 1, 2048), 0);
	assert_int_equal(img_inspect(m, &img, &e), 0);
	assert_int_equal(mapped(img, 0, 10).kind, VHD_RUN_PARENT);
	assert_int_equal(mapped(img, 0, 10).sectors, 1);
	assert_int_equal(mapped(img, 1, 10).kind, VHD_RUN_FILE);
	r = mapped(img, 2048, 6144);
	assert_int_equal(r.kind, VHD_RUN_PARENT);
	assert_int_equal(r.sectors, 6144);
	assert_refused(vhd_read(img, 0, buf, 512, &e), &e, ENOTSUP,
		       VHD_WHY_NEEDS_PARENT);
	assert_int_equal(vhd_read(img, 512, buf, 512, &e), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flat_disks_map_in_one_run),
		cmocka_unit_test(ranges_off_the_disk_are_refused),
		cmocka_unit_test(data_runs_end_at_their_block),
		cmocka_unit_test(holes_are_joined_over_blocks),
		cmocka_unit_test(the_end_of_a_disk_that_is_no_multiple_maps),
		cmocka_unit_test(mapping_known_blocks_does_no_io),
		cmocka_unit_test(a_differencing_disk_points_to_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
