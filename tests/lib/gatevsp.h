/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of gates share: a simulated VSP (simvsp.h) with a clock of the
 * test's own, and the counters of its disks.
 */
#ifndef TESTS_LIB_GATEVSP_H
#define TESTS_LIB_GATEVSP_H

#include "tests/lib/simvsp.h"

static uint64_t gate_clock_ms;

static inline uint64_t gate_now(void *unused)
{
	(void)unused;
	return gate_clock_ms;
}

static inline void gate_start(struct simvsp *w, struct vsc_opts o,
			      const struct sim_opts *sim)
{
	gate_clock_ms = 1000;
	o.vsp.now_ms = gate_now;
	simvsp_start(w, &o, sim);
}

static inline struct storvsp_address gate_lun(uint8_t lun)
{
	return (struct storvsp_address){.lun = lun};
}

static inline struct storvsp_disk_stats gate_stats(struct simvsp *w,
						   uint8_t lun)
{
	struct storvsp_disk_stats s;

	assert_int_equal(storvsp_disk_get_stats(vsc_vsp(w->v), gate_lun(lun),
						&s),
			 0);
	return s;
}

static inline void gate_limit(struct simvsp *w, uint8_t lun,
			      struct storvsp_limits limits)
{
	assert_int_equal(storvsp_disk_limit(vsc_vsp(w->v), gate_lun(lun),
					    &limits, NULL),
			 0);
}

static inline void gate_policy(struct simvsp *w, uint8_t lun,
			       enum storvsp_on_error on_error)
{
	assert_int_equal(storvsp_disk_on_error(vsc_vsp(w->v), gate_lun(lun),
					       on_error, NULL),
			 0);
}

#endif
