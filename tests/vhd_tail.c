/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of the file: footer ahead while growing, in its place after close,
 * restored after an interrupted writer.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"

#define KIB 1024u
#define MIB (1u << 20)
#define GIB (1ull << 30)

static struct memfile *created(uint64_t size)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = size,
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static struct vhd *open_rw(struct memfile *m)
{
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	return img;
}

static void write_one(struct vhd *img, uint64_t off)
{
	uint8_t b[512];
	struct vhd_err e;

	memset(b, 0x42, sizeof(b));
	assert_int_equal(vhd_write(img, off, b, sizeof(b), &e), 0);
}

static bool footer_at(const struct memfile *m, uint64_t off)
{
	uint8_t want[512], got[512];

	memfile_peek(m, want, 512, 0);
	memfile_peek(m, got, 512, off);
	return memcmp(want, got, 512) == 0;
}

static void footer_is_last(const struct memfile *m)
{
	assert_true(footer_at(m, memfile_len(m) - 512));
}

static void the_footer_stays_ahead_while_blocks_fill_the_space(void **state)
{
	(void)state;
	struct memfile *m = created(GIB);
	struct vhd *img = open_rw(m);
	uint64_t len, cuts;

	write_one(img, 0);
	len = memfile_len(m);
	assert_true(len >= 64 * MIB);
	assert_int_equal(len % 4096, 0);
	footer_is_last(m);
	cuts = memfile_count(m, MEMFILE_TRUNCATE);
	for (uint64_t i = 1; i < 32; i++)
		write_one(img, i * 2 * MIB);
	assert_int_equal(memfile_count(m, MEMFILE_TRUNCATE), cuts);
	assert_true(memfile_len(m) == len);
	footer_is_last(m);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void a_small_disk_never_grows_past_its_need(void **state)
{
	(void)state;
	struct memfile *m = created(4 * MIB);
	struct vhd *img = open_rw(m);
	uint64_t full = 4096 + 2 * (2 * MIB + 4096);

	write_one(img, 0);
	assert_int_equal(memfile_len(m), full);
	write_one(img, 2 * MIB);
	assert_int_equal(memfile_len(m), full);
	vhd_abandon(img);
	memfile_destroy(m);
}

static void growing_leaves_no_footer_among_the_blocks(void **state)
{
	(void)state;
	struct memfile *m = created(GIB);
	struct vhd *img = open_rw(m);
	struct vhd_err e;
	uint64_t last = 0, steps = 0;
	static uint8_t block[2 * MIB];

	for (uint64_t i = 0; i < 100; i++) {
		write_one(img, i * 2 * MIB);
		steps += memfile_len(m) != last;
		last = memfile_len(m);
	}
	assert_true(steps >= 3);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(
			vhd_read(img, i * 2 * MIB, block, sizeof(block), &e),
			0);
		for (size_t k = 512; k < sizeof(block); k++)
			if (block[k])
				fail_msg("block %u is not zero at %zu",
					 (unsigned)i, k);
	}
	vhd_abandon(img);
	memfile_destroy(m);
}

static int fail_zero_once(void *ctx, enum memfile_op op, uint64_t off,
			  uint64_t len)
{
	bool *armed = ctx;

	(void)off;
	(void)len;
	if (op != MEMFILE_ZERO || !*armed)
		return 0;
	*armed = false;
	return -EIO;
}

/* A former footer that could not be erased lies in space that then must not
 * count as zero.
 */
static void a_footer_that_cannot_be_erased_is_remembered(void **state)
{
	(void)state;
	struct memfile *m = created(GIB);
	struct vhd *img = open_rw(m);
	struct vhd_err e;
	bool armed = true;
	static uint8_t block[2 * MIB];
	uint8_t one[512] = {1};
	unsigned failures = 0;

	memfile_set_hook(m, fail_zero_once, &armed);
	write_one(img, 0);
	for (uint64_t i = 1; i < 80; i++) {
		if (vhd_write(img, i * 2 * MIB, one, 512, &e) == 0)
			continue;
		failures++;
		assert_int_equal(vhd_write(img, i * 2 * MIB, one, 512, &e), 0);
	}
	assert_int_equal(failures, 1);
	for (uint64_t i = 0; i < 80; i++) {
		assert_int_equal(
			vhd_read(img, i * 2 * MIB, block, sizeof(block), &e),
			0);
		for (size_t k = 512; k < sizeof(block); k++)
			if (block[k])
				fail_msg("block %u is not zero at %zu",
					 (unsigned)i, k);
	}
	vhd_abandon(img);
	memfile_destroy(m);
}

static void closing_puts_the_footer_behind_the_last_block(void **state)
{
	(void)state;
	struct memfile *m = created(GIB);
	uint64_t empty = memfile_len(m);
	struct vhd *img = open_rw(m);
	struct vhd_err e;

	assert_int_equal(empty % 4096, 0);
	write_one(img, 0);
	write_one(img, GIB - 512);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_len(m) == empty + 2 * (2 * MIB + 4096));
	footer_is_last(m);
	img = open_rw(m);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_get_info(img)->blocks_aligned, 2);
	assert_int_equal(vhd_get_info(img)->fragments, 1);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static void closing_cuts_only_after_the_footer_is_durable(void **state)
{
	(void)state;
	struct memfile *m = created(GIB);
	struct recfile *rec = recfile_create(m);
	struct vhd_file f = recfile_file(rec);
	struct vhd_open_opts o = {.writable = true};
	struct vhd *img;
	struct vhd_err e;
	size_t n;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	write_one(img, 0);
	assert_int_equal(vhd_close(img, &e), 0);
	n = recfile_count(rec);
	assert_int_equal(recfile_event(rec, n - 1)->kind, REC_FLUSH);
	assert_int_equal(recfile_event(rec, n - 2)->kind, REC_TRUNCATE);
	assert_int_equal(recfile_event(rec, n - 3)->kind, REC_FLUSH);
	assert_int_equal(recfile_event(rec, n - 4)->kind, REC_WRITE);
	assert_int_equal(recfile_event(rec, n - 4)->off + 512,
			 recfile_event(rec, n - 2)->off);
	recfile_destroy(rec);
	memfile_destroy(m);
}

static void writing_to_existing_blocks_leaves_the_layout(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	uint64_t len = memfile_len(m);
	struct vhd *img = open_rw(m);
	struct vhd_err e;

	write_one(img, 512);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(memfile_len(m), len);
	assert_int_equal(memfile_count(m, MEMFILE_TRUNCATE), 0);
	assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 1);
	memfile_destroy(m);
}

static void new_blocks_of_a_foreign_layout_are_aligned(void **state)
{
	(void)state;
	static const uint32_t order[] = {0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 1);
	struct vhd *img = open_rw(m);
	struct vhd_run r;
	struct vhd_err e;

	assert_int_equal(vhd_map_write(img, 2048, 1, &r, &e), 0);
	assert_int_equal(r.off_bytes % 4096, 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(memfile_len(m) % 4096, 0);
	footer_is_last(m);
	memfile_destroy(m);
}

/* ----------------------------------------------------------- restoration -- */

static void reads_as_made(struct memfile *m)
{
	struct vhd *img;
	struct vhd_err e;
	uint8_t got[512];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	assert_int_equal(vhd_get_info(img)->footer_end, VHD_FOOTER_OK);
	assert_int_equal(vhd_get_info(img)->footer_copy, VHD_FOOTER_OK);
	for (uint32_t b = 0; b < 2; b++) {
		assert_int_equal(vhd_read(img, b * MIB, got, 512, &e), 0);
		assert_int_equal(got[0], img_byte(b));
	}
	vhd_abandon(img);
}

/* Every way the trailing footer may be gone, and some of what may lie behind
 * the last block.
 */
static void opening_to_write_restores_the_trailing_footer(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	static uint8_t junk[300 * KIB];

	memset(junk, 0xc7, sizeof(junk));
	for (int kind = 0; kind < 4; kind++) {
		struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
		uint64_t end = memfile_len(m) - 512;
		struct vhd *img;
		struct vhd_err e;

		if (kind == 0)
			memfile_resize(m, end);
		else if (kind == 1)
			memfile_poke(m, junk, 512, end);
		else if (kind == 2)
			memfile_poke(m, junk, sizeof(junk), end);
		else
			memfile_resize(m, end + 100);
		img = open_rw(m);
		assert_true(vhd_get_info(img)->notes & VHD_NOTE_DIRTY);
		/* already done, without a close */
		reads_as_made(m);
		footer_is_last(m);
		assert_int_equal(vhd_close(img, &e), 0);
		reads_as_made(m);
		memfile_destroy(m);
	}
}

static void opening_to_read_restores_nothing(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2), *before;
	struct vhd *img;
	struct vhd_err e;

	memfile_resize(m, memfile_len(m) - 512);
	before = memfile_clone(m);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

static void opening_to_write_restores_the_copy(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
	struct memfile *before = memfile_clone(m);
	uint8_t junk[512];
	struct vhd *img;
	struct vhd_err e;

	memset(junk, 0xee, sizeof(junk));
	memfile_poke(m, junk, 512, 0);
	img = open_rw(m);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 1);
	assert_int_equal(memfile_count(m, MEMFILE_FLUSH), 1);
	assert_int_equal(vhd_close(img, &e), 0);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

static void unknown_bytes_of_the_footer_survive(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
	struct vhd *img;
	struct vhd_err e;
	uint8_t f[512];

	img_footers(m, IMG_F_RESERVED + 300, "unknown", 7);
	img_footers32(m, IMG_F_FEATURES, 0x80000002);
	memfile_resize(m, memfile_len(m) - 512);
	img = open_rw(m);
	write_one(img, 3 * MIB);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(m, f, 512, memfile_len(m) - 512);
	assert_memory_equal(f + IMG_F_RESERVED + 300, "unknown", 7);
	assert_int_equal(img_get32(f + IMG_F_FEATURES), 0x80000002);
	footer_is_last(m);
	memfile_destroy(m);
}

static int fail_op(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	enum memfile_op *which = ctx;

	(void)off;
	(void)len;
	return op == *which ? -EIO : 0;
}

static void a_restoration_that_fails_refuses_the_open(void **state)
{
	(void)state;
	static const uint32_t order[] = {1, 0};
	static const enum memfile_op ops[] = {MEMFILE_WRITE, MEMFILE_FLUSH};

	for (size_t i = 0; i < 2; i++) {
		struct memfile *m = img_dynamic(4 * MIB, MIB, order, 2);
		enum memfile_op op = ops[i];
		struct vhd *img;
		struct vhd_err e;

		memfile_resize(m, memfile_len(m) - 512);
		memfile_set_hook(m, fail_op, &op);
		assert_refused(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), &e,
			       EIO, VHD_WHY_IO);
		memfile_set_hook(m, NULL, NULL);
		vhd_abandon(open_rw(m));
		reads_as_made(m);
		memfile_destroy(m);
	}
}

static void a_close_that_fails_says_so_and_loses_nothing(void **state)
{
	(void)state;
	static const enum memfile_op ops[] = {MEMFILE_WRITE, MEMFILE_FLUSH,
					      MEMFILE_TRUNCATE};

	for (size_t i = 0; i < 3; i++) {
		struct memfile *m = created(GIB);
		struct vhd *img = open_rw(m);
		enum memfile_op op = ops[i];
		uint8_t got[512];
		struct vhd_err e;

		write_one(img, 0);
		assert_int_equal(vhd_flush(img, &e), 0);
		memfile_set_hook(m, fail_op, &op);
		assert_refused(vhd_close(img, &e), &e, EIO, VHD_WHY_IO);
		memfile_set_hook(m, NULL, NULL);
		img = open_rw(m);
		assert_int_equal(vhd_read(img, 0, got, 512, &e), 0);
		assert_int_equal(got[0], 0x42);
		assert_int_equal(vhd_close(img, &e), 0);
		memfile_destroy(m);
	}
}

static void abandoning_writes_nothing_more(void **state)
{
	(void)state;
	struct memfile *m = created(GIB), *before;
	struct vhd *img = open_rw(m);

	write_one(img, 0);
	before = memfile_clone(m);
	vhd_abandon(img);
	assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_footer_stays_ahead_while_blocks_fill_the_space),
		cmocka_unit_test(a_small_disk_never_grows_past_its_need),
		cmocka_unit_test(growing_leaves_no_footer_among_the_blocks),
		cmocka_unit_test(a_footer_that_cannot_be_erased_is_remembered),
		cmocka_unit_test(closing_puts_the_footer_behind_the_last_block),
		cmocka_unit_test(closing_cuts_only_after_the_footer_is_durable),
		cmocka_unit_test(writing_to_existing_blocks_leaves_the_layout),
		cmocka_unit_test(new_blocks_of_a_foreign_layout_are_aligned),
		cmocka_unit_test(opening_to_write_restores_the_trailing_footer),
		cmocka_unit_test(opening_to_read_restores_nothing),
		cmocka_unit_test(opening_to_write_restores_the_copy),
		cmocka_unit_test(unknown_bytes_of_the_footer_survive),
		cmocka_unit_test(a_restoration_that_fails_refuses_the_open),
		cmocka_unit_test(a_close_that_fails_says_so_and_loses_nothing),
		cmocka_unit_test(abandoning_writes_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
