/* SPDX-License-Identifier: BSD-2-Clause */
/* See policy.h. */
#include <errno.h>
#include <stdlib.h>

#include "mail.h"
#include "now.h"
#include "policy.h"
#include "state.h"

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
			 d->path, d->target, d->lun, storvsp_op_text(r->req.op),
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
