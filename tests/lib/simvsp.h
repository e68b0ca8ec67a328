/* SPDX-License-Identifier: BSD-2-Clause */
/* A VSP in manual mode whose channels' disk queues run on simulated engines,
 * one a channel in the order of opening; two disks of 1 MiB, LUN 0 dynamic and
 * LUN 1 fixed, in memory.
 */
#ifndef TESTS_LIB_SIMVSP_H
#define TESTS_LIB_SIMVSP_H

#include "tests/lib/qtest.h"
#include "tests/lib/simengine.h"
#include "tests/lib/vsc.h"

#define SIMVSP_ENGINES 8u
#define SIMVSP_BYTES   (1u << 20)

struct simvsp {
	struct sim_opts sim_opts;
	struct simengine *sim[SIMVSP_ENGINES];
	unsigned engines;
	struct memfile *m[2];
	struct vhd *img[2];
	struct vsc *v;
	struct vsc_channel *c; /* the primary, negotiated */
	struct vsc_buffer b;   /* 16 pages */
};

void simvsp_start(struct simvsp *w, const struct vsc_opts *opts,
		  const struct sim_opts *sim);
/* Images are closed, or abandoned when they are no longer sound. */
void simvsp_stop(struct simvsp *w);
/* Another channel after the primary: create sub-channels first. */
struct vsc_channel *simvsp_sub(struct simvsp *w, uint16_t index);

/* One request of 8 sectors on a LUN: 'r', 'w', 'f' (write with FUA), 's'
 * (SYNCHRONIZE CACHE) or 'z' (WRITE SAME of zeros); its id.
 */
uint64_t simvsp_send(struct simvsp *w, struct vsc_channel *c, char what,
		     uint8_t lun, uint64_t lba);
/* RESET_LUN, RESET_BUS, RESET_ADAPTER; its id. */
uint64_t simvsp_reset(struct vsc_channel *c, uint32_t op, uint8_t path,
		      uint8_t target, uint8_t lun);
/* The next answer must be to `id`, with this outcome ("good", "aborted",
 * or "" for a packet without SCSI request that succeeded).
 */
void simvsp_expect(struct vsc_channel *c, uint64_t id, const char *outcome);
/* Nothing more comes by itself. */
void simvsp_quiet(struct vsc_channel *c);
void simvsp_hold(struct simvsp *w, bool held);

#endif
