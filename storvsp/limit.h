/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast a disk may be: token buckets for requests and bytes, shared by the
 * disk's channels.
 *
 * A bucket is kept as one number, the time at which it will be full again: a
 * request moves it on by what it costs at the bucket's rate, and may pass
 * while it lies no further ahead than the burst is long. So a request larger
 * than the burst passes, and those after it wait for as long as it took too
 * much; and when the next one may pass is known exactly. Nothing is locked:
 * channels that ask at the same moment may each let one request pass, which
 * the next ones pay for.
 *
 * Requests are counted as Hyper-V counts them: each 8 KiB, or part of it, that
 * a request moves is one, and a request that moves nothing is one.
 * Thread: any. Time is the caller's, in nanoseconds, and does not go back.
 * Source: the virtual scheduling form of the generic cell rate algorithm
 *   (ITU-T I.371 annex A); Microsoft's documentation of storage quality of
 *   service for "normalized IOPS".
 */
#ifndef STORVSP_LIMIT_H
#define STORVSP_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storvsp.h"

#define LIMIT_IO_BYTES 8192u

/* What a request costs is counted in parts of a nanosecond, so that even fast
 * limits are met to a thousandth.
 */
#define LIMIT_TICKS_PER_NS 16u

struct bucket {
	_Atomic uint64_t rate; /* a second; 0: no limit */
	_Atomic uint64_t burst; /* ticks */
	_Atomic uint64_t full;  /* the tick at which it will be full */
};

struct limit {
	atomic_bool on; /* any of them */
	struct bucket ios, bytes;
};

/* Whether there is anything to ask. */
static inline bool limit_on(const struct limit *l)
{
	return atomic_load_explicit(&l->on, memory_order_relaxed);
}

/* -EINVAL: a burst without its rate, or a number beyond the limits. */
int limit_check(const struct storvsp_limits *limits, struct vhd_err *err);
/* From now on; both buckets are full. */
void limit_set(struct limit *l, const struct storvsp_limits *limits,
	       uint64_t now_ns);

/* When the next request may pass: `now_ns` or earlier means now. */
uint64_t limit_due_ns(const struct limit *l);
/* It passes, and moves `bytes`. */
void limit_charge(struct limit *l, uint64_t bytes, uint64_t now_ns);

#endif
