/* SPDX-License-Identifier: BSD-2-Clause */
/* Integration services against a guest that follows Linux's hv_utils; what a
 * hostile one does is in hv_ic_hostile.c.
 */
#include <errno.h>

#include "tests/lib/cm.h"
#include "tests/lib/ictest.h"

static struct hv_ic_info info(struct icguest *w)
{
	struct hv_ic_info i;

	hv_ic_get_info(w->ic, &i);
	return i;
}

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

/* ------------------------------------------------------------------ kvp -- */

/* ASCII as the guest has it, with its zero; how many bytes. */
static uint32_t wide(uint8_t *to, const char *text)
{
	uint32_t n = 0;

	do
		set16(to + n, (uint8_t)*text), n += 2;
	while (*text++);
	return n;
}

static void a_value_is_set_as_linux_reads_it(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "k\303\244se"); /* käse */
	strcpy(a.r.value, "\360\237\247\200"); /* one of two units */
	a.r.pool = HV_IC_POOL_EXTERNAL;
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	assert_int_equal(w->m[28], 1);
	assert_int_equal(w->m[29], 0);
	assert_int_equal(at32(w->m + 32), 1);  /* a text */
	assert_int_equal(at32(w->m + 36), 10); /* four units and a zero */
	assert_int_equal(at32(w->m + 40), 6);
	assert_memory_equal(w->m + 44, "k\0\344\0s\0e\0\0\0", 10);
	assert_memory_equal(w->m + 44 + 512, "\076\330\300\335\0\0", 6);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
}

static void a_value_is_read_and_one_that_is_missing_is_told(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "name");
	a.r.pool = HV_IC_POOL_GUEST;
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	assert_int_equal(w->m[28], 0);
	assert_int_equal(w->m[29], 1);
	set32(w->m + 40, wide(w->m + 44 + 512, "value"));
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
	assert_string_equal(a.r.value, "value");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	icguest_answer(w, HV_IC_KVP, 0x80070103);
	assert_int_equal(a.r.result, -ENOENT);
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	icguest_hear(w, HV_IC_KVP);
	assert_int_equal(w->m[28], 2);
	assert_int_equal(at32(w->m + 32), 10);
	assert_memory_equal(w->m + 36, "n\0a\0m\0e\0\0\0", 10);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
}

static void a_pool_is_listed_to_its_end(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	a.r.pool = HV_IC_POOL_AUTO;
	for (a.r.index = 0; a.r.index < 3; a.r.index++) {
		ask(w, &a, HV_IC_OP_KVP_ENUMERATE);
		icguest_hear(w, HV_IC_KVP);
		assert_int_equal(w->m[28], 3);
		assert_int_equal(w->m[29], 2);
		assert_int_equal(at32(w->m + 32), a.r.index);
		set32(w->m + 36, 1);
		set32(w->m + 40, wide(w->m + 48, "OSName"));
		set32(w->m + 44, wide(w->m + 48 + 512, "Debian"));
		icguest_answer(w, HV_IC_KVP,
			       a.r.index == 2 ? 0x80070103 : 0);
		if (a.r.index == 2)
			break;
		assert_int_equal(a.r.result, 0);
		assert_string_equal(a.r.key, "OSName");
		assert_string_equal(a.r.value, "Debian");
	}
	assert_int_equal(a.r.result, -ENOENT);
}

static void numbers_are_shown_as_numbers(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "n");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	set32(w->m + 32, 4);
	set64(w->m + 44 + 512, UINT64_MAX);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_string_equal(a.r.value, "4294967295");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	set32(w->m + 32, 8);
	set64(w->m + 44 + 512, UINT64_MAX);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_string_equal(a.r.value, "18446744073709551615");
}

static void texts_have_their_limits(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	a.r.pool = HV_IC_POOL_EXTERNAL;
	memset(a.r.key, 'k', 256);
	a.r.key[255] = '\0';
	memset(a.r.value, 'v', 1024);
	a.r.value[1023] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	assert_int_equal(at32(w->m + 36), 512);
	assert_int_equal(at32(w->m + 40), 2048);
	icguest_answer(w, HV_IC_KVP, 0);
	a.r.value[1023] = 'v';
	a.r.value[1024] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(a.r.result, -EINVAL);
	a.r.value[0] = '\0';
	a.r.key[255] = 'k';
	a.r.key[256] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(a.r.result, -EINVAL);
	a.r.key[0] = '\0';
	ask(w, &a, HV_IC_OP_KVP_GET);
	assert_int_equal(a.r.result, -EINVAL);
	strcpy(a.r.key, "\355\240\200"); /* half a pair */
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	assert_int_equal(a.r.result, -EINVAL);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), -1);
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

/* ------------------------------------------------------------------ vss -- */

/* The next operation that the guest is asked for, answered so. */
static int heard_vss(struct icguest *w, uint32_t status)
{
	int op;

	if (icguest_hear(w, HV_IC_VSS) != 5)
		return -1;
	op = w->m[28];
	icguest_answer(w, HV_IC_VSS, status);
	return op;
}

/* Begun in a guest that has its driver. */
static void freeze(struct icguest *w, struct answered *a, uint32_t limit_s)
{
	icguest_ready(w, HV_IC_VSS);
	a->r.limit_s = limit_s;
	ask(w, a, HV_IC_OP_FREEZE);
}

static void a_pause_takes_nothing_from_a_freeze(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	freeze(w, &a, 0);
	assert_int_equal(heard_vss(w, 0), 2);
	(void)icguest_pass(w, 10000); /* of 120 s for its answer */
	hv_ic_paused(w->ic, true);
	(void)icguest_pass(w, 3600000);
	hv_ic_paused(w->ic, false);
	(void)icguest_pass(w, 109999);
	assert_int_equal(a.times, 0);
	assert_int_equal(heard_vss(w, 0), 5);
	assert_int_equal(a.r.result, 0);
	/* nor, once it is frozen, of the time until it is thawed */
	(void)icguest_pass(w, 20000);
	hv_ic_paused(w->ic, true);
	(void)icguest_pass(w, 3600000);
	assert_int_equal(info(w).frozen_left_ms, 40000);
	hv_ic_paused(w->ic, false);
	assert_int_equal(info(w).frozen_left_ms, 40000);
	(void)icguest_pass(w, 39999);
	assert_int_equal(heard_vss(w, 0), -1);
	(void)icguest_pass(w, 1);
	assert_int_equal(heard_vss(w, 0), 6);
	assert_false(info(w).frozen);
}

static void a_guest_is_asked_whether_it_can_then_frozen_then_thawed(
	void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	freeze(w, &a, 0);
	assert_int_equal(heard_vss(w, 0), 2);
	assert_int_equal(a.times, 0);
	assert_int_equal(heard_vss(w, 0), 5);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.r.result, 0);
	assert_true(info(w).frozen);
	assert_int_equal(info(w).frozen_left_ms, 60000);
	ask(w, &a, HV_IC_OP_FREEZE);
	assert_int_equal(a.r.result, -EBUSY);
	ask(w, &a, HV_IC_OP_THAW);
	assert_int_equal(heard_vss(w, 0), 6);
	assert_int_equal(a.r.result, 0);
	assert_false(info(w).frozen);
	ask(w, &a, HV_IC_OP_THAW);
	assert_int_equal(a.r.result, -EALREADY);
	assert_int_equal(heard_vss(w, 0), -1);
}

static void a_freeze_ends_by_itself(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	freeze(w, &a, 5);
	heard_vss(w, 0);
	heard_vss(w, 0);
	(void)icguest_pass(w, 4999);
	assert_int_equal(heard_vss(w, 0), -1);
	(void)icguest_pass(w, 1);
	assert_int_equal(heard_vss(w, 0), 6);
	assert_false(info(w).frozen);
	ask(w, &a, HV_IC_OP_THAW);
	assert_int_equal(a.r.result, -EALREADY);
	/* and however long is asked for, as long as a guest allows */
	a.r.limit_s = UINT32_MAX;
	ask(w, &a, HV_IC_OP_FREEZE);
	heard_vss(w, 0);
	heard_vss(w, 0);
	assert_int_equal(info(w).frozen_left_ms, 900000);
}

static void a_guest_that_cannot_freeze_says_so(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_VSS);
	ask(w, &a, HV_IC_OP_FREEZE);
	assert_int_equal(heard_vss(w, 0x80004005), 2);
	assert_int_equal(a.r.result, -EREMOTEIO);
	assert_false(info(w).frozen);
	ask(w, &a, HV_IC_OP_FREEZE);
	assert_int_equal(heard_vss(w, 0), 2);
	assert_int_equal(heard_vss(w, 0x80004005), 5);
	assert_int_equal(a.r.result, -EREMOTEIO);
	assert_false(info(w).frozen);
	assert_int_equal(heard_vss(w, 0), -1);
}

/* It may be frozen all the same, a moment later. */
static void a_freeze_that_is_not_answered_is_followed_by_a_thaw(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_VSS);
	ask(w, &a, HV_IC_OP_FREEZE);
	heard_vss(w, 0);
	assert_int_equal(icguest_hear(w, HV_IC_VSS), 5);
	(void)icguest_pass(w, 120000);
	assert_int_equal(a.r.result, -ETIMEDOUT);
	assert_true(info(w).frozen);
	icguest_answer(w, HV_IC_VSS, 0); /* late */
	assert_int_equal(heard_vss(w, 0), 6);
	assert_false(info(w).frozen);
}

static void a_thaw_that_finds_no_room_comes_again(void **state)
{
	enum { WAITING = 16 }; /* as many as wait at most */
	static struct answered a, more[WAITING];
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_VSS);
	ask(w, &a, HV_IC_OP_FREEZE);
	heard_vss(w, 0);
	assert_int_equal(icguest_hear(w, HV_IC_VSS), 5);
	for (unsigned i = 0; i < WAITING; i++)
		ask(w, &more[i], HV_IC_OP_FREEZE);
	(void)icguest_pass(w, 120000);
	assert_int_equal(a.r.result, -ETIMEDOUT);
	for (unsigned i = 0; i < WAITING; i++)
		assert_int_equal(more[i].r.result, -EBUSY);
	assert_true(info(w).frozen);
	assert_int_equal(heard_vss(w, 0), -1);
	(void)icguest_pass(w, 1000);
	assert_int_equal(heard_vss(w, 0), 6);
	assert_false(info(w).frozen);
}

static void a_guest_that_goes_is_frozen_no_more(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_VSS);
	ask(w, &a, HV_IC_OP_FREEZE);
	heard_vss(w, 0);
	heard_vss(w, 0);
	icguest_close(w, HV_IC_VSS);
	assert_false(info(w).frozen);
	icguest_ready(w, HV_IC_VSS);
	(void)icguest_pass(w, 1000000);
	assert_int_equal(heard_vss(w, 0), -1);
	ask(w, &a, HV_IC_OP_FREEZE);
	assert_int_equal(heard_vss(w, 0), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_message_offers_frameworks_and_versions),
		T(every_version_that_linux_knows_is_agreed_on),
		T(a_service_is_not_there_until_its_driver_is),
		T(a_driver_that_comes_again_is_greeted_again),
		T(each_way_to_end_has_its_flags),
		T(hibernation_is_not_offered),
		T(a_heart_that_beats_is_ok_and_one_that_stops_is_told),
		T(a_guest_that_stands_still_misses_no_beat),
		T(the_clock_is_set_first_then_sampled_and_set_after_a_pause),
		T(no_time_goes_out_before_its_sample_is_there),
		T(before_version_4_the_counter_is_not_there),
		T(a_value_is_set_as_linux_reads_it),
		T(a_value_is_read_and_one_that_is_missing_is_told),
		T(a_pool_is_listed_to_its_end),
		T(numbers_are_shown_as_numbers),
		T(texts_have_their_limits),
		T(one_message_at_a_time_is_out_and_all_are_answered),
		T(sixteen_may_wait_and_no_more),
		T(what_is_not_answered_fails_and_the_next_one_goes_out),
		T(a_guest_that_is_paused_is_asked_nothing),
		T(a_pause_takes_nothing_from_a_freeze),
		T(the_end_and_a_reset_answer_all_that_waits),
		T(a_guest_is_asked_whether_it_can_then_frozen_then_thawed),
		T(a_freeze_ends_by_itself),
		T(a_guest_that_cannot_freeze_says_so),
		T(a_freeze_that_is_not_answered_is_followed_by_a_thaw),
		T(a_thaw_that_finds_no_room_comes_again),
		T(a_guest_that_goes_is_frozen_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
