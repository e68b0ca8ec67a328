/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines for the person running the guest. A guest can cause every one of
 * them, so all pass one limiter: LINES_BURST at once, then one line for each
 * LINE_MS; what was left out is counted in the next line.
 */
#include "bus.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINES_BURST 64
#define LINE_MS	    125
#define LINE_BYTES  240

void vmbus_limiter_init(struct vmbus_limiter *lim)
{
	lim->tokens = LINES_BURST;
	lim->dropped = 0;
	lim->last_ms = 0;
}

uint64_t vmbus_now_ms(const struct vmbus *bus)
{
	struct timespec ts = {0};

	if (bus->opts.clock_ms)
		return bus->opts.clock_ms(bus->opts.clock_arg);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* True when a line may go out now; *dropped: how many could not before. */
static bool take_token(struct vmbus *bus, unsigned *dropped)
{
	struct vmbus_limiter *lim = &bus->limiter;
	uint64_t now = vmbus_now_ms(bus);
	uint64_t earned;
	bool ok;

	pthread_mutex_lock(&lim->lock);
	earned = now > lim->last_ms ? (now - lim->last_ms) / LINE_MS : 0;
	if (earned > 0) {
		lim->last_ms += earned * LINE_MS;
		lim->tokens = earned < LINES_BURST - lim->tokens
				      ? lim->tokens + (unsigned)earned
				      : LINES_BURST;
	}
	ok = lim->tokens > 0;
	if (ok) {
		lim->tokens--;
		*dropped = lim->dropped;
		lim->dropped = 0;
	} else {
		lim->dropped++;
	}
	pthread_mutex_unlock(&lim->lock);
	return ok;
}

void vmbus_log(struct vmbus *bus, const char *fmt, ...)
{
	char line[LINE_BYTES] = "vmbus: ";
	unsigned dropped;
	size_t len = strlen(line);
	va_list ap;

	if (!bus->opts.log || !take_token(bus, &dropped))
		return;
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	len = strlen(line);
	if (dropped > 0)
		snprintf(line + len, sizeof(line) - len,
			 " (%u lines before this one left out)", dropped);
	bus->opts.log(bus->opts.log_arg, line);
}
