/* SPDX-License-Identifier: BSD-2-Clause */
/* What a histogram says: see histogram.h for its buckets. */
#include "histogram.h"

void histogram_sum(struct storvsp_histogram *out, const struct histogram *h)
{
	uint64_t max_ns =
		atomic_load_explicit(&h->max_ns, memory_order_relaxed);

	for (unsigned i = 0; i < STORVSP_HISTOGRAM_BUCKETS; i++)
		out->n[i] += atomic_load_explicit(&h->n[i],
						  memory_order_relaxed);
	if (max_ns > out->max_ns)
		out->max_ns = max_ns;
}

uint64_t storvsp_histogram_floor_ns(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * HISTOGRAM_PARTS)
		return bucket;
	shift = bucket / HISTOGRAM_PARTS - 1;
	return (uint64_t)(bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS) << shift;
}

uint64_t storvsp_histogram_count(const struct storvsp_histogram *h)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STORVSP_HISTOGRAM_BUCKETS; i++)
		sum += h->n[i];
	return sum;
}

/* The middle of the bucket that holds the value with this rank, which is never
 * more than the longest one.
 */
uint64_t storvsp_histogram_ns(const struct storvsp_histogram *h,
			      unsigned per_100000)
{
	uint64_t count = storvsp_histogram_count(h), rank, seen = 0, ns;
	unsigned i = 0;

	if (count == 0)
		return 0;
	if (per_100000 >= 100000)
		return h->max_ns;
	/* rounded up: of 100 values p99 is the 99th */
	rank = count / 100000 * per_100000 +
	       (count % 100000 * per_100000 + 99999) / 100000;
	if (rank == 0)
		rank = 1;
	while ((seen += h->n[i]) < rank)
		i++;
	if (i == STORVSP_HISTOGRAM_BUCKETS - 1)
		return h->max_ns;
	ns = (storvsp_histogram_floor_ns(i) +
	      storvsp_histogram_floor_ns(i + 1) - 1) / 2;
	return ns < h->max_ns ? ns : h->max_ns;
}
