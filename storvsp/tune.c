/* SPDX-License-Identifier: BSD-2-Clause */
/* What the host asks for of a disk's policy while it runs, by its address. */
#include <errno.h>

#include "disks.h"
#include "mail.h"
#include "now.h"
#include "policy.h"
#include "state.h"

/* Locked; NULL when nothing is there. */
static struct policy *find(const struct storvsp *vsp, struct storvsp_address at,
			   struct vhd **img)
{
	const struct storvsp_disk *d =
		storvsp_luns_find(&vsp->luns, at.path, at.target, at.lun);

	if (d && img)
		*img = d->img;
	return d ? d->policy : NULL;
}

int storvsp_disk_limit(struct storvsp *vsp, struct storvsp_address at,
		       const struct storvsp_limits *limits, struct vhd_err *err)
{
	struct policy *p;
	int rc = limit_check(limits, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&vsp->lock);
	p = find(vsp, at, NULL);
	if (p) {
		p->limits = *limits;
		atomic_store(&p->depth, limits->depth);
		limit_set(&p->limit, limits, storvsp_clock_ns(vsp));
		storvsp_mail_look_locked(vsp);
	}
	pthread_mutex_unlock(&vsp->lock);
	return p ? 0 : storvsp_no_disk(at, err);
}

int storvsp_disk_on_error(struct storvsp *vsp, struct storvsp_address at,
			  enum storvsp_on_error on_error, struct vhd_err *err)
{
	struct policy *p;

	pthread_mutex_lock(&vsp->lock);
	p = find(vsp, at, NULL);
	if (p)
		atomic_store(&p->on_error, on_error);
	pthread_mutex_unlock(&vsp->lock);
	return p ? 0 : storvsp_no_disk(at, err);
}

int storvsp_disk_resume(struct storvsp *vsp, struct storvsp_address at,
			struct vhd_err *err)
{
	struct vhd *img = NULL;
	struct policy *p;
	bool was = false;

	pthread_mutex_lock(&vsp->lock);
	p = find(vsp, at, &img);
	if (p)
		was = atomic_exchange(&p->paused, false);
	if (was)
		storvsp_mail_look_locked(vsp);
	pthread_mutex_unlock(&vsp->lock);
	if (!p)
		return storvsp_no_disk(at, err);
	if (img && vhd_poisoned(img))
		return vhd_fail(err, -EIO, VHD_WHY_POISONED, 0,
				"disk %u:%u:%u cannot be resumed: a sync "
				"failed; stop the guest, check the image, open "
				"it again",
				at.path, at.target, at.lun);
	return was;
}
