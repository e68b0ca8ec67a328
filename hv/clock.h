/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOCK_MONOTONIC as a number, and as what waits until then takes it. */
#ifndef HV_CLOCK_H
#define HV_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t hv_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int64_t hv_now_ms(void)
{
	return (int64_t)(hv_now_ns() / 1000000);
}

static inline struct timespec hv_at_ms(int64_t ms)
{
	return (struct timespec){
		.tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000,
	};
}

#endif
