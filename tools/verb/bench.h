/* SPDX-License-Identifier: BSD-2-Clause */
/* The measuring of vhd bench: requests through a queue, and how long each
 * took. Private to tools/.
 */
#ifndef BENCH_H
#define BENCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhd/vhd.h"

#define BENCH_DEPTH_MAX 1024u

/* ------------------------------------------------------------- latency -- */

/* Times by powers of two, each parted in equal steps: a time is known to one
 * part in BENCH_STEPS, however long it was.
 */
#define BENCH_STEPS 64u
#define BENCH_BUCKETS (58u * BENCH_STEPS)

struct bench_times {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t min_ns;
	uint64_t max_ns;
	uint64_t bucket[BENCH_BUCKETS];
};

void bench_times_add(struct bench_times *t, uint64_t ns);
/* The time that `permille` of a thousand requests were done in; 0 for none. */
uint64_t bench_times_part(const struct bench_times *t, unsigned permille);

/* ----------------------------------------------------------------- run -- */

struct bench_opts {
	enum vhd_engine engine;
	unsigned depth;          /* requests in flight, to BENCH_DEPTH_MAX */
	uint32_t size_bytes;     /* of each, whole sectors */
	bool write;
	bool sequential;
	uint64_t count;          /* requests; 0: as long as `time_ms` */
	uint64_t time_ms;
	uint64_t flush_interval; /* writes between flushes; 0: none */
	uint64_t seed;           /* of the places */
};

struct bench_result {
	enum vhd_engine engine;
	uint64_t elapsed_ns;     /* from the first request to the last reply */
	uint64_t cpu_ns;         /* of this process meanwhile */
	uint64_t end_flush_ns;   /* writing: to have it all durable then */
	uint64_t flushes;        /* in between */
	struct bench_times times;
	struct bench_times flush_times;
};

/* Measure. `*stop`, set by a signal's handler, ends it early; what was
 * measured by then holds.
 * Errors: those of the queue, and of the first request that failed.
 */
int bench_run(struct vhd *img, const struct bench_opts *opts,
	      volatile sig_atomic_t *stop, struct bench_result *result,
	      struct vhd_err *err);

#endif
