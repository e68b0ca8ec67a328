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

/* The second half of some work may cost so much more than the first: caches,
 * clocks and neighbours vary; what grows with the past would be far above.
 */
#define COST_RATIO_MAX 1.6
/* What is in use may not grow; what is resident may by so much, for pages are
 * touched for the first time and the allocator keeps what was freed.
 */
#define COST_HEAP_MAX	  (64u << 10)
#define COST_RESIDENT_MAX (4u << 20)

struct cost {
	uint64_t cpu_ns;
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
	struct timespec ts = {0};
	struct cost c = {0};
	unsigned long pages = 0;
	FILE *f;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	c.cpu_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
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

/* Cost of the second half by that of the first. */
static inline double cost_ratio(const struct cost *start,
				const struct cost *half, const struct cost *end)
{
	return (double)(end->cpu_ns - half->cpu_ns) /
	       (double)(half->cpu_ns - start->cpu_ns + 1);
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
