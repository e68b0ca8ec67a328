/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/zero.c: what is zeroed in place, what is left alone, and what only a
 * write can do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "vhd/image.h"

#define MIB (1u << 20)

static struct vhd *opened(struct memfile *m, enum vhd_format format, bool rw)
{
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(img_open(m, format, rw, &img, &e), 0);
	return img;
}

static uint64_t zeroed(struct vhd *img, uint64_t lba, uint64_t sectors)
{
	struct vhd_err e;
	uint64_t done = 0;

	assert_int_equal(vhd_zero(img, lba, sectors, &done, &e), 0);
	assert_true(done >= 1 && done <= sectors);
	return done;
}

static void assert_filled(struct vhd *img, uint64_t lba, uint64_t sectors,
			  uint8_t byte)
{
	uint8_t *b = malloc(sectors * 512);
	struct vhd_err e;

	assert_non_null(b);
	assert_int_equal(vhd_read(img, lba * 512, b, sectors * 512, &e), 0);
	for (uint64_t i = 0; i < sectors * 512; i++)
		assert_int_equal(b[i], byte);
	free(b);
}

static void data_of_the_file_itself_becomes_zero(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
	struct vhd *img = opened(m, VHD_FORMAT_DYNAMIC, true);
	struct vhd_err e;

	/* As far as the block reaches, and not a sector further. */
	assert_int_equal(zeroed(img, 7, 5), 5);
	assert_int_equal(zeroed(img, 2000, 100), 48);
	assert_filled(img, 0, 7, img_byte(0));
	assert_filled(img, 7, 5, 0);
	assert_filled(img, 12, 1988, img_byte(0));
	assert_filled(img, 2000, 48, 0);
	assert_filled(img, 2048, 2048, img_byte(1));
	assert_int_equal(vhd_close(img, &e), 0);
	img = opened(m, VHD_FORMAT_DYNAMIC, false);
	assert_filled(img, 7, 5, 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void the_footer_of_a_fixed_disk_is_out_of_reach(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	uint8_t all[512], before[512], after[512];
	struct vhd *img;
	struct vhd_err e;
	uint64_t done;

	memset(all, 0xaa, sizeof(all));
	assert_int_equal(memfile_poke(m, all, 512, MIB - 512), 0);
	memfile_peek(m, before, 512, MIB);
	img = opened(m, VHD_FORMAT_FIXED, true);
	assert_int_equal(zeroed(img, 2047, 1), 1);
	assert_refused(vhd_zero(img, 2047, 2, &done, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_zero(img, 0, 0, &done, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_filled(img, 2047, 1, 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, after, 512, MIB);
	assert_memory_equal(before, after, 512);
	memfile_destroy(m);
}

static void what_reads_as_zero_is_left_alone(void **state)
{
	(void)state;
	static const uint32_t order[] = {2};
	struct memfile *m = img_bare(4 * MIB, MIB, order, 1);
	struct memfile *before = memfile_clone(m);
	struct vhd *img = opened(m, VHD_FORMAT_DYNAMIC, true);
	struct vhd_err e;

	assert_int_equal(zeroed(img, 0, 8192), 4096);  /* no block */
	assert_int_equal(zeroed(img, 4096, 100), 100); /* bits are 0 */
	assert_int_equal(zeroed(img, 6144, 2048), 2048);
	assert_int_equal(memfile_count(m, MEMFILE_ZERO), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

static void what_a_parent_has_needs_a_write(void **state)
{
	(void)state;
	struct memfile *base = img_fixed(MIB);
	struct memfile *m = diff_empty(1, MIB, 65536);
	struct vhd_open_opts o = {.parent_dir = "", .writable = true};
	uint8_t b[512] = {1};
	struct vhd_file f = memfile_file(m);
	uint64_t done = 0;
	struct vhd *img, *low;
	struct vhd_err e;
	uint8_t id[16];

	diff_id(id, 0);
	img_set(base, MIB, 512, IMG_F_ID, id, 16);
	low = opened(base, VHD_FORMAT_FIXED, false);
	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_chain_set_parent(img, low, &e), 0);
	assert_refused(vhd_zero(img, 5, 20, &done, &e), &e, EOPNOTSUPP,
		       VHD_WHY_UNSUPPORTED);
	assert_int_equal(done, 20);
	assert_int_equal(memfile_count(base, MEMFILE_ZERO), 0);
	/* What it has itself needs none, as far as that reaches. */
	assert_int_equal(vhd_write(img, 7 * 512, b, 512, &e), 0);
	assert_int_equal(zeroed(img, 7, 20), 1);
	assert_filled(img, 7, 1, 0);
	vhd_abandon(img);
	memfile_destroy(m);
	memfile_destroy(base);
}

static void a_medium_without_holes_needs_a_write(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd *img = opened(m, VHD_FORMAT_FIXED, true);
	uint64_t done = 0;
	struct vhd_err e;

	memfile_set_no_zero(m, true);
	assert_refused(vhd_zero(img, 0, 3, &done, &e), &e, EOPNOTSUPP,
		       VHD_WHY_UNSUPPORTED);
	assert_int_equal(done, 3);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void readers_and_the_poisoned_are_refused(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd *img = opened(m, VHD_FORMAT_FIXED, false);
	struct vhd_err e;
	uint64_t done;

	assert_refused(vhd_zero(img, 0, 1, &done, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY);
	vhd_abandon(img);
	img = opened(m, VHD_FORMAT_FIXED, true);
	vhd_poison(img);
	assert_refused(vhd_zero(img, 0, 1, &done, &e), &e, EIO,
		       VHD_WHY_POISONED);
	assert_int_equal(memfile_count(m, MEMFILE_ZERO), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static int no_zero(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_ZERO ? -EIO : 0;
}

static void a_failing_medium_is_told(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	struct vhd *img = opened(m, VHD_FORMAT_FIXED, true);
	struct vhd_err e;
	uint64_t done;

	memfile_set_hook(m, no_zero, NULL);
	assert_refused(vhd_zero(img, 0, 1, &done, &e), &e, EIO, VHD_WHY_IO);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* Zeros and writes in turn, against a flat disk, across reopening. */
static void random_zeros_match_a_flat_disk(void **state)
{
	(void)state;
	const uint64_t size = 3 * MIB + 512;
	uint64_t rnd = random_seed();
	uint8_t *model = calloc(1, size), *b = malloc(size);
	struct memfile *m;
	struct vhd *img;
	struct vhd_err e;

	assert_non_null(model);
	assert_non_null(b);
	m = diff_random(IMG_TYPE_DYNAMIC, 0, size, 65536, model, &rnd);
	img = opened(m, VHD_FORMAT_DYNAMIC, true);
	for (int i = 0; i < 400; i++) {
		uint64_t at = random_below(&rnd, size / 512);
		uint64_t n = 1 + random_below(&rnd, 400);

		if (n > size / 512 - at)
			n = size / 512 - at;
		if (random_below(&rnd, 3) == 0) {
			memset(model + at * 512, i, n * 512);
			assert_int_equal(vhd_write(img, at * 512,
						   model + at * 512, n * 512,
						   &e),
					 0);
		} else {
			memset(model + at * 512, 0, n * 512);
			for (uint64_t k = 0; k < n;)
				k += zeroed(img, at + k, n - k);
		}
		if (i % 100 == 99) {
			assert_int_equal(vhd_close(img, &e), 0);
			img = opened(m, VHD_FORMAT_DYNAMIC, true);
		}
		if (i % 20 == 19) {
			assert_int_equal(vhd_read(img, 0, b, size, &e), 0);
			assert_memory_equal(b, model, size);
		}
	}
	vhd_abandon(img);
	memfile_destroy(m);
	free(b);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_of_the_file_itself_becomes_zero),
		cmocka_unit_test(the_footer_of_a_fixed_disk_is_out_of_reach),
		cmocka_unit_test(what_reads_as_zero_is_left_alone),
		cmocka_unit_test(what_a_parent_has_needs_a_write),
		cmocka_unit_test(a_medium_without_holes_needs_a_write),
		cmocka_unit_test(readers_and_the_poisoned_are_refused),
		cmocka_unit_test(a_failing_medium_is_told),
		cmocka_unit_test(random_zeros_match_a_flat_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
