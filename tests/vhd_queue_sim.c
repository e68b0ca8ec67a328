/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue over a simulated engine: completions in any order, late, short,
 * failing or only when cancelled. Images lie in memory; a table of faults says
 * what becomes of which operation.
 */
#include <errno.h>

#include "tests/lib/qsim.h"
#include "tests/lib/random.h"

#define DEPTH 4u
#define RETRIES 64 /* QUEUE_RETRIES_MAX */

static int set_up(void **state)
{
	*state = qsim_build(VHD_FORMAT_DYNAMIC, DEPTH, (struct sim_opts){0});
	return 0;
}

static int set_up_fixed(void **state)
{
	*state = qsim_build(VHD_FORMAT_FIXED, DEPTH, (struct sim_opts){0});
	return 0;
}

static int set_up_one(void **state)
{
	*state = qsim_build(VHD_FORMAT_DYNAMIC, 1, (struct sim_opts){0});
	return 0;
}

static int set_up_deaf(void **state)
{
	*state = qsim_build(VHD_FORMAT_DYNAMIC, DEPTH,
			    (struct sim_opts){.deaf = true});
	return 0;
}

/* ------------------------------------------------------------ operations -- */

static void a_request_in_one_block_is_one_operation(void **state)
{
	struct qsim *f = *state;
	struct iovec iov[40];
	struct vhd_req req = qsim_req(f, VHD_OP_READ, 3, iov);
	size_t before;

	qsim_prepare(f, BLOCK);
	before = simengine_count(f->sim);
	req.iov_count = 40;
	for (unsigned i = 0; i < 40; i++)
		iov[i] = (struct iovec){f->buf + i * SECTOR, SECTOR};
	assert_int_equal(qtest_run(f->q, &req), 0);
	assert_int_equal(simengine_count(f->sim), before + 1);
	assert_int_equal(simengine_event(f->sim, before)->iov_count, 40);
	assert_int_equal(simengine_event(f->sim, before)->len_bytes,
			 40 * SECTOR);
}

static void whole_buffers_are_used_as_they_are(void **state)
{
	struct qsim *f = *state;
	struct iovec iov[80];
	struct vhd_req req = qsim_req(f, VHD_OP_READ, BLOCK_SECTORS - 40, iov);
	size_t before;

	qsim_prepare(f, 2 * BLOCK);
	before = simengine_count(f->sim);
	req.iov_count = 80;
	for (unsigned i = 0; i < 80; i++)
		iov[i] = (struct iovec){f->buf + i * SECTOR, SECTOR};
	assert_int_equal(qtest_run(f->q, &req), 0);
	/* the block's edge falls between buffers: one operation a block */
	assert_int_equal(simengine_count(f->sim), before + 2);
	qtest_check(f->buf, 80 * SECTOR, BLOCK_SECTORS - 40, 1);
}

static void nothing_reaches_the_engine_before_a_kick(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);
	uint64_t before = simengine_submits(f->sim);

	vhd_queue_submit(f->q, &req);
	assert_int_equal(simengine_submits(f->sim), before);
	vhd_queue_kick(f->q);
	assert_int_equal(simengine_submits(f->sim), before + 1);
	assert_ptr_equal(qtest_next(f->q), &req);
}

static void no_more_operations_than_slots_are_out(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, 8 * BLOCK);
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, 8 * BLOCK), 0);
	qtest_check(f->buf, 8 * BLOCK, 0, 1);
	assert_int_equal(simengine_peak(f->sim), DEPTH);
}

static void who_waits_for_a_slot_goes_in_order(void **state)
{
	struct qsim *f = *state; /* one slot */
	struct iovec iov[5];
	struct vhd_req reqs[5];

	for (unsigned i = 0; i < 5; i++) {
		iov[i] = (struct iovec){f->buf + i * SECTOR, SECTOR};
		reqs[i] = qsim_req(f, VHD_OP_WRITE, i * BLOCK_SECTORS, &iov[i]);
		vhd_queue_submit(f->q, &reqs[i]);
	}
	for (unsigned i = 0; i < 5; i++)
		assert_ptr_equal(qtest_next(f->q), &reqs[i]);
}

/* Many requests at random over few sectors each of one owner, so that what a
 * sector holds is known: the generation of its last finished write.
 */
static void random_soup(struct sim_opts opts, uint32_t depth)
{
	enum { REQS = 24, ROUNDS = 3000, LEN_MAX = 3 * BLOCK_SECTORS / 2 };
	static uint8_t data[REQS][LEN_MAX * SECTOR];
	static struct iovec iov[REQS];
	static struct vhd_req reqs[REQS];
	unsigned gen[REQS] = {0}, out = 0, done = 0;
	bool busy[REQS] = {false};
	uint64_t random = opts.seed;
	struct qsim *f = qsim_build(VHD_FORMAT_DYNAMIC, depth, opts);
	void *state = f;

	while (done < ROUNDS) {
		struct vhd_req *req;
		unsigned i = (unsigned)random_below(&random, REQS);
		bool write = random_below(&random, 2);
		/* areas of 170 sectors: blocks are shared, sectors are not */
		const uint64_t lba = i * 170;
		size_t len = 170 * SECTOR;

		if (!busy[i]) {
			if (write)
				qtest_fill(data[i], len, lba, ++gen[i]);
			else
				memset(data[i], 0x55, len);
			iov[i] = (struct iovec){data[i], len};
			reqs[i] = qsim_req(f, write ? VHD_OP_WRITE
						   : VHD_OP_READ, lba, &iov[i]);
			reqs[i].user = &gen[i];
			if (write && random_below(&random, 8) == 0)
				reqs[i].flags = VHD_REQ_FUA;
			busy[i] = true;
			out++;
			vhd_queue_submit(f->q, &reqs[i]);
			if (random_below(&random, 3))
				continue;
		}
		while (vhd_queue_reap(f->q, &req, 1)) {
			i = (unsigned)(req - reqs);
			assert_true(busy[i]);
			busy[i] = false;
			done++;
			out--;
			assert_int_equal(req->result, 0);
			if (req->op == VHD_OP_READ && gen[i])
				qtest_check(data[i], iov[i].iov_len, req->lba,
					    gen[i]);
			else if (req->op == VHD_OP_READ)
				qtest_check_zero(data[i], iov[i].iov_len);
		}
		if (out > REQS / 2)
			assert_int_equal(vhd_queue_wait(f->q, -1, 1000), 0);
	}
	while (out--)
		assert_int_equal(qtest_next(f->q)->result, 0);
	assert_in_range(simengine_peak(f->sim), 1, depth);
	qsim_tear_down(&state);
}

static void any_order_gives_right_bytes_once(void **state)
{
	(void)state;
	random_soup((struct sim_opts){.seed = random_seed(),
				      .late_permille = 300}, 8);
}

static void short_and_interrupted_transfers_are_continued(void **state)
{
	(void)state;
	random_soup((struct sim_opts){.seed = random_seed(),
				      .late_permille = 100,
				      .short_permille = 400,
				      .again_permille = 200}, 3);
}

/* ---------------------------------------------------------------- faults -- */

static void a_fault_names_its_reason_and_first_sector(void **state)
{
	struct qsim *f = *state;
	static const struct {
		int code;
		enum vhd_why why;
	} faults[] = {
		{EIO, VHD_WHY_IO},          {ENOSPC, VHD_WHY_NO_SPACE},
		{EDQUOT, VHD_WHY_NO_SPACE}, {EFBIG, VHD_WHY_NO_SPACE},
		{ENOMEM, VHD_WHY_NOMEM},    {EROFS, VHD_WHY_IO},
	};

	qsim_prepare(f, 4 * BLOCK);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct iovec iov = {f->buf, 2 * BLOCK};
		struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 5, &iov);

		memset(f->seen, 0, sizeof(f->seen));
		qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){
			.code = -faults[i].code});
		assert_int_equal(qtest_run(f->q, &req), -faults[i].code);
		assert_int_equal(req.why, faults[i].why);
		assert_in_range(req.bad_lba, 5, 5 + 2 * BLOCK_SECTORS);
		memset(f->plan, 0, sizeof(f->plan));
	}
	/* No such fault harms later requests. */
	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 5, 2 * BLOCK), 0);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
}

static void progress_before_a_fault_counts(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, 16 * SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 32, &iov);

	qsim_prepare(f, BLOCK);
	/* 700 bytes: sector 32 is through, 33 is not. */
	qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){.most_bytes = 700});
	qsim_plan(f, 1, VHD_IO_WRITE, 2, (struct sim_fate){.code = -EIO});
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.bad_lba, 33);
	assert_int_equal(f->seen[VHD_IO_WRITE], 2);
}

static void the_first_fault_wins_and_the_lowest_sector_is_told(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, 3 * BLOCK};
	unsigned told_lower = 0;

	qsim_prepare(f, 3 * BLOCK);
	for (int i = 0; i < 40; i++) {
		struct vhd_req req = qsim_req(f, VHD_OP_READ, 0, &iov);
		size_t at = simengine_count(f->sim);
		uint64_t lowest = UINT64_MAX, first;

		memset(f->seen, 0, sizeof(f->seen));
		qsim_plan(f, 0, VHD_IO_READ, 1, (struct sim_fate){.code = -EIO});
		qsim_plan(f, 1, VHD_IO_READ, 2, (struct sim_fate){.code = -ENOSPC});
		assert_int_equal(qtest_run(f->q, &req), -EIO);
		assert_int_equal(req.why, VHD_WHY_IO);
		first = simengine_event(f->sim, at)->off_bytes;
		for (; at < simengine_count(f->sim); at++) {
			const struct sim_event *e = simengine_event(f->sim, at);

			if (e->res < 0 && e->off_bytes < lowest)
				lowest = e->off_bytes;
		}
		assert_int_equal(req.bad_lba % BLOCK_SECTORS, 0);
		told_lower += lowest < first;
		if (lowest < first) /* blocks lie in the file in disk order */
			assert_in_range(req.bad_lba, 0, BLOCK_SECTORS);
	}
	assert_in_range(told_lower, 1, 39);
}

static void after_a_fault_nothing_more_is_sent(void **state)
{
	struct qsim *f = *state; /* one slot */
	struct iovec iov = {f->buf, 4 * BLOCK};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);

	qsim_prepare(f, 4 * BLOCK);
	qsim_plan(f, 0, VHD_IO_WRITE, 2, (struct sim_fate){.code = -EIO});
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.bad_lba, BLOCK_SECTORS);
	assert_int_equal(f->seen[VHD_IO_WRITE], 2);
}

static void a_failed_request_does_not_block_who_waits_behind(void **state)
{
	struct qsim *f = *state; /* one slot */
	struct iovec iov = {f->buf, 4 * BLOCK};
	struct vhd_req a, b;

	qsim_prepare(f, 4 * BLOCK);
	a = qsim_req(f, VHD_OP_READ, 0, &iov);
	b = qsim_req(f, VHD_OP_READ, 0, &iov);
	qsim_plan(f, 0, VHD_IO_READ, 1, (struct sim_fate){.code = -EIO});
	vhd_queue_submit(f->q, &a);
	vhd_queue_submit(f->q, &b);
	assert_ptr_equal(qtest_next(f->q), &a);
	assert_ptr_equal(qtest_next(f->q), &b);
	assert_int_equal(a.result, -EIO);
	assert_int_equal(b.result, 0);
	qtest_check(f->buf, 4 * BLOCK, 0, 1);
}

static void the_end_of_the_file_inside_data_is_an_error(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, 8 * SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_READ, 8, &iov);

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_READ, 1, (struct sim_fate){.most_bytes = 1024});
	qsim_plan(f, 1, VHD_IO_READ, 2, (struct sim_fate){.nothing = true});
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.why, VHD_WHY_SHORT_IO);
	assert_int_equal(req.bad_lba, 10);
}

static void a_write_that_moves_nothing_is_an_error(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 8, &iov);

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){.nothing = true});
	assert_int_equal(qtest_run(f->q, &req), -EIO);
	assert_int_equal(req.why, VHD_WHY_SHORT_IO);
}

static void trying_again_has_an_end(void **state)
{
	struct qsim *f = *state;
	static const int codes[] = {EINTR, EAGAIN};

	qsim_prepare(f, BLOCK);
	for (unsigned i = 0; i < 2; i++) {
		memset(f->seen, 0, sizeof(f->seen));
		f->plan[0] = (struct qsim_plan){VHD_IO_READ, 1, true,
					      {.code = -codes[i]}};
		assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), -codes[i]);
		assert_int_equal(f->seen[VHD_IO_READ], RETRIES + 1);
	}
	/* One less is no error. */
	memset(f->seen, 0, sizeof(f->seen));
	f->plan[1] = (struct qsim_plan){VHD_IO_READ, RETRIES + 1, true, {0}};
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), 0);
	qtest_check(f->buf, SECTOR, 0, 1);
}

/* The signal may have hit its sync, whose report comes but once. */
static void an_interrupted_durable_write_is_not_repeated(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);

	qsim_prepare(f, BLOCK);
	req.flags = VHD_REQ_FUA;
	qsim_plan(f, 0, VHD_IO_WRITE, 1, (struct sim_fate){.code = -EINTR});
	assert_int_equal(qtest_run(f->q, &req), -EINTR);
	assert_int_equal(f->seen[VHD_IO_WRITE], 1);
	assert_int_equal(qtest_flush(f->q, f->img), -EIO);
}

static int fail_reads(void *ctx, enum memfile_op op, uint64_t off,
		      uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_READ ? -EIO : 0;
}

/* Data of whole blocks gets through, the bitmap of a new one does not. */
static int fail_growth(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	const struct qsim *f = ctx;

	(void)off;
	return op == MEMFILE_WRITE && len < BLOCK ? f->medium_fault : 0;
}

static void a_medium_fault_while_moving_is_told(void **state)
{
	struct qsim *f = *state;

	qsim_prepare(f, BLOCK);
	memfile_set_hook(f->mem, fail_reads, f);
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), -EIO);
	memfile_set_hook(f->mem, NULL, NULL);
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), 0);
}

static void a_full_host_fails_the_write_that_needs_a_block(void **state)
{
	struct qsim *f = *state;
	static const int codes[] = {ENOSPC, EDQUOT, EFBIG};
	struct iovec iov = {f->buf, 2 * BLOCK};

	qsim_prepare(f, BLOCK);
	memfile_set_hook(f->mem, fail_growth, f);
	for (unsigned i = 0; i < 3; i++) {
		/* The first block is there, the second cannot be made. */
		struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);

		f->medium_fault = -codes[i];
		assert_int_equal(qtest_run(f->q, &req), -codes[i]);
		assert_int_equal(req.why, VHD_WHY_NO_SPACE);
		assert_int_equal(req.bad_lba, BLOCK_SECTORS);
	}
	/* Room again: nothing was harmed. */
	f->medium_fault = 0;
	qsim_prepare(f, 2 * BLOCK);
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, 2 * BLOCK), 0);
	qtest_check(f->buf, 2 * BLOCK, 0, 1);
}

/* ---------------------------------------------------------- cancelling -- */

static void a_lost_operation_ends_when_cancelled(void **state)
{
	struct qsim *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_READ, 1, &iov);

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_READ, 1, (struct sim_fate){.lost = true});
	vhd_queue_submit(f->q, &req);
	qsim_nothing_ends(f);
	vhd_queue_cancel(f->q, &req);
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, -ECANCELED);
	assert_int_equal(req.why, VHD_WHY_CANCELLED);
	assert_int_equal(req.bad_lba, 1);
	qsim_nothing_ends(f);
}

static void a_cancelled_request_sends_no_more_pieces(void **state)
{
	struct qsim *f = *state; /* deaf: what is out goes on */
	struct iovec iov = {f->buf, 8 * BLOCK};
	struct vhd_req req = qsim_req(f, VHD_OP_WRITE, 0, &iov);

	qsim_prepare(f, 8 * BLOCK);
	simengine_hold(f->sim, true);
	vhd_queue_submit(f->q, &req);
	vhd_queue_kick(f->q);
	vhd_queue_cancel(f->q, &req);
	qsim_nothing_ends(f);
	simengine_hold(f->sim, false);
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, -ECANCELED);
	assert_int_equal(req.bad_lba, DEPTH * BLOCK_SECTORS);
	assert_int_equal(f->seen[VHD_IO_WRITE], DEPTH);
}

static void a_request_that_finishes_anyway_succeeds(void **state)
{
	struct qsim *f = *state; /* deaf */
	struct iovec iov = {f->buf, 2 * BLOCK};
	struct vhd_req req = qsim_req(f, VHD_OP_READ, 0, &iov);

	qsim_prepare(f, 2 * BLOCK);
	memset(f->buf, 0, 2 * BLOCK);
	simengine_hold(f->sim, true);
	vhd_queue_submit(f->q, &req);
	vhd_queue_cancel(f->q, &req);
	simengine_hold(f->sim, false);
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, 0);
	qtest_check(f->buf, 2 * BLOCK, 0, 1);
}

static void a_cancelled_short_transfer_is_not_continued(void **state)
{
	struct qsim *f = *state; /* deaf */
	struct iovec iov = {f->buf, 8 * SECTOR};
	struct vhd_req req = qsim_req(f, VHD_OP_READ, 0, &iov);

	qsim_prepare(f, BLOCK);
	qsim_plan(f, 0, VHD_IO_READ, 1, (struct sim_fate){.most_bytes = 1024});
	simengine_hold(f->sim, true);
	vhd_queue_submit(f->q, &req);
	vhd_queue_cancel(f->q, &req);
	simengine_hold(f->sim, false);
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, -ECANCELED);
	assert_int_equal(req.bad_lba, 2);
	assert_int_equal(f->seen[VHD_IO_READ], 1);
}

/* ------------------------------------------------------- broken engine -- */

static void break_with(struct qsim *f, bool in_wait)
{
	enum { N = 10 };
	struct iovec iov = {f->buf, 2 * BLOCK};
	struct vhd_req reqs[N], *req;
	bool seen[N] = {false};

	/* Two pieces each: some are out, of one a part, the rest waits. */
	qsim_prepare(f, 3 * BLOCK);
	simengine_hold(f->sim, true);
	for (unsigned i = 0; i < N; i++) {
		reqs[i] = qsim_req(f, i == 5 ? VHD_OP_FLUSH : VHD_OP_READ, i,
				  i == 5 ? NULL : &iov);
		vhd_queue_submit(f->q, &reqs[i]);
	}
	vhd_queue_kick(f->q);
	simengine_break(f->sim, -ENXIO);
	if (in_wait)
		assert_int_equal(vhd_queue_wait(f->q, -1, -1), -ENXIO);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(vhd_queue_reap(f->q, &req, 1), 1);
		assert_false(seen[req - reqs]);
		seen[req - reqs] = true;
		assert_int_equal(req->result, -EIO);
		assert_int_equal(req->why, VHD_WHY_IO);
	}
	assert_int_equal(vhd_queue_reap(f->q, &req, 1), 0);
	assert_int_equal(qsim_io(f, VHD_OP_READ, 0, SECTOR), -EIO);
	assert_int_equal(vhd_queue_wait(f->q, -1, -1), -ENXIO);
}

static void a_broken_engine_ends_every_request_with_eio(void **state)
{
	break_with(*state, false);
}

static void an_engine_that_breaks_in_a_wait_says_so(void **state)
{
	break_with(*state, true);
}

#define WITH(test, up) cmocka_unit_test_setup_teardown(test, up, qsim_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(a_request_in_one_block_is_one_operation, set_up),
		WITH(whole_buffers_are_used_as_they_are, set_up),
		WITH(nothing_reaches_the_engine_before_a_kick, set_up),
		WITH(no_more_operations_than_slots_are_out, set_up),
		WITH(who_waits_for_a_slot_goes_in_order, set_up_one),
		cmocka_unit_test(any_order_gives_right_bytes_once),
		cmocka_unit_test(short_and_interrupted_transfers_are_continued),
		WITH(a_fault_names_its_reason_and_first_sector, set_up),
		WITH(a_fault_names_its_reason_and_first_sector, set_up_fixed),
		WITH(progress_before_a_fault_counts, set_up),
		WITH(the_first_fault_wins_and_the_lowest_sector_is_told,
		     set_up),
		WITH(after_a_fault_nothing_more_is_sent, set_up_one),
		WITH(a_failed_request_does_not_block_who_waits_behind,
		     set_up_one),
		WITH(the_end_of_the_file_inside_data_is_an_error, set_up),
		WITH(a_write_that_moves_nothing_is_an_error, set_up),
		WITH(trying_again_has_an_end, set_up),
		WITH(an_interrupted_durable_write_is_not_repeated, set_up),
		WITH(a_medium_fault_while_moving_is_told, set_up),
		WITH(a_full_host_fails_the_write_that_needs_a_block, set_up),
		WITH(a_lost_operation_ends_when_cancelled, set_up),
		WITH(a_cancelled_request_sends_no_more_pieces, set_up_deaf),
		WITH(a_request_that_finishes_anyway_succeeds, set_up_deaf),
		WITH(a_cancelled_short_transfer_is_not_continued, set_up_deaf),
		WITH(a_broken_engine_ends_every_request_with_eio, set_up),
		WITH(an_engine_that_breaks_in_a_wait_says_so, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
