/* SPDX-License-Identifier: BSD-2-Clause */
/* Deterministic simulation, goals D1 to D3: seeds in a row, each a run of
 * guest, rings, VSP, disk queues and disks with faults and power cuts, against
 * a flat model of what the guest may rely on. What is checked on the way:
 * every read is one of the contents the model allows; every request has one
 * answer, of a row that its faults allow; what a flush covered is there after
 * a power cut; images are sound by the independent reader; repair has an end;
 * parents are not touched.
 *
 * usage: sim [TABLE]   (tests/proof/sim.tsv: what cannot occur here)
 *
 * SEED=N: this one seed; SIM_TRACE=1: every event of it; SIM_SEEDS=N,
 * SIM_FIRST=N, SIM_EVENTS=N: other numbers than the goals'.
 */
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/proof.h"
#include "tests/proof/sim.h"

#define EVENTS	    1000u
#define SEEDS	    10000u
#define SEEDS_LONG  1000000u
#define TWICE	    100u
#define TWICE_LONG  1000u

static struct sim sim; /* media and models are kept from run to run */

/* --------------------------------------------------------------- failure -- */

static void how_to_see_it(const struct sim *s)
{
	char line[160];
	int n = snprintf(line, sizeof(line),
			 "sim: SEED=%llu event %u; again: SIM_EVENTS=%u "
			 "SIM_TRACE=1 SEED=%llu build/tests/proof/sim\n",
			 (unsigned long long)s->seed, s->event, s->events,
			 (unsigned long long)s->seed);

	if (write(2, line, (size_t)n) != n)
		_exit(1);
}

static void violated(const struct sim *s)
{
	proof_figure("D2", false, "seed %llu breaks at event %u",
		     (unsigned long long)s->seed, s->event);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "sim: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	how_to_see_it(s);
	violated(s);
	exit(1);
}

/* An abort in the simulated driver, an assertion in the product. */
static void on_signal(int sig)
{
	how_to_see_it(&sim);
	violated(&sim);
	signal(sig, SIG_DFL);
	raise(sig);
}

void sim_say(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	printf("[%6u] ", s->now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void sim_mix(struct sim *s, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t w = 0;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		sim_mix64(s, w);
	}
	w = len;
	memcpy(&w, p, len);
	sim_mix64(s, w);
}

/* ------------------------------------------------------------------ runs -- */

static uint64_t run(uint64_t seed, unsigned events, bool trace)
{
	struct simdisk *medium[SIM_DISKS];
	struct simmodel *model[SIM_DISKS];

	for (unsigned i = 0; i < SIM_DISKS; i++) {
		medium[i] = sim.disk[i].medium;
		model[i] = sim.disk[i].model;
	}
	memset(&sim, 0, sizeof(sim));
	for (unsigned i = 0; i < SIM_DISKS; i++) {
		sim.disk[i].medium = medium[i];
		sim.disk[i].model = model[i];
	}
	sim.seed = sim.rnd = seed;
	sim.now = 1;
	sim.events = events;
	sim.trace = trace;
	sim_run(&sim);
	return sim.hash;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v ? strtoull(v, NULL, 0) : otherwise;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_one(uint64_t seed, unsigned events)
{
	uint64_t hash = run(seed, events, number("SIM_TRACE", 0));

	printf("SEED=%llu: %u events, hash %016llx\n", (unsigned long long)seed,
	       events, (unsigned long long)hash);
	return 0;
}

/* Of so many seeds, those of this part. */
static uint64_t part_of(uint64_t whole, uint64_t *first)
{
	struct proof_shard s = proof_shard();
	uint64_t from = proof_part(s, s.at, whole);

	*first += from;
	return proof_part(s, s.at + 1, whole) - from;
}

static unsigned run_twice(uint64_t first, uint64_t count, unsigned events)
{
	unsigned differ = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t a = run(first + i, events, false);
		uint64_t b = run(first + i, events, false);

		if (a == b)
			continue;
		differ++;
		fprintf(stderr, "sim: SEED=%llu: %016llx, then %016llx\n",
			(unsigned long long)(first + i), (unsigned long long)a,
			(unsigned long long)b);
	}
	return differ;
}

static void forget_sums(void)
{
	memset(&sim_sums, 0, sizeof(sim_sums));
}

static void tell(uint64_t count, unsigned events, double took)
{
	printf("%llu seeds x %u events in %.1f s: %.0f events/s; %llu posts, "
	       "%llu answers, %llu faults, %llu power cuts\n",
	       (unsigned long long)count, events, took,
	       (double)count * events / took,
	       (unsigned long long)sim_sums.posts,
	       (unsigned long long)sim_sums.answers,
	       (unsigned long long)sim_sums.faults,
	       (unsigned long long)sim_sums.crashes);
}

int main(int argc, char **argv)
{
	const char *table = argc > 1 ? argv[1] : "tests/proof/sim.tsv";
	uint64_t first = number("SIM_FIRST", 1), again = first;
	uint64_t goal = part_of(proof_long() ? SEEDS_LONG : SEEDS, &first);
	uint64_t twice = part_of(proof_long() ? TWICE_LONG : TWICE, &again);
	uint64_t seeds = number("SIM_SEEDS", goal);
	unsigned events = (unsigned)number("SIM_EVENTS", EVENTS);
	unsigned differ, bad, whys, rows, elsewhere;
	double began;

	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	/* Channels come and go: keep their memory. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	if (getenv("SEED"))
		return run_one(number("SEED", 1), events);
	differ = run_twice(again, twice < seeds ? twice : seeds, events);
	proof_figure("D1", !differ && seeds >= twice,
		     "%llu seeds twice, %u differ, from seed %llu",
		     (unsigned long long)twice, differ,
		     (unsigned long long)again);
	forget_sums();
	began = seconds();
	for (uint64_t i = 0; i < seeds; i++)
		run(first + i, events, false);
	tell(seeds, events, seconds() - began);
	proof_figure("D2", seeds >= goal && events >= EVENTS,
		     "%llu seeds x %u events, %llu power cuts, %llu faults, "
		     "from seed %llu, 0 violations",
		     (unsigned long long)seeds, events,
		     (unsigned long long)sim_sums.crashes,
		     (unsigned long long)sim_sums.faults,
		     (unsigned long long)first);
	bad = sim_tally_check(table, &whys, &rows, &elsewhere);
	proof_figure("D3", !bad,
		     "%u reasons and %u rows occur, %u more are shown by the "
		     "tests in sim.tsv, %u lack both",
		     whys, rows, elsewhere, bad);
	return differ || (bad && seeds >= goal);
}
