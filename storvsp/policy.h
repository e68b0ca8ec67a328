/* SPDX-License-Identifier: BSD-2-Clause */
/* What the host may change of a disk while it runs: its limits, and what
 * becomes of requests that fail. Shared by the disk's channels.
 *
 * Requests look at the atomics only. A pause is told to the log once, by the
 * channel that begins it; its end is told to all channels by mail.
 */
#ifndef STORVSP_POLICY_H
#define STORVSP_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "counters.h"
#include "limit.h"

struct channel;
struct request;
struct storvsp;
struct storvsp_disk;

struct policy {
	struct limit limit;
	_Atomic uint32_t depth; /* 0: no limit of its own */
	_Atomic uint32_t on_error;
	atomic_bool paused;

	/* guarded by the controller's lock */
	struct storvsp_limits limits;
	uint64_t pauses;
	int pause_code;
	struct disk_stats gone; /* of channels that are closed */
};

/* -ENOMEM, or -EINVAL for its limits. */
int storvsp_policy_create(const struct storvsp *vsp,
			  const struct storvsp_disk_opts *opts,
			  struct policy **out, struct vhd_err *err);
void storvsp_policy_destroy(struct policy *p);

/* A request failed in the disk queue. True: its disk is paused now, and it is
 * to be held.
 */
bool storvsp_policy_holds(struct channel *ch, const struct request *r);

#endif
