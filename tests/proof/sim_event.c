/* SPDX-License-Identifier: BSD-2-Clause */
/* Which event comes next. Every run draws its own mixture of faults. */
#include <string.h>

#include "tests/proof/sim.h"

static void ev_poll(struct sim *s)
{
	sim_poll(s);
}

/* Some operations end below, in an order of the engine's dice. */
static void ev_engine(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);

	if (!s->engine[i])
		i = 0;
	simengine_allow(s->engine[i], 1 + sim_below(s, 8));
	sim_poll(s);
	simengine_hold(s->engine[i], true);
}

/* A guest that has found its ring empty and lets signals through is called
 * for what comes next.
 */
static void ev_answers(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);
	unsigned n = 1 + sim_below(s, 12);
	struct guest_channel *ring;
	bool called, any;

	if (!s->channel[i])
		i = 0;
	ring = vsc_ring(s->channel[i]);
	called = guest_take_interrupt(ring);
	any = sim_answer(s, i);
	if (any && s->sleeps[i] && !called)
		sim_fail(s, "an answer on channel %u and no interrupt", i);
	s->sleeps[i] = !any && !s->masked[i];
	while (any && --n)
		any = sim_answer(s, i);
	if (!any)
		s->sleeps[i] = !s->masked[i];
	sim_mix64(s, guest_interrupts(ring) << 16 |
			     vsc_unasked(s->channel[i]));
}

static void ev_mask(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);

	if (!s->channel[i])
		i = 0;
	s->sleeps[i] = false;
	s->masked[i] = sim_below(s, 2);
	if (s->masked[i])
		guest_mask(vsc_ring(s->channel[i]));
	else
		s->sleeps[i] = !guest_unmask(vsc_ring(s->channel[i]));
}

static void ev_time(struct sim *s)
{
	s->now += 1 + sim_below(s, 2000);
}

static void ev_close(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);

	sim_close_channel(s, s->channel[i] ? i : 0);
}

static void ev_reboot(struct sim *s)
{
	sim_reboot(s, sim_below(s, 2));
}

static void ev_break(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);

	if (!s->engine[i])
		i = 0;
	simengine_break(s->engine[i], -5);
	s->broken[i] = true;
	for (unsigned k = 0; k < s->disks; k++)
		s->disk[k].may_be_poisoned = true;
	sim_poll(s);
}

/* Not while an engine is broken: its channel would go without the disk. */
static void ev_add(struct sim *s)
{
	for (unsigned i = 0; i < SIM_CHANNELS; i++)
		if (s->broken[i])
			return;
	for (unsigned i = 0; i < s->disks; i++) {
		if (s->disk[i].present)
			continue;
		sim_add_disk(s, i);
		return;
	}
}

static void ev_faults(struct sim *s)
{
	static const unsigned some[] = {0, 0, 10, 50, 200};

	s->fault_permille = some[sim_below(s, 5)];
	s->lost_permille = sim_below(s, 3) ? 0 : 20;
}

/* The host changes its mind about a disk: its limits, what becomes of
 * failures, and that it may go on. The clock is in ticks of a millisecond.
 */
static struct sim_disk *some_disk(struct sim *s)
{
	struct sim_disk *d = &s->disk[sim_below(s, s->disks)];

	return d->present ? d : NULL;
}

static void ev_limit(struct sim *s)
{
	static const struct storvsp_limits some[] = {
		{0}, {0}, {.depth = 1}, {.depth = 3}, {.iops = 20},
		{.iops = 100, .iops_burst = 3}, {.bps = 100000},
		{.bps = 3000, .iops = 7},
	};
	struct sim_disk *d = some_disk(s);

	if (d && storvsp_disk_limit(vsc_vsp(s->v), sim_address(d),
				    &some[sim_below(s, 8)], NULL))
		sim_fail(s, "limits are refused");
}

static void ev_policy(struct sim *s)
{
	struct sim_disk *d = some_disk(s);

	if (d && storvsp_disk_on_error(vsc_vsp(s->v), sim_address(d),
				       sim_below(s, 3)
					       ? STORVSP_ON_ERROR_PAUSE
					       : STORVSP_ON_ERROR_REPORT,
				       NULL))
		sim_fail(s, "an error policy is refused");
}

static void resume(struct sim *s, struct sim_disk *d)
{
	int rc = storvsp_disk_resume(vsc_vsp(s->v), sim_address(d), NULL);

	sim_sums.resumed += rc == 1;
	if (rc < 0 && !d->may_be_poisoned)
		sim_fail(s, "a sound disk cannot be resumed");
}

static void ev_resume(struct sim *s)
{
	struct sim_disk *d = some_disk(s);

	if (d)
		resume(s, d);
}

static const struct event {
	void (*happen)(struct sim *s);
	const char *name;
	unsigned weight; /* of 10,000 */
} events[] = {
	{sim_post, "post", 4475},
	{ev_engine, "engine", 2100},
	{ev_answers, "answers", 2000},
	{ev_poll, "poll", 925},
	{ev_mask, "mask", 200},
	{ev_time, "time", 50},
	{sim_post_reset, "reset", 90},
	{ev_faults, "faults", 60},
	{ev_resume, "resume", 15},
	{ev_policy, "policy", 5},
	{ev_limit, "limit", 5},
	{ev_close, "close", 20},
	{sim_crash, "crash", 35},
	{ev_reboot, "reboot", 8},
	{ev_add, "add", 10},
	{ev_break, "break", 1},
	{sim_refused_image, "refused", 1},
};

static const struct event *draw(struct sim *s)
{
	unsigned n = sim_below(s, 10000);
	const struct event *e = events;

	while (n >= e->weight)
		n -= e++->weight;
	return e;
}

static bool all_answered(const struct sim *s)
{
	for (unsigned i = 0; i < SIM_REQS; i++)
		if (s->req[i].busy)
			return false;
	return true;
}

__attribute__((noreturn)) static void unanswered(struct sim *s)
{
	for (unsigned i = 0; i < SIM_REQS; i++)
		if (s->req[i].busy)
			sim_say(s, "op %u CDB %02x on channel %u, posted %u",
				s->req[i].op_code, s->req[i].cdb[0],
				s->req[i].channel, s->req[i].posted);
	sim_fail(s, "requests without an answer");
}

static void let_go(struct sim *s)
{
	const struct storvsp_limits none = {0};

	for (unsigned i = 0; i < s->disks; i++) {
		if (!s->disk[i].present)
			continue;
		(void)storvsp_disk_limit(vsc_vsp(s->v),
					 sim_address(&s->disk[i]), &none, NULL);
		resume(s, &s->disk[i]);
	}
}

/* Everything is let go, the lost is reset: each request has its answer. Where
 * operations that never end hold every slot of a channel, no reset gets in:
 * then it is the channel's end that ends them.
 */
static void settle(struct sim *s)
{
	s->calm = true;
	s->lost_permille = 0;
	for (unsigned round = 0; !all_answered(s); round++) {
		for (unsigned i = 0; round >= 40 && i < SIM_CHANNELS; i++)
			if (s->channel[i] && s->lost[i])
				sim_close_channel(s, i);
		if (round == 100)
			unanswered(s);
		sim_hold(s, false);
		let_go(s);
		sim_poll(s);
		for (unsigned i = 0; i < SIM_CHANNELS; i++)
			while (s->channel[i] && sim_answer(s, i))
				;
		if (round % 8 == 3)
			sim_post_reset(s);
	}
}

void sim_run(struct sim *s)
{
	ev_faults(s);
	s->calm = true;
	sim_disks_make(s);
	sim_disks_open(s);
	s->calm = false;
	sim_power_on(s);
	for (s->event = 1; s->event <= s->events; s->event++) {
		const struct event *e = draw(s);

		if (s->trace)
			sim_say(s, "%u %s", s->event, e->name);
		e->happen(s);
		sim_mix64(s, s->now << 8 | (uint64_t)(e - events));
		sim_sums.events++;
	}
	settle(s);
	sim_power_off(s);
	sim_disks_close(s);
	sim_disks_free(s);
}
