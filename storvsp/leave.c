/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that come and go under a channel. One that is taken away is not found
 * any more at once; what it has in flight ends as it would have, or early
 * where the controller asks for that, and then the queue lets go of it. The
 * controller is told by the number of the list: see disks.c.
 *
 * A frozen disk is taken away in the same manner, but the channel takes no
 * packet until it is back, so that the guest sees nothing of it.
 */
#include "controller.h"

/* A frozen one that is back before this channel let go of it. */
static bool comes_back(struct channel *ch, const struct storvsp_disk *d)
{
	for (unsigned i = 0; i < ch->leaving_count; i++) {
		if (ch->leaving[i] != d)
			continue;
		ch->leaving[i] = ch->leaving[--ch->leaving_count];
		return true;
	}
	return false;
}

/* One that the queue cannot serve is left out of this channel. */
void storvsp_leave_attach(struct channel *ch, const struct storvsp_luns *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct storvsp_disk *d = all->disk[i];
		struct vhd_err err = {0};

		if (storvsp_luns_has(&ch->luns, d))
			continue;
		if (!comes_back(ch, d) &&
		    vhd_queue_attach(ch->queue, d->img, &err)) {
			storvsp_log_line(ch->log, "disk %u:%u:%u left out: %s",
					 d->path, d->target, d->lun, err.text);
			continue;
		}
		(void)storvsp_luns_add(&ch->luns, d); /* was in a list */
		ch->rescan = !ch->sub;
	}
}

void storvsp_leave_begin(struct channel *ch, const struct mail *m,
			 const struct storvsp_luns *all)
{
	for (unsigned i = 0; i < ch->luns.count;) {
		const struct storvsp_disk *d = ch->luns.disk[i];

		if (storvsp_luns_has(all, d)) {
			i++;
			continue;
		}
		storvsp_luns_remove(&ch->luns, d);
		ch->leaving[ch->leaving_count++] = d;
		ch->rescan |= !ch->sub && !m->hold;
	}
	ch->hold = m->hold;
	ch->luns_number = m->luns_number;
	ch->settled = false;
	storvsp_leave_attach(ch, all);
}

static bool in_flight(const struct channel *ch, const struct storvsp_disk *d)
{
	for (unsigned i = 0; i < ch->depth && ch->on_disk > 0; i++)
		if (ch->slots[i].state == REQUEST_DISK &&
		    ch->slots[i].disk == d)
			return true;
	return false;
}

bool storvsp_leave_check(struct channel *ch)
{
	bool did = false;

	for (unsigned i = 0; i < ch->leaving_count;) {
		const struct storvsp_disk *d = ch->leaving[i];

		if (atomic_load_explicit(&d->switches->hurry,
					 memory_order_acquire))
			storvsp_reset_cancel(ch,
					     &(struct reset_scope){.disk = d});
		if (in_flight(ch, d)) {
			i++;
			continue;
		}
		vhd_queue_detach(ch->queue, d->img);
		ch->leaving[i] = ch->leaving[--ch->leaving_count];
		did = true;
	}
	if (ch->leaving_count == 0 && !ch->settled) {
		ch->settled = true;
		storvsp_disks_settled(ch->vsp, ch, ch->luns_number);
	}
	return did;
}

void storvsp_leave_all(struct channel *ch)
{
	for (unsigned i = 0; i < ch->luns.count; i++)
		vhd_queue_detach(ch->queue, ch->luns.disk[i]->img);
	for (unsigned i = 0; i < ch->leaving_count; i++)
		vhd_queue_detach(ch->queue, ch->leaving[i]->img);
	ch->luns.count = 0;
	ch->leaving_count = 0;
}
