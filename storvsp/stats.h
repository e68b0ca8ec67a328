/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters summed over channels that are and were: see stats.c. */
#ifndef STORVSP_STATS_H
#define STORVSP_STATS_H

#include "counters.h"

struct channel;

/* Keep what `from` has counted: its channel closes. Levels end with it. */
void storvsp_stats_keep(struct disk_stats *to, const struct disk_stats *from);
/* The same for all of a channel and its disks. Locked: the controller's lock.
 */
void storvsp_stats_leave_locked(struct channel *ch);

#endif
