/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest may send to an integration service and what comes of it: it
 * breaks its own service at the worst. See tests/proof/hostile.tsv.
 */
#include <errno.h>
#include <poll.h>

#include "tests/lib/cm.h"
#include "tests/lib/ictest.h"

static enum hv_ic_state state_of(struct icguest *w, enum hv_ic_service s)
{
	struct hv_ic_info i;

	hv_ic_get_info(w->ic, &i);
	return i.service[s].state;
}

/* A message that a key is read with waits for its answer. */
static void get(struct icguest *w, struct answered *a)
{
	strcpy(a->r.key, "k");
	ask(w, a, HV_IC_OP_KVP_GET);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	set32(w->m + 40, 2);
	w->m[25] = 1 | 4;
}

/* The channel goes on as if nothing had been. */
static void still_serves(struct icguest *w, struct answered *a)
{
	if (a->times == 0) {
		set32(w->m + 20, 0);
		icguest_send(w, HV_IC_KVP);
	}
	assert_int_equal(a->times, 1);
	get(w, a);
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a->times, 1);
	assert_int_equal(a->r.result, 0);
	assert_string_equal(a->r.value, "");
}

static void misshapen_answers_are_dropped(void **state)
{
	static const struct {
		const char *what;
		uint32_t off, bytes;
		uint32_t value;
	} rows[] = {
		{"pipe type", 0, 4, 2},
		{"pipe length beyond the packet", 4, 4, 0x7fffffff},
		{"pipe length that wraps", 4, 4, 0xffffffff},
		{"of another service", 12, 2, 5},
		{"a negotiation", 12, 2, 0},
		{"an unknown service", 12, 2, 99},
		{"another transaction", 24, 1, 99},
		{"no answer", 25, 1, 1},
		{"a request", 25, 1, 1 | 2 | 4},
		{"a request and nothing else", 25, 1, 3},
	};
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t was[4];

		get(w, &a);
		memcpy(was, w->m + rows[i].off, 4);
		memcpy(w->m + rows[i].off, &rows[i].value, rows[i].bytes);
		icguest_send(w, HV_IC_KVP);
		if (a.times)
			fail_msg("%s", rows[i].what);
		memcpy(w->m + rows[i].off, was, 4);
		still_serves(w, &a);
	}
}

static void answers_of_every_length_are_judged(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (uint32_t len = 0; len < 2624; len += 8) {
		uint32_t whole;

		get(w, &a);
		whole = w->len;
		w->len = len;
		set32(w->m + 4, len < 8 ? 0 : len - 8);
		icguest_send(w, HV_IC_KVP);
		/* a whole header is an answer; without all of a value, a bad
		 * one
		 */
		assert_int_equal(a.times, len >= 28);
		if (a.times)
			assert_int_equal(a.r.result,
					 len < 28 + 2576 ? -EREMOTEIO : 0);
		w->len = whole;
		set32(w->m + 4, whole - 8);
		still_serves(w, &a);
	}
}

static void the_body_is_no_longer_than_header_and_packet_say(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	get(w, &a);
	set16(w->m + 18, 0xffff); /* more than there is */
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.r.result, 0);
	get(w, &a);
	set16(w->m + 18, 2575);
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.r.result, -EREMOTEIO);
}

static void answers_unasked_double_or_late_are_dropped(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	get(w, &a);
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.times, 1);
	icguest_send(w, HV_IC_KVP); /* twice: nobody waits */
	assert_int_equal(a.times, 1);
	{
		uint8_t old[ICGUEST_PACKET];
		uint64_t id = w->id;

		memcpy(old, w->m, sizeof(old));
		get(w, &a);
		/* the last one's, in place of this one's */
		(void)guest_send(w->ch[HV_IC_KVP], 6, 0, id, old, w->len);
		icguest_serve(w);
		assert_int_equal(a.times, 0);
		/* this one's header under the last one's number, and back */
		(void)guest_send(w->ch[HV_IC_KVP], 6, 0, id, w->m, w->len);
		(void)guest_send(w->ch[HV_IC_KVP], 6, 0, w->id, old, w->len);
		/* the same low byte */
		(void)guest_send(w->ch[HV_IC_KVP], 6, 0, w->id + 256, w->m,
				 w->len);
		icguest_serve(w);
		assert_int_equal(a.times, 0);
	}
	(void)icguest_pass(w, 35000);
	assert_int_equal(a.r.result, -ETIMEDOUT);
	a.r.result = 1;
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.r.result, 1); /* untouched */
	still_serves(w, &a);
}

static void packets_of_a_wrong_kind_are_dropped(void **state)
{
	static const uint16_t kinds[] = {0, 1, 2, 5, 7, 8, 10, 12, 0xffff};
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		get(w, &a);
		(void)guest_send(w->ch[HV_IC_KVP], kinds[i], 0, w->id, w->m,
				 w->len);
		icguest_serve(w);
		assert_int_equal(a.times, 0);
		still_serves(w, &a);
	}
	/* a completion is an answer as good as any */
	get(w, &a);
	(void)guest_send(w->ch[HV_IC_KVP], 11, 0, w->id, w->m, w->len);
	icguest_serve(w);
	assert_int_equal(a.times, 1);
}

/* All that is wrong with a text, in a value and in a key. */
static void texts_that_are_none_are_refused(void **state)
{
	static const struct {
		const char *what;
		uint32_t bytes;
		uint16_t unit[4];
	} rows[] = {
		{"odd", 3, {'a', 0}},
		{"nothing, not even a zero", 0, {0}},
		{"no zero in it", 4, {'a', 'b', 0}},
		{"larger than its field", 2050, {'a', 0}},
		{"as large as a number can be", 0xffffffff, {'a', 0}},
		{"large and even", 0xfffffffe, {'a', 0}},
		{"a low half first", 4, {0xdc00, 0}},
		{"a high half alone", 4, {0xd800, 0}},
		{"two high halves", 6, {0xd800, 0xd800, 0}},
		{"a high half at its end", 2, {0xd800}},
	};
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool key = i % 2;
		unsigned row = (unsigned)i / 2;
		uint8_t *at;

		memset(&a, 0, sizeof(a));
		ask(w, &a, HV_IC_OP_KVP_ENUMERATE);
		icguest_hear(w, HV_IC_KVP);
		set32(w->m + 36, 1);
		set32(w->m + 40, key ? rows[row].bytes : 2);
		set32(w->m + 44, key ? 2 : rows[row].bytes);
		memset(w->m + 48, 0, 512 + 2048);
		at = w->m + 48 + (key ? 0 : 512);
		for (unsigned u = 0; u < 4; u++)
			set16(at + 2 * u, rows[row].unit[u]);
		icguest_answer(w, HV_IC_KVP, 0);
		assert_int_equal(a.times, 1);
		if (a.r.result != -EREMOTEIO)
			fail_msg("%s %s", key ? "key" : "value",
				 rows[row].what);
	}
}

static void the_longest_texts_fit(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	ask(w, &a, HV_IC_OP_KVP_ENUMERATE);
	icguest_hear(w, HV_IC_KVP);
	set32(w->m + 36, 1);
	set32(w->m + 40, 512);
	set32(w->m + 44, 2048);
	for (unsigned u = 0; u < 256 + 1024; u++)
		set16(w->m + 48 + 2 * u, u == 255 || u == 1279 ? 0 : 0xffee);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
	assert_int_equal(strlen(a.r.key), 3 * 255);
	assert_int_equal(strlen(a.r.value), 3 * 1023);
}

static void values_of_unknown_types_are_refused(void **state)
{
	static const uint32_t types[] = {0, 2, 3, 5, 7, 9, 0xffffffff};
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		get(w, &a);
		set32(w->m + 32, types[i]);
		icguest_send(w, HV_IC_KVP);
		assert_int_equal(a.r.result, -EREMOTEIO);
	}
}

static void negotiations_that_make_no_sense_end_the_service(void **state)
{
	static const struct {
		uint16_t frameworks, messages;
		uint32_t len;
		uint32_t status;
	} rows[] = {
		{2, 3, 44, 0}, {0, 1, 44, 0},	  {1, 0, 44, 0},
		{1, 1, 43, 0}, {0xffff, 1, 44, 0}, {1, 0xffff, 44, 0},
		{1, 1, 28, 0}, {1, 1, 44, 0x80004005},
	};
	struct icguest *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		icguest_open(w, HV_IC_KVP);
		icguest_hear(w, HV_IC_KVP);
		set16(w->m + 28, rows[i].frameworks);
		set16(w->m + 30, rows[i].messages);
		set16(w->m + 36, 3);
		set16(w->m + 38, 0);
		set16(w->m + 40, 4);
		set16(w->m + 42, 0);
		set16(w->m + 18, (uint16_t)(rows[i].len - 28));
		icguest_answer(w, HV_IC_KVP, rows[i].status);
		if (state_of(w, HV_IC_KVP) != HV_IC_UNSUITABLE)
			fail_msg("row %zu", i);
		/* it stays so, whatever comes */
		icguest_agree(w, HV_IC_KVP, 0x30000, 0x40000);
		assert_int_equal(state_of(w, HV_IC_KVP), HV_IC_UNSUITABLE);
		icguest_close(w, HV_IC_KVP);
	}
}

static void answers_before_any_message_agree_on_nothing(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_open(w, HV_IC_KVP);
	icguest_hear(w, HV_IC_KVP);
	w->id++; /* of another message than the one that waits */
	icguest_agree(w, HV_IC_KVP, 0x30000, 0x40000);
	assert_int_equal(state_of(w, HV_IC_KVP), HV_IC_NEGOTIATING);
	w->id--;
	icguest_agree(w, HV_IC_KVP, 0x30000, 0x40000);
	assert_int_equal(state_of(w, HV_IC_KVP), HV_IC_READY);
	/* again: it is agreed on already */
	icguest_agree(w, HV_IC_KVP, 0x30000, 0x30000);
	get(w, &a);
	assert_int_equal(at16(w->m + 14), 4);
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.r.result, 0);
}

static bool readable(struct icguest *w, enum hv_ic_service s)
{
	struct pollfd p = {.fd = hv_ic_fd(w->ic, s), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void a_flood_is_served_in_parts_and_told_once(void **state)
{
	static struct answered a;
	struct icguest *w = *state;
	unsigned sent = 0, wakes = 0, lines;

	icguest_ready(w, HV_IC_KVP);
	lines = w->lines;
	get(w, &a);
	while (guest_send(w->ch[HV_IC_KVP], 6, 0, 0, w->m, 40) == 0)
		sent++;
	assert_true(sent > 100);
	guest_service(w->g);
	while (readable(w, HV_IC_KVP)) {
		hv_ic_serve(w->ic, HV_IC_KVP);
		wakes++;
		assert_true(wakes <= sent);
	}
	/* sixteen at a time */
	assert_in_range(wakes, sent / 16, sent / 16 + 2);
	assert_int_equal(w->lines, lines + 1);
	w->now_ms += 9999;
	(void)guest_send(w->ch[HV_IC_KVP], 6, 0, 0, w->m, 40);
	icguest_serve(w);
	assert_int_equal(w->lines, lines + 1);
	w->now_ms += 1;
	(void)guest_send(w->ch[HV_IC_KVP], 6, 0, 0, w->m, 40);
	icguest_serve(w);
	assert_int_equal(w->lines, lines + 2);
	assert_non_null(strstr(w->line, "left out"));
	still_serves(w, &a);
}

static void packets_too_large_are_skipped(void **state)
{
	static uint8_t large[20000];
	static struct answered a;
	struct icguest *w = *state;
	struct vmbus_guid id = icguest_type(HV_IC_KVP);

	w->ch[HV_IC_KVP] = guest_open(
		w->g, guest_offer_find(w->g, &id, 0, 0),
		&(struct guest_open_opts){.out_pages = 32, .in_pages = 32},
		NULL);
	icguest_serve(w);
	icguest_hear(w, HV_IC_KVP);
	icguest_agree(w, HV_IC_KVP, 0x30000, 0x40000);
	get(w, &a);
	assert_int_equal(guest_send(w->ch[HV_IC_KVP], 6, 0, w->id, large,
				    sizeof(large)),
			 0);
	icguest_serve(w);
	still_serves(w, &a);
}

static void a_broken_ring_ends_the_service_until_it_is_opened_again(
	void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	icguest_ready(w, HV_IC_KVP);
	get(w, &a);
	set32(guest_ptr(w->g, guest_out_ctrl(w->ch[HV_IC_KVP])), 3);
	icguest_serve(w);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.r.result, -ECONNRESET);
	assert_int_equal(state_of(w, HV_IC_KVP), HV_IC_UNSUITABLE);
	ask(w, &a, HV_IC_OP_KVP_GET);
	assert_int_equal(a.r.result, -ENOTCONN);
	icguest_close(w, HV_IC_KVP);
	icguest_ready(w, HV_IC_KVP);
	get(w, &a);
	icguest_send(w, HV_IC_KVP);
	assert_int_equal(a.r.result, 0);
}

/* A guest that reads nothing: its ring fills, and nothing else happens. */
static void a_guest_that_never_reads_fills_its_ring_only(void **state)
{
	static struct answered a;
	struct icguest *w = *state;
	unsigned unsent = 0;

	icguest_ready(w, HV_IC_KVP);
	icguest_ready(w, HV_IC_HEARTBEAT);
	for (unsigned i = 0; i < 12; i++) {
		strcpy(a.r.key, "k");
		ask(w, &a, HV_IC_OP_KVP_GET);
		if (a.times && a.r.result == -EAGAIN)
			unsent++;
		else
			(void)icguest_pass(w, 35000);
		assert_int_equal(a.times, 1);
	}
	assert_in_range(unsent, 5, 9);
	for (unsigned i = 0; i < 1000; i++)
		(void)icguest_pass(w, 2000);
	/* read at last: it is served again */
	while (icguest_hear(w, HV_IC_KVP) == 2)
		;
	still_serves(w, (get(w, &a), &a));
}

static void beats_that_are_cut_short_do_not_count(void **state)
{
	struct icguest *w = *state;
	struct hv_ic_info i;

	icguest_ready(w, HV_IC_HEARTBEAT);
	(void)icguest_pass(w, 0);
	icguest_hear(w, HV_IC_HEARTBEAT);
	set16(w->m + 18, 11);
	icguest_answer(w, HV_IC_HEARTBEAT, 0);
	hv_ic_get_info(w->ic, &i);
	assert_false(i.heard);
	(void)icguest_pass(w, 2000);
	icguest_hear(w, HV_IC_HEARTBEAT);
	set32(w->m + 36, 0xffffffff);
	icguest_answer(w, HV_IC_HEARTBEAT, 0x80004005);
	hv_ic_get_info(w->ic, &i);
	assert_true(i.heard);
	assert_int_equal(i.application, 0xffffffff);
}

/* Opened and shut at any moment, with a request under way. */
static void channels_opened_and_shut_at_any_moment_answer_all(void **state)
{
	static struct answered a;
	struct icguest *w = *state;

	for (unsigned step = 0; step < 5; step++) {
		memset(&a, 0, sizeof(a));
		icguest_open(w, HV_IC_VSS);
		if (step > 0)
			icguest_hear(w, HV_IC_VSS);
		if (step > 1)
			icguest_agree(w, HV_IC_VSS, 0x30000, 0x50000);
		ask(w, &a, HV_IC_OP_FREEZE);
		for (unsigned i = 3; i <= step; i++) {
			assert_int_equal(icguest_hear(w, HV_IC_VSS), 5);
			icguest_answer(w, HV_IC_VSS, 0);
		}
		icguest_close(w, HV_IC_VSS);
		assert_int_equal(a.times, 1);
		assert_int_equal(a.r.result, step < 2	? -ENOTCONN
					     : step < 4 ? -ECONNRESET
							: 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IC_TEST(misshapen_answers_are_dropped),
		IC_TEST(answers_of_every_length_are_judged),
		IC_TEST(the_body_is_no_longer_than_header_and_packet_say),
		IC_TEST(answers_unasked_double_or_late_are_dropped),
		IC_TEST(packets_of_a_wrong_kind_are_dropped),
		IC_TEST(texts_that_are_none_are_refused),
		IC_TEST(the_longest_texts_fit),
		IC_TEST(values_of_unknown_types_are_refused),
		IC_TEST(negotiations_that_make_no_sense_end_the_service),
		IC_TEST(answers_before_any_message_agree_on_nothing),
		IC_TEST(a_flood_is_served_in_parts_and_told_once),
		IC_TEST(packets_too_large_are_skipped),
		IC_TEST(a_broken_ring_ends_the_service_until_it_is_opened_again),
		IC_TEST(a_guest_that_never_reads_fills_its_ring_only),
		IC_TEST(beats_that_are_cut_short_do_not_count),
		IC_TEST(channels_opened_and_shut_at_any_moment_answer_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
