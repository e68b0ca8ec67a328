/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines for the person who runs the guest. Whatever a guest does, no more
 * than STORVSP_LOG_BURST lines at once and one every STORVSP_LOG_REFILL_MS
 * after that; what was left out is said in the next line that passes.
 */
#ifndef STORVSP_LOG_H
#define STORVSP_LOG_H

#include <pthread.h>
#include <stdint.h>

#include "storvsp.h"

#define STORVSP_LOG_BURST     16u
#define STORVSP_LOG_REFILL_MS 1000u

struct log {
	vmbus_log_fn fn;
	void *arg;
	uint64_t (*now_ms)(void *arg); /* NULL: the host's clock */
	void *now_arg;
	pthread_mutex_t lock; /* guards what follows; nothing taken inside */
	uint64_t refilled_ms;
	uint32_t tokens;
	uint64_t left_out;
};

void storvsp_log_init(struct log *l, const struct storvsp_opts *opts);
void storvsp_log_fini(struct log *l);
/* Any thread. */
__attribute__((format(printf, 2, 3))) void storvsp_log_line(struct log *l,
							    const char *fmt,
							    ...);

/* Words for a negative errno. */
const char *storvsp_errno_text(int code);
/* And for what a request does. */
const char *storvsp_op_text(enum vhd_op op);

#endif
