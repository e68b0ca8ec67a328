/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine: a bus, a VSP with an engine for each channel, and the guest's
 * side of both.
 */
#include <string.h>

#include "tests/proof/sim.h"

#define SUBS_MAX (SIM_CHANNELS - 1)

static int make_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	struct sim *s = arg;
	const struct sim_opts opts = sim_faults(s, s->opening);
	struct simengine *e = simengine_create(&opts);

	(void)err;
	s->engine[s->opening] = e;
	s->broken[s->opening] = false;
	simengine_hold(e, true);
	return simengine_queue(e, 1 + sim_below(s, 16), out);
}

static uint64_t clock_of(void *arg)
{
	return ((struct sim *)arg)->now;
}

static void no_log(void *arg, const char *line)
{
	struct sim *s = arg;

	if (s->trace)
		sim_say(s, "  log: %s", line);
}

void sim_hold(struct sim *s, bool held)
{
	for (unsigned i = 0; i < SIM_CHANNELS; i++)
		if (s->engine[i])
			simengine_hold(s->engine[i], held);
}

void sim_poll(struct sim *s)
{
	(void)storvsp_poll(vsc_vsp(s->v));
}

static struct vsc_channel *open_channel(struct sim *s, unsigned i)
{
	struct vsc_channel *c;

	s->opening = i;
	c = vsc_open(s->v, (uint16_t)i);
	if (!c)
		sim_fail(s, "channel %u cannot be opened", i);
	return c;
}

void sim_open_channels(struct sim *s)
{
	static const uint16_t versions[] = {0x0602, 0x0602, 0x0602, 0x0600,
					    0x0501, 0x0402, 0x0200};
	struct vsc_properties p;

	s->channel[0] = open_channel(s, 0);
	vsc_negotiate(s->channel[0], versions[sim_below(s, 7)], &p);
	s->version = p.version;
	s->subs = p.max_subchannels ? sim_below(s, SUBS_MAX + 1) : 0;
	if (s->subs && vsc_create_subs(s->channel[0], (uint16_t)s->subs))
		sim_fail(s, "no sub-channels");
	for (unsigned i = 1; i <= s->subs; i++)
		s->channel[i] = open_channel(s, i);
}

static void engine_gone(struct sim *s, unsigned i)
{
	if (s->engine[i])
		simengine_destroy(s->engine[i]);
	s->engine[i] = NULL;
	s->channel[i] = NULL;
	s->broken[i] = s->masked[i] = s->sleeps[i] = false;
}

/* With the primary its sub-channels go. */
void sim_close_channel(struct sim *s, unsigned i)
{
	sim_hold(s, false);
	vsc_close(s->channel[i]);
	sim_forget(s, i);
	engine_gone(s, i);
	for (unsigned k = 1; i == 0 && k < SIM_CHANNELS; k++) {
		if (!s->channel[k])
			continue;
		vsc_drop(s->channel[k]);
		sim_forget(s, k);
		engine_gone(s, k);
	}
	sim_hold(s, true);
	if (i == 0)
		sim_open_channels(s);
	else
		s->channel[i] = open_channel(s, i);
}

void sim_reboot(struct sim *s, bool unload)
{
	sim_hold(s, false);
	if (unload) {
		if (guest_unload(vsc_guest(s->v)))
			sim_fail(s, "UNLOAD is not answered");
	} else {
		vmbus_reset(guest_bus(vsc_guest(s->v)));
	}
	for (unsigned i = 0; i < SIM_CHANNELS; i++) {
		if (!s->channel[i])
			continue;
		vsc_drop(s->channel[i]);
		sim_forget(s, i);
		engine_gone(s, i);
	}
	guest_start(vsc_guest(s->v));
	sim_open_channels(s);
}

void sim_add_disk(struct sim *s, unsigned i)
{
	struct sim_disk *d = &s->disk[i];

	vsc_disk(s->v, d->img, d->path, d->target, d->lun, d->lun_readonly);
	d->present = true;
	s->added_at = s->now;
}

void sim_power_on(struct sim *s)
{
	struct vsc_opts o = {
		.vsp = {
			.max_subchannels = SUBS_MAX,
			.max_transfer_bytes = SIM_TRANSFER,
			.depth = 1 + sim_below(s, SIM_REQS),
			.queue_create = make_queue,
			.queue_arg = s,
			.now_ms = clock_of,
			.now_arg = s,
			.log = no_log,
			.log_arg = s,
		},
		.guest = {
			.memory_bytes = 1u << 20,
			.scatter = sim_below(s, 2),
		},
		.out_pages = 3,
		.in_pages = 2,
	};

	s->v = vsc_create(&o);
	for (unsigned i = 0; i < s->disks; i++) {
		s->disk[i].cache = CACHE_ON;
		s->disk[i].selecting = false;
		if (s->disk[i].present)
			sim_add_disk(s, i);
	}
	for (unsigned i = 0; i < SIM_REQS; i++)
		guest_alloc(vsc_guest(s->v), SIM_REQ_PAGES, s->req[i].gpas);
	sim_open_channels(s);
	s->live = true;
}

void sim_power_off(struct sim *s)
{
	sim_hold(s, false);
	for (unsigned i = 0; i < SIM_CHANNELS; i++)
		sim_forget(s, i);
	vsc_destroy(s->v);
	s->v = NULL;
	for (unsigned i = 0; i < SIM_CHANNELS; i++)
		engine_gone(s, i);
	s->live = false;
}
