/* SPDX-License-Identifier: BSD-2-Clause */
/* Crash consistency, goals C1 to C6: see crash.h.
 *
 * usage: crash [one] [two] [barriers] [guest] [-w WORDS]    (default: all four)
 *        -w: only workloads in whose name this is, and each name is printed
 *
 * SEED in the environment begins other samples; PROOF_LONG=1 asks for the long
 * columns. The quick ones are the same every time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/proof.h"
#include "tests/proof/crash.h"

#define STATES_QUICK 100000u
#define STATES_LONG  10000000u
#define DEPTH2_QUICK 5000u
#define DEPTH2_LONG  500000u

static const char *wanted; /* -w */

unsigned op_count(void)
{
	return use_ops.count + edit_ops.count + repair_ops.count;
}

const struct op *op_get(unsigned i)
{
	if (i < use_ops.count)
		return &use_ops.ops[i];
	i -= use_ops.count;
	if (i < edit_ops.count)
		return &edit_ops.ops[i];
	return &repair_ops.ops[i - edit_ops.count];
}

static uint64_t seed_of(void)
{
	const char *given = getenv("SEED");

	return given ? strtoull(given, NULL, 0) : 1;
}

static double seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static bool is_wanted(const struct workload *w)
{
	char name[200];

	workload_name(w, name, sizeof(name));
	if (wanted && !strstr(name, wanted))
		return false;
	if (wanted)
		printf("%s\n", name);
	return true;
}

/* Runs one; false: told why not. */
static bool passes(const struct workload *w, const struct run_opts *o,
		   struct run_stats *s)
{
	const char *fault;

	if (!is_wanted(w))
		return true;
	fault = workload_run(w, o, s);
	if (fault)
		printf("BROKEN %s\n", fault);
	return !fault;
}

/* ----------------------------------------------------- one operation each -- */

static unsigned one_op(const struct run_opts *o, struct run_stats *s,
		       unsigned *generated)
{
	unsigned bad = 0;

	*generated = 0;
	for (unsigned c = 0; c < class_count; c++)
		for (unsigned i = 0; i < op_count(); i++) {
			const struct workload w = {
				&classes[c], {op_get(i)}, 1};

			if (!workload_fits(&w))
				continue;
			++*generated;
			bad += !passes(&w, o, s);
		}
	return bad;
}

static void stats_free(struct run_stats *s)
{
	seen_free(&s->states);
	seen_free(&s->depth2);
}

static unsigned run_one(uint64_t seed)
{
	struct run_opts o = {
		.seed = seed,
		.exhaustive = 7,
		.samples = {180, 30, 50, 24},
		.deep_every = 16,
		.depth2 = 3,
		.depth2_samples = 10,
	};
	struct run_stats s = {0};
	unsigned generated, bad;
	double began = seconds();

	bad = one_op(&o, &s, &generated);
	printf("one operation: %u of %u workloads, %llu visits, %zu states, "
	       "%llu deep, %zu of depth 2, %llu of %llu points, %.1f s\n",
	       s.workloads, generated, (unsigned long long)s.visited,
	       s.states.count, (unsigned long long)s.deep, s.depth2.count,
	       (unsigned long long)s.points_hit, (unsigned long long)s.points,
	       seconds() - began);
	proof_figure("C1", !bad && s.workloads == generated,
		     "%u of %u workloads, %u broken", s.workloads, generated,
		     bad);
	proof_figure("C3",
		     !bad && s.states.count >=
				     (proof_long() ? STATES_LONG
						   : STATES_QUICK),
		     "%zu distinct states, %u broken, seed %llu",
		     s.states.count, bad, (unsigned long long)seed);
	proof_figure("C4", s.points_hit == s.points,
		     "%llu of %llu points, %llu flushes",
		     (unsigned long long)s.points_hit,
		     (unsigned long long)s.points,
		     (unsigned long long)s.flushes);
	proof_figure("C6",
		     !bad && s.depth2.count >=
				     (proof_long() ? DEPTH2_LONG
						   : DEPTH2_QUICK),
		     "%zu distinct states, %u broken, seed %llu",
		     s.depth2.count, bad, (unsigned long long)seed);
	stats_free(&s);
	return bad;
}

int main(int argc, char **argv)
{
	uint64_t seed = seed_of();
	unsigned bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "-w"))
			wanted = argv[i + 1];
	printf("SEED=%llu\n", (unsigned long long)seed);
	bad += run_one(seed);
	return bad ? 1 : 0;
}
