/* SPDX-License-Identifier: BSD-2-Clause */
/* Which disk is at which place, now and for the machine that runs. Images come
 * and go at any time, under the lock and by a turn of their own; what a machine
 * was told of them changes between machines only. See fwdisk.h.
 */
#include "fwdisk_int.h"

#include <errno.h>
#include <string.h>

const struct hv_disk *hv_fwdisk(const struct hv_fwdisks *f, unsigned controller,
				unsigned lun)
{
	return &f->place[controller][lun].disk;
}

const struct hv_disk *hv_fwdisks_nth(const struct hv_fwdisks *f, unsigned i)
{
	return i < f->listed ? f->list[i] : NULL;
}

/* ---------------------------------------------------------- now --- */

static bool runs(const struct hv_fwdisks *f)
{
	return f->started && !f->stop;
}

/* With the turn taken, by the thread where it runs. */
static void detach(struct hv_fwdisks *f, struct fwdisk *d)
{
	if (!runs(f)) {
		fwdisk_leave(f, d);
		return;
	}
	f->leaving = d;
	fwdisks_ask(f);
	f->leaving = NULL;
}

/* ... or there is no medium. */
static int attach(struct hv_fwdisks *f, struct fwdisk *d, struct vhd_err *err)
{
	int rc;

	if (runs(f)) {
		f->come_err = (struct vhd_err){0};
		f->coming = d;
		fwdisks_ask(f);
		f->coming = NULL;
		rc = f->come_err.code;
		if (rc && err)
			*err = f->come_err;
	} else {
		rc = fwdisk_come(f, d, err);
	}
	if (rc)
		d->is.img = NULL;
	d->bytes = d->is.img ? vhd_get_info(d->is.img)->size_bytes : 0;
	return rc;
}

/* With the turn taken: nothing is there any more. */
static void clear(struct hv_fwdisks *f, struct fwdisk *d)
{
	detach(f, d);
	d->is = (struct hv_fwdisk_is){.img = NULL};
	d->bytes = 0;
	d->told = false;
}

void hv_fwdisks_forget(struct hv_fwdisks *f, unsigned controller, unsigned lun)
{
	struct fwdisk *d;

	if (!f)
		return;
	d = &f->place[controller][lun];
	fwdisks_take_turn_first(f);
	clear(f, d);
	d->number = 0;
	fwdisks_end_turn(f);
}

int hv_fwdisks_put(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		   const struct hv_fwdisk_is *is, struct vhd_err *err)
{
	struct fwdisk *d;
	int rc;

	if (!f)
		return 0;
	d = &f->place[controller][lun];
	fwdisks_take_turn_first(f);
	clear(f, d);
	d->is = *is;
	rc = attach(f, d, err);
	if (rc && !is->dvd)
		d->number = 0;
	else if (d->number == 0)
		d->number = ++f->numbered;
	fwdisks_end_turn(f);
	return rc;
}

int hv_fwdisks_hold(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		    unsigned most_ms, struct vhd_err *err)
{
	if (!f)
		return 0;
	if (!fwdisks_take_turn_within(f, most_ms))
		return vhd_fail(err, -EBUSY, VHD_WHY_IO, 0,
				"what firmware or the IDE controller began "
				"does not end within %u s; nothing was "
				"changed", most_ms / 1000);
	detach(f, &f->place[controller][lun]);
	/* Not the lock: whoever holds a turn may take long. */
	f->turn = TURN_HELD;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

int hv_fwdisks_let_go(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		      struct vhd_err *err)
{
	int rc;

	if (!f)
		return 0;
	pthread_mutex_lock(&f->lock);
	rc = attach(f, &f->place[controller][lun], err);
	fwdisks_end_turn(f);
	return rc;
}

/* ---------------------------------------------- for the next machine --- */

/* What a place has becomes what the machine finds there. */
static void tell(struct fwdisk *d)
{
	const struct hv_fwdisk_is *is = &d->is;

	d->told = d->number != 0;
	d->disk = (struct hv_disk){
		.ops = &fwdisk_ops,
		.arg = d,
		.block_bytes = is->dvd		? 2048
			       : is->block_bytes ? is->block_bytes
						 : 512,
		.read_only = is->read_only || is->dvd,
		.dvd = is->dvd,
	};
	d->disk.blocks = d->bytes / d->disk.block_bytes;
	memcpy(d->disk.id, is->id, sizeof(d->disk.id));
}

/* By their numbers. */
static void insert(struct hv_fwdisks *f, struct fwdisk *d)
{
	unsigned i = f->listed++;

	for (; i > 0; i--) {
		const struct fwdisk *before = f->list[i - 1]->arg;

		if (before->number < d->number)
			break;
		f->list[i] = f->list[i - 1];
	}
	f->list[i] = &d->disk;
}

/* No turn: somebody may hold one for as long as an image takes to grow, which
 * then has the size that it had.
 */
void hv_fwdisks_renew(struct hv_fwdisks *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->listed = 0;
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++) {
			struct fwdisk *d = &f->place[c][l];

			tell(d);
			if (d->told)
				insert(f, d);
		}
	pthread_mutex_unlock(&f->lock);
}
