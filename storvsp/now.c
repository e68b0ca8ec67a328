/* SPDX-License-Identifier: BSD-2-Clause */
/* See now.h. */
#include "clock.h"
#include "now.h"

uint64_t storvsp_clock_ns(const struct storvsp *vsp)
{
	if (vsp->opts.now_ms)
		return vsp->opts.now_ms(vsp->opts.now_arg) * 1000000u;
	return clock_monotonic_ns();
}
