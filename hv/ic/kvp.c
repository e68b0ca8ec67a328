/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and values. The guest's daemon keeps them in pools: what the host set
 * (external), what the guest wants known (guest), what it says of itself
 * (auto: only to be enumerated, its index is the place in a fixed list).
 * Source: Linux drivers/hv/hv_kvp.c, tools/hv/hv_kvp_daemon.c.
 */
#include <errno.h>
#include <string.h>

#include "ic_int.h"

static int put_key(struct hv_ic_request *r, uint8_t *to)
{
	int n = r->key[0] ? ic_text_put(r->key, to, IC_KEY_BYTES) : -EINVAL;

	if (n < 0)
		return ic_refuse(r, -EINVAL, "a key is 1 to 255 characters of "
					     "UTF-8");
	return n;
}

static int put_value(struct hv_ic_request *r, uint8_t *to)
{
	int n = ic_text_put(r->value, to, IC_VALUE_BYTES);

	if (n < 0)
		return ic_refuse(r, -EINVAL, "a value is at most 1023 "
					     "characters of UTF-8");
	return n;
}

static int build_delete(struct hv_ic_request *r, struct ic_wire_kvp_head head,
			uint8_t *body)
{
	struct ic_wire_kvp_delete m = {.head = head};
	int n;

	m.head.op = IC_KVP_DELETE;
	n = put_key(r, m.key);
	if (n < 0)
		return n;
	m.key_bytes = le32_put((uint32_t)n);
	memcpy(body, &m, sizeof(m));
	/* As long as the largest: the guest looks at it before the operation. */
	return (int)sizeof(struct ic_wire_kvp_enumerate);
}

static int build_enumerate(struct hv_ic_request *r,
			   struct ic_wire_kvp_head head, uint8_t *body)
{
	struct ic_wire_kvp_enumerate m = {.head = head};

	m.head.op = IC_KVP_ENUMERATE;
	m.index = le32_put(r->index);
	m.data.type = le32_put(IC_KVP_STRING);
	memcpy(body, &m, sizeof(m));
	return (int)sizeof(m);
}

static int build_value(struct hv_ic_request *r, struct ic_wire_kvp_head head,
		       uint8_t *body)
{
	struct ic_wire_kvp m = {.head = head};
	int n = put_key(r, m.data.key);

	if (n < 0)
		return n;
	m.data.key_bytes = le32_put((uint32_t)n);
	m.data.type = le32_put(IC_KVP_STRING);
	m.head.op = IC_KVP_GET;
	if (r->op == HV_IC_OP_KVP_SET) {
		m.head.op = IC_KVP_SET;
		n = put_value(r, m.data.value);
		if (n < 0)
			return n;
		m.data.value_bytes = le32_put((uint32_t)n);
	}
	memcpy(body, &m, sizeof(m));
	return (int)sizeof(struct ic_wire_kvp_enumerate);
}

static int build(struct ic_channel *c, struct hv_ic_request *r, uint8_t *body)
{
	struct ic_wire_kvp_head head = {.pool = (uint8_t)r->pool};

	(void)c;
	if (r->op == HV_IC_OP_KVP_DELETE)
		return build_delete(r, head, body);
	if (r->op == HV_IC_OP_KVP_ENUMERATE)
		return build_enumerate(r, head, body);
	return build_value(r, head, body);
}

/* --------------------------------------------------------------- answers - */

static int take_number(const struct ic_wire_kvp_value *v, size_t bytes,
		       char *to, size_t to_bytes)
{
	uint64_t n = 0;

	for (size_t i = bytes; i-- > 0;)
		n = n << 8 | v->value[i];
	snprintf(to, to_bytes, "%llu", (unsigned long long)n);
	return 0;
}

static int take_value(const struct ic_wire_kvp_value *v, char *to,
		      size_t to_bytes)
{
	switch (le32_get(v->type)) {
	case IC_KVP_STRING:
		return ic_text_get(v->value, le32_get(v->value_bytes),
				   IC_VALUE_BYTES, to, to_bytes);
	case IC_KVP_U32:
		return take_number(v, 4, to, to_bytes);
	case IC_KVP_U64:
		return take_number(v, 8, to, to_bytes);
	}
	return -EBADMSG;
}

static void take(struct hv_ic_request *r, const uint8_t *body, size_t len)
{
	struct ic_wire_kvp_value v;
	size_t at = r->op == HV_IC_OP_KVP_ENUMERATE
			    ? offsetof(struct ic_wire_kvp_enumerate, data)
			    : offsetof(struct ic_wire_kvp, data);
	int rc = 0;

	if (len < at + sizeof(v)) {
		(void)ic_refuse(r, -EREMOTEIO, "the guest's answer is cut "
					       "short");
		return;
	}
	memcpy(&v, body + at, sizeof(v));
	if (r->op == HV_IC_OP_KVP_ENUMERATE)
		rc = ic_text_get(v.key, le32_get(v.key_bytes), IC_KEY_BYTES,
				 r->key, sizeof(r->key));
	if (rc == 0)
		rc = take_value(&v, r->value, sizeof(r->value));
	if (rc)
		(void)ic_refuse(r, -EREMOTEIO, "the guest's answer is no text");
}

static enum ic_turn answer(struct ic_channel *c, struct hv_ic_request *r,
			   uint32_t status, const uint8_t *body, size_t len)
{
	bool wants = r->op == HV_IC_OP_KVP_GET ||
		     r->op == HV_IC_OP_KVP_ENUMERATE;

	(void)c;
	if (status == IC_STATUS_NO_MORE || status == IC_STATUS_NOT_FOUND)
		(void)ic_refuse(r, -ENOENT, "the guest has no such key");
	else if (status != IC_STATUS_OK)
		(void)ic_refuse(r, -EREMOTEIO, "the guest refuses, or its "
					       "daemon does not answer");
	else if (wants)
		take(r, body, len);
	return IC_TURN_DONE;
}

const struct ic_service ic_kvp = {
	.name = "kvp",
	.type_id = "a9a0f4e7-5a45-4d96-b827-8a841e8c03e6",
	.instance_id = "242ff919-07db-4180-9c2e-b86cb68c8c55",
	.type = IC_TYPE_KVP,
	.versions = {IC_VERSION(4, 0), IC_VERSION(3, 0)},
	.build = build,
	.answer = answer,
};
