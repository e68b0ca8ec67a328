/* SPDX-License-Identifier: BSD-2-Clause */
/* Several channels and how each waits: whom it interrupts, how long it looks
 * for work before it sleeps, and that nothing waits for that.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "storvsp/gather.h"
#include "storvsp/spin.h"
#include "tests/lib/bytes.h"
#include "tests/lib/qtest.h"
#include "tests/lib/vsc.h"
#include "vhd/engine.h"

#define CHANNELS 4u

/* ---------------------------------------------------------- the window --- */

static void window_opens_where_sleep_was_short(void **state)
{
	struct spin s = {.max_ns = 50000};
	const uint64_t want[] = {4000, 8000, 16000, 32000, 50000, 50000};

	(void)state;
	assert_int_equal(spin_window(&s), 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		spin_slept(&s, 50000);
		assert_int_equal(spin_window(&s), want[i]);
	}
}

static void window_closes_where_sleep_was_long(void **state)
{
	struct spin s = {.max_ns = 50000, .window_ns = 50000};
	const uint64_t want[] = {25000, 12500, 6250, 0, 0};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		spin_slept(&s, 50001);
		assert_int_equal(spin_window(&s), want[i]);
	}
}

static void window_of_nothing_stays_closed(void **state)
{
	struct spin s = {0};

	(void)state;
	spin_slept(&s, 0);
	spin_slept(&s, 1);
	assert_int_equal(spin_window(&s), 0);
	s.max_ns = 1000; /* below the first step */
	spin_slept(&s, 0);
	assert_int_equal(spin_window(&s), 1000);
	spin_slept(&s, 1001);
	assert_int_equal(spin_window(&s), 0);
}

/* ----------------------------------------------------- one processor --- */

#define MS 1000000ull

/* A round of wakes with `packets` each, `ms` in all. */
static bool a_round(struct gather *g, uint64_t packets, uint64_t ms,
		    uint64_t *now_ns)
{
	for (unsigned n = 1; n < STORVSP_GATHER_WAKES; n++)
		assert_false(gather_wake(g, packets));
	assert_true(gather_wake(g, packets));
	*now_ns += ms * MS;
	return gather_round(g, *now_ns);
}

static void trials_grow_rare_where_requests_come_alone(void **state)
{
	const unsigned want_ms[] = {20, 40, 80, 160, 320, 640, 1280, 1280};
	struct gather g = {.may = true, .since_ns = 5 * MS};
	uint64_t now_ns = 5 * MS;

	(void)state;
	assert_true(a_round(&g, 1, 1, &now_ns));
	for (size_t i = 0; i < sizeof(want_ms) / sizeof(want_ms[0]); i++) {
		assert_true(g.patient);
		assert_true(a_round(&g, 1, 1, &now_ns));
		assert_false(g.patient);
		assert_false(a_round(&g, 1, want_ms[i] - 1, &now_ns));
		assert_true(a_round(&g, 1, 1, &now_ns));
	}
}

static void patience_lasts_while_requests_come_together(void **state)
{
	struct gather g = {.may = true, .since_ns = 5 * MS};
	uint64_t now_ns = 5 * MS;

	(void)state;
	assert_true(a_round(&g, 1, 2, &now_ns));
	for (unsigned i = 1; i < STORVSP_GATHER_ROUNDS; i++)
		assert_false(a_round(&g, 2, 2, &now_ns));
	/* a look at how it would be otherwise, and back */
	assert_true(a_round(&g, 2, 2, &now_ns));
	assert_true(a_round(&g, 1, 2, &now_ns));
	assert_true(g.patient);
	/* as many a second, with half of the wakes: just enough */
	for (unsigned n = 1; n < STORVSP_GATHER_WAKES; n++)
		assert_false(gather_wake(&g, 1 + n % 2));
	assert_true(gather_wake(&g, 1));
	now_ns += 3 * MS;
	assert_false(gather_round(&g, now_ns));
	/* one packet less */
	for (unsigned n = 1; n < STORVSP_GATHER_WAKES; n++)
		assert_false(gather_wake(&g, n % 2 && n > 1 ? 2 : 1));
	assert_true(gather_wake(&g, 1));
	now_ns += 2 * MS;
	assert_true(gather_round(&g, now_ns));
}

/* The guest's other work has the processor meanwhile. */
static void what_comes_together_too_late_is_no_gain(void **state)
{
	struct gather g = {.may = true, .since_ns = 5 * MS};
	uint64_t now_ns = 5 * MS;

	(void)state;
	assert_true(a_round(&g, 1, 1, &now_ns));
	assert_false(a_round(&g, 32, 32, &now_ns));
	assert_true(a_round(&g, 32, 33, &now_ns));
	assert_false(g.patient);
}

static void wakes_for_something_else_are_no_wakes(void **state)
{
	struct gather g = {.may = true}, never = {.may = false};

	(void)state;
	for (unsigned n = 0; n < 10 * STORVSP_GATHER_WAKES; n++) {
		assert_false(gather_wake(&g, 0));
		assert_false(gather_wake(&never, 32));
	}
}

/* ------------------------------------------------- a disk that may wait --- */

/* Finishes nothing until it is let go. */
struct slow {
	struct vhd_io_list out;
};

static int slow_fd; /* readable once all are let go */

static int slow_create(uint32_t depth, void **state, struct vhd_err *err)
{
	struct slow *s = calloc(1, sizeof(*s));

	(void)depth;
	(void)err;
	if (!s)
		abort();
	*state = s;
	return 0;
}

static void slow_destroy(void *state)
{
	free(state);
}

static int slow_attach(void *state, const struct vhd_file *f, uint32_t slot,
		       struct vhd_err *err)
{
	(void)state, (void)f, (void)slot, (void)err;
	return 0;
}

static void slow_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)state, (void)f, (void)slot;
}

static void slow_prep(void *state, struct vhd_io *io)
{
	struct slow *s = state;

	io->res = 0;
	for (uint32_t i = 0; i < io->iov_count; i++)
		io->res += (int64_t)io->iov[i].iov_len;
	vhd_io_list_add(&s->out, io);
}

static int slow_submit(void *state)
{
	(void)state;
	return 0;
}

static bool let_go(void)
{
	struct pollfd p = {.fd = slow_fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static struct vhd_io *slow_reap(void *state)
{
	struct slow *s = state;

	return let_go() ? vhd_io_list_take_all(&s->out) : NULL;
}

static int slow_wait(void *state, int wake_fd, int timeout_ms)
{
	struct slow *s = state;
	struct pollfd p[2] = {{.fd = wake_fd, .events = POLLIN},
			      {.fd = s->out.head ? slow_fd : -1,
			       .events = POLLIN}};

	return poll(p, 2, timeout_ms) < 0 && errno != EINTR ? -errno : 0;
}

static void slow_cancel(void *state, struct vhd_io *io)
{
	(void)state, (void)io;
}

static const struct vhd_engine_ops slow_engine = {
	.name = "slow",
	.id = VHD_ENGINE_SYNC,
	.create = slow_create,
	.destroy = slow_destroy,
	.attach = slow_attach,
	.detach = slow_detach,
	.prep = slow_prep,
	.submit = slow_submit,
	.reap = slow_reap,
	.wait = slow_wait,
	.cancel = slow_cancel,
};

static int slow_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	(void)arg;
	return vhd_queue_create_on(&slow_engine, 64, out, err);
}

/* ------------------------------------------------------------- threaded --- */

struct world {
	struct vsc *v;
	struct vsc_channel *c;
	struct memfile *m;
	struct vhd *img;
	struct vsc_buffer b;
};

static void start_on(struct world *w, uint32_t poll_us, bool slow,
		     bool one_processor)
{
	const struct vsc_opts o = {
		.vsp.engine = VHD_ENGINE_SYNC,
		.vsp.poll_us = poll_us,
		.vsp.one_processor = one_processor,
		.vsp.queue_create = slow ? slow_queue : NULL,
		.threaded = true,
	};

	slow_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(slow_fd >= 0);
	w->m = memfile_create();
	w->img = qtest_create_mem(memfile_file(w->m), VHD_FORMAT_FIXED,
				  1 << 20, 0);
	w->v = vsc_create(&o);
	vsc_disk(w->v, w->img, 0, 0, 0, false);
	w->c = vsc_open(w->v, 0);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
	vsc_buffer_init(w->v, &w->b, 1);
}

static void start(struct world *w, uint32_t poll_us, bool slow)
{
	start_on(w, poll_us, slow, false);
}

static void stop(struct world *w)
{
	vsc_destroy(w->v);
	qtest_close(w->img);
	memfile_destroy(w->m);
	close(slow_fd);
}

/* The guest's signals are not masked, at least now and then. */
static bool signals_come_through(const struct world *w)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	const uint32_t *mask = guest_ptr(vsc_guest(w->v),
					 guest_out_ctrl(vsc_ring(w->c)) + 8);

	for (unsigned ms = 0; ms < VSC_WAIT_MS; ms++) {
		if (__atomic_load_n(mask, __ATOMIC_ACQUIRE) == 0)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

/* What OpenVMM's notes call the trap of its poll mode: a request that comes
 * while a slow one is out waits for that one's end.
 */
static void slow_request_keeps_none_behind_it_waiting(void **state)
{
	static const uint32_t poll_us[] = {0, 50, STORVSP_POLL_MAX_US};

	(void)state;
	for (size_t i = 0; i < sizeof(poll_us) / sizeof(poll_us[0]); i++) {
		struct vsc_cmd ready = {.data_in = STORVSP_DATA_NONE}, read;
		struct vsc_answer a;
		struct world w;
		uint64_t slow;

		start(&w, poll_us[i], true);
		read = vsc_rw(false, 0, 0, 1, false, &w.b);
		slow = vsc_start(w.c, &read);
		assert_true(slow != 0);
		for (unsigned n = 0; n < 20; n++) {
			assert_true(signals_come_through(&w));
			vsc_run(w.c, &ready, &a);
			assert_true(vsc_good(&a));
			assert_int_not_equal(a.id, slow);
		}
		assert_int_equal(vsc_outstanding(w.c), 1);
		assert_int_equal(eventfd_write(slow_fd, 1), 0);
		vsc_wait(w.c, slow, &a);
		assert_true(vsc_good(&a));
		stop(&w);
	}
}

/* Whatever the window, a channel without work ends up asleep. */
static void idle_channel_sleeps(void **state)
{
	const struct timespec nap = {.tv_nsec = 1000000};
	struct storvsp_stats before, after;
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w, STORVSP_POLL_MAX_US, false);
	for (unsigned n = 0; n < 100; n++)
		vsc_run(w.c, &cmd, &a);
	/* asleep or still looking: after one more it falls asleep once more */
	storvsp_get_stats(vsc_vsp(w.v), &before);
	vsc_run(w.c, &cmd, &a);
	for (unsigned ms = 0; ms < VSC_WAIT_MS; ms++) {
		storvsp_get_stats(vsc_vsp(w.v), &after);
		if (after.sleeps > before.sleeps)
			break;
		nanosleep(&nap, NULL);
	}
	assert_true(after.sleeps > before.sleeps);
	stop(&w);
}

/* The scheduler's policy for the first channel's thread. */
static int policy_of_channel(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int policy = -1;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[300], name[20] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
			 e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f) &&
		    strcmp(name, "scsi-0\n") == 0)
			policy = sched_getscheduler(
				(pid_t)strtol(e->d_name, NULL, 10));
		if (f)
			(void)fclose(f);
	}
	(void)closedir(d);
	return policy;
}

/* Requests one at a time until the policy is that; false: it never was. */
static bool becomes(struct world *w, int policy)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};

	for (unsigned n = 0; n < 20000; n++) {
		struct vsc_answer a;

		vsc_run(w->c, &cmd, &a);
		if (policy_of_channel() == policy)
			return true;
	}
	return false;
}

static void channel_beside_its_guest_tries_to_let_it_finish(void **state)
{
	struct world w;

	(void)state;
	start_on(&w, 0, false, true);
	assert_true(becomes(&w, SCHED_BATCH));
	assert_true(becomes(&w, SCHED_OTHER));
	stop(&w);
	start(&w, 0, false);
	assert_int_equal(policy_of_channel(), sched_getscheduler(0));
	stop(&w);
}

/* -------------------------------------------------- registered memory --- */

/* Whether the guest's memory is registered is never a secret. */
static void guest_memory_is_registered_or_a_line_says_why_not(void **state)
{
	static const struct {
		enum vhd_engine engine;
		const char *says;
	} cases[] = {
		{VHD_ENGINE_SYNC, "channel 0: guest memory is not registered: "
				  "the sync engine registers no memory"},
		{VHD_ENGINE_URING, "channel 0: 16 MiB of guest memory "
				   "registered with uring"},
	};
	struct vsc_opts o = {.vsp.register_memory = true};
	struct vhd_queue_opts rings = {.engine = VHD_ENGINE_URING};
	struct vhd_queue *q = NULL;
	bool can = !vhd_queue_create(&rings, &q, NULL);

	(void)state;
	vhd_queue_destroy(q);
	for (unsigned i = 0; i < (can ? 2 : 1); i++) {
		struct vsc *v;

		o.vsp.engine = cases[i].engine;
		v = vsc_create(&o);
		assert_non_null(vsc_open(v, 0));
		/* somebody who may lock less is told that */
		if (!strstr(vsc_log_last(v), "does not lock"))
			assert_non_null(strstr(vsc_log_last(v), cases[i].says));
		vsc_destroy(v);
	}
}

/* ----------------------------------------------------- whom to interrupt --- */

static struct vsc *start_channels(struct vsc_channel **c, struct memfile *m,
				  struct vhd **img)
{
	const struct vsc_opts o = {
		.vsp.engine = VHD_ENGINE_SYNC,
		.vsp.max_subchannels = CHANNELS - 1,
		.guest.vps = CHANNELS,
	};
	struct vsc *v = vsc_create(&o);

	*img = qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED, 1 << 20, 0);
	vsc_disk(v, *img, 0, 0, 0, false);
	c[0] = vsc_open(v, 0);
	vsc_negotiate(c[0], STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(vsc_create_subs(c[0], CHANNELS - 1), 0);
	for (uint16_t i = 1; i < CHANNELS; i++)
		c[i] = vsc_open(v, i);
	return v;
}

static void ask_on(struct vsc_channel *c)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;

	vsc_run(c, &cmd, &a);
	assert_true(vsc_good(&a));
}

/* MODIFYCHANNEL: its status. */
static uint32_t modify(struct vsc *v, uint32_t relid, uint32_t vp)
{
	uint8_t m[240] = {0};

	set32(m, 22);
	set32(m + 8, relid);
	set32(m + 12, vp);
	assert_int_equal(guest_say(vsc_guest(v), m, 16), 0);
	assert_true(guest_hear_type(vsc_guest(v), 24, m) >= 16);
	assert_int_equal(at32(m + 8), relid);
	return at32(m + 12);
}

static void each_channel_interrupts_the_processor_the_guest_chose(void **state)
{
	struct vsc_channel *c[CHANNELS];
	struct memfile *m = memfile_create();
	struct vhd *img;
	struct vsc *v = start_channels(c, m, &img);

	(void)state;
	for (unsigned i = 0; i < CHANNELS; i++) {
		ask_on(c[i]);
		assert_int_equal(guest_interrupt_vp(vsc_ring(c[i])), i);
	}
	/* each to its neighbour, while it is open */
	for (unsigned i = 0; i < CHANNELS; i++) {
		assert_int_equal(
			modify(v, guest_channel_relid(vsc_ring(c[i])),
			       (i + 1) % CHANNELS), 0);
		ask_on(c[i]);
		assert_int_equal(guest_interrupt_vp(vsc_ring(c[i])),
				 (i + 1) % CHANNELS);
	}
	assert_int_equal(modify(v, guest_channel_relid(vsc_ring(c[1])),
				CHANNELS), 0x8000FFFF);
	ask_on(c[1]);
	assert_int_equal(guest_interrupt_vp(vsc_ring(c[1])), 2);
	vsc_destroy(v);
	qtest_close(img);
	memfile_destroy(m);
}

/* ---------------------------------------------------- whose disks it is -- */

static void note_owner(void *arg, bool yes)
{
	char *told = arg;

	strcat(told, yes ? "+" : "-");
}

static void disks_are_the_guest_s_from_first_opening_to_last_closing(
	void **state)
{
	char told[8] = "";
	const struct vsc_opts o = {
		.vsp.max_subchannels = 1,
		.vsp.guest_has = note_owner,
		.vsp.guest_arg = told,
		.guest.vps = 1,
	};
	struct vsc *v = vsc_create(&o);
	struct vsc_channel *c;

	(void)state;
	assert_string_equal(told, "");
	c = vsc_open(v, 0);
	assert_string_equal(told, "+");
	vsc_negotiate(c, STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(vsc_create_subs(c, 1), 0);
	assert_non_null(vsc_open(v, 1));
	vsc_close(c); /* and with it the other one */
	assert_string_equal(told, "+-");
	assert_non_null(vsc_open(v, 0));
	vsc_destroy(v);
	assert_string_equal(told, "+-+-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_opens_where_sleep_was_short),
		cmocka_unit_test(window_closes_where_sleep_was_long),
		cmocka_unit_test(window_of_nothing_stays_closed),
		cmocka_unit_test(trials_grow_rare_where_requests_come_alone),
		cmocka_unit_test(patience_lasts_while_requests_come_together),
		cmocka_unit_test(what_comes_together_too_late_is_no_gain),
		cmocka_unit_test(wakes_for_something_else_are_no_wakes),
		cmocka_unit_test(
			channel_beside_its_guest_tries_to_let_it_finish),
		cmocka_unit_test(slow_request_keeps_none_behind_it_waiting),
		cmocka_unit_test(idle_channel_sleeps),
		cmocka_unit_test(
			guest_memory_is_registered_or_a_line_says_why_not),
		cmocka_unit_test(
			each_channel_interrupts_the_processor_the_guest_chose),
		cmocka_unit_test(
			disks_are_the_guest_s_from_first_opening_to_last_closing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
