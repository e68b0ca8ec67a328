/* SPDX-License-Identifier: BSD-2-Clause */
/* What fwdisk.c, by which requests go, and fwdisk_place.c, which knows what is
 * where, share.
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

/* ------------------------------------------------------------- fwdisk.c -- */

extern const struct hv_disk_ops fwdisk_ops; /* of a struct fwdisk */

/* Have the lock, and the place for a request, before all who ask for a request
 * only; what is in flight has its time to end by itself, and is then ended.
 */
void fwdisks_take_turn_first(struct hv_fwdisks *f);
/* The same, at most so long: false, and without the lock, where it is not to be
 * had.
 */
bool fwdisks_take_turn_within(struct hv_fwdisks *f, unsigned most_ms);
void fwdisks_end_turn(struct hv_fwdisks *f);
/* With the turn: the thread does what is asked for, to its end. */
void fwdisks_ask(struct hv_fwdisks *f);

/* ------------------------------------------------------- fwdisk_place.c -- */

/* The image leaves the queue, or comes to it; the thread, or before it runs. */
void fwdisk_leave(struct hv_fwdisks *f, struct fwdisk *d);
int fwdisk_come(struct hv_fwdisks *f, struct fwdisk *d, struct vhd_err *err);

#endif
