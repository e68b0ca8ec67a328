/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/cli/fault.c: the one line of a failure and its exit code. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/cli/cli.h"

/* What cli_fail printed for `err`, without stderr being a terminal. */
static int line_of(const struct vhd_err *err, const char *path, char *line,
		   size_t n)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	int rc;
	size_t got;

	assert_non_null(f);
	assert_true(saved >= 0);
	fflush(stderr);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	rc = cli_fail("prog", path, err);
	fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(f);
	got = fread(line, 1, n - 1, f);
	line[got] = '\0';
	fclose(f);
	return rc;
}

static void every_reason_has_its_own_name(void **state)
{
	(void)state;
	for (int i = 0; i < VHD_WHY_COUNT; i++) {
		const char *name = cli_why_name((enum vhd_why)i);

		assert_string_not_equal(name, "unknown");
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name,
						cli_why_name((enum vhd_why)j));
	}
}

static void a_reason_out_of_range_is_unknown(void **state)
{
	(void)state;
	assert_string_equal(cli_why_name(VHD_WHY_COUNT), "unknown");
	assert_string_equal(cli_why_name((enum vhd_why)-1), "unknown");
}

static void a_path_is_stripped_as_a_word_only(void **state)
{
	static const struct {
		const char *path, *text, *left;
	} cases[] = {
		{"a", "is a directory", "is directory"}, /* could be it */
		{"a", "cannot examine a: why", "cannot examine: why"},
		{"out", "cannot go without it", "cannot go without it"},
		{"out", ".out.partial is there", ".out.partial is there"},
		{"x y", "x y is open", "is open"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vhd_err err = { 0 };

		snprintf(err.text, sizeof(err.text), "%s", cases[i].text);
		cli_strip_path(&err, cases[i].path);
		assert_string_equal(err.text, cases[i].left);
	}
}

static void line_names_path_fault_offset_and_cure(void **state)
{
	struct vhd_err err = { 0 };
	char line[400];

	(void)state;
	vhd_fail(&err, -EUCLEAN, VHD_WHY_BAT_DUPLICATE, 1540,
		 "entries 0 and 1 are equal");
	assert_int_equal(line_of(&err, "a.vhd", line, sizeof(line)),
			 CLI_REFUSED);
	assert_string_equal(line,
			    "prog: a.vhd: entries 0 and 1 are equal (at "
			    "offset 1540): restore a good copy\n");
}

static void offset_is_not_said_twice(void **state)
{
	struct vhd_err err = { 0 };
	char line[400];

	(void)state;
	vhd_fail(&err, -EIO, VHD_WHY_IO, 4096, "cannot read at offset 4096");
	assert_int_equal(line_of(&err, NULL, line, sizeof(line)), CLI_IO);
	assert_string_equal(line, "prog: cannot read at offset 4096: check "
				  "the disk it is on\n");
}

static void path_is_not_said_twice(void **state)
{
	struct vhd_err err = { 0 };
	char line[400];

	(void)state;
	vhd_fail(&err, -ENOENT, VHD_WHY_SYSTEM, 0, "cannot open a b: gone");
	assert_int_equal(line_of(&err, "a b", line, sizeof(line)), CLI_REFUSED);
	assert_string_equal(line,
			    "prog: a b: cannot open: gone: check the name\n");
	vhd_fail(&err, -EBUSY, VHD_WHY_LOCKED, 0, "d/x is open; close it");
	assert_int_equal(line_of(&err, "d/x", line, sizeof(line)), CLI_REFUSED);
	assert_string_equal(line, "prog: d/x: is open; close it\n");
	vhd_fail(&err, -EBUSY, VHD_WHY_LOCKED, 0, "d/x");
	cli_strip_path(&err, "d/x");
	assert_string_equal(err.text, "");
	cli_strip_path(&err, "");
	assert_string_equal(err.text, "");
}

static void long_paths_are_known_by_their_first_80_bytes(void **state)
{
	struct vhd_err err = { 0 };
	char path[200];

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	vhd_fail(&err, -ENOENT, VHD_WHY_SYSTEM, 0, "cannot open %.80s: gone",
		 path);
	cli_strip_path(&err, path);
	assert_string_equal(err.text, "cannot open: gone");
}

static void system_errors_follow_their_errno(void **state)
{
	struct vhd_err err = { 0 };

	(void)state;
	vhd_fail(&err, -ENOENT, VHD_WHY_SYSTEM, 0, "x");
	assert_int_equal(cli_exit_code(&err), CLI_REFUSED);
	vhd_fail(&err, -ENOSPC, VHD_WHY_SYSTEM, 0, "x");
	assert_int_equal(cli_exit_code(&err), CLI_IO);
	vhd_fail(&err, -EXDEV, VHD_WHY_SYSTEM, 0, "x");
	assert_int_equal(cli_exit_code(&err), CLI_IO);
	assert_string_equal(cli_advice(&err), "");
}

/* "Restore a good copy" is no help to who asks for too much. */
static void what_was_asked_for_is_not_called_damaged(void **state)
{
	static const struct {
		enum vhd_why why;
		const char *asked, *found;
	} rows[] = {
		{ VHD_WHY_TABLE_ENTRIES, "choose a larger block size",
		  "restore a good copy" },
		{ VHD_WHY_BLOCK_SIZE, "choose another block size",
		  "restore a good copy" },
		{ VHD_WHY_SIZE_ALIGN, "choose whole sectors", "" },
		{ VHD_WHY_SIZE_ZERO, "choose a size",
		  "there is no disk in it" },
	};
	struct vhd_err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vhd_fail(&err, -EINVAL, rows[i].why, 0, "x");
		assert_string_equal(cli_advice(&err), rows[i].asked);
		vhd_fail(&err, -EUCLEAN, rows[i].why, 0, "x");
		assert_string_equal(cli_advice(&err), rows[i].found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_its_own_name),
		cmocka_unit_test(a_reason_out_of_range_is_unknown),
		cmocka_unit_test(a_path_is_stripped_as_a_word_only),
		cmocka_unit_test(line_names_path_fault_offset_and_cure),
		cmocka_unit_test(offset_is_not_said_twice),
		cmocka_unit_test(path_is_not_said_twice),
		cmocka_unit_test(long_paths_are_known_by_their_first_80_bytes),
		cmocka_unit_test(system_errors_follow_their_errno),
		cmocka_unit_test(what_was_asked_for_is_not_called_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
