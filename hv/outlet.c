/* SPDX-License-Identifier: BSD-2-Clause */
/* See outlet.h. The descriptor blocks: O_NONBLOCK would belong to everybody who
 * has it, the user's shell among them.
 */
#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

/* Small, so that a slow reader is seen to move. */
#define CHUNK_BYTES 1024u

enum state { TAKES, WRITES, ENDED };

struct hv_outlet {
	struct hv_outlet_opts opts;
	pthread_t thread;
	bool started; /* the owner's */
	int fd; /* its own; -1: gone. The thread's */
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t moved; /* something of it changed; monotonic */
	bool begun;
	int begin_result;
	struct vhd_err begin_err;
	enum state state;
	uint64_t written; /* bytes */
	bool given_up;	  /* the thread is the owner now */
};

static void outlet_free(struct hv_outlet *o)
{
	if (o->fd >= 0)
		(void)close(o->fd);
	pthread_cond_destroy(&o->moved);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

/* ------------------------------------------------------------ the thread -- */

/* False: nobody wants it any more, and the callbacks' world may be gone. */
static bool enter(struct hv_outlet *o, enum state state, size_t written)
{
	bool wanted;

	pthread_mutex_lock(&o->lock);
	wanted = !o->given_up;
	o->state = state;
	o->written += written;
	pthread_cond_signal(&o->moved);
	pthread_mutex_unlock(&o->lock);
	return wanted;
}

/* Under the lock: not after it was given up. */
static bool fail(struct hv_outlet *o, int code)
{
	bool wanted;

	pthread_mutex_lock(&o->lock);
	wanted = !o->given_up;
	if (wanted && o->opts.broken)
		o->opts.broken(o->opts.arg, code);
	pthread_mutex_unlock(&o->lock);
	(void)close(o->fd);
	o->fd = -1;
	return wanted;
}

static bool give(struct hv_outlet *o, const uint8_t *bytes, size_t len)
{
	bool wanted = enter(o, WRITES, 0);

	while (wanted && len > 0 && o->fd >= 0) {
		ssize_t n = write(o->fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
			wanted = enter(o, WRITES, (size_t)n);
		} else if (errno == EAGAIN) { /* somebody else's O_NONBLOCK */
			struct pollfd p = {.fd = o->fd, .events = POLLOUT};

			(void)poll(&p, 1, -1);
			wanted = enter(o, WRITES, 0);
		} else if (errno != EINTR) {
			wanted = fail(o, errno);
		}
	}
	return wanted && enter(o, TAKES, 0);
}

static bool begin(struct hv_outlet *o)
{
	int rc = 0;

	(void)pthread_setname_np(pthread_self(), o->opts.name);
	if (o->opts.begins)
		rc = o->opts.begins(o->opts.arg, &o->begin_err);
	pthread_mutex_lock(&o->lock);
	o->begin_result = rc;
	o->begun = true;
	pthread_cond_signal(&o->moved);
	pthread_mutex_unlock(&o->lock);
	return rc == 0;
}

static void *thread_main(void *arg)
{
	struct hv_outlet *o = arg;
	uint8_t bytes[CHUNK_BYTES];
	bool wanted = true;
	size_t n;

	if (begin(o))
		while ((n = o->opts.take(o->opts.arg, bytes,
					 sizeof(bytes))) > 0) {
			wanted = give(o, bytes, n);
			if (!wanted)
				break;
		}
	if (wanted)
		(void)enter(o, ENDED, 0);
	else
		outlet_free(o);
	return NULL;
}

/* ------------------------------------------------------------- its owner -- */

static int start(struct hv_outlet *o)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&o->thread, NULL, thread_main, o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* 0 or a negative errno: why the descriptor, which is one, is not to be had. */
static int init(struct hv_outlet *o, const struct hv_outlet_opts *opts)
{
	pthread_condattr_t attr;

	o->opts = *opts;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->moved, &attr);
	pthread_condattr_destroy(&attr);
	o->fd = opts->fd < 0 ? -1 : fcntl(opts->fd, F_DUPFD_CLOEXEC, 3);
	return opts->fd < 0 || o->fd >= 0 || errno == EBADF ? 0 : -errno;
}

int hv_outlet_create(const struct hv_outlet_opts *opts, struct hv_outlet **out,
		     struct vhd_err *err)
{
	struct hv_outlet *o = calloc(1, sizeof(*o));
	int rc;

	if (!o)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = init(o, opts);
	if (rc) {
		outlet_free(o);
		return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
				"no descriptor for the way out: %s",
				strerror(-rc));
	}
	*out = o;
	return 0;
}

int hv_outlet_begin(struct hv_outlet *o, struct vhd_err *err)
{
	int rc = start(o);

	if (rc)
		return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
				"cannot start a thread: %s", strerror(rc));
	o->started = true;
	pthread_mutex_lock(&o->lock);
	while (!o->begun)
		pthread_cond_wait(&o->moved, &o->lock);
	rc = o->begin_result;
	if (rc && err)
		*err = o->begin_err;
	pthread_mutex_unlock(&o->lock);
	return rc;
}

/* With the lock. */
static void wait_for_end(struct hv_outlet *o, unsigned still_ms,
			 unsigned all_ms)
{
	const int64_t all = hv_now_ms() + all_ms;
	int64_t due = hv_now_ms() + still_ms;
	uint64_t seen = o->written;

	while (o->state != ENDED) {
		const struct timespec t = hv_at_ms(due < all ? due : all);
		int rc = pthread_cond_timedwait(&o->moved, &o->lock, &t);

		if (o->state == ENDED)
			return;
		/* what it takes comes at once, or never: not its fault */
		if (rc == ETIMEDOUT && o->state == WRITES) {
			o->given_up = true;
			return;
		}
		if (rc == ETIMEDOUT || o->written != seen)
			due = hv_now_ms() + still_ms;
		seen = o->written;
	}
}

bool hv_outlet_end(struct hv_outlet *o, unsigned still_ms, unsigned all_ms)
{
	pthread_t thread;
	bool given_up;

	if (!o || !o->started) {
		if (o)
			outlet_free(o);
		return true;
	}
	thread = o->thread;
	pthread_mutex_lock(&o->lock);
	wait_for_end(o, still_ms, all_ms);
	given_up = o->given_up;
	pthread_mutex_unlock(&o->lock);
	if (given_up) {
		/* `o` may be gone by now */
		(void)pthread_detach(thread);
		return false;
	}
	(void)pthread_join(thread, NULL);
	outlet_free(o);
	return true;
}
