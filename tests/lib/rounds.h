/* SPDX-License-Identifier: BSD-2-Clause */
/* Rounds that two threads go through with each other, without sleeping: what
 * one finds depends on how close they come, so there are many of them. Beside
 * other work, or on one processor, a round can cost a time slice; there are
 * fewer then, and at least one. Who waits gives the processor away.
 */
#ifndef TESTS_LIB_ROUNDS_H
#define TESTS_LIB_ROUNDS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define ROUNDS_SECONDS 4
#define ROUNDS_SPINS   2000u

static inline uint64_t rounds_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* When they are over, however many there were. */
static inline uint64_t rounds_end_ns(void)
{
	return rounds_now_ns() + ROUNDS_SECONDS * 1000000000ull;
}

static inline bool rounds_over(uint64_t end_ns)
{
	return rounds_now_ns() >= end_ns;
}

/* Each time that nothing has happened yet; `*spins` is 0 at first. */
static inline void rounds_spin(unsigned *spins)
{
	if (++*spins % ROUNDS_SPINS == 0)
		sched_yield();
}

#endif
