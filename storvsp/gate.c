/* SPDX-License-Identifier: BSD-2-Clause */
/* See gate.h. */
#include <errno.h>
#include <stdlib.h>

#include "gate.h"
#include "now.h"
#include "policy.h"
#include "state.h"
#include "stats.h"
#include "trace.h"
#include "turn.h"

/* ------------------------------------------------------- the gates ------- */

/* Other threads look at the counters under the controller's lock. */
int storvsp_gate_attach(struct channel *ch, const struct storvsp_disk *d)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->disk = d;
	g->tail = &g->head;
	pthread_mutex_lock(&ch->vsp->lock);
	ch->gates[d->slot] = g;
	pthread_mutex_unlock(&ch->vsp->lock);
	return 0;
}

void storvsp_gate_detach(struct channel *ch, const struct storvsp_disk *d)
{
	struct gate *g = ch->gates[d->slot];

	if (!g)
		return;
	for (struct gate **p = &ch->blocked; *p; p = &(*p)->next) {
		if (*p == g) {
			*p = g->next;
			break;
		}
	}
	pthread_mutex_lock(&ch->vsp->lock);
	storvsp_stats_keep(&d->policy->gone, &g->stats);
	ch->gates[d->slot] = NULL;
	pthread_mutex_unlock(&ch->vsp->lock);
	free(g);
}

void storvsp_gate_free(struct channel *ch)
{
	for (unsigned i = 0; i < STORVSP_DISKS_MAX; i++)
		free(ch->gates[i]);
}

/* ------------------------------------------------------- the rules ------- */

static bool depth_ok(struct channel *ch, const struct gate *g)
{
	const struct policy *p = g->disk->policy;
	uint32_t n = level_get(&g->stats.in_flight);
	uint32_t left = ch->places - level_get(&ch->on_disk);
	uint32_t max = atomic_load_explicit(&p->depth, memory_order_relaxed);

	if (n == 0)
		return left > 0;
	/* one for each disk that has none */
	return n < left && left + ch->flying > ch->luns.count &&
	       (max == 0 || n < max);
}

/* What the request moves with this step: nothing is moved to zero. */
static uint64_t step_bytes(const struct request *r)
{
	return r->req.op == VHD_OP_READ || r->req.op == VHD_OP_WRITE
		       ? r->sectors * VHD_SECTOR_BYTES
		       : 0;
}

static void throttled_end(struct channel *ch, struct gate *g)
{
	if (!g->throttled_from_ns)
		return;
	disk_stat_add(&g->stats, DISK_THROTTLED_NS,
		      storvsp_now_ns(ch) - g->throttled_from_ns);
	g->throttled_from_ns = 0;
}

/* Ask last: a request that limits let pass has paid. */
static bool limits_ok(struct channel *ch, struct gate *g,
		      const struct request *r)
{
	struct limit *l = &g->disk->policy->limit;

	if (limit_on(l)) {
		uint64_t now = storvsp_now_ns(ch);

		if (limit_due_ns(l) > now) {
			if (!g->throttled_from_ns)
				g->throttled_from_ns = now;
			return false;
		}
		limit_charge(l, step_bytes(r), now);
	}
	throttled_end(ch, g);
	return true;
}

static bool may_pass(struct channel *ch, struct gate *g, struct request *r)
{
	if (!g->closed &&
	    !atomic_load_explicit(&g->disk->policy->paused,
				  memory_order_relaxed) &&
	    depth_ok(ch, g) && storvsp_turn_take(ch, g, r))
		return limits_ok(ch, g, r);
	throttled_end(ch, g); /* it is something else that holds it now */
	return false;
}

static void count_io(struct stats *s, enum vhd_op op)
{
	static const enum stat which[] = {
		[VHD_OP_READ] = STAT_READS,
		[VHD_OP_WRITE] = STAT_WRITES,
		[VHD_OP_FLUSH] = STAT_FLUSHES,
		[VHD_OP_ZERO] = STAT_ZEROS,
	};

	stat_add(s, which[op], 1);
}

static void send(struct channel *ch, struct request *r)
{
	r->state = REQUEST_DISK;
	count_io(&ch->stats, r->req.op);
	TRACE_REQUEST_SUBMIT(ch->number, r->trans_id, r->req.op, r->req.lba,
			     r->sectors);
	vhd_queue_submit(ch->queue, &r->req);
}

static void pass(struct channel *ch, struct gate *g, struct request *r)
{
	if (level_get(&g->stats.in_flight) == 0)
		ch->flying++;
	level_up(&g->stats.in_flight);
	level_up(&ch->on_disk);
	r->sent_ns = storvsp_now_ns(ch);
	send(ch, r);
}

/* ----------------------------------------------------- the requests ------ */

static void wait_here(struct channel *ch, struct gate *g, struct request *r)
{
	r->state = REQUEST_WAITING;
	level_up(&g->stats.waiting);
	level_up(&ch->waiting);
	if (g->throttled_from_ns)
		disk_stat_add(&g->stats, DISK_THROTTLED, 1);
	if (g->listed)
		return;
	g->listed = true;
	g->next = ch->blocked;
	ch->blocked = g;
}

static void wait_last(struct channel *ch, struct gate *g, struct request *r)
{
	r->next = NULL;
	*g->tail = r;
	g->tail = &r->next;
	wait_here(ch, g, r);
}

static void wait_first(struct channel *ch, struct gate *g, struct request *r)
{
	r->next = g->head;
	g->head = r;
	if (!r->next)
		g->tail = &r->next;
	wait_here(ch, g, r);
}

static struct request *take_first(struct channel *ch, struct gate *g)
{
	struct request *r = g->head;

	g->head = r->next;
	if (!g->head)
		g->tail = &g->head;
	level_down(&g->stats.waiting);
	level_down(&ch->waiting);
	return r;
}

/* Without other disks nobody is starved: the ring waits. `r` has its slot
 * already.
 */
static bool has_share(const struct channel *ch, const struct gate *g)
{
	unsigned left = ch->slot_count - level_get(&ch->busy);

	if (ch->luns.count == 1 || g->slots == 0)
		return false;
	/* one for each disk that has none, and one for a reset */
	return g->slots >= ch->depth ||
	       g->slots >= STORVSP_SLOT_SHARE * (left + 1) ||
	       left + ch->used <= ch->luns.count;
}

bool storvsp_gate_enter(struct channel *ch, struct request *r)
{
	struct gate *g = ch->gates[r->disk->slot];

	if (has_share(ch, g)) {
		disk_stat_add(&g->stats, DISK_FULL, 1);
		return false;
	}
	r->gate = g;
	r->from_ns = storvsp_now_ns(ch);
	r->stalled = false;
	if (g->slots++ == 0)
		ch->used++;
	if (!g->head && may_pass(ch, g, r))
		pass(ch, g, r);
	else
		wait_last(ch, g, r);
	return true;
}

void storvsp_gate_back(struct channel *ch, struct request *r)
{
	struct gate *g = r->gate;

	r->state = REQUEST_TAKEN;
	level_down(&g->stats.in_flight);
	level_down(&ch->on_disk);
	if (level_get(&g->stats.in_flight) == 0)
		ch->flying--;
	if (!r->stalled)
		return;
	r->stalled = false;
	level_down(&g->stats.stalled);
	storvsp_log_line(ch->log, "disk %u:%u:%u: %s ended after %llu s",
			 g->disk->path, g->disk->target, g->disk->lun,
			 storvsp_op_text(r->req.op),
			 (unsigned long long)((storvsp_now_ns(ch) -
					       r->sent_ns) / 1000000000u));
}

void storvsp_gate_again(struct channel *ch, struct request *r)
{
	if (may_pass(ch, r->gate, r))
		pass(ch, r->gate, r);
	else
		wait_first(ch, r->gate, r);
}

void storvsp_gate_hold(struct channel *ch, struct request *r)
{
	disk_stat_add(&r->gate->stats, DISK_HELD, 1);
	wait_first(ch, r->gate, r);
}

static enum storvsp_kind kind_of(const struct request *r)
{
	static const enum storvsp_kind kinds[] = {
		[VHD_OP_READ] = STORVSP_KIND_READ,
		[VHD_OP_WRITE] = STORVSP_KIND_WRITE,
		[VHD_OP_FLUSH] = STORVSP_KIND_FLUSH,
		[VHD_OP_ZERO] = STORVSP_KIND_ZERO,
	};

	return kinds[r->io.op];
}

void storvsp_gate_leave(struct channel *ch, struct request *r,
			const struct scsi_end *end)
{
	struct disk_stats *s = &r->gate->stats;
	enum storvsp_kind k = kind_of(r);

	storvsp_turn_give(ch, r->gate, r);
	if (--r->gate->slots == 0)
		ch->used--;
	r->gate = NULL;
	if (end->verdict == SCSI_ABORTED) {
		disk_stat_add(s, DISK_ABORTED, 1);
		return;
	}
	count_add(&s->kind[k].count, 1);
	if (end->verdict == SCSI_GOOD)
		count_add(&s->kind[k].bytes, end->bytes_moved);
	else
		count_add(&s->kind[k].errors, 1);
	histogram_add(&s->kind[k].latency, storvsp_now_ns(ch) - r->from_ns);
}

/* ---------------------------------------------------- when they open ----- */

static bool run(struct channel *ch, struct gate *g)
{
	bool did = false;

	while (g->head && may_pass(ch, g, g->head)) {
		pass(ch, g, take_first(ch, g));
		did = true;
	}
	return did;
}

bool storvsp_gate_run(struct channel *ch)
{
	struct gate **p = &ch->blocked;
	bool did = false;

	while (*p) {
		struct gate *g = *p;

		did |= run(ch, g);
		if (g->head) {
			p = &g->next;
		} else {
			*p = g->next;
			g->listed = false;
		}
	}
	return did;
}

struct request *storvsp_gate_take_out(struct channel *ch,
				      const struct reset_scope *scope)
{
	struct request *out = NULL, **tail = &out;

	for (struct gate *g = ch->blocked; g; g = g->next) {
		if (!storvsp_scope_has(scope, g->disk))
			continue;
		throttled_end(ch, g);
		while (g->head) {
			*tail = take_first(ch, g);
			tail = &(*tail)->next;
		}
	}
	*tail = NULL;
	return out;
}

/* ----------------------------------------------------------- stalls ------ */

static void stalled(struct channel *ch, struct request *r)
{
	const struct storvsp_disk *d = r->disk;

	r->stalled = true;
	disk_stat_add(&r->gate->stats, DISK_STALLS, 1);
	level_up(&r->gate->stats.stalled);
	storvsp_log_line(ch->log,
			 "disk %u:%u:%u: %s of %llu sectors at %llu is at the "
			 "host's disk for %u s and more",
			 d->path, d->target, d->lun, storvsp_op_text(r->req.op),
			 (unsigned long long)r->sectors,
			 (unsigned long long)r->req.lba,
			 ch->vsp->opts.stall_ms / 1000);
}

void storvsp_gate_watch(struct channel *ch)
{
	uint64_t stall_ns = ch->vsp->opts.stall_ms * 1000000ull, now;

	if (level_get(&ch->on_disk) == 0)
		return;
	now = storvsp_now_ns(ch);
	if (now < ch->watch_ns)
		return;
	ch->watch_ns = now + STORVSP_STALL_LOOK_NS;
	for (unsigned i = 0; i < ch->slots_used; i++) {
		struct request *r = &ch->slots[i];

		if (r->state == REQUEST_DISK && !r->stalled &&
		    now - r->sent_ns >= stall_ns)
			stalled(ch, r);
	}
}

int storvsp_gate_timeout_ms(struct channel *ch)
{
	uint64_t at = UINT64_MAX, now;

	if (level_get(&ch->on_disk) > 0)
		at = ch->watch_ns;
	for (struct gate *g = ch->blocked; g; g = g->next) {
		uint64_t due = limit_due_ns(&g->disk->policy->limit);

		if (g->throttled_from_ns && due < at)
			at = due;
	}
	if (at == UINT64_MAX)
		return -1;
	now = storvsp_clock_ns(ch->vsp);
	/* rounded up: not to wake too early again and again */
	return at > now ? (int)((at - now + 999999) / 1000000) : 0;
}
