/* SPDX-License-Identifier: BSD-2-Clause */
/* The error policy: what fails for a reason of the host's is held, its disk
 * paused, and everything goes on when somebody says so, once.
 */
#include <errno.h>

#include "tests/lib/gatevsp.h"
#include "tests/lib/random.h"

#define DISK  1 /* fixed: one operation a request */
#define OTHER 0

/* While `code` is set operations of this kind on the disk fail with it, after
 * `skip` of them.
 */
struct trouble {
	struct simvsp *w;
	enum vhd_io_op op;
	int code;
	unsigned skip, failed;
};

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct trouble *t = ctx;

	if (!t->code || io->op != t->op || io->file->state != t->w->m[DISK])
		return;
	if (t->skip > 0) {
		t->skip--;
		return;
	}
	fate->code = t->code;
	t->failed++;
}

static void start_with(struct simvsp *w, struct trouble *t, struct vsc_opts o)
{
	const struct sim_opts sim = {.decide = decide, .ctx = t};

	*t = (struct trouble){.w = w};
	o.vsp.resume_hint = "type resume";
	gate_start(w, o, &sim);
	gate_policy(w, DISK, STORVSP_ON_ERROR_PAUSE);
}

static void start(struct simvsp *w, struct trouble *t)
{
	start_with(w, t, (struct vsc_opts){0});
}

static int resume(struct simvsp *w)
{
	struct vhd_err err = {0};
	int rc = storvsp_disk_resume(vsc_vsp(w->v), gate_lun(DISK), &err);

	assert_int_equal(err.why, rc < 0 ? VHD_WHY_POISONED : 0);
	vsc_pump(w->v);
	return rc;
}

/* In any order; that none comes twice is vsc.h's. */
static void expect_one_of(struct simvsp *w, const uint64_t *id, unsigned n)
{
	struct vsc_answer a;

	assert_true(vsc_recv(w->c, &a));
	assert_true(vsc_good(&a));
	assert_true(a.id >= id[0] && a.id <= id[n - 1]);
}

/* ------------------------------------------------------ pause, resume ---- */

static void a_full_disk_is_paused_and_goes_on_when_resumed(void **state)
{
	static const int codes[] = {-ENOSPC, -EDQUOT, -EFBIG, -EIO, -EROFS,
				    -ENODEV, -ENOMEM};

	(void)state;
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct storvsp_disk_stats s;
		struct trouble t;
		struct simvsp w;
		uint64_t id[3];
		unsigned lines;

		start(&w, &t);
		lines = vsc_log_lines(w.v);
		t.op = VHD_IO_WRITE;
		t.code = codes[i];
		id[0] = simvsp_send(&w, w.c, 'w', DISK, 8);
		simvsp_quiet(w.c);
		id[1] = simvsp_send(&w, w.c, 'r', DISK, 8);
		id[2] = simvsp_send(&w, w.c, 's', DISK, 0);
		simvsp_quiet(w.c);
		assert_int_equal(t.failed, 1);
		assert_int_equal(vsc_log_lines(w.v), lines + 1);
		assert_non_null(strstr(vsc_log_last(w.v),
				       "disk 0:0:1 is paused: write of 8 "
				       "sectors at 8 failed: "));
		assert_non_null(
			strstr(vsc_log_last(w.v), "then: type resume 1"));
		s = gate_stats(&w, DISK);
		assert_true(s.paused);
		assert_int_equal(s.pause_code, codes[i]);
		assert_int_equal(s.pauses, 1);
		assert_int_equal(s.held, 1);
		assert_int_equal(s.waiting, 3);
		assert_int_equal(s.in_flight, 0);
		/* others do not notice; commands without I/O are answered */
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', OTHER, 0), "good");
		t.code = 0;
		assert_int_equal(resume(&w), 1);
		for (unsigned k = 0; k < 3; k++)
			expect_one_of(&w, id, 3);
		simvsp_quiet(w.c);
		s = gate_stats(&w, DISK);
		assert_false(s.paused);
		assert_int_equal(s.kind[STORVSP_KIND_WRITE].errors, 0);
		assert_int_equal(s.kind[STORVSP_KIND_WRITE].count, 1);
		assert_int_equal(resume(&w), 0);
		simvsp_stop(&w);
	}
}

static void without_the_policy_the_guest_is_told(void **state)
{
	struct vsc_answer a;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	gate_policy(&w, DISK, STORVSP_ON_ERROR_REPORT);
	t.op = VHD_IO_WRITE;
	t.code = -ENOSPC;
	vsc_wait(w.c, simvsp_send(&w, w.c, 'w', DISK, 8), &a);
	assert_int_equal(vsc_status(&a).asc, 0x27);
	assert_false(gate_stats(&w, DISK).paused);
	simvsp_stop(&w);
}

static void a_read_that_fails_is_held_as_well(void **state)
{
	struct trouble t;
	struct simvsp w;
	uint64_t id;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_READ;
	t.code = -EIO;
	id = simvsp_send(&w, w.c, 'r', DISK, 8);
	simvsp_quiet(w.c);
	/* still broken: paused again, with a second line */
	assert_int_equal(resume(&w), 1);
	simvsp_quiet(w.c);
	assert_int_equal(gate_stats(&w, DISK).pauses, 2);
	t.code = 0;
	assert_int_equal(resume(&w), 1);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(t.failed, 2);
	simvsp_stop(&w);
}

/* Somebody gives up on the disk: the guest gets the errors. */
static void what_is_held_is_reported_once_the_policy_says_so(void **state)
{
	struct vsc_answer a;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_READ;
	t.code = -EIO;
	simvsp_send(&w, w.c, 'r', DISK, 8);
	simvsp_quiet(w.c);
	gate_policy(&w, DISK, STORVSP_ON_ERROR_REPORT);
	simvsp_quiet(w.c);
	assert_int_equal(resume(&w), 1);
	assert_true(vsc_recv(w.c, &a));
	assert_int_equal(vsc_status(&a).key, 0x3);
	assert_int_equal(vsc_status(&a).asc, 0x11);
	simvsp_stop(&w);
}

/* WRITE SAME of a pattern in several steps: the step that failed is tried
 * again, those before it are not.
 */
static void a_command_of_many_steps_goes_on_at_the_one_that_failed(
	void **state)
{
	struct vsc_cmd same = {.lun = DISK,
			       .cdb = {0x93, [12] = 8}, /* 2048 sectors */
			       .data_in = STORVSP_DATA_OUT,
			       .bytes = SECTOR};
	size_t writes;
	struct trouble t;
	struct simvsp w;
	uint64_t id;

	(void)state;
	start(&w, &t);
	vsc_buffer_put(&w.b, "pattern", 7);
	same.buffer = &w.b;
	id = vsc_start(w.c, &same);
	simvsp_expect(w.c, id, "good");
	writes = simengine_count_op(w.sim[0], VHD_IO_WRITE);
	assert_true(writes > 2);
	t.op = VHD_IO_WRITE;
	t.code = -ENOSPC;
	t.skip = 2;
	id = vsc_start(w.c, &same);
	simvsp_quiet(w.c);
	assert_int_equal(t.failed, 1);
	t.code = 0;
	assert_int_equal(resume(&w), 1);
	simvsp_expect(w.c, id, "good");
	assert_int_equal(simengine_count_op(w.sim[0], VHD_IO_WRITE),
			 2 * writes + 1);
	simvsp_stop(&w);
}

/* ----------------------------------------------------- several channels -- */

static void a_pause_holds_all_channels_and_is_told_once(void **state)
{
	struct vsc_opts o = {.vsp.max_subchannels = 1};
	struct vsc_channel *sub;
	struct trouble t;
	struct simvsp w;
	uint64_t a, b;
	unsigned lines;

	(void)state;
	start_with(&w, &t, o);
	assert_int_equal(vsc_create_subs(w.c, 1), 0);
	sub = simvsp_sub(&w, 1);
	lines = vsc_log_lines(w.v);
	t.op = VHD_IO_WRITE;
	t.code = -ENOSPC;
	simvsp_hold(&w, true);
	a = simvsp_send(&w, w.c, 'w', DISK, 0);
	b = simvsp_send(&w, sub, 'w', DISK, 8);
	vsc_pump(w.v);
	simvsp_hold(&w, false);
	vsc_pump(w.v);
	assert_int_equal(t.failed, 2);
	assert_int_equal(vsc_log_lines(w.v), lines + 1);
	assert_int_equal(gate_stats(&w, DISK).held, 2);
	t.code = 0;
	assert_int_equal(resume(&w), 1);
	simvsp_expect(w.c, a, "good");
	simvsp_expect(sub, b, "good");
	simvsp_stop(&w);
}

/* ----------------------------------------------------------- other ends -- */

static void a_reset_ends_what_is_held_and_leaves_the_disk_paused(void **state)
{
	uint64_t id[3], reset;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_WRITE;
	t.code = -ENOSPC;
	for (unsigned i = 0; i < 3; i++)
		id[i] = simvsp_send(&w, w.c, 'w', DISK, i * 8);
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, OTHER);
	simvsp_expect(w.c, reset, "");
	reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, DISK);
	for (unsigned i = 0; i < 3; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_true(a.id >= id[0] && a.id <= id[2]);
		assert_int_equal(vsc_status(&a).srb, 0x82);
	}
	simvsp_expect(w.c, reset, "");
	assert_true(gate_stats(&w, DISK).paused);
	assert_int_equal(gate_stats(&w, DISK).aborted, 3);
	id[0] = simvsp_send(&w, w.c, 'w', DISK, 0);
	simvsp_quiet(w.c);
	t.code = 0;
	assert_int_equal(resume(&w), 1);
	simvsp_expect(w.c, id[0], "good");
	simvsp_stop(&w);
}

static void a_channel_that_closes_takes_what_is_held_with_it(void **state)
{
	struct storvsp_stats s;
	struct trouble t;
	struct simvsp w;
	uint64_t id;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_WRITE;
	t.code = -ENOSPC;
	simvsp_send(&w, w.c, 'w', DISK, 0);
	simvsp_send(&w, w.c, 'w', DISK, 8);
	simvsp_quiet(w.c);
	vsc_close(w.c);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.cancelled, 2);
	/* paused it stays: the next guest waits, too */
	w.c = vsc_open(w.v, 0);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	t.code = 0;
	id = simvsp_send(&w, w.c, 'w', DISK, 0);
	simvsp_quiet(w.c);
	assert_int_equal(resume(&w), 1);
	simvsp_expect(w.c, id, "good");
	simvsp_stop(&w);
}

/* ------------------------------------------------------ poisoned images -- */

static void a_failed_sync_is_told_and_never_held(void **state)
{
	struct vsc_answer a;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_SYNC;
	t.code = -ENOSPC;
	vsc_wait(w.c, simvsp_send(&w, w.c, 's', DISK, 0), &a);
	assert_false(vsc_good(&a));
	assert_false(gate_stats(&w, DISK).paused);
	assert_true(gate_stats(&w, DISK).poisoned);
	vsc_wait(w.c, simvsp_send(&w, w.c, 'w', DISK, 0), &a);
	assert_int_equal(vsc_status(&a).asc, 0x44);
	assert_int_equal(resume(&w), -EIO);
	simvsp_stop(&w);
}

static void decide_sync_last(void *ctx, const struct vhd_io *io,
			     struct sim_fate *fate)
{
	(void)ctx;
	if (io->op == VHD_IO_WRITE)
		fate->code = -ENOSPC;
	if (io->op == VHD_IO_SYNC)
		fate->code = -EIO;
}

/* Paused for one reason, and then a sync that was under way fails: nothing
 * will make it whole, so nobody is kept waiting.
 */
static void a_paused_disk_that_is_poisoned_is_not_kept_waiting(void **state)
{
	unsigned failed = 0, n = 0;
	uint64_t seed = 0;
	bool paused = false;

	(void)state;
	/* the engine ends operations in an order of its dice: one where the
	 * write is first
	 */
	while (!paused) {
		const struct sim_opts sim = {.decide = decide_sync_last,
					     .seed = ++seed};
		struct vsc_answer a;
		struct simvsp w;

		gate_start(&w, (struct vsc_opts){0}, &sim);
		gate_policy(&w, DISK, STORVSP_ON_ERROR_PAUSE);
		simvsp_hold(&w, true);
		simvsp_send(&w, w.c, 's', DISK, 0);
		simvsp_send(&w, w.c, 'w', DISK, 0);
		vsc_pump(w.v);
		simengine_allow(w.sim[0], 1);
		vsc_pump(w.v);
		paused = gate_stats(&w, DISK).paused;
		simvsp_send(&w, w.c, 'r', DISK, 0);
		vsc_pump(w.v);
		simvsp_hold(&w, false);
		for (n = 0, failed = 0; vsc_recv(w.c, &a); n++)
			failed += !vsc_good(&a);
		assert_false(gate_stats(&w, DISK).paused);
		if (paused)
			assert_non_null(strstr(vsc_log_last(w.v), "failed"));
		assert_int_equal(resume(&w), -EIO);
		simvsp_stop(&w);
	}
	assert_int_equal(n, 3);
	assert_int_equal(failed, 2); /* the read went well */
}

/* Nothing helps a channel whose engine broke but to open it again. */
static void a_broken_engine_is_told_and_never_held(void **state)
{
	struct vsc_answer a;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	simvsp_hold(&w, true);
	simvsp_send(&w, w.c, 'w', DISK, 0);
	vsc_pump(w.v);
	simengine_break(w.sim[0], -EBADF);
	assert_true(vsc_recv(w.c, &a));
	assert_false(vsc_good(&a));
	assert_false(gate_stats(&w, DISK).paused);
	/* what was in flight at the engine is gone with it */
	vsc_destroy(w.v);
	simengine_destroy(w.sim[0]);
	for (unsigned i = 0; i < 2; i++) {
		qtest_close(w.img[i]);
		memfile_destroy(w.m[i]);
	}
}

/* ------------------------------------------------------------- a storm --- */

#define WRITES 400u
#define BLOCKS (SIMVSP_BYTES / 4096u)

/* Which write a block must hold, by its first bytes. */
static void judge(struct simvsp *w, const uint32_t *last)
{
	static uint8_t got[4096];

	for (unsigned i = 0; i < BLOCKS; i++) {
		uint32_t n;

		memfile_peek(w->m[DISK], got, sizeof(got), i * 4096u);
		memcpy(&n, got, sizeof(n));
		assert_int_equal(n, last[i]);
	}
}

static void no_write_is_lost_or_doubled_through_a_storm_of_pauses(
	void **state)
{
	static uint32_t last[BLOCKS];
	static struct vsc_buffer buf[16];
	uint64_t rnd = 11;
	unsigned good = 0, sent = 0;
	struct trouble t;
	struct simvsp w;

	(void)state;
	start(&w, &t);
	t.op = VHD_IO_WRITE;
	memset(last, 0, sizeof(last));
	for (unsigned i = 0; i < 16; i++)
		vsc_buffer_init(w.v, &buf[i], 1);
	while (good < WRITES) {
		unsigned n = 1 + (unsigned)random_below(&rnd, 16);

		t.code = random_below(&rnd, 3) ? -ENOSPC : 0;
		t.skip = (unsigned)random_below(&rnd, 8);
		for (unsigned i = 0; i < n; i++) {
			uint32_t block = (sent * 37 + i) % BLOCKS;
			uint32_t number = ++sent;
			struct vsc_cmd cmd = vsc_rw(true, DISK, block * 8ull, 8,
						    false, &buf[i]);

			vsc_buffer_put(&buf[i], &number, sizeof(number));
			last[block] = number;
			assert_true(vsc_start(w.c, &cmd) != 0);
		}
		vsc_pump(w.v);
		t.code = 0;
		(void)resume(&w);
		for (unsigned i = 0; i < n; i++) {
			struct vsc_answer a;

			assert_true(vsc_recv(w.c, &a));
			assert_true(vsc_good(&a));
			good++;
		}
		simvsp_quiet(w.c);
	}
	assert_true(t.failed > 20);
	assert_int_equal(gate_stats(&w, DISK).kind[STORVSP_KIND_WRITE].count,
			 sent);
	assert_int_equal(gate_stats(&w, DISK).held, t.failed);
	/* each failed once and was written once */
	assert_int_equal(simengine_count_op(w.sim[0], VHD_IO_WRITE),
			 sent + t.failed);
	judge(&w, last);
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_full_disk_is_paused_and_goes_on_when_resumed),
		cmocka_unit_test(without_the_policy_the_guest_is_told),
		cmocka_unit_test(a_read_that_fails_is_held_as_well),
		cmocka_unit_test(
			what_is_held_is_reported_once_the_policy_says_so),
		cmocka_unit_test(
			a_command_of_many_steps_goes_on_at_the_one_that_failed),
		cmocka_unit_test(a_pause_holds_all_channels_and_is_told_once),
		cmocka_unit_test(
			a_reset_ends_what_is_held_and_leaves_the_disk_paused),
		cmocka_unit_test(
			a_channel_that_closes_takes_what_is_held_with_it),
		cmocka_unit_test(a_failed_sync_is_told_and_never_held),
		cmocka_unit_test(a_broken_engine_is_told_and_never_held),
		cmocka_unit_test(
			a_paused_disk_that_is_poisoned_is_not_kept_waiting),
		cmocka_unit_test(
			no_write_is_lost_or_doubled_through_a_storm_of_pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
