/* SPDX-License-Identifier: BSD-2-Clause */
/* A slot: one packet from taking to answer. All of it belongs to the channel's
 * thread.
 */
#ifndef STORVSP_SLOT_H
#define STORVSP_SLOT_H

#include "scsi/scsi.h"

struct gate;

/* Memory of a slot: the block of WRITE SAME, or what COMPARE AND WRITE wants,
 * writes and finds.
 */
#define STORVSP_PATTERN_BYTES (3u * SCSI_COMPARE_BYTES_MAX)

/* Of a disk (struct storvsp_switches). */
enum turn_word {
	TURN_FREE = 0,
	TURN_WANTED,
	TURN_ALONE,
};

/* Of a request. */
enum turn {
	TURN_NONE = 0,
	TURN_WRITES,
	TURN_WAITS, /* to be alone */
	TURN_IS_ALONE,
};

enum request_state {
	REQUEST_FREE = 0,
	REQUEST_TAKEN, /* being started, or a reset that waits */
	REQUEST_WAITING, /* at its disk's gate */
	REQUEST_DISK,	 /* in the disk queue */
	REQUEST_DONE,	 /* its answer waits to be sent */
};

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

#endif
