/* SPDX-License-Identifier: BSD-2-Clause */
/* Resets, closing and other ends at every moment of a request: each request
 * ends once. The disk engine is simulated: it holds operations back, finishes
 * them in any order, or only once cancelled.
 */
#include <errno.h>

#include "storvsp/state.h"
#include "tests/lib/random.h"
#include "tests/lib/simvsp.h"

#define LUN	STORVSP_OP_RESET_LUN
#define BUS	STORVSP_OP_RESET_BUS
#define ADAPTER STORVSP_OP_RESET_ADAPTER

/* ---------------------------------------------------- on one channel ----- */

static void reset_with_nothing_in_flight_is_answered_at_once(void **state)
{
	static const uint32_t ops[] = {LUN, BUS, ADAPTER};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 3; i++)
		simvsp_expect(w.c, simvsp_reset(w.c, ops[i], 0, 0, 0), "");
	/* also of what does not exist */
	simvsp_expect(w.c, simvsp_reset(w.c, LUN, 9, 9, 9), "");
	simvsp_stop(&w);
}

static void bus_reset_aborts_what_is_in_flight_and_answers_last(void **state)
{
	uint64_t id[6], reset;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 6; i++)
		id[i] = simvsp_send(&w, w.c, i % 2 ? 'w' : 'r', 1, i * 8);
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, BUS, 0, 0, 0);
	for (unsigned i = 0; i < 6; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_true(a.id >= id[0] && a.id <= id[5]);
		assert_int_equal(vsc_status(&a).srb, 0x82);
	}
	simvsp_expect(w.c, reset, "");
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, 0), "good");
	simvsp_stop(&w);
}

static void reset_of_another_path_or_target_aborts_nothing(void **state)
{
	uint64_t id, reset;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	id = simvsp_send(&w, w.c, 'r', 1, 0);
	reset = simvsp_reset(w.c, BUS, 1, 0, 0);
	simvsp_expect(w.c, reset, "");
	reset = simvsp_reset(w.c, LUN, 1, 0, 1);
	simvsp_expect(w.c, reset, "");
	reset = simvsp_reset(w.c, LUN, 0, 1, 1);
	simvsp_expect(w.c, reset, "");
	reset = simvsp_reset(w.c, LUN, 0, 0, 0);
	simvsp_expect(w.c, reset, "");
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, id, "good");
	simvsp_stop(&w);
}

static void lun_reset_aborts_that_lun_and_no_other(void **state)
{
	uint64_t zero, one, reset;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	zero = simvsp_send(&w, w.c, 'w', 0, 0);
	simvsp_expect(w.c, zero, "good"); /* LUN 0 has a block now */
	simvsp_hold(&w, true);
	zero = simvsp_send(&w, w.c, 'r', 0, 0);
	one = simvsp_send(&w, w.c, 'r', 1, 0);
	reset = simvsp_reset(w.c, LUN, 0, 0, 0);
	simvsp_expect(w.c, zero, "aborted");
	simvsp_expect(w.c, reset, "");
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, one, "good");
	simvsp_stop(&w);
}

static void packets_behind_a_reset_wait_for_it(void **state)
{
	uint64_t flush, reset, later;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	/* a sync under way is not cut short */
	flush = simvsp_send(&w, w.c, 's', 1, 0);
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, ADAPTER, 0, 0, 0);
	later = simvsp_send(&w, w.c, 'r', 1, 0);
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, flush, "good");
	simvsp_expect(w.c, reset, "");
	simvsp_expect(w.c, later, "good");
	simvsp_stop(&w);
}

/* Each step of a request's life times each kind of reset. */
static void reset_at_every_step_ends_every_request_once(void **state)
{
	static const char ops[] = {'r', 'w', 'f', 's'};
	static const uint32_t resets[] = {LUN, BUS, ADAPTER};

	(void)state;
	for (unsigned i = 0; i < 4 * 3 * 2 * 4; i++) {
		char op = ops[i % 4];
		uint32_t reset_op = resets[i / 4 % 3];
		uint8_t lun = i / 12 % 2;
		unsigned step = i / 24;
		struct vsc_answer a;
		struct simvsp w;
		uint64_t reset;

		simvsp_start(&w, NULL, NULL);
		simvsp_hold(&w, step > 0);
		simvsp_send(&w, w.c, op, lun, 0);
		/* 0: not taken; 1: with the engine; 2: done, answer unread;
		 * 3: twice the same
		 */
		if (step >= 1)
			vsc_pump(w.v);
		if (step == 2)
			simvsp_hold(&w, false);
		if (step == 2)
			vsc_pump(w.v);
		if (step == 3)
			simvsp_send(&w, w.c, op, lun, 0);
		reset = simvsp_reset(w.c, reset_op, 0, 0, lun);
		vsc_pump(w.v);
		simvsp_hold(&w, false);
		vsc_wait(w.c, reset, &a);
		/* all that came before has been answered before */
		assert_int_equal(vsc_outstanding(w.c), 0);
		simvsp_stop(&w);
	}
}

static void storm_of_resets_and_requests_loses_nothing(void **state)
{
	struct sim_opts sim = {.late_permille = 700, .short_permille = 100};
	uint64_t seed = random_seed();
	struct simvsp w;

	(void)state;
	sim.seed = seed;
	simvsp_start(&w, NULL, &sim);
	for (unsigned i = 0; i < 3000; i++) {
		static const uint32_t resets[] = {LUN, BUS, ADAPTER};
		struct vsc_answer a;

		if (random_below(&seed, 3) == 0)
			simvsp_reset(w.c, resets[random_below(&seed, 3)], 0, 0,
				     (uint8_t)random_below(&seed, 2));
		else
			simvsp_send(&w, w.c, "rwfs"[random_below(&seed, 4)],
				    (uint8_t)random_below(&seed, 2),
				    random_below(&seed, 2000));
		while (vsc_outstanding(w.c) > random_below(&seed, 100))
			vsc_recv(w.c, &a);
	}
	while (vsc_outstanding(w.c)) {
		struct vsc_answer a;

		vsc_recv(w.c, &a);
	}
	simvsp_stop(&w);
}

/* -------------------------------------------------- on several channels -- */

static void start_subs(struct simvsp *w, uint16_t n)
{
	const struct vsc_opts o = {.vsp.max_subchannels = n};

	simvsp_start(w, &o, NULL);
	assert_int_equal(vsc_create_subs(w->c, n), 0);
}

static void reset_reaches_requests_on_sub_channels(void **state)
{
	struct vsc_channel *sub[2];
	uint64_t id[2], reset;
	struct simvsp w;

	(void)state;
	start_subs(&w, 2);
	for (unsigned i = 0; i < 2; i++)
		sub[i] = simvsp_sub(&w, (uint16_t)(i + 1));
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 2; i++)
		id[i] = simvsp_send(&w, sub[i], 'r', 1, i);
	vsc_pump(w.v);
	reset = simvsp_reset(w.c, BUS, 0, 0, 0);
	simvsp_expect(w.c, reset, "");
	for (unsigned i = 0; i < 2; i++)
		simvsp_expect(sub[i], id[i], "aborted");
	simvsp_hold(&w, false);
	simvsp_expect(sub[0], simvsp_send(&w, sub[0], 'r', 1, 0), "good");
	simvsp_stop(&w);
}

static void reset_waits_for_a_sub_channel_that_is_not_empty(void **state)
{
	struct vsc_channel *sub;
	uint64_t flush, reset;
	struct simvsp w;

	(void)state;
	start_subs(&w, 1);
	sub = simvsp_sub(&w, 1);
	simvsp_hold(&w, true);
	flush = simvsp_send(&w, sub, 's', 1, 0);
	vsc_pump(w.v);
	reset = simvsp_reset(w.c, BUS, 0, 0, 0);
	simvsp_quiet(w.c);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, reset, "");
	simvsp_expect(sub, flush, "good");
	simvsp_stop(&w);
}

static void reset_does_not_wait_for_a_channel_that_closes(void **state)
{
	struct vsc_channel *sub;
	struct simvsp w;
	uint64_t reset;

	(void)state;
	start_subs(&w, 1);
	sub = simvsp_sub(&w, 1);
	simvsp_hold(&w, true);
	simvsp_send(&w, sub, 's', 1, 0);
	vsc_pump(w.v);
	reset = simvsp_reset(w.c, BUS, 0, 0, 0);
	simvsp_quiet(w.c);
	simengine_hold(w.sim[1], false);
	vsc_close(sub);
	/* the primary's thread would be asleep: it must have been told */
	assert_true(atomic_load(&vsc_vsp(w.v)->channels->mail_waiting));
	simvsp_expect(w.c, reset, "");
	simvsp_stop(&w);
}

static void channel_opened_during_a_reset_is_not_waited_for(void **state)
{
	struct vsc_channel *sub;
	uint64_t flush, reset;
	struct simvsp w;

	(void)state;
	start_subs(&w, 2);
	sub = simvsp_sub(&w, 1);
	simvsp_hold(&w, true);
	flush = simvsp_send(&w, sub, 's', 1, 0);
	vsc_pump(w.v);
	reset = simvsp_reset(w.c, BUS, 0, 0, 0);
	simvsp_quiet(w.c);
	simvsp_sub(&w, 2);
	simvsp_hold(&w, false);
	simvsp_expect(w.c, reset, "");
	simvsp_expect(sub, flush, "good");
	simvsp_stop(&w);
}

static void resets_on_all_channels_at_once_end(void **state)
{
	struct vsc_channel *c[4];
	uint64_t id[4], reset[4];
	struct simvsp w;

	(void)state;
	start_subs(&w, 3);
	c[0] = w.c;
	for (unsigned i = 1; i < 4; i++)
		c[i] = simvsp_sub(&w, (uint16_t)i);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 4; i++)
		id[i] = simvsp_send(&w, c[i], 'r', 1, i);
	vsc_pump(w.v);
	for (unsigned i = 0; i < 4; i++)
		reset[i] = simvsp_reset(c[i], i % 2 ? LUN : BUS, 0, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		simvsp_expect(c[i], id[i], "aborted");
		simvsp_expect(c[i], reset[i], "");
	}
	simvsp_stop(&w);
}

/* Two resets reach a third channel before it looks: neither is forgotten. */
static void different_resets_at_once_abort_what_either_names(void **state)
{
	uint64_t zero, one, reset[2];
	struct vsc_channel *c[3];
	struct simvsp w;

	(void)state;
	start_subs(&w, 2);
	c[0] = w.c;
	for (unsigned i = 1; i < 3; i++)
		c[i] = simvsp_sub(&w, (uint16_t)i);
	simvsp_expect(c[2], simvsp_send(&w, c[2], 'w', 0, 0), "good");
	simvsp_hold(&w, true);
	zero = simvsp_send(&w, c[2], 'r', 0, 0);
	one = simvsp_send(&w, c[2], 'r', 1, 0);
	vsc_pump(w.v);
	reset[0] = simvsp_reset(c[0], LUN, 0, 0, 0);
	reset[1] = simvsp_reset(c[1], LUN, 0, 0, 1);
	simvsp_expect(c[0], reset[0], "");
	simvsp_expect(c[1], reset[1], "");
	for (unsigned i = 0; i < 2; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(c[2], &a));
		assert_true(a.id == zero || a.id == one);
		assert_int_equal(vsc_status(&a).srb, 0x82);
	}
	simvsp_stop(&w);
}

/* --------------------------------------------------------------- close --- */

static void close_with_requests_in_flight_returns_and_loses_nothing(
	void **state)
{
	struct storvsp_stats s;
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 20; i++)
		simvsp_send(&w, w.c, i % 2 ? 'w' : 'r', 1, i * 8);
	vsc_pump(w.v);
	vsc_close(w.c);
	assert_int_equal(simengine_in_flight(w.sim[0]), 0);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.cancelled, 20);
	w.c = vsc_open(w.v, 0);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	simvsp_expect(w.c, simvsp_send(&w, w.c, 'r', 1, 0), "good");
	simvsp_stop(&w);
}

static void lose(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	(void)io;
	fate->lost = *(bool *)ctx;
}

static void close_ends_operations_that_never_end(void **state)
{
	bool losing = false;
	struct sim_opts sim = {.decide = lose, .ctx = &losing};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, &sim);
	losing = true;
	for (unsigned i = 0; i < 5; i++)
		simvsp_send(&w, w.c, 'r', 1, i * 8);
	vsc_pump(w.v);
	simvsp_quiet(w.c);
	vsc_close(w.c);
	w.c = NULL;
	simvsp_stop(&w);
}

static void close_during_a_reset_that_waits(void **state)
{
	struct vsc_channel *sub;
	struct simvsp w;

	(void)state;
	start_subs(&w, 1);
	sub = simvsp_sub(&w, 1);
	simvsp_hold(&w, true);
	simvsp_send(&w, sub, 's', 1, 0);
	vsc_pump(w.v);
	simvsp_reset(w.c, BUS, 0, 0, 0);
	simvsp_quiet(w.c);
	/* the primary goes, and takes the sub-channel's offer with it */
	simengine_hold(w.sim[1], false);
	vsc_close(w.c);
	vsc_drop(sub);
	simvsp_stop(&w);
}

static void close_at_every_step_accounts_for_every_request(void **state)
{
	static const char ops[] = {'r', 'w', 'f', 's'};

	(void)state;
	for (unsigned i = 0; i < 4 * 2 * 4; i++) {
		unsigned step = i / 8;
		struct simvsp w;

		simvsp_start(&w, NULL, NULL);
		simvsp_hold(&w, step > 0 && ops[i % 4] != 's');
		simvsp_send(&w, w.c, ops[i % 4], i / 4 % 2, 0);
		if (step >= 1)
			vsc_pump(w.v);
		if (step >= 2)
			simvsp_hold(&w, false);
		if (step >= 3)
			vsc_pump(w.v);
		vsc_close(w.c);
		w.c = NULL;
		simvsp_stop(&w);
	}
}

static void bus_reset_and_unload_close_what_is_in_flight(void **state)
{
	(void)state;
	for (unsigned unload = 0; unload < 2; unload++) {
		struct simvsp w;

		simvsp_start(&w, NULL, NULL);
		simvsp_hold(&w, true);
		for (unsigned i = 0; i < 5; i++)
			simvsp_send(&w, w.c, 'w', 1, i * 8);
		vsc_pump(w.v);
		if (unload)
			assert_int_equal(guest_unload(vsc_guest(w.v)), 0);
		else
			vmbus_reset(guest_bus(vsc_guest(w.v)));
		assert_int_equal(simengine_in_flight(w.sim[0]), 0);
		vsc_drop(w.c);
		simvsp_stop(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			reset_with_nothing_in_flight_is_answered_at_once),
		cmocka_unit_test(
			bus_reset_aborts_what_is_in_flight_and_answers_last),
		cmocka_unit_test(
			reset_of_another_path_or_target_aborts_nothing),
		cmocka_unit_test(lun_reset_aborts_that_lun_and_no_other),
		cmocka_unit_test(packets_behind_a_reset_wait_for_it),
		cmocka_unit_test(reset_at_every_step_ends_every_request_once),
		cmocka_unit_test(storm_of_resets_and_requests_loses_nothing),
		cmocka_unit_test(reset_reaches_requests_on_sub_channels),
		cmocka_unit_test(
			reset_waits_for_a_sub_channel_that_is_not_empty),
		cmocka_unit_test(reset_does_not_wait_for_a_channel_that_closes),
		cmocka_unit_test(
			channel_opened_during_a_reset_is_not_waited_for),
		cmocka_unit_test(
			different_resets_at_once_abort_what_either_names),
		cmocka_unit_test(resets_on_all_channels_at_once_end),
		cmocka_unit_test(
			close_with_requests_in_flight_returns_and_loses_nothing),
		cmocka_unit_test(close_ends_operations_that_never_end),
		cmocka_unit_test(close_during_a_reset_that_waits),
		cmocka_unit_test(
			close_at_every_step_accounts_for_every_request),
		cmocka_unit_test(bus_reset_and_unload_close_what_is_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
