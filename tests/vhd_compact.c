/* SPDX-License-Identifier: BSD-2-Clause */
/* Compacting: the disk holds what it held, the file is as short as it can be,
 * and that is so, but for the length, after a power cut at any point.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/compact_int.h"
#include "vhd/repair.h"
#include "vhd/resize.h"

#define KIB    1024u
#define BLOCK  (16 * KIB)
#define BLOCKS 24u
#define SIZE   (BLOCKS * BLOCK - 5 * 512) /* the last block is not whole */
#define CUTS   4

/* ------------------------------------------------------------- helpers -- */

static uint8_t *content(struct memfile *m)
{
	uint8_t *b = malloc(SIZE);
	struct vhd *img;
	struct vhd_err e;

	assert_non_null(b);
	if (img_open(m, VHD_FORMAT_AUTO, false, &img, &e))
		fail_msg("%s", e.text);
	assert_true(vhd_get_info(img)->size_bytes == SIZE);
	assert_int_equal(vhd_read(img, 0, b, SIZE, &e), 0);
	vhd_abandon(img);
	return b;
}

static void holds(struct memfile *m, const uint8_t *want)
{
	uint8_t *b = content(m);

	for (uint32_t i = 0; i < SIZE; i++)
		if (b[i] != want[i])
			fail_msg("byte %u: %02x, not %02x", i, b[i], want[i]);
	free(b);
}

static void is_clean(struct memfile *m)
{
	size_t len = (size_t)memfile_len(m);
	uint8_t *bytes = malloc(len);
	struct found all;
	struct oracle o;

	assert_non_null(bytes);
	memfile_peek(m, bytes, len, 0);
	if (!oracle_open(&o, bytes, len) || !oracle_check(&o))
		fail_msg("%s", o.fault);
	assert_true(o.footer_end_ok && (!o.dynamic || o.footer_copy_ok));
	free(bytes);
	found_in(m, &all);
	for (unsigned i = 0; i < all.count; i++)
		if (all.f[i].severity == VHD_SEVERITY_ERROR)
			fail_msg("%s", all.f[i].text);
}

static void compact(struct vhd_file f, struct vhd_compact_opts o,
		    struct vhd_compact_result *r)
{
	struct vhd_err e;

	o.write = true;
	if (vhd_compact_file(&f, &o, r, &e))
		fail_msg("%s", e.text);
}

static const struct vhd_compact_opts plain;

/* -------------------------------------------------------------- images -- */

/* Blocks in a random order and number, some of zeros, written through the
 * library (aligned) or laid by hand (densely, partial bitmaps over junk).
 */
static struct memfile *aligned_image(uint64_t *rnd)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SIZE,
		.block_size_bytes = BLOCK,
		.unique_id = {9},
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	uint8_t b[512];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	for (int i = 0; i < 30; i++) {
		uint64_t lba = random_below(rnd, SIZE / 512);

		memset(b, i % 3 ? 0 : i + 1, sizeof(b));
		assert_int_equal(vhd_write(img, lba * 512, b, 512, &e), 0);
	}
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static struct memfile *dense_image(uint64_t *rnd)
{
	uint32_t order[BLOCKS], n = BLOCKS;
	uint8_t zeros[BLOCK] = {0}, map[512];
	struct memfile *m;

	for (uint32_t i = 0; i < BLOCKS; i++)
		order[i] = i;
	for (uint32_t i = BLOCKS - 1; i; i--) {
		uint32_t k = (uint32_t)random_below(rnd, i + 1), t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	n -= (uint32_t)random_below(rnd, BLOCKS / 2);
	m = img_dynamic(SIZE, BLOCK, order, n);
	for (uint32_t k = 0; k < n; k++) {
		uint64_t at = img_place(SIZE, BLOCK, k);

		memset(map, 0, sizeof(map));
		switch (random_below(rnd, 4)) {
		case 0:
			img_poke(m, zeros, 4096, at + 512);
			img_poke(m, zeros, 4096, at + 512 + 4096);
			img_poke(m, zeros, 4096, at + 512 + 8192);
			img_poke(m, zeros, 4096, at + 512 + 12288);
			break;
		case 1: /* junk that nobody may see */
			img_poke(m, map, 512, at);
			break;
		case 2:
			map[0] = 0x10;
			img_poke(m, map, 512, at);
			break;
		}
	}
	return m;
}

/* After a resize: the table is behind the blocks. */
static struct memfile *resized_image(uint64_t *rnd)
{
	struct vhd_resize_opts o = {.size_bytes = 900 * BLOCK,
				    .write = true,
				    .shrink = true,
				    .force = true};
	struct memfile *m = dense_image(rnd);
	struct vhd_file f = memfile_file(m);
	struct vhd_err e;

	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	o.size_bytes = SIZE;
	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	return m;
}

static const struct source {
	const char *what;
	struct memfile *(*make)(uint64_t *rnd);
} sources[] = {
	{"aligned", aligned_image},
	{"dense", dense_image},
	{"resized", resized_image},
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static uint32_t blocks_with_data(const uint8_t *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BLOCKS; i++)
		for (uint32_t k = i * BLOCK; k < (i + 1) * BLOCK && k < SIZE;
		     k++)
			if (b[k]) {
				n++;
				break;
			}
	return n;
}

/* --------------------------------------------------------------- tests -- */

static void content_stays_and_zero_blocks_go(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < SOURCES * 30; i++) {
		struct memfile *m = sources[i % SOURCES].make(&rnd);
		uint8_t *was = content(m);
		uint32_t need = blocks_with_data(was);
		uint64_t before = memfile_len(m);
		struct vhd_compact_result r, again;

		compact(memfile_file(m), plain, &r);
		holds(m, was);
		is_clean(m);
		assert_int_equal(r.blocks_before - r.blocks_zero, need);
		assert_true(memfile_len(m) == r.new_file_bytes);
		assert_true(r.old_file_bytes == before);
		/* no block's room is left over */
		assert_true(memfile_len(m) <
			    8192 + need * (i % SOURCES ? 512ull : 4096ull) +
				    (need + 1ull) * BLOCK);
		compact(memfile_file(m), plain, &again);
		assert_true(again.new_file_bytes <= r.new_file_bytes);
		assert_int_equal(again.blocks_zero, 0);
		holds(m, was);
		free(was);
		memfile_destroy(m);
	}
}

static void a_table_behind_the_blocks_comes_forward(void **state)
{
	uint64_t rnd = random_seed();
	struct vhd_compact_result r;
	struct vhd *img;
	struct vhd_err e;
	struct memfile *m = resized_image(&rnd);
	uint8_t *was = content(m);

	(void)state;
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_true(vhd_get_info(img)->table_bytes > 2 * BLOCK);
	vhd_abandon(img);
	compact(memfile_file(m), plain, &r);
	assert_true(r.table_moved);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_true(vhd_get_info(img)->table_bytes < 2 * BLOCK);
	vhd_abandon(img);
	holds(m, was);
	is_clean(m);
	free(was);
	memfile_destroy(m);
}

static void a_plan_writes_nothing_and_tells_the_same(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < SOURCES * 5; i++) {
		struct memfile *m = sources[i % SOURCES].make(&rnd);
		struct memfile *was = memfile_clone(m);
		struct vhd_file f = memfile_file(m);
		struct vhd_compact_result plan, done;
		struct vhd_err e;

		assert_int_equal(vhd_compact_file(&f, &plain, &plan, &e), 0);
		assert_true(memfile_equal(m, was));
		compact(f, plain, &done);
		assert_memory_equal(&plan, &done, sizeof(plan));
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

/* At each point the disk holds what it held, for a reader, a repair and a
 * writer; and the same call brings it to its end.
 */
static void check_cut(const uint8_t *was, struct memfile *m, size_t n)
{
	struct vhd_repair_opts ro = {.write = true};
	struct memfile *fixed = memfile_clone(m);
	struct vhd_file f = memfile_file(fixed);
	struct vhd_compact_result r;
	struct vhd *img;
	struct vhd_err e;

	holds(m, was);
	if (vhd_repair_file(&f, NULL, &ro, NULL, &e))
		fail_msg("at event %zu: %s", n, e.text);
	holds(fixed, was);
	is_clean(fixed);
	memfile_destroy(fixed);
	if (img_open(m, VHD_FORMAT_AUTO, true, &img, &e) || vhd_close(img, &e))
		fail_msg("at event %zu: %s", n, e.text);
	holds(m, was);
	compact(memfile_file(m), plain, &r);
	holds(m, was);
	is_clean(m);
}

static void a_power_cut_leaves_the_same_content(void **state)
{
	uint64_t rnd = random_seed();
	size_t moves = 0;

	(void)state;
	for (size_t i = 0; i < SOURCES * 4; i++) {
		struct memfile *m = sources[i % SOURCES].make(&rnd);
		uint8_t *was = content(m);
		struct recfile *rec = recfile_create(m);
		struct vhd_compact_result r;

		compact(recfile_file(rec), plain, &r);
		moves += r.blocks_moved;
		for (size_t n = 0; n <= recfile_count(rec); n++)
			for (int k = 0; k <= CUTS; k++) {
				struct memfile *s =
					k ? recfile_cut(rec, n,
							random_next(&rnd))
					  : recfile_prefix(rec, n);

				check_cut(was, s, n);
				memfile_destroy(s);
			}
		recfile_destroy(rec);
		free(was);
		memfile_destroy(m);
	}
	assert_true(moves > 0);
}

/* More blocks than go in one batch: cut off between any two of them. */
static void many_batches_are_cut_off_between_each_two(void **state)
{
	enum { MANY = 2600, SMALL = 4096 };
	static uint32_t order[MANY];
	static uint8_t was[MANY * SMALL], now[MANY * SMALL];
	uint8_t zeros[SMALL] = {0};
	size_t checked = 0;
	struct vhd_compact_result r;
	struct recfile *rec;
	struct memfile *m;
	struct vhd *img;
	struct vhd_err e;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		order[i] = (i * 1111) % MANY;
	m = img_dynamic((uint64_t)MANY * SMALL, SMALL, order, MANY);
	for (uint32_t k = 0; k < MANY; k += 2)
		img_poke(m, zeros, SMALL,
			 img_place((uint64_t)MANY * SMALL, SMALL, k) + 512);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, was, sizeof(was), &e), 0);
	vhd_abandon(img);
	rec = recfile_create(m);
	compact(recfile_file(rec), plain, &r);
	assert_true(r.blocks_zero >= MANY / 2 && r.blocks_moved > 600);
	for (size_t n = 0; n <= recfile_count(rec); n++) {
		struct memfile *s;

		if (n < recfile_count(rec) &&
		    recfile_event(rec, n)->kind != REC_FLUSH)
			continue;
		s = recfile_cut(rec, n, n);
		assert_int_equal(img_open(s, VHD_FORMAT_AUTO, false, &img, &e),
				 0);
		assert_int_equal(vhd_read(img, 0, now, sizeof(now), &e), 0);
		assert_memory_equal(now, was, sizeof(now));
		vhd_abandon(img);
		memfile_destroy(s);
		checked++;
	}
	assert_true(checked > 5);
	recfile_destroy(rec);
	memfile_destroy(m);
}

static int nth_hook(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	uint64_t *left = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_READ || op == MEMFILE_SIZE)
		return 0;
	return (*left)-- == 0 ? -EIO : 0;
}

static void each_failing_call_is_told_and_the_content_stays(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < SOURCES; i++) {
		struct memfile *base = sources[i].make(&rnd);
		uint8_t *was = content(base);
		bool done = false;

		for (uint64_t k = 0; !done; k++) {
			struct vhd_compact_opts o = {.write = true};
			struct memfile *m = memfile_clone(base);
			struct vhd_file f = memfile_file(m);
			struct vhd_err e = {0};
			uint64_t left = k;

			memfile_set_hook(m, nth_hook, &left);
			done = !vhd_compact_file(&f, &o, NULL, &e);
			memfile_set_hook(m, NULL, NULL);
			assert_true(done || (e.code < 0 && e.text[0]));
			check_cut(was, m, k);
			memfile_destroy(m);
		}
		free(was);
		memfile_destroy(base);
	}
}

/* ------------------------------------------------------- what is free -- */

static bool odd_is_free(void *ctx, uint64_t off, uint64_t len)
{
	(void)ctx;
	assert_true(len && off % 512 == 0 && len % 512 == 0);
	/* odd grains of 4 KiB, and all of blocks 8 to 15 */
	for (uint64_t at = off; at < off + len; at += 512)
		if (!(at / 4096 & 1) && (at / BLOCK < 8 || at / BLOCK > 15))
			return false;
	return true;
}

static void what_is_free_does_not_keep_a_block(void **state)
{
	const struct vhd_compact_opts o = {.is_free = odd_is_free};
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < SOURCES * 10; i++) {
		struct memfile *m = sources[i % SOURCES].make(&rnd);
		uint8_t *was = content(m), *now;
		struct vhd_compact_result r;
		struct vhd *img;
		struct vhd_err e;

		compact(memfile_file(m), o, &r);
		is_clean(m);
		now = content(m);
		for (uint32_t k = 0; k < SIZE; k += 512)
			if (!odd_is_free(NULL, k, 512))
				assert_memory_equal(now + k, was + k, 512);
		assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e),
				 0);
		for (uint32_t b = 8; b < 16; b++) {
			struct vhd_run run;

			assert_int_equal(
				vhd_map(img, b * BLOCK / 512, 1, &run, &e), 0);
			assert_int_equal(run.kind, VHD_RUN_HOLE);
		}
		vhd_abandon(img);
		free(now);
		free(was);
		memfile_destroy(m);
	}
}

/* ------------------------------------------------------------- a copy -- */

static void a_copy_is_in_order_aligned_and_the_same(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < SOURCES * 10; i++) {
		struct memfile *m = sources[i % SOURCES].make(&rnd);
		struct memfile *out = memfile_create();
		struct memfile *same = memfile_clone(m);
		struct vhd_file f = memfile_file(m), g = memfile_file(out);
		struct vhd_compact_result r, plan;
		uint8_t *was = content(m), a[512], b[512];
		const struct vhd_info *info;
		struct vhd *img;
		struct vhd_err e;

		img_footers(m, IMG_F_RESERVED, "kept", 4);
		img_footers(same, IMG_F_RESERVED, "kept", 4);
		assert_int_equal(
			vhd_compact_to_file(&f, NULL, &plain, &plan, &e), 0);
		assert_int_equal(vhd_compact_to_file(&f, &g, &plain, &r, &e),
				 0);
		assert_memory_equal(&plan, &r, sizeof(r));
		assert_true(r.new_file_bytes == memfile_len(out));
		assert_true(memfile_equal(m, same));
		holds(out, was);
		is_clean(out);
		memfile_peek(m, a, 512, 0);
		memfile_peek(out, b, 512, 0);
		assert_memory_equal(a, b, 512);
		assert_int_equal(
			img_open(out, VHD_FORMAT_AUTO, false, &img, &e), 0);
		info = vhd_get_info(img);
		assert_int_equal(info->blocks_used, blocks_with_data(was));
		assert_int_equal(info->blocks_aligned, info->blocks_used);
		assert_true(info->fragments <= 1);
		vhd_abandon(img);
		free(was);
		memfile_destroy(same);
		memfile_destroy(out);
		memfile_destroy(m);
	}
}

static void a_batmap_stays_truthful(void **state)
{
	for (int copy = 0; copy < 2; copy++) {
		struct memfile *m = img_blktap(0xf0), *out = memfile_create();
		struct vhd_file f = memfile_file(m), g = memfile_file(out);
		struct vhd_compact_result r;
		struct found all;
		struct vhd *img;
		struct vhd_err e;
		uint8_t b[512] = {1};

		(void)state;
		/* all four are full of zeros; then one is not */
		assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e),
				 0);
		assert_int_equal(vhd_write(img, 2 * MIB, b, 512, &e), 0);
		assert_int_equal(vhd_close(img, &e), 0);
		if (copy)
			assert_int_equal(
				vhd_compact_to_file(&f, &g, &plain, &r, &e), 0);
		else
			compact(f, plain, &r);
		assert_int_equal(r.blocks_zero, 3);
		found_in(copy ? out : m, &all);
		assert_int_equal(found_faults(&all), 0);
		assert_int_equal(img_open(copy ? out : m, VHD_FORMAT_AUTO,
					  false, &img, &e),
				 0);
		assert_true(vhd_get_info(img)->notes & VHD_NOTE_BATMAP);
		vhd_abandon(img);
		memfile_destroy(out);
		memfile_destroy(m);
	}
}

/* ----------------------------------------------------------- fixed disks -- */

static void a_fixed_disk_is_punched_only(void **state)
{
	struct vhd_compact_opts o = {.write = true};
	struct memfile *m = img_fixed(SIZE);
	struct vhd_file f = memfile_file(m);
	struct vhd_compact_result r;
	struct vhd_err e;
	uint8_t *was;
	uint8_t b[512] = {7};

	(void)state;
	img_poke(m, b, 512, 4096 * 3 + 512);
	was = content(m);
	assert_refused(vhd_compact_file(&f, &o, NULL, &e), &e, ENOTSUP,
		       VHD_WHY_UNSUPPORTED);
	o.punch = true;
	assert_int_equal(vhd_compact_file(&f, &o, &r, &e), 0);
	holds(m, was);
	is_clean(m);
	assert_true(r.punched_bytes > 0 && r.punched_bytes <= SIZE - 4096);
	free(was);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- refused -- */

static int count_then_end(void *ctx, uint64_t pos, uint64_t total)
{
	int *left = ctx;

	assert_true(pos <= total);
	return (*left)-- <= 0;
}

static void an_end_asked_for_leaves_the_image_whole(void **state)
{
	uint64_t rnd = random_seed();
	struct memfile *base = dense_image(&rnd);
	uint8_t *was = content(base);
	bool done = false;

	(void)state;
	for (int k = 0; !done; k++) {
		int left = k;
		struct vhd_compact_opts o = {
			.write = true,
			.progress = count_then_end,
			.ctx = &left,
		};
		struct memfile *m = memfile_clone(base);
		struct vhd_file f = memfile_file(m);
		struct vhd_err e = {0};

		done = !vhd_compact_file(&f, &o, NULL, &e);
		if (!done)
			assert_int_equal(e.why, VHD_WHY_CANCELLED);
		is_clean(m);
		check_cut(was, m, (size_t)k);
		memfile_destroy(m);
	}
	free(was);
	memfile_destroy(base);
}

static void a_suspended_machines_disk_is_refused(void **state)
{
	const struct vhd_compact_opts o = {.write = true};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	struct vhd_err e;

	(void)state;
	img_footers(m, IMG_F_SAVED, "\1", 1);
	assert_refused(vhd_compact_file(&f, &o, NULL, &e), &e, EUCLEAN,
		       VHD_WHY_SAVED_STATE);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_stays_and_zero_blocks_go),
		cmocka_unit_test(a_table_behind_the_blocks_comes_forward),
		cmocka_unit_test(a_plan_writes_nothing_and_tells_the_same),
		cmocka_unit_test(a_power_cut_leaves_the_same_content),
		cmocka_unit_test(many_batches_are_cut_off_between_each_two),
		cmocka_unit_test(
			each_failing_call_is_told_and_the_content_stays),
		cmocka_unit_test(what_is_free_does_not_keep_a_block),
		cmocka_unit_test(a_copy_is_in_order_aligned_and_the_same),
		cmocka_unit_test(a_batmap_stays_truthful),
		cmocka_unit_test(a_fixed_disk_is_punched_only),
		cmocka_unit_test(an_end_asked_for_leaves_the_image_whole),
		cmocka_unit_test(a_suspended_machines_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
