/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters of a channel. Only the channel's thread adds to them; anybody may
 * read. Relaxed atomics, although atomics otherwise stay in the message paths:
 * a plain 64-bit word read from another thread is undefined, and a lock has no
 * place on the way of a request. No order is promised between counters.
 */
#ifndef STORVSP_STATS_H
#define STORVSP_STATS_H

#include <stdatomic.h>
#include <stdint.h>

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

#endif
