/* SPDX-License-Identifier: BSD-2-Clause */
/* Integration services against a guest that follows Linux's hv_utils; what a
 * hostile one does is in hv_ic_hostile.c.
 */
#include <errno.h>

#include "tests/lib/cm.h"
#include "tests/lib/ictest.h"

/* ---------------------------------------------------------- negotiation -- */

static void the_first_message_offers_frameworks_and_versions(void **state)
{
	static const uint8_t want[] = {
		/* pipe: data, bytes */ 1, 0, 0, 0, 52, 0, 0, 0,
		/* framework 3.0 */ 3, 0, 0, 0, /* negotiate */ 0, 0,
		/* version 0.0 */ 0, 0, 0, 0, /* body */ 32, 0,
		/* status */ 0, 0, 0, 0, /* transaction, flags */ 1, 3, 0, 0,
		/* counts */ 2, 0, 4, 0, 0, 0, 0, 0,
		/* frameworks */ 3, 0, 0, 0, 1, 0, 0, 0,
		/* messages */ 3, 0, 2, 0, 3, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0};
	struct icguest *w = *state;

	icguest_open(w, HV_IC_SHUTDOWN);
	assert_int_equal(info(w).service[HV_IC_SHUTDOWN].state,
			 HV_IC_NEGOTIATING);
	assert_int_equal(icguest_hear(w, HV_IC_SHUTDOWN), 0);
	assert_in_range(w->len, sizeof(want), sizeof(want) + 7);
	assert_memory_equal(w->m, want, sizeof(want));
	assert_int_equal(icguest_hear(w, HV_IC_SHUTDOWN), -1);
}

static void every_version_that_linux_knows_is_agreed_on(void **state)
{
	static const struct {
		enum hv_ic_service s;
		uint32_t framework, message;
		enum hv_ic_state want;
	} rows[] = {
		{HV_IC_SHUTDOWN, 0x30000, 0x30002, HV_IC_READY},
		{HV_IC_SHUTDOWN, 0x30000, 0x30001, HV_IC_READY},
		{HV_IC_SHUTDOWN, 0x30000, 0x30000, HV_IC_READY},
		{HV_IC_SHUTDOWN, 0x10000, 0x10000, HV_IC_READY},
		{HV_IC_TIMESYNC, 0x30000, 0x40000, HV_IC_READY},
		{HV_IC_TIMESYNC, 0x30000, 0x30000, HV_IC_READY},
		{HV_IC_TIMESYNC, 0x10000, 0x10000, HV_IC_READY},
		{HV_IC_HEARTBEAT, 0x30000, 0x30000, HV_IC_READY},
		{HV_IC_HEARTBEAT, 0x10000, 0x10000, HV_IC_READY},
		{HV_IC_KVP, 0x30000, 0x40000, HV_IC_READY},
		{HV_IC_KVP, 0x30000, 0x30000, HV_IC_READY},
		{HV_IC_VSS, 0x30000, 0x50000, HV_IC_READY},
		/* none in common, as Linux says it; and never offered */
		{HV_IC_VSS, 0, 0, HV_IC_UNSUITABLE},
		{HV_IC_VSS, 0x30000, 0x60000, HV_IC_UNSUITABLE},
		{HV_IC_VSS, 0x20000, 0x50000, HV_IC_UNSUITABLE},
		{HV_IC_KVP, 0x30000, 0x50000, HV_IC_UNSUITABLE},
	};
	struct icguest *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum hv_ic_service s = rows[i].s;

		icguest_open(w, s);
		assert_int_equal(icguest_hear(w, s), 0);
		icguest_agree(w, s, rows[i].framework, rows[i].message);
		if (info(w).service[s].state != rows[i].want)
			fail_msg("row %zu", i);
		if (rows[i].want == HV_IC_READY)
			assert_int_equal(info(w).service[s].version,
					 rows[i].message);
		icguest_close(w, s);
		assert_int_equal(info(w).service[s].state, HV_IC_CLOSED);
	}
}

static void a_service_is_not_there_until_its_driver_is(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	ask(w, &a, HV_IC_OP_POWER_OFF);
	assert_int_equal(a.times, 1);
	assert_refused(a.r.result, &a.r.err, ENOTCONN, VHD_WHY_SERVER);
	icguest_open(w, HV_IC_SHUTDOWN);
	ask(w, &a, HV_IC_OP_POWER_OFF); /* not agreed on yet */
	assert_int_equal(a.r.result, -ENOTCONN);
	assert_non_null(strstr(a.r.err.text, "daemon"));
	icguest_hear(w, HV_IC_SHUTDOWN);
	icguest_agree(w, HV_IC_SHUTDOWN, 0, 0);
	ask(w, &a, HV_IC_OP_POWER_OFF);
	assert_int_equal(a.r.result, -ENOTCONN);
}

static void a_driver_that_comes_again_is_greeted_again(void **state)
{
	struct icguest *w = *state;

	for (unsigned i = 0; i < 3; i++) {
		icguest_ready(w, HV_IC_KVP);
		assert_int_equal(info(w).service[HV_IC_KVP].state,
				 HV_IC_READY);
		icguest_close(w, HV_IC_KVP);
	}
}

/* ------------------------------------------------------------- shutdown -- */

static void each_way_to_end_has_its_flags(void **state)
{
	static const struct {
		enum hv_ic_op op;
		bool force;
		uint32_t flags;
	} rows[] = {
		{HV_IC_OP_POWER_OFF, false, 0},
		{HV_IC_OP_POWER_OFF, true, 1},
		{HV_IC_OP_RESTART, false, 2},
		{HV_IC_OP_RESTART, true, 3},
	};
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_SHUTDOWN);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a.r.force = rows[i].force;
		ask(w, &a, rows[i].op);
		assert_int_equal(icguest_hear(w, HV_IC_SHUTDOWN), 3);
		/* Linux takes no shorter one */
		assert_true(w->len >= ICGUEST_HEADER + 2060);
		assert_int_equal(at16(w->m + 14), 3);
		assert_int_equal(at16(w->m + 16), 2);
		assert_int_equal(at32(w->m + 28), 0x80000000u);
		assert_int_equal(at32(w->m + 36), rows[i].flags);
		assert_int_equal(a.times, 0);
		icguest_answer(w, HV_IC_SHUTDOWN, 0);
		assert_int_equal(a.times, 1);
		assert_int_equal(a.r.result, 0);
	}
	ask(w, &a, HV_IC_OP_POWER_OFF);
	icguest_hear(w, HV_IC_SHUTDOWN);
	icguest_answer(w, HV_IC_SHUTDOWN, 0x80004005);
	assert_int_equal(a.r.result, -EREMOTEIO);
}

static void hibernation_is_not_offered(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_SHUTDOWN);
	ask(w, &a, HV_IC_OP_HIBERNATE);
	assert_int_equal(a.r.result, -ENOTSUP);
	assert_int_equal(icguest_hear(w, HV_IC_SHUTDOWN), -1);
}

/* ------------------------------------------------------------ heartbeat -- */

static void a_heart_that_beats_is_ok_and_one_that_stops_is_told(void **state)
{
	struct icguest *w = *state;

	assert_false(info(w).heard);
	icguest_ready(w, HV_IC_HEARTBEAT);
	(void)icguest_pass(w, 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t sequence;

		assert_int_equal(icguest_hear(w, HV_IC_HEARTBEAT), 1);
		sequence = at64(w->m + 28);
		assert_int_equal(at16(w->m + 18), 40);
		set64(w->m + 28, sequence + 1);
		set32(w->m + 36, 1);
		icguest_answer(w, HV_IC_HEARTBEAT, 0);
		assert_true(info(w).alive);
		assert_int_equal(info(w).application, 1);
		assert_in_range(icguest_pass(w, 0), 1, 2000);
		assert_int_equal(icguest_hear(w, HV_IC_HEARTBEAT), -1);
		(void)icguest_pass(w, 2000);
	}
	(void)icguest_pass(w, 8000); /* 10 s since the last one */
	assert_true(info(w).alive);
	(void)icguest_pass(w, 1);
	assert_false(info(w).alive);
	assert_int_equal(info(w).silent_ms, 10001);
	/* it comes back */
	while (icguest_hear(w, HV_IC_HEARTBEAT) == 1)
		;
	(void)icguest_pass(w, 2000);
	(void)icguest_pass(w, 2000);
	icguest_hear(w, HV_IC_HEARTBEAT);
	icguest_answer(w, HV_IC_HEARTBEAT, 0);
	assert_true(info(w).alive);
}

static void a_guest_that_stands_still_misses_no_beat(void **state)
{
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_HEARTBEAT);
	(void)icguest_pass(w, 0);
	icguest_hear(w, HV_IC_HEARTBEAT);
	icguest_answer(w, HV_IC_HEARTBEAT, 0);
	hv_ic_paused(w->ic, true);
	assert_int_equal(icguest_pass(w, 3600000), -1);
	assert_int_equal(icguest_hear(w, HV_IC_HEARTBEAT), -1);
	hv_ic_paused(w->ic, false);
	assert_true(info(w).alive);
	(void)icguest_pass(w, 0);
	assert_int_equal(icguest_hear(w, HV_IC_HEARTBEAT), 1);
}

/* ------------------------------------------------------------- timesync -- */

/* Flags of the next time message, and of its layout. */
static int heard_time(struct icguest *w)
{
	int flags;

	if (icguest_hear(w, HV_IC_TIMESYNC) != 4)
		return -1;
	assert_int_equal(at16(w->m + 18), 24);
	assert_int_equal(at64(w->m + 28), 1000 + w->samples);
	assert_int_equal(at64(w->m + 36), 77);
	flags = w->m[44];
	icguest_answer(w, HV_IC_TIMESYNC, 0);
	return flags;
}

static void the_clock_is_set_first_then_sampled_and_set_after_a_pause(
	void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_TIMESYNC);
	(void)icguest_pass(w, 0);
	assert_int_equal(heard_time(w), 1);
	assert_int_equal(heard_time(w), -1);
	(void)icguest_pass(w, 10000);
	assert_int_equal(heard_time(w), 2);
	ask(w, &a, HV_IC_OP_SYNC_TIME);
	assert_int_equal(heard_time(w), 1);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.r.result, 0);
	hv_ic_paused(w->ic, true);
	(void)icguest_pass(w, 100000);
	assert_int_equal(heard_time(w), -1);
	hv_ic_paused(w->ic, false);
	(void)icguest_pass(w, 0);
	assert_int_equal(heard_time(w), 1);
	(void)icguest_pass(w, 10000);
	assert_int_equal(heard_time(w), 2);
}

static void no_time_goes_out_before_its_sample_is_there(void **state)
{
	struct icguest *w = *state;

	w->time_at_once = false;
	icguest_ready(w, HV_IC_TIMESYNC);
	(void)icguest_pass(w, 0);
	(void)icguest_pass(w, 60000);
	assert_int_equal(w->samples, 1); /* asked once */
	assert_int_equal(icguest_hear(w, HV_IC_TIMESYNC), -1);
	hv_ic_time(w->ic, 1001, 77);
	assert_int_equal(heard_time(w), 1);
	hv_ic_time(w->ic, 5, 5); /* nobody asked for it */
	assert_int_equal(icguest_hear(w, HV_IC_TIMESYNC), -1);
}

static void before_version_4_the_counter_is_not_there(void **state)
{
	struct icguest *w = *state;

	icguest_open(w, HV_IC_TIMESYNC);
	icguest_hear(w, HV_IC_TIMESYNC);
	icguest_agree(w, HV_IC_TIMESYNC, 0x30000, 0x30000);
	(void)icguest_pass(w, 0);
	assert_int_equal(icguest_hear(w, HV_IC_TIMESYNC), 4);
	assert_int_equal(at16(w->m + 18), 32);
	assert_int_equal(at64(w->m + 28), 1001);
	assert_int_equal(at64(w->m + 36), 0);
	assert_int_equal(w->m[52], 1);
}

/* ---------------------------------------------------------------- queue -- */

static void one_message_at_a_time_is_out_and_all_are_answered(void **state)
{
	static struct answered a[3];
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(a[i].r.key, sizeof(a[i].r.key), "%u", i);
		ask(w, &a[i], HV_IC_OP_KVP_DELETE);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
		assert_int_equal(w->m[36], '0' + i);
		assert_int_equal(a[i].times, 0);
		icguest_answer(w, HV_IC_KVP, 0);
		assert_int_equal(a[i].times, 1);
	}
	assert_int_equal(icguest_hear(w, HV_IC_KVP), -1);
}

static void sixteen_may_wait_and_no_more(void **state)
{
	static struct answered a[18];
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_SHUTDOWN);
	for (unsigned i = 0; i < 18; i++)
		ask(w, &a[i], HV_IC_OP_POWER_OFF);
	assert_int_equal(a[16].times, 0);
	assert_int_equal(a[17].times, 1);
	assert_int_equal(a[17].r.result, -EAGAIN);
	icguest_close(w, HV_IC_SHUTDOWN);
	for (unsigned i = 0; i < 17; i++) {
		assert_int_equal(a[i].times, 1);
		assert_int_equal(a[i].r.result, -ECONNRESET);
	}
}

static void what_is_not_answered_fails_and_the_next_one_goes_out(void **state)
{
	static struct answered a[2];
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (unsigned i = 0; i < 2; i++) {
		strcpy(a[i].r.key, "k");
		ask(w, &a[i], HV_IC_OP_KVP_DELETE);
	}
	icguest_hear(w, HV_IC_KVP);
	(void)icguest_pass(w, 34999);
	assert_int_equal(a[0].times, 0);
	(void)icguest_pass(w, 1);
	assert_int_equal(a[0].times, 1);
	assert_int_equal(a[0].r.result, -ETIMEDOUT);
	icguest_answer(w, HV_IC_KVP, 0); /* too late */
	assert_int_equal(a[1].times, 0);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a[1].times, 1);
	assert_int_equal(a[1].r.result, 0);
}

static void a_guest_that_is_paused_is_asked_nothing(void **state)
{
	static struct answered a, b;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "k");
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	hv_ic_paused(w->ic, true);
	strcpy(b.r.key, "k");
	ask(w, &b, HV_IC_OP_KVP_DELETE);
	assert_int_equal(b.r.result, -EBUSY);
	(void)icguest_pass(w, 3600000);
	assert_int_equal(a.times, 0);
	hv_ic_paused(w->ic, false);
	(void)icguest_pass(w, 34999); /* its time begins again */
	assert_int_equal(a.times, 0);
	icguest_hear(w, HV_IC_KVP);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
}

static void the_end_and_a_reset_answer_all_that_waits(void **state)
{
	static struct answered a, b;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "k");
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	hv_ic_end(w->ic);
	assert_int_equal(a.r.result, -ECONNRESET);
	strcpy(b.r.key, "k");
	ask(w, &b, HV_IC_OP_KVP_DELETE);
	assert_int_equal(b.times, 0);
	vmbus_reset(guest_bus(w->g));
	assert_int_equal(b.times, 1);
	assert_int_equal(b.r.result, -ECONNRESET);
	assert_int_equal(info(w).service[HV_IC_KVP].state, HV_IC_CLOSED);
	guest_drop(w->ch[HV_IC_KVP]);
	guest_start(w->g);
	icguest_ready(w, HV_IC_KVP);
	assert_int_equal(info(w).service[HV_IC_KVP].state, HV_IC_READY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IC_TEST(the_first_message_offers_frameworks_and_versions),
		IC_TEST(every_version_that_linux_knows_is_agreed_on),
		IC_TEST(a_service_is_not_there_until_its_driver_is),
		IC_TEST(a_driver_that_comes_again_is_greeted_again),
		IC_TEST(each_way_to_end_has_its_flags),
		IC_TEST(hibernation_is_not_offered),
		IC_TEST(a_heart_that_beats_is_ok_and_one_that_stops_is_told),
		IC_TEST(a_guest_that_stands_still_misses_no_beat),
		IC_TEST(the_clock_is_set_first_then_sampled_and_set_after_a_pause),
		IC_TEST(no_time_goes_out_before_its_sample_is_there),
		IC_TEST(before_version_4_the_counter_is_not_there),
		IC_TEST(one_message_at_a_time_is_out_and_all_are_answered),
		IC_TEST(sixteen_may_wait_and_no_more),
		IC_TEST(what_is_not_answered_fails_and_the_next_one_goes_out),
		IC_TEST(a_guest_that_is_paused_is_asked_nothing),
		IC_TEST(the_end_and_a_reset_answer_all_that_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
