/* SPDX-License-Identifier: BSD-2-Clause */
/* What a board (hv/board.h) tells whom it belongs to, where nobody listens: by
 * itself, or with a member of its own where a test does. It is 1970 there.
 */
#ifndef TESTS_LIB_QUIETBOARD_H
#define TESTS_LIB_QUIETBOARD_H

#include "hv/board.h"

static inline void quietboard_irq(void *arg, unsigned line, bool level)
{
	(void)arg;
	(void)line;
	(void)level;
}

static inline void quietboard_power(void *arg, enum hv_pm_request what)
{
	(void)arg;
	(void)what;
}

static inline void quietboard_wake(void *arg)
{
	(void)arg;
}

static inline int64_t quietboard_now(void *arg)
{
	(void)arg;
	return 0;
}

static const struct hv_board_ops quietboard_ops = {
	quietboard_irq, quietboard_power, quietboard_wake, quietboard_now};

#endif
