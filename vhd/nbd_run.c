/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread of an NBD connection. Requests come in through a list under a
 * lock and an eventfd, wait until they may be sent, are out, and end exactly
 * once. What a lost connection had is sent again first on the next.
 *
 * Time. A connection that answered something is made again at once; after one
 * that did not, and after each try that failed, there is a pause, twice as long
 * as the one before, of 0.1 to 1 s. A connection on which
 * requests are and nothing was answered for `answer_ms` is given up as if it had
 * broken. Requests fail with -ENOTCONN when for `reconnect_ms` from then on no
 * request was answered, whether there is a connection or not; those that come
 * later fail at once, until there is one again.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fail.h"
#include "nbd_int.h"

#define ATTEMPT_MS     5000u
#define AGAIN_MS       1000u
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 1000u
#define TELL_MS	       2000

/* ------------------------------------------------------------- the end -- */

static void end(struct vhd_nbd *n, struct nbd_req *r, int64_t res)
{
	if (r->counted)
		n->writing_bytes -= r->part_bytes;
	r->counted = false;
	vhd_nbd_part_free(n, r);
	r->res = res;
	if (!r->own)
		r->over(r);
}

static void end_all(struct vhd_nbd *n, struct nbd_list *l, int64_t res)
{
	struct nbd_req *r;

	while ((r = nbd_list_take(l)))
		end(n, r, res);
}

/* ------------------------------------------------------------- sending -- */

/* To be kept until a flush covers it. That there was a durable one is, too,
 * while others are: of what it covers they are not sent again. After a loss nothing is: no
 * flush will say yes any more, and what is not kept must not wait for room.
 */
static bool is_kept(const struct vhd_nbd *n, const struct nbd_req *r)
{
	return (r->op == NBD_WRITE || r->op == NBD_ZERO) &&
	       n->facts.can_flush && !n->lost &&
	       (n->kept || !(r->fua && n->facts.can_fua));
}

/* False: it has to wait until others are durable; or, a flush, for the one
 * under way: a server may tell only the first of two what was lost.
 */
static bool may_go(struct vhd_nbd *n, struct nbd_req *r)
{
	if (nbd_is_flush(r) && n->flush.in)
		return false;
	if (r->counted || r->flushing || !is_kept(n, r))
		return true;
	if (!vhd_nbd_keep_room(n, r->len_bytes < NBD_PART_BYTES ? r->len_bytes
							    : NBD_PART_BYTES))
		return false;
	vhd_nbd_part_choose(n, r);
	r->counted = true;
	n->writing_bytes += r->part_bytes;
	return true;
}

static void send_or_end(struct vhd_nbd *n, struct nbd_req *r)
{
	int rc = 0;

	nbd_list_remove(r);
	if (nbd_is_flush(r) && n->lost) {
		end(n, r, -EIO);
		return;
	}
	vhd_nbd_part_choose(n, r);
	if (r->op != NBD_FLUSH && !r->part_bytes)
		end(n, r, 0);
	else
		rc = vhd_nbd_send(n, r);
	if (rc == -ENOTCONN)
		nbd_list_add_first(&n->waiting, r);
	else if (rc)
		end(n, r, rc);
}

static void flush_own(struct vhd_nbd *n)
{
	if (n->kept_bytes < NBD_KEEP_BYTES / 2 || n->flush.in || n->lost)
		return;
	n->flush = (struct nbd_req){.n = n, .op = NBD_FLUSH, .own = true};
	(void)vhd_nbd_send(n, &n->flush); /* or the loss comes to be seen */
}

static void send_all(struct vhd_nbd *n)
{
	struct nbd_req *next;

	if (n->state != NBD_UP || !vhd_nbd_keep_send(n))
		return;
	if (n->lost) /* sent again for the last time */
		vhd_nbd_keep_clear(n);
	flush_own(n);
	for (struct nbd_req *r = n->waiting.head; r; r = next) {
		next = r->next;
		if (!may_go(n, r))
			continue;
		send_or_end(n, r);
		if (n->waiting.head == r) /* the connection broke */
			return;
	}
}

/* ------------------------------------------------------------- answers -- */

static void flush_answered(struct vhd_nbd *n, const struct nbd_req *r)
{
	if (!r->error) {
		vhd_nbd_keep_flushed(n, r->mark);
		return;
	}
	/* What it should have made durable may be gone, and a second flush
	 * would say yes about nothing.
	 */
	n->lost = true;
	vhd_nbd_keep_clear(n);
}

/* Zeros that only writing them makes, and not faster. */
static int error_of(const struct nbd_req *r)
{
	return r->op == NBD_ZERO && (r->error == ENOTSUP || r->error == EINVAL)
		       ? -EOPNOTSUPP
		       : -r->error;
}

static void write_answered(struct vhd_nbd *n, struct nbd_req *r)
{
	bool durable = n->facts.can_fua || !n->facts.can_flush;

	if (is_kept(n, r) && !r->flushing)
		vhd_nbd_keep(n, r, r->fua && n->facts.can_fua);
	if (durable || !r->fua || r->flushing) {
		end(n, r, (int64_t)r->part_bytes);
		return;
	}
	r->flushing = true;
	nbd_list_add_first(&n->waiting, r);
}

static void answer(struct vhd_nbd *n, struct nbd_req *r)
{
	if (r->kept) {
		vhd_nbd_keep_answered(n, r);
		return;
	}
	if (nbd_is_flush(r))
		flush_answered(n, r);
	if (n->lost && !r->error && (nbd_is_flush(r) || r->fua))
		r->error = EIO; /* said beside a flush that failed */
	if (r->error) {
		end(n, r, error_of(r));
	} else if (r->op == NBD_WRITE || r->op == NBD_ZERO) {
		write_answered(n, r);
	} else {
		if (r->op == NBD_READ && r->bounce)
			vhd_nbd_part_copy(r, true);
		end(n, r, r->op == NBD_READ ? (int64_t)r->part_bytes : 0);
	}
}

/* Errors that are no answers: of a connection that broke, and of a server that
 * is about to end.
 */
static bool unanswered(const struct nbd_req *r)
{
	return r->error == ENOTCONN || r->error == ESHUTDOWN;
}

/* Take what was answered; the rest goes to `back`. */
static void take_answers(struct vhd_nbd *n, struct nbd_list *back)
{
	struct nbd_req *r;

	if (n->answered.head)
		n->heard_ms = vhd_nbd_now_ms();
	while ((r = nbd_list_take(&n->answered))) {
		if (unanswered(r)) {
			nbd_list_add(back, r);
			continue;
		}
		n->down_ms = 0;
		n->backoff_ms = 0;
		answer(n, r);
	}
}

/* ---------------------------------------------------------------- loss -- */

static void send_again(struct vhd_nbd *n, struct nbd_list *back)
{
	struct nbd_req *r;

	/* the last one first, each in front of all */
	while ((r = back->tail)) {
		nbd_list_remove(r);
		if (r->own)
			continue;
		if (r->sends >= NBD_SENDS_MAX)
			end(n, r, -ENOTCONN);
		else
			nbd_list_add_first(&n->waiting, r);
	}
}

/* Under the lock. */
static void cancel_waiting(struct vhd_nbd *n)
{
	struct nbd_req *next;

	for (struct nbd_req *r = n->waiting.head; r; r = next) {
		next = r->next;
		if (!r->cancelled)
			continue;
		nbd_list_remove(r);
		end(n, r, -ECANCELED);
	}
}

static void back_off(struct vhd_nbd *n)
{
	n->backoff_ms = n->backoff_ms ? 2 * n->backoff_ms : BACKOFF_MIN_MS;
	if (n->backoff_ms > BACKOFF_MAX_MS)
		n->backoff_ms = BACKOFF_MAX_MS;
	n->due_ms = vhd_nbd_now_ms() + n->backoff_ms;
}

static void lost(struct vhd_nbd *n, struct nbd_list *back)
{
	struct nbd_req *r;
	uint32_t wait_ms;

	vhd_nbd_link_close(n);
	n->why.text[0] = '\0';
	take_answers(n, back);
	/* Nothing looks at their buffers any more. */
	while ((r = nbd_list_take(&n->sent)))
		nbd_list_add(back, r);
	send_again(n, back);
	pthread_mutex_lock(&n->lock);
	cancel_waiting(n); /* what this server would have had to answer */
	pthread_mutex_unlock(&n->lock);
	vhd_nbd_keep_lost(n);
	n->state = NBD_DOWN;
	wait_ms = n->backoff_ms;
	back_off(n); /* undone by the first answer */
	n->due_ms = vhd_nbd_now_ms() + wait_ms;
	if (!n->down_ms)
		n->down_ms = vhd_nbd_now_ms();
}

/* The smaller one of two times, of which each may be for ever. */
static uint32_t sooner(uint32_t a_ms, uint32_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

static uint32_t reconnect_ms(const struct vhd_nbd *n)
{
	return sooner(n->how.reconnect_ms, n->limit_ms);
}

/* The earlier one of two moments, of which each may never come (-1). */
static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
	return b_ms < 0 || (a_ms >= 0 && a_ms < b_ms) ? a_ms : b_ms;
}

/* When the requests that wait fail: -1: never. */
static int64_t expiry_ms(const struct vhd_nbd *n)
{
	uint32_t after = reconnect_ms(n);

	if (!n->down_ms)
		return -1;
	return earlier(after == VHD_NBD_FOREVER ? -1 : n->down_ms + after,
		       n->over_ms);
}

/* When a connection without an answer is given up; -1: never. One that was
 * made after a loss, and gave no answer yet, has no more time than there was to
 * make it.
 */
static int64_t silence_ms(const struct vhd_nbd *n)
{
	uint32_t after = sooner(n->how.answer_ms, n->limit_ms);

	if (n->state != NBD_UP || !n->sent.head)
		return -1;
	if (n->down_ms && reconnect_ms(n) < after)
		after = reconnect_ms(n) > AGAIN_MS ? reconnect_ms(n)
						   : AGAIN_MS;
	return earlier(after == VHD_NBD_FOREVER ? -1 : n->heard_ms + after,
		       n->over_ms);
}

static void settle(struct vhd_nbd *n)
{
	struct nbd_list back = {0};
	int64_t due;

	take_answers(n, &back);
	due = silence_ms(n);
	if (back.head || vhd_nbd_link_broke(n) ||
	    (due >= 0 && vhd_nbd_now_ms() >= due))
		lost(n, &back);
}

/* From one connection to the next. */
static void link_step(struct vhd_nbd *n)
{
	if (n->state == NBD_DOWN && vhd_nbd_now_ms() >= n->due_ms)
		vhd_nbd_link_begin(n, ATTEMPT_MS);
	if (n->state != NBD_LINKING || !vhd_nbd_link_look(n, &n->why))
		return;
	if (n->state == NBD_DOWN)
		back_off(n);
	else if (n->state == NBD_UP && !n->waiting.head && !n->again)
		n->down_ms = 0;
}

/* Requests have waited long enough. */
static void expire(struct vhd_nbd *n)
{
	int64_t due = n->state == NBD_UP ? -1 : expiry_ms(n);

	if (n->state == NBD_DEAD || (due >= 0 && vhd_nbd_now_ms() >= due))
		end_all(n, &n->waiting, -ENOTCONN);
}

/* ---------------------------------------------------------- for people -- */

static void tell(const struct vhd_nbd *n, const char *what, const char *why)
{
	char line[400];

	snprintf(line, sizeof(line), "%.200s: %s%s%s", n->uri, what,
		 *why ? ": " : "", why);
	n->how.tell(n->how.tell_arg, line);
}

/* A connection that is soon there again is not worth a line. */
static int64_t tell_due_ms(const struct vhd_nbd *n)
{
	return n->how.tell && n->down_ms && !n->told_lost && !n->told_dead
		       ? n->down_ms + TELL_MS
		       : -1;
}

static void tell_news(struct vhd_nbd *n)
{
	int64_t due = tell_due_ms(n);

	if (!n->how.tell)
		return;
	if (n->state == NBD_DEAD && !n->told_dead) {
		n->told_dead = true;
		tell(n, "not used any more", n->why.text);
	} else if (due >= 0 && vhd_nbd_now_ms() >= due) {
		n->told_lost = true;
		tell(n, "the server does not answer; it is tried again",
		     n->why.text);
	} else if (n->told_lost && !n->down_ms) {
		n->told_lost = false;
		tell(n, "the server is there again", "");
	}
}

/* ---------------------------------------------------------------- loop -- */

/* False: it is over. */
static bool take_new(struct vhd_nbd *n)
{
	struct nbd_list back = {0};
	struct nbd_req *r;
	bool stop, drop;

	pthread_mutex_lock(&n->lock);
	n->idle = false;
	while ((r = nbd_list_take(&n->incoming)))
		nbd_list_add(&n->waiting, r);
	if (n->cancels || n->state != NBD_UP)
		cancel_waiting(n);
	n->cancels = false;
	n->limit_ms = n->hurry_ms;
	n->over_ms = n->end_ms;
	n->hurried = false;
	drop = n->drop;
	n->drop = false;
	stop = n->stop;
	pthread_mutex_unlock(&n->lock);
	if (drop) {
		lost(n, &back);
		end_all(n, &n->waiting, -ECANCELED);
		n->state = NBD_DEAD;
		n->told_dead = true; /* no server's fault */
	}
	return !stop;
}

static bool nothing_new(struct vhd_nbd *n)
{
	bool nothing;

	pthread_mutex_lock(&n->lock);
	nothing = !n->incoming.head && !n->cancels && !n->stop && !n->drop &&
		  !n->hurried;
	n->idle = nothing;
	pthread_mutex_unlock(&n->lock);
	return nothing;
}

/* For how long there is nothing to do but wait; -1: for ever. */
static int patience_ms(const struct vhd_nbd *n)
{
	bool making = n->state == NBD_DOWN || n->state == NBD_LINKING;
	const int64_t due[] = {
		making ? n->due_ms : -1,
		n->state != NBD_UP && n->waiting.head ? expiry_ms(n) : -1,
		silence_ms(n),
		tell_due_ms(n),
	};
	int64_t now = vhd_nbd_now_ms(), left = -1;

	for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
		int64_t rest = due[i] > now ? due[i] - now : 0;

		if (due[i] >= 0 && (left < 0 || rest < left))
			left = rest;
	}
	return left < INT32_MAX ? (int)left : INT32_MAX;
}

static void sleep_until_news(struct vhd_nbd *n)
{
	struct pollfd p[] = {
		{.fd = n->event_fd, .events = POLLIN},
		{.fd = -1},
	};
	eventfd_t count;
	int timeout;

	p[1].events = vhd_nbd_link_events(n, &p[1].fd);
	timeout = nothing_new(n) ? patience_ms(n) : 0;
	if (poll(p, 2, timeout) <= 0)
		return;
	if (p[0].revents)
		(void)eventfd_read(n->event_fd, &count);
	vhd_nbd_link_turn(n, p[1].revents);
}

static void *run(void *arg)
{
	struct vhd_nbd *n = arg;
	int rc = n->how.thread_begins
			 ? n->how.thread_begins(n->how.thread_arg,
						&n->start_err)
			 : 0;

	n->start_result = rc;
	sem_post(&n->started);
	while (!rc && take_new(n)) {
		settle(n);
		link_step(n);
		expire(n);
		tell_news(n);
		send_all(n);
		/* Sending may have shown that the connection is gone. */
		if (!n->answered.head && !vhd_nbd_link_broke(n))
			sleep_until_news(n);
	}
	vhd_nbd_link_bye(n);
	end_all(n, &n->answered, -ECANCELED);
	end_all(n, &n->sent, -ECANCELED);
	end_all(n, &n->waiting, -ECANCELED);
	return NULL;
}

int vhd_nbd_run_start(struct vhd_nbd *n, struct vhd_err *err)
{
	sigset_t all, old;
	int rc;

	sem_init(&n->started, 0, 0);
	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&n->thread, NULL, run, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		vhd_nbd_link_bye(n);
		sem_destroy(&n->started);
		return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
				"no thread for the connection: %s",
				vhd_errno_text(rc));
	}
	while (sem_wait(&n->started) && errno == EINTR)
		;
	sem_destroy(&n->started);
	if (!n->start_result)
		return 0;
	pthread_join(n->thread, NULL);
	if (err)
		*err = n->start_err;
	return n->start_result;
}

void vhd_nbd_run_stop(struct vhd_nbd *n)
{
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_mutex_unlock(&n->lock);
	(void)eventfd_write(n->event_fd, 1);
	pthread_join(n->thread, NULL);
}
