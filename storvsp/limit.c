/* SPDX-License-Identifier: BSD-2-Clause */
/* See limit.h. */
#include <errno.h>

#include "limit.h"

#define NS_PER_S 1000000000u
/* Where no burst is named; and the shortest there is: sleeping is not exact. */
#define BURST_NS     (NS_PER_S / 10)
#define BURST_MIN_NS (NS_PER_S / 100)

static int check(const char *what, uint64_t rate, uint64_t burst, uint64_t max,
		 struct vhd_err *err)
{
	if (rate > max || burst > max)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a limit of %llu %s a second, %llu at once: "
				"at most %llu",
				(unsigned long long)rate, what,
				(unsigned long long)burst,
				(unsigned long long)max);
	if (burst && !rate)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a burst of %llu %s, but no limit",
				(unsigned long long)burst, what);
	return 0;
}

int limit_check(const struct storvsp_limits *l, struct vhd_err *err)
{
	int rc = check("requests", l->iops, l->iops_burst, STORVSP_IOPS_MAX,
		       err);

	return rc ? rc
		  : check("bytes", l->bps, l->bps_burst, STORVSP_BPS_MAX, err);
}

/* How long the bucket takes to earn so much; rounded up, so that the limit is
 * never exceeded.
 */
static uint64_t cost_ns(uint64_t amount, uint64_t rate)
{
	__extension__ typedef unsigned __int128 wide;

	return (uint64_t)(((wide)amount * NS_PER_S + rate - 1) / rate);
}

static void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst,
		       uint64_t now_ns)
{
	uint64_t burst_ns = burst ? cost_ns(burst, rate) : BURST_NS;

	if (burst_ns < BURST_MIN_NS)
		burst_ns = BURST_MIN_NS;
	/* a channel that sees but half of this makes one request wrong */
	atomic_store_explicit(&b->full_ns, now_ns, memory_order_relaxed);
	atomic_store_explicit(&b->burst_ns, burst_ns, memory_order_relaxed);
	atomic_store_explicit(&b->rate, rate, memory_order_relaxed);
}

void limit_set(struct limit *l, const struct storvsp_limits *limits,
	       uint64_t now_ns)
{
	bucket_set(&l->ios, limits->iops, limits->iops_burst, now_ns);
	bucket_set(&l->bytes, limits->bps, limits->bps_burst, now_ns);
	atomic_store_explicit(&l->on, limits->iops || limits->bps,
			      memory_order_relaxed);
}

static uint64_t bucket_due_ns(const struct bucket *b)
{
	uint64_t full = atomic_load_explicit(&b->full_ns, memory_order_relaxed);
	uint64_t burst =
		atomic_load_explicit(&b->burst_ns, memory_order_relaxed);

	if (!atomic_load_explicit(&b->rate, memory_order_relaxed))
		return 0;
	/* strictly less than the burst: then N at once are N, not N + 1 */
	return full >= burst ? full - burst + 1 : 0;
}

uint64_t limit_due_ns(const struct limit *l)
{
	uint64_t ios = bucket_due_ns(&l->ios);
	uint64_t bytes = bucket_due_ns(&l->bytes);

	return ios > bytes ? ios : bytes;
}

static void bucket_charge(struct bucket *b, uint64_t amount, uint64_t now_ns)
{
	uint64_t rate = atomic_load_explicit(&b->rate, memory_order_relaxed);
	uint64_t full = atomic_load_explicit(&b->full_ns, memory_order_relaxed);
	uint64_t from;

	if (!rate || !amount)
		return;
	do
		from = full > now_ns ? full : now_ns;
	while (!atomic_compare_exchange_weak_explicit(
		&b->full_ns, &full, from + cost_ns(amount, rate),
		memory_order_relaxed, memory_order_relaxed));
}

void limit_charge(struct limit *l, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ios = (bytes + LIMIT_IO_BYTES - 1) / LIMIT_IO_BYTES;

	bucket_charge(&l->ios, ios ? ios : 1, now_ns);
	bucket_charge(&l->bytes, bytes, now_ns);
}
