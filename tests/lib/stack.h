/* SPDX-License-Identifier: BSD-2-Clause */
/* Images in memory standing on one another, and what the topmost must read
 * as; judged by the library and by the independent reader.
 */
#ifndef TESTS_LIB_STACK_H
#define TESTS_LIB_STACK_H

#include "tests/lib/diffimg.h"

#define STACK_MAX 8u

struct stack {
	unsigned count;
	struct memfile *m[STACK_MAX]; /* 0 is the lowest */
	uint8_t *model;
	uint64_t size;
};

/* Random images, the lowest of `type`; blocks of 4 to 128 KiB. */
void stack_random(struct stack *s, unsigned count, uint32_t type, uint64_t size,
		  uint64_t *rnd);
/* The same bytes again. */
void stack_clone(struct stack *to, const struct stack *from);
void stack_free(struct stack *s);

/* Layers `low` to `top`, linked, to be read; aborts where that fails. */
struct vhd *stack_open(struct memfile *const *m, unsigned low, unsigned top);

/* What [low, top] reads as, by the library and by the other reader, is the
 * model. NULL: yes; else what is wrong.
 */
const char *stack_judge(struct memfile *const *m, unsigned low, unsigned top,
			const uint8_t *model, uint64_t size);

/* The number of errors that a check finds. */
uint64_t stack_errors(struct memfile *m);

#endif
