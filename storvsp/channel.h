/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of an open channel: see channel.c. */
#ifndef STORVSP_CHANNEL_H
#define STORVSP_CHANNEL_H

struct channel;
struct storvsp;
struct storvsp_luns;
struct vmbus_channel;

/* Control thread. NULL: no memory. */
struct channel *storvsp_channel_create(struct storvsp *vsp,
				       struct vmbus_channel *bus);
/* Its thread and its queue, with the disks of `luns`, which is not looked at
 * any more when this returns. A negative errno: `start_err` says why.
 */
int storvsp_channel_start(struct channel *ch, const struct storvsp_luns *luns);
/* Ends what is in flight, then both. */
void storvsp_channel_stop(struct channel *ch);
void storvsp_channel_destroy(struct channel *ch);

#endif
