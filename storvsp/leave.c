/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that come and go under a channel. One that is taken away is not found
 * any more at once; what it has in flight ends as it would have, or early
 * where the controller asks for that, and then the queue lets go of it. The
 * controller is told of the list that is known, and of what is still held: see
 * holders.c.
 *
 * A frozen disk is taken away in the same manner, but the channel takes no
 * packet until it is back, so that the guest sees nothing of it; and what
 * waits at its gate goes on waiting there.
 */
#include "gate.h"
#include "holders.h"
#include "leave.h"
#include "reset.h"
#include "state.h"

/* ------------------------------------------------------------- coming ---- */

static bool give_up(struct channel *ch, const struct storvsp_disk *d,
		    const char *why)
{
	storvsp_log_line(ch->log, "disk %u:%u:%u left out: %s", d->path,
			 d->target, d->lun, why);
	storvsp_reset_cancel(ch, &(struct reset_scope){.disk = d});
	storvsp_gate_detach(ch, d);
	return false;
}

/* False: the queue cannot serve it, and it is left out of this channel. */
static bool take_in(struct channel *ch, const struct storvsp_disk *d)
{
	struct vhd_err err = {0};

	if (!ch->gates[d->slot] && storvsp_gate_attach(ch, d))
		return give_up(ch, d, "no memory");
	if (d->img && vhd_queue_attach(ch->queue, d->img, &err))
		return give_up(ch, d, err.text);
	ch->gates[d->slot]->closed = false;
	return true;
}

/* Its place in the list of those that leave, or their number. */
static unsigned leaves(const struct channel *ch, const struct storvsp_disk *d)
{
	unsigned i = 0;

	while (i < ch->leaving_count && ch->leaving[i] != d)
		i++;
	return i;
}

/* A frozen one that is back before this channel let go of it. */
static bool comes_back(struct channel *ch, const struct storvsp_disk *d)
{
	unsigned i = leaves(ch, d);

	if (i == ch->leaving_count)
		return false;
	ch->leaving[i] = ch->leaving[--ch->leaving_count];
	ch->gates[d->slot]->closed = false;
	return true;
}

void storvsp_leave_attach(struct channel *ch, const struct storvsp_luns *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct storvsp_disk *d = all->disk[i];

		if (storvsp_luns_has(&ch->luns, d) ||
		    (!comes_back(ch, d) && !take_in(ch, d)))
			continue;
		(void)storvsp_luns_add(&ch->luns, d); /* was in a list */
		if (!d->exchanged)
			ch->rescan = !ch->sub;
	}
}

/* -------------------------------------------------------------- going ---- */

static void let_go(struct channel *ch, const struct storvsp_disk *d)
{
	if (d->img)
		vhd_queue_detach(ch->queue, d->img);
}

/* By the same drive with another disc: nothing to look for. */
static bool succeeded(const struct storvsp_luns *all,
		      const struct storvsp_disk *d)
{
	const struct storvsp_disk *next =
		storvsp_luns_find(all, d->path, d->target, d->lun);

	return next && next->exchanged;
}

/* A frozen one that was removed before this channel heard that it was back:
 * what waits at its gate is not going to be done.
 */
static void never_back(struct channel *ch, const struct storvsp_disk *d)
{
	if (!ch->gates[d->slot])
		return;
	if (leaves(ch, d) == ch->leaving_count) {
		storvsp_reset_cancel(ch, &(struct reset_scope){.disk = d});
		ch->leaving[ch->leaving_count++] = d;
	}
	ch->gates[d->slot]->closed = false;
}

void storvsp_leave_begin(struct channel *ch, const struct mail *m,
			 const struct storvsp_luns *all)
{
	const struct storvsp_disk *was = ch->frozen;

	for (unsigned i = 0; i < ch->luns.count;) {
		const struct storvsp_disk *d = ch->luns.disk[i];

		if (storvsp_luns_has(all, d)) {
			i++;
			continue;
		}
		storvsp_luns_remove(&ch->luns, d);
		ch->leaving[ch->leaving_count++] = d;
		ch->gates[d->slot]->closed = d == m->frozen;
		ch->rescan |= !ch->sub && d != m->frozen && !succeeded(all, d);
	}
	if (was && was != m->frozen && !storvsp_luns_has(all, was))
		never_back(ch, was);
	ch->frozen = m->frozen;
	ch->luns_number = m->luns_number;
	ch->settled = false;
	storvsp_leave_attach(ch, all);
}

static bool holds(struct channel *ch, const struct storvsp_disk *d)
{
	const struct gate *g = ch->gates[d->slot];

	return d == ch->frozen ? level_get(&g->stats.in_flight) > 0
			       : g->slots > 0;
}

static void hurry(struct channel *ch, const struct storvsp_disk *d)
{
	if (atomic_load_explicit(&d->switches->hurry, memory_order_acquire))
		storvsp_reset_cancel(ch, &(struct reset_scope){.disk = d});
}

bool storvsp_leave_check(struct channel *ch)
{
	bool did = false;

	for (unsigned i = 0; i < ch->leaving_count;) {
		const struct storvsp_disk *d = ch->leaving[i];

		hurry(ch, d);
		if (holds(ch, d)) {
			i++;
			continue;
		}
		let_go(ch, d);
		if (d != ch->frozen)
			storvsp_gate_detach(ch, d);
		ch->leaving[i] = ch->leaving[--ch->leaving_count];
		did = true;
	}
	if (did || !ch->settled) {
		ch->settled = true;
		storvsp_holders_settled(ch->vsp, ch);
	}
	return did;
}

void storvsp_leave_all(struct channel *ch)
{
	for (unsigned i = 0; i < ch->luns.count; i++)
		let_go(ch, ch->luns.disk[i]);
	for (unsigned i = 0; i < ch->leaving_count; i++)
		let_go(ch, ch->leaving[i]);
	ch->luns.count = 0;
	ch->leaving_count = 0;
}
