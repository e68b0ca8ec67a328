/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever may end a request's channel, ring, device or connection, at every
 * step of every kind of request: sent, each of its disk operations done,
 * answered, answer read; and while it waits at its disk's gate, for each of the
 * reasons that hold it there. And what the host may do at any moment: take the
 * disk away, and make it larger. Each id ends once, nothing stays in flight, and
 * the next opening serves as the first one did. Goal G5.
 */
#include <errno.h>

#include "hv/vmbus/bus.h"
#include "tests/lib/gatevsp.h"
#include "tests/lib/hostile.h"
#include "tests/lib/proof.h"

#define STEPS_MAX 32u

enum event {
	RESET_LUN,
	RESET_BUS,
	RESET_ADAPTER,
	CLOSE,
	RESCIND,
	TEARDOWN, /* of the list of pages that the rings are made of */
	UNLOAD,
	CONTACT,
	MACHINE_RESET,
	RING_BROKEN,
	REMOVE, /* and added again */
	RESIZE,
	EVENTS,
};

static const char requests[] = {'r', 'w', 'f', 's'};
#define REQUESTS (sizeof(requests))

/* The disk operations of a request, in their order. */
struct course {
	unsigned count;
	enum vhd_io_op op[STEPS_MAX];
};

static struct course course_of(char what, uint8_t lun)
{
	struct course c = {0};
	struct simvsp w;
	size_t before;

	simvsp_start(&w, NULL, NULL);
	before = simengine_count(w.sim[0]);
	simvsp_expect(w.c, simvsp_send(&w, w.c, what, lun, 0), "good");
	c.count = (unsigned)(simengine_count(w.sim[0]) - before);
	assert_true(c.count <= STEPS_MAX);
	for (unsigned i = 0; i < c.count; i++)
		c.op[i] = simengine_event(w.sim[0], before + i)->op;
	simvsp_stop(&w);
	return c;
}

/* Bring a request to a step: 0 sent, 1 + n with n operations done, then
 * answered, then read. True when a sync is what waits: nobody can cut it
 * short, so it will end by itself.
 */
static bool reach(struct simvsp *w, const struct course *c, char what,
		  uint8_t lun, unsigned step)
{
	uint64_t id;

	simvsp_hold(w, true);
	id = simvsp_send(w, w->c, what, lun, 0);
	if (step == 0)
		return false;
	vsc_pump(w->v);
	if (step <= c->count) {
		simengine_allow(w->sim[0], step - 1);
		vsc_pump(w->v);
		assert_int_equal(vsc_outstanding(w->c), 1);
		return c->op[step - 1] == VHD_IO_SYNC;
	}
	simvsp_hold(w, false);
	if (step == c->count + 1)
		vsc_pump(w->v);
	else
		simvsp_expect(w->c, id, "good");
	return false;
}

static void reset(struct simvsp *w, uint32_t op, uint8_t lun)
{
	uint64_t id = simvsp_reset(w->c, op, 0, 0, lun);
	struct vsc_answer a;

	vsc_pump(w->v);
	simvsp_hold(w, false);
	vsc_wait(w->c, id, &a);
	assert_int_equal(le32_get(a.p.status), 0);
	assert_int_equal(vsc_outstanding(w->c), 0);
}

static void take_note(void *arg, struct vhd *img)
{
	(void)img;
	++*(unsigned *)arg;
}

static void answers(struct simvsp *w)
{
	struct vsc_answer a;

	for (unsigned n = 0; vsc_outstanding(w->c) && n < 1000; n++)
		vsc_recv(w->c, &a);
	assert_int_equal(vsc_outstanding(w->c), 0);
}

static void take_away(struct simvsp *w, uint8_t lun)
{
	unsigned gone = 0;
	const struct storvsp_notice notice = {take_note, &gone};
	struct storvsp *vsp = vsc_vsp(w->v);

	assert_int_equal(storvsp_disk_remove(vsp, gate_lun(lun), &notice, NULL),
			 0);
	vsc_pump(w->v);
	storvsp_disk_hurry(vsp);
	vsc_pump(w->v);
	simvsp_hold(w, false); /* a sync ends by itself */
	answers(w);
	assert_int_equal(gone, 1);
	vsc_disk(w->v, w->img[lun], 0, 0, lun, false);
	vsc_pump(w->v);
}

/* What waits at the gate stays there. */
static void resize(struct simvsp *w, uint8_t lun)
{
	const struct vsc_cmd ready = {.lun = lun,
				      .data_in = STORVSP_DATA_NONE};
	unsigned idle = 0;
	const struct storvsp_notice notice = {take_note, &idle};
	struct storvsp *vsp = vsc_vsp(w->v);
	struct vsc_answer a;

	assert_int_equal(storvsp_disk_freeze(vsp, gate_lun(lun), &notice, NULL),
			 0);
	vsc_pump(w->v);
	simvsp_hold(w, false);
	vsc_pump(w->v);
	assert_int_equal(idle, 1);
	assert_int_equal(vhd_grow(w->img[lun], 2ull * SIMVSP_BYTES, NULL), 0);
	storvsp_disk_thaw(vsp);
	do /* a request that had not been taken may have heard of it */
		vsc_run(w->c, &ready, &a);
	while (!vsc_good(&a) && vsc_status(&a).asc == 0x2A);
	assert_true(vsc_good(&a));
}

/* Nothing comes of it before the ring is closed. */
static void teardown(struct simvsp *w)
{
	struct guest *g = vsc_guest(w->v);
	uint32_t m[4] = {11, 0, guest_channel_relid(vsc_ring(w->c)),
			 guest_channel_gpadl(vsc_ring(w->c))};
	struct vsc_answer a;
	uint8_t buf[240];

	assert_int_equal(guest_say(g, m, sizeof(m)), 0);
	assert_int_equal(guest_hear(g, buf, NULL), 0);
	simvsp_hold(w, false);
	while (vsc_outstanding(w->c)) {
		assert_true(vsc_recv(w->c, &a));
		assert_true(vsc_good(&a));
	}
}

static void break_ring(struct simvsp *w)
{
	uint32_t *words =
		guest_ptr(vsc_guest(w->v), guest_out_ctrl(vsc_ring(w->c)));

	words[0] = 0x7FFFFFF8;
	guest_signal(vsc_ring(w->c));
	vsc_pump(w->v);
}

/* The channel goes, by one way or another. */
static void leave(struct simvsp *w, enum event event)
{
	struct guest *g = vsc_guest(w->v);

	switch (event) {
	case RESCIND:
		vmbus_rescind(guest_bus(g)->channels);
		break;
	case UNLOAD:
		assert_int_equal(guest_unload(g), 0);
		break;
	case CONTACT:
		assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
		break;
	case MACHINE_RESET:
		vmbus_reset(guest_bus(g));
		break;
	default:
		vsc_close(w->c);
		w->c = NULL;
		return;
	}
	vsc_drop(w->c);
	w->c = NULL;
}

static void come_back(struct simvsp *w, enum event event)
{
	struct guest *g = vsc_guest(w->v);

	assert_int_equal(simengine_in_flight(w->sim[0]), 0);
	if (event == UNLOAD || event == MACHINE_RESET)
		guest_start(g);
	if (event == CONTACT)
		assert_int_equal(guest_request_offers(g), 1);
	if (event == RESCIND)
		return; /* the device is gone for good */
	w->c = vsc_open(w->v, 0);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
}

/* The event, and what there is to be after it. */
static void happen(struct simvsp *w, char what, uint8_t lun, enum event event,
		   bool sync_waits)
{
	switch (event) {
	case RESET_LUN:
		reset(w, STORVSP_OP_RESET_LUN, lun);
		break;
	case RESET_BUS:
		reset(w, STORVSP_OP_RESET_BUS, lun);
		break;
	case RESET_ADAPTER:
		reset(w, STORVSP_OP_RESET_ADAPTER, lun);
		break;
	case TEARDOWN:
		teardown(w);
		break;
	case REMOVE:
		take_away(w, lun);
		break;
	case RESIZE:
		resize(w, lun);
		break;
	default:
		/* a sync not yet begun would be, once its channel closes */
		if (sync_waits || what == 's')
			simvsp_hold(w, false);
		if (event == RING_BROKEN)
			break_ring(w);
		leave(w, event);
		simvsp_hold(w, false);
		come_back(w, event);
	}
}

static void one_cell(char what, uint8_t lun, const struct course *c,
		     unsigned step, enum event event)
{
	struct simvsp w;
	bool sync_waits;

	simvsp_start(&w, NULL, NULL);
	sync_waits = reach(&w, c, what, lun, step);
	happen(&w, what, lun, event, sync_waits);
	if (event == RESIZE)
		answers(&w);
	if (w.c) {
		still_serves(&w);
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', lun, 64), "good");
	}
	simvsp_stop(&w);
}

static void any_event_at_every_step_ends_each_request_once(void **state)
{
	unsigned cells = 0, all = 0;

	(void)state;
	for (unsigned i = 0; i < REQUESTS * 2; i++) {
		char what = requests[i / 2];
		uint8_t lun = i % 2;
		struct course c = course_of(what, lun);

		all += (c.count + 3) * EVENTS;
		for (unsigned step = 0; step < c.count + 3; step++)
			for (unsigned e = 0; e < EVENTS; e++, cells++)
				one_cell(what, lun, &c, step, (enum event)e);
	}
	print_message("%u of %u cells\n", cells, all);
	proof_figure("G5", cells == all && all > 0,
		     "%u of %u cells: %zu kinds of request on 2 kinds of disk, "
		     "each step of theirs, %d events",
		     cells, all, REQUESTS, EVENTS);
}

/* ------------------------------------------------------- at the gate ----- */

enum hold { PAUSED, THROTTLED, DEEP, HELD, HOLDS };

static bool fails;

static void fail_io(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	(void)ctx;
	if (fails && (io->op == VHD_IO_READ || io->op == VHD_IO_WRITE) &&
	    !io->dsync)
		fate->code = -ENOSPC;
}

/* Hold what comes next, by a request before it where one is needed: a failure
 * that pauses, a debt, one that fills the depth.
 */
static void close_gate(struct simvsp *w, uint8_t lun, enum hold hold)
{
	gate_policy(w, lun, STORVSP_ON_ERROR_PAUSE);
	switch (hold) {
	case PAUSED:
		fails = true;
		simvsp_send(w, w->c, 'w', lun, 32);
		vsc_pump(w->v);
		break;
	case THROTTLED:
		gate_limit(w, lun, (struct storvsp_limits){.bps = 1});
		simvsp_expect(w->c, simvsp_send(w, w->c, 'r', lun, 32), "good");
		break;
	case DEEP:
		gate_limit(w, lun, (struct storvsp_limits){.depth = 1});
		simvsp_hold(w, true);
		simvsp_send(w, w->c, 'w', lun, 32);
		vsc_pump(w->v);
		break;
	default:
		fails = true;
	}
	fails = fails && hold == HELD;
}

static void open_gate(struct simvsp *w, uint8_t lun)
{
	fails = false;
	gate_limit(w, lun, (struct storvsp_limits){0});
	(void)storvsp_disk_resume(vsc_vsp(w->v), gate_lun(lun), NULL);
	vsc_pump(w->v);
}

/* What a failure cannot hold: what needs no operation below, or a sync. */
static bool can_hold(char what, uint8_t lun, enum hold hold)
{
	return hold != HELD || what == 'w' || (what == 'r' && lun == 1);
}

static void one_gate_cell(char what, uint8_t lun, enum hold hold,
			  enum event event)
{
	const struct sim_opts sim = {.decide = fail_io};
	struct storvsp_disk_stats s;
	struct simvsp w;

	fails = false;
	gate_start(&w, (struct vsc_opts){0}, &sim);
	close_gate(&w, lun, hold);
	simvsp_send(&w, w.c, what, lun, 0);
	vsc_pump(w.v);
	s = gate_stats(&w, lun);
	assert_int_equal(s.waiting, hold == PAUSED ? 2 : 1);
	if (event == TEARDOWN || event == RESCIND)
		open_gate(&w, lun); /* the rest of the course is waited for */
	happen(&w, what, lun, event, hold == DEEP);
	open_gate(&w, lun);
	if (event == RESIZE)
		answers(&w);
	s = gate_stats(&w, lun);
	assert_int_equal(s.waiting + s.in_flight, 0);
	if (w.c) {
		still_serves(&w);
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', lun, 64), "good");
	}
	simvsp_stop(&w);
}

static void any_event_at_a_gate_ends_each_request_once(void **state)
{
	unsigned cells = 0, all = 0;

	(void)state;
	for (unsigned i = 0; i < REQUESTS * 2; i++)
		for (unsigned h = 0; h < HOLDS; h++)
			for (unsigned e = 0; e < EVENTS; e++) {
				uint8_t lun = i % 2;

				if (!can_hold(requests[i / 2], lun,
					      (enum hold)h))
					continue;
				one_gate_cell(requests[i / 2], lun,
					      (enum hold)h, (enum event)e);
				cells++;
			}
	/* of four reasons a failure holds three of the eight */
	all = (REQUESTS * 2 * (HOLDS - 1) + 3) * EVENTS;
	print_message("%u of %u cells\n", cells, all);
	proof_figure("G5", cells == all && all > 0,
		     "%u of %u cells: each reason to wait at a gate, %d events",
		     cells, all, EVENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			any_event_at_every_step_ends_each_request_once),
		cmocka_unit_test(any_event_at_a_gate_ends_each_request_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
