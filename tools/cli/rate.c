/* SPDX-License-Identifier: BSD-2-Clause */
/* A limit on bytes a second: a bucket of tokens, one a byte, that fills at the
 * rate and holds a tenth of a second's. Whoever finds any in it may take as
 * many as it needs; the debt is waited off before the next. So pieces larger
 * than the bucket pass, and the mean is the rate whatever their size.
 * Time is an argument.
 */
#include "cli.h"

/* Beyond this nothing here is as fast, and products stay within 64 bits. */
#define RATE_MAX (UINT64_C(1) << 48)
#define STEP_MS_MAX 10000
#define BURST_DIVISOR 10

void cli_rate_start(struct cli_rate *r, uint64_t bytes_per_s, int64_t now_ms)
{
	*r = (struct cli_rate){
		.bytes_per_s = bytes_per_s < RATE_MAX ? bytes_per_s : RATE_MAX,
		.at_ms = now_ms,
	};
	r->tokens = (int64_t)(r->bytes_per_s / BURST_DIVISOR) + 1;
}

void cli_rate_take(struct cli_rate *r, uint64_t bytes)
{
	if (r->bytes_per_s)
		r->tokens -= (int64_t)bytes;
}

int64_t cli_rate_wait_ms(struct cli_rate *r, int64_t now_ms)
{
	int64_t rate = (int64_t)r->bytes_per_s;
	int64_t burst = rate / BURST_DIVISOR + 1;
	int64_t passed = now_ms - r->at_ms, filled;

	if (!rate)
		return 0;
	if (passed > STEP_MS_MAX) {
		passed = STEP_MS_MAX;
		r->at_ms = now_ms - passed;
	}
	/* Time that makes no whole token is kept for later. */
	filled = passed * rate / 1000;
	r->tokens += filled;
	r->at_ms += rate < 1000 ? filled * 1000 / rate : passed;
	if (r->tokens > burst)
		r->tokens = burst;
	if (r->tokens > 0)
		return 0;
	return (1 - r->tokens) / rate * 1000 +
	       ((1 - r->tokens) % rate * 1000 + rate - 1) / rate;
}
