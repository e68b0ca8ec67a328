/* SPDX-License-Identifier: BSD-2-Clause */
/* INITIATE_CONTACT in every version and state, UNLOAD, reset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/guest.h"

#define V(major, minor) ((uint32_t)(major) << 16 | (minor))

static int setup(void **state)
{
	*state = guest_create(&(struct guest_opts){.vps = 4});
	return 0;
}

static int teardown(void **state)
{
	guest_destroy(*state);
	return 0;
}

/* A correct INITIATE_CONTACT, to be spoilt. */
static void contact(uint8_t *m, uint32_t version)
{
	memset(m, 0, 240);
	set32(m, 14);
	set32(m + 8, version);
	if (version >= V(5, 0))
		m[16] = 2;
}

/* Post it and take the answer apart; -1: none. */
static int say(struct guest *g, uint32_t conn, const uint8_t *m, size_t len,
	       uint32_t *vp, uint8_t *answer)
{
	assert_int_equal(guest_post(g, conn, m, len), VMBUS_HV_SUCCESS);
	memset(answer, 0xEE, 240);
	if (guest_hear(g, answer, vp) == 0)
		return -1;
	assert_int_equal(at32(answer), 15);
	return answer[8];
}

static void versions_from_2_4_to_5_3_connect_on_their_connection_id(void **st)
{
	static const struct {
		uint32_t version;
		int conn1, conn4;
	} rows[] = {
		{V(2, 4), 1, 0}, {V(3, 0), 1, 0},    {V(4, 0), 1, 0},
		{V(4, 1), 1, 0}, {V(5, 0), 0, 1},    {V(5, 1), 0, 1},
		{V(5, 2), 0, 1}, {V(5, 3), 0, 1},    {V(0, 13), 0, 0},
		{V(1, 1), 0, 0}, {V(2, 3), 0, 0},    {V(3, 1), 0, 0},
		{V(4, 2), 0, 0}, {V(5, 4), 0, 0},    {V(6, 0), 0, 0},
		{0, 0, 0},	 {0xFFFFFFFF, 0, 0},
	};
	struct guest *g = *st;
	uint8_t m[240], a[240];
	uint32_t vp;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		contact(m, rows[i].version);
		if (say(g, 1, m, 40, &vp, a) != rows[i].conn1)
			fail_msg("version 0x%x on 1", rows[i].version);
		assert_int_equal(vmbus_version(guest_bus(g)),
				 rows[i].conn1 ? rows[i].version : 0);
		if (say(g, 4, m, 40, &vp, a) != rows[i].conn4)
			fail_msg("version 0x%x on 4", rows[i].version);
		assert_int_equal(vmbus_version(guest_bus(g)),
				 rows[i].conn4 ? rows[i].version : 0);
	}
}

static void version_response_has_16_bytes_in_this_layout(void **state)
{
	static const uint8_t old[16] = {15, 0, 0, 0, 0, 0, 0, 0,
					1,  0, 0, 0, 1, 0, 4, 0};
	static const uint8_t new[16] = {15, 0, 0, 0, 0, 0, 0, 0,
					1,  0, 0, 0, 1, 0, 0, 0};
	static const uint8_t refused[16] = {15, 0, 0, 0, 0, 0, 0, 0,
					    0,	0, 0, 0, 0, 0, 0, 0};
	struct guest *g = *state;
	uint8_t m[240], a[240];

	contact(m, V(4, 1));
	assert_int_equal(guest_post(g, 1, m, 40), 0);
	assert_int_equal(guest_hear(g, a, NULL), 16);
	assert_memory_equal(a, old, 16); /* the version itself */
	contact(m, V(5, 3));
	assert_int_equal(guest_post(g, 4, m, 40), 0);
	assert_int_equal(guest_hear(g, a, NULL), 16);
	assert_memory_equal(a, new, 16); /* the connection id to go on with */
	contact(m, V(6, 0));
	assert_int_equal(guest_post(g, 4, m, 40), 0);
	assert_int_equal(guest_hear(g, a, NULL), 16);
	assert_memory_equal(a, refused, 16);
}

static void a_linux_guest_finds_the_newest_version_downwards(void **state)
{
	static const uint32_t tries[] = {V(5, 3), V(5, 2), V(5, 1), V(5, 0),
					 V(4, 1), V(4, 0), V(3, 0), V(2, 4)};
	struct guest *g;
	(void)state;

	/* each limit is found by walking down from the top */
	for (size_t limit = 0; limit < 8; limit++) {
		size_t i = 0;

		g = guest_create(
			&(struct guest_opts){.max_version = tries[limit]});
		while (i < 8 && guest_connect(g, tries[i]) == 0)
			i++;
		assert_int_equal(i, limit);
		guest_destroy(g);
	}
}

static void a_bus_limit_that_is_no_version_is_refused(void **state)
{
	struct vmbus_opts opts = {.max_version = V(6, 0)};
	struct vmbus *bus = NULL;
	struct vhd_err err = {0};

	(void)state;
	assert_int_equal(vmbus_create(&opts, &bus, &err), -EINVAL);
	assert_int_equal(err.why, VHD_WHY_ARGUMENT);
	assert_null(bus);
}

static void answers_go_to_the_vp_the_guest_names(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];
	uint32_t vp = 99;

	contact(m, V(5, 3));
	set32(m + 12, 3);
	assert_int_equal(say(g, 4, m, 40, &vp, a), 1);
	assert_int_equal(vp, 3);
	/* also when refused */
	contact(m, V(6, 0));
	set32(m + 12, 2);
	assert_int_equal(say(g, 4, m, 40, &vp, a), 0);
	assert_int_equal(vp, 2);
	/* one that is not there is told so at VP 0 */
	contact(m, V(5, 3));
	set32(m + 12, 4);
	assert_int_equal(say(g, 4, m, 40, &vp, a), 0);
	assert_int_equal(vp, 0);
	assert_int_equal(a[9], 2);
	set32(m + 12, 0xFFFFFFFF);
	assert_int_equal(say(g, 4, m, 40, &vp, a), 0);
	assert_int_equal(vp, 0);
}

static void sint_and_vtl_matter_from_5_0_on(void **state)
{
	static const struct {
		uint32_t version;
		uint8_t sint, vtl;
		int ok;
	} rows[] = {
		{V(5, 0), 2, 0, 1}, {V(5, 0), 0, 0, 0},	 {V(5, 3), 3, 0, 0},
		{V(5, 3), 2, 1, 0}, {V(5, 3), 16, 0, 0}, {V(5, 3), 255, 0, 0},
		{V(4, 1), 0, 0, 1}, {V(4, 1), 7, 9, 1}, /* interrupt page GPA */
	};
	struct guest *g = *state;
	uint8_t m[240], a[240];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		contact(m, rows[i].version);
		m[16] = rows[i].sint;
		m[17] = rows[i].vtl;
		if (say(g, rows[i].version >= V(5, 0) ? 4 : 1, m, 40, NULL,
			a) != rows[i].ok)
			fail_msg("row %zu", i);
		assert_int_equal(a[9], rows[i].ok ? 0 : 2);
	}
}

static void monitor_pages_are_both_there_and_ram_or_both_absent(void **state)
{
	const uint64_t ram = 16u << 20;
	const struct {
		uint64_t a, b;
		int ok;
	} rows[] = {
		{0, 0, 1},
		{0x5000, 0x6000, 1},
		{0x5000, 0, 0},
		{0, 0x6000, 0},
		{0x5001, 0x6000, 0},
		{0x5000, 0x6008, 0},
		{ram - 4096, 0x6000, 1},
		{ram, 0x6000, 0},
		{0x5000, UINT64_MAX & ~0xFFFull, 0},
	};
	struct guest *g = *state;
	uint8_t m[240], a[240];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		contact(m, V(5, 3));
		set64(m + 24, rows[i].a);
		set64(m + 32, rows[i].b);
		if (say(g, 4, m, 40, NULL, a) != rows[i].ok)
			fail_msg("row %zu", i);
	}
}

static void a_short_contact_is_refused_where_it_names_its_version(void **state)
{
	struct guest *g = *state;
	uint8_t m[240], a[240];

	contact(m, V(5, 3));
	assert_int_equal(say(g, 4, m, 39, NULL, a), 0);
	assert_int_equal(say(g, 4, m, 16, NULL, a), 0);
	assert_int_equal(say(g, 4, m, 15, NULL, a), -1);
	/* longer is fine: firmware sends the maximum */
	assert_int_equal(say(g, 4, m, 240, NULL, a), 1);
}

static void nothing_but_contact_and_unload_is_heard_unconnected(void **state)
{
	struct guest *g = *state;
	uint8_t m[240] = {0}, a[240];

	for (uint32_t type = 0; type < 40; type++) {
		if (type == 14 || type == 16)
			continue;
		set32(m, type);
		assert_int_equal(guest_post(g, 4, m, 240), 0);
		if (guest_hear(g, a, NULL) != 0)
			fail_msg("message %u was answered", type);
	}
	assert_int_equal(guest_unload(g), 0);
	/* refused contacts leave it unconnected */
	assert_int_equal(guest_connect(g, V(6, 0)), 0);
	set32(m, 3);
	assert_int_equal(guest_post(g, 4, m, 8), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
}

static struct guest_channel *connect_and_open(struct guest *g,
					      struct fakedev *dev)
{
	const struct guest_offer *o;
	struct guest_channel *ch;

	guest_start(g);
	o = guest_offer_find(g, &fakedev_type, 0, 0);
	assert_non_null(o);
	ch = guest_open(g, o, NULL, NULL);
	assert_non_null(ch);
	assert_non_null(dev->open[0]);
	return ch;
}

static void contact_while_open_closes_everything_first(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch;
	uint8_t m[240], a[240];

	fakedev_add(&dev, guest_bus(g), 1);
	ch = connect_and_open(g, &dev);
	/* a kdump kernel: other VP, no UNLOAD before */
	contact(m, V(5, 3));
	set32(m + 12, 2);
	assert_int_equal(say(g, 4, m, 40, NULL, a), 1);
	assert_int_equal(dev.closes, 1);
	guest_drop(ch);
	/* all over again, and the old GPADL's handle is free */
	ch = connect_and_open(g, &dev);
	assert_int_equal(dev.opens, 2);
	assert_int_equal(guest_close(ch), 0);
	assert_int_equal(dev.closes, 2);
}

static void a_refused_contact_disconnects_as_well(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch;

	fakedev_add(&dev, guest_bus(g), 1);
	ch = connect_and_open(g, &dev);
	assert_int_equal(guest_connect(g, V(6, 0)), 0);
	assert_int_equal(dev.closes, 1);
	assert_int_equal(vmbus_version(guest_bus(g)), 0);
	guest_drop(ch);
}

static void unload_closes_and_answers_the_vp_of_the_contact(void **state)
{
	static const uint8_t want[8] = {17};
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch;
	uint8_t m[240], a[240];
	uint32_t vp = 99;

	fakedev_add(&dev, guest_bus(g), 1);
	contact(m, V(5, 3));
	set32(m + 12, 3);
	assert_int_equal(say(g, 4, m, 40, NULL, a), 1);
	guest_request_offers(g);
	ch = guest_open(g, guest_offer_find(g, NULL, 0, 0), NULL, NULL);
	assert_non_null(ch);
	memset(m, 0, sizeof(m));
	set32(m, 16);
	assert_int_equal(guest_post(g, 1, m, 8), 0);
	assert_int_equal(guest_hear(g, a, &vp), 8);
	assert_memory_equal(a, want, 8);
	assert_int_equal(vp, 3);
	assert_int_equal(dev.closes, 1);
	assert_int_equal(vmbus_version(guest_bus(g)), 0);
	guest_drop(ch);
}

static void unload_works_at_every_version_and_twice(void **state)
{
	struct guest *g = *state;

	assert_int_equal(guest_connect(g, V(2, 4)), 1);
	assert_int_equal(guest_unload(g), 0);
	assert_int_equal(guest_unload(g), 0);
	assert_int_equal(guest_connect(g, V(5, 3)), 1);
	assert_int_equal(guest_unload(g), 0);
}

static void reset_forgets_guest_and_queue(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch;
	uint8_t m[240], a[240];

	fakedev_add(&dev, guest_bus(g), 1);
	ch = connect_and_open(g, &dev);
	contact(m, V(5, 3));
	assert_int_equal(guest_post(g, 4, m, 40), 0); /* not served yet */
	vmbus_reset(guest_bus(g));
	assert_int_equal(dev.closes, 1);
	assert_int_equal(vmbus_version(guest_bus(g)), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	guest_drop(ch);
	ch = connect_and_open(g, &dev);
	assert_int_equal(guest_close(ch), 0);
}

static void destroying_the_bus_closes_open_channels(void **state)
{
	struct guest *g = guest_create(NULL);
	struct fakedev dev = {0};
	struct guest_channel *ch;

	(void)state;
	fakedev_add(&dev, guest_bus(g), 1);
	ch = connect_and_open(g, &dev);
	guest_drop(ch);
	guest_destroy(g);
	assert_int_equal(dev.closes, 1);
	vmbus_destroy(NULL);
}

static void sockets_are_refused_in_so_many_words(void **state)
{
	struct guest *g = *state;
	uint8_t m[240] = {0}, a[240];

	set32(m, 21);
	for (unsigned i = 8; i < 40; i++)
		m[i] = (uint8_t)i;
	assert_int_equal(guest_connect(g, V(3, 0)), 1);
	assert_int_equal(guest_say(g, m, 40), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0); /* not in 3.0 */
	assert_int_equal(guest_connect(g, V(4, 0)), 1);
	assert_int_equal(guest_say(g, m, 40), 0);
	assert_int_equal(guest_hear(g, a, NULL), 44);
	assert_int_equal(at32(a), 23);
	assert_memory_equal(a + 8, m + 8, 32);
	assert_int_equal(at32(a + 40), 0xC0000236);
	assert_int_equal(guest_say(g, m, 39), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(versions_from_2_4_to_5_3_connect_on_their_connection_id),
		T(version_response_has_16_bytes_in_this_layout),
		T(a_linux_guest_finds_the_newest_version_downwards),
		T(a_bus_limit_that_is_no_version_is_refused),
		T(answers_go_to_the_vp_the_guest_names),
		T(sint_and_vtl_matter_from_5_0_on),
		T(monitor_pages_are_both_there_and_ram_or_both_absent),
		T(a_short_contact_is_refused_where_it_names_its_version),
		T(nothing_but_contact_and_unload_is_heard_unconnected),
		T(contact_while_open_closes_everything_first),
		T(a_refused_contact_disconnects_as_well),
		T(unload_closes_and_answers_the_vp_of_the_contact),
		T(unload_works_at_every_version_and_twice),
		T(reset_forgets_guest_and_queue),
		T(destroying_the_bus_closes_open_channels),
		T(sockets_are_refused_in_so_many_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
