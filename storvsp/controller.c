/* SPDX-License-Identifier: BSD-2-Clause */
/* The public interface: a controller and its offer on the bus. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"
#include "policy.h"

#define DEPTH_DEFAULT	 1024u
#define TRANSFER_DEFAULT (2u << 20)

static const char scsi_class[] = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";
static const char ide_class[] = "32412632-86cb-44a2-9b5c-50d1417354f5";

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

/* Which disk it is: Linux takes it from the instance, old Windows from the
 * offer's own bytes.
 */
static void identify_ide(const struct storvsp *vsp, struct vmbus_offer *offer)
{
	struct storvsp_address at = storvsp_ide_address(vsp->opts.ide_position);
	const struct storvsp_ide_instance_wire instance = {
		.path = le32_put(at.path),
		.target = le16_put(at.target),
		.mark = le16_put(STORVSP_IDE_MARK),
	};
	const struct storvsp_ide_offer_wire user = {
		.path = at.path,
		.target = at.target,
		.flags = le32_put(STORVSP_IDE_OFFER_FLAG),
	};

	memcpy(&offer->instance, &instance, sizeof(instance));
	memcpy(offer->user, &user, sizeof(user));
}

int storvsp_offer(struct storvsp *vsp, struct vmbus *bus, struct vhd_err *err)
{
	struct vmbus_offer offer = {
		.instance = vsp->opts.instance,
		.ops = &storvsp_device_ops,
		.dev = vsp,
	};
	struct vmbus_channel *ch;
	int rc = vmbus_guid_parse(vsp->opts.ide ? ide_class : scsi_class,
				  &offer.type);

	assert(rc == 0);
	if (vsp->opts.ide)
		identify_ide(vsp, &offer);
	return vmbus_offer_add(bus, &offer, &ch, err);
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
	for (unsigned i = 0; i < STAT_COUNT; i++)
		vsp->closed[i] += stat_get(&ch->stats, i);
	storvsp_stats_leave_locked(ch);
	pthread_mutex_unlock(&vsp->lock);
	storvsp_disks_notify(vsp);
}

static uint64_t total_locked(const struct storvsp *vsp, enum stat which)
{
	uint64_t n = vsp->closed[which];

	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		n += stat_get(&ch->stats, which);
	return n;
}

void storvsp_get_stats(struct storvsp *vsp, struct storvsp_stats *out)
{
	pthread_mutex_lock(&vsp->lock);
	*out = (struct storvsp_stats){
		.packets = total_locked(vsp, STAT_PACKETS),
		.completions = total_locked(vsp, STAT_COMPLETIONS),
		.refused = total_locked(vsp, STAT_REFUSED),
		.cancelled = total_locked(vsp, STAT_CANCELLED),
		.reads = total_locked(vsp, STAT_READS),
		.writes = total_locked(vsp, STAT_WRITES),
		.flushes = total_locked(vsp, STAT_FLUSHES),
		.zeros = total_locked(vsp, STAT_ZEROS),
		.errors = total_locked(vsp, STAT_ERRORS),
		.read_bytes = total_locked(vsp, STAT_READ_BYTES),
		.written_bytes = total_locked(vsp, STAT_WRITTEN_BYTES),
		.sleeps = total_locked(vsp, STAT_SLEEPS),
		.polled = total_locked(vsp, STAT_POLLED),
	};
	pthread_mutex_unlock(&vsp->lock);
}

/* Only the caller's thread opens and closes channels in manual mode, so the
 * list stands still without the lock.
 */
static bool poll_once(struct storvsp *vsp)
{
	bool did = false;

	for (struct channel *ch = vsp->channels; ch; ch = ch->next)
		did |= storvsp_channel_step(ch) || storvsp_channel_idle(ch);
	return did;
}

unsigned storvsp_poll(struct storvsp *vsp)
{
	struct storvsp_stats before, after;

	assert(vsp->opts.manual);
	storvsp_get_stats(vsp, &before);
	while (poll_once(vsp))
		;
	storvsp_get_stats(vsp, &after);
	return (unsigned)(after.packets - before.packets + after.completions -
			  before.completions);
}
