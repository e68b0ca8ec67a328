/* SPDX-License-Identifier: BSD-2-Clause */
/* Crash consistency, goals C1 to C6: see crash.h.
 *
 * usage: crash [one] [two] [barriers] [-w WORDS]       (default: all three)
 *        crash export FOLDER COUNT
 *        -w: only workloads in whose name this is, and each name is printed
 *
 *        export: so many images that a cut left and opening put right, as
 *        NUMBER.vhd, and as NUMBER.raw what they must read as
 *
 * SEED in the environment begins other samples; PROOF_LONG=1 asks for the long
 * columns, and PROOF_SHARD=I/N for those of every N-th class of images. The
 * quick ones are the same every time. A sanitized build, ten times as slow, looks at a tenth of the states of the quick ones: every operation
 * and every point, for defects of memory; it reports no counts of states.
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

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Of all pairs of operations, in thousandths. */
#define SHARE (SANITIZED ? 2u : 20u)

static const char *wanted; /* -w */

static const struct op_table *const tables[] = {&use_ops, &guest_ops,
						&edit_ops, &repair_ops};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

unsigned op_count(void)
{
	unsigned n = 0;

	for (unsigned t = 0; t < TABLES; t++)
		n += tables[t]->count;
	return n;
}

const struct op *op_get(unsigned i)
{
	unsigned t = 0;

	while (i >= tables[t]->count)
		i -= tables[t++]->count;
	return &tables[t]->ops[i];
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

/* Parts are classes: what is alike in two workloads is so within a class. */
static bool is_wanted(const struct workload *w)
{
	struct proof_shard part = proof_shard();
	char name[200];

	if ((unsigned)(w->cls - classes) % part.of != part.at)
		return false;
	workload_name(w, name, sizeof(name));
	return !wanted || strstr(name, wanted);
}

/* Runs one; false: told why not. */
static bool passes(const struct workload *w, const struct run_opts *o,
		   struct run_stats *s)
{
	const char *fault;
	char name[200];

	workload_name(w, name, sizeof(name));
	if (wanted)
		printf("%s\n", name);
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

			if (!is_wanted(&w) || !workload_fits(&w))
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

static unsigned run_one(uint64_t seed, struct run_stats *s)
{
	struct run_opts o = {
		.seed = seed,
		.exhaustive = 7,
		.samples = {150, 24, 40, 20},
		.deep_every = 16,
		.depth2 = 3,
		.depth2_samples = 10,
	};
	const struct run_opts more = {
		.seed = seed,
		.exhaustive = 9,
		.samples = {2500, 400, 600, 300},
		.deep_every = 64,
		.depth2 = 24,
		.depth2_samples = 24,
	};
	const struct run_opts fewer = {
		.seed = seed,
		.exhaustive = 3,
		.samples = {10, 3, 4, 3},
		.deep_every = 32,
		.depth2 = 1,
		.depth2_samples = 3,
	};
	unsigned generated, bad;
	double began = seconds();

	if (proof_long())
		o = more;
	else if (SANITIZED)
		o = fewer;
	bad = one_op(&o, s, &generated);
	printf("one operation: %u of %u workloads, %llu visits, %zu states, "
	       "%llu deep, %zu of depth 2, %llu of %llu points, %.1f s\n",
	       s->workloads, generated, (unsigned long long)s->visited,
	       s->states.count, (unsigned long long)s->deep, s->depth2.count,
	       (unsigned long long)s->points_hit,
	       (unsigned long long)s->points, seconds() - began);
	proof_figure("C1", !bad && s->workloads == generated,
		     "%u of %u workloads, %u broken", s->workloads, generated,
		     bad);
	proof_figure("C4", s->points_hit == s->points,
		     "%llu of %llu points, %llu flushes",
		     (unsigned long long)s->points_hit,
		     (unsigned long long)s->points,
		     (unsigned long long)s->flushes);
	return bad;
}

/* Of all that ran. */
static void tell_states(const struct run_stats *s, unsigned bad, uint64_t seed)
{
	size_t states = proof_long() ? STATES_LONG : STATES_QUICK;
	size_t depth2 = proof_long() ? DEPTH2_LONG : DEPTH2_QUICK;

	if (SANITIZED && !proof_long())
		return;
	if (proof_shard().of > 1) /* unequal: the goal is for their sum */
		states = depth2 = 1;
	proof_figure("C3", !bad && s->states.count >= states,
		     "%zu distinct states, %u broken, seed %llu",
		     s->states.count, bad, (unsigned long long)seed);
	proof_figure("C6", !bad && s->depth2.count >= depth2,
		     "%zu distinct states, %u broken, seed %llu",
		     s->depth2.count, bad, (unsigned long long)seed);
}

/* One seeded share of all pairs, or all of them. */
static bool in_share(uint64_t seed, unsigned c, unsigned a, unsigned b)
{
	uint64_t x = seed + ((uint64_t)c << 32 | a << 16 | b);

	return proof_long() || random_next(&x) % 1000 < SHARE;
}

static unsigned two_ops(const struct run_opts *o, struct run_stats *s,
			uint64_t seed, unsigned *generated)
{
	unsigned bad = 0, n = op_count();

	*generated = 0;
	for (unsigned c = 0; c < class_count; c++)
		for (unsigned ab = 0; ab < n * n; ab++) {
			const struct workload w = {
				&classes[c],
				{op_get(ab / n), op_get(ab % n)},
				2,
			};

			if (!in_share(seed, c, ab / n, ab % n) ||
			    !is_wanted(&w) || !workload_fits(&w))
				continue;
			++*generated;
			bad += !passes(&w, o, s);
		}
	return bad;
}

static unsigned run_two(uint64_t seed, struct run_stats *s)
{
	struct run_opts o = {
		.seed = seed,
		.exhaustive = 4,
		.samples = {9, 3, 4, 3},
		.deep_every = 32,
		.depth2 = 1,
		.depth2_samples = 6,
	};
	unsigned generated, bad, before = s->workloads;
	double began = seconds();

	if (proof_long()) {
		o.samples[CRASH_STRICT_512] = 1500;
		for (unsigned k = CRASH_STRICT_512 + 1; k < CRASH_MODES; k++)
			o.samples[k] = 150;
		o.exhaustive = 8;
		o.bytes_most = 14 << 20;
		o.tail = true;
		o.depth2 = 16;
		o.depth2_samples = 20;
	}
	bad = two_ops(&o, s, seed, &generated);
	printf("two operations: %u of %u workloads, %llu visits, %zu states, "
	       "%zu of depth 2, %.1f s\n",
	       s->workloads - before, generated,
	       (unsigned long long)s->visited, s->states.count,
	       s->depth2.count, seconds() - began);
	proof_figure("C2", !bad && s->workloads - before == generated,
		     "%u of %u workloads%s, %u broken, seed %llu",
		     s->workloads - before, generated,
		     proof_long() ? ""
		     : SANITIZED  ? " (a sample of 0.2 %)"
				  : " (a sample of 2 %)",
		     bad,
		     (unsigned long long)seed);
	return bad;
}

static unsigned run_barriers(void)
{
	struct barrier_stats b;
	double began = seconds();
	bool good = barriers_run("tests/proof/barriers.tsv", &b);

	printf("barriers: %u, %u needed, %u excused, %u runs, %.1f s\n",
	       b.sites, b.killed, b.excused, b.runs, seconds() - began);
	proof_figure("C5", good,
		     "%u barriers: without it the suite fails for %u, %u have "
		     "their reason in a table",
		     b.sites, b.killed, b.excused);
	return !good;
}

/* Those that QEMU reads, too: no chains, none whose creator makes it go by the
 * geometry, none with sectors that only a bitmap makes zero, which it ignores.
 */
static bool for_others(const struct workload *w)
{
	return (w->cls->format == VHD_FORMAT_DYNAMIC ||
		w->cls->format == VHD_FORMAT_FIXED) &&
	       !strstr(w->cls->name, "batmap") &&
	       !strstr(w->cls->name, "partial") && workload_fits(w);
}

static int run_export(uint64_t seed, const char *dir, unsigned count)
{
	uint64_t rnd = seed;

	for (unsigned n = 0; n < count;) {
		const struct workload w = {
			&classes[random_below(&rnd, class_count)],
			{&use_ops.ops[random_below(&rnd, use_ops.count)]},
			1,
		};
		char vhd[300], raw[300];

		snprintf(vhd, sizeof(vhd), "%s/%u.vhd", dir, n);
		snprintf(raw, sizeof(raw), "%s/%u.raw", dir, n);
		if (for_others(&w) &&
		    workload_export(&w, random_next(&rnd), vhd, raw))
			n++;
	}
	return 0;
}

static int usage(const char *word)
{
	fprintf(stderr,
		"crash: %s? usage: crash [one] [two] [barriers] [-w WORDS]\n",
		word);
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t seed = seed_of();
	bool one = false, two = false, barriers = false;
	struct run_stats s = {0};
	unsigned bad = 0;

	if (argc == 4 && !strcmp(argv[1], "export"))
		return run_export(seed, argv[2],
				  (unsigned)strtoul(argv[3], NULL, 0));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "one"))
			one = true;
		else if (!strcmp(argv[i], "two"))
			two = true;
		else if (!strcmp(argv[i], "barriers"))
			barriers = true;
		else if (!strcmp(argv[i], "-w") && i + 1 < argc)
			wanted = argv[++i];
		else
			return usage(argv[i]);
	}
	if (!one && !two && !barriers)
		one = two = barriers = true;
	printf("SEED=%llu\n", (unsigned long long)seed);
	if (one)
		bad += run_one(seed, &s);
	if (two)
		bad += run_two(seed, &s);
	if (one || two)
		tell_states(&s, bad, seed);
	stats_free(&s);
	if (barriers)
		bad += run_barriers();
	return bad ? 1 : 0;
}
