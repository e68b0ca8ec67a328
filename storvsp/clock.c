/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock, or what a test gives for it. */
#include "clock.h"
#include "controller.h"

uint64_t storvsp_clock_ns(const struct storvsp *vsp)
{
	if (vsp->opts.now_ms)
		return vsp->opts.now_ms(vsp->opts.now_arg) * 1000000u;
	return clock_monotonic_ns();
}
