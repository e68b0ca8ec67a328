/* SPDX-License-Identifier: BSD-2-Clause */
/* What the library writes, judged by a reader that shares no code with it:
 * after every flush the bytes on the medium are a sound image with exactly
 * the flushed content, whatever sizes, blocks and orders came up.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/memfile.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "vhd/file.h"

#define SECTORS_MAX 700u
#define ROUNDS 60
#define STEPS 40

struct disk {
	struct memfile *m;
	struct vhd *img;
	uint64_t sectors;
	uint8_t model[SECTORS_MAX * 512];
};

static void judge(const struct disk *d)
{
	uint64_t len = memfile_len(d->m);
	uint8_t *bytes = malloc(len);
	struct oracle o;
	uint8_t got[512];

	assert_non_null(bytes);
	memfile_peek(d->m, bytes, len, 0);
	if (!oracle_open(&o, bytes, len) || !oracle_check(&o))
		fail_msg("the independent reader says: %s", o.fault);
	assert_int_equal(o.size, d->sectors * 512);
	for (uint64_t lba = 0; lba < d->sectors; lba++) {
		assert_true(oracle_sector(&o, lba, got));
		assert_memory_equal(got, d->model + lba * 512, 512);
	}
	assert_false(oracle_sector(&o, d->sectors, got));
	free(bytes);
}

static void make(struct disk *d, uint64_t *rnd)
{
	struct vhd_create_opts c = {
		.format = random_below(rnd, 4) ? VHD_FORMAT_DYNAMIC
					       : VHD_FORMAT_FIXED,
		.block_size_bytes = 4096u << random_below(rnd, 5),
		.now_unix_s = 1700000000,
	};
	struct vhd_file f;
	struct vhd_err e;

	memset(d->model, 0, sizeof(d->model));
	d->sectors = 1 + random_below(rnd, SECTORS_MAX);
	c.size_bytes = d->sectors * 512;
	d->m = memfile_create();
	assert_non_null(d->m);
	f = memfile_file(d->m);
	assert_int_equal(vhd_create_file(&f, &c, &d->img, &e), 0);
}

static void reopen(struct disk *d)
{
	struct vhd_open_opts o = {.writable = true};
	struct vhd_file f = memfile_file(d->m);
	struct vhd_err e;

	assert_int_equal(vhd_close(d->img, &e), 0);
	judge(d);
	assert_int_equal(vhd_open_file(&f, &o, &d->img, &e), 0);
}

static void write_some(struct disk *d, uint64_t *rnd)
{
	uint64_t lba = random_below(rnd, d->sectors);
	uint64_t n = 1 + random_below(rnd, 50);
	struct vhd_err e;

	if (n > d->sectors - lba)
		n = d->sectors - lba;
	for (uint64_t i = 0; i < n * 512; i++)
		d->model[lba * 512 + i] = (uint8_t)random_next(rnd);
	assert_int_equal(vhd_write(d->img, lba * 512, d->model + lba * 512,
				   n * 512, &e), 0);
}

static void an_independent_reader_finds_what_was_flushed(void **state)
{
	(void)state;
	static struct disk d;
	uint64_t rnd = random_seed();
	struct vhd_err e;

	for (int round = 0; round < ROUNDS; round++) {
		make(&d, &rnd);
		for (int step = 0; step < STEPS; step++) {
			write_some(&d, &rnd);
			if (random_below(&rnd, 5) == 0) {
				assert_int_equal(vhd_flush(d.img, &e), 0);
				judge(&d);
			}
			if (random_below(&rnd, 12) == 0)
				reopen(&d);
		}
		assert_int_equal(vhd_close(d.img, &e), 0);
		judge(&d);
		memfile_destroy(d.m);
	}
}

static void the_independent_reader_sees_overlaps_and_bad_sums(void **state)
{
	(void)state;
	static struct disk d;
	static const uint8_t to_table[4] = {0, 0, 0, 3};
	uint64_t rnd = 7;
	uint64_t len;
	uint8_t *bytes;
	struct oracle o;
	struct vhd_err e;

	do {
		make(&d, &rnd);
		if (vhd_get_info(d.img)->format == VHD_FORMAT_DYNAMIC)
			break;
		assert_int_equal(vhd_close(d.img, &e), 0);
		memfile_destroy(d.m);
	} while (true);
	write_some(&d, &rnd);
	assert_int_equal(vhd_close(d.img, &e), 0);
	len = memfile_len(d.m);
	bytes = malloc(len);
	assert_non_null(bytes);
	memfile_peek(d.m, bytes, len, 0);
	assert_true(oracle_open(&o, bytes, len));
	memcpy(bytes + o.table, to_table, 4);
	assert_true(oracle_open(&o, bytes, len));
	assert_false(oracle_check(&o));
	bytes[len - 100] ^= 1;
	bytes[100] ^= 1;
	assert_false(oracle_open(&o, bytes, len));
	free(bytes);
	memfile_destroy(d.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_independent_reader_finds_what_was_flushed),
		cmocka_unit_test(
			the_independent_reader_sees_overlaps_and_bad_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
