/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures that a test measured about a goal of tests/proof/goals.tsv: one line
 * each, "ID<TAB>met|unmet<TAB>figure", appended to the file that $PROOF names.
 * Without it nothing is written: a test alone is no proof run.
 */
#ifndef TESTS_PROOF_H
#define TESTS_PROOF_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Whether the long columns were asked for (make check-long). */
static inline bool proof_long(void)
{
	const char *v = getenv("PROOF_LONG");

	return v && v[0] == '1';
}

/* PROOF_SHARD=I/N: only the I-th of N parts of a long column, counted from 1,
 * and figures that are this part's; tests/proof/table.sh adds them up.
 */
struct proof_shard {
	unsigned at, of; /* at: from 0 */
};

static inline struct proof_shard proof_shard(void)
{
	const char *v = getenv("PROOF_SHARD");
	struct proof_shard s = {0, 1};

	if (!v)
		return s;
	if (sscanf(v, "%u/%u", &s.at, &s.of) != 2 || s.at == 0 || s.at > s.of) {
		fprintf(stderr, "PROOF_SHARD=%s is not I/N\n", v);
		abort();
	}
	s.at--;
	return s;
}

/* Where part `at` of `whole` begins; part at + 1 begins where it ends. */
static inline uint64_t proof_part(struct proof_shard s, unsigned at,
				  uint64_t whole)
{
	return whole / s.of * at + whole % s.of * at / s.of;
}

/* Several figures of one goal are all shown; it is met if each one is. The
 * line goes out in one write, as tests run side by side.
 */
__attribute__((format(printf, 3, 4))) static inline void
proof_figure(const char *id, bool met, const char *fmt, ...)
{
	const char *path = getenv("PROOF");
	char line[512], figure[400];
	va_list ap;
	int fd, n;

	if (!path)
		return;
	va_start(ap, fmt);
	vsnprintf(figure, sizeof(figure), fmt, ap);
	va_end(ap);
	n = snprintf(line, sizeof(line), "%s\t%s\t%s\n", id,
		     met ? "met" : "unmet", figure);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n) {
		perror(path);
		abort();
	}
	close(fd);
}

#endif
