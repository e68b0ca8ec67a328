/* SPDX-License-Identifier: BSD-2-Clause */
/* A channel: its number, its interrupts, how it is shut, and what its device
 * does with it while it is open.
 *
 * Shutting: the device stops first, then interrupts, then the connection id.
 * Sources: Linux drivers/hv/channel.c; OpenVMM vmbus_server/src/channels.rs.
 */
#include "bus.h"

#include <errno.h>

/* -------------------------------------------------------------- relids -- */

bool vmbus_reserve_relids(struct vmbus *bus, unsigned count)
{
	bool ok;

	pthread_mutex_lock(&bus->lock);
	ok = count <= VMBUS_CHANNELS_MAX - bus->relids_used;
	if (ok)
		bus->relids_used += count;
	pthread_mutex_unlock(&bus->lock);
	return ok;
}

void vmbus_release_relids(struct vmbus *bus, unsigned count)
{
	pthread_mutex_lock(&bus->lock);
	bus->relids_used -= count;
	pthread_mutex_unlock(&bus->lock);
}

struct vmbus_channel *vmbus_channel_find(struct vmbus *bus, uint32_t relid)
{
	struct vmbus_channel *ch;

	if (relid > VMBUS_CHANNELS_MAX)
		return NULL;
	ch = bus->by_relid[relid];
	return ch && ch->offered && ch->state != VMBUS_CH_DECLINED ? ch : NULL;
}

/* ------------------------------------------------------------- signals -- */

void vmbus_channel_signal(struct vmbus_channel *ch)
{
	const struct vmbus_opts *opts = &ch->bus->opts;

	pthread_mutex_lock(&ch->signal_lock);
	if (ch->signalling && ch->target_vp != VMBUS_VP_NONE)
		opts->ops->signal(opts->host, ch->target_vp, VMBUS_SINT,
				  (uint16_t)ch->relid);
	pthread_mutex_unlock(&ch->signal_lock);
}

void vmbus_channel_target(struct vmbus_channel *ch, uint32_t vp,
			  bool signalling)
{
	pthread_mutex_lock(&ch->signal_lock);
	ch->target_vp = vp;
	ch->signalling = signalling;
	pthread_mutex_unlock(&ch->signal_lock);
}

uint32_t vmbus_channel_vp(const struct vmbus_channel *ch)
{
	/* The lock is no part of what the caller sees as constant. */
	struct vmbus_channel *c = (struct vmbus_channel *)(uintptr_t)ch;
	uint32_t vp;

	pthread_mutex_lock(&c->signal_lock);
	vp = c->target_vp;
	pthread_mutex_unlock(&c->signal_lock);
	return vp;
}

int vmbus_unstick(struct vmbus *bus)
{
	uint64_t now, first = UINT64_MAX;

	if (bus->unstick_count == 0)
		return -1;
	now = vmbus_now_ms(bus);
	for (struct vmbus_channel *ch = bus->channels; ch; ch = ch->next) {
		if (ch->unstick_at_ms == 0)
			continue;
		if (ch->unstick_at_ms <= now) {
			ch->unstick_at_ms = 0;
			bus->unstick_count--;
			vmbus_channel_signal(ch);
		} else if (ch->unstick_at_ms < first) {
			first = ch->unstick_at_ms;
		}
	}
	return first == UINT64_MAX ? -1 : (int)(first - now);
}

/* ---------------------------------------------------------------- shut -- */

void vmbus_cancel_subs(struct vmbus_channel *ch)
{
	struct vmbus *bus = ch->bus;

	pthread_mutex_lock(&bus->lock);
	bus->relids_used -= ch->subs_wanted;
	ch->subs_wanted = 0;
	pthread_mutex_unlock(&bus->lock);
}

void vmbus_channel_shut(struct vmbus_channel *ch)
{
	struct vmbus *bus = ch->bus;

	if (ch->state != VMBUS_CH_OPEN)
		return;
	ch->offer.ops->close(ch->offer.dev, ch);
	vmbus_channel_target(ch, VMBUS_VP_NONE, false);
	bus->opts.ops->unbind(bus->opts.host, VMBUS_CONN_CHANNEL(ch->relid),
			      ch->eventfd);
	vmbus_cancel_subs(ch);
	if (ch->unstick_at_ms != 0)
		bus->unstick_count--;
	ch->unstick_at_ms = 0;
	ch->ring_gpadl = NULL;
	ch->state = VMBUS_CH_CLOSED;
	vmbus_log(bus, "channel %u (%s, index %u) closed", ch->relid,
		  ch->offer.ops->name, ch->sub_index);
}

/* ------------------------------------------------- what devices ask for -- */

uint16_t vmbus_channel_index(const struct vmbus_channel *ch)
{
	return ch->sub_index;
}

struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *ch)
{
	return ch->primary ? ch->primary : ch;
}

struct hv_mem *vmbus_channel_mem(const struct vmbus_channel *ch)
{
	return ch->bus->opts.mem;
}

void vmbus_channel_set_data(struct vmbus_channel *ch, void *data)
{
	ch->data = data;
}

void *vmbus_channel_data(const struct vmbus_channel *ch)
{
	return ch->data;
}

int vmbus_channel_eventfd(const struct vmbus_channel *ch)
{
	return ch->eventfd;
}

/* --------------------------------------------------------------- rings -- */

/* A broken ring is told once per open. Device thread. */
static void complain(struct vmbus_channel *ch, const struct vmbus_ring *r,
		     const char *way)
{
	if (ch->complained || !r->broken)
		return;
	ch->complained = true;
	vmbus_log(ch->bus, "channel %u (%s): %s ring unusable: %s (%u)",
		  ch->relid, ch->offer.ops->name, way, r->broken,
		  r->broken_value);
}

int vmbus_recv(struct vmbus_channel *ch, void *buf, size_t cap,
	       struct vmbus_packet *out)
{
	uint32_t len;
	int rc = vmbus_ring_take(&ch->in, buf, cap, &len);

	if (rc == 1)
		vmbus_packet_parse(buf, len, out);
	else if (rc == -EBADMSG)
		complain(ch, &ch->in, "incoming");
	return rc;
}

void vmbus_recv_done(struct vmbus_channel *ch)
{
	if (vmbus_ring_take_done(&ch->in))
		vmbus_channel_signal(ch);
}

void vmbus_recv_mask(struct vmbus_channel *ch)
{
	vmbus_ring_mask(&ch->in);
}

bool vmbus_recv_unmask(struct vmbus_channel *ch)
{
	return vmbus_ring_unmask(&ch->in);
}

int64_t vmbus_send_space(struct vmbus_channel *ch)
{
	int64_t space = vmbus_ring_space(&ch->out);

	if (space < 0)
		complain(ch, &ch->out, "outgoing");
	return space;
}

int vmbus_send(struct vmbus_channel *ch, uint16_t type, uint16_t flags,
	       uint64_t trans_id, const void *payload, size_t len)
{
	int rc = vmbus_ring_put(&ch->out, type, flags, trans_id, payload, len);

	if (rc == -EBADMSG)
		complain(ch, &ch->out, "outgoing");
	return rc;
}

void vmbus_send_done(struct vmbus_channel *ch)
{
	if (vmbus_ring_put_done(&ch->out))
		vmbus_channel_signal(ch);
}

bool vmbus_send_wait(struct vmbus_channel *ch, uint32_t bytes)
{
	return vmbus_ring_wait(&ch->out, bytes);
}
