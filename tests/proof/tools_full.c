/* SPDX-License-Identifier: BSD-2-Clause */
/* No space: each case that writes, on a file system of which only so many
 * bytes are free, or, where none can be had, with files that may not become
 * longer than so many.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/lib/proof.h"
#include "tests/lib/random.h"
#include "tests/proof/tools.h"

#define LONG_RUNS 200u
#define PAGE 4096u

static bool tmpfs;
static uint64_t rnd;
static unsigned runs, hit, cases;

void full_begin(void)
{
	tmpfs = access("small/is-a-file-system", F_OK) == 0;
	rnd = tools_seed();
	if (tmpfs && unlink("small/is-a-file-system")) {
		perror("small");
		exit(1);
	}
	if (!tmpfs)
		printf("  (no file system can be mounted here: file sizes are "
		       "limited instead)\n");
}

static uint64_t free_bytes(void)
{
	struct statvfs s;

	if (statvfs("small", &s)) {
		perror("small");
		exit(1);
	}
	return (uint64_t)s.f_bavail * s.f_frsize;
}

/* Take all but `leave` bytes. */
static void fill(uint64_t leave)
{
	uint64_t have = free_bytes();
	int fd = open("small/filler", O_WRONLY | O_CREAT, 0600);

	if (fd < 0 || (have > leave &&
		       posix_fallocate(fd, 0, (off_t)(have - leave)))) {
		perror("filler");
		exit(1);
	}
	close(fd);
}

static void run_full(const struct tool_case *c, uint64_t leave)
{
	const char *dir = tmpfs ? "small" : "place";
	const struct run_how how = {
		.dir = dir,
		.file_limit = tmpfs ? 0 : leave ? leave : 1,
	};
	char text[64];

	place_prepare(c, dir);
	if (tmpfs)
		fill(leave);
	run_words(c->words, &how, tools_run());
	runs++;
	hit += tools_run()->status != c->status;
	if (tmpfs && unlink("small/filler")) {
		perror("filler");
		exit(1);
	}
	snprintf(text, sizeof(text), "%llu bytes %s", (unsigned long long)leave,
		 tmpfs ? "free" : "the longest file");
	tools_judge(c, dir, text);
}

/* How much a case writes is not known: from nothing to half a megabyte, small
 * amounts as often as large ones.
 */
static uint64_t some_bytes(void)
{
	uint64_t pages = 1ull << random_below(&rnd, 8);

	return (random_below(&rnd, pages + 1)) * PAGE;
}

void full_case(const struct tool_case *c)
{
	unsigned rounds = proof_long() ? 32 : 2;

	if (!c->wants[0].file)
		return;
	cases++;
	place_measure(c, tmpfs ? "small" : "place");
	for (unsigned i = 0; i < rounds; i++)
		run_full(c, i ? some_bytes() : 0);
}

void full_end(bool all)
{
	unsigned goal = proof_long() ? LONG_RUNS : 10;

	printf("  full: %u of %u runs of %u commands had too little (%s), %u "
	       "faults, seed %llu\n",
	       hit, runs, cases, tmpfs ? "tmpfs" : "RLIMIT_FSIZE",
	       tools_faults(), (unsigned long long)tools_seed());
	if (all)
		proof_figure("F6", hit >= goal && !tools_faults(),
			     "%u of %u runs of %u commands without space (%s), "
			     "%u with a wrong end, seed %llu",
			     hit, runs, cases, tmpfs ? "tmpfs" : "RLIMIT_FSIZE",
			     tools_faults(), (unsigned long long)tools_seed());
}
