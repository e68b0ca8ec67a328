/* SPDX-License-Identifier: BSD-2-Clause */
/* A controller, and which channels are its own. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "controller.h"
#include "holders.h"
#include "mail.h"
#include "policy.h"
#include "scsi/attention.h"
#include "scsi/holds.h"
#include "state.h"
#include "stats.h"

#define DEPTH_DEFAULT	 1024u
#define TRANSFER_DEFAULT (2u << 20)

static int check_opts(const struct storvsp_opts *o, struct vhd_err *err)
{
	if (o->depth < 1 || o->depth > STORVSP_DEPTH_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"controller depth %u: must be 1 to %u",
				o->depth, STORVSP_DEPTH_MAX);
	if (o->max_transfer_bytes % HV_PAGE_BYTES != 0 ||
	    o->max_transfer_bytes > STORVSP_TRANSFER_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"controller transfer size %u: must be a "
				"multiple of 4096 up to %u",
				o->max_transfer_bytes, STORVSP_TRANSFER_MAX);
	if (o->max_subchannels > STORVSP_SUBCHANNELS_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%u sub-channels: at most %u",
				o->max_subchannels, STORVSP_SUBCHANNELS_MAX);
	if (o->ide && (o->ide_position >= STORVSP_IDE_POSITIONS ||
		       o->max_subchannels > 0))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"IDE position %u with %u sub-channels: there "
				"are positions 0 to %u, without any",
				o->ide_position, o->max_subchannels,
				STORVSP_IDE_POSITIONS - 1);
	if (o->poll_us > STORVSP_POLL_MAX_US)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"polling for %u microseconds: at most %u",
				o->poll_us, STORVSP_POLL_MAX_US);
	return 0;
}

int storvsp_create(const struct storvsp_opts *opts, struct storvsp **out,
		   struct vhd_err *err)
{
	struct storvsp_opts o = *opts;
	struct storvsp *vsp;
	int rc;

	if (o.depth == 0)
		o.depth = DEPTH_DEFAULT;
	if (o.stall_ms == 0)
		o.stall_ms = STORVSP_STALL_MS;
	if (o.max_transfer_bytes == 0)
		o.max_transfer_bytes = TRANSFER_DEFAULT;
	rc = check_opts(&o, err);
	if (rc)
		return rc;
	vsp = calloc(1, sizeof(*vsp));
	if (!vsp)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for a SCSI controller");
	vsp->opts = o;
	storvsp_log_init(&vsp->log, &o);
	pthread_mutex_init(&vsp->lock, NULL);
	pthread_mutex_init(&vsp->notify_lock, NULL);
	*out = vsp;
	return 0;
}

void storvsp_destroy(struct storvsp *vsp)
{
	if (!vsp)
		return;
	assert(!vsp->channels);
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		if (vsp->life[i].state != DISK_NONE)
			storvsp_policy_destroy(vsp->disks[i].policy);
	pthread_mutex_destroy(&vsp->notify_lock);
	pthread_mutex_destroy(&vsp->lock);
	storvsp_log_fini(&vsp->log);
	free(vsp);
}

/* ---------------------------------------------------------- channels ----- */

void storvsp_controller_join(struct storvsp *vsp, struct channel *ch,
			     struct storvsp_luns *luns)
{
	pthread_mutex_lock(&vsp->lock);
	*luns = vsp->luns;
	ch->luns_number = ch->heard_number = vsp->luns_number;
	ch->settled = true;
	ch->frozen = vsp->frozen;
	if (ch->sub && vsp->ready) {
		ch->session.state = STORVSP_SESSION_READY;
		ch->session.version = vsp->version;
	}
	ch->drained_ticket = vsp->ticket; /* no reset waits for it */
	ch->next = vsp->channels;
	vsp->channels = ch;
	pthread_mutex_unlock(&vsp->lock);
}

void storvsp_controller_leave(struct storvsp *vsp, struct channel *ch)
{
	struct channel **p;

	/* a reset elsewhere may wait for this channel: it is empty now */
	storvsp_mail_drained(ch, UINT64_MAX);
	pthread_mutex_lock(&vsp->lock);
	for (p = &vsp->channels; *p != ch; p = &(*p)->next)
		;
	*p = ch->next;
	storvsp_stats_leave_locked(ch);
	pthread_mutex_unlock(&vsp->lock);
	storvsp_holders_notify(vsp);
}

/* A driver that begins anew starts with disks that nobody holds. */
static void begin_anew_locked(struct storvsp *vsp)
{
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		scsi_attention_clear(&vsp->switches[i]);
	for (unsigned i = 0; i < vsp->luns.count; i++)
		scsi_holds_end(vsp->luns.disk[i]->switches);
}

void storvsp_controller_session(struct storvsp *vsp, bool ready,
				uint16_t version)
{
	pthread_mutex_lock(&vsp->lock);
	vsp->ready = ready;
	vsp->version = version;
	if (ready)
		begin_anew_locked(vsp);
	storvsp_mail_session_locked(vsp);
	pthread_mutex_unlock(&vsp->lock);
}
