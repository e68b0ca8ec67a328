/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls of unmodified tools fail, by strace: each call of the table that
 * a case makes, the n-th time it makes it, with each error of the table; or the
 * tool is killed at those that change something (F7). The quick column draws
 * from these cells; the long one runs them all.
 *
 * What the loader does before main is left alone: it has its own words.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/proof.h"
#include "tests/lib/random.h"
#include "tests/proof/tools.h"

#define QUICK_RUNS  300u
#define LONG_RUNS   10000u
#define QUICK_KILLS 300u
#define ERRORS_MAX  8
#define PIDS_MAX    64
#define ORDINAL_MAX 400
#define CELLS_MAX   8192

struct call {
	const char *name;
	const char *errors[ERRORS_MAX];
	bool sync; /* succeeding in spite of an error is a lie */
	bool cuts; /* what is before and behind it are different files */
};

/* table: calls and what they can fail with */
static const struct call calls[] = {
	{.name = "openat", .errors = {"EACCES", "EMFILE", "ENOMEM", "EINTR", "EIO"}, .cuts = true},
	{.name = "openat2", .errors = {"EACCES", "EMFILE", "ENOMEM", "EINTR", "EAGAIN"}},
	{.name = "read", .errors = {"EIO", "EINTR"}},
	{.name = "pread64", .errors = {"EIO", "EINTR", "ENOMEM"}},
	{.name = "preadv", .errors = {"EIO", "EINTR"}},
	{.name = "preadv2", .errors = {"EIO", "EINTR"}},
	{.name = "write", .errors = {"EIO", "ENOSPC", "EINTR"}, .cuts = true},
	{.name = "pwrite64", .errors = {"EIO", "ENOSPC", "EDQUOT", "EFBIG", "EINTR", "EROFS"}, .cuts = true},
	{.name = "pwritev", .errors = {"EIO", "ENOSPC", "EINTR"}, .cuts = true},
	{.name = "pwritev2", .errors = {"EIO", "ENOSPC", "EINTR"}, .cuts = true},
	{.name = "fsync", .errors = {"EIO", "ENOSPC", "EDQUOT", "EINTR"}, .sync = true, .cuts = true},
	{.name = "fdatasync", .errors = {"EIO", "ENOSPC", "EDQUOT", "EINTR"}, .sync = true, .cuts = true},
	{.name = "close", .errors = {"EIO", "EINTR", "ENOSPC"}},
	{.name = "ftruncate", .errors = {"EIO", "ENOSPC", "EINTR", "EFBIG"}, .cuts = true},
	{.name = "fallocate", .errors = {"EIO", "ENOSPC", "EINTR", "EOPNOTSUPP", "EFBIG"}, .cuts = true},
	{.name = "rename", .errors = {"EIO", "EACCES", "ENOSPC", "EXDEV"}, .cuts = true},
	{.name = "renameat", .errors = {"EIO", "EACCES", "ENOSPC", "EXDEV"}, .cuts = true},
	{.name = "renameat2", .errors = {"EIO", "EACCES", "ENOSPC", "EXDEV"}, .cuts = true},
	{.name = "link", .errors = {"EIO", "EACCES", "ENOSPC", "EXDEV"}, .cuts = true},
	{.name = "linkat", .errors = {"EIO", "EACCES", "ENOSPC", "EXDEV"}, .cuts = true},
	{.name = "unlink", .errors = {"EIO", "EACCES"}, .cuts = true},
	{.name = "unlinkat", .errors = {"EIO", "EACCES"}, .cuts = true},
	{.name = "fcntl", .errors = {"ENOLCK", "EDEADLK", "EINTR", "EAGAIN"}},
	{.name = "lseek", .errors = {"EIO"}},
	{.name = "getdents64", .errors = {"EIO"}},
	{.name = "getrandom", .errors = {"EINTR"}},
	{.name = "mmap", .errors = {"ENOMEM"}},
	{.name = "io_uring_setup", .errors = {"EPERM", "ENOSYS", "ENOMEM"}},
	{.name = "io_setup", .errors = {"EAGAIN", "ENOSYS"}},
	{.name = "io_submit", .errors = {"EAGAIN", "EIO"}, .cuts = true},
	{.name = "io_uring_enter", .errors = {"EINTR"}, .cuts = true},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

struct cell {
	unsigned call, ordinal, error;
	bool must_fail;
};

static struct cell cells[CELLS_MAX];
static unsigned cell_count, all_cells, runs, missed, cases;
static uint64_t rnd;
static bool killing;
static char trace_set[1024];

void calls_begin(void)
{
	rnd = tools_seed();
	strcpy(trace_set, "trace=munmap");
	for (size_t i = 0; i < CALLS; i++) {
		strcat(trace_set, ",");
		strcat(trace_set, calls[i].name);
	}
}

void kills_begin(void)
{
	killing = true;
	calls_begin();
}

/* ------------------------------------------------- what a case's run does -- */

struct seen {
	int pid;
	unsigned count[CALLS];
};

static bool to_stdout[CALLS][ORDINAL_MAX], to_stderr[CALLS][ORDINAL_MAX];
static unsigned loader[CALLS], most[CALLS];

static struct seen *seen_of(struct seen *all, unsigned *n, int pid)
{
	for (unsigned i = 0; i < *n; i++)
		if (all[i].pid == pid)
			return &all[i];
	if (*n == PIDS_MAX) {
		fprintf(stderr, "too many threads\n");
		exit(1);
	}
	all[*n] = (struct seen){.pid = pid};
	return &all[(*n)++];
}

/* A line "PID NAME(ARGUMENTS...": the call begins. */
static void read_line(const char *line, struct seen *all, unsigned *n,
		      bool *begun)
{
	char name[32];
	int pid;
	struct seen *s;

	if (sscanf(line, "%d %31[a-z0-9_](", &pid, name) != 2)
		return;
	s = seen_of(all, n, pid);
	if (!strcmp(name, "munmap") && !*begun) {
		memcpy(loader, s->count, sizeof(loader));
		*begun = true;
	}
	for (size_t i = 0; i < CALLS; i++) {
		if (strcmp(name, calls[i].name))
			continue;
		s->count[i]++;
		if (s->count[i] > most[i])
			most[i] = s->count[i];
		if (s->count[i] < ORDINAL_MAX && strstr(line, "write(1, "))
			to_stdout[i][s->count[i]] = true;
		if (s->count[i] < ORDINAL_MAX && strstr(line, "write(2, "))
			to_stderr[i][s->count[i]] = true;
	}
}

static void read_log(void)
{
	struct seen all[PIDS_MAX];
	char line[2048];
	unsigned n = 0;
	bool begun = false;
	FILE *f = fopen("log", "r");

	if (!f) {
		perror("log");
		exit(1);
	}
	memset(most, 0, sizeof(most));
	memset(loader, 0, sizeof(loader));
	memset(to_stdout, 0, sizeof(to_stdout));
	memset(to_stderr, 0, sizeof(to_stderr));
	while (fgets(line, sizeof(line), f))
		read_line(line, all, &n, &begun);
	fclose(f);
}

static void add_cell(const struct tool_case *c, struct cell cell)
{
	const struct call *call = &calls[cell.call];
	unsigned k = cell.ordinal < ORDINAL_MAX ? cell.ordinal : 0;
	bool intr = !strcmp(call->errors[cell.error], "EINTR");

	if (cell_count == CELLS_MAX || to_stderr[cell.call][k])
		return; /* nobody to tell */
	cell.must_fail = (to_stdout[cell.call][k] && !intr) ||
			 (call->sync && c->wants[0].file);
	cells[cell_count++] = cell;
}

static unsigned errors_of(const struct call *call)
{
	unsigned n = 0;

	if (killing)
		return call->cuts;
	while (n < ERRORS_MAX && call->errors[n])
		n++;
	return n;
}

static void add_cells(const struct tool_case *c)
{
	cell_count = 0;
	for (unsigned i = 0; i < CALLS; i++)
		for (unsigned k = loader[i] + 1; k <= most[i]; k++)
			for (unsigned e = 0; e < errors_of(&calls[i]); e++)
				add_cell(c, (struct cell){.call = i,
							  .ordinal = k,
							  .error = e});
}

/* --------------------------------------------------------------- running -- */

static void run_traced(const struct tool_case *c, const char *inject)
{
	const char *const before[] = {"strace", "-f", "-qq", "-o", "../log",
				      "-e",	trace_set, inject ? "-e" : NULL,
				      inject,	NULL};
	const struct run_how how = {.dir = "place", .before = before};

	place_prepare(c, "place");
	run_words(c->words, &how, tools_run());
}

/* Something failed, and not the words of a failure: calls are counted in each
 * thread, so that the n-th of one may be that of another.
 */
static bool injected(void)
{
	char line[2048];
	bool yes = false, words = false;
	FILE *f = fopen("log", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "(INJECTED)"))
			continue;
		yes = true;
		words |= strstr(line, " write(2, ") != NULL;
	}
	if (f)
		fclose(f);
	return yes && !words;
}

static void run_failing(const struct tool_case *c, const struct cell *cell)
{
	const char *name = calls[cell->call].name;
	const char *error = calls[cell->call].errors[cell->error];
	char inject[128], how[128];

	snprintf(inject, sizeof(inject), "inject=%s:error=%s:when=%u", name,
		 error, cell->ordinal);
	snprintf(how, sizeof(how), "%s %u fails with %s", name, cell->ordinal,
		 error);
	run_traced(c, inject);
	if (!injected()) {
		missed++;
		return;
	}
	if (cell->must_fail && tools_run()->status == c->status)
		tools_fault(c, how, "succeeds in spite of that");
	tools_judge(c, "place", how);
}

/* Who is killed closes nothing, removes nothing and says nothing. */
static void run_killed(const struct tool_case *c, const struct cell *cell)
{
	const char *name = calls[cell->call].name, *fault;
	char inject[128], how[128];

	snprintf(inject, sizeof(inject), "inject=%s:signal=KILL:when=%u", name,
		 cell->ordinal);
	snprintf(how, sizeof(how), "killed at %s %u", name, cell->ordinal);
	run_traced(c, inject);
	if (tools_run()->status != 128 + SIGKILL || tools_run()->hung) {
		missed++;
		return;
	}
	fault = place_judge_killed(c, "place");
	if (fault)
		tools_fault(c, how, fault);
}

static void run_cell(const struct tool_case *c, const struct cell *cell)
{
	runs++;
	(killing ? run_killed : run_failing)(c, cell);
}

void calls_case(const struct tool_case *c)
{
	unsigned quota = (killing ? QUICK_KILLS : QUICK_RUNS) /
			 tool_case_count + 1;

	if (!strcmp(c->name, "serve"))
		return; /* nbdkit's calls would fail as well */
	if (killing && !c->wants[0].file)
		return;
	cases++;
	place_measure(c, "place");
	run_traced(c, NULL);
	tools_judge(c, "place", "traced only");
	read_log();
	add_cells(c);
	all_cells += cell_count;
	if (proof_long()) {
		for (unsigned i = 0; i < cell_count; i++)
			run_cell(c, &cells[i]);
		return;
	}
	while (quota-- && cell_count) {
		unsigned i = (unsigned)random_below(&rnd, cell_count);

		run_cell(c, &cells[i]);
		cells[i] = cells[--cell_count];
	}
}

static void end_with(const char *mode, const char *goal, unsigned least,
		     bool all)
{
	if (proof_shard().of > 1) /* unequal: the goal is for their sum */
		least = 1;
	printf("  %s: %u runs of %u cells, %u commands, %u without a "
	       "failure, %u faults, seed %llu\n",
	       mode, runs, all_cells, cases, missed, tools_faults(),
	       (unsigned long long)tools_seed());
	if (all)
		proof_figure(goal, runs - missed >= least && !tools_faults(),
			     "%u runs of %u cells of %u commands, %u with a "
			     "wrong end, seed %llu",
			     runs - missed, all_cells, cases, tools_faults(),
			     (unsigned long long)tools_seed());
}

void calls_end(bool all)
{
	end_with("calls", "F5", proof_long() ? LONG_RUNS : QUICK_RUNS, all);
}

void kills_end(bool all)
{
	end_with("kills", "F7", QUICK_KILLS / 2, all);
}
