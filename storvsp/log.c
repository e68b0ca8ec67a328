/* SPDX-License-Identifier: BSD-2-Clause */
/* The rate limit is a bucket of tokens, refilled by the clock. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "log.h"

static uint64_t now_ms(const struct log *l)
{
	return l->now_ms ? l->now_ms(l->now_arg)
			 : clock_monotonic_ns() / 1000000;
}

void storvsp_log_init(struct log *l, const struct storvsp_opts *opts)
{
	*l = (struct log){
		.fn = opts->log,
		.arg = opts->log_arg,
		.now_ms = opts->now_ms,
		.now_arg = opts->now_arg,
		.tokens = STORVSP_LOG_BURST,
	};
	pthread_mutex_init(&l->lock, NULL);
	l->refilled_ms = now_ms(l);
}

void storvsp_log_fini(struct log *l)
{
	pthread_mutex_destroy(&l->lock);
}

/* Take a token; `*left_out` is what has to be owned up to. */
static int take(struct log *l, uint64_t *left_out)
{
	uint64_t now = now_ms(l), earned;
	int ok;

	pthread_mutex_lock(&l->lock);
	earned = now > l->refilled_ms
			 ? (now - l->refilled_ms) / STORVSP_LOG_REFILL_MS
			 : 0;
	l->refilled_ms += earned * STORVSP_LOG_REFILL_MS;
	l->tokens = earned >= STORVSP_LOG_BURST - l->tokens
			    ? STORVSP_LOG_BURST
			    : l->tokens + (uint32_t)earned;
	ok = l->tokens > 0;
	if (ok) {
		l->tokens--;
		*left_out = l->left_out;
		l->left_out = 0;
	} else {
		l->left_out++;
	}
	pthread_mutex_unlock(&l->lock);
	return ok;
}

void storvsp_log_line(struct log *l, const char *fmt, ...)
{
	static const char prefix[] = "storvsp: ";
	char line[240];
	uint64_t left_out = 0;
	size_t n = sizeof(prefix) - 1;
	va_list ap;
	int len;

	if (!l->fn || !take(l, &left_out))
		return;
	snprintf(line, sizeof(line), "%s", prefix);
	va_start(ap, fmt);
	len = vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	if (len > 0)
		n += (size_t)len;
	if (left_out && n < sizeof(line))
		snprintf(line + n, sizeof(line) - n,
			 " (%" PRIu64 " lines left out before)", left_out);
	l->fn(l->arg, line);
}

const char *storvsp_errno_text(int code)
{
	const char *text = strerrordesc_np(-code);

	return text ? text : "unknown error";
}

const char *storvsp_op_text(enum vhd_op op)
{
	static const char *const names[] = {
		[VHD_OP_READ] = "read",
		[VHD_OP_WRITE] = "write",
		[VHD_OP_FLUSH] = "flush",
		[VHD_OP_ZERO] = "zeroing",
	};

	return names[op];
}
