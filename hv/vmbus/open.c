/* SPDX-License-Identifier: BSD-2-Clause */
/* OPENCHANNEL, CLOSECHANNEL and MODIFYCHANNEL.
 *
 * Opening: rings are adopted, the connection id is bound to the eventfd, the
 * device is told, and only then does the guest hear the result; 100 ms later
 * it is signalled once, because an interrupt raised before it digested the
 * result may have been ignored.
 * Sources: Linux drivers/hv/channel.c; OpenVMM vmbus_server/src/channels.rs.
 */
#include "bus.h"

#include <string.h>
#include <sys/eventfd.h>

#define RING_PAGES_MIN 2u /* control page and one of data, each way */

static bool target_ok(const struct vmbus *bus, uint32_t vp)
{
	return vp == VMBUS_VP_NONE ||
	       vp < bus->opts.ops->vp_count(bus->opts.host);
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
	vmbus_channel_target(ch, vp, true);
	if (ch->offer.ops->open(ch->offer.dev, ch, user) == 0)
		return NULL;
	vmbus_channel_target(ch, VMBUS_VP_NONE, false);
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

/* ------------------------------------------------------ close, modify --- */

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
	vmbus_channel_target(ch, vp, true);
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
