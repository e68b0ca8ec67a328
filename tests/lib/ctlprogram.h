/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of hv ctl, in this process. */
#ifndef TESTS_LIB_CTLPROGRAM_H
#define TESTS_LIB_CTLPROGRAM_H

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tools/hv/ctl.h"

/* Its status; what it prints into `out`. */
static char out[8192];

static inline int program(const char *first, ...)
{
	char *argv[16] = {(char *)(uintptr_t)"ctl"};
	char path[] = "/tmp/vhdctl.out.XXXXXX";
	int argc = 1, status, saved, fd = mkstemp(path);
	va_list ap;
	ssize_t n;

	assert_true(fd >= 0);
	(void)unlink(path);
	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		argv[argc++] = (char *)(uintptr_t)s;
	va_end(ap);
	fflush(stdout);
	saved = dup(1);
	dup2(fd, 1);
	optind = 0; /* getopt starts anew */
	status = ctl_main(argc, argv);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	n = pread(fd, out, sizeof(out) - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	close(fd);
	return status;
}

#endif
