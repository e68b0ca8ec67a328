/* SPDX-License-Identifier: BSD-2-Clause */
/* Offers: which channels exist, what the guest knows of them, and how they go.
 *
 *   CLOSED <-> OPEN           open.c
 *   any    --> REVOKED        rescinded; the relid stays taken until the guest
 *                             says RELID_RELEASED or the connection ends
 *   CLOSED --> DECLINED       the guest gave the offer back; until the
 *                             connection ends it does not exist for it
 *
 * A primary is always before its sub-channels in `channels`, and offers are
 * written in that order: Linux takes a sub-channel without a known primary for
 * a new device. Rescinds of sub-channels go before all else.
 * Sources: Linux drivers/hv/channel_mgmt.c; OpenVMM vmbus_server.
 */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MONITOR_NONE 0xFF

/* ------------------------------------------------------------ channels -- */

/* A reserved relid is used up, or given back on failure. */
static struct vmbus_channel *channel_new(struct vmbus *bus,
					 const struct vmbus_offer *offer,
					 struct vhd_err *err)
{
	struct vmbus_channel *ch = calloc(1, sizeof(*ch));
	struct vmbus_channel **end = &bus->channels;
	uint32_t relid = 1;

	if (!ch) {
		vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			 "no memory for a channel");
		vmbus_release_relids(bus, 1);
		return NULL;
	}
	ch->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ch->eventfd < 0) {
		vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			 "cannot make an eventfd for a channel: %s",
			 strerror(errno));
		free(ch);
		vmbus_release_relids(bus, 1);
		return NULL;
	}
	while (bus->by_relid[relid])
		relid++;
	while (*end)
		end = &(*end)->next;
	ch->bus = bus;
	ch->relid = relid;
	ch->offer = *offer;
	ch->target_vp = VMBUS_VP_NONE;
	pthread_mutex_init(&ch->signal_lock, NULL);
	bus->by_relid[relid] = ch;
	*end = ch;
	bus->notices_due = true;
	return ch;
}

/* A descriptor is for living channels only: what a guest leaves revoked must
 * not add up to the limit of the process.
 */
static void channel_close_eventfd(struct vmbus_channel *ch)
{
	if (ch->eventfd >= 0)
		close(ch->eventfd);
	ch->eventfd = -1;
}

static void channel_free(struct vmbus_channel *ch)
{
	struct vmbus *bus = ch->bus;
	struct vmbus_channel **at = &bus->channels;

	while (*at != ch)
		at = &(*at)->next;
	*at = ch->next;
	bus->by_relid[ch->relid] = NULL;
	vmbus_cancel_subs(ch);
	vmbus_gpadl_free_all(ch, false);
	channel_close_eventfd(ch);
	vmbus_release_relids(bus, 1);
	pthread_mutex_destroy(&ch->signal_lock);
	free(ch);
}

static bool same_device(const struct vmbus_offer *a,
			const struct vmbus_offer *b)
{
	return memcmp(&a->type, &b->type, sizeof(a->type)) == 0 &&
	       memcmp(&a->instance, &b->instance, sizeof(a->instance)) == 0;
}

int vmbus_offer_add(struct vmbus *bus, const struct vmbus_offer *offer,
		    struct vmbus_channel **out, struct vhd_err *err)
{
	struct vhd_err own = {0};
	struct vmbus_channel *ch;

	for (ch = bus->channels; ch; ch = ch->next)
		if (ch->state != VMBUS_CH_REVOKED &&
		    same_device(&ch->offer, offer))
			return vhd_fail(err, -EEXIST, VHD_WHY_ARGUMENT, 0,
					"a device of this type and instance "
					"is on the bus already");
	if (!vmbus_reserve_relids(bus, 1))
		return vhd_fail(err, -ENOSPC, VHD_WHY_ARGUMENT, 0,
				"the bus has no room for more than %d channels",
				VMBUS_CHANNELS_MAX);
	ch = channel_new(bus, offer, &own);
	if (!ch) {
		if (err)
			*err = own;
		return own.code;
	}
	*out = ch;
	vmbus_wake(bus);
	return 0;
}

int vmbus_offer_sub(struct vmbus_channel *primary, uint16_t count)
{
	struct vmbus *bus = primary->bus;

	if (primary->primary)
		return -EINVAL;
	if (!vmbus_reserve_relids(bus, count))
		return -ENOSPC;
	pthread_mutex_lock(&bus->lock);
	primary->subs_wanted += count;
	bus->subs_due = true;
	pthread_mutex_unlock(&bus->lock);
	vmbus_wake(bus);
	return 0;
}

static void make_subs_of(struct vmbus_channel *primary)
{
	struct vmbus *bus = primary->bus;
	unsigned count;

	pthread_mutex_lock(&bus->lock);
	count = primary->subs_wanted;
	primary->subs_wanted = 0;
	pthread_mutex_unlock(&bus->lock);
	/* Asked for by a device that has been closed since: no more. */
	if (primary->state != VMBUS_CH_OPEN) {
		vmbus_release_relids(bus, count);
		return;
	}
	for (; count > 0; count--) {
		struct vhd_err err = {0};
		struct vmbus_channel *ch;

		ch = channel_new(bus, &primary->offer, &err);
		if (!ch) {
			vmbus_log(bus, "sub-channels of channel %u missing: %s",
				  primary->relid, err.text);
			vmbus_release_relids(bus, count - 1);
			return;
		}
		ch->primary = primary;
		ch->sub_index = ++primary->last_sub;
	}
}

void vmbus_make_subs(struct vmbus *bus)
{
	bool due;

	pthread_mutex_lock(&bus->lock);
	due = bus->subs_due;
	bus->subs_due = false;
	pthread_mutex_unlock(&bus->lock);
	if (!due)
		return;
	for (struct vmbus_channel *ch = bus->channels; ch; ch = ch->next)
		if (!ch->primary)
			make_subs_of(ch);
}

/* ----------------------------------------------------------- departure -- */

/* The channel is closed. Frees it at once if the guest never heard of it. */
static void withdraw(struct vmbus_channel *ch)
{
	if (!ch->offered || ch->state == VMBUS_CH_DECLINED) {
		channel_free(ch);
		return;
	}
	ch->state = VMBUS_CH_REVOKED;
	ch->rescind_due = true;
	ch->primary = NULL;
	ch->bus->notices_due = true;
	vmbus_cancel_subs(ch);
	/* What is still being built is answered when its last body comes. */
	vmbus_gpadl_free_all(ch, true);
	channel_close_eventfd(ch);
}

void vmbus_drop_subs(struct vmbus_channel *primary)
{
	struct vmbus_channel *next;

	for (struct vmbus_channel *ch = primary->bus->channels; ch; ch = next) {
		next = ch->next;
		if (ch->primary != primary)
			continue;
		vmbus_channel_shut(ch);
		withdraw(ch);
	}
	primary->last_sub = 0;
}

void vmbus_rescind(struct vmbus_channel *ch)
{
	struct vmbus *bus = ch->bus;

	vmbus_drop_subs(ch);
	vmbus_channel_shut(ch);
	withdraw(ch);
	vmbus_wake(bus);
}

void vmbus_on_released(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_relid m;
	struct vmbus_channel *ch;

	memcpy(&m, msg->data, sizeof(m));
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	if (!ch || ch->state == VMBUS_CH_OPEN) {
		vmbus_log(bus, "dropped RELID_RELEASED of channel %u: %s",
			  le32_get(m.relid), ch ? "open" : "not offered");
		return;
	}
	if (ch->state == VMBUS_CH_REVOKED) {
		channel_free(ch);
		return;
	}
	ch->state = VMBUS_CH_DECLINED;
	vmbus_gpadl_free_all(ch, false);
}

void vmbus_forget_guest(struct vmbus *bus)
{
	struct vmbus_channel *ch, *next;

	for (ch = bus->channels; ch; ch = ch->next)
		if (ch->primary)
			vmbus_channel_shut(ch);
	for (ch = bus->channels; ch; ch = ch->next)
		vmbus_channel_shut(ch);
	for (ch = bus->channels; ch; ch = next) {
		next = ch->next;
		if (ch->primary || ch->state == VMBUS_CH_REVOKED) {
			channel_free(ch);
			continue;
		}
		vmbus_gpadl_free_all(ch, false);
		ch->state = VMBUS_CH_CLOSED;
		ch->offered = false;
		ch->last_sub = 0;
	}
}

void vmbus_free_channels(struct vmbus *bus)
{
	while (bus->channels)
		channel_free(bus->channels);
}

/* ------------------------------------------------------------- notices -- */

static void say_offer(struct vmbus_channel *ch)
{
	struct vmbus_wire_offer m = {
		.hdr.type = le32_put(VMBUS_MSG_OFFERCHANNEL),
		.channel_flags = le16_put(ch->offer.channel_flags),
		.mmio_mb = le16_put(ch->offer.mmio_mb),
		.sub_index = le16_put(ch->sub_index),
		.relid = le32_put(ch->relid),
		.monitor_id = MONITOR_NONE,
		.dedicated_interrupt = le16_put(1),
		.connection_id = le32_put(VMBUS_CONN_CHANNEL(ch->relid)),
	};

	memcpy(m.type, ch->offer.type.b, sizeof(m.type));
	memcpy(m.instance, ch->offer.instance.b, sizeof(m.instance));
	memcpy(m.user, ch->offer.user, sizeof(m.user));
	vmbus_say(ch->bus, &m, sizeof(m));
	ch->offered = true;
}

static void say_rescind(struct vmbus_channel *ch)
{
	struct vmbus_wire_relid m = {
		.hdr.type = le32_put(VMBUS_MSG_RESCIND),
		.relid = le32_put(ch->relid),
	};

	vmbus_say(ch->bus, &m, sizeof(m));
	ch->rescind_due = false;
}

/* One walk: rescinds of sub-channels only, or all else. False: no room. */
static bool send_some(struct vmbus *bus, bool sub_rescinds)
{
	for (struct vmbus_channel *ch = bus->channels; ch; ch = ch->next) {
		bool sub_rescind = ch->rescind_due && ch->sub_index != 0;

		if ((ch->offered && !ch->rescind_due) ||
		    sub_rescind != sub_rescinds)
			continue;
		if (bus->out_count >= VMBUS_OUT_OFFERS)
			return false;
		if (ch->rescind_due)
			say_rescind(ch);
		else
			say_offer(ch);
	}
	return true;
}

bool vmbus_send_notices(struct vmbus *bus)
{
	if (!bus->notices_due || !bus->offers_requested)
		return false;
	if (!send_some(bus, true) || !send_some(bus, false))
		return true;
	if (bus->all_offers_due) {
		struct vmbus_wire_header m = {
			.type = le32_put(VMBUS_MSG_ALLOFFERS_DELIVERED),
		};

		if (bus->out_count >= VMBUS_OUT_OFFERS)
			return true;
		vmbus_say(bus, &m, sizeof(m));
		bus->all_offers_due = false;
	}
	bus->notices_due = false;
	return false;
}

void vmbus_on_request_offers(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	(void)msg;
	if (bus->offers_requested) {
		vmbus_log(bus, "dropped REQUESTOFFERS: a second one");
		return;
	}
	bus->offers_requested = true;
	bus->all_offers_due = true;
	bus->notices_due = true;
}
