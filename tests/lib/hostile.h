/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of hostile packets share: one odd request at a time, and whether
 * the channel still serves.
 */
#ifndef TESTS_LIB_HOSTILE_H
#define TESTS_LIB_HOSTILE_H

#include "tests/lib/simvsp.h"

#define WANTS VMBUS_PACKET_WANTS_COMPLETION

static inline void still_serves(struct simvsp *w)
{
	simvsp_expect(w->c, simvsp_send(w, w->c, 'r', 1, 0), "good");
}

/* A request packet for 8 sectors from LBA 0 of LUN 1. */
static inline struct storvsp_packet_wire read_packet(struct simvsp *w)
{
	struct vsc_cmd cmd = vsc_rw(false, 1, 0, 8, false, &w->b);
	struct storvsp_packet_wire p;

	vsc_packet(&cmd, &p);
	return p;
}

static inline struct guest_range whole(struct simvsp *w)
{
	return (struct guest_range){.len = 4096, .gpas = w->b.gpas, .pages = 1};
}

/* Send with these ranges; what comes back. */
static inline struct vsc_status try(struct simvsp *w,
				    const struct storvsp_packet_wire *p,
				    const struct guest_range *r, uint32_t count)
{
	struct vsc_answer a;

	vsc_wait(w->c, vsc_send(w->c, p, sizeof(*p), r, count), &a);
	return vsc_status(&a);
}

static inline void assert_bad_field(struct vsc_status s)
{
	assert_int_equal(s.srb, 0x86);
	assert_int_equal(s.scsi, 0x02);
	assert_int_equal(s.key, 0x5);
	assert_int_equal(s.asc, 0x24);
}

#endif
