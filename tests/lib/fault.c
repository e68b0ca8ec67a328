/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault.h: the plan, what happened, and where. */
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fault.h"

#define BURST	   64u
#define EVENTS_MAX 65536u
/* Calls in a row that say the same before it counts as a hang. */
#define STUBBORN_MAX 200000u

struct site {
	enum fault_call call;
	const void *from;
	const void *via;
	bool done[FAULT_KINDS][2];
	bool none[FAULT_KINDS];
	char name[200];
};

static struct site sites[FAULT_SITES_MAX];
static unsigned site_count;

static struct fault_plan now;
static bool no_holes, armed, suspended, fired, second_fired;
static unsigned seq, stubborn, burst, nth;
static struct fault_event hit;
static struct fault_event events[EVENTS_MAX];
static const void *via;

/* ------------------------------------------------------------- the sites -- */

static unsigned site_of(enum fault_call call, const void *from)
{
	for (unsigned i = 0; i < site_count; i++)
		if (sites[i].from == from && sites[i].via == via &&
		    sites[i].call == call)
			return i;
	if (site_count == FAULT_SITES_MAX)
		abort();
	sites[site_count] =
		(struct site){.call = call, .from = from, .via = via};
	return site_count++;
}

unsigned fault_sites(void)
{
	return site_count;
}

enum fault_call fault_site_call(unsigned site)
{
	return sites[site].call;
}

static int first_base(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size;
	*(uintptr_t *)data = info->dlpi_addr;
	return 1;
}

/* "function (file:line)"; the call lies before the address it returns to. */
static void place_name(const void *at, char *out, size_t len)
{
	char command[200], name[100], where[160];
	uintptr_t base = 0;
	FILE *p;

	snprintf(out, len, "?");
	dl_iterate_phdr(first_base, &base);
	snprintf(command, sizeof(command),
		 "addr2line -s -f -i -e /proc/%d/exe %#lx 2>/dev/null",
		 getpid(), (unsigned long)((uintptr_t)at - base - 1));
	p = popen(command, "r");
	if (!p)
		return;
	/* Innermost first: what the C library's headers inline is no place. */
	while (fgets(name, sizeof(name), p) && fgets(where, sizeof(where), p)) {
		name[strcspn(name, "\n")] = '\0';
		where[strcspn(where, " \n")] = '\0';
		if (out[0] == '?' && strstr(where, ".c:"))
			snprintf(out, len, "%s (%s)", name, where);
	}
	pclose(p);
}

const char *fault_site_name(unsigned site)
{
	struct site *s = &sites[site];
	bool was = suspended;
	size_t n;

	if (s->name[0])
		return s->name;
	suspended = true;
	place_name(s->via ? s->via : s->from, s->name, sizeof(s->name));
	if (s->via) {
		n = strlen(s->name);
		snprintf(s->name + n, sizeof(s->name) - n, " -> ");
		n += 4;
		place_name(s->from, s->name + n, sizeof(s->name) - n);
	}
	suspended = was;
	return s->name;
}

void fault_cell_void(unsigned site, enum fault_kind kind)
{
	sites[site].none[kind] = true;
}

bool fault_cell_executed(unsigned site, enum fault_kind kind, bool forever)
{
	return sites[site].done[kind][forever];
}

void fault_cells_count(unsigned *executed, unsigned *applicable)
{
	*executed = *applicable = 0;
	for (unsigned i = 0; i < site_count; i++) {
		const struct fault_cell *c = fault_row(sites[i].call)->cells;

		for (unsigned k = 0; k < FAULT_CELLS_MAX; k++) {
			enum fault_kind kind = c[k].kind;

			if (kind == FAULT_NONE)
				break;
			if (sites[i].none[kind] && !sites[i].done[kind][0])
				continue;
			*applicable += 2;
			*executed += sites[i].done[kind][0];
			*executed += sites[i].done[kind][1];
		}
	}
}

/* -------------------------------------------------------------- the plan -- */

void fault_arm(const struct fault_plan *plan)
{
	now = *plan;
	seq = nth = 0;
	stubborn = 0;
	fired = second_fired = suspended = false;
	via = NULL;
	armed = true;
}

void fault_disarm(void)
{
	armed = false;
}

void fault_suspend(bool on)
{
	suspended = on;
}

void fault_no_holes(bool on)
{
	no_holes = on;
}

bool fault_holes(void)
{
	return !no_holes;
}

bool fault_fired(void)
{
	return fired;
}

bool fault_second_fired(void)
{
	return second_fired;
}

unsigned fault_second_site(void)
{
	return now.second_site;
}

bool fault_is_error(void)
{
	const struct fault_cell *c = fault_row(hit.call)->cells;

	for (unsigned k = 0; k < FAULT_CELLS_MAX; k++)
		if (c[k].kind == now.kind)
			return (now.forever ? c[k].forever : c[k].once) !=
			       FAULT_WANT_DONE;
	return false;
}

const struct fault_event *fault_hit(void)
{
	return &hit;
}

unsigned fault_count(void)
{
	return seq < EVENTS_MAX ? seq : EVENTS_MAX;
}

const struct fault_event *fault_event(unsigned i)
{
	return &events[i];
}

/* A half of nothing is no half. */
static bool possible(enum fault_kind kind, uint64_t len)
{
	return kind != FAULT_SHORT || len > 1;
}

/* What is tried again without end, as a wait is after a signal, is told so
 * BURST times and not for ever.
 */
static bool lasts(enum fault_call call)
{
	const struct fault_cell *c = fault_row(call)->cells;

	if (now.kind != FAULT_EINTR && now.kind != FAULT_EAGAIN &&
	    now.kind != FAULT_EBUSY)
		return true;
	for (unsigned k = 0; k < FAULT_CELLS_MAX; k++)
		if (c[k].kind == now.kind)
			return c[k].forever != FAULT_WANT_DONE;
	return true;
}

static enum fault_kind strike(const struct fault_event *e)
{
	struct site *s = &sites[e->site];

	if (!fired && e->call == now.call && nth++ >= now.at &&
	    possible(now.kind, e->len)) {
		fired = true;
		burst = lasts(e->call) ? UINT32_MAX : BURST;
		hit = *e;
		s->done[now.kind][now.forever] = true;
		return now.kind;
	}
	if (fired && now.second && !second_fired &&
	    e->site == now.second_site && possible(now.second, e->len)) {
		second_fired = true;
		s->done[now.second][now.second_forever] = true;
		burst = BURST;
		return now.second;
	}
	if (second_fired && now.second_forever && e->site == now.second_site &&
	    burst) {
		burst--;
		return now.second;
	}
	if (!fired || !now.forever)
		return FAULT_NONE;
	if (e->call != hit.call || !possible(now.kind, e->len) || !burst)
		return FAULT_NONE;
	burst--;
	return now.kind;
}

enum fault_kind fault_ask(enum fault_call call, const void *from, uint64_t off,
			  uint64_t len)
{
	struct fault_event e = {.call = call, .off = off, .len = len};
	enum fault_kind kind;

	if (!armed || suspended)
		return FAULT_NONE;
	e.site = site_of(call, from);
	if (seq < EVENTS_MAX)
		events[seq] = e;
	kind = now.kind == FAULT_NONE ? FAULT_NONE : strike(&e);
	seq++;
	if (kind == FAULT_NONE)
		return kind;
	if (++stubborn > STUBBORN_MAX) {
		fprintf(stderr, "hang: %s says %s for ever at %s\n",
			fault_call_name(call), fault_kind_name(kind),
			fault_site_name(e.site));
		abort();
	}
	return kind;
}

const void *fault_via(const void *from)
{
	const void *was = via;

	via = from;
	return was;
}
