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

/* --------------------------------------------------------------- disks.c - */

/* Which list the channel knows of, and which disks it still holds that this
 * one lacks, may have changed.
 */
void storvsp_disks_settled(struct storvsp *vsp, struct channel *ch);
/* Perhaps now nobody holds a disk any more: say so to who waits for that. */
void storvsp_disks_notify(struct storvsp *vsp);
/* Of all disks, and of those that leave: see vhd_hurry. */
void storvsp_disks_wait_less(struct storvsp *vsp, uint32_t ms);
/* -ENOENT: nothing is there. */
int storvsp_no_disk(struct storvsp_address at, struct vhd_err *err);

/* ------------------------------------------------------------- blocks.c -- */

/* The sizes of a disk's blocks, for an image of `size_bytes`; -EINVAL. */
int storvsp_blocks_set(struct storvsp_disk *d,
		       const struct storvsp_disk_opts *o, uint64_t size_bytes,
		       struct vhd_err *err);

/* ---------------------------------------------------------------- mail.c - */

/* Take the mail; false when there is none. `luns` is filled when the list of
 * disks has changed.
 */
bool storvsp_mail_take(struct channel *ch, struct mail *out,
		       struct storvsp_luns *luns);
void storvsp_mail_stop(struct channel *ch);
/* To every channel. Locked: the caller holds the controller's lock. */
void storvsp_mail_luns_locked(struct storvsp *vsp);
/* What holds requests may hold them no longer. */
void storvsp_mail_look_locked(struct storvsp *vsp);
void storvsp_mail_look(struct storvsp *vsp);
/* The primary's session, to every sub-channel and those to come. */
void storvsp_mail_session(struct storvsp *vsp, bool ready, uint16_t version);

/* A reset on `from`: tells the other channels and returns its ticket. */
uint64_t storvsp_mail_reset(struct channel *from,
			    const struct reset_scope *scope);
/* Nothing is in flight here that resets up to this ticket named. */
void storvsp_mail_drained(struct channel *ch, uint64_t ticket);
/* Whether that holds for all channels but this. */
bool storvsp_mail_all_drained(struct channel *ch, uint64_t ticket);

#endif
