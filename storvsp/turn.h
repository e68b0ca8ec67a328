/* SPDX-License-Identifier: BSD-2-Clause */
/* Turns at a disk: what writes has a turn of its own from its gate to its end,
 * together with others that write; COMPARE AND WRITE has one alone, so that
 * nothing is written between its look and its write, on any channel.
 *
 * Each channel counts its own writers of a disk, without sharing a cache line.
 * A word of the disk says that somebody wants to be alone (then no new writer
 * begins) or is. Who writes counts itself and then looks at the word; who wants
 * to be alone sets the word and then looks at the counts: both in one order all
 * agree on (seq_cst), so at least one of them sees the other, and waits at its
 * gate. Whoever makes way wakes the channels.
 *
 * Readers need no turn: a read beside a write may see either, as always.
 * Source: SBC-3 5.2 ("as an uninterrupted series of actions").
 */
#ifndef STORVSP_TURN_H
#define STORVSP_TURN_H

#include <stdbool.h>

struct channel;
struct gate;
struct request;

/* False: not now; it waits at its gate and asks again when woken. A turn once
 * taken is kept until it is given back.
 */
bool storvsp_turn_take(struct channel *ch, struct gate *g, struct request *r);
void storvsp_turn_give(struct channel *ch, struct gate *g, struct request *r);

#endif
