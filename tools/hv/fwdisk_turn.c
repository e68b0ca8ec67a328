/* SPDX-License-Identifier: BSD-2-Clause */
/* Turns: a caller leaves its request under the lock, wakes the thread, and
 * waits. Who asks for more than a request (see `urgent`) is never held up for
 * long by one whose medium does not answer.
 */
#include "fwdisk_int.h"

#include <errno.h>
#include <unistd.h>

#include "hv/clock.h"

/* For a request to end by itself when somebody waits who has to go on. */
#define GRACE_MS 1000u

void fwdisks_wake(struct hv_fwdisks *f)
{
	uint64_t one = 1;

	while (write(f->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

bool fwdisks_take_turn(struct hv_fwdisks *f)
{
	pthread_mutex_lock(&f->lock);
	while (f->turn != TURN_FREE || f->urgent) {
		if (f->hurry || f->stop)
			return false;
		pthread_cond_wait(&f->moved, &f->lock);
	}
	return true;
}

bool fwdisks_until(struct hv_fwdisks *f,
		   bool (*so)(const struct hv_fwdisks *f, unsigned controller),
		   unsigned controller, unsigned most_ms)
{
	const int64_t began_ms = hv_now_ms();
	const struct timespec grace = hv_at_ms(began_ms + GRACE_MS);
	const struct timespec end = hv_at_ms(began_ms + most_ms);
	bool late = most_ms && most_ms <= GRACE_MS, over = false;

	while (!so(f, controller) && !over) {
		if (!late) {
			late = pthread_cond_clockwait(&f->moved, &f->lock,
						      CLOCK_MONOTONIC,
						      &grace) == ETIMEDOUT;
			continue;
		}
		f->evict = true;
		fwdisks_wake(f);
		if (!most_ms)
			pthread_cond_wait(&f->moved, &f->lock);
		else
			over = pthread_cond_clockwait(&f->moved, &f->lock,
						      CLOCK_MONOTONIC,
						      &end) == ETIMEDOUT;
	}
	return so(f, controller);
}

static bool is_free(const struct hv_fwdisks *f, unsigned unused)
{
	(void)unused;
	return f->turn == TURN_FREE;
}

bool fwdisks_take_turn_within(struct hv_fwdisks *f, unsigned most_ms)
{
	bool taken;

	pthread_mutex_lock(&f->lock);
	f->urgent++;
	taken = fwdisks_until(f, is_free, 0, most_ms);
	f->urgent--;
	if (taken)
		return true;
	pthread_cond_broadcast(&f->moved); /* others go on */
	pthread_mutex_unlock(&f->lock);
	return false;
}

void fwdisks_take_turn_first(struct hv_fwdisks *f)
{
	(void)fwdisks_take_turn_within(f, 0);
}

void fwdisks_end_turn(struct hv_fwdisks *f)
{
	f->turn = TURN_FREE;
	f->at = NULL;
	f->leaving = f->coming = NULL;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

void fwdisks_ask(struct hv_fwdisks *f)
{
	f->turn = TURN_ASKED;
	f->evict = false; /* it was meant for one that has ended */
	pthread_cond_broadcast(&f->moved);
	while (f->turn != TURN_DONE)
		pthread_cond_wait(&f->moved, &f->lock);
}
