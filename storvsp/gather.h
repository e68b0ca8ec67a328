/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a channel that is woken by its guest runs at once or when the guest
 * has nothing more to say. That is a question only where both run on one
 * processor, and the scheduler's answer is "at once": the first of 32 requests
 * takes the processor from the guest, so does the second, and each of them has
 * a signal and an interrupt of its own. A channel that does not push others off
 * the processor (SCHED_BATCH) finds all of them together, when the guest waits.
 * Where the guest sends one at a time it pays for that, by going idle first;
 * where it has other work to do the channel may wait for as long as that has
 * the processor to itself.
 *
 * What a guest would have sent is not seen while it is interrupted, so it is
 * tried: for a round of wakes now and then, ever more seldom where that was no
 * good, and for as long as more packets are taken a wake and a second. A plain
 * state machine over what the caller counted.
 *
 *   sleep -> packets -> sleep: gather_wake() -> true, a round is over:
 *   gather_round() -> true: change the policy
 * Source: sched(7), SCHED_BATCH.
 */
#ifndef STORVSP_GATHER_H
#define STORVSP_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#define STORVSP_GATHER_WAKES	    8u /* of a round */
#define STORVSP_GATHER_ROUNDS	    64u /* until the other way is looked at */
#define STORVSP_GATHER_PAUSE_MIN_NS 20000000u
#define STORVSP_GATHER_PAUSE_MAX_NS 1280000000u

struct gather {
	bool may;     /* guest and channel share a processor */
	bool patient; /* it does not push the guest off */
	/* this round's */
	uint32_t wakes;
	uint64_t packets, since_ns;
	/* the last one's that was not patient */
	uint64_t eager_packets, eager_ns;
	uint32_t rounds; /* patient ones, one after the other */
	uint64_t trial_ns, pause_ns;
};

/* `packets` were taken since the sleep before this one. */
static inline bool gather_wake(struct gather *g, uint64_t packets)
{
	if (!g->may || packets == 0) /* something else woke it */
		return false;
	g->packets += packets;
	return ++g->wakes == STORVSP_GATHER_WAKES;
}

/* More packets a wake than one by one, chance allowed for, and no fewer a second:
 * that says whether it was worth going idle for.
 */
static inline bool gather_pays(const struct gather *g, uint64_t ns)
{
	return 2 * g->packets >= 3 * (uint64_t)g->wakes &&
	       g->packets * g->eager_ns >= g->eager_packets * ns;
}

static inline void gather_fails(struct gather *g, uint64_t now_ns)
{
	g->pause_ns *= 2;
	if (g->pause_ns < STORVSP_GATHER_PAUSE_MIN_NS)
		g->pause_ns = STORVSP_GATHER_PAUSE_MIN_NS;
	if (g->pause_ns > STORVSP_GATHER_PAUSE_MAX_NS)
		g->pause_ns = STORVSP_GATHER_PAUSE_MAX_NS;
	g->trial_ns = now_ns + g->pause_ns;
}

/* True: `patient` has changed. */
static inline bool gather_round(struct gather *g, uint64_t now_ns)
{
	uint64_t ns = now_ns - g->since_ns;
	bool change;

	if (ns > 1ull << 40) /* a quarter of an hour: a product still fits */
		ns = 1ull << 40;
	if (!g->patient) {
		g->eager_packets = g->packets;
		g->eager_ns = ns;
		change = now_ns >= g->trial_ns;
		g->rounds = 0;
	} else if (gather_pays(g, ns)) {
		g->pause_ns = 0;
		change = ++g->rounds == STORVSP_GATHER_ROUNDS;
	} else {
		gather_fails(g, now_ns);
		change = true;
	}
	g->patient = g->patient != change;
	g->wakes = 0;
	g->packets = 0;
	g->since_ns = now_ns;
	return change;
}

#endif
