/* SPDX-License-Identifier: BSD-2-Clause */
/* A million hostile packets of all kinds: the process lives, the guest's lines
 * in the log are bounded, a packet late in the flood costs what an early one
 * did, and memory stays where it was. Goal G6.
 */
#include "storvsp/log.h"
#include "tests/lib/cost.h"
#include "tests/lib/hostile.h"
#include "tests/lib/proof.h"
#include "tests/lib/random.h"

#define PACKETS	   1000000u
#define CLOCK_EACH 20u /* packets for a millisecond of the VSP's clock */

static uint64_t clock_ms;

static uint64_t flood_clock(void *arg)
{
	(void)arg;
	return clock_ms;
}

/* Any bytes, likely with an operation that exists. */
static size_t any_payload(uint64_t *seed, uint8_t bytes[128])
{
	uint32_t op = (uint32_t)random_below(seed, 16);

	for (unsigned b = 0; b < 128; b += 8) {
		uint64_t r = random_next(seed);

		memcpy(bytes + b, &r, 8);
	}
	if (random_below(seed, 2))
		memcpy(bytes, &op, 4);
	return random_below(seed, 17) * 8;
}

/* A request in which one byte is wrong. */
static size_t nearly_good(struct simvsp *w, uint64_t *seed, uint8_t bytes[128])
{
	struct storvsp_packet_wire p = read_packet(w);

	memcpy(bytes, &p, sizeof(p));
	bytes[random_below(seed, 64)] = (uint8_t)random_next(seed);
	return sizeof(p);
}

/* True when it went into the ring. */
static bool send_one(struct simvsp *w, uint64_t *seed, uint64_t id)
{
	static const uint16_t types[] = {6, 9, 9, 11, 7, 0, 0xFFFF, 9};
	uint16_t type = types[random_below(seed, 8)];
	uint16_t flags = (uint16_t)random_below(seed, 4);
	struct guest_range r = whole(w);
	uint8_t bytes[128];
	size_t n = random_below(seed, 2) ? any_payload(seed, bytes)
					 : nearly_good(w, seed, bytes);
	int rc;

	if (random_below(seed, 4) == 0) {
		r.len = (uint32_t)random_below(seed, 8192);
		r.offset = (uint32_t)random_below(seed, 4097);
		r.pages = (unsigned)random_below(seed, 3);
	}
	rc = type == 9 ? guest_send_gpa(vsc_ring(w->c), flags, id, &r, 1, bytes,
					n)
		       : guest_send(vsc_ring(w->c), type, flags, id, bytes, n);
	if (rc)
		return false;
	if (flags & 1 && type != 11)
		vsc_expect(w->c, id, n);
	else
		vsc_expect_none(w->c);
	return true;
}

static void flood(struct simvsp *w, uint64_t *seed, unsigned count)
{
	struct vsc_answer a;

	for (unsigned i = 0; i < count;) {
		if (send_one(w, seed, i))
			i++;
		else
			while (vsc_recv(w->c, &a))
				;
		clock_ms += i % CLOCK_EACH == 0;
	}
	while (vsc_outstanding(w->c))
		assert_true(vsc_recv(w->c, &a));
}

static void packets_by_the_million_cost_the_same_each(void **state)
{
	struct vsc_opts o = {.vsp.now_ms = flood_clock};
	const struct sim_opts sim = {.forgetful = true};
	uint64_t seed = random_seed(), first = seed;
	struct cost half = {0}, end;
	struct cost_pace pace;
	struct storvsp_stats s;
	unsigned lines, limit;
	struct simvsp w;
	bool met;

	(void)state;
	simvsp_start(&w, &o, &sim);
	flood(&w, &seed, PACKETS / 10); /* what is allocated once */
	pace = cost_pace_begin();
	for (unsigned i = 0; i < COST_PARTS; i++) {
		flood(&w, &seed, PACKETS / COST_PARTS);
		if (cost_pace_part(&pace))
			half = cost_now();
	}
	end = cost_now();
	lines = vsc_log_lines(w.v);
	limit = STORVSP_LOG_BURST +
		(unsigned)(clock_ms / STORVSP_LOG_REFILL_MS);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_true(s.packets >= PACKETS);
	met = lines <= limit &&
	      cost_ratio(&pace) <= COST_RATIO_MAX &&
	      cost_steady(&half, &end);
	print_message("%u packets, %u of %u log lines, %.2f, %llu bytes\n",
		      PACKETS, lines, limit, cost_ratio(&pace),
		      (unsigned long long)cost_growth(&half, &end));
	proof_figure("G6", met,
		     "%u packets: alive, %u log lines (limit %u), second half "
		     "%.2f times the first (limit %.1f), memory +%llu bytes, "
		     "seed %llu",
		     PACKETS, lines, limit, cost_ratio(&pace),
		     COST_RATIO_MAX,
		     (unsigned long long)cost_growth(&half, &end),
		     (unsigned long long)first);
	assert_true(met);
	still_serves(&w);
	simvsp_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_by_the_million_cost_the_same_each),
	};

	setenv("SEED", "7", 0); /* the same way each time, unless told */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
