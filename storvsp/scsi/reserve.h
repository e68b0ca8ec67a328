/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk's reservations, persistent and old, and who is to keep them.
 *
 * There is one I_T nexus, the guest over its controller: whatever is registered
 * or reserved is the guest's own. So a reservation never keeps a command that
 * reads or writes from running; conflicts are between the guest's reservation
 * commands themselves: a wrong key, a reservation of another type, old ones
 * beside persistent ones.
 *
 * Invariant: what is reserved is registered.
 * Thread: any channel's; `lock` guards all but what is set at the beginning.
 *   Keeping (APTPL) happens under it, on the channel's thread.
 */
#ifndef STORVSP_RESERVE_H
#define STORVSP_RESERVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "storvsp/storvsp.h"

struct storvsp_reserve {
	pthread_mutex_t lock;
	struct storvsp_reservations now;
	uint32_t generation;
	bool kept;	/* APTPL: `now` outlives the power */
	bool old_style; /* RESERVE(6) or (10) */
	/* NULL: nothing can be kept */
	int (*keep)(void *arg, const struct storvsp_reservations *r);
	void *keep_arg;
};

/* As `opts` says; what was kept is in force again. */
void storvsp_reserve_init(struct storvsp_reserve *r,
			  const struct storvsp_disk_opts *opts);
/* A reset ends old reservations, and no others. */
void storvsp_reserve_reset(struct storvsp_reserve *r);

#endif
