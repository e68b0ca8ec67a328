/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets in, answers out: see drain.c. */
#ifndef STORVSP_DRAIN_H
#define STORVSP_DRAIN_H

#include <stdbool.h>

struct channel;

/* Do what can be done without sleeping, once; true when anything was. */
bool storvsp_channel_step(struct channel *ch);
/* Nothing was left to do: let the guest's signals through and look again.
 * True when there is work after all.
 */
bool storvsp_channel_idle(struct channel *ch);

#endif
