/* SPDX-License-Identifier: BSD-2-Clause */
/* What clang-tidy, which looks at one file at a time, cannot see: included in
 * front of each source by analyze.sh, and by nothing that is built.
 *
 * vhd_fail takes a variable list of arguments, which its analyser does not look
 * into, so that each of its callers would seem to return anything, success
 * included, with nothing set. It returns the code it was given, which is
 * negative (vhd/err.h).
 */
#ifndef TESTS_PROOF_ANALYZE_MODEL_H
#define TESTS_PROOF_ANALYZE_MODEL_H

#include "vhd/err.h"

#define vhd_fail(err, code, ...)                                               \
	__extension__({                                                        \
		int model_code_ = (code);                                      \
		vhd_fail(err, model_code_, __VA_ARGS__);                       \
		if (model_code_ >= 0)                                          \
			__builtin_unreachable();                               \
		model_code_;                                                   \
	})

#endif
