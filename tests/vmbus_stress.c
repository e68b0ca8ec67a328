/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest and host as threads of their own on one channel: no wake-up is ever
 * lost, in either direction, with rings large and tiny, while interrupts move
 * between VPs. A lost wake-up shows as a wait that ends by its time limit.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/guest.h"

#define PATIENCE_MS 100000

/* A device with a thread: echoes the payload of each packet back. */
struct echo {
	struct vmbus_channel *ch;
	pthread_t thread;
	int stop_fd;
	atomic_bool stuck; /* waited too long with work to do */
	uint64_t taken, spurious;
};

/* Completions for what has been read; waits for room inside the ring only. */
static bool answer(struct echo *e, const struct vmbus_packet *p)
{
	int rc;

	for (;;) {
		rc = vmbus_send(e->ch, VMBUS_PACKET_COMPLETION, 0, p->trans_id,
				p->payload, p->payload_len);
		if (rc != -EAGAIN)
			break;
		vmbus_send_done(e->ch);
		if (vmbus_send_wait(e->ch, 16 + p->payload_len + 8))
			continue;

		struct pollfd fds[2] = {
			{vmbus_channel_eventfd(e->ch), POLLIN, 0},
			{e->stop_fd, POLLIN, 0},
		};
		int n = poll(fds, 2, PATIENCE_MS);
		eventfd_t v;

		if (n == 0)
			e->stuck = true;
		if (n == 0 || (fds[1].revents & POLLIN))
			return false;
		(void)eventfd_read(fds[0].fd, &v);
		vmbus_send_wait(e->ch, 0);
	}
	return rc == 0;
}

static bool drain(struct echo *e)
{
	struct vmbus_packet p;
	uint8_t buf[512];
	unsigned batch = 0;

	do {
		vmbus_recv_mask(e->ch);
		while (vmbus_recv(e->ch, buf, sizeof(buf), &p) == 1) {
			e->taken++;
			if (!answer(e, &p))
				return false;
			if (++batch % 4 == 0) {
				vmbus_recv_done(e->ch);
				vmbus_send_done(e->ch);
			}
		}
		vmbus_recv_done(e->ch);
		vmbus_send_done(e->ch);
	} while (vmbus_recv_unmask(e->ch));
	return true;
}

static void *echo_main(void *arg)
{
	struct echo *e = arg;
	struct pollfd fds[2] = {
		{vmbus_channel_eventfd(e->ch), POLLIN, 0},
		{e->stop_fd, POLLIN, 0},
	};

	for (;;) {
		uint64_t before = e->taken;
		eventfd_t v;

		if (poll(fds, 2, -1) < 0 || (fds[1].revents & POLLIN))
			return NULL;
		(void)eventfd_read(fds[0].fd, &v);
		if (!drain(e))
			return NULL;
		e->spurious += e->taken == before;
	}
}

static int echo_open(void *dev, struct vmbus_channel *ch, const uint8_t *user)
{
	struct echo *e = dev;

	(void)user;
	e->ch = ch;
	e->stop_fd = eventfd(0, EFD_NONBLOCK);
	return e->stop_fd < 0 || pthread_create(&e->thread, NULL, echo_main, e)
		       ? -ENOMEM
		       : 0;
}

static void echo_close(void *dev, struct vmbus_channel *ch)
{
	struct echo *e = dev;

	(void)ch;
	(void)eventfd_write(e->stop_fd, 1);
	pthread_join(e->thread, NULL);
	close(e->stop_fd);
}

static const struct vmbus_device_ops echo_ops = {"echo", echo_open, echo_close};

static struct guest *world(struct echo *e)
{
	struct guest *g =
		guest_create(&(struct guest_opts){.threaded = true, .vps = 4});
	struct vmbus_offer offer = {
		.type = fakedev_type, .ops = &echo_ops, .dev = e};
	struct vmbus_channel *ch;

	/* before the first message: no control thread yet */
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &ch, NULL), 0);
	guest_start(g);
	return g;
}

struct guest_side {
	struct guest_channel *ch;
	uint64_t count;
	unsigned pace; /* packets in flight at most */
	bool mask;     /* mask interrupts while draining */
	uint64_t sent, received;
	uint64_t timeouts;
	unsigned wrong;
};

static void take_answers(struct guest_side *s)
{
	struct guest_packet q;
	uint8_t buf[512];

	do {
		if (s->mask)
			guest_mask(s->ch);
		while (guest_recv(s->ch, buf, sizeof(buf), &q) == 1) {
			if (q.trans_id != s->received ||
			    (q.payload_len >= 8 && at64(buf) != s->received))
				s->wrong++;
			s->received++;
		}
	} while (s->mask && guest_unmask(s->ch));
}

/* Send as fast as the pace allows; wait by interrupt only. */
static void *guest_main(void *arg)
{
	struct guest_side *s = arg;
	uint8_t payload[200] = {0};

	while (s->received < s->count) {
		bool blocked = false;

		while (s->sent < s->count && s->sent - s->received < s->pace) {
			size_t len = 8 + s->sent * 13 % 190;

			set64(payload, s->sent);
			if (guest_send(s->ch, 6, 1, s->sent, payload, len)) {
				blocked = true;
				break;
			}
			s->sent++;
		}
		(void)blocked;
		take_answers(s);
		if (s->received == s->count ||
		    (s->sent < s->count && !blocked &&
		     s->sent - s->received < s->pace))
			continue;
		if (!guest_wait_interrupt(s->ch, PATIENCE_MS)) {
			s->timeouts++;
			break;
		}
		take_answers(s);
	}
	return NULL;
}

static void run(struct guest_open_opts open, uint64_t count, unsigned pace,
		bool mask, bool move)
{
	struct echo e = {0};
	struct guest *g = world(&e);
	struct guest_side s = {.count = count, .pace = pace, .mask = mask};
	uint64_t signals, interrupts;
	pthread_t thread;
	int64_t status;

	s.ch = guest_open(g, guest_offer_find(g, NULL, 0, 0), &open, &status);
	assert_non_null(s.ch);
	assert_int_equal(pthread_create(&thread, NULL, guest_main, &s), 0);
	/* The bus is busy with other things meanwhile. */
	for (uint32_t i = 0; move && i < 200; i++) {
		uint8_t m[240] = {22};

		set32(m + 8, 1);
		set32(m + 12, i % 4);
		while (guest_say(g, m, 16) != 0)
			poll(NULL, 0, 1);
		assert_int_equal(guest_hear_type(g, 24, m), 16);
		assert_int_equal(at32(m + 12), 0);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(s.timeouts, 0);
	signals = guest_signals_sent(s.ch);
	interrupts = guest_interrupts(s.ch);
	guest_close(s.ch); /* the echo's numbers are still after that */
	print_message("%llu packets, %llu signals, %llu interrupts, "
		      "%llu empty wake-ups\n",
		      (unsigned long long)s.received,
		      (unsigned long long)signals,
		      (unsigned long long)interrupts,
		      (unsigned long long)e.spurious);
	assert_false(e.stuck);
	assert_int_equal(s.wrong, 0);
	assert_true(s.received == count);
	assert_true(e.taken == count);
	guest_destroy(g);
}

static void one_packet_at_a_time_never_sleeps_through_its_signal(void **state)
{
	(void)state;
	run((struct guest_open_opts){.out_pages = 2, .in_pages = 2}, 20000, 1,
	    false, false);
	run((struct guest_open_opts){.out_pages = 2, .in_pages = 2}, 20000, 1,
	    true, false);
}

static void many_in_flight_never_lose_a_signal(void **state)
{
	(void)state;
	run((struct guest_open_opts){.out_pages = 32, .in_pages = 32}, 100000,
	    64, true, false);
}

static void rings_that_fill_up_never_lose_the_news_of_space(void **state)
{
	(void)state;
	/* the guest outruns a host that is stopped by its own full ring */
	run((struct guest_open_opts){.out_pages = 2, .in_pages = 2}, 100000,
	    100000, true, false);
	run((struct guest_open_opts){.out_pages = 5, .in_pages = 2}, 100000,
	    100000, false, false);
	run((struct guest_open_opts){.out_pages = 2, .in_pages = 5}, 100000,
	    100000, true, false);
}

static void interrupts_that_move_between_vps_are_never_lost(void **state)
{
	(void)state;
	run((struct guest_open_opts){.out_pages = 4, .in_pages = 4}, 50000, 16,
	    true, true);
}

/* Open and close under fire: the device's thread is always gone in time. */
static void a_channel_closed_in_full_flight_opens_again(void **state)
{
	struct echo e = {0};
	struct guest *g = world(&e);

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct guest_channel *ch;

		ch = guest_open(g, guest_offer_find(g, NULL, 0, 0),
				&(struct guest_open_opts){2, 2, i % 4, NULL},
				NULL);
		assert_non_null(ch);
		for (uint64_t n = 0; n < i; n++)
			if (guest_send(ch, 6, 1, n, "12345678", 8))
				break;
		assert_int_equal(guest_close(ch), 0);
	}
	guest_destroy(g);
}

/* ----------------------------------------------- many virtual processors -- */

#define VCPUS	  3
#define QUESTIONS 2000

struct vcpu {
	struct guest *g;
	uint32_t base;
};

/* Ask about handles nobody has; retry as Linux does when told to. */
static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	for (uint32_t i = 0; i < QUESTIONS; i++) {
		uint8_t m[16] = {11};

		set32(m + 8, 1);
		set32(m + 12, v->base + i);
		while (guest_say(v->g, m, sizeof(m)) != 0)
			sched_yield();
	}
	return NULL;
}

/* Posts from several threads are all answered, those of each in order, while
 * another thread asks for sub-channels.
 */
static void messages_of_many_vcpus_are_answered_in_order(void **state)
{
	struct fakedev dev = {0};
	struct guest *g =
		guest_create(&(struct guest_opts){.threaded = true, .vps = 4});
	uint32_t next[VCPUS] = {0};
	struct guest_channel *ch;
	struct vcpu vcpu[VCPUS];
	pthread_t thread[VCPUS];

	(void)state;
	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	ch = guest_open(g, guest_offer_find(g, NULL, 0, 0), NULL, NULL);
	assert_non_null(ch);
	for (uint32_t i = 0; i < VCPUS; i++) {
		vcpu[i] = (struct vcpu){g, i << 16};
		assert_int_equal(
			pthread_create(&thread[i], NULL, vcpu_main, &vcpu[i]),
			0);
	}
	for (uint32_t n = 0; n < VCPUS * QUESTIONS; n++) {
		uint8_t m[240];

		if (n % 1000 == 0)
			assert_int_equal(vmbus_offer_sub(dev.open[0], 1), 0);
		assert_int_equal(guest_hear_type(g, 12, m), 12);
		assert_in_range(at32(m + 8) >> 16, 0, VCPUS - 1);
		assert_int_equal(at32(m + 8) & 0xffff,
				 next[at32(m + 8) >> 16]++);
	}
	for (uint32_t i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	for (uint16_t i = 1; i <= VCPUS * QUESTIONS / 1000; i++)
		assert_non_null(guest_offer_find(g, &fakedev_type, i, 0));
	assert_int_equal(guest_close(ch), 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			one_packet_at_a_time_never_sleeps_through_its_signal),
		cmocka_unit_test(many_in_flight_never_lose_a_signal),
		cmocka_unit_test(
			rings_that_fill_up_never_lose_the_news_of_space),
		cmocka_unit_test(
			interrupts_that_move_between_vps_are_never_lost),
		cmocka_unit_test(a_channel_closed_in_full_flight_opens_again),
		cmocka_unit_test(messages_of_many_vcpus_are_answered_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
