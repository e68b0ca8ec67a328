/* SPDX-License-Identifier: BSD-2-Clause */
/* Who still holds a disk that left the controller's list. It is out of use when
 * every channel has said that it knows of the list of that number, and does not
 * hold it any more; who took it away is told then. One that is never let go of
 * keeps no other.
 */
#include <string.h>

#include "holders.h"
#include "policy.h"
#include "state.h"

static bool held_locked(const struct storvsp *vsp, unsigned slot)
{
	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		if (ch->heard_number < vsp->life[slot].number ||
		    ch->holds[slot])
			return true;
	return false;
}

/* A disk that nobody holds any more although somebody did, or NULL. */
static struct storvsp_disk *released_locked(struct storvsp *vsp)
{
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++) {
		const struct disk_life *l = &vsp->life[i];

		if ((l->state == DISK_LEAVING || l->state == DISK_FREEZING) &&
		    !held_locked(vsp, i))
			return &vsp->disks[i];
	}
	return NULL;
}

static void forget(struct storvsp_disk *d, struct disk_life *l)
{
	storvsp_policy_destroy(d->policy);
	d->policy = NULL;
	l->state = DISK_NONE;
}

void storvsp_holders_notify(struct storvsp *vsp)
{
	struct storvsp_notice notice;
	struct storvsp_disk *d;
	struct vhd *img = NULL;

	pthread_mutex_lock(&vsp->notify_lock);
	do {
		pthread_mutex_lock(&vsp->lock);
		d = released_locked(vsp);
		if (d) {
			struct disk_life *l = disk_life_of(vsp, d);

			notice = l->notice;
			img = d->img;
			if (l->state == DISK_FREEZING)
				l->state = DISK_FROZEN;
			else
				forget(d, l);
		}
		pthread_mutex_unlock(&vsp->lock);
		if (d && notice.call)
			notice.call(notice.arg, img);
	} while (d);
	pthread_mutex_unlock(&vsp->notify_lock);
}

void storvsp_holders_settled(struct storvsp *vsp, struct channel *ch)
{
	pthread_mutex_lock(&vsp->lock);
	ch->heard_number = ch->luns_number;
	memset(ch->holds, 0, sizeof(ch->holds));
	for (unsigned i = 0; i < ch->leaving_count; i++)
		ch->holds[ch->leaving[i]->slot] = true;
	pthread_mutex_unlock(&vsp->lock);
	storvsp_holders_notify(vsp);
}
