/* SPDX-License-Identifier: BSD-2-Clause */
/* Offers: layout, order, sub-channels, rescind, release. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/guest.h"

static int setup(void **state)
{
	*state = guest_create(&(struct guest_opts){.memory_bytes = 64u << 20});
	return 0;
}

static int teardown(void **state)
{
	guest_destroy(*state);
	return 0;
}

/* Channels are offered while the guest is connected: serve, hear the offer. */
static void say_relid(struct guest *g, uint32_t type, uint32_t relid)
{
	uint8_t m[12] = {0};

	set32(m, type);
	set32(m + 8, relid);
	assert_int_equal(guest_say(g, m, sizeof(m)), 0);
	guest_service(g);
}

static void an_offer_has_196_bytes_in_this_layout(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	uint8_t want[196] = {1}, a[240], m[8] = {3};

	fakedev_add(&dev, guest_bus(g), 9);
	memcpy(want + 8, fakedev_type.b, 16);
	for (unsigned i = 0; i < 15; i++)
		want[24 + i] = (uint8_t)(0xA0 + i);
	want[39] = 9;
	set16(want + 56, 0x1234);
	set16(want + 58, 0x56);
	for (unsigned i = 0; i < 120; i++)
		want[60 + i] = (uint8_t)i;
	set32(want + 184, 1);	   /* relid */
	want[188] = 0xFF;	   /* no monitor page */
	set16(want + 190, 1);	   /* interrupt of its own */
	set32(want + 192, 0x2001); /* connection id */
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_say(g, m, 8), 0);
	assert_int_equal(guest_hear(g, a, NULL), 196);
	assert_memory_equal(a, want, 196);
	assert_int_equal(guest_hear(g, a, NULL), 8);
	assert_memory_equal(a, "\4\0\0\0\0\0\0\0", 8);
	assert_int_equal(guest_hear(g, a, NULL), 0);
}

static void offers_wait_for_the_request_and_come_before_its_end(void **state)
{
	struct guest *g = *state;
	struct fakedev dev[3] = {0};
	uint8_t a[240], m[8] = {3};

	for (uint8_t i = 0; i < 3; i++)
		fakedev_add(&dev[i], guest_bus(g), i);
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	assert_int_equal(guest_say(g, m, 8), 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(guest_hear(g, a, NULL), 196);
		assert_int_equal(a[39], i);
		assert_int_equal(at32(a + 184), i + 1);
		assert_int_equal(at32(a + 192), 0x2001 + i);
	}
	assert_int_equal(guest_hear(g, a, NULL), 8);
	assert_int_equal(at32(a), 4);
}

static void offers_may_be_requested_once_per_connection(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	uint8_t a[240], m[8] = {3};

	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	assert_int_equal(guest_say(g, m, 8), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	guest_start(g);
	assert_non_null(guest_offer_find(g, &fakedev_type, 0, 0));
}

static void no_devices_is_an_empty_list(void **state)
{
	struct guest *g = *state;

	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_request_offers(g), 0);
}

static void a_device_added_later_is_offered_at_once(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};

	guest_start(g);
	fakedev_add(&dev, guest_bus(g), 1);
	assert_non_null(guest_offer_find(g, &fakedev_type, 0, 0));
}

static void one_type_and_instance_is_one_device(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct vmbus_offer offer = fakedev_offer(&dev, 1);
	struct vmbus_channel *ch = NULL;
	struct vhd_err err = {0};

	fakedev_add(&dev, guest_bus(g), 1);
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &ch, &err),
			 -EEXIST);
	assert_null(ch);
	offer.type.b[0] ^= 1;
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &ch, &err), 0);
	assert_int_equal(vmbus_channel_index(ch), 0);
	assert_ptr_equal(vmbus_channel_primary(ch), ch);
	assert_ptr_equal(vmbus_channel_mem(ch), guest_mem(g));
}

/* All 2047 relids: needs as many eventfds, hence few tests do this. */
static void the_bus_has_2047_channels_and_no_more(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct vmbus_channel *last = NULL;
	struct vhd_err err = {0};
	struct rlimit files;
	unsigned n = 0;
	int rc = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	if (files.rlim_max < VMBUS_CHANNELS_MAX + 64) {
		print_message("left out: too few descriptors are allowed\n");
		skip();
	}
	files.rlim_cur = files.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (; n < VMBUS_CHANNELS_MAX + 1; n++) {
		struct vmbus_offer offer = fakedev_offer(&dev, (uint8_t)n);

		offer.instance.b[0] = (uint8_t)(n >> 8);
		rc = vmbus_offer_add(guest_bus(g), &offer, &last, &err);
		if (rc)
			break;
	}
	assert_int_equal(n, 2047);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_request_offers(g), 2047);
	/* one goes, one comes */
	vmbus_rescind(last);
	struct vmbus_offer offer = fakedev_offer(&dev, 0);

	offer.instance.b[0] = 0xFF;
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &last, &err),
			 -ENOSPC);
	guest_service(g);
	say_relid(g, 13, 2047);
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &last, &err), 0);
}

/* -------------------------------------------------------- sub-channels --- */

static struct guest_channel *open_primary(struct guest *g, struct fakedev *dev)
{
	struct guest_channel *ch;

	fakedev_add(dev, guest_bus(g), 1);
	guest_start(g);
	ch = guest_open(g, guest_offer_find(g, &fakedev_type, 0, 0), NULL,
			NULL);
	assert_non_null(ch);
	return ch;
}

static void sub_channels_are_numbered_after_those_there_are(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev), *sub;
	const struct guest_offer *o, *p;

	p = guest_offer_find(g, &fakedev_type, 0, 0);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 2), 0);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
	for (uint16_t i = 1; i <= 3; i++) {
		o = guest_offer_find(g, &fakedev_type, i, 0);
		assert_non_null(o);
		assert_memory_equal(o->instance.b, p->instance.b, 16);
		assert_int_equal(o->channel_flags, p->channel_flags);
		assert_int_equal(o->relid, i + 1);
		assert_int_equal(o->connection_id, 0x2001 + i);
	}
	assert_null(guest_offer_find(g, &fakedev_type, 4, 0));
	sub = guest_open(g, guest_offer_find(g, &fakedev_type, 2, 0), NULL,
			 NULL);
	assert_non_null(sub);
	assert_int_equal(vmbus_channel_index(dev.open[2]), 2);
	assert_ptr_equal(vmbus_channel_primary(dev.open[2]), dev.open[0]);
	assert_int_equal(vmbus_offer_sub(dev.open[2], 1), -EINVAL);
	assert_int_equal(guest_close(sub), 0);
	assert_int_equal(dev.last_closed, 2);
	assert_int_equal(guest_close(ch), 0);
}

static void closing_the_primary_rescinds_its_sub_channels(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev), *sub;
	uint8_t m[240] = {7}, a[240];

	assert_int_equal(vmbus_offer_sub(dev.open[0], 2), 0);
	sub = guest_open(g, guest_offer_find(g, &fakedev_type, 1, 0), NULL,
			 NULL);
	assert_non_null(sub);
	/* the primary first, although its sub is open */
	set32(m + 8, guest_channel_relid(ch));
	assert_int_equal(guest_say(g, m, 12), 0);
	guest_service(g);
	assert_int_equal(dev.closes, 2);
	assert_int_equal(dev.last_closed, 0); /* subs went first */
	for (uint32_t relid = 2; relid <= 3; relid++) {
		assert_int_equal(guest_hear(g, a, NULL), 12);
		assert_int_equal(at32(a), 2);
		assert_int_equal(at32(a + 8), relid);
	}
	guest_drop(sub);
	guest_gpadl_teardown(g, 1, guest_channel_gpadl(ch));
	guest_drop(ch);
	/* a new session starts at 1, with relids not yet released untouched */
	ch = guest_open(g, guest_offer_find(g, &fakedev_type, 0, 0), NULL,
			NULL);
	assert_non_null(ch);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
	assert_int_equal(guest_offer_find(g, &fakedev_type, 1, 0)->relid, 4);
	say_relid(g, 13, 2);
	say_relid(g, 13, 3);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
	assert_int_equal(guest_offer_find(g, &fakedev_type, 2, 0)->relid, 2);
	guest_close(ch);
}

static void subs_asked_for_by_a_session_that_ended_never_come(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {.sub_on_close = 3};
	struct guest_channel *ch = open_primary(g, &dev);
	struct vmbus_channel *primary = dev.open[0];
	uint8_t m[240] = {7};

	/* closed and opened again before the bus gets round to its wish */
	set32(m + 8, 1);
	assert_int_equal(guest_say(g, m, 12), 0);
	memset(m, 0, sizeof(m));
	set32(m, 5);
	set32(m + 8, 1);
	set32(m + 16, guest_channel_gpadl(ch));
	set32(m + 24, 32);
	assert_int_equal(guest_say(g, m, 148), 0);
	guest_service(g);
	assert_int_equal(dev.opens, 2);
	dev.sub_on_close = 0;
	assert_null(guest_offer_find(g, &fakedev_type, 1, 0));
	/* and all 2046 others can still be reserved */
	assert_int_equal(vmbus_offer_sub(primary, 2047), -ENOSPC);
	assert_int_equal(vmbus_offer_sub(primary, 2046), 0);
	vmbus_reset(guest_bus(g));
	guest_drop(ch);
}

static void a_device_cannot_reserve_more_relids_than_there_are(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);

	assert_int_equal(vmbus_offer_sub(dev.open[0], 2047), -ENOSPC);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 2000), 0);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 47), -ENOSPC);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 46), 0);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), -ENOSPC);
	vmbus_reset(guest_bus(g));
	guest_drop(ch);
}

static void after_contact_only_primaries_are_offered(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);

	assert_int_equal(vmbus_offer_sub(dev.open[0], 2), 0);
	assert_non_null(guest_offer_find(g, &fakedev_type, 2, 0));
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	assert_int_equal(guest_request_offers(g), 1);
	guest_drop(ch);
	/* and their numbers start again */
	ch = guest_open(g, guest_offer_find(g, &fakedev_type, 0, 0), NULL,
			NULL);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
	assert_non_null(guest_offer_find(g, &fakedev_type, 1, 0));
	guest_close(ch);
}

/* -------------------------------------------------------------- rescind -- */

static void rescind_has_12_bytes_and_closes_the_channel(void **state)
{
	static const uint8_t want[12] = {2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);
	uint8_t a[240];

	vmbus_rescind(dev.offered);
	assert_int_equal(dev.closes, 1);
	assert_int_equal(guest_hear(g, a, NULL), 12);
	assert_memory_equal(a, want, 12);
	guest_drop(ch);
	/* Linux: CLOSECHANNEL if it was open, then RELID_RELEASED */
	say_relid(g, 7, 1);
	say_relid(g, 13, 1);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	/* now, and only now, the relid is used again */
	fakedev_add(&dev, guest_bus(g), 2);
	assert_int_equal(guest_offer_find(g, &fakedev_type, 0, 0)->relid, 1);
}

static void the_relid_of_a_rescinded_channel_rests_until_released(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0}, dev2 = {0};
	struct guest_channel *ch = open_primary(g, &dev);

	vmbus_rescind(dev.offered);
	/* the same device may come back, as a new channel */
	fakedev_add(&dev2, guest_bus(g), 1);
	assert_int_equal(guest_offer_find(g, &fakedev_type, 0, 0)->relid, 2);
	guest_drop(ch);
}

static void an_offer_never_made_is_never_rescinded(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	uint8_t a[240];

	fakedev_add(&dev, guest_bus(g), 1);
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
	vmbus_rescind(dev.offered);
	assert_int_equal(guest_request_offers(g), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
}

static void rescind_takes_sub_channels_along_before_their_primary(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);
	static const uint32_t order[] = {2, 3, 1};
	uint8_t a[240];

	assert_int_equal(vmbus_offer_sub(dev.open[0], 2), 0);
	assert_non_null(guest_offer_find(g, &fakedev_type, 2, 0));
	vmbus_rescind(dev.offered);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(guest_hear(g, a, NULL), 12);
		assert_int_equal(at32(a), 2);
		assert_int_equal(at32(a + 8), order[i]);
	}
	assert_int_equal(guest_hear(g, a, NULL), 0);
	guest_drop(ch);
}

static void a_rescinded_channel_answers_all_but_open(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);
	uint64_t gpas[4];
	uint8_t m[240] = {0}, a[240];

	guest_alloc(g, 4, gpas);
	vmbus_rescind(dev.offered);
	assert_int_equal(guest_hear(g, a, NULL), 12);
	/* GPADL_HEADER: CREATED with failure */
	assert_true(guest_gpadl_create(g, 1, 77, gpas, 4) > 0);
	/* GPADL_TEARDOWN: TORNDOWN at once */
	assert_int_equal(guest_gpadl_teardown(g, 1, guest_channel_gpadl(ch)),
			 0);
	/* MODIFYCHANNEL: failure */
	set32(m, 22);
	set32(m + 8, 1);
	assert_int_equal(guest_say(g, m, 16), 0);
	assert_int_equal(guest_hear(g, a, NULL), 16);
	assert_int_equal(at32(a), 24);
	assert_int_not_equal(at32(a + 12), 0);
	/* OPENCHANNEL: silence, the rescind was the answer */
	set32(m, 5);
	assert_int_equal(guest_say(g, m, 148), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0);
	guest_drop(ch);
}

static void a_gpadl_half_built_when_rescinded_still_gets_its_answer(void **st)
{
	struct guest *g = *st;
	struct fakedev dev = {0};
	uint8_t m[240] = {0}, a[240];

	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	set32(m, 8);
	set32(m + 8, 1);
	set32(m + 12, 5);
	set16(m + 16, 8 + 8 * 2);
	set16(m + 18, 1);
	set32(m + 20, 8192);
	assert_int_equal(guest_say(g, m, 28), 0);
	guest_service(g);
	vmbus_rescind(dev.offered);
	assert_int_equal(guest_hear(g, a, NULL), 12);
	memset(m, 0, sizeof(m));
	set32(m, 9);
	set32(m + 12, 5);
	set64(m + 16, 20);
	set64(m + 24, 21);
	assert_int_equal(guest_say(g, m, 32), 0);
	assert_int_equal(guest_hear(g, a, NULL), 20);
	assert_int_equal(at32(a), 10);
	assert_int_equal(at32(a + 8), 1);
	assert_int_equal(at32(a + 12), 5);
	assert_int_not_equal(at32(a + 16), 0);
}

/* -------------------------------------------------------------- release -- */

static void releasing_a_closed_offer_declines_it_until_next_contact(void **st)
{
	struct guest *g = *st;
	struct fakedev dev = {0};
	int64_t status = 0;

	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	say_relid(g, 13, 1);
	assert_null(
		guest_open(g, guest_offer_find(g, NULL, 0, 0), NULL, &status));
	assert_true(status > 0);
	guest_start(g);
	assert_non_null(guest_offer_find(g, &fakedev_type, 0, 0));
}

static void releasing_what_is_open_or_unknown_changes_nothing(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);

	say_relid(g, 13, 1);
	say_relid(g, 13, 0);
	say_relid(g, 13, 2);
	say_relid(g, 13, 2047);
	say_relid(g, 13, 2048);
	say_relid(g, 13, 0xFFFFFFFF);
	assert_int_equal(dev.closes, 0);
	assert_int_equal(guest_close(ch), 0);
	assert_int_equal(dev.closes, 1);
}

static void a_declined_sub_channel_goes_with_its_primary(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch = open_primary(g, &dev);
	uint8_t a[240];

	assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
	assert_non_null(guest_offer_find(g, &fakedev_type, 1, 0));
	say_relid(g, 13, 2);
	assert_int_equal(guest_close(ch), 0);
	assert_int_equal(guest_hear(g, a, NULL), 0); /* no rescind of it */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_offer_has_196_bytes_in_this_layout),
		T(offers_wait_for_the_request_and_come_before_its_end),
		T(offers_may_be_requested_once_per_connection),
		T(no_devices_is_an_empty_list),
		T(a_device_added_later_is_offered_at_once),
		T(one_type_and_instance_is_one_device),
		T(the_bus_has_2047_channels_and_no_more),
		T(sub_channels_are_numbered_after_those_there_are),
		T(closing_the_primary_rescinds_its_sub_channels),
		T(subs_asked_for_by_a_session_that_ended_never_come),
		T(a_device_cannot_reserve_more_relids_than_there_are),
		T(after_contact_only_primaries_are_offered),
		T(rescind_has_12_bytes_and_closes_the_channel),
		T(the_relid_of_a_rescinded_channel_rests_until_released),
		T(an_offer_never_made_is_never_rescinded),
		T(rescind_takes_sub_channels_along_before_their_primary),
		T(a_rescinded_channel_answers_all_but_open),
		T(a_gpadl_half_built_when_rescinded_still_gets_its_answer),
		T(releasing_a_closed_offer_declines_it_until_next_contact),
		T(releasing_what_is_open_or_unknown_changes_nothing),
		T(a_declined_sub_channel_goes_with_its_primary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
