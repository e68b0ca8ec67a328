/* SPDX-License-Identifier: BSD-2-Clause */
/* The insides of an NBD server's export as a medium. Private to vhd/.
 *
 * One export, one connection, one thread. A server that does not say
 * MULTI_CONN promises nothing about a flush on one connection for a write on
 * another; so the requests of all queues, and metadata, share one, and the
 * thread that owns it is the only one that connects, sends and receives. It
 * can do all of that in a sandbox of its own, and the threads that look at a
 * guest's bytes need no call that knows sockets.
 *
 *   nbd.c         opening, closing, the file table, requests that wait
 *   nbd_link.c    the connection: made, judged, lost, made again
 *   nbd_run.c     the thread: requests come, are sent and answered
 *   nbd_send.c    ... one of them on its way
 *   nbd_part.c    what of a request is one command, and its bytes
 *   nbd_keep.c    writes that were acknowledged and not flushed yet
 *   nbd_hand.c    connections that another process makes: nbd_connector.c
 *   nbd_line.c    ... and what is said on them
 *   engine_nbd.c  a queue's operations, beside those of its own engine
 *
 * A lost connection. Reads, writes, zeros and flushes that were not answered
 * are sent again on the next one: their effect is the same however often they
 * are done. Writes that were answered but not flushed may have been lost with
 * the server, so a copy of each is kept until a flush covers it (NBD_KEEP_BYTES
 * of them; more are held back, and a flush is sent). On a new connection they
 * are written again, in their order, before anything else goes out. A flush
 * that a server fails is never sent again.
 *
 * A server that says nothing is as good as lost: but what it was given before
 * its connection was let go it may still do, and undo what was written on the
 * next one meanwhile. NBD has nothing against that; so a connection is given up
 * only after a time that the user sets beyond what the server may ever need.
 * Source: the NBD protocol document; libnbd(3).
 */
#ifndef VHD_NBD_INT_H
#define VHD_NBD_INT_H

#include <errno.h>
#include <libnbd.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

#include "file.h"
#include "nbd_req.h"
#include "vhd.h"

/* Copies of writes that are not durable yet. */
#define NBD_KEEP_BYTES	 (64u << 20)
/* Buffers for requests whose memory is in pieces; one at most. */
#define NBD_BOUNCE_BYTES (64u << 20)
#define NBD_BOUNCE_ONE	 (4u << 20)
/* A request's payload where the server names no limit; all must take this. */
#define NBD_PART_BYTES	 (32u << 20)
#define NBD_ZERO_BYTES	 (1u << 30)
/* One wait, and all together, until vhd_nbd_open_handed has its medium. */
#define NBD_HANDED_MS 8000u
#define NBD_OPEN_MS   VHD_NBD_RECONNECT_MS
/* Connections that a request may see die under it. */
#define NBD_SENDS_MAX	 8u

/* What a server said of an export, not judged yet. */
struct nbd_raw {
	int64_t size_bytes, min_bytes, max_bytes; /* negative: unusable */
	uint32_t flags;
};

#define NBD_RAW_READ_ONLY 1u
#define NBD_RAW_FLUSH	  2u
#define NBD_RAW_FUA	  4u
#define NBD_RAW_ZERO	  8u
#define NBD_RAW_FAST_ZERO 16u

/* Facts about an export. */
struct nbd_facts {
	uint64_t size_bytes;
	uint32_t min_bytes;
	uint32_t max_bytes;
	bool read_only, can_flush, can_fua, can_zero, fast_zero;
};

enum nbd_state {
	NBD_DOWN,    /* no connection; the next attempt is due at due_ms */
	NBD_LINKING, /* one is being made, until due_ms */
	NBD_UP,
	NBD_DEAD,    /* what is there now is not what was opened */
};

/* A write that was answered and may have to be made again, in parts: what a
 * later one that is durable has of it is not its any more. Or such a durable
 * one: that is never made again, and has no data.
 */
struct nbd_kept {
	struct nbd_req req; /* the part on its way */
	struct nbd_kept *next;
	uint64_t seq;
	uint64_t off_bytes, len_bytes;
	uint64_t at_bytes; /* from here on it is still to be made again */
	bool durable;
	uint8_t data[];
};

/* A connection that was handed over: see nbd_line.c. */
#define NBD_REQUEST_BYTES 28u
#define NBD_REPLY_BYTES	  16u

struct nbd_line {
	int fd; /* or -1 */
	bool dead;
	uint64_t cookie; /* the last that was given */
	struct nbd_req *sending;
	uint64_t out_bytes; /* of that one */
	uint8_t head[NBD_REQUEST_BYTES];
	uint8_t reply[NBD_REPLY_BYTES];
	size_t reply_bytes;
	struct nbd_req *reading; /* its data comes next, or NULL */
	uint64_t in_bytes;	 /* of that */
};

struct nbd_how {
	uint32_t reconnect_ms; /* these two: VHD_NBD_FOREVER: no limit */
	uint32_t answer_ms;
	bool writable;
	int (*thread_begins)(void *arg, struct vhd_err *err);
	void *thread_arg;
	void (*tell)(void *arg, const char *line); /* or NULL */
	void *tell_arg;
	bool handed;	  /* connections come from ... */
	int connector_fd; /* ... here, which is taken */
	uint32_t open_ms; /* see NBD_OPEN_MS; 0: that */
	/* The seam for tests: a connected socket, or a negative errno, instead
	 * of what the URI says; called for each connection.
	 */
	int (*socket)(void *arg);
	void *socket_arg;
};

struct vhd_nbd {
	/* constant once open */
	char *uri;
	char *export_name;
	struct nbd_how how;
	struct nbd_facts facts;
	struct sockaddr_storage peer; /* TCP without TLS: where to, again */
	socklen_t peer_bytes;	      /* 0: by the URI */
	pthread_t thread;
	sem_t started;
	int start_result;
	struct vhd_err start_err;
	int event_fd; /* wakes the thread */

	/* under the lock */
	pthread_mutex_t lock;
	struct nbd_list incoming;
	bool idle; /* the thread sleeps, or is about to */
	bool cancels;
	bool stop;
	bool drop; /* let the connection go, and all that is on it */
	uint32_t hurry_ms; /* no wait is longer; VHD_NBD_FOREVER: as opened */
	bool hurried;	   /* it was changed */
	int64_t end_ms;	   /* when all waits are over; -1: never */

	/* the thread's own */
	struct nbd_handle *h;
	struct nbd_line line;	  /* in its place, where handed over */
	uint32_t hand_number;	  /* of the last question */
	int hand_failed;	  /* asking did: a negative errno */
	struct vhd_err why;	  /* there is no connection */
	bool told_lost, told_dead;
	enum nbd_state state;
	int64_t due_ms;
	uint32_t limit_ms; /* hurry_ms and end_ms, as last seen */
	int64_t over_ms;
	int64_t heard_ms;  /* when an answer came, or the first request went out
			    * after all were answered */
	int64_t down_ms; /* since then, nothing was answered; 0: all is well */
	uint32_t backoff_ms;
	struct nbd_list waiting;  /* to be sent */
	struct nbd_list sent;
	struct nbd_list answered;
	uint64_t bounce_bytes;
	/* nbd_keep.c's: in the order of their answers */
	struct nbd_kept *kept, **kept_end;
	struct nbd_kept *again;  /* to be sent next on a new connection */
	unsigned again_out;	 /* of these, not answered yet */
	uint64_t kept_bytes;
	uint64_t writing_bytes;  /* of writes that will be kept */
	uint64_t kept_seq;
	uint64_t unkept_seq;	 /* of a write there was no memory for; or 0 */
	bool lost;		 /* a write that a flush has to cover is lost */
	struct nbd_req flush;	 /* our own */

	/* those who wait for an answer of their own; nbd.c */
	pthread_mutex_t answer_lock;
	pthread_cond_t answer;
};

/* nbd.c: vhd_nbd_open_as and vhd_nbd_open_handed, and the seam for tests. */
int vhd_nbd_open(const char *uri, const struct nbd_how *how,
		 struct vhd_file *out, struct vhd_err *err);
/* nbd_link.c; the thread's, before there is one the opener's. */
int64_t vhd_nbd_now_ms(void);
/* Begin to connect. */
void vhd_nbd_link_begin(struct vhd_nbd *n, uint32_t timeout_ms);
/* Look whether the connection came up. True when the state changed; `err` says
 * why it is not up.
 */
bool vhd_nbd_link_look(struct vhd_nbd *n, struct vhd_err *err);
/* One that was up is not any more. */
bool vhd_nbd_link_broke(const struct vhd_nbd *n);
void vhd_nbd_link_close(struct vhd_nbd *n);
/* What poll found on the socket. */
void vhd_nbd_link_turn(struct vhd_nbd *n, short revents);
/* What to look for, or 0 without a connection. */
short vhd_nbd_link_events(const struct vhd_nbd *n, int *fd);
/* Send off what is not sent of a disconnection, for a little time. */
void vhd_nbd_link_bye(struct vhd_nbd *n);
/* Connect to a server for somebody else, which talks to it in the simple form;
 * the caller closes `*h`.
 */
int vhd_nbd_dial(const char *uri, uint32_t timeout_ms, struct nbd_handle **h,
		 struct nbd_raw *raw, struct vhd_err *err);
/* Connect for the first time. */
int vhd_nbd_link_first(struct vhd_nbd *n, struct vhd_err *err);

/* nbd_hand.c; the thread's, before there is one the opener's. */
/* Ask for a connection. 0, or -EPIPE and the like: nobody will answer. */
int vhd_nbd_hand_ask(struct vhd_nbd *n, uint32_t timeout_ms);
/* 0: it is there; -EAGAIN: no answer yet; else why there is none. */
int vhd_nbd_hand_look(struct vhd_nbd *n, struct nbd_raw *raw,
		      struct vhd_err *err);

/* nbd_line.c; likewise. */
void vhd_nbd_line_begin(struct vhd_nbd *n, int fd); /* takes it */
void vhd_nbd_line_close(struct vhd_nbd *n);
/* Say goodbye, as far as that is possible at once. */
void vhd_nbd_line_bye(struct vhd_nbd *n);
/* Send what is the last of `sent`, at once or later. 0, or -ENOTCONN. */
int vhd_nbd_line_issue(struct vhd_nbd *n, struct nbd_req *r);
/* What poll found; answered requests go to `answered`. */
void vhd_nbd_line_turn(struct vhd_nbd *n, bool in, bool out);

/* nbd_run.c */
int vhd_nbd_run_start(struct vhd_nbd *n, struct vhd_err *err);
void vhd_nbd_run_stop(struct vhd_nbd *n);

/* nbd_send.c: hand a request to the connection. 0, or why it cannot be done at
 * all; -ENOTCONN when the connection is gone.
 */
int vhd_nbd_send(struct vhd_nbd *n, struct nbd_req *r);

/* nbd_part.c */
/* Choose what of a request that was not sent yet goes out: part_bytes, from or
 * into `buf`; 0 where there is no memory in one piece.
 */
void vhd_nbd_part_choose(struct vhd_nbd *n, struct nbd_req *r);
/* Between its buffers and `bounce`: out of that, or into it. */
void vhd_nbd_part_copy(const struct nbd_req *r, bool out);
void vhd_nbd_part_free(struct vhd_nbd *n, struct nbd_req *r);

/* nbd_keep.c */
/* May a write of that much go out now. */
bool vhd_nbd_keep_room(const struct vhd_nbd *n, uint64_t bytes);
/* An answered write, or zeros; durable where the server says so. */
void vhd_nbd_keep(struct vhd_nbd *n, const struct nbd_req *r, bool durable);
/* A flush that was sent when `seq` was the last one kept is answered. */
void vhd_nbd_keep_flushed(struct vhd_nbd *n, uint64_t seq);
/* Forget all. */
void vhd_nbd_keep_clear(struct vhd_nbd *n);
/* The connection is lost: all of them are to be sent again. */
void vhd_nbd_keep_lost(struct vhd_nbd *n);
/* Send on. False while some are still to be sent or answered. */
bool vhd_nbd_keep_send(struct vhd_nbd *n);
/* One that was sent again is answered. */
void vhd_nbd_keep_answered(struct vhd_nbd *n, struct nbd_req *r);

#endif
