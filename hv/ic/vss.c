/* SPDX-License-Identifier: BSD-2-Clause */
/* Hold the guest's file systems still, for a time with a limit, so that its
 * disks can be copied. First it is asked whether it can (hot backup), then to
 * freeze; whatever becomes of a freeze that was begun, a thaw follows: on
 * request, after the limit, or where the freeze was not answered in time.
 * Source: Linux drivers/hv/hv_snapshot.c, tools/hv/hv_vss_daemon.c.
 */
#include <errno.h>
#include <string.h>

#include "ic_int.h"

#define AGAIN_MS 1000u

/* Where there was no room for it, in the queue or the guest's ring, it comes
 * again: nobody else remembers.
 */
static void thawed(struct hv_ic_request *r)
{
	struct hv_ic *ic = r->arg;

	ic->vss.queued = false;
	if (r->result == -EAGAIN)
		ic->vss.thaw_ms = ic_now(ic) + AGAIN_MS;
	if (r->result && r->result != -ECONNRESET)
		ic_say(ic, "ic: vss: the guest was not thawed: %s",
		       r->err.text);
}

/* By ourselves. */
static void thaw(struct ic_channel *c)
{
	struct hv_ic *ic = c->ic;

	if (ic->vss.queued)
		return;
	ic->vss.queued = true;
	ic->vss.own.op = HV_IC_OP_THAW;
	ic->vss.own.done = thawed;
	ic->vss.own.arg = ic;
	ic_submit(c, &ic->vss.own);
}

static void closed(struct ic_channel *c)
{
	c->ic->vss.frozen = c->ic->vss.checked = false;
}

static int build(struct ic_channel *c, struct hv_ic_request *r, uint8_t *body)
{
	struct hv_ic *ic = c->ic;
	struct ic_wire_vss m = {.op = IC_VSS_THAW};

	if (r->op == HV_IC_OP_THAW) {
		if (!ic->vss.frozen)
			return ic_refuse(r, -EALREADY, "the guest is not "
						       "frozen");
	} else if (!ic->vss.checked) {
		if (ic->vss.frozen)
			return ic_refuse(r, -EBUSY, "the guest is frozen "
						    "already");
		m.op = IC_VSS_HOT_BACKUP;
	} else {
		m.op = IC_VSS_FREEZE;
		ic->vss.frozen = true; /* from here on it may be */
		ic->vss.thaw_ms = UINT64_MAX;
	}
	memcpy(body, &m, sizeof(m));
	return (int)sizeof(m);
}

/* The guest's daemon has its 30 s, and writing out what is dirty takes time. */
static unsigned patience_ms(const struct hv_ic_request *r)
{
	return r->op == HV_IC_OP_FREEZE ? 120000 : IC_PATIENCE_MS;
}

static enum ic_turn on_thaw(struct hv_ic *ic, struct hv_ic_request *r,
			    uint32_t status)
{
	/* One that cannot be thawed is not asked again and again. */
	ic->vss.frozen = false;
	if (status != IC_STATUS_OK)
		(void)ic_refuse(r, -EREMOTEIO, "the guest says that it cannot "
					       "thaw");
	return IC_TURN_DONE;
}

static enum ic_turn on_freeze(struct hv_ic *ic, struct hv_ic_request *r,
			      uint32_t status)
{
	uint32_t limit_s = r->limit_s ? r->limit_s : HV_IC_FREEZE_S;

	if (limit_s > HV_IC_FREEZE_S_MAX)
		limit_s = HV_IC_FREEZE_S_MAX;
	ic->vss.checked = false;
	if (status == IC_STATUS_OK) {
		ic->vss.thaw_ms = ic_now(ic) + (uint64_t)limit_s * 1000;
		return IC_TURN_DONE;
	}
	/* Linux has undone what it froze when it says so. */
	ic->vss.frozen = false;
	(void)ic_refuse(r, -EREMOTEIO, "the guest cannot freeze its file "
				       "systems");
	return IC_TURN_DONE;
}

static enum ic_turn answer(struct ic_channel *c, struct hv_ic_request *r,
			   uint32_t status, const uint8_t *body, size_t len)
{
	struct hv_ic *ic = c->ic;

	(void)body;
	(void)len;
	if (r->op == HV_IC_OP_THAW)
		return on_thaw(ic, r, status);
	if (ic->vss.checked)
		return on_freeze(ic, r, status);
	if (status != IC_STATUS_OK) {
		(void)ic_refuse(r, -EREMOTEIO, "the guest is not able to "
					       "freeze its file systems");
		return IC_TURN_DONE;
	}
	ic->vss.checked = true;
	return IC_TURN_MORE;
}

static void late(struct ic_channel *c, struct hv_ic_request *r)
{
	struct hv_ic *ic = c->ic;

	ic->vss.checked = false;
	if (r->op == HV_IC_OP_THAW && r->result != -EAGAIN)
		ic->vss.frozen = false;
	else if (r->op == HV_IC_OP_FREEZE && ic->vss.frozen)
		thaw(c);
}

static uint64_t tick(struct ic_channel *c, uint64_t now_ms)
{
	struct hv_ic *ic = c->ic;

	if (c->state != HV_IC_READY || !ic->vss.frozen || ic->vss.queued ||
	    ic->vss.thaw_ms == UINT64_MAX)
		return 0;
	if (now_ms < ic->vss.thaw_ms)
		return ic->vss.thaw_ms;
	ic_say(ic, "ic: vss: the guest was frozen as long as it may be: it is "
		   "thawed");
	thaw(c);
	return 0;
}

const struct ic_service ic_vss = {
	.name = "vss",
	.type_id = "35fa2e29-ea23-4236-96ae-3a6ebacba440",
	.instance_id = "2450ee40-33bf-4fbd-892e-9fb06e9214cf",
	.type = IC_TYPE_VSS,
	.versions = {IC_VERSION(5, 0)},
	.closed = closed,
	.build = build,
	.patience_ms = patience_ms,
	.answer = answer,
	.late = late,
	.tick = tick,
};
