/* SPDX-License-Identifier: BSD-2-Clause */
/* Every combination on a ring of 64 bytes against a plain model. */
#include <errno.h>

#include "tests/lib/proof.h"
#include "tests/lib/ringworld.h"

static bool index_ok(uint32_t i)
{
	return i % 8 == 0 && i < SMALL;
}

static uint32_t ahead(uint32_t from, uint32_t to)
{
	return (to + SMALL - from) % SMALL;
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(every_receive_on_a_64_byte_ring_matches_the_model),
		RING_TEST(every_value_of_both_fields_is_judged),
		RING_TEST(every_open_with_any_indices_is_judged),
		RING_TEST(every_send_on_a_64_byte_ring_is_exact_to_the_byte),
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
