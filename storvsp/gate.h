/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate of a disk in one channel, between a decoded request and the disk
 * queue. A request passes while the disk is not paused, its limits allow it,
 * and it has fewer requests at the host's disk than its share; otherwise it
 * waits here, in order. Nothing is allocated: the list goes through the
 * requests.
 *
 * Shares, so that no disk starves another: of the places at the disk queue a
 * disk has at most as many as are free, of the slots for requests less than
 * four times what is free; and the last ones are for disks that have none, so
 * that each finds room however many are stuck. (Source: Choudhury and Hahne,
 * dynamic queue length thresholds, 1998.)
 *
 * A request goes through the gate, which sends it to the disk queue, with each
 * of its steps; one that comes again, for its next step or because it is held after a failure, waits in
 * front.
 * Thread: the channel's; the counters may be read by anybody.
 */
#ifndef STORVSP_GATE_H
#define STORVSP_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct request;
struct reset_scope;
struct scsi_end;
struct storvsp_disk;

/* A disk becomes known to the channel; -ENOMEM. And no longer: nothing of it
 * may be here.
 */
int storvsp_gate_attach(struct channel *ch, const struct storvsp_disk *d);
void storvsp_gate_detach(struct channel *ch, const struct storvsp_disk *d);
/* All of them, once the channel is in no list any more. */
void storvsp_gate_free(struct channel *ch);

/* `r`, ready to be sent, arrives. False: its disk has its share of the slots.
 */
bool storvsp_gate_enter(struct channel *ch, struct request *r);
/* It came back from the disk queue, ... */
void storvsp_gate_back(struct channel *ch, struct request *r);
/* ... and wants to go there again. */
void storvsp_gate_again(struct channel *ch, struct request *r);
/* ... or it failed, its disk is paused, and it waits. */
void storvsp_gate_hold(struct channel *ch, struct request *r);
/* It has ended so. */
void storvsp_gate_leave(struct channel *ch, struct request *r,
			const struct scsi_end *end);

/* Let pass what can; true when anything did. */
bool storvsp_gate_run(struct channel *ch);
/* Take out what waits at the gates of the scope's disks, to be ended: a list by
 * `next`.
 */
struct request *storvsp_gate_take_out(struct channel *ch,
				      const struct reset_scope *scope);

/* Look for requests that stay away too long, once in a while. */
void storvsp_gate_watch(struct channel *ch);
/* How long the channel may sleep, in milliseconds; -1: until it is woken. */
int storvsp_gate_timeout_ms(struct channel *ch);

#endif
