/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest that is only asked. */
#include "fakehv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_S 100

static struct {
	pthread_mutex_t lock;
	pthread_cond_t came;
	struct hv_ask *first;
	void (*answer)(struct hv_ask *a);
	bool closed, stopped;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

void fakehv_reset(void (*answer)(struct hv_ask *a))
{
	pthread_mutex_lock(&fake.lock);
	fake.first = NULL;
	fake.answer = answer;
	fake.closed = fake.stopped = false;
	pthread_mutex_unlock(&fake.lock);
}

struct hv *fakehv(void)
{
	return (struct hv *)(uintptr_t)&fake;
}

static struct hv_ask *pop(void)
{
	struct hv_ask *a = fake.first;

	if (a)
		fake.first = a->next;
	return a;
}

struct hv_ask *fakehv_take(void)
{
	struct timespec due;
	struct hv_ask *a;

	(void)clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&fake.lock);
	while (!fake.first &&
	       pthread_cond_clockwait(&fake.came, &fake.lock,
				      CLOCK_MONOTONIC, &due) == 0)
		;
	a = pop();
	pthread_mutex_unlock(&fake.lock);
	return a;
}

unsigned fakehv_waiting(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&fake.lock);
	for (struct hv_ask *a = fake.first; a; a = a->next)
		n++;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

void fakehv_done(struct hv_ask *a, int result, const char *text)
{
	a->result = result;
	if (result)
		(void)vhd_fail(&a->err, result, VHD_WHY_SERVER, 0, "%s", text);
	a->done(a);
}

void fakehv_end(void)
{
	struct hv_ask *a;

	do {
		pthread_mutex_lock(&fake.lock);
		fake.closed = true;
		a = pop();
		pthread_mutex_unlock(&fake.lock);
		if (a)
			fakehv_done(a, -ECONNRESET, "the guest has ended");
	} while (a);
}

bool fakehv_stopped(void)
{
	bool stopped;

	pthread_mutex_lock(&fake.lock);
	stopped = fake.stopped;
	pthread_mutex_unlock(&fake.lock);
	return stopped;
}

/* ------------------------------------------------------ in hv/'s place --- */

int hv_ask(struct hv *hv, struct hv_ask *a, struct vhd_err *err)
{
	struct hv_ask **at = &fake.first;
	bool closed, now;

	if (hv != fakehv())
		abort();
	a->hv = hv;
	a->next = NULL;
	a->result = 0;
	atomic_store(&a->dropped, false);
	pthread_mutex_lock(&fake.lock);
	closed = fake.closed;
	now = fake.answer;
	while (*at)
		at = &(*at)->next;
	if (!closed && !now) {
		*at = a;
		pthread_cond_signal(&fake.came);
	}
	pthread_mutex_unlock(&fake.lock);
	if (closed)
		return vhd_fail(err, -ECONNRESET, VHD_WHY_SERVER, 0,
				"the guest has ended");
	if (now)
		fake.answer(a);
	return 0;
}

void hv_ask_drop(struct hv_ask *a)
{
	atomic_store(&a->dropped, true);
}

void hv_stop(struct hv *hv)
{
	if (hv != fakehv())
		abort();
	pthread_mutex_lock(&fake.lock);
	fake.stopped = true;
	pthread_mutex_unlock(&fake.lock);
}
