/* SPDX-License-Identifier: BSD-2-Clause */
/* The framing that all services have, and one channel's conversation: versions
 * are agreed on, then one message after the other is sent and answered.
 *
 * A guest's packet counts only as the answer to the message that waits: right
 * kind, right number in packet and header. What comes unasked, twice, late or
 * misshapen is dropped, and told now and then.
 * Sources: Linux drivers/hv/hv_util.c, channel_mgmt.c
 * (vmbus_prep_negotiate_resp); OpenVMM hyperv_ic_protocol.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ic_int.h"

#define COMPLAINT_MS  10000u
#define CHANNEL_PIPE  0x10u
#define PIPE_MESSAGES 4u

static const uint32_t frameworks[] = {IC_VERSION(3, 0), IC_VERSION(1, 0)};

#define FRAMEWORKS (sizeof(frameworks) / sizeof(frameworks[0]))

void ic_say(struct hv_ic *ic, const char *fmt, ...)
{
	struct ic_limiter *l = &ic->limiter;
	uint64_t now = ic_now(ic);
	char line[200];
	va_list ap;
	int n;

	if (now < l->next_ms || !ic->opts.log) {
		l->left_out++;
		return;
	}
	l->next_ms = now + COMPLAINT_MS;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (l->left_out && n > 0 && (size_t)n < sizeof(line))
		snprintf(line + n, sizeof(line) - (size_t)n,
			 " (%u lines before this one left out)", l->left_out);
	l->left_out = 0;
	ic->opts.log(ic->opts.arg, line);
}

/* ------------------------------------------------------------- requests -- */

int ic_refuse(struct hv_ic_request *r, int code, const char *text)
{
	if (r->result)
		return r->result;
	r->result = vhd_fail(&r->err, code, VHD_WHY_SERVER, 0, "%s", text);
	return code;
}

enum ic_turn ic_answer_status(struct ic_channel *c, struct hv_ic_request *r,
			      uint32_t status, const uint8_t *body, size_t len)
{
	(void)c;
	(void)body;
	(void)len;
	if (status != IC_STATUS_OK)
		(void)ic_refuse(r, -EREMOTEIO, "the guest refuses");
	return IC_TURN_DONE;
}

static void finish(struct hv_ic_request *r)
{
	r->done(r);
}

static struct hv_ic_request *pop(struct ic_channel *c)
{
	struct hv_ic_request *r = c->first;

	if (r) {
		c->first = r->next;
		c->count--;
	}
	return r;
}

void ic_fail_all(struct ic_channel *c, int code, const char *text)
{
	struct hv_ic_request *r = c->current;

	c->current = NULL;
	c->waiting = false;
	if (r) {
		(void)ic_refuse(r, code, text);
		finish(r);
	}
	while ((r = pop(c))) {
		(void)ic_refuse(r, code, text);
		finish(r);
	}
}

static const char *why_not(const struct ic_channel *c)
{
	switch (c->state) {
	case HV_IC_CLOSED:
		return "the guest has no driver for this (hv_utils), or it is "
		       "not loaded yet";
	case HV_IC_NEGOTIATING:
		return "the guest's driver is not ready: is its daemon "
		       "(hv_kvp_daemon, hv_vss_daemon) running?";
	case HV_IC_UNSUITABLE:
		return "the guest's driver speaks none of our versions, or "
		       "nonsense";
	case HV_IC_READY:
		break;
	}
	return NULL;
}

void ic_submit(struct ic_channel *c, struct hv_ic_request *r)
{
	const char *why = why_not(c);
	struct hv_ic_request **at = &c->first;

	r->next = NULL;
	r->result = 0;
	if (why) {
		(void)ic_refuse(r, -ENOTCONN, why);
		finish(r);
		return;
	}
	if (c->count == IC_REQUESTS_MAX) {
		(void)ic_refuse(r, -EAGAIN, "too many requests wait for the "
					    "guest already");
		finish(r);
		return;
	}
	while (*at)
		at = &(*at)->next;
	*at = r;
	c->count++;
	ic_go(c);
}

/* -------------------------------------------------------------- sending -- */

static int send_message(struct ic_channel *c, enum ic_type type,
			const uint8_t *body, size_t len)
{
	struct hv_ic *ic = c->ic;
	struct ic_wire_header h = {
		.pipe_type = le32_put(IC_PIPE_DATA),
		.pipe_bytes = le32_put((uint32_t)(sizeof(h) - IC_PIPE_BYTES +
						  len)),
		.framework_major = le16_put(3),
		.type = le16_put((uint16_t)type),
		.version_major = le16_put((uint16_t)(c->version >> 16)),
		.version_minor = le16_put((uint16_t)c->version),
		.body_bytes = le16_put((uint16_t)len),
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST,
	};
	int rc;

	h.transaction = (uint8_t)++c->message;
	memcpy(ic->message, &h, sizeof(h));
	memcpy(ic->message + sizeof(h), body, len);
	rc = vmbus_send(c->ch, VMBUS_PACKET_INBAND,
			VMBUS_PACKET_WANTS_COMPLETION, c->message, ic->message,
			sizeof(h) + len);
	if (rc == 0)
		vmbus_send_done(c->ch);
	return rc;
}

static size_t put_versions(uint8_t *to, const uint32_t *versions, unsigned max,
			   uint16_t *count)
{
	for (*count = 0; *count < max && versions[*count]; ++*count) {
		struct ic_wire_version v = {
			le16_put((uint16_t)(versions[*count] >> 16)),
			le16_put((uint16_t)versions[*count])};

		memcpy(to + *count * sizeof(v), &v, sizeof(v));
	}
	return *count * sizeof(struct ic_wire_version);
}

static void greet(struct ic_channel *c)
{
	struct ic_wire_negotiate n = {.reserved = le32_put(0)};
	uint8_t *body = c->ic->body;
	size_t len = sizeof(n);
	uint16_t count;

	len += put_versions(body + len, frameworks, FRAMEWORKS, &count);
	n.frameworks = le16_put(count);
	len += put_versions(body + len, c->service->versions, IC_VERSIONS_MAX,
			    &count);
	n.messages = le16_put(count);
	memcpy(body, &n, sizeof(n));
	c->greeting = true;
	/* A guest whose ring is full before the first word gets none. */
	c->waiting = send_message(c, IC_TYPE_NEGOTIATE, body, len) == 0;
	if (!c->waiting)
		c->state = HV_IC_UNSUITABLE;
}

static void send_request(struct ic_channel *c, struct hv_ic_request *r)
{
	const struct ic_service *s = c->service;
	unsigned patience;
	int len, rc;

	memset(c->ic->body, 0, sizeof(c->ic->body));
	len = s->build(c, r, c->ic->body);
	if (len < 0) {
		finish(r);
		return;
	}
	rc = send_message(c, s->type, c->ic->body, (size_t)len);
	if (rc) {
		(void)ic_refuse(r, rc == -EAGAIN ? rc : -ECONNRESET,
				"the guest does not take our messages");
		if (s->late)
			s->late(c, r);
		finish(r);
		return;
	}
	patience = s->patience_ms ? s->patience_ms(r) : IC_PATIENCE_MS;
	c->current = r;
	c->waiting = true;
	c->due_ms = patience ? ic_now(c->ic) + patience : 0;
}

void ic_go(struct ic_channel *c)
{
	const struct ic_service *s = c->service;

	if (c->going)
		return; /* a request that ended submits another one */
	c->going = true;
	while (c->state == HV_IC_READY && !c->waiting && c->first &&
	       (!s->can_build || s->can_build(c)))
		send_request(c, pop(c));
	c->going = false;
}

uint64_t ic_overdue(struct ic_channel *c, uint64_t now_ms)
{
	struct hv_ic_request *r = c->current;

	if (!c->waiting || !c->due_ms || !r)
		return 0;
	if (now_ms < c->due_ms)
		return c->due_ms;
	/* Its answer, should it come yet, has a number that nobody waits for. */
	c->waiting = false;
	c->current = NULL;
	if (c->service->late)
		c->service->late(c, r);
	(void)ic_refuse(r, -ETIMEDOUT,
			"the guest does not answer: is its daemon running?");
	finish(r);
	ic_go(c);
	return 0;
}

/* -------------------------------------------------------------- answers -- */

static bool among(const uint32_t *versions, size_t max,
		  const struct ic_wire_version *v, uint32_t *out)
{
	*out = IC_VERSION(le16_get(v->major), le16_get(v->minor));
	for (size_t i = 0; i < max && versions[i]; i++)
		if (versions[i] == *out)
			return true;
	return false;
}

static bool versions_take(struct ic_channel *c, const uint8_t *body, size_t len)
{
	struct {
		struct ic_wire_negotiate head;
		struct ic_wire_version framework, message;
	} n;
	uint32_t framework;

	if (len < sizeof(n))
		return false;
	memcpy(&n, body, sizeof(n));
	return le16_get(n.head.frameworks) == 1 &&
	       le16_get(n.head.messages) == 1 &&
	       among(frameworks, FRAMEWORKS, &n.framework, &framework) &&
	       among(c->service->versions, IC_VERSIONS_MAX, &n.message,
		     &c->version);
}

static void greeted(struct ic_channel *c, uint32_t status, const uint8_t *body,
		    size_t len)
{
	c->waiting = c->greeting = false;
	if (status == IC_STATUS_OK && versions_take(c, body, len)) {
		c->state = HV_IC_READY;
		if (c->service->ready)
			c->service->ready(c);
		ic_go(c);
		return;
	}
	c->version = 0;
	c->state = HV_IC_UNSUITABLE;
	ic_say(c->ic, "ic: %s: the guest takes none of our versions",
	       c->service->name);
}

static void answered(struct ic_channel *c, uint32_t status, const uint8_t *body,
		     size_t len)
{
	struct hv_ic_request *r = c->current;

	c->waiting = false;
	c->current = NULL;
	if (c->service->answer(c, r, status, body, len) == IC_TURN_MORE)
		send_request(c, r);
	else
		finish(r);
	ic_go(c);
}

/* What is wrong with the packet, or NULL. */
static const char *fault(const struct ic_channel *c,
			 const struct vmbus_packet *p, struct ic_wire_header *h)
{
	enum ic_type want = c->greeting ? IC_TYPE_NEGOTIATE : c->service->type;

	/* Linux answers by a packet of its own, a completion is as good. */
	if (p->type != VMBUS_PACKET_INBAND &&
	    p->type != VMBUS_PACKET_COMPLETION)
		return "of a wrong kind";
	if (p->payload_len < sizeof(*h))
		return "cut short";
	memcpy(h, p->payload, sizeof(*h));
	if (le32_get(h->pipe_type) != IC_PIPE_DATA ||
	    le32_get(h->pipe_bytes) > p->payload_len - IC_PIPE_BYTES)
		return "misshapen";
	if (!(h->flags & IC_FLAG_RESPONSE) || (h->flags & IC_FLAG_REQUEST))
		return "that is no answer";
	if (!c->waiting || p->trans_id != c->message ||
	    h->transaction != (uint8_t)c->message)
		return "nobody waits for";
	return le16_get(h->type) == want ? NULL : "of another service";
}

static void take(struct ic_channel *c, const struct vmbus_packet *p)
{
	struct ic_wire_header h;
	const char *why = fault(c, p, &h);
	const uint8_t *body = p->payload + sizeof(h);
	size_t len, have;

	if (why) {
		ic_say(c->ic, "ic: %s: dropped a packet %s", c->service->name,
		       why);
		return;
	}
	have = p->payload_len - sizeof(h);
	len = le16_get(h.body_bytes) < have ? le16_get(h.body_bytes) : have;
	if (c->greeting)
		greeted(c, le32_get(h.status), body, len);
	else
		answered(c, le32_get(h.status), body, len);
}

static void broken(struct ic_channel *c)
{
	c->state = HV_IC_UNSUITABLE;
	ic_fail_all(c, -ECONNRESET, "the guest's ring is broken");
}

/* As many packets as one wake-up serves; true when there may be more. */
static bool drain(struct ic_channel *c)
{
	struct hv_ic *ic = c->ic;
	bool more = true;

	vmbus_recv_mask(c->ch);
	for (unsigned n = 0; n < IC_PACKETS_MAX && more; n++) {
		struct vmbus_packet p;
		int rc = vmbus_recv(c->ch, ic->packet, sizeof(ic->packet), &p);

		if (rc == -EBADMSG) {
			broken(c);
			return false;
		}
		if (rc == 1) {
			take(c, &p);
		} else if (rc == -EMSGSIZE) {
			ic_say(ic, "ic: %s: dropped a packet too large",
			       c->service->name);
		} else {
			vmbus_recv_done(c->ch);
			more = vmbus_recv_unmask(c->ch);
		}
	}
	vmbus_recv_done(c->ch);
	return more;
}

void ic_serve(struct ic_channel *c)
{
	int fd = vmbus_channel_eventfd(c->ch);
	eventfd_t count;

	(void)eventfd_read(fd, &count); /* empty: served all the same */
	if (c->state == HV_IC_CLOSED || c->state == HV_IC_UNSUITABLE)
		return;
	if (!c->version && !c->waiting)
		greet(c);
	if (drain(c))
		(void)eventfd_write(fd, 1); /* others first */
}

/* --------------------------------------------------------------- channel - */

static int on_open(void *dev, struct vmbus_channel *ch, const uint8_t *user)
{
	struct ic_channel *c = dev;

	(void)user;
	(void)ch;
	c->state = HV_IC_NEGOTIATING;
	c->version = 0;
	c->waiting = c->greeting = false;
	return 0;
}

static void on_close(void *dev, struct vmbus_channel *ch)
{
	struct ic_channel *c = dev;

	(void)ch;
	c->state = HV_IC_CLOSED;
	ic_fail_all(c, -ECONNRESET, "the guest closed the service");
	if (c->service->closed)
		c->service->closed(c);
}

int ic_offer(struct ic_channel *c, struct vmbus *bus, struct vhd_err *err)
{
	static const struct vmbus_device_ops ops[HV_IC_SERVICES] = {
		{"shutdown", on_open, on_close},
		{"timesync", on_open, on_close},
		{"heartbeat", on_open, on_close},
		{"kvp", on_open, on_close},
		{"vss", on_open, on_close},
	};
	struct vmbus_offer o = {
		.ops = &ops[c - c->ic->at],
		.dev = c,
		/* a pipe of messages, as Hyper-V offers these */
		.channel_flags = CHANNEL_PIPE,
		.user = {PIPE_MESSAGES},
	};

	if (vmbus_guid_parse(c->service->type_id, &o.type) ||
	    vmbus_guid_parse(c->service->instance_id, &o.instance))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a service's id is malformed");
	return vmbus_offer_add(bus, &o, &c->ch, err);
}
