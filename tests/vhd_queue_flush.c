/* SPDX-License-Identifier: BSD-2-Clause */
/* Flush and FUA: the order of alloc.h step by step, who shares a sync, what a
 * failure does, and what is there after a power cut.
 */
#include <errno.h>

#include "tests/lib/qsim.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "vhd/alloc.h"
#include "vhd/endian.h"

#define DEPTH 8u
#define BAT_NONE 0xffffffffu

static int set_up(void **state)
{
	*state = qsim_build(VHD_FORMAT_DYNAMIC, DEPTH, (struct sim_opts){0});
	return 0;
}

static int set_up_one(void **state)
{
	*state = qsim_build(VHD_FORMAT_DYNAMIC, 1, (struct sim_opts){0});
	return 0;
}

static int set_up_fixed(void **state)
{
	*state = qsim_build(VHD_FORMAT_FIXED, DEPTH, (struct sim_opts){0});
	return 0;
}

static size_t syncs(struct qsim *f)
{
	return simengine_count_op(f->sim, VHD_IO_SYNC);
}

/* The BAT entry as it lies on the medium. */
static uint32_t bat_on_medium(struct qsim *f, uint32_t block)
{
	be32 entry;

	memfile_peek(f->mem, &entry, sizeof(entry),
		     vhd_get_info(f->img)->table_bytes + 4ull * block);
	return be32_get(entry);
}

static void submit_flushes(struct qsim *f, struct vhd_req *reqs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		reqs[i] = qsim_req(f, VHD_OP_FLUSH, 0, NULL);
		vhd_queue_submit(f->q, &reqs[i]);
	}
}

static void expect_all(struct qsim *f, unsigned n, int result,
		       enum vhd_why why)
{
	while (n--) {
		struct vhd_req *req = qtest_next(f->q);

		assert_int_equal(req->op, VHD_OP_FLUSH);
		assert_int_equal(req->result, result);
		assert_int_equal(req->why, why);
	}
}

/* --------------------------------------------------------- the sequence -- */

static void new_blocks_cost_two_syncs_old_ones_one(void **state)
{
	struct qsim *f = *state;

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, 2 * BLOCK), 0);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	assert_int_equal(syncs(f), 2);
	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, 2 * BLOCK), 0);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	assert_int_equal(syncs(f), 3);
}

static void a_fixed_disk_costs_one_sync(void **state)
{
	struct qsim *f = *state;

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, 2 * BLOCK), 0);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	assert_int_equal(syncs(f), 1);
}

/* Keeps what the BAT on the medium said when each sync began. */
struct bat_watch {
	struct qsim *f;
	uint32_t seen[8];
	unsigned count;
};

static int watch_bat(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct bat_watch *w = ctx;

	(void)off;
	(void)len;
	if (op == MEMFILE_FLUSH && w->count < 8)
		w->seen[w->count++] = bat_on_medium(w->f, 3);
	return 0;
}

static void the_bat_is_written_between_the_syncs(void **state)
{
	struct qsim *f = *state;
	struct bat_watch w = {.f = f};

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 3 * BLOCK_SECTORS, BLOCK),
			 0);
	memfile_set_hook(f->mem, watch_bat, &w);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	memfile_set_hook(f->mem, NULL, NULL);
	assert_int_equal(w.count, 2);
	assert_int_equal(w.seen[0], BAT_NONE);
	assert_int_not_equal(w.seen[1], BAT_NONE);
}

static void a_block_made_after_the_ticket_waits_for_the_next_flush(
	void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req flush, write;

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	simengine_hold(f->sim, true);
	submit_flushes(f, &flush, 1);
	vhd_queue_kick(f->q);
	write = qsim_req(f, VHD_OP_WRITE, 3 * BLOCK_SECTORS, &iov);
	vhd_queue_submit(f->q, &write);
	simengine_hold(f->sim, false);
	assert_int_equal(qtest_next(f->q)->result, 0);
	assert_int_equal(qtest_next(f->q)->result, 0);
	assert_int_not_equal(bat_on_medium(f, 0), BAT_NONE);
	assert_int_equal(bat_on_medium(f, 3), BAT_NONE);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	assert_int_not_equal(bat_on_medium(f, 3), BAT_NONE);
}

/* -------------------------------------------------------------- sharing -- */

static void flushes_of_one_batch_share_their_syncs(void **state)
{
	struct qsim *f = *state;
	struct vhd_req reqs[10];

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	submit_flushes(f, reqs, 10);
	expect_all(f, 10, 0, VHD_WHY_NONE);
	assert_int_equal(syncs(f), 2);
}

static void late_flushes_share_the_next_sequence(void **state)
{
	struct qsim *f = *state;
	struct vhd_req early[3], late[5], *req;

	qsim_prepare(f, BLOCK);
	simengine_hold(f->sim, true);
	submit_flushes(f, early, 3);
	vhd_queue_kick(f->q);
	submit_flushes(f, late, 5);
	vhd_queue_kick(f->q);
	assert_int_equal(simengine_in_flight(f->sim), 1);
	simengine_allow(f->sim, 1);
	/* Only who came before the sync is done. */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vhd_queue_reap(f->q, &req, 1), 1);
		assert_true(req >= early && req < early + 3);
	}
	assert_int_equal(vhd_queue_reap(f->q, &req, 1), 0);
	simengine_hold(f->sim, false);
	expect_all(f, 5, 0, VHD_WHY_NONE);
	assert_int_equal(f->seen[VHD_IO_SYNC], 2);
}

static void flushes_find_a_slot_among_many_writes(void **state)
{
	struct qsim *f = *state; /* one slot */
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req writes[6], flush[2];
	unsigned flushed = 0;

	for (unsigned i = 0; i < 6; i++) {
		writes[i] = qsim_req(f, VHD_OP_WRITE, i * BLOCK_SECTORS, &iov);
		vhd_queue_submit(f->q, &writes[i]);
	}
	submit_flushes(f, flush, 2);
	for (unsigned i = 0; i < 8; i++) {
		struct vhd_req *req = qtest_next(f->q);

		assert_int_equal(req->result, 0);
		flushed += req->op == VHD_OP_FLUSH;
	}
	assert_int_equal(flushed, 2);
}

static void each_image_has_its_own_flush(void **state)
{
	struct qsim *f = *state;
	struct memfile *m = memfile_create();
	struct vhd *other = qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED,
					     BLOCK, 0);
	struct vhd_req a = qsim_req(f, VHD_OP_FLUSH, 0, NULL), b = a;

	qtest_attach(f->q, other);
	b.img = other;
	vhd_queue_submit(f->q, &a);
	vhd_queue_submit(f->q, &b);
	expect_all(f, 2, 0, VHD_WHY_NONE);
	assert_int_equal(syncs(f), 2);
	vhd_queue_detach(f->q, other);
	vhd_abandon(other);
	memfile_destroy(m);
}

static void a_cancelled_flush_leaves_the_others_theirs(void **state)
{
	struct qsim *f = *state;
	struct vhd_req reqs[3], late, *req;

	qsim_prepare(f, BLOCK);
	simengine_hold(f->sim, true);
	submit_flushes(f, reqs, 3);
	vhd_queue_cancel(f->q, &reqs[1]);
	assert_int_equal(vhd_queue_reap(f->q, &req, 1), 1);
	assert_ptr_equal(req, &reqs[1]);
	assert_int_equal(req->result, -ECANCELED);
	/* Under way it is part of the sequence and ends with it. */
	vhd_queue_cancel(f->q, &reqs[0]);
	submit_flushes(f, &late, 1);
	vhd_queue_cancel(f->q, &late);
	assert_int_equal(vhd_queue_reap(f->q, &req, 1), 1);
	assert_ptr_equal(req, &late);
	assert_int_equal(vhd_queue_reap(f->q, &req, 1), 0);
	simengine_hold(f->sim, false);
	expect_all(f, 2, 0, VHD_WHY_NONE);
	assert_int_equal(f->seen[VHD_IO_SYNC], 1);
}

/* -------------------------------------------------------------- failing -- */

static void expect_poisoned(struct qsim *f)
{
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);

	assert_true(vhd_poisoned(f->img));
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.why, VHD_WHY_POISONED);
	req = qsim_req(f, VHD_OP_WRITE, 40 * BLOCK_SECTORS, &iov);
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.why, VHD_WHY_POISONED);
	req = qsim_req(f, VHD_OP_FLUSH, 0, NULL);
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.why, VHD_WHY_POISONED);
	/* Reading goes on. */
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), 0);
}

static void a_failed_first_sync_poisons_and_leaves_the_bat(void **state)
{
	struct qsim *f = *state;
	struct vhd_req reqs[4];

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	qsim_plan(f, 0, VHD_IO_SYNC, 1, (struct sim_fate){.code = -EIO});
	submit_flushes(f, reqs, 4);
	expect_all(f, 4, -EIO, VHD_WHY_IO);
	assert_int_equal(syncs(f), 1);
	assert_int_equal(bat_on_medium(f, 0), BAT_NONE);
	expect_poisoned(f);
	assert_int_equal(syncs(f), 1);
}

static void a_failed_second_sync_poisons(void **state)
{
	struct qsim *f = *state;
	struct vhd_req req;

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	qsim_plan(f, 0, VHD_IO_SYNC, 2, (struct sim_fate){.code = -ENOSPC});
	submit_flushes(f, &req, 1);
	expect_all(f, 1, -ENOSPC, VHD_WHY_NO_SPACE);
	expect_poisoned(f);
}

static void an_interrupted_sync_is_not_tried_again(void **state)
{
	struct qsim *f = *state;
	struct vhd_req req;

	qsim_plan(f, 0, VHD_IO_SYNC, 1, (struct sim_fate){.code = -EINTR});
	submit_flushes(f, &req, 1);
	expect_all(f, 1, -EINTR, VHD_WHY_IO);
	assert_int_equal(syncs(f), 1);
	expect_poisoned(f);
}

static int fail_bat(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const struct qsim *f = ctx;

	(void)len;
	return op == MEMFILE_WRITE &&
	       off == vhd_get_info(f->img)->table_bytes ? -EIO : 0;
}

static void a_failed_bat_write_poisons(void **state)
{
	struct qsim *f = *state;
	struct vhd_req req;

	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	memfile_set_hook(f->mem, fail_bat, f);
	submit_flushes(f, &req, 1);
	expect_all(f, 1, -EIO, VHD_WHY_IO);
	assert_int_equal(syncs(f), 1);
	memfile_set_hook(f->mem, NULL, NULL);
	expect_poisoned(f);
}

static void a_failure_also_fails_who_waits_for_the_next(void **state)
{
	struct qsim *f = *state;
	struct vhd_req early, late;

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_SYNC, 1, (struct sim_fate){.code = -EIO});
	simengine_hold(f->sim, true);
	submit_flushes(f, &early, 1);
	vhd_queue_kick(f->q);
	submit_flushes(f, &late, 1);
	simengine_hold(f->sim, false);
	expect_all(f, 1, -EIO, VHD_WHY_IO);
	expect_all(f, 1, -EIO, VHD_WHY_POISONED);
	assert_int_equal(f->seen[VHD_IO_SYNC], 1);
}

/* The kernel tells a lost write once per open file, maybe to another queue. */
static void a_sync_that_succeeds_on_a_poisoned_image_fails(void **state)
{
	struct qsim *f = *state;
	struct vhd_req req;

	qsim_prepare(f, BLOCK);
	simengine_hold(f->sim, true);
	submit_flushes(f, &req, 1);
	vhd_queue_kick(f->q);
	vhd_poison(f->img);
	simengine_hold(f->sim, false);
	expect_all(f, 1, -EIO, VHD_WHY_POISONED);
}

/* ------------------------------------------------------------------ FUA -- */

static int fua(struct qsim *f, uint64_t lba, size_t len)
{
	struct iovec iov = {f->buf, len};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, lba, &iov);

	req.flags = VHD_REQ_FUA;
	return qtest_run(f->q, &req);
}

static const struct sim_event *last(struct qsim *f)
{
	return simengine_event(f->sim, simengine_count(f->sim) - 1);
}

static void fua_on_known_blocks_is_one_durable_write(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	assert_int_equal(fua(f, 3, SECTOR), 0);
	assert_int_equal(f->seen[VHD_IO_WRITE], 1);
	assert_int_equal(f->seen[VHD_IO_SYNC], 0);
	assert_true(last(f)->dsync);
}

static void fua_on_a_new_block_flushes(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	assert_int_equal(fua(f, 2 * BLOCK_SECTORS - 1, 2 * SECTOR), 0);
	assert_int_equal(f->seen[VHD_IO_WRITE], 2);
	assert_int_equal(f->seen[VHD_IO_SYNC], 2);
	assert_int_not_equal(bat_on_medium(f, 1), BAT_NONE);
	assert_int_not_equal(bat_on_medium(f, 2), BAT_NONE);
	for (size_t i = 0; i < simengine_count(f->sim); i++)
		assert_false(simengine_event(f->sim, i)->dsync);
}

static void plain_writes_are_not_durable_ones(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, SECTOR), 0);
	assert_false(last(f)->dsync);
	assert_int_equal(f->seen[VHD_IO_SYNC], 0);
}

static void a_failed_durable_write_poisons(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){.code = -EIO});
	assert_int_equal(fua(f, 0, SECTOR), -EIO);
	expect_poisoned(f);
}

static void a_durable_write_refused_before_writing_does_not(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){.code = -EFBIG});
	assert_int_equal(fua(f, 0, SECTOR), -EFBIG);
	assert_false(vhd_poisoned(f->img));
	assert_int_equal(fua(f, 0, SECTOR), 0);
}

static void a_failed_flush_fails_the_fua_write(void **state)
{
	struct qsim *f = *state;

	qsim_plan(f, 0, VHD_IO_SYNC, 1, (struct sim_fate){.code = -EIO});
	assert_int_equal(fua(f, 7, SECTOR), -EIO);
	expect_poisoned(f);
}

/* ------------------------------------------------------------ power cut -- */

enum { CUT_SECTORS = 64, CUT_STRIDE = 24, CUT_OPS = 400 };

/* Each sector used is filled with its generation. `done` is the generation of
 * the last write that ended, `flushed` of the last one known durable when a
 * mark was put into the record.
 */
struct cut_sector {
	unsigned gen;
	unsigned done;
};

struct cut_mark {
	size_t events; /* recorded before this point */
	unsigned durable[CUT_SECTORS];
};

struct cut_run {
	struct recfile *rec;
	struct vhd *img;
	struct vhd_queue *q;
	struct cut_sector sectors[CUT_SECTORS];
	uint8_t data[CUT_SECTORS][SECTOR];
	struct iovec iov[CUT_SECTORS];
	struct vhd_req reqs[CUT_SECTORS];
	bool busy[CUT_SECTORS];
	struct vhd_req flush;
	bool flushing;
	unsigned covered[CUT_SECTORS]; /* by the flush under way */
	unsigned durable[CUT_SECTORS];
	struct cut_mark *marks;
	unsigned mark_count;
};

static void put_mark(struct cut_run *r)
{
	struct cut_mark *m = &r->marks[r->mark_count++];

	m->events = recfile_count(r->rec);
	memcpy(m->durable, r->durable, sizeof(m->durable));
}

static void cut_reap(struct cut_run *r)
{
	struct vhd_req *req;

	while (vhd_queue_reap(r->q, &req, 1)) {
		assert_int_equal(req->result, 0);
		if (req == &r->flush) {
			for (unsigned i = 0; i < CUT_SECTORS; i++)
				if (r->covered[i] > r->durable[i])
					r->durable[i] = r->covered[i];
			r->flushing = false;
			put_mark(r);
			continue;
		}
		unsigned i = (unsigned)(req - r->reqs);

		r->busy[i] = false;
		r->sectors[i].done = r->sectors[i].gen;
		if (req->flags & VHD_REQ_FUA) {
			r->durable[i] = r->sectors[i].gen;
			put_mark(r);
		}
	}
}

static void cut_write(struct cut_run *r, unsigned i, bool is_fua)
{
	unsigned gen = ++r->sectors[i].gen;

	for (unsigned k = 0; k < SECTOR; k += 4)
		memcpy(r->data[i] + k, &gen, 4);
	r->iov[i] = (struct iovec){r->data[i], SECTOR};
	r->reqs[i] = (struct vhd_req){
		.img = r->img, .op = VHD_OP_WRITE, .lba = i * CUT_STRIDE,
		.iov = &r->iov[i], .iov_count = 1,
		.flags = is_fua ? VHD_REQ_FUA : 0};
	r->busy[i] = true;
	vhd_queue_submit(r->q, &r->reqs[i]);
}

static void cut_flush(struct cut_run *r)
{
	for (unsigned i = 0; i < CUT_SECTORS; i++)
		r->covered[i] = r->sectors[i].done;
	r->flush = (struct vhd_req){.img = r->img, .op = VHD_OP_FLUSH};
	r->flushing = true;
	vhd_queue_submit(r->q, &r->flush);
}

static void cut_work(struct cut_run *r, uint64_t *random)
{
	for (unsigned n = 0; n < CUT_OPS; n++) {
		unsigned i = (unsigned)random_below(random, CUT_SECTORS);
		uint64_t what = random_below(random, 10);

		if (what == 0 && !r->flushing)
			cut_flush(r);
		else if (!r->busy[i])
			cut_write(r, i, what == 1);
		if (random_below(random, 3) == 0)
			vhd_queue_wait(r->q, -1, 0);
		cut_reap(r);
	}
	while (vhd_queue_in_flight(r->q)) {
		vhd_queue_wait(r->q, -1, 100);
		cut_reap(r);
	}
}

/* The image after the cut opens, and each sector holds one generation, not
 * older than what was durable then and not newer than what was ever written.
 */
static void cut_check(struct cut_run *r, struct memfile *medium,
		      const unsigned *durable)
{
	struct vhd_file file = memfile_file(medium);
	struct vhd_open_opts opts = {.format = VHD_FORMAT_DYNAMIC};
	struct vhd_err err = {0};
	struct vhd *img = NULL;
	uint8_t buf[SECTOR], same[SECTOR];

	if (vhd_open_file(&file, &opts, &img, &err))
		fail_msg("after the cut: %s", err.text);
	for (unsigned i = 0; i < CUT_SECTORS; i++) {
		unsigned gen;

		assert_int_equal(vhd_read(img, (uint64_t)i * CUT_STRIDE *
					  SECTOR, buf, SECTOR, &err), 0);
		memcpy(&gen, buf, 4);
		for (unsigned k = 0; k < SECTOR; k += 4)
			memcpy(same + k, &gen, 4);
		assert_memory_equal(buf, same, SECTOR);
		if (gen < durable[i] || gen > r->sectors[i].gen)
			fail_msg("sector %u holds %u; durable was %u, newest "
				 "%u", i, gen, durable[i], r->sectors[i].gen);
	}
	vhd_abandon(img);
}

static void what_a_flush_covered_survives_a_power_cut(void **state)
{
	uint64_t seed = random_seed(), random = seed;
	struct sim_opts sim = {.seed = seed, .late_permille = 300};
	static const unsigned none[CUT_SECTORS];
	struct memfile *mem = memfile_create();
	struct cut_run *r = calloc(1, sizeof(*r));
	struct simengine *engine = simengine_create(&sim);
	size_t count;
	unsigned m = 0;

	(void)state;
	assert_non_null(r);
	r->marks = calloc(CUT_OPS + 1, sizeof(*r->marks));
	r->rec = recfile_create(mem);
	r->img = qtest_create_mem(recfile_file(r->rec), VHD_FORMAT_DYNAMIC,
				  (uint64_t)CUT_SECTORS * CUT_STRIDE * SECTOR,
				  32 * 1024);
	assert_int_equal(vhd_flush(r->img, NULL), 0);
	assert_int_equal(simengine_queue(engine, 6, &r->q), 0);
	qtest_attach(r->q, r->img);
	count = recfile_count(r->rec);
	cut_work(r, &random);
	for (size_t n = count; n <= recfile_count(r->rec); n++) {
		struct memfile *after = recfile_cut(r->rec, n, seed + n);

		while (m < r->mark_count && r->marks[m].events <= n)
			m++;
		cut_check(r, after, m ? r->marks[m - 1].durable : none);
		memfile_destroy(after);
	}
	assert_in_range(r->mark_count, 10, CUT_OPS);
	vhd_queue_detach(r->q, r->img);
	vhd_queue_destroy(r->q);
	vhd_abandon(r->img);
	simengine_destroy(engine);
	recfile_destroy(r->rec);
	memfile_destroy(mem);
	free(r->marks);
	free(r);
}

#define WITH(test, up) cmocka_unit_test_setup_teardown(test, up, qsim_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(new_blocks_cost_two_syncs_old_ones_one, set_up),
		WITH(a_fixed_disk_costs_one_sync, set_up_fixed),
		WITH(the_bat_is_written_between_the_syncs, set_up),
		WITH(a_block_made_after_the_ticket_waits_for_the_next_flush,
		     set_up),
		WITH(flushes_of_one_batch_share_their_syncs, set_up),
		WITH(late_flushes_share_the_next_sequence, set_up),
		WITH(flushes_find_a_slot_among_many_writes, set_up_one),
		WITH(each_image_has_its_own_flush, set_up_fixed),
		WITH(a_cancelled_flush_leaves_the_others_theirs, set_up),
		WITH(a_failed_first_sync_poisons_and_leaves_the_bat, set_up),
		WITH(a_failed_second_sync_poisons, set_up),
		WITH(an_interrupted_sync_is_not_tried_again, set_up_fixed),
		WITH(a_failed_bat_write_poisons, set_up),
		WITH(a_failure_also_fails_who_waits_for_the_next, set_up),
		WITH(a_sync_that_succeeds_on_a_poisoned_image_fails, set_up),
		WITH(fua_on_known_blocks_is_one_durable_write, set_up),
		WITH(fua_on_known_blocks_is_one_durable_write, set_up_fixed),
		WITH(fua_on_a_new_block_flushes, set_up),
		WITH(plain_writes_are_not_durable_ones, set_up),
		WITH(a_failed_durable_write_poisons, set_up),
		WITH(a_durable_write_refused_before_writing_does_not, set_up),
		WITH(a_failed_flush_fails_the_fua_write, set_up),
		cmocka_unit_test(what_a_flush_covered_survives_a_power_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
