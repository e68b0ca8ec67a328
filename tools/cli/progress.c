/* SPDX-License-Identifier: BSD-2-Clause */
/* Progress on a terminal: one line, rewritten at most ten times a second and
 * wiped at the end, so that it never mixes with the one line of an error.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define SHOW_EVERY_MS 100
/* Below this the rate and the time left would be guesses. */
#define RATE_AFTER_MS 500

int64_t cli_now_ms(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void time_left_text(char *buf, size_t n, uint64_t left_s)
{
	if (left_s >= 3600)
		snprintf(buf, n, "%" PRIu64 " h %02" PRIu64 " min",
			 left_s / 3600, left_s / 60 % 60);
	else if (left_s >= 60)
		snprintf(buf, n, "%" PRIu64 " min %02" PRIu64 " s", left_s / 60,
			 left_s % 60);
	else
		snprintf(buf, n, "%" PRIu64 " s", left_s);
}

void cli_progress_line(char *buf, size_t n, const struct cli_progress *p,
		       uint64_t pos, uint64_t moved, int64_t elapsed_ms)
{
	char of[CLI_SIZE_TEXT], rate[CLI_SIZE_TEXT], left[32];
	double part = p->total ? (double)pos / (double)p->total : 1.0;
	double s = (double)elapsed_ms / 1000.0;

	if (p->total == UINT64_MAX) {
		cli_size_text(s > 0 ? (uint64_t)((double)moved / s) : 0, rate,
			      sizeof(rate));
		snprintf(buf, n, "%s %s, %s/s", p->what,
			 cli_size_text(pos, of, sizeof(of)), rate);
		return;
	}
	if (pos > p->total)
		pos = p->total;
	cli_size_text(p->total, of, sizeof(of));
	if (elapsed_ms < RATE_AFTER_MS || pos <= p->from) {
		snprintf(buf, n, "%s %3.0f%% of %s", p->what, part * 100.0,
			 of);
		return;
	}
	cli_size_text((uint64_t)((double)moved / s), rate, sizeof(rate));
	time_left_text(left, sizeof(left),
		       (uint64_t)(s * (double)(p->total - pos) /
					  (double)(pos - p->from) +
				  0.5));
	snprintf(buf, n, "%s %3.0f%% of %s, %s/s, %s left", p->what,
		 part * 100.0, of, rate, left);
}

void cli_progress_start(struct cli_progress *p, const char *what,
			uint64_t total, bool quiet)
{
	*p = (struct cli_progress){
		.on = !quiet && isatty(STDERR_FILENO),
		.what = what,
		.total = total,
		.start_ms = cli_now_ms(),
	};
}

void cli_progress_show(struct cli_progress *p, uint64_t pos, uint64_t moved)
{
	char line[160];
	int64_t now_ms;

	if (!p->on)
		return;
	now_ms = cli_now_ms();
	if (now_ms - p->shown_ms < SHOW_EVERY_MS)
		return;
	p->shown_ms = now_ms;
	cli_progress_line(line, sizeof(line), p, pos, moved,
			  now_ms - p->start_ms);
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

void cli_progress_end(struct cli_progress *p)
{
	if (p->on && p->shown_ms)
		fputs("\r\033[K", stderr);
	p->on = false;
}
