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
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Whether the long columns were asked for (make check-long). */
static inline bool proof_long(void)
{
	const char *v = getenv("PROOF_LONG");

	return v && v[0] == '1';
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
