/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest wrote to its console lately: a ring that the control thread
 * fills without waiting for anybody. Each reader has its own place, counted in
 * bytes since the beginning; one that is left behind by more than the ring
 * holds has lost the difference.
 *
 * Thread: any; the lock guards all of it and is held for moments.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

struct ctl_console {
	pthread_mutex_t lock;
	uint64_t total;
	uint8_t ring[CTL_CONSOLE_BYTES];
};

struct ctl_console *ctl_console_create(void)
{
	struct ctl_console *c = calloc(1, sizeof(*c));

	if (c)
		pthread_mutex_init(&c->lock, NULL);
	return c;
}

void ctl_console_destroy(struct ctl_console *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void ctl_console_put(struct ctl_console *c, const uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&c->lock);
	while (len > 0) {
		size_t at = c->total % CTL_CONSOLE_BYTES;
		size_t n = CTL_CONSOLE_BYTES - at;

		n = n < len ? n : len;
		memcpy(c->ring + at, bytes, n);
		c->total += n;
		bytes += n;
		len -= n;
	}
	pthread_mutex_unlock(&c->lock);
}

static uint64_t total(struct ctl_console *c)
{
	uint64_t n;

	pthread_mutex_lock(&c->lock);
	n = c->total;
	pthread_mutex_unlock(&c->lock);
	return n;
}

uint64_t ctl_console_begin(struct ctl_console *c)
{
	uint64_t n = total(c);

	return n > CTL_CONSOLE_BACK ? n - CTL_CONSOLE_BACK : 0;
}

bool ctl_console_behind(struct ctl_console *c, uint64_t at)
{
	return total(c) > at;
}

size_t ctl_console_get(struct ctl_console *c, uint64_t *at, uint8_t *out,
		       uint64_t *lost)
{
	size_t n;

	*lost = 0;
	pthread_mutex_lock(&c->lock);
	if (c->total - *at > CTL_CONSOLE_BYTES) {
		*lost = c->total - CTL_CONSOLE_BYTES - *at;
		*at += *lost;
	}
	n = (size_t)(c->total - *at);
	if (n > CTL_CONSOLE_CHUNK)
		n = CTL_CONSOLE_CHUNK;
	for (size_t done = 0; done < n;) {
		size_t from = (*at + done) % CTL_CONSOLE_BYTES;
		size_t part = CTL_CONSOLE_BYTES - from;

		part = part < n - done ? part : n - done;
		memcpy(out + done, c->ring + from, part);
		done += part;
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}
