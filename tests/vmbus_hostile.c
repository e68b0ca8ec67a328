/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of hostile cases (tests/proof/hostile.tsv), as far as it is
 * the bus' and no other test holds it: trailers, words of the control page
 * that change while a ring is drained, rings laid over one another.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/cost.h"
#include "lib/fakedev.h"
#include "lib/guest.h"
#include "lib/proof.h"
#include "lib/random.h"

#define MASK	8u /* words of a control page */
#define PENDING 12u

struct world {
	struct guest *g;
	struct fakedev dev;
	struct guest_channel *ch;
	struct vmbus_channel *host;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->g = guest_create(NULL);
	fakedev_add(&w->dev, guest_bus(w->g), 1);
	guest_start(w->g);
	w->ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0),
			   &(struct guest_open_opts){2, 2, 0, NULL}, NULL);
	assert_non_null(w->ch);
	w->host = w->dev.open[0];
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	guest_close(w->ch);
	guest_destroy(w->g);
	free(w);
	return 0;
}

static void poke(struct world *w, uint64_t gpa, uint32_t value)
{
	memcpy(guest_ptr(w->g, gpa), &value, sizeof(value));
}

/* The whole trailer of each packet is nonsense. */
static void a_wrong_trailer_is_never_looked_at(void **state)
{
	struct world *w = *state;
	uint64_t seed = random_seed();

	for (unsigned i = 0; i < 500; i++) {
		uint64_t words[6] = {6 | 2ull << 16 | 4ull << 32 | 1ull << 48,
				     i,
				     0x1111111111111111ull * (i % 16),
				     ~0ull,
				     0,
				     0};
		struct vmbus_packet p;
		uint8_t buf[64];

		words[4] = random_next(&seed);
		assert_int_equal(guest_send_raw(w->ch, words, 40), 0);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 1);
		assert_true(p.trans_id == i);
		assert_int_equal(p.payload_len, 16);
		assert_memory_equal(p.payload, words + 2, 16);
		assert_int_equal(vmbus_recv(w->host, buf, sizeof(buf), &p), 0);
		vmbus_recv_done(w->host);
	}
}

/* Drain batches of packets, the guest writing `word` between any two steps. */
static void drain(struct world *w, uint32_t word, const uint32_t *values,
		  unsigned count)
{
	uint64_t next = 0, sent = 0;
	uint8_t buf[256] = {0};

	for (unsigned round = 0; round < 400; round++) {
		struct vmbus_packet p;
		int rc;

		while (sent - next < 10 &&
		       guest_send(w->ch, 6, 1, sent, buf, round % 9 * 8) == 0)
			sent++;
		vmbus_recv_mask(w->host);
		poke(w, guest_out_ctrl(w->ch) + word, values[round % count]);
		while ((rc = vmbus_recv(w->host, buf, sizeof(buf), &p)) == 1) {
			assert_true(p.trans_id == next);
			next++;
			poke(w, guest_out_ctrl(w->ch) + word,
			     values[next % count]);
			if (next % 3 == 0)
				vmbus_recv_done(w->host);
		}
		assert_int_equal(rc, 0);
		vmbus_recv_done(w->host);
		poke(w, guest_out_ctrl(w->ch) + word, values[round % count]);
		assert_false(vmbus_recv_unmask(w->host));
	}
	assert_true(next == sent && next > 1000);
}

static void a_mask_toggled_in_mid_drain_loses_no_packet(void **state)
{
	static const uint32_t values[] = {0, 1, 0xFFFFFFFF, 2, 0x80000000};

	drain(*state, MASK, values, 5);
}

static void a_pending_size_toggled_in_mid_drain_loses_no_packet(void **state)
{
	static const uint32_t values[] = {0, 1, 4088, 4096, 0xFFFFFFFF, 7, 64};

	drain(*state, PENDING, values, 7);
}

/* The guest's own mask on the ring that we write to: it only misses news. */
static void a_mask_toggled_while_answers_come_breaks_nothing(void **state)
{
	struct world *w = *state;
	uint8_t buf[256] = {0};

	for (unsigned i = 0; i < 1000; i++) {
		struct guest_packet q;

		poke(w, guest_in_ctrl(w->ch) + MASK, i % 3 * 0x7FFFFFFF);
		assert_int_equal(vmbus_send(w->host, 11, 0, i, buf, i % 100),
				 0);
		poke(w, guest_in_ctrl(w->ch) + MASK, i % 2);
		vmbus_send_done(w->host);
		assert_int_equal(guest_recv(w->ch, buf, sizeof(buf), &q), 1);
		assert_true(q.trans_id == i);
	}
}

/* ------------------------------------------- rings over one another ------ */

static size_t open_msg(uint8_t *m, uint32_t relid, uint32_t handle,
		       uint32_t split)
{
	memset(m, 0, 240);
	set32(m, 5);
	set32(m + 8, relid);
	set32(m + 16, handle);
	set32(m + 24, split);
	return 148;
}

/* Do with the channel what a device does, whatever comes of it. */
static void use(struct world *w, uint64_t *seed)
{
	struct vmbus_packet p;
	uint8_t buf[512];

	for (unsigned i = 0; i < 50; i++) {
		int rc = vmbus_recv(w->dev.open[0], buf, sizeof(buf), &p);

		assert_true(rc == 0 || rc == 1 || rc == -EMSGSIZE ||
			    rc == -EBADMSG);
		vmbus_recv_done(w->dev.open[0]);
		rc = vmbus_send(w->dev.open[0], 11, 0, i, buf,
				random_below(seed, 200));
		assert_true(rc == 0 || rc == -EAGAIN || rc == -EBADMSG);
		vmbus_send_done(w->dev.open[0]);
		(void)vmbus_send_wait(w->dev.open[0],
				      (uint32_t)random_below(seed, 5000));
		vmbus_recv_mask(w->dev.open[0]);
		(void)vmbus_recv_unmask(w->dev.open[0]);
	}
}

/* Pages of a ring, by number; rings of two pages each way: control, data. */
static void rings_over_one_another_harm_the_guest_only(void **state)
{
	static const uint8_t rows[][4] = {
		{0, 1, 0, 1}, /* both directions the same */
		{0, 0, 0, 0}, /* one page for all four */
		{0, 0, 1, 1}, /* each control page is its data page */
		{0, 1, 1, 0}, /* each control page is the other's data */
		{0, 1, 2, 1}, /* one data page */
		{0, 1, 0, 2}, /* one control page */
	};
	uint64_t seed = random_seed();
	struct world *w = *state;

	guest_close(w->ch);
	for (uint32_t i = 0; i < 6 * 20; i++) {
		uint64_t pages[3], gpas[4];
		uint8_t m[240], a[240];

		guest_alloc(w->g, 3, pages);
		for (unsigned p = 0; p < 4; p++)
			gpas[p] = pages[rows[i % 6][p]];
		assert_int_equal(guest_gpadl_create(w->g, 1, 100 + i, gpas, 4),
				 0);
		assert_int_equal(guest_say(w->g, m, open_msg(m, 1, 100 + i, 2)),
				 0);
		assert_int_equal(guest_hear(w->g, a, NULL), 20);
		assert_int_equal(at32(a + 16), 0);
		poke(w, gpas[0], (uint32_t)random_below(&seed, 512) * 8);
		use(w, &seed);
		memset(m, 0, sizeof(m));
		set32(m, 7);
		set32(m + 8, 1);
		assert_int_equal(guest_say(w->g, m, 12), 0);
		assert_int_equal(guest_gpadl_teardown(w->g, 1, 100 + i), 0);
	}
	w->ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0), NULL,
			   NULL);
	assert_non_null(w->ch);
}

/* ------------------------------------------------------------ a flood ---- */

#define MESSAGES 400000u

/* Any message: a type that exists and small numbers are likely, so is a list
 * of pages that are there.
 */
static size_t any_message(uint64_t *seed, uint8_t m[256])
{
	size_t len = random_below(seed, 250);

	memset(m, 0, 256);
	for (unsigned i = 0; i < 48; i += 4)
		set32(m + i, (uint32_t)random_below(seed, 8));
	set32(m, (uint32_t)random_below(seed, 30));
	switch (random_below(seed, 64)) {
	case 0: /* a good contact: all that was is gone */
		set32(m, 14);
		set32(m + 8, 0x50003);
		set32(m + 12, 0);
		set64(m + 16, 2);
		set64(m + 24, 0);
		set64(m + 32, 0);
		return 40;
	case 1 ... 8: /* a list of four pages */
		set32(m, 8);
		set32(m + 8, 1);
		set16(m + 16, 40);
		set16(m + 18, 1);
		set32(m + 20, 16384);
		set32(m + 24, 0);
		for (unsigned i = 0; i < 4; i++)
			set64(m + 28 + 8 * i, 16 + random_below(seed, 4000));
		return 60;
	case 9 ... 16: /* an open, mostly of what is not there */
		set32(m, 5);
		set32(m + 8, 1);
		set32(m + 20, 0);
		set32(m + 24, 2);
		return 148;
	case 17 ... 24: /* anything at all */
		for (unsigned i = 0; i < 256; i += 8)
			set64(m + i, random_next(seed));
		return len;
	default:
		return random_below(seed, 4) ? 148 : len;
	}
}

static void message_flood(struct guest *g, uint64_t *seed, unsigned count)
{
	uint8_t m[256], a[240];

	for (unsigned i = 0; i < count; i++) {
		size_t len = any_message(seed, m);

		guest_post(g, random_below(seed, 9) ? 4 : 1, m, len);
		if (i % 64 == 0)
			guest_advance(g, 1);
		if (random_below(seed, 4) == 0)
			vmbus_service(guest_bus(g));
		while (i % 16 == 0 && guest_hear(g, a, NULL) > 0)
			;
	}
	while (guest_hear(g, a, NULL) > 0)
		;
	/* what it holds by right, a bounded amount, goes with this */
	assert_int_equal(guest_connect(g, GUEST_VERSION_5_3), 1);
}

/* Lines at once and per millisecond: hv/vmbus/log.c. */
static void messages_by_the_hundred_thousand_cost_the_same_each(void **state)
{
	struct guest *g = guest_create(NULL);
	struct cost half = {0}, end;
	struct cost_pace pace;
	struct fakedev dev = {0};
	uint64_t seed;
	unsigned limit;
	bool met;

	(void)state;
	setenv("SEED", "7", 0); /* the same way each time, unless told */
	seed = random_seed();
	fakedev_add(&dev, guest_bus(g), 1);
	message_flood(g, &seed, MESSAGES / 10);
	pace = cost_pace_begin();
	for (unsigned i = 0; i < COST_PARTS; i++) {
		message_flood(g, &seed, MESSAGES / COST_PARTS);
		if (cost_pace_part(&pace))
			half = cost_now();
	}
	end = cost_now();
	limit = 64 + (MESSAGES + MESSAGES / 10) / 64 / 125 + 8;
	met = guest_log_lines(g) <= limit &&
	      cost_ratio(&pace) <= COST_RATIO_MAX &&
	      cost_steady(&half, &end);
	print_message("opened %u times, %u of %u lines, %.2f\n", dev.opens,
		      guest_log_lines(g), limit,
		      cost_ratio(&pace));
	proof_figure("G6", met,
		     "%u bus messages: alive, %u log lines (limit %u), second "
		     "half %.2f times the first, memory +%llu bytes",
		     MESSAGES, guest_log_lines(g), limit,
		     cost_ratio(&pace),
		     (unsigned long long)cost_growth(&half, &end));
	assert_true(met);
	guest_start(g); /* and it is served as ever */
	guest_destroy(g);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_wrong_trailer_is_never_looked_at),
		T(a_mask_toggled_in_mid_drain_loses_no_packet),
		T(a_pending_size_toggled_in_mid_drain_loses_no_packet),
		T(a_mask_toggled_while_answers_come_breaks_nothing),
		T(rings_over_one_another_harm_the_guest_only),
		cmocka_unit_test(
			messages_by_the_hundred_thousand_cost_the_same_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
