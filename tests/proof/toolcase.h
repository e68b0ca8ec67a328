/* SPDX-License-Identifier: BSD-2-Clause */
/* The tools as a user runs them, disturbed from outside: what is common to
 * failing system calls (F5), kills (F7), full disks (F6) and failing allocations (M1).
 *
 * A case is one command in a folder of copies of the images of a store. After
 * each run the folder is judged: what is made is absent or complete, what is
 * changed holds the old or the new content, everything else is as it was, and
 * nothing lies beside it. Content is read by tests/lib/oracle.c, which shares
 * no code with the tools.
 */
#ifndef TESTS_PROOF_TOOLCASE_H
#define TESTS_PROOF_TOOLCASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CASE_WORDS_MAX 16
#define CASE_FILES_MAX 6
#define CASE_WANTS_MAX 3

/* What a file holds before and after, by the name of a flat disk in the store;
 * NULL: it is not there. "=": the same bytes as after an undisturbed run; "?":
 * anything; "raw:NAME": as a raw disk, which a file called *.raw is anyway;
 * "A|B": each sector as in one of two; "diff:NAME": in a differencing disk.
 */
struct want {
	const char *file;
	const char *before, *after;
};

enum case_out {
	OUT_SAME = 0, /* standard output is that of an undisturbed run */
	OUT_ANY,      /* it has times or random ids in it */
};

struct tool_case {
	const char *name;
	const char *words[CASE_WORDS_MAX];
	const char *files[CASE_FILES_MAX]; /* copied from the store */
	struct want wants[CASE_WANTS_MAX]; /* all others stay as they are */
	enum case_out out;
	int status;       /* of an undisturbed run */
	const char *keep; /* may be left behind by a failure */
	bool finds;       /* what cannot be read is a finding: status 1 */
};

extern const struct tool_case tool_cases[];
extern const unsigned tool_case_count;

/* ------------------------------------------------------------ toolrun.c -- */

#define RUN_TEXT_MAX 65536

struct run {
	int status;           /* of the process; 128 + N: ended by signal N */
	bool hung;            /* and was killed */
	char out[RUN_TEXT_MAX]; /* what it printed, cut */
	size_t out_len;
	char err[RUN_TEXT_MAX];
	size_t err_len;
};

struct run_how {
	const char *dir;
	const char *const *before; /* words in front of the command */
	const char *const *env;    /* "NAME=VALUE", added */
	uint64_t file_limit;       /* RLIMIT_FSIZE, 0: none */
};

/* Run to the end, at most a minute. */
void run_words(const char *const *words, const struct run_how *how,
	       struct run *out);

/* ------------------------------------------------------------ tooldir.c -- */

/* Make the store below the current directory, once, with these programs. */
void store_make(void);
/* Empty `dir` and copy there what the case needs. */
void place_prepare(const struct tool_case *c, const char *dir);
/* Run undisturbed in `dir`, and keep what it printed and made. Aborts where
 * that fails: the case is wrong then.
 */
void place_measure(const struct tool_case *c, const char *dir);
/* What is wrong with `dir` after a run, or NULL. Where the command failed it is
 * run again, undisturbed, and must succeed.
 */
const char *place_judge(const struct tool_case *c, const char *dir,
			const struct run *r);
/* The same after a SIGKILL; what is called as a file is before it gets the name
 * of one that is replaced may be left, complete.
 */
const char *place_judge_killed(const struct tool_case *c, const char *dir);

#endif
