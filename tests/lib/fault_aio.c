/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a kernel AIO context, for fault_wrap.c. io_destroy waits for a
 * grace period of the kernel's, 30 ms and more, with nothing to do: of a million
 * runs that would be hours. A context in which nothing is left goes to a thread
 * that waits in the program's place; one with operations under way is ended
 * where the library ends it, since what they hold is looked at next.
 */
#include <libaio.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "tests/lib/fault.h"

#define WAITING_MAX 256 /* the kernel's own limit on contexts is far above */

static sem_t room;
static long under_way; /* of all contexts: submitted, not reaped */

void fault_aio_moved(long submitted)
{
	under_way += submitted;
}

static void *end_later(void *ctx)
{
	(void)fault_real_io_destroy(ctx);
	(void)sem_post(&room);
	return NULL;
}

/* All of them are over, or the program does not end. */
static void wait_for_all(void)
{
	for (int i = 0; i < WAITING_MAX; i++)
		while (sem_wait(&room))
			;
}

static void begin(void)
{
	if (sem_init(&room, 0, WAITING_MAX) || atexit(wait_for_all))
		abort();
}

int fault_aio_destroy(void *ctx)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_attr_t detached;
	pthread_t thread;

	if (under_way) {
		under_way = 0;
		return fault_real_io_destroy(ctx);
	}
	if (pthread_once(&once, begin))
		abort();
	while (sem_wait(&room)) /* a signal */
		;
	if (pthread_attr_init(&detached) ||
	    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) ||
	    pthread_attr_setstacksize(&detached, 64 << 10) ||
	    pthread_create(&thread, &detached, end_later, ctx))
		abort();
	pthread_attr_destroy(&detached);
	return 0;
}
