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

/* How many ticks the bucket takes to earn so much; rounded up, so that the
 * limit is never exceeded.
 */
static uint64_t cost(uint64_t amount, uint64_t rate)
{
	__extension__ typedef unsigned __int128 wide;
	wide ticks = (wide)amount * NS_PER_S * LIMIT_TICKS_PER_NS;

	return (uint64_t)((ticks + rate - 1) / rate);
}

static void bucket_set(struct bucket *b, uint64_t rate, uint64_t burst,
		       uint64_t now_ns)
{
	uint64_t ticks = burst ? cost(burst, rate)
			       : BURST_NS * LIMIT_TICKS_PER_NS;

	if (ticks < BURST_MIN_NS * LIMIT_TICKS_PER_NS)
		ticks = BURST_MIN_NS * LIMIT_TICKS_PER_NS;
	/* a channel that sees but half of this makes one request wrong */
	atomic_store_explicit(&b->full, now_ns * LIMIT_TICKS_PER_NS,
			      memory_order_relaxed);
	atomic_store_explicit(&b->burst, ticks, memory_order_relaxed);
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
	uint64_t full = atomic_load_explicit(&b->full, memory_order_relaxed);
	uint64_t burst = atomic_load_explicit(&b->burst, memory_order_relaxed);

	if (!atomic_load_explicit(&b->rate, memory_order_relaxed))
		return 0;
	/* strictly less than the burst: then N at once are N, not N + 1 */
	return full >= burst ? (full - burst) / LIMIT_TICKS_PER_NS + 1 : 0;
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
	uint64_t full = atomic_load_explicit(&b->full, memory_order_relaxed);
	uint64_t now = now_ns * LIMIT_TICKS_PER_NS, from;

	if (!rate || !amount)
		return;
	do
		from = full > now ? full : now;
	while (!atomic_compare_exchange_weak_explicit(
		&b->full, &full, from + cost(amount, rate),
		memory_order_relaxed, memory_order_relaxed));
}

void limit_charge(struct limit *l, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ios = (bytes + LIMIT_IO_BYTES - 1) / LIMIT_IO_BYTES;

	bucket_charge(&l->ios, ios ? ios : 1, now_ns);
	bucket_charge(&l->bytes, bytes, now_ns);
}
