/* SPDX-License-Identifier: BSD-2-Clause */
/* The queues: what HvPostMessage answers, floods, busy and absent slots,
 * unknown messages, the limit on log lines.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/guest.h"

static int setup(void **state)
{
	*state = guest_create(&(struct guest_opts){.vps = 2});
	return 0;
}

static int teardown(void **state)
{
	guest_destroy(*state);
	return 0;
}

static void contact(uint8_t *m)
{
	memset(m, 0, 240);
	set32(m, 14);
	set32(m + 8, GUEST_VERSION_5_3);
	m[16] = 2;
}

/* A message that is answered each time: teardown of an unknown handle. */
static void question(uint8_t *m, uint32_t handle)
{
	memset(m, 0, 240);
	set32(m, 11);
	set32(m + 8, 1);
	set32(m + 12, handle);
}

static void post_message_judges_id_type_and_length(void **state)
{
	struct vmbus *bus = guest_bus(*state);
	uint8_t m[256] = {0};

	assert_int_equal(vmbus_post_message(bus, 1, 1, m, 240), 0);
	assert_int_equal(vmbus_post_message(bus, 4, 1, m, 0), 0);
	assert_int_equal(vmbus_post_message(bus, 4, 1, m, 241), 5);
	assert_int_equal(vmbus_post_message(bus, 4, 1, m, SIZE_MAX), 5);
	assert_int_equal(vmbus_post_message(bus, 4, 0, m, 8), 5);
	assert_int_equal(vmbus_post_message(bus, 4, 0x80000001, m, 8), 5);
	assert_int_equal(vmbus_post_message(bus, 4, 0x80000010, m, 8), 5);
	assert_int_equal(vmbus_post_message(bus, 0, 1, m, 8), 0x12);
	assert_int_equal(vmbus_post_message(bus, 2, 1, m, 8), 0x12);
	assert_int_equal(vmbus_post_message(bus, 0x2001, 1, m, 8), 0x12);
	assert_int_equal(vmbus_post_message(bus, 0x1000001, 1, m, 8), 0x12);
}

static void sixty_four_messages_wait_and_a_65th_is_told_to(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];

	guest_start(g);
	for (uint32_t i = 0; i < 64; i++) {
		question(m, i);
		assert_int_equal(guest_say(g, m, 16), 0);
	}
	question(m, 64);
	assert_int_equal(guest_say(g, m, 16), VMBUS_HV_INSUFFICIENT_BUFFERS);
	/* all are answered, in order */
	for (uint32_t i = 0; i < 64; i++) {
		assert_int_equal(guest_hear(g, a, NULL), 12);
		assert_int_equal(at32(a + 8), i);
	}
	assert_int_equal(guest_hear(g, a, NULL), 0);
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_hear(g, a, NULL), 12);
}

static void a_deaf_guest_is_not_heard_for_ever(void **state)
{
	struct guest *g = *state;
	uint32_t posted = 0;
	uint8_t m[240], a[240];

	guest_start(g);
	guest_deafen(g, true);
	for (; posted < 1000; posted++) {
		question(m, posted);
		if (guest_say(g, m, 16) != 0)
			break;
		guest_service(g);
	}
	/* one in the slot, 64 answers waiting, 64 questions waiting */
	assert_int_equal(posted, 129);
	guest_deafen(g, false);
	for (uint32_t i = 0; i < posted; i++) {
		assert_int_equal(guest_hear(g, a, NULL), 12);
		assert_int_equal(at32(a + 8), i);
	}
	assert_int_equal(guest_hear(g, a, NULL), 0);
}

static void contact_gets_through_to_a_bus_that_is_stuck(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];
	uint32_t vp = 99;

	guest_start(g);
	guest_deafen(g, true);
	question(m, 0);
	while (guest_say(g, m, 16) == 0)
		guest_service(g);
	/* the crashed kernel never reads VP 0 again; the new one is on VP 1 */
	contact(m);
	set32(m + 12, 1);
	assert_int_equal(guest_post(g, 4, m, 40), 0);
	guest_service(g);
	guest_deafen(g, false);
	assert_int_equal(guest_hear(g, a, &vp), 12); /* stale, in VP 0's slot */
	assert_int_equal(vp, 0);
	assert_int_equal(guest_hear(g, a, &vp), 16);
	assert_int_equal(vp, 1);
	assert_int_equal(a[8], 1);
	assert_int_equal(guest_hear(g, a, &vp), 0);
}

static void contact_behind_other_messages_gets_through_as_well(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];
	uint32_t vp = 99;

	guest_start(g);
	guest_deafen(g, true);
	for (uint32_t i = 0; i < 65; i++) { /* slot and answers are full */
		question(m, i);
		assert_int_equal(guest_say(g, m, 16), 0);
		guest_service(g);
	}
	question(m, 65);
	assert_int_equal(guest_say(g, m, 16), 0);
	contact(m);
	set32(m + 12, 1);
	assert_int_equal(guest_post(g, 4, m, 40), 0);
	for (uint32_t i = 66; i < 70; i++) {
		question(m, i);
		assert_int_equal(guest_say(g, m, 16), 0);
	}
	guest_service(g);
	guest_deafen(g, false);
	assert_int_equal(guest_hear(g, a, &vp), 12);
	assert_int_equal(at32(a + 8), 0);
	assert_int_equal(guest_hear(g, a, &vp), 16);
	for (uint32_t i = 66; i < 70; i++) { /* 65 was before the contact */
		assert_int_equal(guest_hear(g, a, &vp), 12);
		assert_int_equal(at32(a + 8), i);
		assert_int_equal(vp, 1);
	}
}

static void a_busy_slot_is_tried_again_within_10_ms(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];

	guest_start(g);
	guest_deafen(g, true);
	question(m, 1);
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_service(g), -1); /* one fits the slot */
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_service(g), 10);
	guest_deafen(g, false);
	assert_int_equal(guest_hear(g, a, NULL), 12);
	assert_int_equal(guest_service(g), -1);
	assert_int_equal(guest_hear(g, a, NULL), 12);
}

static void messages_for_an_absent_synic_are_dropped(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];

	guest_start(g);
	guest_vp_off(g, 0, true);
	for (uint32_t i = 0; i < 200; i++) {
		question(m, i);
		assert_int_equal(guest_say(g, m, 16), 0);
		assert_int_equal(guest_service(g), -1);
	}
	guest_vp_off(g, 0, false);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	question(m, 7);
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_hear(g, a, NULL), 12);
}

static void host_messages_and_unknown_ones_are_dropped(void **state)
{
	static const uint32_t ours[] = {
		0,  1,	2,  4,	6,  10, 12, 15, 17, 18,		19,
		20, 23, 24, 25, 26, 27, 28, 29, 30, 0x7FFFFFFF, 0xFFFFFFFF};
	struct guest *g = *state;
	uint8_t m[240] = {0}, a[240];

	guest_start(g);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		unsigned lines = guest_log_lines(g);

		set32(m, ours[i]);
		assert_int_equal(guest_say(g, m, 240), 0);
		if (guest_hear(g, a, NULL) != 0)
			fail_msg("message %u was answered", ours[i]);
		assert_int_equal(guest_log_lines(g), lines + 1);
	}
	for (size_t len = 0; len < 8; len++) {
		set32(m, 3);
		assert_int_equal(guest_say(g, m, len), 0);
		assert_int_equal(guest_hear(g, a, NULL), 0);
	}
	assert_int_not_equal(vmbus_version(guest_bus(g)), 0);
}

/* A byte less than a message has is no such message. */
static void messages_a_byte_too_short_are_dropped(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];

	guest_start(g);
	question(m, 7);
	assert_int_equal(guest_say(g, m, 15), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_hear(g, a, NULL), 12);
}

static void a_flood_costs_few_log_lines(void **state)
{
	struct guest *g = *state;
	uint8_t m[8] = {99};
	unsigned lines;

	for (unsigned i = 0; i < 10000; i++) {
		assert_int_equal(guest_post(g, 4, m, 8), 0);
		vmbus_service(guest_bus(g));
	}
	lines = guest_log_lines(g);
	assert_int_equal(lines, 64);
	guest_advance(g, 1000);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(guest_post(g, 4, m, 8), 0);
		vmbus_service(guest_bus(g));
	}
	assert_int_equal(guest_log_lines(g), lines + 8);
	/* what was left out is counted */
	guest_advance(g, 125);
	assert_int_equal(guest_post(g, 4, m, 8), 0);
	vmbus_service(guest_bus(g));
	assert_non_null(strstr(guest_log_last(g), "92 lines"));
}

static void many_offers_do_not_keep_answers_waiting(void **state)
{
	struct guest *g = *state;
	struct fakedev dev[200];
	unsigned before = 0;
	uint8_t m[240] = {3}, a[240];

	memset(dev, 0, sizeof(dev));
	for (unsigned i = 0; i < 200; i++)
		fakedev_add(&dev[i], guest_bus(g), (uint8_t)i);
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_say(g, m, 8), 0);
	guest_service(g);
	question(m, 5);
	assert_int_equal(guest_say(g, m, 16), 0);
	while (guest_hear(g, a, NULL) == 196)
		before++;
	assert_int_equal(at32(a), 12);
	assert_in_range(before, 1, 40);
	for (; before < 200; before++)
		assert_int_equal(guest_hear(g, a, NULL), 196);
	assert_int_equal(guest_hear(g, a, NULL), 8);
}

static void bus_without_log_works(void **state)
{
	struct hv_mem *mem = NULL;
	struct vmbus *bus = NULL;
	struct vmbus_opts opts = {0};
	uint8_t m[8] = {99};

	(void)state;
	assert_int_equal(hv_mem_create(&mem), 0);
	opts.mem = mem;
	assert_int_equal(vmbus_create(&opts, &bus, NULL), 0);
	assert_int_equal(vmbus_post_message(bus, 4, 1, m, 8), 0);
	assert_int_equal(vmbus_service(bus), -1);
	vmbus_destroy(bus);
	hv_mem_destroy(mem);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(post_message_judges_id_type_and_length),
		T(sixty_four_messages_wait_and_a_65th_is_told_to),
		T(a_deaf_guest_is_not_heard_for_ever),
		T(contact_gets_through_to_a_bus_that_is_stuck),
		T(contact_behind_other_messages_gets_through_as_well),
		T(a_busy_slot_is_tried_again_within_10_ms),
		T(messages_for_an_absent_synic_are_dropped),
		T(host_messages_and_unknown_ones_are_dropped),
		T(messages_a_byte_too_short_are_dropped),
		T(a_flood_costs_few_log_lines),
		T(many_offers_do_not_keep_answers_waiting),
		T(bus_without_log_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
