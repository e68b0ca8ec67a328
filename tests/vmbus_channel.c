/* SPDX-License-Identifier: BSD-2-Clause */
/* OPENCHANNEL, CLOSECHANNEL, MODIFYCHANNEL, and packets end to end. */
#include <errno.h>

#include "tests/lib/busworld.h"

#define V4_0 0x00040000u
#define V5_2 0x00050002u

static void open_result_has_20_bytes_and_the_device_gets_its_data(void **state)
{
	static const uint8_t want[20] = {6, 0, 0, 0, 0,	   0,	 0, 0,
					 1, 0, 0, 0, 0xFE, 0xCA, 0, 0};
	struct world *w = *state;
	uint8_t m[240], a[240];
	uint64_t gpas[4];

	gpadl(w, 7, 4, gpas);
	assert_int_equal(guest_say(w->g, m, open_msg(m, 7, 2)), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 20);
	assert_memory_equal(a, want, 20);
	assert_int_equal(w->dev.opens, 1);
	assert_memory_equal(w->dev.user, m + 28, 120);
	assert_int_equal(vmbus_channel_vp(w->dev.open[0]), 0);
}

static void opens_that_cannot_work_are_refused(void **state)
{
	static const struct {
		uint32_t off, value; /* what is spoilt in the message */
		size_t len;
		int64_t want; /* 0, 1: any failure, -1: silence */
	} rows[] = {
		{12, 0xCAFE, 148, 0},	  {12, 0xCAFE, 240, 0},
		{8, 0, 148, 1},		  {8, 2, 148, 1},
		{8, 2048, 148, 1},	  {8, 0xFFFFFFFF, 148, 1},
		{16, 8, 148, 1},	  {20, 3, 148, 0},
		{20, 4, 148, 1},	  {20, 0xFFFFFFFF, 148, 0},
		{20, 0xFFFFFFFE, 148, 1}, {24, 0, 148, 1},
		{24, 1, 148, 1},	  {24, 2, 148, 0},
		{24, 4, 148, 0},	  {24, 5, 148, 1},
		{24, 6, 148, 1},	  {24, 7, 148, 1},
		{24, 0xFFFFFFFF, 148, 1}, {24, 0x80000002, 148, 1},
		{12, 0xCAFE, 147, 1},	  {12, 0xCAFE, 16, 1},
		{12, 0xCAFE, 15, -1},
	};
	struct world *w = *state;
	unsigned opens = 0;
	uint64_t gpas[6];
	uint8_t m[240];

	gpadl(w, 7, 6, gpas);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t rc;

		open_msg(m, 7, 3);
		set32(m + rows[i].off, rows[i].value);
		rc = say(w, m, rows[i].len);
		if ((rc > 0 ? 1 : rc) != rows[i].want)
			fail_msg("row %zu: %lld", i, (long long)rc);
		opens += rc == 0;
		if (rc == 0) {
			set32(m, 7);
			assert_int_equal(guest_say(w->g, m, 12), 0);
			guest_service(w->g);
		}
		assert_int_equal(w->dev.opens, opens);
		assert_int_equal(w->dev.closes, opens);
	}
}

static void ring_lists_are_one_range_of_whole_pages(void **state)
{
	struct world *w = *state;
	uint8_t m[240], a[240];

	/* two ranges */
	memset(m, 0, sizeof(m));
	set32(m, 8);
	set32(m + 8, 1);
	set32(m + 12, 20);
	set16(m + 16, 2 * 24);
	set16(m + 18, 2);
	set32(m + 20, 8192);
	set64(m + 28, 30);
	set64(m + 36, 31);
	set32(m + 44, 8192); /* would be a good PFN, too */
	set64(m + 52, 32);
	set64(m + 60, 33);
	assert_int_equal(guest_say(w->g, m, 68), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 20);
	assert_int_equal(at32(a + 16), 0);
	assert_true(say(w, m, open_msg(m, 20, 2)) > 0);
	/* not starting at a page, not ending at one, neither, both */
	static const struct {
		uint32_t count, offset;
		bool ok;
	} rows[] = {{12288, 8, false},
		    {16384 - 8, 0, false},
		    {16384 - 8, 8, false},
		    {16384, 0, true}};

	for (uint32_t i = 0; i < 4; i++) {
		memset(m, 0, sizeof(m));
		set32(m, 8);
		set32(m + 8, 1);
		set32(m + 12, 21 + i);
		set16(m + 16, 40);
		set16(m + 18, 1);
		set32(m + 20, rows[i].count);
		set32(m + 24, rows[i].offset);
		for (unsigned p = 0; p < 4; p++)
			set64(m + 28 + 8 * p, 30 + p);
		assert_int_equal(guest_say(w->g, m, 60), 0);
		assert_int_equal(guest_hear(w->g, a, NULL), 20);
		assert_int_equal(at32(a + 16), 0);
		if ((say(w, m, open_msg(m, 21 + i, 2)) == 0) != rows[i].ok)
			fail_msg("row %u", i);
	}
}

static void a_list_of_another_channel_is_no_ring(void **state)
{
	struct world *w = *state;
	struct fakedev other = {0};
	uint64_t gpas[4];
	uint8_t m[240];

	fakedev_add(&other, guest_bus(w->g), 2);
	assert_non_null(guest_offer_find(w->g, NULL, 0, 1));
	guest_alloc(w->g, 4, gpas);
	assert_int_equal(guest_gpadl_create(w->g, 2, 7, gpas, 4), 0);
	assert_true(say(w, m, open_msg(m, 7, 2)) > 0);
	open_msg(m, 7, 2);
	set32(m + 8, 2);
	assert_int_equal(say(w, m, 148), 0);
	assert_int_equal(w->dev.opens, 0);
	assert_int_equal(other.opens, 1);
	vmbus_reset(guest_bus(w->g)); /* before `other` goes */
}

/* 8190 pages: the most a list can have. */
static void the_largest_rings_open_and_carry_packets_at_their_end(void **state)
{
	struct world *w = *state;
	uint64_t *gpas = calloc(8190, sizeof(*gpas));
	uint32_t near_end = 4094 * 4096 - 8;
	struct vmbus_packet p;
	struct guest_channel *ch;
	uint8_t buf[256];

	ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0),
			&(struct guest_open_opts){4095, 4095, 0, NULL}, NULL);
	assert_non_null(ch);
	assert_true(vmbus_send_space(w->dev.open[0]) == near_end);
	guest_close(ch);
	/* the same with indices just before the end */
	gpadl(w, 7, 8190, gpas);
	for (unsigned half = 0; half < 8190; half += 4095) {
		set32(guest_ptr(w->g, gpas[half]), near_end);
		set32((uint8_t *)guest_ptr(w->g, gpas[half]) + 4, near_end);
	}
	assert_int_equal(say(w, buf, open_msg(buf, 7, 4095)), 0);
	assert_int_equal(vmbus_send(w->dev.open[0], 6, 0, 9, "abc", 3), 0);
	vmbus_send_done(w->dev.open[0]);
	assert_int_equal(at32(guest_ptr(w->g, gpas[4095])), 24);
	assert_int_equal(vmbus_recv(w->dev.open[0], buf, sizeof(buf), &p), 0);
	free(gpas);
}

static void ring_indices_are_checked_before_the_device_hears(void **state)
{
	static const struct {
		unsigned page, off;
		uint32_t value;
		bool ok;
	} rows[] = {
		{0, 0, 8, true},	   {0, 0, 4088, true},
		{0, 0, 4096, false},	   {0, 0, 4, false},
		{0, 4, 4096, false},	   {0, 4, 1, false},
		{2, 0, 4096, false},	   {2, 0, 2, false},
		{2, 4, 4100, false},	   {2, 0, 4080, true},
		{2, 4, 0xFFFFFFF8, false},
	};
	struct world *w = *state;
	uint64_t gpas[4];
	uint8_t m[240];

	gpadl(w, 7, 4, gpas);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *ctrl = guest_ptr(w->g, gpas[rows[i].page]);
		unsigned before = w->dev.opens;

		set32(ctrl + rows[i].off, rows[i].value);
		if ((say(w, m, open_msg(m, 7, 2)) == 0) != rows[i].ok)
			fail_msg("row %zu", i);
		assert_int_equal(w->dev.opens - before, rows[i].ok);
		set32(ctrl + rows[i].off, 0);
		set32(m, 7);
		assert_int_equal(guest_say(w->g, m, 12), 0);
		guest_service(w->g);
	}
}

static void a_channel_opens_once(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	uint8_t m[240];

	assert_true(say(w, m, open_msg(m, guest_channel_gpadl(ch), 3)) > 0);
	assert_int_equal(w->dev.opens, 1);
	assert_int_equal(guest_close(ch), 0);
	/* and again after it was closed */
	ch = open_ch(w, 0);
	assert_int_equal(w->dev.opens, 2);
	assert_int_equal(guest_close(ch), 0);
}

static void a_device_may_refuse_and_nothing_remains(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch;
	int64_t status = 0;

	w->dev.refuse = -ENOMEM;
	assert_null(guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0), NULL,
			       &status));
	assert_true(status > 0);
	assert_int_equal(w->dev.closes, 0);
	guest_advance(w->g, 1000);
	assert_int_equal(guest_service(w->g), -1);
	w->dev.refuse = 0;
	ch = open_ch(w, 0); /* the connection id was free again */
	assert_int_equal(guest_close(ch), 0);
}

static void a_connection_id_that_cannot_be_bound_refuses_the_open(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch;
	int64_t status = 0;

	guest_refuse_bind(w->g, true);
	assert_null(guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0), NULL,
			       &status));
	assert_true(status > 0);
	assert_int_equal(w->dev.opens, 0); /* bound before it is told */
	guest_refuse_bind(w->g, false);
	ch = open_ch(w, 0);
	assert_int_equal(guest_close(ch), 0);
}

static void close_is_silent_and_only_for_open_channels(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	uint8_t m[240] = {7}, a[240];

	set32(m + 8, 2);
	assert_int_equal(guest_say(w->g, m, 12), 0);
	set32(m + 8, 1);
	assert_int_equal(guest_say(w->g, m, 11), 0); /* short */
	guest_service(w->g);
	assert_int_equal(w->dev.closes, 0);
	assert_int_equal(guest_say(w->g, m, 12), 0);
	assert_int_equal(guest_say(w->g, m, 12), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 0);
	assert_int_equal(w->dev.closes, 1);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, guest_channel_gpadl(ch)),
			 0);
	guest_drop(ch);
}

/* ------------------------------------------------------------- signals -- */

static void the_guest_is_signalled_once_100_ms_after_open(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 2);

	assert_int_equal(guest_service(w->g), 100);
	assert_int_equal(guest_interrupts(ch), 0);
	guest_advance(w->g, 99);
	assert_int_equal(guest_service(w->g), 1);
	assert_int_equal(guest_interrupts(ch), 0);
	guest_advance(w->g, 1);
	assert_int_equal(guest_service(w->g), -1);
	assert_int_equal(guest_interrupts(ch), 1);
	assert_int_equal(guest_interrupt_vp(ch), 2);
	guest_advance(w->g, 1000);
	assert_int_equal(guest_service(w->g), -1);
	assert_int_equal(guest_interrupts(ch), 1);
	assert_int_equal(guest_close(ch), 0);
	/* closed before it was due: nothing happens */
	ch = open_ch(w, 2);
	assert_int_equal(guest_close(ch), 0);
	assert_int_equal(guest_service(w->g), -1);
}

static void the_device_is_woken_once_by_the_open_itself(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);

	assert_true(readable(w->dev.open[0]));
	assert_false(readable(w->dev.open[0]));
	/* masked as it opened: the guest does not signal ... */
	assert_int_equal(guest_send(ch, 6, 1, 1, "hello", 5), 0);
	assert_int_equal(guest_signals_sent(ch), 0);
	/* ... but unmask sees the packet */
	assert_true(vmbus_recv_unmask(w->dev.open[0]));
	guest_close(ch);
}

static void a_guest_without_interrupts_gets_none(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0xFFFFFFFF);

	assert_int_equal(vmbus_send(w->dev.open[0], 6, 0, 0, "x", 1), 0);
	vmbus_send_done(w->dev.open[0]);
	guest_advance(w->g, 200);
	guest_service(w->g);
	assert_int_equal(guest_interrupts(ch), 0);
	guest_close(ch);
}

/* -------------------------------------------------------------- modify -- */

static int64_t modify(struct world *w, uint32_t relid, uint32_t vp, size_t len)
{
	uint8_t m[240] = {0}, a[240];

	set32(m, 22);
	set32(m + 8, relid);
	set32(m + 12, vp);
	assert_int_equal(guest_say(w->g, m, len), 0);
	if (guest_hear(w->g, a, NULL) == 0)
		return -1;
	assert_int_equal(at32(a), 24);
	assert_int_equal(at32(a + 8), relid);
	return at32(a + 12) ? 1 : 0;
}

static void modify_moves_interrupts_and_answers_from_5_3_on(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);

	assert_int_equal(modify(w, 1, 3, 16), 0);
	assert_int_equal(vmbus_channel_vp(w->dev.open[0]), 3);
	/* one that may have been lost on the way is made up for */
	assert_int_equal(guest_interrupts(ch), 1);
	assert_int_equal(guest_interrupt_vp(ch), 3);
	assert_int_equal(modify(w, 1, 4, 16), 1);
	assert_int_equal(modify(w, 2, 0, 16), 1);
	assert_int_equal(modify(w, 1, 0, 15), 1); /* short, but named */
	assert_int_equal(modify(w, 1, 0, 11), -1);
	assert_int_equal(vmbus_channel_vp(w->dev.open[0]), 3);
	assert_int_equal(modify(w, 1, 0xFFFFFFFF, 16), 0);
	assert_int_equal(guest_interrupts(ch), 1);
	guest_close(ch);
	assert_int_equal(modify(w, 1, 0, 16), 1); /* closed */
}

static void modify_is_silent_below_5_3_and_unknown_below_4_1(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch;

	assert_int_equal(guest_connect(w->g, V5_2), 1);
	guest_request_offers(w->g);
	ch = open_ch(w, 0);
	assert_int_equal(modify(w, 1, 2, 16), -1);
	assert_int_equal(vmbus_channel_vp(w->dev.open[0]), 2);
	assert_int_equal(modify(w, 1, 4, 16), -1);
	guest_close(ch);
	assert_int_equal(guest_connect(w->g, V4_0), 1);
	guest_request_offers(w->g);
	ch = open_ch(w, 0);
	assert_int_equal(modify(w, 1, 2, 16), -1);
	assert_int_equal(vmbus_channel_vp(w->dev.open[0]), 0);
	guest_close(ch);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(open_result_has_20_bytes_and_the_device_gets_its_data),
		T(opens_that_cannot_work_are_refused),
		T(ring_lists_are_one_range_of_whole_pages),
		T(a_list_of_another_channel_is_no_ring),
		T(the_largest_rings_open_and_carry_packets_at_their_end),
		T(ring_indices_are_checked_before_the_device_hears),
		T(a_channel_opens_once),
		T(a_device_may_refuse_and_nothing_remains),
		T(a_connection_id_that_cannot_be_bound_refuses_the_open),
		T(close_is_silent_and_only_for_open_channels),
		T(the_guest_is_signalled_once_100_ms_after_open),
		T(the_device_is_woken_once_by_the_open_itself),
		T(a_guest_without_interrupts_gets_none),
		T(modify_moves_interrupts_and_answers_from_5_3_on),
		T(modify_is_silent_below_5_3_and_unknown_below_4_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
