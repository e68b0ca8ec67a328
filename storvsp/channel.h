/* SPDX-License-Identifier: BSD-2-Clause */
/* An open channel: its slots, its disk queue, its thread.
 *
 * Everything is allocated when the channel opens. A packet is taken only when
 * a slot is free for it and its answer is sure to fit the outgoing ring, next
 * to the answers of all other slots in use; so a guest that does not read its
 * answers stops nobody but itself.
 *
 * Files, each calling those after it only: channel.c starts, sleeps and stops;
 *   drain.c moves packets and answers; leave.c lets disks come and go; reset.c
 *   ends what is in flight; request.c runs one SCSI request; gate.c is its way
 *   to the disk queue, turn.c keeps who writes apart there; mail.c is how other
 *   threads reach the channel.
 * Thread: all of it belongs to the channel's thread (in manual mode: the
 *   caller's), but for the fields that say otherwise.
 */
#ifndef STORVSP_CHANNEL_H
#define STORVSP_CHANNEL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "buffer.h"
#include "gate.h"
#include "gather.h"
#include "log.h"
#include "scope.h"
#include "scsi/scsi.h"
#include "session.h"
#include "spin.h"
#include "stats.h"
#include "storvsp.h"
#include "turn.h"

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

/* Memory of a slot: the block of WRITE SAME, or what COMPARE AND WRITE wants,
 * writes and finds.
 */
#define STORVSP_PATTERN_BYTES (3u * SCSI_COMPARE_BYTES_MAX)

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

enum request_state {
	REQUEST_FREE = 0,
	REQUEST_TAKEN, /* being started, or a reset that waits */
	REQUEST_WAITING, /* at its disk's gate */
	REQUEST_DISK,	 /* in the disk queue */
	REQUEST_DONE,	 /* its answer waits to be sent */
};

/* A slot: one packet from taking to answer. */
struct request {
	struct request *next; /* in the free list, at a gate, or in the list of
			       * answers */
	enum request_state state;
	bool v1;
	uint64_t trans_id;
	size_t answer_bytes;
	struct storvsp_packet_wire answer;
	/* REQUEST_WAITING and REQUEST_DISK */
	struct gate *gate;
	bool doomed;	  /* a reset waits for its end */
	bool stalled;	  /* at the disk for too long */
	uint64_t from_ns; /* when it was taken, and sent */
	uint64_t sent_ns;
	const struct storvsp_disk *disk;
	struct scsi_io io;
	uint64_t sectors; /* of `req` */
	struct vhd_req req;
	struct iovec *iov;
	/* a command of several steps: what has not been sent yet */
	struct scsi_extent extent[SCSI_EXTENTS_MAX];
	unsigned at, count;
	uint8_t *pattern; /* STORVSP_PATTERN_BYTES */
	enum turn turn;
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

/* ---------------------------------------------------------- channel.c ---- */

/* Control thread. NULL: no memory. */
struct channel *storvsp_channel_create(struct storvsp *vsp,
				       struct vmbus_channel *bus);
/* Its thread and its queue, with the disks of `luns`, which is not looked at
 * any more when this returns. A negative errno: `start_err` says why.
 */
int storvsp_channel_start(struct channel *ch, const struct storvsp_luns *luns);
/* Ends what is in flight, then both. */
void storvsp_channel_stop(struct channel *ch);
void storvsp_channel_destroy(struct channel *ch);

#endif
