/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's time: set when the guest's driver comes up, after a pause and on
 * request; in between samples, which a guest may use as it likes (Linux: its
 * PTP clock). From version 4 on a message carries the partition's reference
 * counter of the moment it was made, so that its way to the guest costs
 * nothing: the two must be taken together, which opts.sample does.
 * Source: Linux drivers/hv/hv_util.c, timesync_onchannelcallback.
 */
#include <string.h>

#include "ic_int.h"

#define PERIOD_MS 10000u

static void done(struct hv_ic_request *r)
{
	struct hv_ic *ic = r->arg;

	ic->time.queued = false;
}

static void ready(struct ic_channel *c)
{
	c->ic->time.sync = true;
	c->ic->time.next_ms = ic_now(c->ic);
}

static void closed(struct ic_channel *c)
{
	c->ic->time.asked = c->ic->time.fresh = false;
}

static bool can_build(struct ic_channel *c)
{
	struct hv_ic *ic = c->ic;

	if (!ic->time.fresh && !ic->time.asked && !ic->paused) {
		ic->time.asked = true;
		ic->opts.sample(ic->opts.arg);
	}
	return ic->time.fresh;
}

void hv_ic_time(struct hv_ic *ic, uint64_t utc_100ns, uint64_t ref_100ns)
{
	if (!ic->time.asked)
		return;
	ic->time.asked = false;
	ic->time.fresh = true;
	ic->time.utc_100ns = utc_100ns;
	ic->time.ref_100ns = ref_100ns;
	ic_go(&ic->at[HV_IC_TIMESYNC]);
}

static int build(struct ic_channel *c, struct hv_ic_request *r, uint8_t *body)
{
	struct hv_ic *ic = c->ic;
	bool sync = r != &ic->time.own || ic->time.sync;
	uint8_t flags = sync ? IC_TIME_SYNC : IC_TIME_SAMPLE;
	struct ic_wire_time_v4 v4 = {
		.utc_100ns = le64_put(ic->time.utc_100ns),
		.ref_100ns = le64_put(ic->time.ref_100ns),
		.flags = flags,
	};
	struct ic_wire_time_v1 v1 = {
		.utc_100ns = le64_put(ic->time.utc_100ns),
		.flags = flags,
	};

	ic->time.fresh = false;
	if (r == &ic->time.own)
		ic->time.sync = false;
	if (c->version >= IC_VERSION(4, 0)) {
		memcpy(body, &v4, sizeof(v4));
		return (int)sizeof(v4);
	}
	memcpy(body, &v1, sizeof(v1));
	return (int)sizeof(v1);
}

static uint64_t tick(struct ic_channel *c, uint64_t now_ms)
{
	struct hv_ic *ic = c->ic;

	if (c->state != HV_IC_READY || ic->paused || ic->time.queued)
		return 0;
	if (now_ms < ic->time.next_ms)
		return ic->time.next_ms;
	ic->time.next_ms = now_ms + PERIOD_MS;
	ic->time.queued = true;
	ic->time.own.done = done;
	ic->time.own.arg = ic;
	ic_submit(c, &ic->time.own);
	return ic->time.next_ms;
}

const struct ic_service ic_timesync = {
	.name = "timesync",
	.type_id = "9527e630-d0ae-497b-adce-e80ab0175caf",
	.instance_id = "2dd1ce17-079e-403c-b352-a1921ee207ee",
	.type = IC_TYPE_TIMESYNC,
	.versions = {IC_VERSION(4, 0), IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.ready = ready,
	.closed = closed,
	.can_build = can_build,
	.build = build,
	/* It says nothing: Linux leaves our own status in the message. */
	.answer = ic_answer_status,
	.tick = tick,
};
