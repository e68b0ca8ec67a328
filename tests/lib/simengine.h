/* SPDX-License-Identifier: BSD-2-Clause */
/* A simulated engine under an unchanged queue: it moves bytes through the
 * file's own functions, but when, in which order and how well is decided by a
 * seed and by the test. An operation touches the medium at the moment it
 * completes, so one that is held or lost has done nothing.
 * Thread: the queue's owner; one queue per simengine.
 */
#ifndef TESTS_LIB_SIMENGINE_H
#define TESTS_LIB_SIMENGINE_H

#include "vhd/engine.h"

/* What becomes of one operation. All zero: it is carried out. */
struct sim_fate {
	int code;            /* not 0: it fails with this, untouched */
	uint64_t most_bytes; /* not 0: it moves at most so many */
	bool nothing;        /* its result is 0, untouched */
	bool lost;           /* it never ends unless cancelled */
	bool later;          /* not now: it is asked again */
};

struct sim_opts {
	uint64_t seed;
	unsigned late_permille;  /* chance to be passed over by a reap */
	unsigned short_permille; /* to move only a part */
	unsigned again_permille; /* to say EINTR or EAGAIN */
	bool deaf;               /* cancelling has no effect */
	bool forgetful;          /* events are not recorded */
	/* Asked when an operation is about to complete; may be NULL. */
	void (*decide)(void *ctx, const struct vhd_io *io,
		       struct sim_fate *fate);
	/* Told before and after operations complete: what touches the medium
	 * at other times is the library's own doing. May be NULL.
	 */
	void (*around)(void *ctx, bool begins);
	void *ctx;
};

/* One completed operation, in the order of completion. */
struct sim_event {
	enum vhd_io_op op;
	bool dsync;
	bool direct;
	uint32_t iov_count;
	uint64_t off_bytes;
	uint64_t len_bytes; /* asked for */
	int64_t res;
};

struct simengine;

struct simengine *simengine_create(const struct sim_opts *opts);
/* After its queue. */
void simengine_destroy(struct simengine *s);
/* A queue on it; 0 or an errno as vhd_queue_create_on. */
int simengine_queue(struct simengine *s, uint32_t depth,
		    struct vhd_queue **out);

/* While held, nothing completes; cancelled operations do. */
void simengine_hold(struct simengine *s, bool held);
/* Let `n` operations complete, then hold. */
void simengine_allow(struct simengine *s, unsigned n);
/* From now on submit and wait fail with this. */
void simengine_break(struct simengine *s, int code);
/* Prepared and not yet reaped; and the most there ever were. */
unsigned simengine_in_flight(const struct simengine *s);
unsigned simengine_peak(const struct simengine *s);
uint64_t simengine_submits(const struct simengine *s);

size_t simengine_count(const struct simengine *s);
const struct sim_event *simengine_event(const struct simengine *s, size_t i);
/* How many completed operations were of this kind. */
size_t simengine_count_op(const struct simengine *s, enum vhd_io_op op);

#endif
