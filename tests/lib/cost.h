/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test has cost so far: processor time and memory of this process, to
 * show that work grows with its amount and that memory does not grow at all.
 */
#ifndef TESTS_LIB_COST_H
#define TESTS_LIB_COST_H

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The second half of some work may cost so much more than the first, each by
 * the cheapest of its parts: what neighbours take from the machine counts as
 * processor time, too, and seldom spares none of eight parts. What grows with
 * the past would be far above.
 */
#define COST_RATIO_MAX 1.6
#define COST_PARTS     16u /* of the work, all of one size */
/* What is in use may not grow; what is resident may by so much, for pages are
 * touched for the first time and the allocator keeps what was freed.
 */
#define COST_HEAP_MAX	  (64u << 10)
#define COST_RESIDENT_MAX (4u << 20)

struct cost {
	uint64_t heap_bytes; /* in use; 0 under sanitizers */
	uint64_t
		resident_bytes; /* 0 under sanitizers: they keep what is free */
};

#ifdef __SANITIZE_ADDRESS__
#define COST_MEMORY 0
#else
#define COST_MEMORY 1
#endif

static inline struct cost cost_now(void)
{
	struct cost c = {0};
	unsigned long pages = 0;
	FILE *f;

	if (!COST_MEMORY)
		return c;
	c.heap_bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
	f = fopen("/proc/self/statm", "re");
	if (!f || fscanf(f, "%*u %lu", &pages) != 1)
		abort();
	fclose(f);
	c.resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return c;
}

/* Processor time, part by part. */
struct cost_pace {
	unsigned parts;
	uint64_t since_ns, least_ns[2]; /* the least of each half */
};

static inline uint64_t cost_cpu_ns(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline struct cost_pace cost_pace_begin(void)
{
	return (struct cost_pace){.since_ns = cost_cpu_ns(),
				  .least_ns = {UINT64_MAX, UINT64_MAX}};
}

/* After each of COST_PARTS; true after the last of the first half. */
static inline bool cost_pace_part(struct cost_pace *p)
{
	uint64_t now_ns = cost_cpu_ns();
	uint64_t *least = &p->least_ns[p->parts >= COST_PARTS / 2];

	if (now_ns - p->since_ns < *least)
		*least = now_ns - p->since_ns;
	p->since_ns = now_ns;
	return ++p->parts == COST_PARTS / 2;
}

/* Cost of the second half by that of the first. */
static inline double cost_ratio(const struct cost_pace *p)
{
	return (double)p->least_ns[1] / (double)(p->least_ns[0] + 1);
}

/* Bytes in use more than before; less is 0. */
static inline uint64_t cost_growth(const struct cost *from,
				   const struct cost *to)
{
	return to->heap_bytes > from->heap_bytes
		       ? to->heap_bytes - from->heap_bytes
		       : 0;
}

static inline bool cost_steady(const struct cost *from, const struct cost *to)
{
	return cost_growth(from, to) <= COST_HEAP_MAX &&
	       to->resident_bytes <= from->resident_bytes + COST_RESIDENT_MAX;
}

#endif
