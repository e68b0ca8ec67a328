/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock, or what a test gives for it. */
#include <time.h>

#include "controller.h"

uint64_t storvsp_clock_ns(const struct storvsp *vsp)
{
	struct timespec ts = {0, 0};

	if (vsp->opts.now_ms)
		return vsp->opts.now_ms(vsp->opts.now_arg) * 1000000u;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
