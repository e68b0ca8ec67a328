/* SPDX-License-Identifier: BSD-2-Clause */
/* A test of the integration services: a guest made before it and taken down
 * after it, and requests whose answers are counted.
 */
#ifndef TESTS_LIB_ICTEST_H
#define TESTS_LIB_ICTEST_H

#include <stdlib.h>

#include "tests/lib/icguest.h"

struct answered {
	struct hv_ic_request r;
	unsigned times;
};

static inline void count(struct hv_ic_request *r)
{
	struct answered *a = r->arg;

	a->times++;
}

static inline void ask(struct icguest *w, struct answered *a,
		       enum hv_ic_op op)
{
	a->times = 0;
	a->r.op = op;
	a->r.done = count;
	a->r.arg = a;
	hv_ic_submit(w->ic, &a->r);
}

static inline struct hv_ic_info info(struct icguest *w)
{
	struct hv_ic_info i;

	hv_ic_get_info(w->ic, &i);
	return i;
}

static inline int setup(void **state)
{
	struct icguest *w = calloc(1, sizeof(*w));

	icguest_create(w);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	icguest_destroy(*state);
	free(*state);
	return 0;
}

#define IC_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
