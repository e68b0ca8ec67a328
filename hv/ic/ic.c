/* SPDX-License-Identifier: BSD-2-Clause */
/* All services of a guest together: which there are, and who does what is
 * asked.
 */
#include "ic_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct ic_service *const services[HV_IC_SERVICES] = {
	[HV_IC_SHUTDOWN] = &ic_shutdown,   [HV_IC_TIMESYNC] = &ic_timesync,
	[HV_IC_HEARTBEAT] = &ic_heartbeat, [HV_IC_KVP] = &ic_kvp,
	[HV_IC_VSS] = &ic_vss,
};

static const enum hv_ic_service service_of[HV_IC_OPS] = {
	[HV_IC_OP_POWER_OFF] = HV_IC_SHUTDOWN,
	[HV_IC_OP_RESTART] = HV_IC_SHUTDOWN,
	[HV_IC_OP_HIBERNATE] = HV_IC_SHUTDOWN,
	[HV_IC_OP_SYNC_TIME] = HV_IC_TIMESYNC,
	[HV_IC_OP_KVP_GET] = HV_IC_KVP,
	[HV_IC_OP_KVP_SET] = HV_IC_KVP,
	[HV_IC_OP_KVP_DELETE] = HV_IC_KVP,
	[HV_IC_OP_KVP_ENUMERATE] = HV_IC_KVP,
	[HV_IC_OP_FREEZE] = HV_IC_VSS,
	[HV_IC_OP_THAW] = HV_IC_VSS,
};

int hv_ic_create(const struct hv_ic_opts *opts, struct hv_ic **out,
		 struct vhd_err *err)
{
	struct hv_ic *ic = calloc(1, sizeof(*ic));
	int rc = 0;

	if (!ic)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	ic->opts = *opts;
	for (unsigned i = 0; i < HV_IC_SERVICES && rc == 0; i++) {
		ic->at[i].ic = ic;
		ic->at[i].service = services[i];
		rc = ic_offer(&ic->at[i], opts->bus, err);
	}
	/* What was offered refers to it: it goes after the bus in any case. */
	*out = ic;
	return rc;
}

void hv_ic_destroy(struct hv_ic *ic)
{
	free(ic);
}

int hv_ic_fd(const struct hv_ic *ic, enum hv_ic_service service)
{
	return vmbus_channel_eventfd(ic->at[service].ch);
}

void hv_ic_serve(struct hv_ic *ic, enum hv_ic_service service)
{
	ic_serve(&ic->at[service]);
}

const char *hv_ic_name(enum hv_ic_service service)
{
	return services[service]->name;
}

static void sooner(uint64_t *due, uint64_t other)
{
	if (other && (!*due || other < *due))
		*due = other;
}

int hv_ic_tick(struct hv_ic *ic)
{
	uint64_t now = ic_now(ic), due = 0;

	/* A guest that stands still is late with nothing. */
	if (ic->paused)
		return -1;
	for (unsigned i = 0; i < HV_IC_SERVICES; i++) {
		struct ic_channel *c = &ic->at[i];

		if (c->service->tick)
			sooner(&due, c->service->tick(c, now));
		sooner(&due, ic_overdue(c, now));
	}
	if (!due)
		return -1;
	return due > now ? (int)(due - now) : 0;
}

void hv_ic_submit(struct hv_ic *ic, struct hv_ic_request *r)
{
	if (ic->paused) {
		r->result = 0;
		(void)ic_refuse(r, -EBUSY, "the guest is paused");
		r->done(r);
		return;
	}
	ic_submit(&ic->at[service_of[r->op]], r);
}

/* What an answer had left when the guest was paused, or as much as for a new
 * one, where that is more; and what a freeze had left.
 */
static void go_on(struct hv_ic *ic, uint64_t now)
{
	uint64_t away = now - ic->paused_ms;

	for (unsigned i = 0; i < HV_IC_SERVICES; i++) {
		uint64_t *due = &ic->at[i].due_ms;

		if (*due && *due + away < now + IC_PATIENCE_MS)
			*due = now + IC_PATIENCE_MS;
		else if (*due)
			*due += away;
	}
	if (ic->vss.frozen && ic->vss.thaw_ms != UINT64_MAX)
		ic->vss.thaw_ms += away;
}

void hv_ic_paused(struct hv_ic *ic, bool paused)
{
	uint64_t now = ic_now(ic);

	if (ic->paused == paused)
		return;
	ic->paused = paused;
	ic->time.asked = false; /* what was asked for before may be lost */
	if (paused) {
		ic->paused_ms = now;
		return;
	}
	/* It could not answer: nobody is late, and no beat was missed. */
	ic->heart.heard_ms = now;
	ic->heart.next_ms = now;
	go_on(ic, now);
	ic->time.sync = true;
	ic->time.next_ms = now;
	ic_go(&ic->at[HV_IC_TIMESYNC]);
}

void hv_ic_end(struct hv_ic *ic)
{
	for (unsigned i = 0; i < HV_IC_SERVICES; i++)
		ic_fail_all(&ic->at[i], -ECONNRESET, "the guest has ended");
}

void hv_ic_get_info(struct hv_ic *ic, struct hv_ic_info *out)
{
	uint64_t now = ic_now(ic);
	uint64_t guest_now = ic->paused ? ic->paused_ms : now;

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < HV_IC_SERVICES; i++) {
		out->service[i].state = ic->at[i].state;
		out->service[i].version = ic->at[i].version;
	}
	out->heard = ic->heart.heard;
	out->silent_ms = out->heard ? now - ic->heart.heard_ms : 0;
	out->alive = out->heard && out->silent_ms <= IC_SILENCE_MS;
	out->application = ic->heart.application;
	out->frozen = ic->vss.frozen;
	if (out->frozen && ic->vss.thaw_ms > guest_now)
		out->frozen_left_ms = ic->vss.thaw_ms - guest_now;
}
