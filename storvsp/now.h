/* SPDX-License-Identifier: BSD-2-Clause */
/* The time as a channel sees it: the clock, or what a test gives for it. */
#ifndef STORVSP_NOW_H
#define STORVSP_NOW_H

#include "state.h"

uint64_t storvsp_clock_ns(const struct storvsp *vsp);

/* The same, read once and good until it is forgotten: before answers of the
 * disk queue are collected.
 */
static inline uint64_t storvsp_now_ns(struct channel *ch)
{
	if (!ch->now_ns)
		ch->now_ns = storvsp_clock_ns(ch->vsp);
	return ch->now_ns;
}

#endif
