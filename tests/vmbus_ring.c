/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring core over data areas of any size, and the rules of signalling as
 * tables.
 */
#include <errno.h>
#include <time.h>

#include "tests/lib/ringworld.h"

static void packets_wrap_across_scattered_pages(void **state)
{
	struct world *w = *state;
	uint32_t size = 3 * 4096; /* not a power of two */
	unsigned seed = (unsigned)time(NULL);
	uint8_t sent[5000], got[6000];
	struct vmbus_ring in_ring;

	print_message("seed %u\n", seed);
	srand(seed);
	indices(w, 8, 8);
	assert_int_equal(open_out(w, size), 0);
	assert_int_equal(vmbus_ring_open_in(&in_ring, w->mem, 0, w->pfns, size),
			 0);
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t n = (uint32_t)rand() % sizeof(sent), len = 0;

		for (uint32_t i = 0; i < n; i++)
			sent[i] = (uint8_t)rand();
		assert_int_equal(vmbus_ring_put(&w->ring, 6, 1, round, sent, n),
				 0);
		vmbus_ring_put_done(&w->ring);
		assert_int_equal(
			vmbus_ring_take(&in_ring, got, sizeof(got), &len), 1);
		assert_int_equal(len, 16 + ((n + 7) & ~7u));
		assert_memory_equal(got + 16, sent, n);
		vmbus_ring_take_done(&in_ring);
	}
}

static void lengths_end_where_sixteen_bits_do(void **state)
{
	struct world *w = *state;
	uint32_t size = 600 * 1024;
	uint64_t *pfns = calloc(size / 4096, sizeof(*pfns));
	uint8_t *payload = calloc(1, 65535 * 8 + 8);

	for (uint32_t i = 0; i < size / 4096; i++)
		pfns[i] = 1; /* all the same page: lengths matter only */
	indices(w, 0, 0);
	assert_int_equal(vmbus_ring_open_out(&w->ring, w->mem, 0, pfns, size),
			 0);
	assert_int_equal(
		vmbus_ring_put(&w->ring, 6, 0, 0, payload, 65535 * 8 - 16 + 1),
		-EMSGSIZE);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, payload, SIZE_MAX),
			 -EMSGSIZE);
	assert_int_equal(
		vmbus_ring_put(&w->ring, 6, 0, 0, payload, 65535 * 8 - 16), 0);
	free(payload);
	free(pfns);
}

/* ---------------------------------------------------------- signalling --- */

/* Send one 24-byte packet into a ring of 64 with this state; is the guest
 * signalled? `out_after` is where the guest's read index is when we look.
 */
static void the_guest_is_signalled_when_its_ring_was_empty(void **state)
{
	static const struct {
		uint32_t in, out_before, out_after, mask;
		bool signal;
	} rows[] = {
		{0, 0, 0, 0, true},	/* empty */
		{0, 0, 0, 1, false},	/* empty, masked */
		{0, 0, 0, 2, false},	/* any mask bit masks */
		{24, 0, 0, 0, false},	/* packets pending */
		{24, 0, 24, 0, true},	/* drained meanwhile */
		{24, 0, 8, 0, false},	/* half drained */
		{56, 56, 56, 0, true},	/* empty at the end, packet wraps */
		{56, 56, 16, 0, false}, /* the guest has taken the new one */
		{24, 0, 24, 1, false},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		indices(w, rows[i].in, rows[i].out_before);
		assert_int_equal(open_out(w, SMALL), 0);
		poke(w, VMBUS_RING_MASK, rows[i].mask);
		assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, NULL, 0), 0);
		poke(w, VMBUS_RING_OUT, rows[i].out_after);
		if (vmbus_ring_put_done(&w->ring) != rows[i].signal)
			fail_msg("row %zu", i);
		/* nothing new: nothing to say */
		assert_false(vmbus_ring_put_done(&w->ring));
	}
}

static void a_batch_is_one_signal(void **state)
{
	struct world *w = *state;

	indices(w, 0, 0);
	assert_int_equal(open_out(w, 4096), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vmbus_ring_put(&w->ring, 11, 0, i, NULL, 0),
				 0);
	assert_int_equal(peek(w, VMBUS_RING_IN), 0);
	assert_true(vmbus_ring_put_done(&w->ring));
	assert_int_equal(peek(w, VMBUS_RING_IN), 240);
	assert_int_equal(vmbus_ring_put(&w->ring, 11, 0, 0, NULL, 0), 0);
	assert_false(vmbus_ring_put_done(&w->ring));
}

/* The guest's ring of 64 bytes has packets of 24 in [out, in); the host takes
 * one and gives it back. Free before and after follow from in and out.
 */
static void a_guest_waiting_for_space_is_told_at_the_mark(void **state)
{
	static const struct {
		uint32_t in, out, pending;
		bool signal;
	} rows[] = {
		{48, 0, 0, false},  /* not waiting */
		{48, 0, 16, true},  /* free 16 -> 40, exactly full counts */
		{48, 0, 24, true},  /* 16 -> 40 */
		{48, 0, 32, true},  /* more than 32: yes */
		{48, 0, 40, true},  /* a guest content with 40 itself */
		{48, 0, 44, true},  /* low bits do not matter */
		{48, 0, 48, false}, /* not reached yet */
		{48, 0, 8, false},  /* was there before */
		{24, 0, 39, false}, /* free 40 before: not waiting for this */
		{24, 0, 40, true},  /* 40 -> 64 */
		{24, 0, 56, true},  /* all there is */
		{24, 0, 63, true},  /* size - 1, as some guests ask */
		{24, 0, 64, true},  /* more than there can be: when empty */
		{24, 0, 0xFFFFFFFF, true}, {48, 0, 0xFFFFFFFF, false},
		{16, 32, 24, true}, /* wrapped: 16 -> 40 */
	};
	struct world *w = *state;
	uint8_t buf[SMALL];
	uint32_t len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		indices(w, rows[i].in, rows[i].out);
		assert_int_equal(open_in(w, SMALL), 0);
		put_desc(w, rows[i].out, 2, 2);
		assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len),
				 1);
		poke(w, VMBUS_RING_PENDING, rows[i].pending);
		/* the mask has no say in this */
		poke(w, VMBUS_RING_MASK, 1);
		if (vmbus_ring_take_done(&w->ring) != rows[i].signal)
			fail_msg("row %zu", i);
		assert_false(vmbus_ring_take_done(&w->ring));
	}
}

static void incoming_opens_masked_and_unmask_sees_what_came(void **state)
{
	struct world *w = *state;
	uint8_t buf[SMALL];
	uint32_t len;

	indices(w, 0, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	assert_int_equal(peek(w, VMBUS_RING_MASK), 1);
	assert_false(vmbus_ring_unmask(&w->ring));
	assert_int_equal(peek(w, VMBUS_RING_MASK), 0);
	vmbus_ring_mask(&w->ring);
	assert_int_equal(peek(w, VMBUS_RING_MASK), 1);
	put_desc(w, 0, 2, 2);
	poke(w, VMBUS_RING_IN, 24);
	assert_true(vmbus_ring_unmask(&w->ring));
	/* still true: it has been seen but not taken */
	assert_true(vmbus_ring_unmask(&w->ring));
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 1);
	assert_false(vmbus_ring_unmask(&w->ring));
	/* nonsense makes it true, and take tells */
	poke(w, VMBUS_RING_IN, 4);
	assert_true(vmbus_ring_unmask(&w->ring));
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), -EBADMSG);
}

static void outgoing_opens_with_the_feature_bit_and_no_wish(void **state)
{
	struct world *w = *state;

	indices(w, 0, 0);
	poke(w, VMBUS_RING_FEATURES, 0x10);
	poke(w, VMBUS_RING_PENDING, 99);
	assert_int_equal(open_out(w, SMALL), 0);
	assert_int_equal(peek(w, VMBUS_RING_FEATURES), 0x11);
	assert_int_equal(peek(w, VMBUS_RING_PENDING), 0);
}

static void waiting_for_space_leaves_a_wish_only_while_there_is_none(void **st)
{
	static const struct {
		uint32_t in, out, bytes;
		bool there;
		uint32_t wish;
	} rows[] = {
		{0, 0, 56, true, 0},	  {24, 0, 32, true, 0},
		{24, 0, 33, false, 40},	  {24, 0, 40, false, 40},
		{48, 0, 8, true, 0},	  {48, 0, 9, false, 16},
		{24, 0, 1000, false, 56}, /* never more than all of it */
		{0, 0, 1000, true, 0},	  {24, 0, 0xFFFFFFFF, false, 56},
	};
	struct world *w = *st;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		indices(w, rows[i].in, rows[i].out);
		assert_int_equal(open_out(w, SMALL), 0);
		if (vmbus_ring_wait(&w->ring, rows[i].bytes) != rows[i].there)
			fail_msg("row %zu", i);
		assert_int_equal(peek(w, VMBUS_RING_PENDING), rows[i].wish);
		assert_true(vmbus_ring_wait(&w->ring, 0));
		assert_int_equal(peek(w, VMBUS_RING_PENDING), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(packets_wrap_across_scattered_pages),
		RING_TEST(lengths_end_where_sixteen_bits_do),
		RING_TEST(the_guest_is_signalled_when_its_ring_was_empty),
		RING_TEST(a_batch_is_one_signal),
		RING_TEST(a_guest_waiting_for_space_is_told_at_the_mark),
		RING_TEST(incoming_opens_masked_and_unmask_sees_what_came),
		RING_TEST(outgoing_opens_with_the_feature_bit_and_no_wish),
		RING_TEST(
			waiting_for_space_leaves_a_wish_only_while_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
