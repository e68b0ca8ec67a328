/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's clock; controller.h has the one that a test may give. */
#ifndef STORVSP_CLOCK_H
#define STORVSP_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_monotonic_ns(void)
{
	struct timespec ts = {0, 0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
