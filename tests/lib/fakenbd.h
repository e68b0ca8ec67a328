/* SPDX-License-Identifier: BSD-2-Clause */
/* An NBD server inside a test: one thread a connection, over socket pairs, the
 * old handshake, simple replies. It has a medium and, over it, a cache that is
 * lost when it is killed; it can die, fail, hold back and lie at a given
 * command.
 * Source: the NBD protocol document.
 */
#ifndef TESTS_LIB_FAKENBD_H
#define TESTS_LIB_FAKENBD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKENBD_READ  0u
#define FAKENBD_WRITE 1u
#define FAKENBD_DISC  2u
#define FAKENBD_FLUSH 3u
#define FAKENBD_TRIM  4u
#define FAKENBD_ZERO  6u
#define FAKENBD_OPS   8u

/* Flags of the export. */
#define FAKENBD_HAS_FLAGS 1u
#define FAKENBD_READ_ONLY 2u
#define FAKENBD_CAN_FLUSH 4u
#define FAKENBD_CAN_FUA	  8u
#define FAKENBD_CAN_ZERO  64u

struct fakenbd {
	/* set by the test before a connection is made */
	uint64_t size_bytes; /* what it says */
	uint16_t flags;
	bool refuse;	     /* no connection */
	/* When this many commands were taken, counted over all connections,
	 * the next ... ; 0: never
	 */
	unsigned die_at;     /* is not answered: the server is killed */
	unsigned die_often;  /* so many times, from then on every command */
	unsigned fail_op;    /* of this kind */
	unsigned fail_at;    /* ... the n-th fails */
	uint32_t fail_error; /* NBD's number */
	bool bad_magic;	     /* answers are no answers */
	bool hold;	     /* no answers until it is cleared */
	bool refuse_dead;    /* ... and dies for good, until this is cleared */
	unsigned silent;     /* its first so many connections answer nothing */
	unsigned slow_ms;    /* before each answer */
	/* Writes that touch these bytes are counted in guarded_writes. */
	uint64_t guarded_off, guarded_bytes;
	bool reorder;	     /* a write waits a moment for a later command */

	/* what it saw; under the lock while connections are there */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *medium, *cache; /* room_bytes */
	uint64_t room_bytes;
	unsigned connections;	 /* made */
	unsigned alive;		 /* threads */
	unsigned commands;
	unsigned ops[FAKENBD_OPS];
	unsigned fua;
	unsigned guarded_writes;
	int fd[64]; /* of connections, by number */
};

void fakenbd_init(struct fakenbd *s, uint64_t room_bytes);
/* Ends what connections are left. */
void fakenbd_fini(struct fakenbd *s);
/* nbd_how.socket */
int fakenbd_connect(void *server);
/* Serve a connection that somebody accepted for it: takes `fd`, unless it
 * refuses (-ECONNREFUSED).
 */
int fakenbd_serve(struct fakenbd *s, int fd);
/* Kill it: the cache is lost, connections break. */
void fakenbd_kill(struct fakenbd *s);
void fakenbd_release(struct fakenbd *s);
/* Before a test looks at what connections changed, and before and after it
 * changes what they look at: one that was handed over is known to it only by
 * what is sent, which orders nothing for ThreadSanitizer.
 */
void fakenbd_meet(struct fakenbd *s);
/* How many connections were made. */
unsigned fakenbd_connections(struct fakenbd *s);
/* While it runs: `silent`. */
void fakenbd_hush(struct fakenbd *s, unsigned silent);
/* Likewise: `slow_ms`. */
void fakenbd_slow(struct fakenbd *s, unsigned ms);
/* How many commands of a kind it took. */
unsigned fakenbd_count(struct fakenbd *s, unsigned op);
/* Wait until it took that many commands of a kind. */
void fakenbd_await(struct fakenbd *s, unsigned op, unsigned count);

#endif
