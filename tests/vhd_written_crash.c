/* SPDX-License-Identifier: BSD-2-Clause */
/* Power cuts under a differencing disk. Several flushes overlap at random, as
 * those of several queues do; writes go on meanwhile. From the record every
 * state the medium may be left in is made and read by the library and by the
 * oracle: a sector has a version not older than the last flush that ended
 * covers, or the parent's content where none does, and never anything else.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/image.h"

#define SECTORS 420u /* not a whole number of blocks of any size here */
#define SIZE	(SECTORS * 512ull)
#define OPS	150u
#define STEPS	900
#define FLUSHES 3u /* at a time */
#define CUTS	2

struct op {
	uint32_t lba;
	uint32_t count;
};

enum stage { IDLE, BEGUN, SYNCED, PUBLISHED };

/* One flush under way. */
struct flush {
	enum stage stage;
	uint32_t covers; /* the last version */
	struct vhd_commit c;
};

struct work {
	struct op ops[OPS + 1];
	uint32_t version; /* of the last write */
	struct flush flush[FLUSHES];
	struct memfile *base, *top;
	struct recfile *rec;
	struct vhd *img;
	uint8_t *base_bytes;
	uint64_t base_len;
	uint64_t rnd;
};

/* Version 0 is the parent's. */
static void stamp(uint8_t *b, uint32_t lba, uint32_t version)
{
	memset(b, (int)(version & 0xff), 512);
	img_put32(b, 0x5ec70000 | lba);
	img_put32(b + 4, version);
	img_put32(b + 508, version);
}

static struct memfile *make_base(void)
{
	struct memfile *m = img_fixed(SIZE);
	uint8_t b[512], id[16];

	for (uint32_t lba = 0; lba < SECTORS; lba++) {
		stamp(b, lba, 0);
		assert_int_equal(memfile_poke(m, b, 512, lba * 512ull), 0);
	}
	diff_id(id, 0);
	img_set(m, SIZE, 512, IMG_F_ID, id, 16);
	return m;
}

static int open_top(struct vhd_file f, struct memfile *base, bool writable,
		    struct vhd **out, struct vhd_err *e)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = "",
	};
	struct vhd_file low = memfile_file(base);
	const struct vhd_open_opts ro = {0};
	struct vhd *parent, *img;
	int rc = vhd_open_file(&f, &o, &img, e);

	if (rc)
		return rc;
	assert_int_equal(vhd_open_file(&low, &ro, &parent, e), 0);
	assert_int_equal(vhd_chain_set_parent(img, parent, e), 0);
	*out = img;
	return 0;
}

/* ------------------------------------------------------------- workload -- */

static void write_next(struct work *w)
{
	static uint8_t buf[48 * 512];
	uint32_t v = ++w->version;
	struct op *op = &w->ops[v];
	struct vhd_err e;

	op->lba = (uint32_t)random_below(&w->rnd, SECTORS);
	op->count = 1 + (uint32_t)random_below(&w->rnd, 48);
	if (random_below(&w->rnd, 3))
		op->count = 1 + op->count % 4;
	if (op->count > SECTORS - op->lba)
		op->count = SECTORS - op->lba;
	for (uint32_t i = 0; i < op->count; i++)
		stamp(buf + i * 512, op->lba + i, v);
	recfile_mark(w->rec, (int)v);
	assert_int_equal(vhd_write(w->img, op->lba * 512ull, buf,
				   op->count * 512ull, &e),
			 0);
}

static void end_flush(struct work *w, struct flush *f)
{
	vhd_commit_end(w->img, &f->c);
	recfile_mark(w->rec, -(int)f->covers);
	f->stage = IDLE;
}

static void step_flush(struct work *w, struct flush *f)
{
	const struct vhd_file *file = vhd_get_file(w->img);
	struct vhd_err e;

	switch (f->stage) {
	case IDLE:
		f->covers = w->version;
		assert_int_equal(vhd_commit_begin(w->img, &f->c, &e), 0);
		f->stage = BEGUN;
		break;
	case BEGUN:
		assert_int_equal(vhd_file_flush(file, &e), 0);
		f->stage = SYNCED;
		if (!vhd_commit_needed(w->img, &f->c))
			end_flush(w, f);
		break;
	case SYNCED:
		assert_int_equal(vhd_commit_publish(w->img, &f->c, &e), 0);
		f->stage = PUBLISHED;
		break;
	case PUBLISHED:
		assert_int_equal(vhd_file_flush(file, &e), 0);
		end_flush(w, f);
		break;
	}
}

static void drain(struct work *w)
{
	for (unsigned i = 0; i < FLUSHES; i++) {
		while (w->flush[i].stage != IDLE)
			step_flush(w, &w->flush[i]);
		vhd_commit_fini(&w->flush[i].c);
	}
}

static void close_and_open(struct work *w)
{
	struct vhd_err e;

	drain(w);
	assert_int_equal(vhd_close(w->img, &e), 0);
	recfile_mark(w->rec, -(int)w->version);
	assert_int_equal(
		open_top(recfile_file(w->rec), w->base, true, &w->img, &e), 0);
}

static void run_work(struct work *w)
{
	struct vhd_err e;

	assert_int_equal(
		open_top(recfile_file(w->rec), w->base, true, &w->img, &e), 0);
	for (int i = 0; i < STEPS && w->version < OPS; i++) {
		uint64_t what = random_below(&w->rnd, 40);

		if (what == 0)
			close_and_open(w);
		else if (what < 8)
			write_next(w);
		else
			step_flush(w, &w->flush[random_below(&w->rnd, FLUSHES)]);
	}
	drain(w);
	assert_int_equal(vhd_close(w->img, &e), 0);
	recfile_mark(w->rec, -(int)w->version);
}

/* ------------------------------------------------------------- judgement -- */

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
		else if ((uint32_t)-ev->mark > *flushed)
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
	for (uint32_t v = least; v <= begun; v++) {
		stamp(want, lba, v);
		if ((v == 0 || covers(&w->ops[v], lba)) &&
		    memcmp(b, want, 512) == 0)
			return true;
	}
	return false;
}

static void judge(const struct work *w, uint32_t lba, const uint8_t *b,
		  uint32_t begun, uint32_t flushed, const char *who, size_t n)
{
	if (!sector_ok(w, lba, b, begun, flushed))
		fail_msg("%s at event %zu: sector %u has version %u; flushed "
			 "%u, begun %u",
			 who, n, lba, img_get32(b + 4), flushed, begun);
}

static void by_oracle(const struct work *w, const struct memfile *m,
		      uint32_t begun, uint32_t flushed, size_t n)
{
	uint64_t len = memfile_len(m);
	uint8_t *bytes = malloc(len), b[512];
	struct oracle chain[2];

	assert_non_null(bytes);
	memfile_peek(m, bytes, len, 0);
	assert_true(oracle_open(&chain[1], w->base_bytes, w->base_len));
	if (!oracle_open(&chain[0], bytes, len) || !oracle_check(&chain[0]))
		fail_msg("at event %zu: %s", n, chain[0].fault);
	assert_true(chain[0].diff);
	for (uint32_t lba = 0; lba < SECTORS; lba++) {
		assert_true(oracle_chain(chain, 2, lba, b));
		judge(w, lba, b, begun, flushed, "oracle", n);
	}
	free(bytes);
}

static void by_library(const struct work *w, struct memfile *m, bool writable,
		       uint32_t begun, uint32_t flushed, size_t n)
{
	static uint8_t disk[SIZE];
	const char *who = writable ? "repairing" : "reading";
	struct vhd *img;
	struct vhd_err e;

	if (open_top(memfile_file(m), w->base, writable, &img, &e))
		fail_msg("%s at event %zu: %s", who, n, e.text);
	assert_int_equal(vhd_read(img, 0, disk, SIZE, &e), 0);
	for (uint32_t lba = 0; lba < SECTORS; lba++)
		judge(w, lba, disk + lba * 512, begun, flushed, who, n);
	if (vhd_close(img, &e))
		fail_msg("%s at event %zu: %s", who, n, e.text);
}

static void check_state(const struct work *w, struct memfile *m, size_t n)
{
	uint32_t begun, flushed;

	bounds(w, n, &begun, &flushed);
	by_library(w, m, false, begun, flushed, n);
	by_library(w, m, true, begun, flushed, n);
	by_oracle(w, m, begun, flushed, n);
}

static void check_all(struct work *w)
{
	for (size_t n = 0; n <= recfile_count(w->rec); n++) {
		struct memfile *m = recfile_prefix(w->rec, n);

		check_state(w, m, n);
		memfile_destroy(m);
		for (int c = 0; c < CUTS; c++) {
			m = recfile_cut(w->rec, n, random_next(&w->rnd));
			check_state(w, m, n);
			memfile_destroy(m);
		}
	}
}

static void begin(struct work *w, struct memfile *top, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->rnd = seed;
	w->base = make_base();
	w->base_len = memfile_len(w->base);
	w->base_bytes = malloc(w->base_len);
	assert_non_null(w->base_bytes);
	memfile_peek(w->base, w->base_bytes, w->base_len, 0);
	w->top = top;
	w->rec = recfile_create(top);
}

static void end(struct work *w)
{
	uint8_t *now = malloc(w->base_len);

	assert_non_null(now);
	memfile_peek(w->base, now, w->base_len, 0);
	assert_memory_equal(now, w->base_bytes, w->base_len);
	assert_int_equal(memfile_count(w->base, MEMFILE_WRITE), 0);
	free(now);
	free(w->base_bytes);
	recfile_destroy(w->rec);
	memfile_destroy(w->top);
	memfile_destroy(w->base);
}

static void a_new_child_survives_every_cut(void **state)
{
	static const uint32_t blocks[] = {4096, 16384, 131072, 4u << 20};
	uint64_t seed = random_seed();
	struct work w;

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		begin(&w, diff_empty(1, SIZE, blocks[i]), seed + i);
		run_work(&w);
		check_all(&w);
		end(&w);
	}
}

/* Blocks another writer left: bits over a child's own old data, zeros over
 * junk. The data under its bits counts as version 0 here.
 */
static struct memfile *foreign(void)
{
	const uint32_t block = 16384, order[] = {5, 0, 11, 3};
	struct memfile *m = img_dynamic(SIZE, block, order, 4);
	uint8_t id[16], b[512], map[512];

	diff_id(id, 1);
	img_footers(m, IMG_F_ID, id, 16);
	diff_id(id, 0);
	diff_parent_id(m, id);
	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
	memset(map, 0x0f, sizeof(map));
	for (unsigned k = 0; k < 4; k++) {
		uint64_t at = img_place(SIZE, block, k);

		assert_int_equal(memfile_poke(m, map, 512, at), 0);
		for (uint32_t i = 0; i < 32; i++) {
			if (!(map[i / 8] & (0x80 >> i % 8)))
				continue;
			stamp(b, order[k] * 32 + i, 0);
			assert_int_equal(
				memfile_poke(m, b, 512, at + 512 + i * 512), 0);
		}
	}
	return m;
}

static void another_writers_child_survives_every_cut(void **state)
{
	struct work w;

	(void)state;
	begin(&w, foreign(), random_seed());
	run_work(&w);
	check_all(&w);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_child_survives_every_cut),
		cmocka_unit_test(another_writers_child_survives_every_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
