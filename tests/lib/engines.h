/* SPDX-License-Identifier: BSD-2-Clause */
/* Which engines this machine lets anybody use. The filter that a container runs
 * under may forbid io_uring, and so may kernel.io_uring_disabled; then an image
 * is served otherwise, and tests leave out what is to be seen with a ring, and
 * say so. The kernel itself is asked, and only its two words for "forbidden"
 * and "not there" count: all else is a failure for the test to find.
 */
#ifndef TESTS_LIB_ENGINES_H
#define TESTS_LIB_ENGINES_H

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "vhd/vhd.h"

static inline bool engines_forbidden(long rc)
{
	return rc < 0 && (errno == EPERM || errno == ENOSYS);
}

static inline bool engine_there(enum vhd_engine engine)
{
	struct io_uring_params p = {0};
	aio_context_t aio = 0;
	long rc;
	bool there;

	switch (engine) {
	case VHD_ENGINE_URING:
		rc = syscall(SYS_io_uring_setup, 1, &p);
		there = !engines_forbidden(rc);
		if (rc >= 0)
			close((int)rc);
		return there;
	case VHD_ENGINE_AIO:
		rc = syscall(SYS_io_setup, 1, &aio);
		there = !engines_forbidden(rc);
		if (rc >= 0)
			(void)syscall(SYS_io_destroy, aio);
		return there;
	default:
		return true;
	}
}

/* Says so where it is not. */
static inline bool engine_tried(enum vhd_engine engine)
{
	if (engine_there(engine))
		return true;
	print_message("left out: this machine does not allow %s\n",
		      vhd_engine_name(engine));
	return false;
}

/* Without the tests whose name begins with that of an engine that is not
 * there; returns how many are left.
 */
static inline size_t engines_keep(struct CMUnitTest *tests, size_t count)
{
	static const enum vhd_engine engines[] = {VHD_ENGINE_URING,
						  VHD_ENGINE_AIO};
	size_t kept;

	for (size_t e = 0; e < 2; e++) {
		const char *name = vhd_engine_name(engines[e]);
		size_t len = strlen(name);

		if (engine_tried(engines[e]))
			continue;
		kept = 0;
		for (size_t i = 0; i < count; i++)
			if (strncmp(tests[i].name, name, len) ||
			    strncmp(tests[i].name + len, ": ", 2))
				tests[kept++] = tests[i];
		count = kept;
	}
	return count;
}

/* cmocka's run of an array, less those. */
#define engines_run_group_tests(tests, set_up, tear_down)                      \
	_cmocka_run_group_tests(                                               \
		#tests, tests,                                                 \
		engines_keep(tests, sizeof(tests) / sizeof((tests)[0])),       \
		set_up, tear_down)

#endif
