/* SPDX-License-Identifier: BSD-2-Clause */
/* See policy.h. */
#include <errno.h>
#include <stdlib.h>

#include "controller.h"
#include "policy.h"

int storvsp_policy_create(const struct storvsp *vsp,
			  const struct storvsp_disk_opts *opts,
			  struct policy **out, struct vhd_err *err)
{
	struct policy *p;
	int rc = limit_check(&opts->limits, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for a disk");
	p->limits = opts->limits;
	atomic_init(&p->depth, opts->limits.depth);
	atomic_init(&p->on_error, opts->on_error);
	limit_set(&p->limit, &opts->limits, storvsp_clock_ns(vsp));
	*out = p;
	return 0;
}

void storvsp_policy_destroy(struct policy *p)
{
	free(p);
}

/* -------------------------------------------------------- a failure ------ */

/* Not the host's: the guest's own mistakes, what a reset cut short, and what
 * trying again cannot help.
 */
static bool host_failed(const struct vhd_req *req)
{
	switch (req->why) {
	case VHD_WHY_CANCELLED:
	case VHD_WHY_POISONED:
	case VHD_WHY_RANGE:
	case VHD_WHY_READ_ONLY:
	case VHD_WHY_ARGUMENT:
		return false;
	default:
		return req->result != -ECANCELED && req->result != -EFAULT;
	}
}

/* What waits is let go, to be answered that the image is poisoned. */
static void give_up(struct channel *ch, const struct storvsp_disk *d)
{
	if (!atomic_exchange(&d->policy->paused, false))
		return;
	storvsp_log_line(ch->log,
			 "disk %u:%u:%u cannot be resumed: a sync failed, and "
			 "what the guest wrote may be lost; it is told so",
			 d->path, d->target, d->lun);
	storvsp_mail_look(ch->vsp);
}

static void pause_disk(struct channel *ch, const struct request *r)
{
	const struct storvsp_disk *d = r->disk;
	const char *hint = ch->vsp->opts.resume_hint;

	if (atomic_exchange(&d->policy->paused, true))
		return;
	pthread_mutex_lock(&ch->vsp->lock);
	d->policy->pauses++;
	d->policy->pause_code = r->req.result;
	pthread_mutex_unlock(&ch->vsp->lock);
	storvsp_log_line(ch->log,
			 "disk %u:%u:%u is paused: %s of %llu sectors at %llu "
			 "failed: %s; mend that, then: %s %u",
			 d->path, d->target, d->lun, storvsp_request_verb(r),
			 (unsigned long long)r->sectors,
			 (unsigned long long)r->req.lba,
			 storvsp_errno_text(r->req.result),
			 hint ? hint : "resume LUN", d->lun);
}

static bool hopeless(struct channel *ch, const struct storvsp_disk *d)
{
	if (!vhd_poisoned(d->img))
		return false;
	give_up(ch, d);
	return true;
}

bool storvsp_policy_holds(struct channel *ch, const struct request *r)
{
	const struct policy *p = r->disk->policy;

	if (hopeless(ch, r->disk))
		return false;
	if (atomic_load_explicit(&p->on_error, memory_order_relaxed) !=
		    STORVSP_ON_ERROR_PAUSE ||
	    !host_failed(&r->req) || ch->stopping || ch->ring_dead ||
	    vhd_queue_broken(ch->queue)) /* there is no trying again */
		return false;
	pause_disk(ch, r);
	/* by another channel meanwhile, which found nothing paused yet */
	return !hopeless(ch, r->disk);
}

/* ------------------------------------------------- the host's wishes ----- */

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
