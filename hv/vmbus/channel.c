/* SPDX-License-Identifier: BSD-2-Clause */
/* A channel's life between OPENCHANNEL and CLOSECHANNEL, and what its device
 * does with it meanwhile.
 *
 * Opening: rings are adopted, the connection id is bound to the eventfd, the
 * device is told, and only then does the guest hear the result; 100 ms later
 * it is signalled once, because an interrupt raised before it digested the
 * result may have been ignored.
 * Closing: the device stops first, then interrupts, then the connection id.
 * Sources: Linux drivers/hv/channel.c; OpenVMM vmbus_server/src/channels.rs.
 */
#include "bus.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#define RING_PAGES_MIN 2u /* control page and one of data, each way */

static bool target_ok(const struct vmbus *bus, uint32_t vp)
{
	return vp == VMBUS_VP_NONE ||
	       vp < bus->opts.ops->vp_count(bus->opts.host);
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

static void set_target(struct vmbus_channel *ch, uint32_t vp, bool signalling)
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

/* ---------------------------------------------------------------- open -- */

/* Why this GPADL cannot be two rings split at `split` pages, or NULL. */
static const char *ring_fault(const struct vmbus_gpadl *g, uint32_t split)
{
	uint32_t pages;

	if (!g)
		return "its GPADL does not exist on this channel";
	if (g->ranges != 1)
		return "its rings are not one range";
	/* One word of lengths, then the pages. */
	pages = g->words_want - 1;
	if ((g->words[0] >> 32) != 0 ||
	    (uint32_t)g->words[0] % HV_PAGE_BYTES != 0)
		return "its rings are not whole pages";
	if (split < RING_PAGES_MIN || split > pages ||
	    pages - split < RING_PAGES_MIN)
		return "its rings are split where one gets below two pages";
	return NULL;
}

/* Adopt both rings. The GPADL's PFNs, known to be RAM, are their page tables.
 */
static int rings_open(struct vmbus_channel *ch, const struct vmbus_gpadl *g,
		      uint32_t split)
{
	const struct hv_mem *mem = ch->bus->opts.mem;
	const uint64_t *pfns = g->words + 1;
	uint32_t pages = g->words_want - 1;
	int rc;

	rc = vmbus_ring_open_in(&ch->in, mem, pfns[0] * HV_PAGE_BYTES, pfns + 1,
				(split - 1) * HV_PAGE_BYTES);
	if (rc)
		return rc;
	return vmbus_ring_open_out(&ch->out, mem, pfns[split] * HV_PAGE_BYTES,
				   pfns + split + 1,
				   (pages - split - 1) * HV_PAGE_BYTES);
}

/* Rings are good: bind, tell the device. Nothing remains on failure. */
static const char *start(struct vmbus_channel *ch, struct vmbus_gpadl *g,
			 uint32_t vp, const uint8_t *user)
{
	const struct vmbus_opts *opts = &ch->bus->opts;
	uint32_t id = VMBUS_CONN_CHANNEL(ch->relid);

	if (opts->ops->bind(opts->host, id, ch->eventfd))
		return "its connection id cannot be bound";
	ch->ring_gpadl = g;
	ch->complained = false;
	ch->state = VMBUS_CH_OPEN;
	set_target(ch, vp, true);
	if (ch->offer.ops->open(ch->offer.dev, ch, user) == 0)
		return NULL;
	set_target(ch, VMBUS_VP_NONE, false);
	ch->state = VMBUS_CH_CLOSED;
	ch->ring_gpadl = NULL;
	vmbus_cancel_subs(ch);
	opts->ops->unbind(opts->host, id, ch->eventfd);
	return "its device refuses";
}

static const char *try_open(struct vmbus *bus, struct vmbus_channel *ch,
			    const struct vmbus_wire_open *m)
{
	uint32_t split = le32_get(m->downstream_page);
	struct vmbus_gpadl *g;
	const char *fault;

	if (!ch)
		return "it is not offered";
	if (ch->state != VMBUS_CH_CLOSED)
		return "it is open already";
	if (!target_ok(bus, le32_get(m->target_vp)))
		return "its target VP does not exist";
	g = vmbus_gpadl_find(ch, le32_get(m->gpadl));
	fault = ring_fault(g, split);
	if (fault)
		return fault;
	if (rings_open(ch, g, split))
		return "its ring indices are impossible";
	return start(ch, g, le32_get(m->target_vp), m->user);
}

static void say_open_result(struct vmbus *bus, const struct vmbus_wire_open *m,
			    uint32_t status)
{
	struct vmbus_wire_open_result answer = {
		.hdr.type = le32_put(VMBUS_MSG_OPENCHANNEL_RESULT),
		.relid = m->relid,
		.open_id = m->open_id,
		.status = le32_put(status),
	};

	vmbus_say(bus, &answer, sizeof(answer));
}

void vmbus_on_open(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_open m;
	struct vmbus_channel *ch;
	const char *fault;

	memcpy(&m, msg->data, sizeof(m));
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	if (ch && ch->state == VMBUS_CH_REVOKED)
		return; /* the rescind on its way is the answer (Linux) */
	fault = try_open(bus, ch, &m);
	if (fault) {
		vmbus_log(bus, "refused OPENCHANNEL of channel %u: %s",
			  le32_get(m.relid), fault);
		say_open_result(bus, &m, VMBUS_STATUS_FAILED);
		return;
	}
	say_open_result(bus, &m, VMBUS_STATUS_OK);
	ch->unstick_at_ms = vmbus_now_ms(bus) + VMBUS_UNSTICK_MS;
	bus->unstick_count++;
	/* Wake the device for what came before it unmasked. */
	(void)eventfd_write(ch->eventfd, 1);
	vmbus_log(bus,
		  "channel %u (%s, index %u) open: rings %u + %u bytes, "
		  "interrupts to VP %d",
		  ch->relid, ch->offer.ops->name, ch->sub_index, ch->in.size,
		  ch->out.size, (int)le32_get(m.target_vp));
}

void vmbus_refuse_open(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_open m;

	memcpy(&m, msg->data, sizeof(m));
	say_open_result(bus, &m, VMBUS_STATUS_FAILED);
}

/* --------------------------------------------------------------- close -- */

void vmbus_channel_shut(struct vmbus_channel *ch)
{
	struct vmbus *bus = ch->bus;

	if (ch->state != VMBUS_CH_OPEN)
		return;
	ch->offer.ops->close(ch->offer.dev, ch);
	set_target(ch, VMBUS_VP_NONE, false);
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

void vmbus_on_close(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_relid m;
	struct vmbus_channel *ch;

	memcpy(&m, msg->data, sizeof(m));
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	if (ch && ch->state == VMBUS_CH_REVOKED)
		return; /* Linux closes what was rescinded while open */
	if (!ch || ch->state != VMBUS_CH_OPEN) {
		vmbus_log(bus, "dropped CLOSECHANNEL of channel %u: not open",
			  le32_get(m.relid));
		return;
	}
	vmbus_drop_subs(ch);
	vmbus_channel_shut(ch);
}

/* -------------------------------------------------------------- modify -- */

static void say_modify_response(struct vmbus *bus, le32 relid, uint32_t status)
{
	struct vmbus_wire_modify_response answer = {
		.hdr.type = le32_put(VMBUS_MSG_MODIFYCHANNEL_RESPONSE),
		.relid = relid,
		.status = le32_put(status),
	};

	/* Unknown to guests below 5.3, vital from there on. */
	if (bus->version >= VMBUS_VERSION_5_3)
		vmbus_say(bus, &answer, sizeof(answer));
}

void vmbus_on_modify(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_modify m;
	struct vmbus_channel *ch;
	uint32_t vp;

	memcpy(&m, msg->data, sizeof(m));
	vp = le32_get(m.target_vp);
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	if (!ch || ch->state != VMBUS_CH_OPEN || !target_ok(bus, vp)) {
		vmbus_log(bus, "refused MODIFYCHANNEL of channel %u to VP %d",
			  le32_get(m.relid), (int)vp);
		say_modify_response(bus, m.relid, VMBUS_STATUS_FAILED);
		return;
	}
	set_target(ch, vp, true);
	/* Makes up for one that may have gone to the old VP unseen. */
	vmbus_channel_signal(ch);
	say_modify_response(bus, m.relid, VMBUS_STATUS_OK);
}

void vmbus_refuse_modify(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_modify m;

	memcpy(&m, msg->data, sizeof(m));
	say_modify_response(bus, m.relid, VMBUS_STATUS_FAILED);
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
