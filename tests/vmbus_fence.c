/* SPDX-License-Identifier: BSD-2-Clause */
/* Each full fence of the ring core against its partner in the guest: two
 * threads do their half of a handshake at the same instant, many times. That
 * both miss the other is what a missing fence allows (with one taken out,
 * some tens of these rounds on a busy x86 machine) and what must never happen.
 * On one processor the rounds do not overlap and prove nothing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hv/vmbus/ring.h"
#include "hv/vmbus/wire.h"
#include "lib/rounds.h"

#define ROUNDS 100000
#define SIZE   64u
#define SKEW   97 /* delays up to this, to sweep the two against each other */

struct litmus;

struct handshake {
	void (*prepare)(struct litmus *t);
	bool (*host)(struct litmus *t);	 /* true: the host noticed */
	bool (*guest)(struct litmus *t); /* true: the guest noticed */
};

struct litmus {
	const struct handshake *how;
	struct hv_mem *mem;
	uint8_t *ram; /* control page, data page */
	uint64_t pfn;
	struct vmbus_ring ring;
	atomic_uint arrived, rounds;
	bool guest_noticed;
	unsigned missed, both;
};

static _Atomic uint32_t *word(struct litmus *t, unsigned off)
{
	return (_Atomic uint32_t *)(void *)(t->ram + off);
}

static void set(struct litmus *t, unsigned off, uint32_t v)
{
	atomic_store(word(t, off), v);
}

static uint32_t get(struct litmus *t, unsigned off)
{
	return atomic_load_explicit(word(t, off), memory_order_relaxed);
}

/* The guest's half: one word written, a full fence, others read. */
static void guest_set(struct litmus *t, unsigned off, uint32_t v)
{
	atomic_store_explicit(word(t, off), v, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
}

static uint32_t guest_free(struct litmus *t)
{
	return SIZE -
	       (get(t, VMBUS_RING_IN) + SIZE - get(t, VMBUS_RING_OUT)) % SIZE;
}

static void meet(struct litmus *t, unsigned count)
{
	unsigned spins = 0;

	atomic_fetch_add(&t->arrived, 1);
	while (atomic_load(&t->arrived) < count)
		rounds_spin(&spins);
}

static void dawdle(unsigned loops)
{
	while (loops-- > 0)
		__asm__ volatile("pause");
}

static void *guest_main(void *arg)
{
	struct litmus *t = arg;

	for (unsigned i = 0; i < atomic_load(&t->rounds); i++) {
		meet(t, i * 4 + 2);
		(void)get(t, VMBUS_RING_IN); /* the line is here, shared */
		dawdle(i * 7 % SKEW / 8);
		t->guest_noticed = t->how->guest(t);
		meet(t, i * 4 + 4);
	}
	return NULL;
}

static void run(const struct handshake *how)
{
	struct litmus t = {.how = how, .pfn = 1, .rounds = ROUNDS};
	uint64_t end = rounds_end_ns();
	pthread_t guest;

	t.ram = aligned_alloc(4096, 8192);
	memset(t.ram, 0, 8192);
	assert_int_equal(hv_mem_create(&t.mem), 0);
	assert_int_equal(hv_mem_add(t.mem, 0, 8192, t.ram), 0);
	how->prepare(&t);
	assert_int_equal(pthread_create(&guest, NULL, guest_main, &t), 0);
	for (unsigned i = 0; i < t.rounds; i++) {
		bool noticed;

		/* the guest asks when it has met us in this round */
		if (rounds_over(end))
			t.rounds = i + 1;
		meet(&t, i * 4 + 2);
		(void)get(&t, VMBUS_RING_IN);
		dawdle(i * 31 % SKEW / 8);
		noticed = how->host(&t);
		meet(&t, i * 4 + 3); /* the guest adds the fourth */
		while (atomic_load(&t.arrived) < i * 4 + 4)
			sched_yield();
		t.missed += !noticed && !t.guest_noticed;
		t.both += noticed && t.guest_noticed;
		how->prepare(&t);
	}
	assert_int_equal(pthread_join(guest, NULL), 0);
	hv_mem_destroy(t.mem);
	free(t.ram);
	print_message("both sides noticed in %u of %u rounds\n", t.both,
		      t.rounds);
	assert_int_equal(t.missed, 0);
}

/* ------------------------------------------- unmask against publication -- */

static void open_in(struct litmus *t, uint32_t in, uint32_t out)
{
	set(t, VMBUS_RING_IN, in);
	set(t, VMBUS_RING_OUT, out);
	set(t, VMBUS_RING_PENDING, 0);
	assert_int_equal(vmbus_ring_open_in(&t->ring, t->mem, 0, &t->pfn, SIZE),
			 0);
}

static void open_out(struct litmus *t, uint32_t in, uint32_t out, uint32_t mask)
{
	set(t, VMBUS_RING_IN, in);
	set(t, VMBUS_RING_OUT, out);
	set(t, VMBUS_RING_MASK, mask);
	assert_int_equal(
		vmbus_ring_open_out(&t->ring, t->mem, 0, &t->pfn, SIZE), 0);
}

static void masked_and_empty(struct litmus *t)
{
	open_in(t, 0, 0);
}

static bool host_unmasks(struct litmus *t)
{
	return vmbus_ring_unmask(&t->ring);
}

static bool guest_publishes(struct litmus *t)
{
	guest_set(t, VMBUS_RING_IN, 24);
	return get(t, VMBUS_RING_MASK) == 0; /* it signals */
}

static void a_packet_published_while_unmasking_is_seen_or_signalled(void **st)
{
	static const struct handshake how = {masked_and_empty, host_unmasks,
					     guest_publishes};

	(void)st;
	run(&how);
}

/* ------------------------------------- giving back against a full guest -- */

static void one_taken_of_a_full_ring(struct litmus *t)
{
	static const uint8_t packet[8] = {6, 0, 2, 0, 2, 0, 0, 0};
	uint8_t buf[SIZE];
	uint32_t len;

	memcpy(t->ram + 4096, packet, sizeof(packet));
	open_in(t, 56, 0);
	assert_int_equal(vmbus_ring_take(&t->ring, buf, sizeof(buf), &len), 1);
}

static bool host_gives_back(struct litmus *t)
{
	return vmbus_ring_take_done(&t->ring);
}

static bool guest_asks_for_room(struct litmus *t)
{
	guest_set(t, VMBUS_RING_PENDING, 24);
	return guest_free(t) > 24;
}

static void room_given_while_the_guest_asks_is_seen_or_signalled(void **st)
{
	static const struct handshake how = {
		one_taken_of_a_full_ring, host_gives_back, guest_asks_for_room};

	(void)st;
	run(&how);
}

/* ------------------------------------------- sending against unmasking --- */

static void guest_masked(struct litmus *t)
{
	open_out(t, 0, 0, 1);
	assert_int_equal(vmbus_ring_put(&t->ring, 6, 0, 0, NULL, 0), 0);
}

static bool host_sends(struct litmus *t)
{
	return vmbus_ring_put_done(&t->ring);
}

static bool guest_unmasks(struct litmus *t)
{
	guest_set(t, VMBUS_RING_MASK, 0);
	return get(t, VMBUS_RING_IN) != 0;
}

static void a_packet_sent_while_the_guest_unmasks_is_seen_or_signalled(
	void **st)
{
	static const struct handshake how = {guest_masked, host_sends,
					     guest_unmasks};

	(void)st;
	run(&how);
}

/* The guest has one packet left to read; when it is done it looks again. */
static void guest_nearly_done(struct litmus *t)
{
	open_out(t, 24, 0, 0);
	assert_int_equal(vmbus_ring_put(&t->ring, 6, 0, 0, NULL, 0), 0);
}

static bool guest_reads_its_last(struct litmus *t)
{
	guest_set(t, VMBUS_RING_OUT, 24);
	return get(t, VMBUS_RING_IN) != 24;
}

static void a_packet_sent_while_the_guest_empties_is_seen_or_signalled(
	void **st)
{
	static const struct handshake how = {guest_nearly_done, host_sends,
					     guest_reads_its_last};

	(void)st;
	run(&how);
}

/* ------------------------------------------- waiting against reading ----- */

static void out_ring_full(struct litmus *t)
{
	open_out(t, 56, 0, 0);
}

static bool host_asks_for_room(struct litmus *t)
{
	return vmbus_ring_wait(&t->ring, 32);
}

static bool guest_reads_all(struct litmus *t)
{
	guest_set(t, VMBUS_RING_OUT, 56);
	return get(t, VMBUS_RING_PENDING) != 0; /* it signals */
}

static void room_made_while_the_host_asks_is_seen_or_signalled(void **st)
{
	static const struct handshake how = {out_ring_full, host_asks_for_room,
					     guest_reads_all};

	(void)st;
	run(&how);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_packet_published_while_unmasking_is_seen_or_signalled),
		cmocka_unit_test(
			room_given_while_the_guest_asks_is_seen_or_signalled),
		cmocka_unit_test(
			a_packet_sent_while_the_guest_unmasks_is_seen_or_signalled),
		cmocka_unit_test(
			a_packet_sent_while_the_guest_empties_is_seen_or_signalled),
		cmocka_unit_test(
			room_made_while_the_host_asks_is_seen_or_signalled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
