/* SPDX-License-Identifier: BSD-2-Clause */
/* A controller's disks: added, removed, and frozen for a while.
 *
 * Channels have copies of the list of disks, and each change of it has a
 * number. The place in `disks` of one that left the list is not used again
 * before nobody holds it any more (holders.c), as requests point to it.
 */
#include <errno.h>
#include <string.h>

#include "blocks.h"
#include "disks.h"
#include "holders.h"
#include "mail.h"
#include "policy.h"
#include "scsi/attention.h"
#include "scsi/dvd.h"
#include "state.h"

/* A disc's size in sectors: whole blocks of it. */
static uint64_t disc_sectors(const struct vhd *img)
{
	return img ? vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES >>
			     DVD_BLOCK_LOG2 << DVD_BLOCK_LOG2
		   : 0;
}

static int check_disc(const struct vhd *img, struct vhd_err *err)
{
	uint64_t sectors = disc_sectors(img);

	if (img && sectors == 0)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a disc has 2048 bytes at least");
	if (sectors >> DVD_BLOCK_LOG2 > UINT32_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a disc has at most 2^32 - 1 blocks");
	return 0;
}

/* Fills what `blocks` has of blocks. */
static int check_disk(const struct storvsp_disk_opts *o, const struct vhd *img,
		      struct storvsp_disk *blocks, struct vhd_err *err)
{
	if (o->path >= STORVSP_PATHS_MAX || o->target >= STORVSP_TARGETS_MAX ||
	    o->lun >= STORVSP_LUNS_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"disk address %u:%u:%u: no guest looks there; "
				"use path 0 to %u, target 0 to %u, LUN 0 to "
				"%u",
				o->path, o->target, o->lun,
				STORVSP_PATHS_MAX - 1, STORVSP_TARGETS_MAX - 1,
				STORVSP_LUNS_MAX - 1);
	if (o->dvd)
		return check_disc(img, err);
	if (vhd_get_info(img)->size_bytes < VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"disk %u:%u:%u is empty", o->path, o->target,
				o->lun);
	return storvsp_blocks_set(blocks, o, vhd_get_info(img)->size_bytes,
				  err);
}

static bool takes_back(enum storvsp_unmap want, enum vhd_format format)
{
	if (want == STORVSP_UNMAP_AUTO)
		return format == VHD_FORMAT_DYNAMIC ||
		       format == VHD_FORMAT_DIFF;
	return want == STORVSP_UNMAP_ON;
}

/* A place that no channel knows, or NULL. */
static struct storvsp_disk *free_place(struct storvsp *vsp)
{
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		if (vsp->life[i].state == DISK_NONE)
			return &vsp->disks[i];
	return NULL;
}

/* By any disk, be it on its way out. */
static bool image_used(const struct storvsp *vsp, const struct vhd *img)
{
	for (unsigned i = 0; img && i < STORVSP_DISKS_MAX; i++)
		if (vsp->life[i].state != DISK_NONE && vsp->disks[i].img == img)
			return true;
	return false;
}

/* Taken by a disk that is not in the list, but will be back. */
static bool place_frozen(const struct storvsp *vsp,
			 const struct storvsp_disk_opts *o)
{
	const struct storvsp_disk *f = vsp->frozen;

	return f && f->path == o->path && f->target == o->target &&
	       f->lun == o->lun;
}

static void list_changed_locked(struct storvsp *vsp)
{
	vsp->luns_number++;
	storvsp_mail_luns_locked(vsp);
}

static int add_locked(struct storvsp *vsp, const struct storvsp_disk_opts *o,
		      struct vhd *img, const struct storvsp_disk *blocks,
		      struct policy *policy)
{
	enum vhd_format format =
		img ? vhd_get_info(img)->format : VHD_FORMAT_RAW;
	struct storvsp_disk *d = free_place(vsp);
	int rc;

	if (!d)
		return -ENOSPC;
	if (image_used(vsp, img) || place_frozen(vsp, o))
		return -EEXIST;
	*d = (struct storvsp_disk){
		.img = img,
		.switches = &vsp->switches[d - vsp->disks],
		.policy = policy,
		.slot = (unsigned)(d - vsp->disks),
		.path = o->path,
		.target = o->target,
		.lun = o->lun,
		.block_log2 = o->dvd ? DVD_BLOCK_LOG2 : blocks->block_log2,
		.physical_log2 = blocks->physical_log2,
		.dvd = o->dvd,
		.read_only = o->read_only || o->dvd,
		.unmap = !o->dvd && takes_back(o->unmap, format),
		.reads_zero = format != VHD_FORMAT_DIFF,
	};
	memcpy(d->unique_id, o->unique_id, sizeof(d->unique_id));
	*d->switches = (struct storvsp_switches){
		.sectors = o->dvd ? disc_sectors(img)
				  : vhd_get_info(img)->size_bytes /
					    VHD_SECTOR_BYTES,
	};
	storvsp_reserve_init(&d->switches->reserve, o);
	rc = storvsp_luns_add(&vsp->luns, d);
	if (rc == 0) {
		*disk_life_of(vsp, d) = (struct disk_life){.state = DISK_SERVED};
		list_changed_locked(vsp);
	}
	return rc;
}

int storvsp_disk_add(struct storvsp *vsp, const struct storvsp_disk_opts *opts,
		     struct vhd *img, struct vhd_err *err)
{
	struct storvsp_disk blocks = {0};
	struct policy *policy;
	int rc = check_disk(opts, img, &blocks, err);

	if (rc == 0)
		rc = storvsp_policy_create(vsp, opts, &policy, err);
	if (rc)
		return rc;
	pthread_mutex_lock(&vsp->lock);
	rc = add_locked(vsp, opts, img, &blocks, policy);
	pthread_mutex_unlock(&vsp->lock);
	if (rc)
		storvsp_policy_destroy(policy);
	if (rc == -ENOSPC)
		return vhd_fail(err, rc, VHD_WHY_ARGUMENT, 0,
				"a controller holds %u disks, no more",
				STORVSP_DISKS_MAX);
	if (rc)
		return vhd_fail(err, rc, VHD_WHY_ARGUMENT, 0,
				"disk %u:%u:%u: address or image is already "
				"in use",
				opts->path, opts->target, opts->lun);
	return 0;
}

/* ------------------------------------------------------- taking away ----- */

int storvsp_no_disk(struct storvsp_address at, struct vhd_err *err)
{
	return vhd_fail(err, -ENOENT, VHD_WHY_ARGUMENT, 0,
			"there is no disk at %u:%u:%u", at.path, at.target,
			at.lun);
}

/* Out of the list, with somebody to tell when nobody holds it any more. */
static void take_away_locked(struct storvsp *vsp, struct storvsp_disk *d,
			     enum disk_state state,
			     const struct storvsp_notice *notice)
{
	storvsp_luns_remove(&vsp->luns, d);
	list_changed_locked(vsp);
	*disk_life_of(vsp, d) = (struct disk_life){
		.state = state,
		.number = vsp->luns_number,
		.notice = *notice,
	};
}

static struct storvsp_disk *find_locked(struct storvsp *vsp,
					struct storvsp_address at)
{
	const struct storvsp_disk *d =
		storvsp_luns_find(&vsp->luns, at.path, at.target, at.lun);

	return d ? &vsp->disks[d - vsp->disks] : NULL;
}

int storvsp_disk_remove(struct storvsp *vsp, struct storvsp_address at,
			const struct storvsp_notice *gone, struct vhd_err *err)
{
	struct storvsp_disk *d;

	pthread_mutex_lock(&vsp->lock);
	d = find_locked(vsp, at);
	if (d)
		take_away_locked(vsp, d, DISK_LEAVING, gone);
	pthread_mutex_unlock(&vsp->lock);
	if (!d)
		return storvsp_no_disk(at, err);
	storvsp_holders_notify(vsp);
	return 0;
}

void storvsp_disk_hurry(struct storvsp *vsp)
{
	pthread_mutex_lock(&vsp->lock);
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		if (vsp->life[i].state == DISK_LEAVING)
			atomic_store_explicit(&vsp->switches[i].hurry, true,
					      memory_order_release);
	storvsp_mail_look_locked(vsp);
	pthread_mutex_unlock(&vsp->lock);
}

int storvsp_disk_freeze(struct storvsp *vsp, struct storvsp_address at,
			const struct storvsp_notice *idle, struct vhd_err *err)
{
	struct storvsp_disk *d;
	bool busy;

	pthread_mutex_lock(&vsp->lock);
	d = find_locked(vsp, at);
	if (d && d->dvd)
		d = NULL; /* a disc does not grow */
	busy = vsp->frozen != NULL;
	if (d && !busy) {
		vsp->frozen = d;
		take_away_locked(vsp, d, DISK_FREEZING, idle);
	}
	pthread_mutex_unlock(&vsp->lock);
	if (busy)
		return vhd_fail(err, -EBUSY, VHD_WHY_ARGUMENT, 0,
				"another change of a disk is under way");
	if (!d)
		return storvsp_no_disk(at, err);
	storvsp_holders_notify(vsp);
	return 0;
}

void storvsp_disk_thaw(struct storvsp *vsp)
{
	struct storvsp_disk *d;
	uint64_t sectors;

	/* no call that is under way comes late */
	pthread_mutex_lock(&vsp->notify_lock);
	pthread_mutex_lock(&vsp->lock);
	d = vsp->frozen;
	if (d) {
		/* whole blocks of it */
		sectors = vhd_get_info(d->img)->size_bytes / VHD_SECTOR_BYTES >>
			  d->block_log2 << d->block_log2;
		if (atomic_exchange(&d->switches->sectors, sectors) != sectors)
			scsi_attention_raise(d->switches, SCSI_UA_CAPACITY);
		vsp->frozen = NULL;
		disk_life_of(vsp, d)->state = DISK_SERVED;
		(void)storvsp_luns_add(&vsp->luns, d); /* it was in it */
		list_changed_locked(vsp);
	}
	pthread_mutex_unlock(&vsp->lock);
	pthread_mutex_unlock(&vsp->notify_lock);
}

/* ------------------------------------------------ another disc in it ----- */

static int exchange_locked(struct storvsp *vsp, struct storvsp_disk *old,
			   struct vhd *img, struct policy *policy,
			   const struct storvsp_notice *gone)
{
	struct storvsp_disk *d = free_place(vsp);

	if (!d)
		return -ENOSPC;
	if (image_used(vsp, img))
		return -EEXIST;
	*d = *old;
	d->img = img;
	d->slot = (unsigned)(d - vsp->disks);
	d->switches = &vsp->switches[d->slot];
	d->policy = policy;
	d->exchanged = true;
	*d->switches = (struct storvsp_switches){.sectors = disc_sectors(img)};
	storvsp_reserve_init(&d->switches->reserve,
			     &(struct storvsp_disk_opts){0});
	scsi_dvd_exchange(old, d);
	*disk_life_of(vsp, d) = (struct disk_life){.state = DISK_SERVED};
	/* one change of the list for who looks: both under the lock */
	take_away_locked(vsp, old, DISK_LEAVING, gone);
	(void)storvsp_luns_add(&vsp->luns, d); /* there is room now */
	list_changed_locked(vsp);
	return 0;
}

/* What the drive may do stays. */
static int policy_like(const struct storvsp *vsp, const struct policy *old,
		       struct policy **out)
{
	const struct storvsp_disk_opts o = {
		.limits = old->limits,
		.on_error = (enum storvsp_on_error)atomic_load(&old->on_error),
	};

	return storvsp_policy_create(vsp, &o, out, NULL);
}

int storvsp_dvd_change(struct storvsp *vsp, struct storvsp_address at,
		       struct vhd *img, const struct storvsp_notice *gone,
		       struct vhd_err *err)
{
	struct policy *policy = NULL;
	struct storvsp_disk *d;
	int rc = check_disc(img, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&vsp->lock);
	d = find_locked(vsp, at);
	rc = d && d->dvd ? policy_like(vsp, d->policy, &policy) : -ENOENT;
	if (rc == 0)
		rc = exchange_locked(vsp, d, img, policy, gone);
	pthread_mutex_unlock(&vsp->lock);
	if (rc)
		storvsp_policy_destroy(policy);
	if (rc == -ENOENT)
		return vhd_fail(err, rc, VHD_WHY_ARGUMENT, 0,
				"there is no DVD drive at %u:%u:%u", at.path,
				at.target, at.lun);
	if (rc)
		return vhd_fail(err, rc, VHD_WHY_ARGUMENT, 0,
				rc == -EEXIST ? "the disc is already in use"
				: rc == -ENOMEM
					? "no memory for a disc"
					: "no place for a disc beside the "
					  "disks there are");
	storvsp_holders_notify(vsp);
	return 0;
}

void storvsp_disks_wait_less(struct storvsp *vsp, uint32_t ms)
{
	pthread_mutex_lock(&vsp->lock);
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		if (vsp->life[i].state != DISK_NONE && vsp->disks[i].img)
			vhd_hurry(vsp->disks[i].img, ms);
	pthread_mutex_unlock(&vsp->lock);
}
