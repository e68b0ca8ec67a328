/* SPDX-License-Identifier: BSD-2-Clause */
/* Power cuts: a small workload is recorded, and from the record every state
 * the medium may be left in is made, opened and compared with what was
 * promised. A sector must read as a version not older than the last flush
 * covered, and never as something else's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"

#define KIB	1024u
#define BLOCK	(16 * KIB)
#define SECTORS 400u /* not a whole number of blocks */
#define OPS	160
#define CUTS	3 /* random subsets for each crash point */

/* One write of the workload; its number is the version. */
struct op {
	uint32_t lba;
	uint32_t count;
};

struct work {
	struct op ops[OPS + 1];
	struct recfile *rec;
	struct memfile *m;
	uint64_t rnd;
};

static void stamp(uint8_t *b, uint32_t lba, uint32_t version)
{
	memset(b, 0, 512);
	img_put32(b, 0x5ec70000 | lba);
	img_put32(b + 4, version);
	img_put32(b + 508, version);
}

static struct vhd *open_on(struct vhd_file f)
{
	struct vhd_open_opts o = {.writable = true};
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	return img;
}

static void write_op(struct work *w, struct vhd *img, uint32_t version)
{
	struct op *op = &w->ops[version];
	static uint8_t buf[64 * 512];
	struct vhd_err e;

	op->lba = (uint32_t)random_below(&w->rnd, SECTORS);
	op->count = 1 + (uint32_t)random_below(&w->rnd, 40);
	if (op->count > SECTORS - op->lba)
		op->count = SECTORS - op->lba;
	for (uint32_t i = 0; i < op->count; i++)
		stamp(buf + i * 512, op->lba + i, version);
	recfile_mark(w->rec, (int)version);
	assert_int_equal(
		vhd_write(img, op->lba * 512ull, buf, op->count * 512ull, &e),
		0);
}

/* Writes, flushes, and now and then a close and an open. */
static void run_work(struct work *w)
{
	struct vhd *img = open_on(recfile_file(w->rec));
	struct vhd_err e;

	for (uint32_t v = 1; v <= OPS; v++) {
		write_op(w, img, v);
		switch (random_below(&w->rnd, 12)) {
		case 0:
		case 1:
			assert_int_equal(vhd_flush(img, &e), 0);
			recfile_mark(w->rec, -(int)v);
			break;
		case 2:
			assert_int_equal(vhd_close(img, &e), 0);
			recfile_mark(w->rec, -(int)v);
			img = open_on(recfile_file(w->rec));
			break;
		}
	}
	assert_int_equal(vhd_close(img, &e), 0);
	recfile_mark(w->rec, -OPS);
}

/* What holds after `n` events: the last version begun, the last flushed. */
static void bounds(const struct work *w, size_t n, uint32_t *begun,
		   uint32_t *flushed)
{
	*begun = *flushed = 0;
	for (size_t i = 0; i < n; i++) {
		const struct rec_event *ev = recfile_event(w->rec, i);

		if (ev->kind != REC_MARK)
			continue;
		if (ev->mark > 0)
			*begun = (uint32_t)ev->mark;
		else
			*flushed = (uint32_t)-ev->mark;
	}
}

static bool covers(const struct op *op, uint32_t lba)
{
	return lba >= op->lba && lba < op->lba + op->count;
}

static bool sector_ok(const struct work *w, uint32_t lba, const uint8_t *b,
		      uint32_t begun, uint32_t flushed)
{
	uint8_t want[512];
	uint32_t least = 0;

	for (uint32_t v = 1; v <= flushed; v++)
		if (covers(&w->ops[v], lba))
			least = v;
	memset(want, 0, sizeof(want));
	if (least == 0 && memcmp(b, want, 512) == 0)
		return true;
	for (uint32_t v = least ? least : 1; v <= begun; v++) {
		stamp(want, lba, v);
		if (covers(&w->ops[v], lba) && memcmp(b, want, 512) == 0)
			return true;
	}
	return false;
}

static void check_content(const struct work *w, struct memfile *m,
			  bool writable, uint32_t begun, uint32_t flushed,
			  const char *what, size_t n)
{
	static uint8_t disk[SECTORS * 512];
	struct vhd *img;
	struct vhd_err e;

	if (img_open(m, VHD_FORMAT_DYNAMIC, writable, &img, &e))
		fail_msg("%s at event %zu: %s", what, n, e.text);
	assert_int_equal(vhd_read(img, 0, disk, sizeof(disk), &e), 0);
	for (uint32_t lba = 0; lba < SECTORS; lba++)
		if (!sector_ok(w, lba, disk + lba * 512, begun, flushed))
			fail_msg("%s at event %zu: sector %u has version %u, "
				 "flushed %u, begun %u",
				 what, n, lba, img_get32(disk + lba * 512 + 4),
				 flushed, begun);
	if (vhd_close(img, &e))
		fail_msg("%s at event %zu: %s", what, n, e.text);
}

/* Read it as it is; open it to write, which repairs; read it again: clean. */
static void check_state(const struct work *w, struct memfile *m, size_t n)
{
	uint32_t begun, flushed;
	struct vhd *img;
	struct vhd_err e;

	bounds(w, n, &begun, &flushed);
	check_content(w, m, false, begun, flushed, "reading", n);
	check_content(w, m, true, begun, flushed, "repairing", n);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	vhd_abandon(img);
	check_content(w, m, false, begun, flushed, "repaired", n);
}

static void begin(struct work *w, uint64_t seed, struct memfile *m)
{
	memset(w, 0, sizeof(*w));
	w->rnd = seed;
	w->m = m;
	w->rec = recfile_create(m);
}

static void end(struct work *w)
{
	recfile_destroy(w->rec);
	memfile_destroy(w->m);
}

static struct memfile *fresh(void)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SECTORS * 512,
		.block_size_bytes = BLOCK,
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static void flushed_data_survives_a_stop_after_every_event(void **state)
{
	(void)state;
	uint64_t seed = random_seed();
	struct work w;

	begin(&w, seed, fresh());
	run_work(&w);
	for (size_t n = 0; n <= recfile_count(w.rec); n++) {
		struct memfile *m = recfile_prefix(w.rec, n);

		check_state(&w, m, n);
		memfile_destroy(m);
	}
	end(&w);
}

static void flushed_data_survives_any_loss_of_unsynced_sectors(void **state)
{
	(void)state;
	uint64_t seed = random_seed();
	struct work w;

	begin(&w, seed, fresh());
	run_work(&w);
	for (size_t n = 0; n <= recfile_count(w.rec); n++) {
		for (int c = 0; c < CUTS; c++) {
			struct memfile *m =
				recfile_cut(w.rec, n, random_next(&w.rnd));

			check_state(&w, m, n);
			memfile_destroy(m);
		}
	}
	end(&w);
}

/* Partial blocks with junk under their zeros, as other writers leave them:
 * the junk must not appear, whatever is lost while a block is made whole.
 */
static struct memfile *foreign(void)
{
	static const uint32_t order[] = {3, 0, 7, 1};
	struct memfile *m = img_dynamic(SECTORS * 512, BLOCK, order, 4);
	uint8_t map[512] = {0};

	for (unsigned k = 0; k < 4; k++)
		assert_int_equal(
			memfile_poke(m, map, 512,
				     img_place(SECTORS * 512, BLOCK, k)),
			0);
	return m;
}

static void junk_under_zero_bits_never_appears(void **state)
{
	(void)state;
	uint64_t seed = random_seed();
	struct work w;

	begin(&w, seed, foreign());
	run_work(&w);
	for (size_t n = 0; n <= recfile_count(w.rec); n++) {
		struct memfile *m = recfile_prefix(w.rec, n);

		check_state(&w, m, n);
		memfile_destroy(m);
		m = recfile_cut(w.rec, n, random_next(&w.rnd));
		check_state(&w, m, n);
		memfile_destroy(m);
	}
	end(&w);
}

static size_t interrupt_repair(struct work *w, struct memfile *cut, size_t n)
{
	struct recfile *again = recfile_create(cut);
	struct vhd *img = open_on(recfile_file(again));
	size_t steps;

	vhd_abandon(img);
	steps = recfile_count(again);
	for (size_t k = 0; k <= steps; k++) {
		struct memfile *m = recfile_cut(again, k, random_next(&w->rnd));

		check_state(w, m, n);
		memfile_destroy(m);
	}
	recfile_destroy(again);
	memfile_destroy(cut);
	return steps;
}

/* A second cut, while the first one's damage is being repaired. */
static void repairing_may_be_interrupted_too(void **state)
{
	(void)state;
	uint64_t seed = random_seed();
	struct work w;
	size_t steps = 0;

	begin(&w, seed, fresh());
	run_work(&w);
	for (size_t n = 0; n <= recfile_count(w.rec); n++) {
		steps += interrupt_repair(&w, recfile_prefix(w.rec, n), n);
		steps += interrupt_repair(
			&w, recfile_cut(w.rec, n, random_next(&w.rnd)), n);
	}
	assert_true(steps > 0);
	end(&w);
}

/* The file grows by steps: one sector in each of many blocks of 2 MiB, a
 * flush now and then. At each point what was flushed is there, the rest is
 * there or zero, and no former footer shows in a block.
 */
enum { GROW_BLOCKS = 100, GROW_BLOCK = 2 << 20 };

static void check_grown(const struct recfile *rec, struct memfile *m, size_t n)
{
	static const uint8_t zeros[512];
	struct vhd *img;
	struct vhd_err e;
	uint32_t flushed = 0;
	uint8_t want[512], got[512];

	for (size_t i = 0; i < n; i++)
		if (recfile_event(rec, i)->kind == REC_MARK)
			flushed = (uint32_t)recfile_event(rec, i)->mark;
	if (img_open(m, VHD_FORMAT_DYNAMIC, true, &img, &e))
		fail_msg("at event %zu: %s", n, e.text);
	for (uint32_t b = 0; b < GROW_BLOCKS; b++) {
		stamp(want, b, 1);
		assert_int_equal(
			vhd_read(img, (uint64_t)b * GROW_BLOCK, got, 512, &e),
			0);
		if (memcmp(want, got, 512) != 0)
			assert_true(b >= flushed &&
				    memcmp(got, zeros, 512) == 0);
	}
	assert_int_equal(vhd_close(img, &e), 0);
}

static void no_footer_in_blocks(struct memfile *m)
{
	static uint8_t block[GROW_BLOCK];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_DYNAMIC, false, &img, &e), 0);
	for (uint64_t b = 0; b < GROW_BLOCKS; b++) {
		assert_int_equal(
			vhd_read(img, b * GROW_BLOCK, block, GROW_BLOCK, &e),
			0);
		for (size_t i = 512; i < GROW_BLOCK; i += 512)
			if (memcmp(block + i, "conectix", 8) == 0)
				fail_msg("a footer in block %u", (unsigned)b);
	}
	vhd_abandon(img);
}

static void growing_by_steps_survives_too(void **state)
{
	(void)state;
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = (uint64_t)GROW_BLOCKS * GROW_BLOCK,
	};
	uint64_t rnd = random_seed();
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct recfile *rec;
	struct vhd *img;
	struct vhd_err e;
	uint8_t b[512];

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	rec = recfile_create(m);
	img = open_on(recfile_file(rec));
	for (uint32_t i = 0; i < GROW_BLOCKS; i++) {
		stamp(b, i, 1);
		assert_int_equal(
			vhd_write(img, (uint64_t)i * GROW_BLOCK, b, 512, &e),
			0);
		if (i % 9 == 8) {
			assert_int_equal(vhd_flush(img, &e), 0);
			recfile_mark(rec, (int)i + 1);
		}
	}
	assert_int_equal(vhd_close(img, &e), 0);
	recfile_mark(rec, GROW_BLOCKS);
	for (size_t n = 0; n <= recfile_count(rec); n++) {
		struct memfile *cut = recfile_prefix(rec, n);

		check_grown(rec, cut, n);
		memfile_destroy(cut);
		cut = recfile_cut(rec, n, random_next(&rnd));
		check_grown(rec, cut, n);
		if (n % 50 == 0)
			no_footer_in_blocks(cut);
		memfile_destroy(cut);
	}
	recfile_destroy(rec);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			flushed_data_survives_a_stop_after_every_event),
		cmocka_unit_test(
			flushed_data_survives_any_loss_of_unsynced_sectors),
		cmocka_unit_test(junk_under_zero_bits_never_appears),
		cmocka_unit_test(repairing_may_be_interrupted_too),
		cmocka_unit_test(growing_by_steps_survives_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
