/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever may end a request's channel, ring, device or connection, at every
 * step of every kind of request: sent, each of its disk operations done,
 * answered, answer read. Each id ends once, nothing stays in flight, and the
 * next opening serves as the first one did. Goal G5.
 */
#include "hv/vmbus/bus.h"
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

static void one_cell(char what, uint8_t lun, const struct course *c,
		     unsigned step, enum event event)
{
	struct simvsp w;
	bool sync_waits;

	simvsp_start(&w, NULL, NULL);
	sync_waits = reach(&w, c, what, lun, step);
	switch (event) {
	case RESET_LUN:
		reset(&w, STORVSP_OP_RESET_LUN, lun);
		break;
	case RESET_BUS:
		reset(&w, STORVSP_OP_RESET_BUS, lun);
		break;
	case RESET_ADAPTER:
		reset(&w, STORVSP_OP_RESET_ADAPTER, lun);
		break;
	case TEARDOWN:
		teardown(&w);
		break;
	default:
		/* a sync not yet begun would be, once its channel closes */
		if (sync_waits || what == 's')
			simvsp_hold(&w, false);
		if (event == RING_BROKEN)
			break_ring(&w);
		leave(&w, event);
		simvsp_hold(&w, false);
		come_back(&w, event);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			any_event_at_every_step_ends_each_request_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
