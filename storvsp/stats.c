/* SPDX-License-Identifier: BSD-2-Clause */
/* What the counters say, summed over channels that are and were. */
#include <errno.h>
#include <string.h>

#include "policy.h"
#include "state.h"
#include "stats.h"

static uint64_t get(const _Atomic uint64_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void most(struct level *to, const struct level *from)
{
	uint32_t n = atomic_load_explicit(&from->most, memory_order_relaxed);

	if (n > atomic_load_explicit(&to->most, memory_order_relaxed))
		atomic_store_explicit(&to->most, n, memory_order_relaxed);
}

static void histogram_keep(struct histogram *to, const struct histogram *from)
{
	uint64_t max_ns = get(&from->max_ns);

	for (unsigned i = 0; i < STORVSP_HISTOGRAM_BUCKETS; i++)
		count_add(&to->n[i], get(&from->n[i]));
	if (max_ns > get(&to->max_ns))
		atomic_store_explicit(&to->max_ns, max_ns,
				      memory_order_relaxed);
}

void storvsp_stats_keep(struct disk_stats *to, const struct disk_stats *from)
{
	most(&to->in_flight, &from->in_flight);
	most(&to->waiting, &from->waiting);
	for (unsigned i = 0; i < DISK_STAT_COUNT; i++)
		count_add(&to->n[i], get(&from->n[i]));
	for (unsigned i = 0; i < STORVSP_KINDS; i++) {
		count_add(&to->kind[i].count, get(&from->kind[i].count));
		count_add(&to->kind[i].errors, get(&from->kind[i].errors));
		count_add(&to->kind[i].bytes, get(&from->kind[i].bytes));
		histogram_keep(&to->kind[i].latency, &from->kind[i].latency);
	}
}

void storvsp_stats_leave_locked(struct channel *ch)
{
	for (unsigned i = 0; i < STAT_COUNT; i++)
		ch->vsp->closed[i] += stat_get(&ch->stats, i);
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++) {
		struct gate *g = ch->gates[i];

		if (g)
			storvsp_stats_keep(&g->disk->policy->gone, &g->stats);
	}
}

/* ------------------------------------------------------ controller ------- */

static uint64_t total_locked(const struct storvsp *vsp, enum stat which)
{
	uint64_t n = vsp->closed[which];

	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		n += stat_get(&ch->stats, which);
	return n;
}

void storvsp_get_stats(struct storvsp *vsp, struct storvsp_stats *out)
{
	pthread_mutex_lock(&vsp->lock);
	*out = (struct storvsp_stats){
		.packets = total_locked(vsp, STAT_PACKETS),
		.completions = total_locked(vsp, STAT_COMPLETIONS),
		.refused = total_locked(vsp, STAT_REFUSED),
		.cancelled = total_locked(vsp, STAT_CANCELLED),
		.reads = total_locked(vsp, STAT_READS),
		.writes = total_locked(vsp, STAT_WRITES),
		.flushes = total_locked(vsp, STAT_FLUSHES),
		.zeros = total_locked(vsp, STAT_ZEROS),
		.errors = total_locked(vsp, STAT_ERRORS),
		.read_bytes = total_locked(vsp, STAT_READ_BYTES),
		.written_bytes = total_locked(vsp, STAT_WRITTEN_BYTES),
		.sleeps = total_locked(vsp, STAT_SLEEPS),
		.polled = total_locked(vsp, STAT_POLLED),
	};
	pthread_mutex_unlock(&vsp->lock);
}

/* ----------------------------------------------------------- disks ------- */

const char *storvsp_kind_name(enum storvsp_kind kind)
{
	static const char *const names[STORVSP_KINDS] = {
		[STORVSP_KIND_READ] = "read",
		[STORVSP_KIND_WRITE] = "write",
		[STORVSP_KIND_FLUSH] = "flush",
		[STORVSP_KIND_ZERO] = "zero",
	};

	return kind < STORVSP_KINDS ? names[kind] : "unknown";
}

static void add_level(uint64_t *now, uint64_t *max, const struct level *l)
{
	uint64_t n = atomic_load_explicit(&l->most, memory_order_relaxed);

	*now += level_get(l);
	if (max && n > *max)
		*max = n;
}

static void add(struct storvsp_disk_stats *out, const struct disk_stats *s)
{
	add_level(&out->in_flight, &out->in_flight_max, &s->in_flight);
	add_level(&out->waiting, &out->waiting_max, &s->waiting);
	add_level(&out->stalled, NULL, &s->stalled);
	out->aborted += get(&s->n[DISK_ABORTED]);
	out->full += get(&s->n[DISK_FULL]);
	out->throttled += get(&s->n[DISK_THROTTLED]);
	out->throttled_ns += get(&s->n[DISK_THROTTLED_NS]);
	out->stalls += get(&s->n[DISK_STALLS]);
	out->held += get(&s->n[DISK_HELD]);
	for (unsigned i = 0; i < STORVSP_KINDS; i++) {
		out->kind[i].count += get(&s->kind[i].count);
		out->kind[i].errors += get(&s->kind[i].errors);
		out->kind[i].bytes += get(&s->kind[i].bytes);
		histogram_sum(&out->kind[i].latency, &s->kind[i].latency);
	}
}

static void disk_stats(const struct storvsp *vsp, const struct storvsp_disk *d,
		       struct storvsp_disk_stats *out)
{
	const struct policy *p = d->policy;

	out->limits = p->limits;
	out->on_error =
		(enum storvsp_on_error)atomic_load_explicit(
			&p->on_error, memory_order_relaxed);
	out->paused = atomic_load(&p->paused);
	out->poisoned = d->img && vhd_poisoned(d->img);
	out->pause_code = p->pause_code;
	out->pauses = p->pauses;
	add(out, &p->gone);
	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		if (ch->gates[d->slot])
			add(out, &ch->gates[d->slot]->stats);
}

int storvsp_disk_get_stats(struct storvsp *vsp, struct storvsp_address at,
			   struct storvsp_disk_stats *out)
{
	const struct storvsp_disk *d;

	memset(out, 0, sizeof(*out));
	out->at = at;
	pthread_mutex_lock(&vsp->lock);
	d = storvsp_luns_find(&vsp->luns, at.path, at.target, at.lun);
	if (d)
		disk_stats(vsp, d, out);
	pthread_mutex_unlock(&vsp->lock);
	return d ? 0 : -ENOENT;
}

unsigned storvsp_disk_list(struct storvsp *vsp, struct storvsp_address *out,
			   unsigned max)
{
	unsigned n;

	pthread_mutex_lock(&vsp->lock);
	n = vsp->luns.count;
	for (unsigned i = 0; i < n && i < max; i++) {
		const struct storvsp_disk *d = vsp->luns.disk[i];

		out[i] = (struct storvsp_address){d->path, d->target, d->lun};
	}
	pthread_mutex_unlock(&vsp->lock);
	return n;
}

/* -------------------------------------------------------- channels ------- */

static struct storvsp_channel_stats channel_stats(const struct channel *ch)
{
	struct storvsp_channel_stats s = {
		.index = (unsigned)ch->number,
		.slots = ch->slot_count,
		.packets = stat_get(&ch->stats, STAT_PACKETS),
		.completions = stat_get(&ch->stats, STAT_COMPLETIONS),
		.errors = stat_get(&ch->stats, STAT_ERRORS),
	};

	add_level(&s.busy, &s.busy_max, &ch->busy);
	add_level(&s.in_flight, &s.in_flight_max, &ch->on_disk);
	add_level(&s.waiting, NULL, &ch->waiting);
	return s;
}

/* The list of channels is in no order: each goes to its place. */
static void insert(struct storvsp_channel_stats *out, unsigned have,
		   unsigned max, struct storvsp_channel_stats s)
{
	unsigned at = have < max ? have : max;

	while (at > 0 && out[at - 1].index > s.index) {
		if (at < max)
			out[at] = out[at - 1];
		at--;
	}
	if (at < max)
		out[at] = s;
}

unsigned storvsp_channel_list(struct storvsp *vsp,
			      struct storvsp_channel_stats *out, unsigned max)
{
	unsigned n = 0;

	pthread_mutex_lock(&vsp->lock);
	for (const struct channel *ch = vsp->channels; ch; ch = ch->next)
		insert(out, n++, max, channel_stats(ch));
	pthread_mutex_unlock(&vsp->lock);
	return n;
}
