/* SPDX-License-Identifier: BSD-2-Clause */
/* The cases of toolcase.c under failing allocations (M1, M2), under failing
 * system calls (F5), killed (F7) and on full disks (F6).
 *
 * usage: tools MODE [CASE]...        in a folder of its own
 *
 * MODE: memory: NOMEM_SO names the library that goes in front. calls, kills:
 * strace is in PATH. full: a file system of its own at ./small, which can be filled,
 * or none: then the size of files is limited.
 * Environment: SEED (7), PROOF_LONG, PROOF_SHARD (cases in turn). The programs are those in PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/proof.h"
#include "tests/proof/toolcase.h"
#include "tests/proof/tools.h"

static struct run current;
static unsigned faults;

struct run *tools_run(void)
{
	return &current;
}

unsigned tools_faults(void)
{
	return faults;
}

uint64_t tools_seed(void)
{
	const char *given = getenv("SEED");

	return given ? strtoull(given, NULL, 0) : 7;
}

/* One line for each kind of fault is enough to look for it. */
#define FAULTS_SHOWN 40

void tools_fault(const struct tool_case *c, const char *how, const char *fault)
{
	if (faults++ < FAULTS_SHOWN || getenv("ALL"))
		printf("  FAIL  %s, %s: %s; status %d, said: %.300s%s", c->name,
		       how, fault, current.status, current.err,
		       current.err_len ? "" : "\n");
}

void tools_judge(const struct tool_case *c, const char *dir, const char *how)
{
	const char *fault = place_judge(c, dir, &current);

	if (fault)
		tools_fault(c, how, fault);
}

static bool chosen(const struct tool_case *c, int argc, char **argv)
{
	struct proof_shard part = proof_shard();

	if (argc == 2)
		return (unsigned)(c - tool_cases) % part.of == part.at;
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], c->name))
			return true;
	return false;
}

static const struct {
	const char *name;
	void (*begin)(void);
	void (*one)(const struct tool_case *c);
	void (*end)(bool all);
} modes[] = {
	{"memory", memory_begin, memory_case, memory_end},
	{"calls", calls_begin, calls_case, calls_end},
	{"kills", kills_begin, calls_case, kills_end},
	{"full", full_begin, full_case, full_end},
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

int main(int argc, char **argv)
{
	size_t m = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (m < MODES && argc > 1 && strcmp(argv[1], modes[m].name))
		m++;
	if (argc < 2 || m == MODES) {
		fprintf(stderr, "usage: tools memory|calls|kills|full "
				"[CASE]...\n");
		return 2;
	}
	store_make();
	if (mkdir("place", 0755)) {
		perror("place");
		return 1;
	}
	modes[m].begin();
	for (unsigned i = 0; i < tool_case_count; i++)
		if (chosen(&tool_cases[i], argc, argv))
			modes[m].one(&tool_cases[i]);
	modes[m].end(argc == 2);
	return faults != 0;
}
