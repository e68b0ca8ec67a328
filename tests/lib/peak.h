/* SPDX-License-Identifier: BSD-2-Clause */
/* How much memory a piece of code holds at its worst: to be included by one
 * file of a test that is linked with PEAK_WRAP of the Makefile. One thread.
 */
#ifndef TESTS_LIB_PEAK_H
#define TESTS_LIB_PEAK_H

#include <malloc.h>
#include <stdlib.h>

static size_t peak_now, peak_most;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);

static inline void *peak_add(void *p)
{
	peak_now += malloc_usable_size(p);
	if (peak_now > peak_most)
		peak_most = peak_now;
	return p;
}

/* What was there before the count began may be freed in it. */
static inline void peak_take(void *p)
{
	size_t n = malloc_usable_size(p);

	peak_now -= n < peak_now ? n : peak_now;
}

void *__wrap_malloc(size_t n)
{
	return peak_add(__real_malloc(n));
}

void *__wrap_calloc(size_t count, size_t n)
{
	return peak_add(__real_calloc(count, n));
}

void *__wrap_realloc(void *p, size_t n)
{
	peak_take(p);
	return peak_add(__real_realloc(p, n));
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return peak_add(__real_aligned_alloc(align, n));
}

void __wrap_free(void *p)
{
	peak_take(p);
	__real_free(p);
}

static inline void peak_begin(void)
{
	peak_now = 0;
	peak_most = 0;
}

#endif
