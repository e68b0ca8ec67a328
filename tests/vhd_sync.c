/* SPDX-License-Identifier: BSD-2-Clause */
/* Plain reads and writes: whole ranges over all kinds of runs, against a flat
 * model.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"

#define KIB  1024u
#define MIB  (1u << 20)
#define SIZE (3 * MIB + 512)

static void ranges_must_be_whole_sectors_on_the_disk(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	uint8_t b[1024];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_FIXED, true, &img, &e), 0);
	assert_refused(vhd_read(img, 1, b, 512, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_refused(vhd_read(img, 0, b, 511, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_refused(vhd_write(img, 0, b, 100, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_refused(vhd_read(img, MIB - 512, b, 1024, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_write(img, MIB, b, 512, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_refused(vhd_read(img, UINT64_MAX - 511, b, 1024, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
	assert_int_equal(vhd_read(img, MIB - 512, b, 512, &e), 0);
	assert_int_equal(vhd_read(img, MIB, b, 0, &e), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

static int fail_writes(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_WRITE ? -ENOSPC : 0;
}

static void a_failed_data_write_does_not_poison(void **state)
{
	(void)state;
	struct memfile *m = img_fixed(MIB);
	uint8_t b[512] = {0};
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_FIXED, true, &img, &e), 0);
	memfile_set_hook(m, fail_writes, NULL);
	assert_refused(vhd_write(img, 4096, b, 512, &e), &e, ENOSPC,
		       VHD_WHY_NO_SPACE);
	memfile_set_hook(m, NULL, NULL);
	assert_false(vhd_poisoned(img));
	assert_int_equal(vhd_write(img, 4096, b, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_FIXED, false, &img, &e), 0);
	assert_refused(vhd_write(img, 0, b, 512, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* Random transfers of any length on each kind of image, compared with plain
 * memory; closed and opened in between.
 */
static void model_run(struct memfile *m, uint8_t *model, uint64_t *rnd)
{
	static uint8_t buf[SIZE];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	for (int i = 0; i < 400; i++) {
		uint64_t at = random_below(rnd, SIZE / 512);
		uint64_t most = random_below(rnd, 8) ? 40 : 5000;
		uint64_t n = 1 + random_below(rnd, most);

		if (n > SIZE / 512 - at)
			n = SIZE / 512 - at;
		at *= 512;
		n *= 512;
		switch (random_below(rnd, 16)) {
		case 0:
			assert_int_equal(vhd_flush(img, &e), 0);
			break;
		case 1:
			assert_int_equal(vhd_close(img, &e), 0);
			assert_int_equal(
				img_open(m, VHD_FORMAT_AUTO, true, &img, &e),
				0);
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			memset(buf, (int)random_next(rnd), n);
			buf[0] = (uint8_t)i;
			memcpy(model + at, buf, n);
			assert_int_equal(vhd_write(img, at, buf, n, &e), 0);
			break;
		default:
			assert_int_equal(vhd_read(img, at, buf, n, &e), 0);
			assert_memory_equal(buf, model + at, n);
			break;
		}
	}
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, buf, SIZE, &e), 0);
	assert_memory_equal(buf, model, SIZE);
	vhd_abandon(img);
}

/* Foreign blocks with bits here and there, junk under the zeros. */
static struct memfile *foreign(uint8_t *model, uint64_t *rnd)
{
	static const uint32_t order[] = {9, 2, 40, 0};
	const uint32_t block = 64 * KIB;
	struct memfile *m = img_dynamic(SIZE, block, order, 4);

	memset(model, 0, SIZE);
	for (unsigned k = 0; k < 4; k++) {
		uint8_t map[16];

		for (unsigned i = 0; i < 16; i++)
			map[i] = (uint8_t)(random_next(rnd) & random_next(rnd));
		assert_int_equal(
			memfile_poke(m, map, 16, img_place(SIZE, block, k)), 0);
		for (unsigned s = 0; s < 128; s++)
			if (map[s / 8] & (0x80 >> s % 8))
				memset(model + order[k] * block + s * 512,
				       img_byte(order[k]), 512);
	}
	return m;
}

static void random_transfers_agree_with_plain_memory(void **state)
{
	(void)state;
	static const enum vhd_format formats[] = {
		VHD_FORMAT_RAW, VHD_FORMAT_FIXED, VHD_FORMAT_DYNAMIC};
	static const uint32_t blocks[] = {4 * KIB, 64 * KIB, 512 * KIB,
					  2 * MIB};
	uint64_t rnd = random_seed();
	static uint8_t model[SIZE];

	for (size_t i = 0; i < 6; i++) {
		struct vhd_create_opts o = {
			.format = formats[i < 2 ? i : 2],
			.size_bytes = SIZE,
			.block_size_bytes = i < 2 ? 0 : blocks[i - 2],
		};
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd *img;
		struct vhd_err e;

		memset(model, 0, sizeof(model));
		assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
		assert_int_equal(vhd_close(img, &e), 0);
		model_run(m, model, &rnd);
		memfile_destroy(m);
	}
	for (int no_zero = 0; no_zero < 2; no_zero++) {
		struct memfile *m = foreign(model, &rnd);

		memfile_set_no_zero(m, no_zero);
		model_run(m, model, &rnd);
		memfile_destroy(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_must_be_whole_sectors_on_the_disk),
		cmocka_unit_test(a_failed_data_write_does_not_poison),
		cmocka_unit_test(random_transfers_agree_with_plain_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
