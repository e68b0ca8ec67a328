/* SPDX-License-Identifier: BSD-2-Clause */
/* What a hostile guest does to a ring's control words, its pages and what lies
 * in them.
 */
#include <errno.h>

#include "tests/lib/ringworld.h"

static void a_write_index_behind_what_was_read_breaks_the_ring(void **state)
{
	struct world *w = *state;
	uint8_t buf[SMALL];
	uint32_t len;

	indices(w, 24, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	put_desc(w, 0, 2, 2);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 1);
	/* Not given back yet: the guest cannot have written there, however
	 * good the packet looks that would follow.
	 */
	memcpy(data(w) + 24, "\6\0\2\0\2\0\0\0", 8);
	poke(w, VMBUS_RING_IN, 16);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), -EBADMSG);
	assert_non_null(w->ring.broken);
	/* for good */
	poke(w, VMBUS_RING_IN, 24);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), -EBADMSG);
	assert_false(vmbus_ring_take_done(&w->ring));
	assert_int_equal(peek(w, VMBUS_RING_OUT), 0);
}

static void a_ring_filled_to_the_last_byte_is_empty(void **state)
{
	struct world *w = *state;
	uint8_t buf[SMALL];
	uint32_t len;

	/* what no correct guest does: its packets are lost, no more */
	indices(w, 24, 24);
	assert_int_equal(open_in(w, SMALL), 0);
	put_desc(w, 24, 7, 2);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 0);
	assert_false(vmbus_ring_unmask(&w->ring));
	assert_null(w->ring.broken);
}

static void our_own_index_in_the_page_is_never_believed(void **state)
{
	struct world *w = *state;
	uint8_t buf[SMALL];
	uint32_t len;

	indices(w, 24, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	put_desc(w, 0, 2, 2);
	poke(w, VMBUS_RING_OUT, 12345);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 1);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 0);
	vmbus_ring_take_done(&w->ring);
	assert_int_equal(peek(w, VMBUS_RING_OUT), 24);

	indices(w, 0, 0);
	poke(w, VMBUS_RING_MASK, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	poke(w, VMBUS_RING_IN, 54321);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, NULL, 0), 0);
	assert_true(vmbus_ring_put_done(&w->ring));
	assert_int_equal(peek(w, VMBUS_RING_IN), 24);
}

static void a_read_index_outside_what_was_sent_breaks_the_ring(void **state)
{
	static const struct {
		uint32_t in, out, lie;
	} rows[] = {
		{24, 0, 32},	 /* beyond what was written */
		{48, 24, 16},	 /* backwards */
		{48, 24, 20},	 /* misaligned */
		{48, 24, SMALL}, /* past the end */
		{48, 24, 0xFFFFFFF8}, {8, 48, 16}, {8, 48, 40},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		indices(w, rows[i].in, rows[i].out);
		assert_int_equal(open_out(w, SMALL), 0);
		poke(w, VMBUS_RING_OUT, rows[i].lie);
		if (vmbus_ring_space(&w->ring) != -EBADMSG)
			fail_msg("row %zu", i);
		poke(w, VMBUS_RING_OUT, rows[i].out);
		assert_int_equal(vmbus_ring_space(&w->ring), -EBADMSG);
		assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, NULL, 0),
				 -EBADMSG);
		assert_false(vmbus_ring_put_done(&w->ring));
		assert_true(vmbus_ring_wait(&w->ring, 8));
	}
}

static void indices_toggled_between_put_and_done_only_break_the_ring(void **st)
{
	struct world *w = *st;

	indices(w, 0, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, NULL, 0), 0);
	poke(w, VMBUS_RING_OUT, 7);
	assert_false(vmbus_ring_put_done(&w->ring));
	assert_int_equal(vmbus_ring_space(&w->ring), -EBADMSG);

	indices(w, 24, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	put_desc(w, 0, 2, 2);
	uint8_t buf[SMALL];
	uint32_t len;

	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 1);
	poke(w, VMBUS_RING_PENDING, 8);
	poke(w, VMBUS_RING_IN, 3);
	assert_false(vmbus_ring_take_done(&w->ring));
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), -EBADMSG);
}

static void an_oversized_packet_is_skipped_and_the_next_one_comes(void **state)
{
	struct world *w = *state;
	uint8_t buf[16];
	uint32_t len = 0;

	indices(w, 56, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	put_desc(w, 0, 3, 2); /* 24 bytes and trailer: [0, 32) */
	memcpy(data(w) + 32, "\6\0\2\0\2\0\0\0", 8); /* [32, 56) */
	assert_int_equal(vmbus_ring_take(&w->ring, buf, 16, &len), -EMSGSIZE);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, 16, &len), 1);
	assert_int_equal(len, 16);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, 16, &len), 0);
	vmbus_ring_take_done(&w->ring);
	assert_int_equal(peek(w, VMBUS_RING_OUT), 56);
}

/* A control word or a page that turns out impossible on the way. */
static void a_ring_that_breaks_on_the_way_says_so_from_then_on(void **state)
{
	struct world *w = *state;
	uint8_t buf[8192];
	uint32_t len;

	indices(w, 0, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	poke(w, VMBUS_RING_IN, 4);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, sizeof(buf), &len),
			 -EBADMSG);
	assert_true(vmbus_ring_unmask(&w->ring)); /* the next take says so */
	assert_int_equal(vmbus_ring_take(&w->ring, buf, sizeof(buf), &len),
			 -EBADMSG);
	assert_false(vmbus_ring_take_done(&w->ring));

	/* a full ring, and a read index that is none */
	indices(w, 0, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), 0);
	poke(w, VMBUS_RING_OUT, 12);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), -EBADMSG);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), -EBADMSG);
	indices(w, 0, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	poke(w, VMBUS_RING_OUT, SMALL);
	assert_true(vmbus_ring_wait(&w->ring, 8));
	assert_true(vmbus_ring_wait(&w->ring, 8));
}

/* The second page of the data is no RAM: what is all in the first goes on. */
static void a_data_page_outside_memory_breaks_the_ring(void **state)
{
	struct world *w = *state;
	uint8_t buf[8192] = {0};
	uint32_t len;

	w->pfns[1] = PAGES;
	indices(w, 4096 - 16, 4096 - 16);
	assert_int_equal(open_out(w, 8192), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), -EBADMSG);
	indices(w, 4096 - 32, 4096 - 32);
	assert_int_equal(open_out(w, 8192), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), -EBADMSG);
	indices(w, 4096 - 8, 4096 - 8);
	assert_int_equal(open_out(w, 8192), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 16), -EBADMSG);
	/* a packet of several pieces: header, payload, trailer over there */
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t at[] = {4096 - 8, 4096 - 64,
					      4096 - 16 - 128};

		indices(w, at[i], at[i]);
		assert_int_equal(open_out(w, 8192), 0);
		assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, buf, 128),
				 -EBADMSG);
	}
	/* a descriptor in the first page, its payload in the second */
	w->ram[w->pfns[0] * 4096 + 4080 + 2] = 2;
	w->ram[w->pfns[0] * 4096 + 4080 + 4] = 4;
	indices(w, 4080 + 40, 4080);
	assert_int_equal(open_in(w, 8192), 0);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, sizeof(buf), &len),
			 -EBADMSG);
}

static void a_ring_outside_memory_is_refused(void **state)
{
	struct world *w = *state;
	uint64_t far[1] = {1000};
	uint8_t buf[SMALL];
	uint32_t len;

	indices(w, 24, 0);
	assert_int_not_equal(vmbus_ring_open_in(&w->ring, w->mem, 1000 * 4096,
						w->pfns, SMALL),
			     0);
	assert_int_not_equal(vmbus_ring_open_out(&w->ring, w->mem, 1000 * 4096,
						 w->pfns, SMALL),
			     0);
	assert_int_equal(vmbus_ring_open_in(&w->ring, w->mem, 0, far, SMALL),
			 0);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), -EBADMSG);
	indices(w, 0, 0);
	assert_int_equal(vmbus_ring_open_out(&w->ring, w->mem, 0, far, SMALL),
			 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 0, NULL, 0), -EBADMSG);
}

/* What the guest has read since the last look is room for a packet. */
static void a_send_looks_again_before_it_has_no_room(void **state)
{
	struct world *w = *state;

	indices(w, 0, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, NULL, 0), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 2, NULL, 0), 0);
	vmbus_ring_put_done(&w->ring);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 3, NULL, 0), -EAGAIN);
	poke(w, VMBUS_RING_OUT, 24);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 3, NULL, 0), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 4, NULL, 0), -EAGAIN);
}

/* Memory does not go away under a ring; if it did, the ring would break, for
 * the first reason there was.
 */
static void a_ring_whose_control_page_is_gone_breaks(void **state)
{
	struct world *w = *state;
	const uint64_t gone = 1000 * 4096;
	uint8_t buf[SMALL];
	uint32_t len;

	put_desc(w, 0, 2, 2);
	indices(w, 24, 0);
	assert_int_equal(open_in(w, SMALL), 0);
	assert_int_equal(vmbus_ring_take(&w->ring, buf, SMALL, &len), 1);
	w->ring.ctrl_gpa = gone;
	assert_false(vmbus_ring_take_done(&w->ring));
	assert_non_null(w->ring.broken);
	indices(w, 0, 0);
	assert_int_equal(open_out(w, SMALL), 0);
	assert_int_equal(vmbus_ring_put(&w->ring, 6, 0, 1, NULL, 0), 0);
	w->ring.ctrl_gpa = gone;
	assert_false(vmbus_ring_put_done(&w->ring));
	assert_int_equal(w->ring.broken_value, VMBUS_RING_IN);
	assert_true(vmbus_ring_wait(&w->ring, 8));
	assert_int_equal(w->ring.broken_value, VMBUS_RING_IN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(a_write_index_behind_what_was_read_breaks_the_ring),
		RING_TEST(a_ring_filled_to_the_last_byte_is_empty),
		RING_TEST(our_own_index_in_the_page_is_never_believed),
		RING_TEST(a_read_index_outside_what_was_sent_breaks_the_ring),
		RING_TEST(
			indices_toggled_between_put_and_done_only_break_the_ring),
		RING_TEST(
			an_oversized_packet_is_skipped_and_the_next_one_comes),
		RING_TEST(a_ring_that_breaks_on_the_way_says_so_from_then_on),
		RING_TEST(a_data_page_outside_memory_breaks_the_ring),
		RING_TEST(a_ring_outside_memory_is_refused),
		RING_TEST(a_send_looks_again_before_it_has_no_room),
		RING_TEST(a_ring_whose_control_page_is_gone_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
