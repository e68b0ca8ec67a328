/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets in, answers out: one step takes a batch from the guest, hands it to
 * the disk queue at once, collects what has ended and publishes all of it
 * with one signal at most.
 */
#include <errno.h>
#include <string.h>

#include "controller.h"
#include "drain.h"
#include "gate.h"
#include "leave.h"
#include "mail.h"
#include "request.h"
#include "reset.h"
#include "state.h"

/* The guest broke the ring: never touch it again. */
static void ring_broken(struct channel *ch, const char *what)
{
	if (ch->ring_dead)
		return;
	ch->ring_dead = true;
	storvsp_log_line(ch->log,
			 "channel %u: the guest broke its ring (%s); "
			 "ignored until it is closed",
			 vmbus_channel_index(ch->bus), what);
	storvsp_reset_cancel(ch, NULL);
}

/* ---------------------------------------------------------- answers ------ */

/* The first that was never in use: a guest that keeps few requests in flight
 * costs the memory of few.
 */
static struct request *slot_new(struct channel *ch)
{
	unsigned i = ch->slots_used++;
	struct request *r = &ch->slots[i];

	r->iov = &ch->iovs[(size_t)i * ch->iov_max];
	r->pattern = &ch->patterns[(size_t)i * STORVSP_PATTERN_BYTES];
	return r;
}

static struct request *slot_take(struct channel *ch)
{
	struct request *r = ch->free;

	if (r)
		ch->free = r->next;
	else
		r = slot_new(ch);
	r->next = NULL;
	r->state = REQUEST_TAKEN;
	level_up(&ch->busy);
	return r;
}

static void slot_release(struct channel *ch, struct request *r)
{
	r->state = REQUEST_FREE;
	r->next = ch->free;
	ch->free = r;
	level_down(&ch->busy);
}

/* Into the ring, or, where that is broken, nowhere. Space was reserved; should
 * the ring say otherwise, the answers wait for it.
 */
static bool send_answers(struct channel *ch)
{
	bool did = false;

	while (ch->answers) {
		struct request *r = ch->answers;
		int rc = 0;

		if (!ch->ring_dead)
			rc = vmbus_send(ch->bus, VMBUS_PACKET_COMPLETION, 0,
					r->trans_id, &r->answer,
					r->answer_bytes);
		if (rc == -EAGAIN)
			break;
		if (rc < 0)
			ring_broken(ch, "read index");
		stat_add(&ch->stats,
			 ch->ring_dead ? STAT_CANCELLED : STAT_COMPLETIONS, 1);
		ch->sent = ch->sent || !ch->ring_dead;
		ch->answers = r->next;
		if (!ch->answers)
			ch->answers_tail = &ch->answers;
		slot_release(ch, r);
		did = true;
	}
	return did;
}

static bool may_take(const struct channel *ch)
{
	return !ch->ring_dead && !ch->stopping && !ch->reset && !ch->frozen &&
	       (!ch->sub || ch->session.state == STORVSP_SESSION_READY);
}

/* Packets that may be taken now: slots and ring space decide. */
static unsigned room(struct channel *ch)
{
	unsigned busy = level_get(&ch->busy);
	unsigned slots = ch->slot_count - busy;
	int64_t space;
	uint64_t fit;

	if (!may_take(ch))
		return 0;
	space = vmbus_send_space(ch->bus);
	if (space < 0) {
		ring_broken(ch, "read index");
		return 0;
	}
	fit = (uint64_t)space / STORVSP_ANSWER_BYTES;
	if (fit <= busy)
		return 0;
	fit -= busy;
	return fit < slots ? (unsigned)fit : slots;
}

/* ---------------------------------------------------------- packets ------ */

static void refuse(struct channel *ch, const char *what)
{
	stat_add(&ch->stats, STAT_REFUSED, 1);
	storvsp_log_line(ch->log, "channel %u: dropped %s",
			 vmbus_channel_index(ch->bus), what);
}

static void offer(struct channel *ch, struct request *r, uint16_t count)
{
	int rc = vmbus_offer_sub(ch->bus, count);

	if (rc == 0)
		return;
	storvsp_log_line(ch->log, "%u sub-channels cannot be offered: %s",
			 count, storvsp_errno_text(rc));
	ch->session.sub_channels_made = false;
	storvsp_session_reply(&r->answer, STORVSP_STATUS_UNSUCCESSFUL);
}

/* Packets with an impossible shape (type 0) still get a SCSI answer when they
 * carry a SCSI request; request.c refuses it.
 */
static bool type_ok(const struct vmbus_packet *pkt,
		    const struct storvsp_packet_wire *in)
{
	return pkt->type == VMBUS_PACKET_INBAND ||
	       pkt->type == VMBUS_PACKET_GPA_DIRECT ||
	       (pkt->type == 0 && le32_get(in->op) == STORVSP_OP_EXECUTE_SRB);
}

static void handle(struct channel *ch, struct request *r,
		   const struct vmbus_packet *pkt)
{
	struct storvsp_packet_wire in;
	size_t n = sizeof(in);
	uint16_t count = 0;

	if (pkt->payload_len < n) {
		n = pkt->payload_len;
		memset(&in, 0, sizeof(in));
		memcpy(&in, pkt->payload, n);
	} else { /* all of today's: a few moves */
		memcpy(&in, pkt->payload, sizeof(in));
	}
	if (!type_ok(pkt, &in)) {
		storvsp_session_refuse(&in, &r->answer,
				       STORVSP_STATUS_INVALID_PARAMETER);
		channel_answer(ch, r);
		return;
	}
	switch (storvsp_session_handle(&ch->session, &in, n, &r->answer,
				       &count)) {
	case STORVSP_SESSION_EXECUTE:
		storvsp_request_start(ch, r, &in, pkt);
		return;
	case STORVSP_SESSION_RESET:
		storvsp_reset_start(ch, r, &in);
		return;
	case STORVSP_SESSION_STARTED:
		ch->rescan = false; /* the guest is about to scan */
		storvsp_controller_session(ch->vsp, true, ch->session.version);
		storvsp_log_line(ch->log, "guest speaks protocol %u.%u",
				 ch->session.version >> 8,
				 ch->session.version & 0xFF);
		break;
	case STORVSP_SESSION_OFFER:
		offer(ch, r, count);
		break;
	case STORVSP_SESSION_REPLY:
		break;
	}
	channel_answer(ch, r);
}

/* One packet, taken into a slot unless nobody waits for an answer. */
static void accept_packet(struct channel *ch, const struct vmbus_packet *pkt)
{
	struct request *r;

	if (pkt->type == VMBUS_PACKET_COMPLETION) {
		refuse(ch, "a completion: nothing was asked");
		return;
	}
	if (!(pkt->flags & VMBUS_PACKET_WANTS_COMPLETION)) {
		refuse(ch, "a packet that wants no completion");
		return;
	}
	r = slot_take(ch);
	r->trans_id = pkt->trans_id;
	r->answer_bytes = storvsp_session_reply_bytes(pkt->payload_len);
	handle(ch, r, pkt);
}

static bool take_packets(struct channel *ch)
{
	unsigned left = room(ch), batch = STORVSP_BATCH;
	bool did = false;

	/* a reset, or a broken ring, ends the batch */
	while (left > 0 && batch > 0 && !ch->ring_dead && !ch->reset) {
		struct vmbus_packet pkt;
		int rc = vmbus_recv(ch->bus, ch->packet,
				    STORVSP_RING_PACKET_MAX, &pkt);

		if (rc == 0)
			break;
		if (rc < 0 && rc != -EMSGSIZE) {
			ring_broken(ch, "write index");
			break;
		}
		stat_add(&ch->stats, STAT_PACKETS, 1);
		ch->received = true;
		did = true;
		left--;
		batch--;
		if (rc == -EMSGSIZE)
			refuse(ch, "an oversized packet");
		else
			accept_packet(ch, &pkt);
	}
	return did;
}

/* ------------------------------------------------------------- step ------ */

static bool reap(struct channel *ch)
{
	struct vhd_req *done[STORVSP_SLICE];
	unsigned n = vhd_queue_reap(ch->queue, done, STORVSP_SLICE);

	ch->now_ns = 0;
	for (unsigned i = 0; i < n; i++)
		storvsp_request_end(ch, done[i]->user);
	return n > 0;
}

/* Tell the guest to scan for disks. Needs room beside all answers due. */
static bool send_rescan(struct channel *ch)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_ENUMERATE_BUS),
	};
	int rc;

	if (!ch->rescan || ch->session.state != STORVSP_SESSION_READY ||
	    ch->session.version < STORVSP_VERSION_WIN7 || room(ch) == 0)
		return false;
	rc = vmbus_send(ch->bus, VMBUS_PACKET_INBAND, 0, 0, &p,
			storvsp_session_unasked_bytes(&ch->session));
	if (rc == -EBADMSG)
		ring_broken(ch, "read index");
	if (rc)
		return false;
	ch->rescan = false;
	ch->sent = true;
	return true;
}

static void publish(struct channel *ch)
{
	if (!ch->ring_dead && ch->received)
		vmbus_recv_done(ch->bus);
	if (!ch->ring_dead && ch->sent)
		vmbus_send_done(ch->bus);
	ch->received = false;
	ch->sent = false;
}

static bool read_mail(struct channel *ch)
{
	struct storvsp_luns all;
	struct mail m;

	if (!storvsp_mail_take(ch, &m, &all))
		return false;
	if (m.luns)
		storvsp_leave_begin(ch, &m, &all);
	if (m.session) {
		ch->session.state = m.ready ? STORVSP_SESSION_READY
					    : STORVSP_SESSION_CLOSED;
		ch->session.version = m.version;
	}
	if (m.reset)
		storvsp_reset_join(ch, &m.scope, m.ticket);
	if (m.stop)
		ch->stopping = true;
	return true;
}

/* What has ended goes to the guest slice by slice, so that it is at work again
 * while the rest is prepared: a disk that tells of many ends at once is idle
 * until the first new request reaches it.
 */
static bool hand_out(struct channel *ch)
{
	bool did = false;

	for (unsigned n = 0; n < STORVSP_BATCH; n += STORVSP_SLICE) {
		did |= reap(ch);
		if (!send_answers(ch))
			break;
		publish(ch);
		did = true;
	}
	return did;
}

bool storvsp_channel_step(struct channel *ch)
{
	bool did = read_mail(ch);

	if (!ch->masked && !ch->ring_dead) {
		vmbus_recv_mask(ch->bus);
		ch->masked = true;
	}
	did |= hand_out(ch);
	did |= storvsp_gate_run(ch);
	did |= take_packets(ch);
	vhd_queue_kick(ch->queue);
	did |= reap(ch);
	if (ch->now_ns)
		storvsp_gate_watch(ch);
	did |= storvsp_leave_check(ch);
	did |= storvsp_reset_check(ch);
	did |= send_answers(ch);
	did |= send_rescan(ch);
	publish(ch);
	return did;
}

/* Ask for a signal once `bytes` are free; true when they are. */
static bool wait_for_space(struct channel *ch, uint32_t bytes)
{
	ch->waits_for_space = true;
	return vmbus_send_wait(ch->bus, bytes);
}

/* Where no packet may be taken the guest's signals stay masked: what will
 * change that is a completion, mail, or space in the outgoing ring.
 */
bool storvsp_channel_idle(struct channel *ch)
{
	ch->now_ns = 0;
	storvsp_gate_watch(ch);
	if (ch->ring_dead || ch->stopping)
		return false;
	if (ch->answers)
		return wait_for_space(ch, STORVSP_ANSWER_BYTES);
	if (!may_take(ch) || level_get(&ch->busy) == ch->slot_count)
		return false;
	if (room(ch) == 0) {
		/* All that an empty ring has may be reserved: then it is
		 * not space that is waited for but a completion.
		 */
		return wait_for_space(ch,
				      (level_get(&ch->busy) + 1) *
					      STORVSP_ANSWER_BYTES) &&
		       room(ch) > 0;
	}
	if (ch->waits_for_space) {
		ch->waits_for_space = false;
		vmbus_send_wait(ch->bus, 0);
	}
	if (!ch->masked)
		return false;
	ch->masked = false;
	return vmbus_recv_unmask(ch->bus);
}
