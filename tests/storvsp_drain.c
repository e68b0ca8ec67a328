/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches, back-pressure, depth: when packets are taken and answers sent. */
#include "storvsp/drain.h"
#include "storvsp/state.h"
#include "tests/lib/plainvsp.h"
#include "tests/lib/simvsp.h"

/* A ring full of requests, answered in one go: one interrupt. */
static void batch_of_answers_costs_one_interrupt(void **state)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;
	struct world w;
	uint64_t before, signals;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	before = guest_interrupts(vsc_ring(w.c));
	signals = guest_signals_sent(vsc_ring(w.c));
	for (unsigned i = 0; i < 60; i++)
		assert_true(vsc_start(w.c, &cmd) != 0);
	/* the guest signalled for the first only: the ring was not empty */
	assert_int_equal(guest_signals_sent(vsc_ring(w.c)), signals + 1);
	vsc_pump(w.v);
	assert_int_equal(guest_interrupts(vsc_ring(w.c)), before + 1);
	for (unsigned i = 0; i < 60; i++)
		assert_true(vsc_recv(w.c, &a));
	assert_int_equal(vsc_outstanding(w.c), 0);
	stop(&w);
}

/* A guest that does not read its answers stalls itself; nothing is lost. */
static void guest_that_does_not_read_stops_only_itself(void **state)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	const uint32_t *pending;
	struct storvsp_stats s;
	struct vsc_answer a;
	unsigned sent = 0;
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.in_pages = 2, .out_pages = 8});
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	/* 46 answers fit into a ring of 4096 bytes; the requests behind them
	 * stay in the other ring until that is full
	 */
	for (unsigned round = 0; round < 20; round++) {
		while (vsc_start(w.c, &cmd))
			sent++;
		vsc_pump(w.v);
	}
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.completions, 4 + 46);
	assert_true(sent >= 46 + 300);
	/* what the host waits for is written in the ring, and withdrawn */
	pending = guest_ptr(vsc_guest(w.v), guest_in_ctrl(vsc_ring(w.c)) + 12);
	assert_true(*pending >= STORVSP_ANSWER_BYTES);
	while (vsc_outstanding(w.c) > 0)
		assert_true(vsc_recv(w.c, &a));
	assert_int_equal(*pending, 0);
	assert_true(vsc_start(w.c, &cmd) != 0);
	assert_true(vsc_recv(w.c, &a));
	stop(&w);
}

/* Depth bounds what is taken: N requests in flight, the next one waits. */
static void ten_thousand_requests_go_through_four_slots(void **state)
{
	struct vsc_answer a;
	unsigned answered = 0, sent = 0;
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.vsp.depth = 4});
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	while (answered < 10000) {
		struct vsc_cmd cmd =
			vsc_rw(sent % 2, 0, sent % 1000, 1, false, &w.b);

		while (sent < 10000 && vsc_start(w.c, &cmd))
			sent++;
		while (vsc_recv(w.c, &a)) {
			assert_true(vsc_good(&a));
			answered++;
		}
	}
	stop(&w);
}

/* The whole ring is reserved for answers while slots are left: what is waited
 * for is a completion, not space, and not in circles.
 */
static void ring_reserved_to_the_last_answer_waits_for_a_completion(
	void **state)
{
	struct vsc_opts o = {.vsp.depth = 60, .in_pages = 2};
	struct storvsp_stats s;
	struct vsc_answer a;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, &o, NULL);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 60; i++) {
		simvsp_send(&w, w.c, 'r', 1, i);
		if (i == 19) /* what is under way has its share already */
			vsc_pump(w.v);
	}
	vsc_pump(w.v);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.packets, 4 + 46);
	simvsp_hold(&w, false);
	for (unsigned i = 0; i < 60; i++) {
		assert_true(vsc_recv(w.c, &a));
		assert_true(vsc_good(&a));
	}
	simvsp_stop(&w);
}

/* Between the last look at the ring and letting signals through, the guest
 * sees the mask and does not signal.
 */
static void packet_that_slips_in_before_sleep_is_noticed(void **state)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct channel *ch;
	struct vsc_answer a;
	uint64_t signals;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	ch = vsc_vsp(w.v)->channels;
	while (storvsp_channel_step(ch))
		;
	signals = guest_signals_sent(vsc_ring(w.c));
	assert_true(vsc_start(w.c, &cmd) != 0);
	assert_int_equal(guest_signals_sent(vsc_ring(w.c)), signals);
	assert_true(storvsp_channel_idle(ch));
	assert_true(storvsp_channel_step(ch));
	assert_true(vsc_try_recv(w.c, &a));
	/* with nothing left the guest's signals come through */
	assert_false(storvsp_channel_step(ch));
	assert_false(storvsp_channel_idle(ch));
	assert_true(vsc_start(w.c, &cmd) != 0);
	assert_int_equal(guest_signals_sent(vsc_ring(w.c)), signals + 1);
	vsc_pump(w.v);
	assert_true(vsc_try_recv(w.c, &a));
	stop(&w);
}

/* Cheap commands share the batch with everything else: completions and mail
 * are looked at again after every STORVSP_BATCH packets.
 */
static void one_step_takes_a_batch_and_no_more(void **state)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct storvsp_stats s;
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	for (unsigned i = 0; i < 200; i++)
		assert_true(vsc_start(w.c, &cmd) != 0);
	assert_true(storvsp_channel_step(vsc_vsp(w.v)->channels));
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.packets, 4 + STORVSP_BATCH);
	while (vsc_outstanding(w.c))
		assert_true(vsc_recv(w.c, &a));
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_step_takes_a_batch_and_no_more),
		cmocka_unit_test(packet_that_slips_in_before_sleep_is_noticed),
		cmocka_unit_test(batch_of_answers_costs_one_interrupt),
		cmocka_unit_test(guest_that_does_not_read_stops_only_itself),
		cmocka_unit_test(
			ring_reserved_to_the_last_answer_waits_for_a_completion),
		cmocka_unit_test(ten_thousand_requests_go_through_four_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
