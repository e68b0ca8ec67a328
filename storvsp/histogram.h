/* SPDX-License-Identifier: BSD-2-Clause */
/* A log-linear histogram of times: each power of two is cut into eight equal
 * parts, so that a value is known to an eighth of itself, from a nanosecond to
 * eighteen minutes, in a fixed number of counters.
 *
 *   0 .. 7 one bucket each; then for 2^e <= ns < 2^(e+1): 8 buckets of 2^(e-3)
 *
 * Thread: one adds, anybody reads; see stats.h. The longest value is kept
 * exactly.
 */
#ifndef STORVSP_HISTOGRAM_H
#define STORVSP_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "storvsp.h"

#define HISTOGRAM_PART_BITS 3u
#define HISTOGRAM_PARTS	    (1u << HISTOGRAM_PART_BITS)
/* Values of so many bits and more share the last bucket. */
#define HISTOGRAM_BITS 40u

_Static_assert(STORVSP_HISTOGRAM_BUCKETS ==
		       (HISTOGRAM_BITS - HISTOGRAM_PART_BITS + 1) *
			       HISTOGRAM_PARTS,
	       "buckets cover all values");

struct histogram {
	_Atomic uint64_t n[STORVSP_HISTOGRAM_BUCKETS];
	_Atomic uint64_t max_ns;
};

static inline unsigned histogram_bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < HISTOGRAM_PARTS)
		return (unsigned)ns;
	if (ns >> HISTOGRAM_BITS)
		return STORVSP_HISTOGRAM_BUCKETS - 1;
	shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_PART_BITS;
	/* the leading bit of `ns >> shift` counts the power on */
	return (shift << HISTOGRAM_PART_BITS) + (unsigned)(ns >> shift);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	_Atomic uint64_t *at = &h->n[histogram_bucket(ns)];
	uint64_t n = atomic_load_explicit(at, memory_order_relaxed);

	atomic_store_explicit(at, n + 1, memory_order_relaxed);
	if (ns > atomic_load_explicit(&h->max_ns, memory_order_relaxed))
		atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

/* Add what `h` has counted to `out`. */
void histogram_sum(struct storvsp_histogram *out, const struct histogram *h);

#endif
