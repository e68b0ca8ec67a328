/* SPDX-License-Identifier: BSD-2-Clause */
/* What fuzz targets share: taking an input apart, and saying that something
 * must hold.
 */
#ifndef TESTS_FUZZIN_H
#define TESTS_FUZZIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input that is read from its start. */
struct input {
	const uint8_t *at;
	size_t left;
};

/* A finding says which condition did not hold, and where. */
#define must(cond) \
	((cond) ? (void)0 : fuzz_finding(__FILE__, __LINE__, #cond))

static inline _Noreturn void fuzz_finding(const char *file, int line,
					  const char *cond)
{
	fprintf(stderr, "%s:%d: FINDING: does not hold: %s\n", file, line,
		cond);
	abort();
}

/* The number in `n` bytes, little-endian. */
static inline uint64_t little(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

/* The next `bytes` bytes as such a number; what the input lacks is zero. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
	unsigned n = in->left < bytes ? (unsigned)in->left : bytes;
	uint64_t v = little(in->at, n);

	in->at += n;
	in->left -= n;
	return v;
}

#endif
