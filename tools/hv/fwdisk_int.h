/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the door share, each calling those after it only: fwdisk.c
 * has the thread and all lives; fwdisk_place.c knows what is where;
 * fwdisk_door.c is where requests come in; fwdisk_turn.c whose turn it is.
 */
#ifndef TOOLS_HV_FWDISK_INT_H
#define TOOLS_HV_FWDISK_INT_H

#include <pthread.h>

#include "fwdisk.h"

/* A place for one. */
struct fwdisk {
	struct hv_fwdisks *all;
	struct hv_disk disk; /* what this machine was told */
	unsigned controller;
	struct hv_fwdisk_is is; /* lock; what is here now */
	uint64_t number; /* lock; 0: nothing is here; else its order */
	uint64_t bytes; /* lock; its image's size when it came, or grew */
	bool told; /* lock; `disk` says what `is` does, or said so once */
	bool attached; /* thread */
};

enum turn {
	TURN_FREE,    /* nobody has a request */
	TURN_ASKED,   /* `req`, or `leaving` or `coming`, is for the thread */
	TURN_WORKING, /* the thread has it */
	TURN_DONE,    /* for the one who asked */
	TURN_HELD,    /* by somebody without the lock: hv_fwdisks_hold */
};

struct hv_fwdisks {
	int (*begins)(enum vhd_engine engine, struct vhd_err *err);
	pthread_t thread;
	bool started;
	int wake_fd; /* wakes the thread */
	struct vhd_queue *queue; /* thread, once it runs */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t moved; /* something of it changed */
	enum turn turn;
	struct vhd_req req;
	struct fwdisk *at;      /* whose `req` is; NULL: nobody's */
	struct fwdisk *leaving; /* to be detached, in place of a request */
	struct fwdisk *coming;	/* to be attached, likewise: `come_err` */
	struct vhd_err come_err;
	unsigned urgent; /* wait for the turn, and have it before others */
	bool evict;      /* the request in flight ends early */
	bool hurry, stop;
	bool ready; /* the thread is, or never will be: `begin_err` */
	struct vhd_err begin_err;
	bool guest_has[HV_CONTROLLERS_MAX];
	uint64_t numbered; /* places were filled so often */

	/* Those that this machine was told of, in their order. */
	unsigned listed;
	const struct hv_disk *list[HV_DISKS_MAX];
	struct fwdisk place[HV_CONTROLLERS_MAX][HV_LUNS_MAX];
};

/* -------------------------------------------------------- fwdisk_turn.c -- */

/* The thread looks again. */
void fwdisks_wake(struct hv_fwdisks *f);
/* Have the lock, and the place for a request: false where the machine stops
 * meanwhile, and only the lock is there.
 */
bool fwdisks_take_turn(struct hv_fwdisks *f);
/* The same before all who ask for a request only; what is in flight has its
 * time to end by itself, and is then ended.
 */
void fwdisks_take_turn_first(struct hv_fwdisks *f);
/* The same, at most so long: false, and without the lock, where it is not to be
 * had.
 */
bool fwdisks_take_turn_within(struct hv_fwdisks *f, unsigned most_ms);
void fwdisks_end_turn(struct hv_fwdisks *f);
/* With the turn: the thread does what is asked for, to its end. */
void fwdisks_ask(struct hv_fwdisks *f);
/* With the lock: until it is so, or for `most_ms` (0: as long as it takes);
 * whether it is. What is in flight has its time to end by itself, and is then
 * ended: whoever calls serves the whole guest, or a person.
 */
bool fwdisks_until(struct hv_fwdisks *f,
		   bool (*so)(const struct hv_fwdisks *f, unsigned controller),
		   unsigned controller, unsigned most_ms);

/* -------------------------------------------------------- fwdisk_door.c -- */

extern const struct hv_disk_ops fwdisk_ops; /* of a struct fwdisk */

/* The image leaves the queue, or comes to it; the thread, or before it runs. */
static inline void fwdisk_leave(struct hv_fwdisks *f, struct fwdisk *d)
{
	if (d->attached)
		vhd_queue_detach(f->queue, d->is.img);
	d->attached = false;
}

static inline int fwdisk_come(struct hv_fwdisks *f, struct fwdisk *d,
			      struct vhd_err *err)
{
	int rc = d->is.img ? vhd_queue_attach(f->queue, d->is.img, err) : 0;

	d->attached = d->is.img && rc == 0;
	return rc;
}

#endif
