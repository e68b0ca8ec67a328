/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/cli: options, identifiers, times, progress lines. */
#include <getopt.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tools/cli/cli.h"

enum { OPT_TO = 256 };

static const struct cli_option table[] = {
	{ "quiet", 'q', NULL, "say less" },
	{ "to", OPT_TO, "FORMAT", "the type\nto make" },
	{ 0 },
};

static struct cli_options over(int argc, char **argv)
{
	optind = 0; /* a fresh command line */
	return (struct cli_options){
		.prog = "prog",
		.usage = "[options] FILE",
		.about = "Tests.",
		.table = table,
		.argc = argc,
		.argv = argv,
	};
}

static void options_and_operands_may_be_mixed(void **state)
{
	char *argv[] = { "prog", "a", "--to", "raw", "b", "-q", "--", "-c",
			 NULL };
	struct cli_options o = over(8, argv);
	int status = -1;

	(void)state;
	assert_int_equal(cli_options_next(&o, &status), OPT_TO);
	assert_string_equal(o.value, "raw");
	assert_int_equal(cli_options_next(&o, &status), 'q');
	assert_int_equal(cli_options_next(&o, &status), 0);
	assert_int_equal(8 - o.first_operand, 3);
	assert_string_equal(argv[o.first_operand], "a");
	assert_string_equal(argv[o.first_operand + 2], "-c");
}

static int refused(int argc, char **argv)
{
	struct cli_options o = over(argc, argv);
	int status = -1, id;

	do
		id = cli_options_next(&o, &status);
	while (id > 0);
	assert_int_equal(id, -1);
	return status;
}

static void bad_options_are_usage_errors(void **state)
{
	char *no_value[] = { "prog", "--to", NULL };
	char *no_long[] = { "prog", "x", "--frobnicate", NULL };
	char *no_letter[] = { "prog", "-qz", NULL };
	char *value[] = { "prog", "--quiet=3", NULL };

	(void)state;
	assert_int_equal(refused(2, no_value), CLI_USAGE);
	assert_int_equal(refused(3, no_long), CLI_USAGE);
	assert_int_equal(refused(2, no_letter), CLI_USAGE);
	assert_int_equal(refused(2, value), CLI_USAGE);
}

struct wishes {
	int told; /* other options */
	bool quiet, loud;
	const char *to;
};

static int tell(void *into, int id, const char *value)
{
	struct wishes *w = into;

	assert_int_equal(id, OPT_TO);
	w->told++;
	return strcmp(value, "bad") ? CLI_OK : CLI_USAGE;
}

static void what_is_plain_sets_its_field_and_the_rest_is_told(void **state)
{
	static const struct cli_set both[] = {
		{'q', CLI_CLEARS(struct wishes, loud)},
		{OPT_TO, CLI_TAKES(struct wishes, to)},
		{0},
	};
	static const struct cli_set one[] = {
		{'q', CLI_SETS(struct wishes, quiet)},
		{0},
	};
	char *good[] = { "prog", "--to", "raw", "a", "-q", NULL };
	char *bad[] = { "prog", "--to", "bad", "-q", NULL };
	char *none[] = { "prog", "--nothing", NULL };
	struct wishes w = { .loud = true };
	struct cli_options o = over(5, good);

	(void)state;
	o.sets = both;
	o.into = &w;
	assert_int_equal(cli_options_all(&o), -1);
	assert_false(w.loud);
	assert_string_equal(w.to, "raw");
	assert_int_equal(o.first_operand, 4);
	w = (struct wishes){ 0 };
	o = over(4, bad);
	o.sets = one;
	o.apply = tell;
	o.into = &w;
	assert_int_equal(cli_options_all(&o), CLI_USAGE);
	assert_int_equal(w.told, 1);
	assert_false(w.quiet); /* not reached */
	o = over(2, none);
	assert_int_equal(cli_options_all(&o), CLI_USAGE);
}

static void help_and_version_end_well(void **state)
{
	char *help[] = { "prog", "--help", NULL };
	char *version[] = { "prog", "--version", NULL };

	(void)state;
	assert_int_equal(refused(2, help), CLI_OK);
	assert_int_equal(refused(2, version), CLI_OK);
}

static void ids_have_two_spellings_and_hex(void **state)
{
	static const uint8_t id[16] = { 0x8c, 0x54, 0xdf, 0x94, 0xbd, 0x35,
					0x71, 0x4c, 0x94, 0x5f, 0xe5, 0x44,
					0x45, 0x39, 0x21, 0xa0 };
	char buf[CLI_ID_TEXT];

	(void)state;
	assert_string_equal(cli_id_windows(id, buf),
			    "94df548c-35bd-4c71-945f-e544453921a0");
	assert_string_equal(cli_id_rfc4122(id, buf),
			    "8c54df94-bd35-714c-945f-e544453921a0");
	assert_string_equal(cli_id_hex(id, buf),
			    "8c54df94bd35714c945fe544453921a0");
}

static void times_are_iso_dates_from_2000_on(void **state)
{
	char buf[CLI_TIME_TEXT];

	(void)state;
	assert_string_equal(cli_time_text(0, buf), "2000-01-01T00:00:00Z");
	assert_string_equal(cli_time_text(0x2ec79b96, buf),
			    "2024-11-13T17:17:10Z");
	assert_string_equal(cli_time_text(UINT32_MAX, buf),
			    "2136-02-07T06:28:15Z");
}

static void ids_are_read_as_they_are_written(void **state)
{
	static const char *const bad[] = {
		"", "0", "94df548c-35bd-4c71-945f-e544453921a",
		"94df548c-35bd-4c71-945f-e544453921a00",
		"94df548c35bd-4c71-945f-e544453921a0",
		"94df548c-35bd-4c71-945fe544453921a0",
		"94df548c-35bd-4c71-945f-e544453921ag",
		"{94df548c-35bd-4c71-945f-e544453921a0",
		"94df548c-35bd-4c71-945f-e544453921a0}",
		"8c54df94bd35714c945fe544453921a",
		"8c54df94bd35714c945fe544453921a0 ",
		"{8c54df94bd35714c945fe544453921a0}",
		"-94df548c-35bd-4c71-945f-e544453921a0",
	};
	static const char *const good[] = {
		"94df548c-35bd-4c71-945f-e544453921a0",
		"{94DF548C-35BD-4C71-945F-E544453921A0}",
		"8c54df94bd35714c945fe544453921a0",
	};
	char buf[CLI_ID_TEXT];
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(id, 0, sizeof(id));
		assert_int_equal(cli_id_parse(good[i], id), 0);
		assert_string_equal(cli_id_hex(id, buf),
				    "8c54df94bd35714c945fe544453921a0");
	}
	memset(id, 0x55, sizeof(id));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cli_id_parse(bad[i], id), -EINVAL);
	for (size_t i = 0; i < sizeof(id); i++)
		assert_int_equal(id[i], 0x55);
}

static void dates_are_read_as_they_are_written(void **state)
{
	uint32_t s = 7;

	(void)state;
	assert_int_equal(cli_time_parse("2000-01-01T00:00:00Z", &s), 0);
	assert_int_equal(s, 0);
	assert_int_equal(cli_time_parse("2136-02-07T06:28:15Z", &s), 0);
	assert_int_equal(s, UINT32_MAX);
	assert_int_equal(cli_time_parse("2024-11-13", &s), 0);
	assert_int_equal(s, 784771200);
	assert_int_equal(cli_time_parse("2136-02-07T06:28:16Z", &s), -ERANGE);
	assert_int_equal(cli_time_parse("1999-12-31T23:59:59Z", &s), -ERANGE);
	assert_int_equal(cli_time_parse("2024-11-13T17:17", &s), -EINVAL);
	assert_int_equal(cli_time_parse("2024-13-13", &s), -EINVAL);
	assert_int_equal(cli_time_parse("", &s), -EINVAL);
	assert_int_equal(s, 784771200);
}

static void progress_tells_rate_and_time_left(void **state)
{
	char line[160];
	const uint64_t gib = UINT64_C(1) << 30;
	struct cli_progress p = {.what = "copying"};

	(void)state;
	p.total = 2 * gib;
	cli_progress_line(line, sizeof(line), &p, 0, 0, 0);
	assert_string_equal(line, "copying   0% of 2 GiB");
	cli_progress_line(line, sizeof(line), &p, gib, gib / 2, 2000);
	assert_string_equal(line,
			    "copying  50% of 2 GiB, 256 MiB/s, 2 s left");
	p.total = 100 * gib;
	cli_progress_line(line, sizeof(line), &p, gib, gib, 60000);
	assert_string_equal(line, "copying   1% of 100 GiB, 17.1 MiB/s, 1 h "
				  "39 min left");
	p.total = 0;
	cli_progress_line(line, sizeof(line), &p, 0, 0, 0);
	assert_string_equal(line, "copying 100% of 0 bytes");
}

static void progress_of_a_resumed_copy_counts_its_own_part(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;
	struct cli_progress p = {
		.what = "copying", .from = 8 * gib, .total = 10 * gib};
	char line[160];

	(void)state;
	cli_progress_line(line, sizeof(line), &p, 8 * gib, 0, 2000);
	assert_string_equal(line, "copying  80% of 10 GiB");
	cli_progress_line(line, sizeof(line), &p, 9 * gib, gib, 4000);
	assert_string_equal(line,
			    "copying  90% of 10 GiB, 256 MiB/s, 4 s left");
}

/* -------------------------------------------------------------- rate -- */

static void rate_is_met_on_the_mean_whatever_the_pieces(void **state)
{
	static const uint64_t rates[] = {3, 1000, 65536, 50 << 20};
	static const uint64_t pieces[] = {1, 512, 65536, 512 << 10};
	const uint64_t seconds = 600;

	(void)state;
	for (size_t n = 0; n < 16; n++) {
		uint64_t rate = rates[n / 4], piece = pieces[n % 4];
		uint64_t mean = rate * seconds, moved = 0;
		struct cli_rate r;

		if (mean / piece > 1000000)
			continue;
		cli_rate_start(&r, rate, 0);
		/* looked at as often as a copy does */
		for (int64_t now = 0; now <= (int64_t)seconds * 1000;
		     now += 100)
			while (!cli_rate_wait_ms(&r, now)) {
				cli_rate_take(&r, piece);
				moved += piece;
			}
		assert_true(moved <= mean + rate / 10 + piece + 1);
		assert_true(moved + rate / 10 + piece + 1 >= mean);
	}
}

static void rate_of_none_never_waits(void **state)
{
	struct cli_rate r;

	(void)state;
	cli_rate_start(&r, 0, 0);
	cli_rate_take(&r, UINT64_C(1) << 60);
	assert_int_equal(cli_rate_wait_ms(&r, 1), 0);
}

static void rate_saves_up_no_more_than_a_tenth_of_a_second(void **state)
{
	struct cli_rate r;

	(void)state;
	cli_rate_start(&r, 1000, 0);
	assert_int_equal(cli_rate_wait_ms(&r, 1000000), 0);
	cli_rate_take(&r, 101);
	assert_int_equal(cli_rate_wait_ms(&r, 1000000), 1);
	cli_rate_take(&r, 1000);
	assert_int_equal(cli_rate_wait_ms(&r, 1000000), 1001);
	assert_int_equal(cli_rate_wait_ms(&r, 1000400), 601);
	assert_int_equal(cli_rate_wait_ms(&r, 1001001), 0);
}

static void cleaned(const char *dirty, const char *clean)
{
	char buf[64];

	strcpy(buf, dirty);
	cli_text_clean(buf);
	assert_string_equal(buf, clean);
}

static void foreign_text_loses_what_is_not_printable(void **state)
{
	(void)state;
	cleaned("plain", "plain");
	cleaned("a\033[2Jb\n", "a?[2Jb?");
	cleaned("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
	cleaned("\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe");
	cleaned("\xe9t\xe9", "?t?");            /* Latin-1 */
	cleaned("\xc2\x9b" "31m", "??31m");      /* C1 control */
	cleaned("\xc0\xaf", "??");              /* overlong */
	cleaned("\xed\xa0\x80", "???");         /* surrogate */
	cleaned("\xf4\x90\x80\x80", "????");    /* past the last plane */
	cleaned("cut \xe2\x82", "cut ??");
}

static void utf16_names_become_utf8(void **state)
{
	static const uint8_t name[] = { 0, 'a', 0, 0xe4, 0x20, 0xac,
					0xd8, 0x3d, 0xdc, 0xbe, 0, 0, 0, 'x' };
	static const uint8_t half[] = { 0xd8, 0x3d, 0, 'b', 0xdc, 0xbe };
	char buf[32], tiny[7];

	(void)state;
	assert_string_equal(cli_text_utf16be(name, sizeof(name), buf,
					     sizeof(buf)),
			    "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe");
	assert_string_equal(cli_text_utf16be(half, sizeof(half), buf,
					     sizeof(buf)),
			    "?b?");
	assert_string_equal(cli_text_utf16be(half, 2, buf, sizeof(buf)), "?");
	assert_string_equal(cli_text_utf16be(name, sizeof(name), tiny,
					     sizeof(tiny)),
			    "a\xc3\xa4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_and_operands_may_be_mixed),
		cmocka_unit_test(bad_options_are_usage_errors),
		cmocka_unit_test(
			what_is_plain_sets_its_field_and_the_rest_is_told),
		cmocka_unit_test(help_and_version_end_well),
		cmocka_unit_test(ids_have_two_spellings_and_hex),
		cmocka_unit_test(times_are_iso_dates_from_2000_on),
		cmocka_unit_test(ids_are_read_as_they_are_written),
		cmocka_unit_test(dates_are_read_as_they_are_written),
		cmocka_unit_test(foreign_text_loses_what_is_not_printable),
		cmocka_unit_test(utf16_names_become_utf8),
		cmocka_unit_test(progress_tells_rate_and_time_left),
		cmocka_unit_test(
			progress_of_a_resumed_copy_counts_its_own_part),
		cmocka_unit_test(rate_is_met_on_the_mean_whatever_the_pieces),
		cmocka_unit_test(rate_of_none_never_waits),
		cmocka_unit_test(
			rate_saves_up_no_more_than_a_tenth_of_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
