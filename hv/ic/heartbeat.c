/* SPDX-License-Identifier: BSD-2-Clause */
/* A beat every two seconds, and when the guest last answered one.
 * Source: Linux drivers/hv/hv_util.c, heartbeat_onchannelcallback.
 */
#include <string.h>

#include "ic_int.h"

#define PERIOD_MS 2000u

static void done(struct hv_ic_request *r)
{
	struct hv_ic *ic = r->arg;

	ic->heart.queued = false;
}

static void ready(struct ic_channel *c)
{
	c->ic->heart.next_ms = ic_now(c->ic);
}

static void closed(struct ic_channel *c)
{
	c->ic->heart.heard = false;
	c->ic->heart.application = 0;
}

static int build(struct ic_channel *c, struct hv_ic_request *r, uint8_t *body)
{
	struct ic_wire_heartbeat m;

	(void)r;
	memset(&m, 0, sizeof(m));
	/* The guest adds one, too. */
	c->ic->heart.sequence += 2;
	m.sequence = le64_put(c->ic->heart.sequence);
	memcpy(body, &m, sizeof(m));
	return (int)sizeof(m);
}

static unsigned patience_ms(const struct hv_ic_request *r)
{
	(void)r;
	return IC_SILENCE_MS;
}

static enum ic_turn answer(struct ic_channel *c, struct hv_ic_request *r,
			   uint32_t status, const uint8_t *body, size_t len)
{
	struct ic_wire_heartbeat m;
	size_t need = offsetof(struct ic_wire_heartbeat, reserved);

	(void)r;
	(void)status;
	if (len < need)
		return IC_TURN_DONE; /* it does not count */
	memcpy(&m, body, need);
	c->ic->heart.heard = true;
	c->ic->heart.heard_ms = ic_now(c->ic);
	c->ic->heart.application = le32_get(m.application);
	return IC_TURN_DONE;
}

static uint64_t tick(struct ic_channel *c, uint64_t now_ms)
{
	struct hv_ic *ic = c->ic;

	if (c->state != HV_IC_READY || ic->paused || ic->heart.queued)
		return 0;
	if (now_ms < ic->heart.next_ms)
		return ic->heart.next_ms;
	ic->heart.next_ms = now_ms + PERIOD_MS;
	ic->heart.queued = true;
	ic->heart.own.done = done;
	ic->heart.own.arg = ic;
	ic_submit(c, &ic->heart.own);
	return ic->heart.next_ms;
}

const struct ic_service ic_heartbeat = {
	.name = "heartbeat",
	.type_id = "57164f39-9115-4e78-ab55-382f3bd5422d",
	.instance_id = "fd149e91-82e0-4a7d-afa6-2a4166cbd7c0",
	.type = IC_TYPE_HEARTBEAT,
	.versions = {IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.ready = ready,
	.closed = closed,
	.build = build,
	.patience_ms = patience_ms,
	.answer = answer,
	.tick = tick,
};
