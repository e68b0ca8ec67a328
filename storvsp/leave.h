/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that come and go under a channel: see leave.c. */
#ifndef STORVSP_LEAVE_H
#define STORVSP_LEAVE_H

#include <stdbool.h>

struct channel;
struct mail;
struct storvsp_luns;

/* Make the disks of the list that are new known to the queue, then usable. */
void storvsp_leave_attach(struct channel *ch, const struct storvsp_luns *all);
/* The controller has other disks: `m` with `luns`. Those that are not in the
 * list are not found any more from here on.
 */
void storvsp_leave_begin(struct channel *ch, const struct mail *m,
			 const struct storvsp_luns *all);
/* Let go of disks that have nothing in flight any more; true when one was. */
bool storvsp_leave_check(struct channel *ch);
/* Let go of all. Nothing may be in flight. */
void storvsp_leave_all(struct channel *ch);

#endif
