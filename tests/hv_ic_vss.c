/* SPDX-License-Identifier: BSD-2-Clause */
/* The integration services: a guest's file systems frozen and thawed again,
 * whatever becomes of who asked and of the guest.
 */
#include <errno.h>

#include "tests/lib/cm.h"
#include "tests/lib/ictest.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		IC_TEST(a_pause_takes_nothing_from_a_freeze),
		IC_TEST(a_guest_is_asked_whether_it_can_then_frozen_then_thawed),
		IC_TEST(a_freeze_ends_by_itself),
		IC_TEST(a_guest_that_cannot_freeze_says_so),
		IC_TEST(a_freeze_that_is_not_answered_is_followed_by_a_thaw),
		IC_TEST(a_thaw_that_finds_no_room_comes_again),
		IC_TEST(a_guest_that_goes_is_frozen_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
