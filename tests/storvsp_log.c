/* SPDX-License-Identifier: BSD-2-Clause */
/* The rate of log lines. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "storvsp/log.h"

struct world {
	uint64_t now_ms;
	unsigned lines;
	char last[256];
};

static uint64_t now_ms(void *arg)
{
	return ((struct world *)arg)->now_ms;
}

static void count(void *arg, const char *line)
{
	struct world *w = arg;

	w->lines++;
	snprintf(w->last, sizeof(w->last), "%s", line);
}

static void start(struct log *l, struct world *w)
{
	const struct storvsp_opts opts = {
		.log = count,
		.log_arg = w,
		.now_ms = now_ms,
		.now_arg = w,
	};

	*w = (struct world){.now_ms = 5000};
	storvsp_log_init(l, &opts);
}

static void burst_is_bounded_and_what_is_left_out_is_said(void **state)
{
	struct world w;
	struct log l;

	(void)state;
	start(&l, &w);
	for (unsigned i = 0; i < 1000; i++)
		storvsp_log_line(&l, "line %u", i);
	assert_int_equal(w.lines, STORVSP_LOG_BURST);
	assert_string_equal(w.last, "storvsp: line 15");
	w.now_ms += STORVSP_LOG_REFILL_MS - 1;
	storvsp_log_line(&l, "early");
	assert_int_equal(w.lines, STORVSP_LOG_BURST);
	w.now_ms += 1;
	storvsp_log_line(&l, "in time");
	assert_int_equal(w.lines, STORVSP_LOG_BURST + 1);
	assert_string_equal(w.last, "storvsp: in time (985 lines left out "
				    "before)");
	storvsp_log_line(&l, "too soon");
	assert_int_equal(w.lines, STORVSP_LOG_BURST + 1);
	storvsp_log_fini(&l);
}

static void a_long_pause_earns_one_burst_and_no_more(void **state)
{
	struct world w;
	struct log l;

	(void)state;
	start(&l, &w);
	for (unsigned i = 0; i < 100; i++)
		storvsp_log_line(&l, "x");
	w.now_ms += 1000000000000;
	for (unsigned i = 0; i < 100; i++)
		storvsp_log_line(&l, "x");
	assert_int_equal(w.lines, 2 * STORVSP_LOG_BURST);
	storvsp_log_fini(&l);
}

static void a_clock_that_goes_back_does_no_harm(void **state)
{
	struct world w;
	struct log l;

	(void)state;
	start(&l, &w);
	w.now_ms = 0;
	for (unsigned i = 0; i < 100; i++)
		storvsp_log_line(&l, "x");
	assert_int_equal(w.lines, STORVSP_LOG_BURST);
	storvsp_log_fini(&l);
}

static void long_lines_are_cut(void **state)
{
	char text[1000];
	struct world w;
	struct log l;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	start(&l, &w);
	storvsp_log_line(&l, "%s", text);
	assert_int_equal(w.lines, 1);
	assert_true(strlen(w.last) < 240);
	storvsp_log_fini(&l);
}

static void nobody_listening_is_fine(void **state)
{
	const struct storvsp_opts opts = {0};
	struct log l;

	(void)state;
	storvsp_log_init(&l, &opts);
	storvsp_log_line(&l, "x");
	storvsp_log_fini(&l);
}

static void every_errno_has_words(void **state)
{
	(void)state;
	assert_string_equal(storvsp_errno_text(-ENOSPC),
			    "No space left on device");
	assert_string_equal(storvsp_errno_text(-4000), "unknown error");
	assert_string_equal(storvsp_errno_text(7), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_is_bounded_and_what_is_left_out_is_said),
		cmocka_unit_test(a_long_pause_earns_one_burst_and_no_more),
		cmocka_unit_test(a_clock_that_goes_back_does_no_harm),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(nobody_listening_is_fine),
		cmocka_unit_test(every_errno_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
