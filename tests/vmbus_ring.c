/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring core over data areas of any size: every combination on a ring of
 * 64 bytes against a plain model, then the rules of signalling as tables, and
 * what a hostile guest does to the control words.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "hv/vmbus/ring.h"
#include "hv/vmbus/wire.h"
#include "tests/lib/proof.h"

#define PAGES 8
#define SMALL 64u

/* Page 0 is the control page; data pages are out of order. */
struct world {
	struct hv_mem *mem;
	uint8_t *ram;
	uint64_t pfns[PAGES - 1];
	struct vmbus_ring ring;
};

static int setup(void **state)
{
	static const uint64_t order[PAGES - 1] = {3, 1, 6, 2, 7, 5, 4};
	struct world *w = calloc(1, sizeof(*w));

	w->ram = aligned_alloc(4096, PAGES * 4096);
	memset(w->ram, 0, PAGES * 4096);
	memcpy(w->pfns, order, sizeof(order));
	assert_int_equal(hv_mem_create(&w->mem), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, PAGES * 4096, w->ram), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	hv_mem_destroy(w->mem);
	free(w->ram);
	free(w);
	return 0;
}

static void poke(struct world *w, unsigned off, uint32_t v)
{
	memcpy(w->ram + off, &v, sizeof(v));
}

static uint32_t peek(const struct world *w, unsigned off)
{
	uint32_t v;

	memcpy(&v, w->ram + off, sizeof(v));
	return v;
}

/* The small ring's data area. */
static uint8_t *data(struct world *w)
{
	return w->ram + w->pfns[0] * 4096;
}

static void indices(struct world *w, uint32_t in, uint32_t out)
{
	poke(w, VMBUS_RING_IN, in);
	poke(w, VMBUS_RING_OUT, out);
}

static int open_in(struct world *w, uint32_t size)
{
	return vmbus_ring_open_in(&w->ring, w->mem, 0, w->pfns, size);
}

static int open_out(struct world *w, uint32_t size)
{
	return vmbus_ring_open_out(&w->ring, w->mem, 0, w->pfns, size);
}

static bool index_ok(uint32_t i)
{
	return i % 8 == 0 && i < SMALL;
}

static uint32_t ahead(uint32_t from, uint32_t to)
{
	return (to + SMALL - from) % SMALL;
}

/* A byte of the small ring that tells where it came from. */
static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + 3);
}

static void put_desc(struct world *w, uint32_t at, unsigned len8, unsigned off8)
{
	uint8_t d[16] = {9,
			 0,
			 (uint8_t)off8,
			 (uint8_t)(off8 >> 8),
			 (uint8_t)len8,
			 (uint8_t)(len8 >> 8),
			 1,
			 0};

	for (unsigned i = 0; i < SMALL; i++)
		data(w)[i] = pattern(i);
	for (unsigned i = 0; i < 8; i++)
		data(w)[(at + i) % SMALL] = d[i];
}

/* ---------------------------------------------------------- exhaustive --- */

/* Combinations there are, by arithmetic, and those that were run: goal G7. */
#define STARTS	   (SMALL / 8)	/* legal indices */
#define INDICES	   (SMALL + 9u) /* legal and illegal ones */
#define SHORT	   32u		/* lengths and offsets around the ring's size */
#define CAPS	   4u
#define FIELD	   65536u /* values of a 16-bit field */
#define OTHERS	   10u	  /* of the other field, each */
#define TAKES	   (STARTS * INDICES * SHORT * SHORT * CAPS)
#define WIDE_TAKES (STARTS * 2 * FIELD * OTHERS * 2)
#define OPENS	   (INDICES * INDICES * 2)
#define PUTS	   (STARTS * STARTS * (SMALL + 9))

static unsigned long combinations;

/* What a pass must answer, from the numbers alone. */
static int model_take(uint32_t in, uint32_t out, unsigned len8, unsigned off8,
		      size_t cap)
{
	uint32_t avail;

	if (!index_ok(in))
		return -EBADMSG;
	avail = ahead(out, in);
	if (avail == 0)
		return 0;
	if (avail < 24 || off8 < 2 || len8 < off8 || len8 * 8 + 8 > avail)
		return -EBADMSG;
	return len8 * 8 > cap ? -EMSGSIZE : 1;
}

static void one_take(struct world *w, uint32_t in, uint32_t out, unsigned len8,
		     unsigned off8, size_t cap)
{
	int want = model_take(in, out, len8, off8, cap);
	uint32_t len = 0, end = out;
	uint8_t buf[SMALL];

	combinations++;
	indices(w, out, out);
	if (open_in(w, SMALL))
		fail_msg("open refused out %u", out);
	poke(w, VMBUS_RING_IN, in);
	put_desc(w, out, len8, off8);
	memset(buf, 0xEE, sizeof(buf));
	if (vmbus_ring_take(&w->ring, buf, cap, &len) != want)
		fail_msg("in %u out %u len %u off %u cap %zu: not %d", in, out,
			 len8, off8, cap, want);
	if (want == 1 || want == -EMSGSIZE)
		end = (out + len8 * 8 + 8) % SMALL;
	if (want == 1) {
		if (len != len8 * 8)
			fail_msg("length %u", len);
		for (uint32_t i = 0; i < len; i++)
			if (buf[i] != data(w)[(out + i) % SMALL])
				fail_msg("byte %u of in %u out %u", i, in, out);
	}
	for (size_t i = want == 1 ? len : 0; i < sizeof(buf); i++)
		if (buf[i] != 0xEE)
			fail_msg("wrote behind the packet");
	if (peek(w, VMBUS_RING_OUT) != out)
		fail_msg("read index moved early");
	vmbus_ring_take_done(&w->ring);
	if (peek(w, VMBUS_RING_OUT) != end)
		fail_msg("read index %u", peek(w, VMBUS_RING_OUT));
}

static void every_receive_on_a_64_byte_ring_matches_the_model(void **state)
{
	static const size_t caps[CAPS] = {SMALL, 24, 16, 0};
	struct world *w = *state;

	for (uint32_t out = 0; out < SMALL; out += 8)
		for (uint32_t in = 0; in < INDICES; in++)
			for (unsigned len8 = 0; len8 < SHORT; len8++)
				for (unsigned off8 = 0; off8 < SHORT; off8++)
					for (unsigned c = 0; c < CAPS; c++)
						one_take(w, in, out, len8, off8,
							 caps[c]);
}

/* All of each field's 16 bits against what matters of the other: products
 * that would wrap, differences of one. The ring is as full as it can be, or
 * holds one packet.
 */
static void every_value_of_both_fields_is_judged(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < STARTS * 2; i++) {
		uint32_t out = i / 2 * 8;
		uint32_t in = (out + (i % 2 ? 32 : SMALL - 8)) % SMALL;

		for (unsigned a = 0; a < FIELD; a++) {
			const unsigned others[OTHERS] = {
				0,	2,
				3,	6,
				0x2002, 0xFFFF,
				0x8000, (a - 1) % FIELD,
				a,	(a + 1) % FIELD};

			for (unsigned o = 0; o < OTHERS; o++) {
				one_take(w, in, out, a, others[o], SMALL);
				one_take(w, in, out, others[o], a, SMALL);
			}
		}
	}
}

static void every_open_with_any_indices_is_judged(void **state)
{
	struct world *w = *state;

	for (uint32_t in = 0; in < INDICES; in++)
		for (uint32_t out = 0; out < INDICES; out++) {
			int want = index_ok(in) && index_ok(out) ? 0 : -EINVAL;

			combinations += 2;
			indices(w, in, out);
			if (open_in(w, SMALL) != want)
				fail_msg("in: %u %u", in, out);
			indices(w, in, out);
			if (open_out(w, SMALL) != want)
				fail_msg("out: %u %u", in, out);
		}
	indices(w, 0xFFFFFFF8, 0);
	assert_int_equal(open_in(w, SMALL), -EINVAL);
}

static void one_put(struct world *w, uint32_t in, uint32_t out, uint32_t len)
{
	uint32_t padded = (len + 7) & ~7u, total = 16 + padded + 8, end;
	uint32_t room = SMALL - ahead(out, in) - 8;
	uint8_t payload[SMALL + 8], want[SMALL], trailer[8] = {0};
	int rc;

	combinations++;
	for (uint32_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(0x80 + i);
	for (uint32_t i = 0; i < SMALL; i++)
		data(w)[i] = pattern(i);
	memcpy(want, data(w), SMALL);
	indices(w, in, out);
	assert_int_equal(open_out(w, SMALL), 0);
	if (vmbus_ring_space(&w->ring) != room)
		fail_msg("space of in %u out %u", in, out);
	rc = vmbus_ring_put(&w->ring, 11, 0, 0x1122334455667788, payload, len);
	if (rc != (total > SMALL - 8 ? -EMSGSIZE : total > room ? -EAGAIN : 0))
		fail_msg("in %u out %u len %u: %d", in, out, len, rc);
	if (rc == 0) {
		const uint8_t head[16] = {
			11,   0,    2,	  0,	(uint8_t)(total / 8 - 1),
			0,    0,    0,	  0x88, 0x77,
			0x66, 0x55, 0x44, 0x33, 0x22,
			0x11};

		trailer[4] = (uint8_t)in;
		for (uint32_t i = 0; i < 16; i++)
			want[(in + i) % SMALL] = head[i];
		for (uint32_t i = 0; i < padded; i++)
			want[(in + 16 + i) % SMALL] = i < len ? payload[i] : 0;
		for (uint32_t i = 0; i < 8; i++)
			want[(in + 16 + padded + i) % SMALL] = trailer[i];
	}
	if (memcmp(want, data(w), SMALL) != 0)
		fail_msg("bytes of in %u out %u len %u", in, out, len);
	if (peek(w, VMBUS_RING_IN) != in)
		fail_msg("write index moved early");
	vmbus_ring_put_done(&w->ring);
	end = rc ? in : (in + total) % SMALL;
	if (peek(w, VMBUS_RING_IN) != end)
		fail_msg("write index %u", peek(w, VMBUS_RING_IN));
	if (rc == 0 && vmbus_ring_space(&w->ring) != room - total)
		fail_msg("space after");
}

static void every_send_on_a_64_byte_ring_is_exact_to_the_byte(void **state)
{
	struct world *w = *state;

	for (uint32_t in = 0; in < SMALL; in += 8)
		for (uint32_t out = 0; out < SMALL; out += 8)
			for (uint32_t len = 0; len <= SMALL + 8; len++)
				one_put(w, in, out, len);
}

/* ------------------------------------------------------------- larger ---- */

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

/* -------------------------------------------------------------- hostile -- */

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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_receive_on_a_64_byte_ring_matches_the_model),
		T(every_value_of_both_fields_is_judged),
		T(every_open_with_any_indices_is_judged),
		T(every_send_on_a_64_byte_ring_is_exact_to_the_byte),
		T(packets_wrap_across_scattered_pages),
		T(lengths_end_where_sixteen_bits_do),
		T(the_guest_is_signalled_when_its_ring_was_empty),
		T(a_batch_is_one_signal),
		T(a_guest_waiting_for_space_is_told_at_the_mark),
		T(incoming_opens_masked_and_unmask_sees_what_came),
		T(outgoing_opens_with_the_feature_bit_and_no_wish),
		T(waiting_for_space_leaves_a_wish_only_while_there_is_none),
		T(a_write_index_behind_what_was_read_breaks_the_ring),
		T(a_ring_filled_to_the_last_byte_is_empty),
		T(our_own_index_in_the_page_is_never_believed),
		T(a_read_index_outside_what_was_sent_breaks_the_ring),
		T(indices_toggled_between_put_and_done_only_break_the_ring),
		T(an_oversized_packet_is_skipped_and_the_next_one_comes),
		T(a_ring_outside_memory_is_refused),
		T(a_ring_that_breaks_on_the_way_says_so_from_then_on),
		T(a_data_page_outside_memory_breaks_the_ring),
		T(a_send_looks_again_before_it_has_no_room),
		T(a_ring_whose_control_page_is_gone_breaks),
	};

	const unsigned long all =
		(unsigned long)TAKES + WIDE_TAKES + OPENS + PUTS;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	proof_figure("G7", failed == 0 && combinations == all,
		     "%lu of %lu combinations of indices, length, offset and "
		     "buffer on a ring of 64 bytes",
		     combinations, all);
	return failed;
}
