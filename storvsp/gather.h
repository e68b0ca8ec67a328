/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a channel that is woken by its guest runs at once or when the guest
 * has nothing more to say. That is a question only where both run on one
 * processor, and the scheduler's answer is "at once": the first of 32 requests
 * takes the processor from the guest, so does the second, and each of them has
 * a signal and an interrupt of its own. A channel that does not push others off
 * the processor (SCHED_BATCH) finds all of them at once, when the guest waits.
 * Where the guest sends one at a time it pays for that, by going idle first.
 *
 * What a guest would have sent is not seen while it is interrupted, so it is
 * tried: for some wakes now and then, ever more seldom where they bring one
 * packet each, and for as long as they bring more. A plain state machine over
 * what the caller counted.
 *
 *   sleep -> packets -> sleep: gather_slept() -> true: change the policy
 * Source: sched(7), SCHED_BATCH.
 */
#ifndef STORVSP_GATHER_H
#define STORVSP_GATHER_H

#include <stdbool.h>
#include <stdint.h>

/* How many wakes are judged together, and how many there are between trials. */
#define STORVSP_GATHER_WAKES	 8u
#define STORVSP_GATHER_PAUSE_MIN 64u
#define STORVSP_GATHER_PAUSE_MAX 1024u

struct gather {
	bool may;     /* guest and channel share a processor */
	bool patient; /* it does not push the guest off */
	uint32_t wakes, pause;
	uint64_t packets;
};

/* A wake is worth it from one and a half packets on: measured, the second of
 * two costs a third less than one alone, going idle a half more.
 */
static inline bool gather_pays(const struct gather *g)
{
	return 2 * g->packets >= 3 * (uint64_t)g->wakes;
}

static inline uint32_t gather_pause(uint32_t last)
{
	if (last == 0)
		return STORVSP_GATHER_PAUSE_MIN;
	return last < STORVSP_GATHER_PAUSE_MAX / 2 ? 2 * last
						   : STORVSP_GATHER_PAUSE_MAX;
}

/* `packets` were taken since the sleep before this one. True: `patient` has
 * changed.
 */
static inline bool gather_slept(struct gather *g, uint64_t packets)
{
	bool change;

	if (!g->may || packets == 0) /* something else woke it */
		return false;
	g->wakes++;
	g->packets += packets;
	if (g->wakes < (g->patient ? STORVSP_GATHER_WAKES : g->pause))
		return false;
	change = !g->patient || !gather_pays(g);
	if (g->patient && !change)
		g->pause = 0;
	else if (g->patient)
		g->pause = gather_pause(g->pause);
	g->patient = g->patient != change;
	g->wakes = 0;
	g->packets = 0;
	return change;
}

#endif
