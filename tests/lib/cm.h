/* SPDX-License-Identifier: BSD-2-Clause */
/* cmocka with what it wants included first. */
#ifndef TESTS_LIB_CM_H
#define TESTS_LIB_CM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vhd/err.h"

/* A call failed with this errno and this reason, and said something. */
#define assert_refused(rc, err, errno_, why_)                                  \
	do {                                                                   \
		assert_int_equal((rc), -(errno_));                             \
		assert_int_equal((err)->why, (why_));                          \
		assert_int_equal((err)->code, -(errno_));                      \
		assert_true((err)->text[0] != '\0');                           \
	} while (0)

#endif
