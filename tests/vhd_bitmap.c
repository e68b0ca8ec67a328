/* SPDX-License-Identifier: BSD-2-Clause */
/* Sector bitmaps: bit order, what a 0 reads as, how often they are read. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/scratch.h"
#include "tests/lib/vhdimg.h"
#include "vhd/image.h"

#define KIB 1024u
#define MIB (1u << 20)
#define GIB (1ull << 30)

static uint32_t run(const uint8_t *map, uint32_t from, uint32_t to, bool want)
{
	bool set;
	uint32_t n = vhd_bits_run(map, from, to, &set);

	assert_int_equal(set, want);
	return n;
}

static void the_most_significant_bit_comes_first(void **state)
{
	(void)state;
	static const uint8_t map[] = {0x80, 0x01, 0xff, 0xff, 0xfe, 0x00};

	assert_int_equal(run(map, 0, 48, true), 1);
	assert_int_equal(run(map, 1, 48, false), 14);
	assert_int_equal(run(map, 15, 48, true), 24);
	assert_int_equal(run(map, 39, 48, false), 9);
	assert_int_equal(run(map, 15, 20, true), 5);
	assert_int_equal(run(map, 47, 48, false), 1);
}

static void runs_agree_with_bits_looked_at_one_by_one(void **state)
{
	(void)state;
	uint8_t map[8];
	uint64_t x = 0x123456789abcdef0;

	for (int round = 0; round < 2000; round++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		memcpy(map, &x, 8);
		if (round % 3 == 0)
			memset(map + 2, round & 1 ? 0xff : 0, 4);
		for (uint32_t from = 0; from < 64; from++) {
			bool first = map[from / 8] & (0x80 >> from % 8), set;
			uint32_t n = from;

			while (n < 64 &&
			       first == !!(map[n / 8] & (0x80 >> n % 8)))
				n++;
			assert_int_equal(vhd_bits_run(map, from, 64, &set),
					 n - from);
			assert_int_equal(set, first);
			/* nor is anything looked at behind the end */
			for (uint32_t to = from + 1; to < 64; to++)
				assert_int_equal(
					vhd_bits_run(map, from, to, &set),
					(n < to ? n : to) - from);
		}
	}
}

/* 1 MiB blocks of 2048 sectors; block 0 with sectors 8..15 and 2047 valid. */
static struct memfile *partial(void)
{
	static const uint32_t one[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, one, 1);
	uint8_t map[512] = {0};

	map[1] = 0xff;
	map[255] = 0x01;
	assert_int_equal(memfile_poke(m, map, 512, img_place(4 * MIB, MIB, 0)),
			 0);
	return m;
}

static void a_zero_bit_reads_as_zero_whatever_lies_there(void **state)
{
	(void)state;
	struct memfile *m = partial();
	struct vhd *img;
	struct vhd_err e;
	static uint8_t got[MIB];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, got, MIB, &e), 0);
	for (uint32_t s = 0; s < 2048; s++) {
		bool valid = (s >= 8 && s < 16) || s == 2047;

		assert_int_equal(got[s * 512], valid ? img_byte(0) : 0);
		assert_int_equal(got[s * 512 + 511], valid ? img_byte(0) : 0);
	}
	vhd_abandon(img);
	memfile_destroy(m);
}

static void runs_end_where_bits_change(void **state)
{
	(void)state;
	struct memfile *m = partial();
	uint64_t data = img_place(4 * MIB, MIB, 0) + 512;
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_map(img, 0, 8192, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_ZERO);
	assert_int_equal(r.sectors, 8);
	assert_int_equal(vhd_map(img, 9, 8183, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.off_bytes, data + 9 * 512);
	assert_int_equal(r.sectors, 7);
	assert_int_equal(vhd_map(img, 16, 8176, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_ZERO);
	assert_int_equal(r.sectors, 2031);
	assert_int_equal(vhd_map(img, 2047, 1000, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.sectors, 1);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_bitmap_is_read_once(void **state)
{
	(void)state;
	static const uint32_t order[] = {0, 1};
	struct memfile *parts[2] = {partial(),
				    img_dynamic(4 * MIB, MIB, order, 2)};

	for (int i = 0; i < 2; i++) {
		struct memfile *m = parts[i];
		struct vhd *img;
		struct vhd_run r;
		struct vhd_err e;
		uint64_t reads;

		assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
				 0);
		reads = memfile_count(m, MEMFILE_READ);
		for (uint64_t lba = 0; lba < 2048; lba++)
			assert_int_equal(vhd_map(img, lba, 1, &r, &e), 0);
		assert_int_equal(memfile_count(m, MEMFILE_READ), reads + 1);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static int fail_reads(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_READ ? -EIO : 0;
}

static void a_bitmap_that_cannot_be_read_is_tried_again(void **state)
{
	(void)state;
	struct memfile *m = partial();
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	memfile_set_hook(m, fail_reads, NULL);
	assert_refused(vhd_map(img, 0, 1, &r, &e), &e, EIO, VHD_WHY_IO);
	memfile_set_hook(m, NULL, NULL);
	assert_int_equal(vhd_map(img, 0, 1, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_ZERO);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* Sectors past the disk's end do not keep its last block from being whole. */
static void bits_past_the_disk_do_not_count(void **state)
{
	(void)state;
	static const uint32_t one[] = {0};
	struct memfile *m = img_dynamic(12 * 512, MIB, one, 1);
	uint8_t map[2] = {0xff, 0xf0};
	uint8_t zeros[510] = {0};
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(memfile_poke(m, map, 2, 2048), 0);
	assert_int_equal(memfile_poke(m, zeros, 510, 2050), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_map(img, 0, 12, &r, &e), 0);
	assert_int_equal(r.kind, VHD_RUN_FILE);
	assert_int_equal(r.sectors, 12);
	assert_int_equal(img->state[0], VHD_BLOCK_WHOLE);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* 256 MiB blocks have 64 KiB of bits: 1024 of them reach the bound on kept
 * bits. Beyond it the answers are the same and memory stays where it is.
 */
static void kept_bits_are_bounded(void **state)
{
	(void)state;
	enum { N = 1030, BLOCK = 256 * MIB };
	static uint32_t order[N];
	struct memfile *m;
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	uint8_t bits = 0x40;

	for (uint32_t i = 0; i < N; i++)
		order[i] = i;
	m = img_bare((uint64_t)N * BLOCK, BLOCK, order, N);
	for (unsigned i = 0; i < N; i++) /* sector 4097: the second sector of
					  * the bitmap */
		assert_int_equal(
			memfile_poke(m, &bits, 1,
				     img_place((uint64_t)N * BLOCK, BLOCK, i) +
					     512),
			0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t lba = i * (BLOCK / 512);

		assert_int_equal(vhd_map(img, lba + 4097, 5, &r, &e), 0);
		assert_int_equal(r.kind, VHD_RUN_FILE);
		assert_int_equal(r.sectors, 1);
		assert_int_equal(vhd_map(img, lba + 4098, 10, &r, &e), 0);
		assert_int_equal(r.kind, VHD_RUN_ZERO);
		assert_int_equal(r.sectors, 10);
	}
	assert_true(img->bitmaps_bytes <= VHD_BITMAP_CACHE_BYTES);
	assert_true(img->bitmaps_bytes > VHD_BITMAP_CACHE_BYTES - 65536);
	/* a run over the edge of a bitmap sector comes in two */
	assert_int_equal(
		vhd_map(img, (N - 1) * (uint64_t)(BLOCK / 512), 9000, &r, &e),
		0);
	assert_int_equal(r.kind, VHD_RUN_ZERO);
	assert_int_equal(r.sectors, 4096);
	/* and is read again, which may fail */
	memfile_set_hook(m, fail_reads, NULL);
	assert_refused(vhd_map(img, (N - 1) * (uint64_t)(BLOCK / 512), 1, &r,
			       &e),
		       &e, EIO, VHD_WHY_IO);
	vhd_abandon(img);
	memfile_destroy(m);
}

/* The kernel is asked for bitmaps ahead of a reader: of a real file, forwards,
 * backwards, and over blocks that are known already.
 */
static void bits_are_found_in_whatever_order_they_are_wanted(void **state)
{
	(void)state;
	enum { N = 100, BLOCK = 64 * KIB };
	static const uint32_t wanted[] = {60, 61, 0, 1, 5, 3, 4, 99, 2, 98};
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = N * BLOCK,
		.block_size_bytes = BLOCK,
	};
	uint8_t one[512] = {1}, zero = 0;
	struct scratch s;
	struct vhd *img;
	struct vhd_run r;
	struct vhd_err e;
	uint32_t where[N];
	int fd;

	scratch_enter(&s, "bitmap", true);
	assert_int_equal(vhd_create("d.vhd", &o, &img, &e), 0);
	for (uint64_t b = 0; b < N; b++) {
		assert_int_equal(vhd_write(img, b * BLOCK, one, 512, &e), 0);
		where[b] = atomic_load(&img->bat[b]);
	}
	assert_int_equal(vhd_close(img, &e), 0);
	/* no sector but the first of each is there */
	fd = open("d.vhd", O_WRONLY);
	assert_true(fd >= 0);
	for (unsigned b = 0; b < N; b++)
		for (unsigned i = 1; i < BLOCK / 512 / 8; i++)
			assert_int_equal(pwrite(fd, &zero, 1,
						(off_t)where[b] * 512 + i),
					 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(vhd_open("d.vhd", &(struct vhd_open_opts){0}, &img,
				  &e),
			 0);
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		assert_int_equal(vhd_map(img, wanted[i] * (BLOCK / 512) + 8, 1,
					 &r, &e),
				 0);
		assert_int_equal(r.kind, VHD_RUN_ZERO);
	}
	vhd_abandon(img);
	scratch_leave(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_significant_bit_comes_first),
		cmocka_unit_test(runs_agree_with_bits_looked_at_one_by_one),
		cmocka_unit_test(a_zero_bit_reads_as_zero_whatever_lies_there),
		cmocka_unit_test(runs_end_where_bits_change),
		cmocka_unit_test(a_bitmap_is_read_once),
		cmocka_unit_test(a_bitmap_that_cannot_be_read_is_tried_again),
		cmocka_unit_test(bits_past_the_disk_do_not_count),
		cmocka_unit_test(kept_bits_are_bounded),
		cmocka_unit_test(
			bits_are_found_in_whatever_order_they_are_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
