/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's storage driver made to measure: keeps so many 4 KiB requests in
 * flight on one channel, and does little else. Its packets are those of Linux
 * 6.1 (always room for 32 pages: 360 bytes in the ring with the trailer), its
 * rules for signals Linux's: the host's ring is masked while it is read.
 *
 * Apart from tests/lib/vsc.c, which writes down every packet and would be what
 * is measured.
 */
#ifndef TESTS_BENCH_DRIVE_H
#define TESTS_BENCH_DRIVE_H

#include "tests/lib/vsc.h"

#define DRIVE_DEPTH_MAX 256u
#define DRIVE_IO_BYTES	4096u

struct drive {
	/* set by the caller */
	struct vsc *v;
	struct vsc_channel *channel;
	unsigned depth, luns;
	bool write;
	uint64_t places; /* of DRIVE_IO_BYTES on each disk */
	uint64_t random; /* not 0 */
	uint64_t spin_ns; /* look so long for answers before sleeping */

	/* its own */
	struct guest_channel *ring;
	uint8_t *out_ctrl, *in_ctrl; /* each followed by its data */
	uint32_t out_bytes, in_bytes;
	uint32_t out_at; /* where the next packet goes, not yet shown */
	uint64_t gpa[DRIVE_DEPTH_MAX];
	unsigned next_lun;
	uint64_t done, failed, sleeps;
};

/* After the channel's negotiation. Its rings must be adjacent pages. */
void drive_init(struct drive *d);
/* Put `n` requests, those of buffers `first` on, into the ring and show them;
 * signals by the rules.
 */
void drive_ask(struct drive *d, unsigned first, unsigned n);
/* Take all answers there are; each is asked again when `again`. How many. */
unsigned drive_take(struct drive *d, bool again);
/* Sleep until there is an answer. */
void drive_sleep(struct drive *d);
/* Keep `depth` in flight until `requests` are done or, where that is 0, until
 * `*stop`; then take what is out.
 */
void drive_run(struct drive *d, uint64_t requests, const volatile bool *stop);

#endif
