/* SPDX-License-Identifier: BSD-2-Clause */
/* See simengine.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/random.h"
#include "tests/lib/simengine.h"

#define FLIGHT_MAX (VHD_QUEUE_DEPTH_MAX + 1)
#define UNLIMITED UINT32_MAX

struct flight {
	struct vhd_io *io;
	bool submitted;
	bool cancelled;
	bool lost;
};

struct simengine {
	struct sim_opts opts;
	uint64_t random;
	unsigned allowed; /* completions until it is held */
	bool pressed; /* a wait asks for progress */
	int broken;
	uint64_t submits;
	unsigned count;
	unsigned peak;
	struct flight flights[FLIGHT_MAX];
	struct sim_event *events;
	size_t event_count;
	size_t event_room;
};

/* vhd_engine_ops.create has no argument for it. */
static _Thread_local struct simengine *sim_next;

static int sim_create(uint32_t depth, void **state, struct vhd_err *err)
{
	(void)depth;
	(void)err;
	*state = sim_next;
	return 0;
}

static void sim_destroy(void *state)
{
	(void)state;
}

static int sim_attach(void *state, const struct vhd_file *f, uint32_t slot,
		      struct vhd_err *err)
{
	(void)state;
	(void)f;
	(void)slot;
	(void)err;
	return 0;
}

static void sim_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)state;
	(void)f;
	(void)slot;
}

static void sim_prep(void *state, struct vhd_io *io)
{
	struct simengine *s = state;

	if (s->count == FLIGHT_MAX)
		abort(); /* the queue passed its depth */
	s->flights[s->count++] = (struct flight){.io = io};
	if (s->count > s->peak)
		s->peak = s->count;
}

static int sim_submit(void *state)
{
	struct simengine *s = state;

	if (s->broken)
		return s->broken;
	s->submits++;
	for (unsigned i = 0; i < s->count; i++)
		s->flights[i].submitted = true;
	return 0;
}

static uint64_t iov_bytes(const struct vhd_io *io)
{
	uint64_t sum = 0;

	if (io->op == VHD_IO_ZERO)
		return io->zero_bytes;
	for (uint32_t i = 0; i < io->iov_count; i++)
		sum += io->iov[i].iov_len;
	return sum;
}

static int64_t move(const struct vhd_io *io, uint64_t most)
{
	const struct vhd_file *f = io->file;
	uint64_t off = io->off_bytes;
	int64_t sum = 0;

	for (uint32_t i = 0; i < io->iov_count && most; i++) {
		size_t len = io->iov[i].iov_len;
		ssize_t n;

		if (len > most)
			len = (size_t)most;
		if (io->op == VHD_IO_READ)
			n = f->ops->pread(f->state, io->iov[i].iov_base, len,
					  off);
		else
			n = f->ops->pwrite(f->state, io->iov[i].iov_base, len,
					   off);
		if (n < 0)
			return sum ? sum : n;
		sum += n;
		off += (uint64_t)n;
		most -= (uint64_t)n;
		if ((size_t)n < len)
			break;
	}
	return sum;
}

static bool chance(struct simengine *s, unsigned permille)
{
	return permille && random_below(&s->random, 1000) < permille;
}

static void draw_fate(struct simengine *s, const struct vhd_io *io,
		      struct sim_fate *fate)
{
	uint64_t len = iov_bytes(io);

	if (io->op != VHD_IO_SYNC && chance(s, s->opts.again_permille))
		/* EINTR of a durable write may be its sync's: not repeated */
		fate->code = random_below(&s->random, 2) && !io->dsync
				     ? -EINTR
				     : -EAGAIN;
	else if (len > 1 && io->op != VHD_IO_ZERO &&
		 chance(s, s->opts.short_permille))
		fate->most_bytes = 1 + random_below(&s->random, len - 1);
	if (s->opts.decide)
		s->opts.decide(s->opts.ctx, io, fate);
}

static int64_t carry_out(const struct vhd_io *io, const struct sim_fate *fate)
{
	const struct vhd_file *f = io->file;
	int64_t res;
	int rc;

	if (fate->code)
		return fate->code;
	if (fate->nothing)
		return 0;
	if (io->op == VHD_IO_SYNC)
		return f->ops->flush(f->state);
	if (io->op == VHD_IO_ZERO) {
		rc = f->ops->zero(f->state, io->off_bytes, io->zero_bytes);
		return rc ? rc : (int64_t)io->zero_bytes;
	}
	res = move(io, fate->most_bytes ? fate->most_bytes : UINT64_MAX);
	if (res <= 0 || !io->dsync)
		return res;
	rc = f->ops->flush(f->state);
	return rc ? rc : res;
}

static void record(struct simengine *s, const struct vhd_io *io)
{
	if (s->opts.forgetful)
		return;
	if (s->event_count == s->event_room) {
		s->event_room = s->event_room ? s->event_room * 2 : 64;
		s->events = realloc(s->events,
				    s->event_room * sizeof(*s->events));
		if (!s->events)
			abort();
	}
	s->events[s->event_count++] = (struct sim_event){
		.op = io->op,
		.dsync = io->dsync,
		.direct = io->direct,
		.iov_count = io->iov_count,
		.off_bytes = io->off_bytes,
		.len_bytes = iov_bytes(io),
		.res = io->res,
	};
}

/* Try to complete flight `i`; it leaves the table if so. */
static bool land(struct simengine *s, unsigned i)
{
	struct flight *f = &s->flights[i];
	struct sim_fate fate = {0};

	if (f->cancelled) {
		f->io->res = -ECANCELED;
	} else if (!f->submitted || !s->allowed || f->lost) {
		return false;
	} else {
		draw_fate(s, f->io, &fate);
		f->lost = fate.lost;
		if (f->lost || fate.later)
			return false;
		f->io->res = carry_out(f->io, &fate);
		if (s->allowed != UNLIMITED)
			s->allowed--;
	}
	record(s, f->io);
	*f = s->flights[--s->count];
	return true;
}

static struct vhd_io *sim_reap(void *state)
{
	struct simengine *s = state;
	struct vhd_io_list list = {0};
	unsigned tries = s->count;

	if (s->opts.around)
		s->opts.around(s->opts.ctx, true);
	while (tries-- && s->count) {
		unsigned i = (unsigned)random_below(&s->random, s->count);
		struct vhd_io *io = s->flights[i].io;

		if (!s->pressed && chance(s, s->opts.late_permille))
			continue;
		if (land(s, i)) {
			s->pressed = false;
			vhd_io_list_add(&list, io);
		}
	}
	if (s->opts.around)
		s->opts.around(s->opts.ctx, false);
	return list.head;
}

static int sim_wait(void *state, int wake_fd, int timeout_ms)
{
	struct simengine *s = state;

	(void)wake_fd;
	(void)timeout_ms;
	s->pressed = true;
	return sim_submit(s);
}

static void sim_cancel(void *state, struct vhd_io *io)
{
	struct simengine *s = state;

	for (unsigned i = 0; i < s->count; i++)
		if (s->flights[i].io == io && !s->opts.deaf)
			s->flights[i].cancelled = true;
}

static const struct vhd_engine_ops sim_ops = {
	.name = "simulated",
	.id = VHD_ENGINE_SYNC,
	.create = sim_create,
	.destroy = sim_destroy,
	.attach = sim_attach,
	.detach = sim_detach,
	.prep = sim_prep,
	.submit = sim_submit,
	.reap = sim_reap,
	.wait = sim_wait,
	.cancel = sim_cancel,
};

struct simengine *simengine_create(const struct sim_opts *opts)
{
	struct simengine *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	if (opts)
		s->opts = *opts;
	s->random = s->opts.seed;
	s->allowed = UNLIMITED;
	return s;
}

void simengine_destroy(struct simengine *s)
{
	free(s->events);
	free(s);
}

int simengine_queue(struct simengine *s, uint32_t depth,
		    struct vhd_queue **out)
{
	sim_next = s;
	return vhd_queue_create_on(&sim_ops, depth, out, NULL);
}

void simengine_hold(struct simengine *s, bool held)
{
	s->allowed = held ? 0 : UNLIMITED;
}

void simengine_allow(struct simengine *s, unsigned n)
{
	s->allowed = n;
}

void simengine_break(struct simengine *s, int code)
{
	s->broken = code;
}

unsigned simengine_in_flight(const struct simengine *s)
{
	return s->count;
}

unsigned simengine_peak(const struct simengine *s)
{
	return s->peak;
}

uint64_t simengine_submits(const struct simengine *s)
{
	return s->submits;
}

size_t simengine_count(const struct simengine *s)
{
	return s->event_count;
}

const struct sim_event *simengine_event(const struct simengine *s, size_t i)
{
	return &s->events[i];
}

size_t simengine_count_op(const struct simengine *s, enum vhd_io_op op)
{
	size_t n = 0;

	for (size_t i = 0; i < s->event_count; i++)
		n += s->events[i].op == op;
	return n;
}
