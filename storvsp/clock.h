/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's clock; controller.h has the one that a test may give. */
#ifndef STORVSP_CLOCK_H
#define STORVSP_CLOCK_H

#include <semaphore.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t clock_monotonic_ns(void)
{
	struct timespec ts = {0, 0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A wait for nothing, by a call that a channel's thread makes anyway: futex. */
static inline void clock_nap_ms(unsigned ms)
{
	uint64_t due_ns = clock_monotonic_ns() + 1000000ull * ms;
	const struct timespec due = {
		.tv_sec = (time_t)(due_ns / 1000000000u),
		.tv_nsec = (long)(due_ns % 1000000000u),
	};
	sem_t never;

	(void)sem_init(&never, 0, 0);
	(void)sem_clockwait(&never, CLOCK_MONOTONIC, &due);
	(void)sem_destroy(&never);
}

#endif
