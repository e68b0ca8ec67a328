/* SPDX-License-Identifier: BSD-2-Clause */
/* Who still holds a disk: see holders.c. */
#ifndef STORVSP_HOLDERS_H
#define STORVSP_HOLDERS_H

struct channel;
struct storvsp;

/* Which list the channel knows of, and which disks it still holds that this
 * one lacks, may have changed.
 */
void storvsp_holders_settled(struct storvsp *vsp, struct channel *ch);
/* Perhaps now nobody holds a disk any more: say so to who waits for that. */
void storvsp_holders_notify(struct storvsp *vsp);

#endif
