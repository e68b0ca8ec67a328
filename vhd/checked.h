/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic on foreign numbers. Each function returns true when the result
 * does not fit, and then leaves `*r` unusable.
 * Floor header: no state, open to every module.
 */
#ifndef VHD_CHECKED_H
#define VHD_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool add_ovf(uint64_t a, uint64_t b, uint64_t *r)
{
	return __builtin_add_overflow(a, b, r);
}

static inline bool sub_ovf(uint64_t a, uint64_t b, uint64_t *r)
{
	return __builtin_sub_overflow(a, b, r);
}

static inline bool mul_ovf(uint64_t a, uint64_t b, uint64_t *r)
{
	return __builtin_mul_overflow(a, b, r);
}

/* Round `n` up to a multiple of `unit`, a power of two. */
static inline bool align_up_ovf(uint64_t n, uint64_t unit, uint64_t *r)
{
	if (__builtin_add_overflow(n, unit - 1, r))
		return true;
	*r &= ~(unit - 1);
	return false;
}

/* True when [off, off + len) lies inside [0, end). */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t end)
{
	uint64_t last;

	return !add_ovf(off, len, &last) && last <= end;
}

#endif
