/* SPDX-License-Identifier: BSD-2-Clause */
/* What a controller and its open channels are: data that the files share. An
 * open channel has its slots, its disk queue, its thread.
 *
 * Everything is allocated when the channel opens. A packet is taken only when
 * a slot is free for it and its answer is sure to fit the outgoing ring, next
 * to the answers of all other slots in use; so a guest that does not read its
 * answers stops nobody but itself.
 *
 * Files, each calling those after it only: device.c opens and closes channels
 *   for the bus; channel.c starts, sleeps and stops one; drain.c moves packets
 *   and answers; leave.c lets disks come and go; reset.c ends what is in
 *   flight; request.c runs one SCSI request; gate.c is its way to the disk
 *   queue, turn.c keeps who writes apart there; mail.c is how other threads
 *   reach the channel.
 * Thread: all of it belongs to the channel's thread (in manual mode: the
 *   caller's), but for the fields that say otherwise. One lock of the
 *   controller's, `lock`, guards all that is shared. It is taken at opening and
 *   closing, when a session changes, at resets and for mail; never on the way
 *   of a request: a channel looks at its atomic `mail_waiting` first.
 */
#ifndef STORVSP_STATE_H
#define STORVSP_STATE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "buffer.h"
#include "counters.h"
#include "gather.h"
#include "log.h"
#include "scope.h"
#include "session.h"
#include "slot.h"
#include "spin.h"
#include "storvsp.h"

/* Of one disk at the disk queue, in each channel. */
#define STORVSP_PLACES_MAX 256u
#define STORVSP_SLOT_SHARE 4u

#define STORVSP_STALL_MS     10000u
#define STORVSP_STALL_LOOK_NS 1000000000ull

/* Fairness: packets taken before completions are looked at again. */
#define STORVSP_BATCH 64u
/* Answers handed out at once. */
#define STORVSP_SLICE 16u

/* The largest packet a 16-bit length in units of 8 bytes can tell. */
#define STORVSP_RING_PACKET_MAX (8u * 65535u)

/* What one answer takes in the outgoing ring: descriptor and trailer. */
#define STORVSP_ANSWER_BYTES (16u + STORVSP_PACKET_BYTES + 8u)

/* One step of verifying reads at most so often so much, into one place. */
#define STORVSP_SINK_BYTES  (64u << 10)
#define STORVSP_VERIFY_IOVS 32u

/* What other threads want of a channel; flags, so that it cannot pile up. */
struct mail {
	bool stop;
	bool luns;    /* the controller has other disks now: */
	uint64_t luns_number; /* ... which list this is */
	const struct storvsp_disk *frozen; /* ... and who is frozen */
	bool session; /* sub-channels: the primary's session changed */
	bool reset;
	bool look;  /* a reset waited for may have ended, a gate may open */
	bool ready; /* with `session` */
	uint16_t version;
	struct reset_scope scope; /* with `reset` */
	uint64_t ticket;
};

struct gate {
	const struct storvsp_disk *disk;
	struct request *head, **tail; /* waiting */
	struct gate *next;	      /* in the channel's list of those that
				       * have something waiting */
	bool listed;
	bool closed; /* its disk is frozen: nothing passes */
	unsigned slots;		      /* requests here: waiting, or passed */
	unsigned doomed;	      /* of these, on disk, to end early */
	atomic_uint writers;	      /* those that have a turn (turn.h) */
	uint64_t throttled_from_ns;   /* a limit holds the first; 0: none */
	struct disk_stats stats;
};

struct channel {
	/* fixed while open */
	struct storvsp *vsp;
	struct vmbus_channel *bus;
	struct hv_mem *mem;
	struct log *log;
	bool sub;
	uint64_t number; /* 0: the primary */
	unsigned depth;	 /* of one disk */
	unsigned slot_count;
	unsigned places; /* at the disk queue */
	unsigned iov_max;

	/* guarded by the controller's lock */
	struct channel *next;
	struct mail mail;
	uint64_t drained_ticket;
	uint64_t heard_number;	       /* of the last list it knows of */
	bool holds[STORVSP_DISKS_MAX]; /* of those that list lacks, by slot */
	/* set after posting mail, cleared before reading it */
	atomic_bool mail_waiting;

	/* the thread's start and end */
	pthread_t thread;
	sem_t started, ended;
	int start_result;
	struct vhd_err start_err;

	struct stats stats;
	struct spin spin;
	struct gather gather;
	uint64_t packets_then; /* taken before the last sleep */

	/* the thread's own */
	struct session session;
	struct storvsp_luns luns;
	const struct storvsp_disk *leaving[STORVSP_DISKS_MAX];
	unsigned leaving_count; /* not in `luns`, but still attached */
	uint64_t luns_number;	/* of the list last heard of */
	bool settled;		/* the controller knows of both */
	const struct storvsp_disk *frozen; /* not NULL: no packet is taken */
	struct vhd_queue *queue;
	struct request *slots;
	unsigned slots_used; /* ever; the rest has not been touched */
	struct iovec *iovs;
	uint8_t *patterns;
	struct request *free;
	struct request *answers, **answers_tail; /* in order of completion */
	struct level busy;			 /* slots not free */
	struct level on_disk;			 /* slots in REQUEST_DISK */
	struct level waiting;			 /* in REQUEST_WAITING */
	struct gate *gates[STORVSP_DISKS_MAX];	 /* by the disk's slot; changed
						  * under the lock only */
	struct gate *blocked;			 /* where something waits */
	unsigned used, flying; /* gates with a slot, with a place */
	uint64_t now_ns;			 /* 0: not read yet */
	uint64_t watch_ns;			 /* when to look for stalls */
	uint8_t *packet;			 /* STORVSP_RING_PACKET_MAX */
	uint8_t *sink; /* STORVSP_SINK_BYTES: what is read only to see it */
	struct buffer buffer;
	struct scsi_task task;
	struct request *reset; /* waits for its end; no packet is taken */
	uint64_t reset_ticket;
	uint64_t drain_ticket; /* another channel's reset; 0: none */
	bool stopping;
	bool ring_dead;	 /* the guest broke it: left alone until close */
	bool queue_dead; /* the engine broke */
	bool masked;
	bool rescan; /* ENUMERATE_BUS to be sent */
	bool waits_for_space;
	bool sent, received; /* something to publish */
};

/* The answer in `r` is ready; the slot is free once it is sent (drain.c). */
static inline void channel_answer(struct channel *ch, struct request *r)
{
	r->state = REQUEST_DONE;
	r->next = NULL;
	*ch->answers_tail = r;
	ch->answers_tail = &r->next;
}

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

#endif
