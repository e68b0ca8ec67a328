/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that is only asked: hv_ask and what goes with it, in place of hv/'s.
 * A test takes what was asked and says when and how it is done.
 */
#ifndef TESTS_LIB_FAKEHV_H
#define TESTS_LIB_FAKEHV_H

#include "hv/hv.h"

/* Forget all; asks are kept until a test takes them, unless `answer` is given,
 * which is called at once, on the asking thread.
 */
void fakehv_reset(void (*answer)(struct hv_ask *a));
struct hv *fakehv(void);
/* The next one that was asked, waited for; NULL after some seconds. */
struct hv_ask *fakehv_take(void);
unsigned fakehv_waiting(void);
void fakehv_done(struct hv_ask *a, int result, const char *text);
/* As at the end of a run: all fail, and what comes does, too. */
void fakehv_end(void);
bool fakehv_stopped(void);

#endif
