/* SPDX-License-Identifier: BSD-2-Clause */
/* The block table: order, counts, limits. Its refusals are in vhd_open.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/vhdimg.h"
#include "vhd/image.h"

#define KIB 1024u
#define MIB (1u << 20)
#define GIB (1ull << 30)

static void blocks_in_any_order_are_accepted(void **state)
{
	(void)state;
	enum { N = 1000 };
	uint64_t rnd = random_seed();
	uint32_t order[N];
	struct memfile *m;
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	for (uint32_t i = 0; i < N; i++)
		order[i] = i;
	for (uint32_t i = N - 1; i; i--) {
		uint32_t k = (uint32_t)random_below(&rnd, i + 1);
		uint32_t t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	m = img_bare((uint64_t)N * 64 * KIB, 64 * KIB, order, N);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	for (uint32_t i = 0; i < N; i++) {
		assert_int_equal(vhd_map(img, order[i] * 128, 1, &r, &e), 0);
		assert_int_equal(r.kind, VHD_RUN_ZERO);
	}
	/* two that are equal are found wherever they are */
	img_bat(m, order[17],
		(uint32_t)(img_place(N * 64ull * KIB, 64 * KIB, 900) / 512));
	vhd_abandon(img);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_DUPLICATE);
	memfile_destroy(m);
}

static void blocks_exactly_a_stride_apart_do_not_overlap(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
	uint32_t second = (uint32_t)(img_place(4 * MIB, MIB, 1) / 512);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	img_bat(m, 0, second - 1);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_OVERLAP);
	memfile_destroy(m);
}

static void neighbours_in_ascending_order_may_not_overlap(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 1};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
	uint32_t second = (uint32_t)(img_place(4 * MIB, MIB, 1) / 512);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	img_bat(m, 1, second - 1);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_OVERLAP);
	memfile_destroy(m);
}

/* Shuffled blocks, some a sector too close to one other: densely as a writer
 * puts them, and with gaps so wide that another way of looking is taken.
 */
static void a_sector_too_close_is_found_in_any_order(void **state)
{
	(void)state;
	enum { N = 64 };
	const uint32_t block = 4 * KIB, stride = block / 512 + 1;
	uint64_t rnd = random_seed();

	for (int round = 0; round < 200; round++) {
		uint32_t gap = round % 2 ? 5 * stride : 0;
		bool close = random_below(&rnd, 2);
		uint32_t at = 16, order[N];
		struct vhd *img = NULL;
		struct memfile *m;
		struct vhd_err e;
		uint32_t victim = 1 + (uint32_t)random_below(&rnd, N - 1);

		for (uint32_t i = 0; i < N; i++)
			order[i] = i;
		for (uint32_t i = N - 1; i; i--) {
			uint32_t k = (uint32_t)random_below(&rnd, i + 1);
			uint32_t t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		m = img_bare((uint64_t)N * block, block, order, N);
		memfile_resize(m, 4 * MIB);
		for (uint32_t i = 0; i < N; i++) {
			if (close && i == victim)
				at--;
			else if (i && gap)
				at += (uint32_t)random_below(&rnd, gap);
			img_bat(m, order[i], at);
			at += stride;
		}
		if (close)
			assert_refused(img_open(m, VHD_FORMAT_AUTO, false,
						&img, &e),
				       &e, EUCLEAN, VHD_WHY_BAT_OVERLAP);
		else
			assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false,
						  &img, &e),
					 0);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void a_block_may_end_exactly_at_the_footer(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	uint64_t end = memfile_len(m) - 512;
	struct vhd *img;
	struct vhd_err e;
	uint8_t zeros[512] = {0};

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	/* without a footer the file's end is the limit */
	img_bat(m, 0, (uint32_t)(img_place(4 * MIB, MIB, 0) / 512) + 1);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_PAST_END);
	assert_int_equal(memfile_poke(m, zeros, 512, end), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* The last block of a disk that is no whole number of blocks may end with the
 * disk; the one before may not.
 */
static void only_the_last_block_may_be_short(void **state)
{
	(void)state;
	static const uint32_t order[] = {3};
	const uint64_t size = 3 * MIB + 512;
	struct memfile *m = img_bare(size, MIB, order, 1);
	uint32_t place = (uint32_t)(img_place(size, MIB, 0) / 512);
	struct vhd *img;
	struct vhd_err e;
	uint8_t f[512];

	memfile_peek(m, f, 512, 0);
	memfile_resize(m, (place + 2) * 512ull);
	assert_int_equal(memfile_poke(m, f, 512, (place + 2) * 512ull), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_LAST_BLOCK_SHORT);
	vhd_abandon(img);
	img_bat(m, 3, UINT32_MAX);
	img_bat(m, 2, place);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_PAST_END);
	memfile_destroy(m);
}

static void table_counts_describe_the_layout(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 1, 2, 7, 3, 4};
	struct memfile *m = img_bare(8 * MIB, MIB, order, 6);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->blocks, 8);
	assert_int_equal(vhd_get_info(img)->table_entries, 8);
	assert_int_equal(vhd_get_info(img)->blocks_used, 6);
	assert_int_equal(vhd_get_info(img)->fragments, 3);
	/* data of the first starts at 2560; each further one 512 later */
	assert_int_equal(vhd_get_info(img)->blocks_aligned, 1);
	assert_false(vhd_data_aligned(img));
	vhd_abandon(img);
	memfile_destroy(m);
}

static void entries_beyond_the_disk_are_kept_and_never_followed(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	uint8_t b[4];
	struct vhd *img;
	struct vhd_err e;
	uint8_t buf[512] = {1};

	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 6);
	img_bat(m, 4, 0);
	img_bat(m, 5, 0x12345678);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->blocks_used, 1);
	assert_int_equal(vhd_get_info(img)->notes,
			 VHD_NOTE_TABLE_LONG | VHD_NOTE_TABLE_EXTRA);
	/* and survive when their sector of the table is written */
	assert_int_equal(vhd_write(img, MIB, buf, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, b, 4, IMG_TABLE + 16);
	assert_int_equal(img_get32(b), 0);
	memfile_peek(m, b, 4, IMG_TABLE + 20);
	assert_int_equal(img_get32(b), 0x12345678);
	memfile_peek(m, b, 4, IMG_TABLE + 24);
	assert_int_equal(img_get32(b), 0xffffffff);
	memfile_destroy(m);
}

/* A larger disk would have it again: a new block goes behind it, and closing
 * does not cut it off.
 */
static void a_block_beyond_the_disk_keeps_its_place(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 4};
	const uint64_t size = 5 * (uint64_t)MIB;
	struct memfile *m = img_dynamic(size, MIB, order, 2);
	uint64_t place = img_place(size, MIB, 1);
	struct vhd *img;
	struct vhd_err e;
	uint8_t buf[512] = {1}, got[512];

	img_footers64(m, IMG_F_CURRENT_SIZE, 4 * MIB);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_TABLE_EXTRA);
	assert_int_equal(vhd_write(img, MIB, buf, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memset(buf, img_byte(4), sizeof(buf));
	for (uint64_t at = 0; at < MIB; at += 512) {
		memfile_peek(m, got, 512, place + 512 + at);
		assert_memory_equal(got, buf, 512);
	}
	img_footers64(m, IMG_F_CURRENT_SIZE, size);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_read(img, 4 * MIB, got, 512, &e), 0);
	assert_memory_equal(got, buf, 512);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void padding_of_zeros_is_kept(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	uint8_t pad[512 - 16], zeros[512 - 16] = {0};
	struct vhd *img;
	struct vhd_err e;
	uint8_t buf[512] = {1};

	assert_int_equal(memfile_poke(m, zeros, sizeof(zeros), IMG_TABLE + 16),
			 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_write(img, MIB, buf, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, pad, sizeof(pad), IMG_TABLE + 16);
	assert_memory_equal(pad, zeros, sizeof(pad));
	memfile_destroy(m);
}

/* 1 044 480 blocks: the table is read in chunks, memory is a few bytes a
 * block, and the last block is where the last sector is.
 */
static void the_largest_disk_opens(void **state)
{
	(void)state;
	static const uint32_t order[] = {1044479, 0};
	struct memfile *m = img_dynamic(2040 * GIB, 2 * MIB, order, 2);
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	uint8_t got[512];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->blocks, 1044480);
	assert_int_equal(vhd_read(img, 2040 * GIB - 512, got, 512, &e), 0);
	assert_int_equal(got[0], img_byte(1044479));
	assert_int_equal(vhd_map(img, 4096, 2040 * GIB / 512 - 4096, &r, &e),
			 0);
	assert_int_equal(r.kind, VHD_RUN_HOLE);
	assert_true(r.sectors == 2040 * GIB / 512 - 2 * 4096);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static int count_bytes(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	uint64_t *sum = ctx;

	(void)off;
	if (op == MEMFILE_READ)
		*sum += len;
	return 0;
}

/* A header may claim more entries than memory has; only what the disk needs
 * is kept, and only what the largest disk could use is looked at: 2 088 960
 * blocks of 1 MiB.
 */
static void a_huge_table_for_a_small_disk_costs_nothing(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_bare(4 * MIB, MIB, order, 0);
	uint64_t sum = 0, table_end;
	struct vhd *img;
	struct vhd_err e;
	uint8_t f[512];

	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, UINT32_MAX);
	memfile_peek(m, f, 512, 0);
	table_end = IMG_TABLE + ((uint64_t)UINT32_MAX * 4 + 511) / 512 * 512;
	assert_int_equal(memfile_poke(m, f, 512, table_end), 0);
	memfile_set_hook(m, count_bytes, &sum);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_true(sum <= 2088960 * 4 + 65536);
	assert_int_equal(vhd_get_info(img)->blocks, 4);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static void unreadable_tables_are_an_error(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	struct vhd *img;
	struct vhd_err e;

	/* a file that ends with the table: a writer pads its last sector */
	img_bat(m, 0, UINT32_MAX);
	memfile_resize(m, IMG_TABLE + 16);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	vhd_abandon(img);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(memfile_len(m), 4096);
	memfile_resize(m, IMG_TABLE + 15);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_TABLE_PAST_END);
	memfile_destroy(m);
}

struct nth_read {
	unsigned left;
	bool hit;
};

static int fail_nth_read(void *ctx, enum memfile_op op, uint64_t off,
			 uint64_t len)
{
	struct nth_read *n = ctx;

	(void)len;
	if (op != MEMFILE_READ || off < IMG_TABLE || n->left--)
		return 0;
	n->hit = true;
	return -EIO;
}

/* 40000 blocks are three reads, and as many entries behind them three more. */
static void any_read_of_a_long_table_may_fail(void **state)
{
	(void)state;
	const uint64_t size = 40000ull * MIB;
	struct memfile *m = img_bare(size, MIB, NULL, 0);
	struct nth_read n;
	unsigned reads = 0;
	uint8_t f[512];
	struct vhd *img;
	struct vhd_err e;

	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, 80000);
	memfile_peek(m, f, 512, 0);
	assert_int_equal(memfile_poke(m, f, 512, IMG_TABLE + 320000), 0);
	memfile_set_hook(m, fail_nth_read, &n);
	do {
		int rc;

		n = (struct nth_read){.left = reads};
		rc = img_open(m, VHD_FORMAT_AUTO, false, &img, &e);
		if (!n.hit)
			assert_int_equal(rc, 0);
		else if (reads++ > 0) /* the first one is the footer's */
			assert_refused(rc, &e, EIO, VHD_WHY_IO);
	} while (n.hit);
	vhd_abandon(img);
	assert_in_range(reads, 6, 12);
	memfile_destroy(m);
}

/* What is wrong in the first part of it is told, and the rest not read. */
static void a_bad_entry_ends_the_reading_of_a_long_table(void **state)
{
	(void)state;
	struct memfile *m = img_bare(40000ull * MIB, MIB, NULL, 0);
	struct vhd *img;
	struct vhd_err e;
	uint64_t sum = 0;

	img_bat(m, 3, 0);
	memfile_set_hook(m, count_bytes, &sum);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       EUCLEAN, VHD_WHY_BAT_IN_METADATA);
	assert_true(sum < 80000);
	memfile_destroy(m);
}

/* The first block leaves room for the header of a batmap, should blktap want
 * to make one.
 */
static void a_disk_of_blktap_without_a_batmap_keeps_its_place(void **state)
{
	(void)state;
	struct memfile *m = img_bare(4 * MIB, MIB, NULL, 0);
	uint8_t one[512] = {1}, b[4];
	struct vhd *img;
	struct vhd_err e;

	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_write(img, 0, one, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, b, 4, IMG_TABLE);
	assert_true(img_get32(b) * 512ull >= IMG_TABLE + 512 + 512);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_in_any_order_are_accepted),
		cmocka_unit_test(blocks_exactly_a_stride_apart_do_not_overlap),
		cmocka_unit_test(neighbours_in_ascending_order_may_not_overlap),
		cmocka_unit_test(a_sector_too_close_is_found_in_any_order),
		cmocka_unit_test(only_the_last_block_may_be_short),
		cmocka_unit_test(a_block_may_end_exactly_at_the_footer),
		cmocka_unit_test(table_counts_describe_the_layout),
		cmocka_unit_test(
			entries_beyond_the_disk_are_kept_and_never_followed),
		cmocka_unit_test(a_block_beyond_the_disk_keeps_its_place),
		cmocka_unit_test(padding_of_zeros_is_kept),
		cmocka_unit_test(the_largest_disk_opens),
		cmocka_unit_test(a_huge_table_for_a_small_disk_costs_nothing),
		cmocka_unit_test(unreadable_tables_are_an_error),
		cmocka_unit_test(any_read_of_a_long_table_may_fail),
		cmocka_unit_test(a_bad_entry_ends_the_reading_of_a_long_table),
		cmocka_unit_test(
			a_disk_of_blktap_without_a_batmap_keeps_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
