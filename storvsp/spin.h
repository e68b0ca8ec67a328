/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a channel may look for more work before it sleeps: a window that
 * grows where sleeping would have been a mistake and shrinks to nothing where
 * it was right. A plain state machine over times that the caller takes.
 *
 *   nothing to do -> spin for spin_window() -> sleep -> work: spin_slept()
 *
 * A wait that was over within the longest window (`max_ns`) would have been
 * cheaper spun through: the window doubles. A longer one halves it, down to no
 * spinning at all: a channel whose requests are far apart, or whose disk takes
 * its time, costs the host no processor. Work found while spinning says that
 * the window is right.
 * Source: the rule by which KVM polls before it halts a processor, which has
 * the same question to answer (Linux Documentation/virt/kvm/halt-polling.rst).
 */
#ifndef STORVSP_SPIN_H
#define STORVSP_SPIN_H

#include <stdint.h>

/* The first step, and the last before nothing. */
#define STORVSP_SPIN_MIN_NS 4000u

struct spin {
	uint64_t max_ns; /* 0: never */
	uint64_t window_ns;
};

static inline uint64_t spin_window(const struct spin *s)
{
	return s->window_ns;
}

/* There was nothing to do for `waited_ns`, and it was slept through. */
static inline void spin_slept(struct spin *s, uint64_t waited_ns)
{
	if (waited_ns <= s->max_ns) {
		s->window_ns = s->window_ns < STORVSP_SPIN_MIN_NS
				       ? STORVSP_SPIN_MIN_NS
				       : 2 * s->window_ns;
		if (s->window_ns > s->max_ns)
			s->window_ns = s->max_ns;
	} else {
		s->window_ns /= 2;
		if (s->window_ns < STORVSP_SPIN_MIN_NS)
			s->window_ns = 0;
	}
}

#endif
