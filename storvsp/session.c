/* SPDX-License-Identifier: BSD-2-Clause */
/* The session's table of operations: states in which each is legal, how many
 * bytes it needs, and the function that answers it.
 */
#include <string.h>

#include "session.h"

#define IN(state) (1u << STORVSP_SESSION_##state)

struct context {
	const struct storvsp_packet_wire *in;
	struct storvsp_packet_wire *reply;
	uint16_t *count;
};

struct operation {
	enum storvsp_op op;
	uint8_t states; /* of IN(state) */
	bool on_sub;
	uint8_t min_bytes;
	enum session_act (*handle)(struct session *s, const struct context *c);
};

static enum session_act fail(const struct context *c, uint32_t status)
{
	c->reply->status = le32_put(status);
	return STORVSP_SESSION_REPLY;
}

static enum session_act begin(struct session *s, const struct context *c)
{
	(void)c;
	s->state = STORVSP_SESSION_BEGUN;
	return STORVSP_SESSION_REPLY;
}

static bool version_known(uint16_t version)
{
	static const uint16_t known[] = {
		STORVSP_VERSION_WIN10, STORVSP_VERSION_WIN8_1,
		STORVSP_VERSION_WIN8,  STORVSP_VERSION_WIN7,
		STORVSP_VERSION_WIN6,
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == version)
			return true;
	return false;
}

/* The guest starts with its newest version and comes down until one is
 * accepted. The revision says nothing.
 */
static enum session_act query_version(struct session *s,
				      const struct context *c)
{
	uint16_t version = le16_get(c->in->u.version.version);

	if (!version_known(version))
		return fail(c, STORVSP_STATUS_REVISION_MISMATCH);
	s->version = version;
	s->state = STORVSP_SESSION_VERSIONED;
	c->reply->u.version = c->in->u.version;
	return STORVSP_SESSION_REPLY;
}

/* Several channels exist from 5.1 on. */
static uint16_t subchannels_allowed(const struct session *s)
{
	return storvsp_session_is_v1(s) ? 0 : s->max_subchannels;
}

static enum session_act query_properties(struct session *s,
					 const struct context *c)
{
	struct storvsp_properties_wire *p = &c->reply->u.properties;
	uint16_t subs = subchannels_allowed(s);

	p->max_subchannels = le16_put(subs);
	p->flags = le32_put(subs ? STORVSP_PROPERTY_MULTI_CHANNEL : 0);
	p->max_transfer_bytes = le32_put(s->max_transfer_bytes);
	s->state = STORVSP_SESSION_DESCRIBED;
	return STORVSP_SESSION_REPLY;
}

static enum session_act end(struct session *s, const struct context *c)
{
	(void)c;
	s->state = STORVSP_SESSION_READY;
	return STORVSP_SESSION_STARTED;
}

/* Once per session: a second set would only be numbered behind the first, and
 * a guest may not make offers pile up.
 */
static enum session_act create_subchannels(struct session *s,
					   const struct context *c)
{
	uint16_t count = le16_get(c->in->u.subchannels);

	if (s->sub_channels_made)
		return fail(c, STORVSP_STATUS_INVALID_STATE);
	if (count > subchannels_allowed(s))
		return fail(c, STORVSP_STATUS_INVALID_PARAMETER);
	if (count == 0)
		return STORVSP_SESSION_REPLY;
	s->sub_channels_made = true;
	*c->count = count;
	return STORVSP_SESSION_OFFER;
}

static enum session_act execute(struct session *s, const struct context *c)
{
	(void)s;
	(void)c;
	return STORVSP_SESSION_EXECUTE;
}

static enum session_act reset(struct session *s, const struct context *c)
{
	(void)s;
	(void)c;
	return STORVSP_SESSION_RESET;
}

#define HEADER STORVSP_HEADER_BYTES
/* Up to and with the address in a request body. */
#define RESET_BYTES (HEADER + 8u)

static const struct operation operations[] = {
	{STORVSP_OP_EXECUTE_SRB, IN(READY), true,
	 HEADER + STORVSP_REQUEST_BYTES_V1, execute},
	{STORVSP_OP_RESET_LUN, IN(READY), true, RESET_BYTES, reset},
	{STORVSP_OP_RESET_ADAPTER, IN(READY), true, HEADER, reset},
	{STORVSP_OP_RESET_BUS, IN(READY), true, RESET_BYTES, reset},
	{STORVSP_OP_BEGIN_INITIALIZATION, IN(CLOSED), false, HEADER, begin},
	{STORVSP_OP_QUERY_PROTOCOL_VERSION, IN(BEGUN), false, HEADER + 2u,
	 query_version},
	{STORVSP_OP_QUERY_PROPERTIES, IN(VERSIONED), false, HEADER,
	 query_properties},
	{STORVSP_OP_END_INITIALIZATION, IN(DESCRIBED), false, HEADER, end},
	{STORVSP_OP_CREATE_SUB_CHANNELS, IN(DESCRIBED) | IN(READY), false,
	 HEADER + 2u, create_subchannels},
};

static const struct operation *find(uint32_t op)
{
	for (unsigned i = 0; i < sizeof(operations) / sizeof(operations[0]);
	     i++)
		if (operations[i].op == op)
			return &operations[i];
	return NULL;
}

static size_t min_bytes(const struct session *s, const struct operation *o)
{
	if (o->op == STORVSP_OP_EXECUTE_SRB && !storvsp_session_is_v1(s))
		return STORVSP_PACKET_BYTES;
	return o->min_bytes;
}

/* Why the operation is not carried out, or SUCCESS. */
static uint32_t fault(const struct session *s, const struct operation *o,
		      size_t in_bytes)
{
	if (!(o->states & 1u << s->state) || (s->sub && !o->on_sub))
		return STORVSP_STATUS_INVALID_STATE;
	if (in_bytes < min_bytes(s, o))
		return STORVSP_STATUS_INVALID_PARAMETER;
	return STORVSP_STATUS_SUCCESS;
}

static enum session_act refuse(const struct context *c, uint32_t status)
{
	storvsp_session_refuse(c->in, c->reply, status);
	return STORVSP_SESSION_REPLY;
}

enum session_act storvsp_session_handle(struct session *s,
					const struct storvsp_packet_wire *in,
					size_t in_bytes,
					struct storvsp_packet_wire *reply,
					uint16_t *count)
{
	const struct context c = {in, reply, count};
	const struct operation *o = find(le32_get(in->op));
	uint32_t status;

	if (in_bytes < STORVSP_HEADER_BYTES)
		return refuse(&c, STORVSP_STATUS_INVALID_PARAMETER);
	if (!o) /* unknown, host to guest only, or not of a SCSI adapter */
		return refuse(&c, STORVSP_STATUS_INVALID_REQUEST);
	status = fault(s, o, in_bytes);
	if (status != STORVSP_STATUS_SUCCESS)
		return refuse(&c, status);
	storvsp_session_reply(reply, STORVSP_STATUS_SUCCESS);
	return o->handle(s, &c);
}

bool storvsp_session_is_v1(const struct session *s)
{
	return s->version < STORVSP_VERSION_WIN8;
}

void storvsp_session_reply(struct storvsp_packet_wire *reply, uint32_t status)
{
	memset(reply, 0, sizeof(*reply));
	reply->op = le32_put(STORVSP_OP_COMPLETE_IO);
	reply->status = le32_put(status);
}

void storvsp_session_refuse(const struct storvsp_packet_wire *in,
			    struct storvsp_packet_wire *reply, uint32_t status)
{
	storvsp_session_reply(reply, status);
	if (le32_get(in->op) == STORVSP_OP_EXECUTE_SRB)
		reply->u.request.srb_status = STORVSP_SRB_INVALID_REQUEST;
}

/* As many bytes as were asked with, which is what the guest has room for:
 * FreeBSD refuses longer answers, Linux shorter ones than its own packet, and
 * more than 64 would desynchronise Linux' ring. At least the header.
 */
size_t storvsp_session_reply_bytes(size_t in_bytes)
{
	size_t n = in_bytes;

	if (n > STORVSP_PACKET_BYTES)
		n = STORVSP_PACKET_BYTES;
	if (n < STORVSP_HEADER_BYTES)
		n = STORVSP_HEADER_BYTES;
	return (n + 7) & ~(size_t)7;
}

size_t storvsp_session_unasked_bytes(const struct session *s)
{
	return storvsp_session_is_v1(s) ? STORVSP_PACKET_BYTES_V1
					: STORVSP_PACKET_BYTES;
}
