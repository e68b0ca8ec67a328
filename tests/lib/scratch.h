/* SPDX-License-Identifier: BSD-2-Clause */
/* A folder of a test's own to be in: in TMPDIR, else in /tmp, or where files
 * are memory, so that no disk is waited for.
 */
#ifndef TESTS_LIB_SCRATCH_H
#define TESTS_LIB_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/cm.h"

struct scratch {
	char dir[64];
};

static inline void scratch_enter(struct scratch *s, const char *name,
				 bool memory)
{
	const char *tmp = getenv("TMPDIR");

	if (!tmp && memory && access("/dev/shm", W_OK) == 0)
		tmp = "/dev/shm";
	snprintf(s->dir, sizeof(s->dir), "%.40s/%.12s.XXXXXX",
		 tmp ? tmp : "/tmp", name);
	assert_non_null(mkdtemp(s->dir));
	assert_int_equal(chdir(s->dir), 0);
}

/* With all that is in it. */
static inline void scratch_leave(const struct scratch *s)
{
	char command[128];

	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", s->dir);
	assert_int_equal(system(command), 0);
}

#endif
