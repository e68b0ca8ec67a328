/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/written.c and what differencing disks add to alloc.c and the queue:
 * whose sector is read when, what a fault leaves, what a write costs.
 */
#include <errno.h>

#include "tests/lib/childpair.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/simengine.h"
#include "vhd/locator.h"

#define LAYERS 4u

/* --------------------------------------------------------------- content -- */

/* A random chain whose top is written to at random, against a flat model; the
 * oracle reads the result, too.
 */
struct tower {
	unsigned count;
	struct memfile *m[LAYERS];
	uint8_t *model;
	uint64_t size;
};

static void tower_make(struct tower *t, uint64_t *rnd)
{
	t->count = 2 + (unsigned)random_below(rnd, LAYERS - 1);
	t->size = 512 * (1 + random_below(rnd, 900));
	t->model = calloc(1, t->size);
	assert_non_null(t->model);
	for (unsigned i = 0; i < t->count; i++) {
		uint32_t block = 4096u << random_below(rnd, 7);
		uint32_t type = i ? IMG_TYPE_DIFF
				: 2 + (uint32_t)random_below(rnd, 2);

		t->m[i] = diff_random(type, i, t->size, block, t->model, rnd);
	}
}

static struct vhd *tower_open(struct tower *t)
{
	struct vhd *img = open_on(memfile_file(t->m[0]), false);
	struct vhd_err e;

	for (unsigned i = 1; i < t->count; i++) {
		struct vhd *next = open_on(memfile_file(t->m[i]),
					   i == t->count - 1);

		assert_int_equal(vhd_chain_set_parent(next, img, &e), 0);
		img = next;
	}
	return img;
}

static uint8_t *bytes_of(const struct memfile *m, uint64_t *len)
{
	uint8_t *b;

	*len = memfile_len(m);
	b = malloc(*len);
	assert_non_null(b);
	memfile_peek(m, b, *len, 0);
	return b;
}

static void oracle_agrees(const struct tower *t)
{
	struct oracle o[LAYERS]; /* the child first */
	uint8_t *b[LAYERS], got[512];
	uint64_t len;

	for (unsigned i = 0; i < t->count; i++) {
		b[i] = bytes_of(t->m[t->count - 1 - i], &len);
		if (!oracle_open(&o[i], b[i], len) || !oracle_check(&o[i]))
			fail_msg("layer %u: %s", i, o[i].fault);
	}
	for (uint64_t lba = 0; lba < t->size / 512; lba++) {
		assert_true(oracle_chain(o, t->count, lba, got));
		assert_memory_equal(got, t->model + lba * 512, 512);
	}
	for (unsigned i = 0; i < t->count; i++)
		free(b[i]);
}

static void random_op(struct tower *t, struct vhd *img, uint64_t *rnd)
{
	uint64_t at = random_below(rnd, t->size / 512);
	uint64_t n = 1 + random_below(rnd, t->size / 512 - at);
	uint8_t *b = malloc(t->size);
	struct vhd_err e;

	assert_non_null(b);
	if (random_below(rnd, 4))
		n = 1 + n % 20 % (t->size / 512 - at);
	if (random_below(rnd, 3) == 0) {
		memset(b, (int)random_below(rnd, 256), n * 512);
		memcpy(t->model + at * 512, b, n * 512);
		assert_int_equal(vhd_write(img, at * 512, b, n * 512, &e), 0);
	} else {
		assert_int_equal(vhd_read(img, at * 512, b, n * 512, &e), 0);
		assert_memory_equal(b, t->model + at * 512, n * 512);
	}
	if (random_below(rnd, 16) == 0)
		assert_int_equal(vhd_flush(img, &e), 0);
	free(b);
}

static void random_writes_to_a_chain_match_the_model(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (int i = 0; i < 60; i++) {
		struct tower t;
		struct vhd *img;
		struct vhd_err e;

		tower_make(&t, &rnd);
		for (int session = 0; session < 3; session++) {
			img = tower_open(&t);
			for (int k = 0; k < 60; k++)
				random_op(&t, img, &rnd);
			assert_int_equal(vhd_close(img, &e), 0);
			oracle_agrees(&t);
		}
		for (unsigned k = 0; k < t.count - 1; k++)
			assert_int_equal(
				memfile_count(t.m[k], MEMFILE_WRITE) +
					memfile_count(t.m[k], MEMFILE_ZERO) +
					memfile_count(t.m[k], MEMFILE_TRUNCATE),
				0);
		for (unsigned k = 0; k < t.count; k++)
			memfile_destroy(t.m[k]);
		free(t.model);
	}
}

static void one_sector_costs_one_sector(void **state)
{
	(void)state;
	struct pair p;
	uint64_t reads, bytes = 0;

	pair_make(&p, 8 * MIB, 2 * MIB);
	reads = memfile_count(p.base, MEMFILE_READ);
	put(&p, 5000, 1);
	assert_int_equal(memfile_count(p.base, MEMFILE_READ), reads);
	for (size_t i = 0; i < recfile_count(p.rec); i++) {
		const struct rec_event *ev = recfile_event(p.rec, i);

		assert_int_not_equal(ev->kind, REC_FLUSH);
		bytes += ev->kind == REC_WRITE ? ev->len : 0;
	}
	/* data, bitmap, footer */
	assert_int_equal(bytes, 3 * 512);
	expect(&p, 4999, OLD);
	expect(&p, 5000, NEW);
	expect(&p, 5001, OLD);
	pair_close(&p);
	pair_free(&p);
}

static void a_child_beyond_its_parent_reads_zeros_there(void **state)
{
	(void)state;
	const struct vhd_open_opts o = {
		.writable = true, .parent_dir = "", .larger_child = true};
	struct memfile *top = diff_empty(1, 64 * KIB, 16 * KIB);
	struct vhd_file f = memfile_file(top);
	struct pair p;
	struct vhd_err e;

	pair_make(&p, 24 * KIB, 16 * KIB);
	vhd_abandon(p.img);
	assert_int_equal(vhd_open_file(&f, &o, &p.img, &e), 0);
	assert_int_equal(
		vhd_chain_set_parent(p.img,
				     open_on(memfile_file(p.base), false), &e),
		0);
	put(&p, 50, 1); /* the parent has 48 sectors, a block 32 */
	put(&p, 100, 1);
	expect(&p, 47, OLD);
	expect(&p, 48, 0);
	expect(&p, 50, NEW);
	expect(&p, 51, 0);
	expect(&p, 101, 0);
	pair_close(&p);
	memfile_destroy(top);
	pair_free(&p);
}

/* ---------------------------------------------------- faults and the queue -- */

static int fail_data(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const uint64_t *at = ctx;

	return op == MEMFILE_WRITE && len >= 512 && off == *at ? -EIO : 0;
}

static void a_failed_write_leaves_the_parents_content(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_run run;
	struct vhd_err e;
	uint8_t b[512] = {NEW};

	pair_make(&p, MIB, 64 * KIB);
	assert_int_equal(vhd_map_write(p.img, 3, 1, &run, &e), 0);
	expect(&p, 3, OLD); /* a place, but nothing in it */
	memfile_set_hook(p.top, fail_data, &run.off_bytes);
	assert_refused(vhd_write(p.img, 3 * 512, b, 512, &e), &e, EIO,
		       VHD_WHY_IO);
	memfile_set_hook(p.top, NULL, NULL);
	expect(&p, 3, OLD);
	assert_int_equal(vhd_flush(p.img, &e), 0);
	assert_false(bit_on_medium(&p, 3));
	put(&p, 3, 1);
	expect(&p, 3, NEW);
	pair_close(&p);
	assert_true(bit_on_medium(&p, 3));
	pair_free(&p);
}

/* The pair under a queue on a simulated engine. */
struct deck {
	struct pair p;
	struct simengine *sim;
	struct vhd_queue *q;
	struct sim_fate fate; /* of every write */
	uint8_t b[128 * KIB];
};

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct deck *d = ctx;

	if (io->op == VHD_IO_WRITE)
		*fate = d->fate;
}

static struct deck *deck_make(void)
{
	struct deck *d = calloc(1, sizeof(*d));
	struct sim_opts o = {.decide = decide, .ctx = d};

	assert_non_null(d);
	pair_make(&d->p, MIB, 64 * KIB);
	d->sim = simengine_create(&o);
	assert_int_equal(simengine_queue(d->sim, 8, &d->q), 0);
	qtest_attach(d->q, d->p.img);
	memset(d->b, NEW, sizeof(d->b));
	return d;
}

static void deck_free(struct deck *d)
{
	vhd_queue_detach(d->q, d->p.img);
	vhd_queue_destroy(d->q);
	simengine_destroy(d->sim);
	pair_free(&d->p);
	free(d);
}

static void a_write_shows_when_it_is_done(void **state)
{
	(void)state;
	struct deck *d = deck_make();
	struct iovec iov = {d->b, 3 * 512};
	struct vhd_req w = {.img = d->p.img, .op = VHD_OP_WRITE, .lba = 127,
			    .iov = &iov, .iov_count = 1};

	simengine_hold(d->sim, true);
	vhd_queue_submit(d->q, &w);
	vhd_queue_kick(d->q);
	assert_int_equal(simengine_in_flight(d->sim), 2); /* two blocks */
	expect(&d->p, 127, OLD);
	expect(&d->p, 128, OLD);
	simengine_hold(d->sim, false);
	assert_ptr_equal(qtest_next(d->q), &w);
	assert_int_equal(w.result, 0);
	for (uint64_t lba = 127; lba < 130; lba++)
		expect(&d->p, lba, NEW);
	expect(&d->p, 126, OLD);
	expect(&d->p, 130, OLD);
	deck_free(d);
}

/* What was moved before the fault is there, and bad_lba says up to where. */
static void a_write_cut_short_shows_what_was_moved(void **state)
{
	(void)state;
	struct deck *d = deck_make();
	struct iovec iov = {d->b, 8 * 512};
	struct vhd_req w = {.img = d->p.img, .op = VHD_OP_WRITE, .lba = 10,
			    .iov = &iov, .iov_count = 1};

	d->fate.most_bytes = 3 * 512 + 100;
	simengine_hold(d->sim, true);
	vhd_queue_submit(d->q, &w);
	simengine_allow(d->sim, 1);
	vhd_queue_wait(d->q, -1, 0);
	d->fate = (struct sim_fate){.code = -EIO};
	simengine_hold(d->sim, false);
	assert_ptr_equal(qtest_next(d->q), &w);
	assert_int_equal(w.result, -EIO);
	assert_int_equal(w.bad_lba, 13);
	expect(&d->p, 12, NEW);
	for (uint64_t lba = 13; lba < 18; lba++)
		expect(&d->p, lba, OLD);
	deck_free(d);
}

static size_t syncs(const struct deck *d)
{
	return simengine_count_op(d->sim, VHD_IO_SYNC);
}

static void only_new_sectors_cost_a_second_sync(void **state)
{
	(void)state;
	struct deck *d = deck_make();

	assert_int_equal(qtest_io(d->q, d->p.img, VHD_OP_WRITE, 5, d->b, 1024),
			 0);
	assert_int_equal(qtest_flush(d->q, d->p.img), 0);
	assert_int_equal(syncs(d), 2);
	assert_true(bit_on_medium(&d->p, 5) && bit_on_medium(&d->p, 6));
	assert_false(bit_on_medium(&d->p, 7));
	assert_int_equal(qtest_io(d->q, d->p.img, VHD_OP_WRITE, 5, d->b, 1024),
			 0);
	assert_int_equal(qtest_flush(d->q, d->p.img), 0);
	assert_int_equal(syncs(d), 3);
	assert_int_equal(qtest_io(d->q, d->p.img, VHD_OP_WRITE, 6, d->b, 1024),
			 0);
	assert_int_equal(qtest_flush(d->q, d->p.img), 0);
	assert_int_equal(syncs(d), 5);
	assert_true(bit_on_medium(&d->p, 7));
	deck_free(d);
}

static int fua(struct deck *d, uint64_t lba, size_t len)
{
	struct iovec iov = {d->b, len};
	struct vhd_req w = {.img = d->p.img, .op = VHD_OP_WRITE, .lba = lba,
			    .iov = &iov, .iov_count = 1, .flags = VHD_REQ_FUA};

	return qtest_run(d->q, &w);
}

static bool last_was_dsync(const struct deck *d)
{
	size_t n = simengine_count(d->sim);

	return simengine_event(d->sim, n - 1)->dsync;
}

static void fua_flushes_unless_its_bits_are_durable(void **state)
{
	(void)state;
	struct deck *d = deck_make();

	assert_int_equal(fua(d, 5, 1024), 0);
	assert_int_equal(syncs(d), 2);
	assert_true(bit_on_medium(&d->p, 5) && bit_on_medium(&d->p, 6));
	/* durable: the write alone is enough */
	assert_int_equal(fua(d, 5, 1024), 0);
	assert_int_equal(syncs(d), 2);
	assert_true(last_was_dsync(d));
	/* one sector more is not */
	assert_int_equal(fua(d, 6, 1024), 0);
	assert_int_equal(syncs(d), 4);
	assert_true(bit_on_medium(&d->p, 7));
	/* set in memory only is not either */
	assert_int_equal(qtest_io(d->q, d->p.img, VHD_OP_WRITE, 20, d->b, 512),
			 0);
	assert_int_equal(fua(d, 20, 512), 0);
	assert_int_equal(syncs(d), 6);
	assert_true(bit_on_medium(&d->p, 20));
	deck_free(d);
}

static int fail_flush(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_FLUSH ? -EIO : 0;
}

static int fail_write(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_WRITE ? -EIO : 0;
}

static void a_failed_sync_or_bitmap_write_poisons(void **state)
{
	static const memfile_hook hooks[] = {fail_flush, fail_write};
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		struct pair p;
		struct vhd_err e;
		uint8_t b[512] = {0};

		pair_make(&p, MIB, 64 * KIB);
		put(&p, 0, 1);
		assert_int_equal(vhd_flush(p.img, &e), 0);
		put(&p, 1, 1); /* its block is durable, its bit is not */
		memfile_set_hook(p.top, hooks[i], NULL);
		assert_refused(vhd_flush(p.img, &e), &e, EIO, VHD_WHY_IO);
		memfile_set_hook(p.top, NULL, NULL);
		assert_true(vhd_poisoned(p.img));
		assert_refused(vhd_write(p.img, 0, b, 512, &e), &e, EIO,
			       VHD_WHY_POISONED);
		assert_refused(vhd_flush(p.img, &e), &e, EIO, VHD_WHY_POISONED);
		expect(&p, 1, NEW);
		pair_free(&p);
	}
}

static int no_space(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const uint64_t *end = ctx;

	if (op == MEMFILE_TRUNCATE && off > *end)
		return -ENOSPC;
	return op == MEMFILE_WRITE && off + len > *end ? -ENOSPC : 0;
}

static void a_full_host_refuses_new_blocks_only(void **state)
{
	(void)state;
	struct pair p;
	struct vhd_err e;
	uint8_t b[512] = {0};
	uint64_t end;

	pair_make(&p, 300 * 64 * KIB, 64 * KIB);
	put(&p, 0, 1);
	assert_int_equal(vhd_flush(p.img, &e), 0);
	end = p.img->alloc_end_bytes;
	memfile_set_hook(p.top, no_space, &end);
	assert_refused(vhd_write(p.img, 100 * 128 * 512, b, 512, &e), &e,
		       ENOSPC, VHD_WHY_NO_SPACE);
	expect(&p, 100 * 128, OLD);
	put(&p, 1, 1); /* an old block */
	assert_int_equal(vhd_flush(p.img, &e), 0);
	assert_true(bit_on_medium(&p, 1));
	memfile_set_hook(p.top, NULL, NULL);
	put(&p, 100 * 128, 1);
	expect(&p, 100 * 128, NEW);
	pair_close(&p);
	pair_free(&p);
}

/* -------------------------------------------------------------- memory -- */

/* The bound is for what reading keeps. */
static void blocks_written_to_are_kept_past_the_bound(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct tower t;
	struct vhd *img;
	struct vhd_err e;

	do {
		tower_make(&t, &rnd);
		if (t.size >= 128 * KIB)
			break;
		for (unsigned i = 0; i < t.count; i++)
			memfile_destroy(t.m[i]);
		free(t.model);
	} while (true);
	img = tower_open(&t);
	img->bitmaps_bytes = VHD_BITMAP_CACHE_BYTES;
	for (int k = 0; k < 100; k++)
		random_op(&t, img, &rnd);
	assert_int_equal(vhd_close(img, &e), 0);
	oracle_agrees(&t);
	for (unsigned i = 0; i < t.count; i++)
		memfile_destroy(t.m[i]);
	free(t.model);
}

/* ---------------------------------------------------------------- batmap -- */

/* blktap's batmap behind the table, with these bits. */
static struct memfile *with_batmap(uint8_t bits)
{
	struct memfile *m = diff_empty(1, MIB, 64 * KIB);
	uint64_t at = memfile_len(m) - 512;
	uint8_t footer[512], b[1024] = {0};

	img_footers(m, IMG_F_APP, "tap", 4);
	img_footers32(m, IMG_F_APP_VERSION, 0x00010003);
	memfile_peek(m, footer, 512, at);
	memcpy(b, "tdbatmap", 8);
	img_put64(b + 8, at + 512);
	img_put32(b + 16, 1);
	img_put32(b + 20, 0x00010002);
	b[512] = bits;
	img_put32(b + 24, ~(uint32_t)bits);
	assert_int_equal(memfile_poke(m, b, 1024, at), 0);
	assert_int_equal(memfile_poke(m, footer, 512, at + 1024), 0);
	return m;
}

static int fail_read_at(void *ctx, enum memfile_op op, uint64_t off,
			uint64_t len)
{
	(void)len;
	return op == MEMFILE_READ && off == *(uint64_t *)ctx ? -EIO : 0;
}

/* Bits behind the last block are nobody's. */
static void a_batmap_is_read_as_far_as_there_are_blocks(void **state)
{
	(void)state;
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct memfile *m = with_batmap(0x0f);
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	img_footers64(m, IMG_F_CURRENT_SIZE, 4 * 64 * KIB);
	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static void a_batmap_that_would_become_untrue_is_not_written_over(void **state)
{
	(void)state;
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct memfile *good = with_batmap(0), *bad = with_batmap(0x20);
	uint8_t one[512] = {1}, b[512];
	struct vhd_file f = memfile_file(good);
	uint64_t map_at;
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_BATMAP);
	/* a block that is there may be called full */
	assert_int_equal(vhd_write(img, 0, one, sizeof(one), &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_peek(good, b, sizeof(b), IMG_TABLE + 512);
	img_put32(b + 24, ~0x80u);
	assert_int_equal(memfile_poke(good, b, sizeof(b), IMG_TABLE + 512), 0);
	assert_int_equal(memfile_poke(good, "\x80", 1, IMG_TABLE + 1024), 0);
	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	f = memfile_file(bad);
	assert_refused(vhd_open_file(&f, &o, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	vhd_abandon(open_on(f, false));
	/* one that cannot be read may say anything */
	f = memfile_file(good);
	map_at = IMG_TABLE + 1024;
	memfile_set_hook(good, fail_read_at, &map_at);
	assert_refused(vhd_open_file(&f, &o, &img, &e), &e, EIO, VHD_WHY_IO);
	memfile_destroy(good);
	memfile_destroy(bad);
}

/* --------------------------------------------------- outside the file -- */

/* A child whose one locator, of 16 bytes, lies `behind` the end of the file. */
static struct memfile *with_locator_outside(uint64_t behind)
{
	struct memfile *m = diff_empty(1, MIB, 64 * KIB);

	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "base.vhd");
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 16,
		  memfile_len(m) + behind);
	return m;
}

/* As after a rebase that was cut off: the file grows over the place. */
static void a_locator_just_outside_keeps_its_place(void **state)
{
	(void)state;
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct memfile *m = with_locator_outside(1024);
	struct vhd_file f = memfile_file(m);
	uint8_t b[512] = {1}, got[512];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	for (uint64_t at = 0; at < MIB; at += 64 * KIB)
		assert_int_equal(vhd_write(img, at, b, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	if (vhd_open_file(&f, &o, &img, &e))
		fail_msg("opened again: %s", e.text);
	assert_int_equal(vhd_read(img, MIB - 64 * KIB, got, 512, &e), 0);
	assert_memory_equal(got, b, 512);
	assert_int_equal(vhd_close(img, &e), 0);
	memfile_destroy(m);
}

static void a_disk_with_a_locator_far_outside_is_only_read(void **state)
{
	(void)state;
	struct memfile *near = with_locator_outside(VHD_OUTSIDE_ROOM_BYTES -
						    16);
	struct memfile *far = with_locator_outside(VHD_OUTSIDE_ROOM_BYTES -
						   15);
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct vhd_file f = memfile_file(near);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	vhd_abandon(img);
	f = memfile_file(far);
	assert_refused(vhd_open_file(&f, &o, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	vhd_abandon(open_on(f, false));
	memfile_destroy(near);
	memfile_destroy(far);
}

/* Longer by a block, the file would have all of the locator inside, and the
 * block in it would be refused.
 */
static void a_disk_with_a_block_under_a_locator_is_only_read(void **state)
{
	(void)state;
	struct memfile *m = with_locator_outside(1024);
	const struct vhd_open_opts o = {.writable = true, .parent_dir = ""};
	struct vhd_file f = memfile_file(m);
	uint8_t b[512] = {1}, got[512];
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_write(img, 0, b, 512, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 16,
		  memfile_len(m) - 8192);
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 8, 8192);
	assert_refused(vhd_open_file(&f, &o, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	img = open_on(f, false);
	assert_int_equal(vhd_read(img, 0, got, 512, &e), 0);
	assert_memory_equal(got, b, 512);
	vhd_abandon(img);
	memfile_destroy(m);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(random_writes_to_a_chain_match_the_model),
		T(one_sector_costs_one_sector),
		T(a_child_beyond_its_parent_reads_zeros_there),
		T(a_failed_write_leaves_the_parents_content),
		T(a_write_shows_when_it_is_done),
		T(a_write_cut_short_shows_what_was_moved),
		T(only_new_sectors_cost_a_second_sync),
		T(fua_flushes_unless_its_bits_are_durable),
		T(a_failed_sync_or_bitmap_write_poisons),
		T(a_full_host_refuses_new_blocks_only),
		T(blocks_written_to_are_kept_past_the_bound),
		T(a_batmap_that_would_become_untrue_is_not_written_over),
		T(a_batmap_is_read_as_far_as_there_are_blocks),
		T(a_locator_just_outside_keeps_its_place),
		T(a_disk_with_a_locator_far_outside_is_only_read),
		T(a_disk_with_a_block_under_a_locator_is_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
