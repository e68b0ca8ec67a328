/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets over an open channel, end to end: both ways, full rings, reopened
 * and broken ones.
 */
#include <errno.h>

#include "tests/lib/busworld.h"

static void packets_go_both_ways(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	struct vmbus_channel *host = w->dev.open[0];
	uint64_t pages[3] = {0x10000, 0x20000, 0x30000};
	struct guest_range range = {100, 8192, pages, 3};
	struct vmbus_packet p;
	struct guest_packet q;
	uint8_t buf[256];

	readable(host);
	assert_false(vmbus_recv_unmask(host));
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(
			guest_send_gpa(ch, 1, i, &range, 1, "abcdefgh", 8), 0);
		assert_true(readable(host));
		assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), 1);
		assert_int_equal(p.type, VMBUS_PACKET_GPA_DIRECT);
		assert_int_equal(p.flags, VMBUS_PACKET_WANTS_COMPLETION);
		assert_true(p.trans_id == i);
		assert_int_equal(p.range_count, 1);
		assert_int_equal(p.range_len, 8192);
		assert_int_equal(p.range_offset, 100);
		assert_int_equal(p.pfn_count, 3);
		assert_true(at64(p.pfns + 8) == 0x20);
		assert_int_equal(p.payload_len, 8);
		assert_memory_equal(p.payload, "abcdefgh", 8);
		assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), 0);
		vmbus_recv_done(host);
		assert_int_equal(vmbus_send(host, VMBUS_PACKET_COMPLETION, 0, i,
					    "0123456789", 10),
				 0);
		assert_int_equal(guest_recv(ch, buf, sizeof(buf), &q), 0);
		vmbus_send_done(host);
		assert_true(guest_take_interrupt(ch));
		assert_int_equal(guest_recv(ch, buf, sizeof(buf), &q), 1);
		assert_int_equal(q.type, VMBUS_PACKET_COMPLETION);
		assert_true(q.trans_id == i);
		assert_int_equal(q.payload_len, 16);
		assert_memory_equal(buf, "0123456789\0\0\0\0\0\0", 16);
		assert_true(q.trailer == (uint64_t)q.start << 32);
	}
	guest_close(ch);
}

static void a_full_outgoing_ring_tells_when_space_is_free(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	struct vmbus_channel *host = w->dev.open[0];
	struct guest_packet q;
	unsigned sent = 0;
	uint8_t buf[256];
	int rc;

	readable(host);
	assert_true(vmbus_send_space(host) == 3 * 4096 - 8);
	while ((rc = vmbus_send(host, 11, 0, sent, buf, 40)) == 0)
		sent++;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(sent, 191); /* 64 bytes each of 12288 - 8 */
	vmbus_send_done(host);
	assert_true(vmbus_send_space(host) == 56);
	assert_false(vmbus_send_wait(host, 640));
	for (unsigned i = 0; i < 10; i++) {
		assert_false(readable(host));
		assert_int_equal(guest_recv(ch, buf, sizeof(buf), &q), 1);
		assert_true(q.trans_id == i);
	}
	assert_true(readable(host)); /* 64 + 640 > 640 */
	assert_true(vmbus_send_wait(host, 0));
	assert_int_equal(guest_recv(ch, buf, sizeof(buf), &q), 1);
	assert_false(readable(host));
	assert_int_equal(vmbus_send(host, 11, 0, 0, buf, 3 * 4096), -EMSGSIZE);
	guest_close(ch);
}

static void a_full_incoming_ring_tells_the_guest(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	struct vmbus_channel *host = w->dev.open[0];
	struct vmbus_packet p;
	uint64_t before;
	unsigned sent = 0;
	uint8_t buf[256] = {0};

	while (guest_send(ch, 6, 0, sent, buf, 40) == 0)
		sent++;
	assert_int_equal(sent, 127); /* 64 bytes each of 8192 - 8 */
	before = guest_interrupts(ch);
	assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), 1);
	assert_int_equal(guest_interrupts(ch), before);
	vmbus_recv_done(host);
	assert_int_equal(guest_interrupts(ch), before + 1);
	assert_int_equal(guest_send(ch, 6, 0, 0, buf, 40), 0);
	assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), 1);
	vmbus_recv_done(host); /* nobody waits */
	assert_int_equal(guest_interrupts(ch), before + 1);
	guest_close(ch);
}

static void a_reopened_ring_goes_on_where_the_guest_left_it(void **state)
{
	struct world *w = *state;
	uint64_t gpas[4];
	uint8_t m[240], buf[64];
	struct vmbus_packet p;
	uint8_t *out, *in;

	gpadl(w, 7, 4, gpas);
	out = guest_ptr(w->g, gpas[0]);
	in = guest_ptr(w->g, gpas[2]);
	/* one packet waits at 4080, wrapping; the other ring stands at 96 */
	set32(out + 0, 8);
	set32(out + 4, 4080);
	set32((uint8_t *)guest_ptr(w->g, gpas[1]) + 4080, 0x00020006);
	set32((uint8_t *)guest_ptr(w->g, gpas[1]) + 4084, 2);
	set32(in + 0, 96);
	set32(in + 4, 96);
	assert_int_equal(say(w, m, open_msg(m, 7, 2)), 0);
	assert_int_equal(vmbus_recv(w->dev.open[0], buf, sizeof(buf), &p), 1);
	assert_int_equal(vmbus_recv(w->dev.open[0], buf, sizeof(buf), &p), 0);
	assert_int_equal(vmbus_send(w->dev.open[0], 11, 0, 0, "", 0), 0);
	vmbus_send_done(w->dev.open[0]);
	assert_int_equal(at32(in), 120);
	assert_int_equal(at32((uint8_t *)guest_ptr(w->g, gpas[3]) + 96 + 20),
			 96);
}

static void a_broken_ring_is_told_once_and_closes_cleanly(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);
	struct vmbus_channel *host = w->dev.open[0];
	struct vmbus_packet p;
	unsigned lines;
	uint8_t buf[64];

	set32(guest_ptr(w->g, guest_out_ctrl(ch)), 12);
	lines = guest_log_lines(w->g);
	assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), -EBADMSG);
	assert_int_equal(guest_log_lines(w->g), lines + 1);
	assert_non_null(strstr(guest_log_last(w->g), "incoming ring"));
	assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), -EBADMSG);
	set32((uint8_t *)guest_ptr(w->g, guest_in_ctrl(ch)) + 4, 12);
	assert_true(vmbus_send_space(host) == -EBADMSG);
	assert_int_equal(vmbus_send(host, 6, 0, 0, "", 0), -EBADMSG);
	assert_int_equal(guest_log_lines(w->g), lines + 1);
	assert_int_equal(guest_close(ch), 0);
	/* a fresh ring works */
	ch = open_ch(w, 0);
	assert_int_equal(guest_send(ch, 6, 0, 0, "", 0), 0);
	assert_int_equal(vmbus_recv(host, buf, sizeof(buf), &p), 1);
	guest_close(ch);
}

static void devices_keep_data_at_their_channel(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch = open_ch(w, 0);

	assert_null(vmbus_channel_data(w->dev.open[0]));
	vmbus_channel_set_data(w->dev.open[0], w);
	assert_ptr_equal(vmbus_channel_data(w->dev.open[0]), w);
	guest_close(ch);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(packets_go_both_ways),
		T(a_full_outgoing_ring_tells_when_space_is_free),
		T(a_full_incoming_ring_tells_the_guest),
		T(a_reopened_ring_goes_on_where_the_guest_left_it),
		T(a_broken_ring_is_told_once_and_closes_cleanly),
		T(devices_keep_data_at_their_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
