/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters of a channel and of a disk in a channel. Only the channel's thread
 * adds to them; anybody may read. Relaxed atomics, although atomics otherwise stay in the message paths:
 * a plain 64-bit word read from another thread is undefined, and a lock has no
 * place on the way of a request. No order is promised between counters.
 */
#ifndef STORVSP_COUNTERS_H
#define STORVSP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "histogram.h"

enum stat {
	STAT_PACKETS,
	STAT_COMPLETIONS,
	STAT_REFUSED,
	STAT_CANCELLED,
	STAT_READS,
	STAT_WRITES,
	STAT_FLUSHES,
	STAT_ZEROS,
	STAT_ERRORS,
	STAT_READ_BYTES,
	STAT_WRITTEN_BYTES,
	STAT_SLEEPS,
	STAT_POLLED,
	STAT_COUNT
};

struct stats {
	_Atomic uint64_t n[STAT_COUNT];
};

/* Single writer: load and store need not be one operation. */
static inline void stat_add(struct stats *s, enum stat which, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&s->n[which], memory_order_relaxed);

	atomic_store_explicit(&s->n[which], old + n, memory_order_relaxed);
}

static inline uint64_t stat_get(const struct stats *s, enum stat which)
{
	return atomic_load_explicit(&s->n[which], memory_order_relaxed);
}

/* What a channel has of something now, and the most it ever had. */
struct level {
	_Atomic uint32_t now, most;
};

static inline uint32_t level_get(const struct level *l)
{
	return atomic_load_explicit(&l->now, memory_order_relaxed);
}

static inline void level_up(struct level *l)
{
	uint32_t n = level_get(l) + 1;

	atomic_store_explicit(&l->now, n, memory_order_relaxed);
	if (n > atomic_load_explicit(&l->most, memory_order_relaxed))
		atomic_store_explicit(&l->most, n, memory_order_relaxed);
}

static inline void level_down(struct level *l)
{
	atomic_store_explicit(&l->now, level_get(l) - 1, memory_order_relaxed);
}

/* ----------------------------------------------- a disk in a channel ----- */

enum disk_stat {
	DISK_ABORTED,
	DISK_FULL,
	DISK_THROTTLED,
	DISK_THROTTLED_NS,
	DISK_STALLS,
	DISK_HELD,
	DISK_STAT_COUNT
};

struct disk_stats {
	struct level in_flight, waiting, stalled;
	_Atomic uint64_t n[DISK_STAT_COUNT];
	struct {
		_Atomic uint64_t count, errors, bytes;
		struct histogram latency;
	} kind[STORVSP_KINDS];
};

static inline void count_add(_Atomic uint64_t *at, uint64_t n)
{
	uint64_t old = atomic_load_explicit(at, memory_order_relaxed);

	atomic_store_explicit(at, old + n, memory_order_relaxed);
}

static inline void disk_stat_add(struct disk_stats *s, enum disk_stat which,
				 uint64_t n)
{
	count_add(&s->n[which], n);
}

#endif
