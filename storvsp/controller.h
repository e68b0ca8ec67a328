/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller: what its channels share, and how threads tell each other.
 *
 * One lock, `lock`, guards all that is shared. It is taken at opening and
 * closing, when a session changes, at resets and for mail; never on the way
 * of a request: a channel looks at its atomic `mail_waiting` first.
 */
#ifndef STORVSP_CONTROLLER_H
#define STORVSP_CONTROLLER_H

#include "channel.h"

/* What becomes of a disk. In `luns` are those that are SERVED. */
enum disk_state {
	DISK_NONE = 0,
	DISK_SERVED,
	DISK_LEAVING,  /* removed; channels may still hold it */
	DISK_FREEZING, /* to come back; likewise */
	DISK_FROZEN,   /* nobody holds it */
};

struct disk_life {
	enum disk_state state;
	uint64_t number; /* LEAVING, FREEZING: the first list without it */
	struct storvsp_notice notice;
};

struct storvsp {
	pthread_mutex_t notify_lock; /* while a notice is called; outside of
				      * `lock` */
	struct storvsp_opts opts; /* defaults filled in */
	struct log log;
	unsigned open_channels;	  /* control thread */

	pthread_mutex_t lock; /* guards what follows; log's lock inside it */
	struct channel *channels;
	struct storvsp_disk disks[STORVSP_DISKS_MAX];
	struct storvsp_switches switches[STORVSP_DISKS_MAX];
	struct disk_life life[STORVSP_DISKS_MAX]; /* of disks[] */
	struct storvsp_luns luns;
	uint64_t luns_number;	     /* counts its changes */
	struct storvsp_disk *frozen; /* or on the way to it; NULL: none */
	bool ready; /* the primary's session */
	uint16_t version;
	uint64_t ticket;	     /* the last reset's */
	uint64_t closed[STAT_COUNT]; /* counters of channels gone */
};

static inline struct disk_life *disk_life_of(struct storvsp *vsp,
					     const struct storvsp_disk *d)
{
	return &vsp->life[d - vsp->disks];
}

/* -------------------------------------------------------------- clock.c -- */

uint64_t storvsp_clock_ns(const struct storvsp *vsp);

/* The same, read once and good until it is forgotten: before answers of the
 * disk queue are collected.
 */
static inline uint64_t storvsp_now_ns(struct channel *ch)
{
	if (!ch->now_ns)
		ch->now_ns = storvsp_clock_ns(ch->vsp);
	return ch->now_ns;
}

/* --------------------------------------------------------- controller.c -- */

/* The channel belongs to the controller from now on, and starts with its
 * disks (into `luns`) and session.
 */
void storvsp_controller_join(struct storvsp *vsp, struct channel *ch,
			     struct storvsp_luns *luns);
/* And no longer: nobody sends it mail, its counters are kept. */
void storvsp_controller_leave(struct storvsp *vsp, struct channel *ch);
/* The primary's session begins or ends: so do those of all sub-channels. */
void storvsp_controller_session(struct storvsp *vsp, bool ready,
				uint16_t version);

#endif
