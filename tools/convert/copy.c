/* SPDX-License-Identifier: BSD-2-Clause */
/* The copy: a ring of slots, each a buffer that is read into, scanned for
 * zeros and written from.
 *
 *   free -> reading -> read -> (scan) -> writing -> free
 *
 * Invariants:
 *   - reads are started in disk order, several in flight;
 *   - writes are submitted in disk order too, whatever order the reads came
 *     back in, so that blocks of a dynamic image are laid out in sequence, the
 *     same source always gives the same layout, and sinks may be streams;
 *   - only grains that are not all zero are written: sinks see to the rest;
 *   - buffers are allocated once, and few, so that what was read is still in
 *     the processor's cache when it is scanned and written.
 */
#include <errno.h>
#include <stdlib.h>

#include <isa-l/mem_routines.h>

#include "convert.h"
#include "resume.h"

#define SLOTS 16u
/* So much is shared at once; signals wait for it. */
#define SHARE_BYTES (256u << 20)
/* Where it all goes, and what looks on. */
#define SINKS_MAX 2u
/* Data and zero grains in turn give the most pieces; who looks on takes what
 * was read as one.
 */
#define PIECES_MAX (CONVERT_UNIT_BYTES / CONVERT_GRAIN_BYTES / 2 + 1)
#define WRITES_MAX (PIECES_MAX + SINKS_MAX - 1)

struct copy;

struct slot {
	struct copy *copy;
	struct slot *next;      /* in the free list or the order of reading */
	uint8_t *buf;
	bool busy;
	bool read_done;
	unsigned writes_left;
	unsigned writes;
	struct convert_io read;
	struct convert_io write[WRITES_MAX];
};

struct copy {
	struct convert_job *job;
	struct convert_source *src;
	struct convert_sink *sinks[SINKS_MAX];
	unsigned sink_count;
	struct convert_stats *stats;
	uint64_t at_bytes;      /* where the next read may start */
	uint64_t copy_to_bytes; /* what is before this is not shared */
	uint64_t failed_bytes;  /* lowest write that failed, or UINT64_MAX */
	bool share_waits;       /* for what is in flight */
	bool all_read;          /* the last read has been started */
	struct slot *slots;
	void *buffers;
	struct slot *free;
	struct slot *first;     /* oldest slot being read; reading order */
	struct slot *last;
	unsigned busy;
};

/* --------------------------------------------------------------- slots -- */

static void slot_free(struct copy *c, struct slot *s)
{
	s->next = c->free;
	s->busy = false;
	c->free = s;
	c->busy--;
}

/* The disk before this is in the destination, or zero. */
static uint64_t done_before(const struct copy *c)
{
	uint64_t low = c->at_bytes < c->failed_bytes ? c->at_bytes
						     : c->failed_bytes;

	for (unsigned i = 0; c->slots && i < SLOTS; i++)
		if (c->slots[i].busy && c->slots[i].read.off_bytes < low)
			low = c->slots[i].read.off_bytes;
	return low;
}

static void read_done(struct convert_io *io)
{
	struct slot *s = io->user;

	s->read_done = true;
	if (!io->result)
		s->copy->stats->read_bytes += io->len_bytes;
}

static void read_start(struct copy *c, uint64_t len_bytes)
{
	struct slot *s = c->free;

	c->free = s->next;
	c->busy++;
	s->next = NULL;
	s->busy = true;
	s->read_done = false;
	s->read = (struct convert_io){
		.off_bytes = c->at_bytes,
		.len_bytes = len_bytes,
		.buf = s->buf,
		.done = read_done,
		.user = s,
	};
	if (c->last)
		c->last->next = s;
	else
		c->first = s;
	c->last = s;
	c->at_bytes += len_bytes;
	convert_paid(c->job, len_bytes);
	c->src->ops->read(c->src, &s->read);
}

/* Sinks may want coarser grains than sources have extents of: no piece may
 * end inside one.
 */
static void widen(const struct copy *c, uint64_t *off, uint64_t *len)
{
	uint64_t end = *off + *len, mask = 0;

	for (unsigned i = 0; i < c->sink_count; i++)
		mask |= c->sinks[i]->grain_bytes - 1;
	*off &= ~mask;
	if (*off < c->at_bytes)
		*off = c->at_bytes;
	end = (end + mask) & ~mask;
	if (end > c->src->size_bytes)
		end = c->src->size_bytes;
	*len = end - *off;
}

/* The next extent, shared as far as it can be. Only with nothing in flight:
 * places in the destination are given in the order of the disk.
 */
static int share_next(struct copy *c, struct vhd_err *err)
{
	struct convert_share *sh = c->job->share;
	uint64_t len = 0, n, done;
	bool may;
	int rc;

	rc = c->src->ops->next(c->src, SHARE_BYTES, &c->at_bytes, &len, err);
	if (rc || !len) {
		c->all_read = !rc;
		return rc;
	}
	rc = convert_share_plan(sh, c->at_bytes, len, &may, &n, err);
	if (rc || !may) {
		/* What is read begins and ends on grains. */
		c->copy_to_bytes = (c->at_bytes + n + CONVERT_GRAIN_BYTES - 1) &
				   ~(uint64_t)(CONVERT_GRAIN_BYTES - 1);
		return rc;
	}
	c->share_waits = c->busy > 0;
	if (c->share_waits)
		return 0;
	c->job->blame = c->job->dst;
	rc = convert_share_do(sh, c->at_bytes, n, &done, err);
	c->at_bytes += done;
	c->stats->written_bytes += done;
	if (rc > 0)
		c->copy_to_bytes = c->at_bytes + n - done;
	return rc < 0 ? rc : 0;
}

/* Whether the next part is to be shared rather than read. */
static bool share_first(const struct copy *c)
{
	const struct convert_share *sh = c->job->share;

	return sh && !sh->off && sh->ahead &&
	       c->at_bytes >= c->copy_to_bytes;
}

static int read_next(struct copy *c, struct vhd_err *err)
{
	uint64_t off = c->at_bytes, len = 0;
	int rc;

	if (c->all_read || !c->free)
		return 0;
	c->job->blame = c->src->path;
	if (share_first(c))
		return share_next(c, err);
	rc = c->src->ops->next(c->src, CONVERT_UNIT_BYTES, &off, &len, err);
	if (rc)
		return rc;
	if (c->copy_to_bytes > off && len > c->copy_to_bytes - off)
		len = c->copy_to_bytes - off;
	if (len)
		widen(c, &off, &len);
	c->at_bytes = off;
	if (len)
		read_start(c, len);
	else
		c->all_read = true;
	return 0;
}

/* The next run of grains that are not all zero at or behind `*from`; returns
 * its end, and `*from` at the end of the slot when there is none.
 */
static uint64_t piece_next(const struct slot *s, uint64_t grain, uint64_t *from)
{
	uint64_t at = *from, len = s->read.len_bytes;
	bool inside = false;

	while (at < len) {
		/* Grains are the disk's, wherever the slot begins. */
		uint64_t n = grain - ((s->read.off_bytes + at) & (grain - 1));
		bool data;

		if (n > len - at)
			n = len - at;
		/* 0 says "all zero" */
		data = isal_zero_detect(s->buf + at, n) != 0;
		if (inside && !data)
			return at;
		if (!inside && data)
			*from = at;
		inside = data;
		at += n;
	}
	if (!inside)
		*from = len;
	return len;
}

static void slot_written(struct copy *c, struct slot *s)
{
	struct vhd_err err = { 0 };

	for (unsigned i = 0; i < c->sink_count && s->writes; i++) {
		struct convert_sink *k = c->sinks[i];

		if (k->ops->written &&
		    k->ops->written(k, s->read.off_bytes, s->read.len_bytes,
				    &err))
			convert_fault(c->job, k->path, err.code, err.why, "%s",
				      err.text);
	}
	slot_free(c, s);
}

static void write_done(struct convert_io *io)
{
	struct slot *s = io->user;

	if (io->result && io->off_bytes < s->copy->failed_bytes)
		s->copy->failed_bytes = io->off_bytes;
	if (--s->writes_left == 0)
		slot_written(s->copy, s);
}

static uint64_t piece_of(const struct slot *s, const struct convert_sink *k,
			 uint64_t *from)
{
	return k->whole ? s->read.len_bytes
			: piece_next(s, k->grain_bytes, from);
}

static void write_to(struct copy *c, struct slot *s, struct convert_sink *k)
{
	uint64_t from = 0, to;

	for (; (to = piece_of(s, k, &from)) > from; from = to) {
		struct convert_io *io = &s->write[s->writes++];

		*io = (struct convert_io){
			.off_bytes = s->read.off_bytes + from,
			.len_bytes = to - from,
			.buf = s->buf + from,
			.done = write_done,
			.user = s,
		};
		if (k == c->sinks[0])
			c->stats->written_bytes += to - from;
		s->writes_left++;
		k->ops->write(k, io);
	}
}

static void write_start(struct copy *c, struct slot *s)
{
	s->writes = 0;
	s->writes_left = 1; /* ours, until all are on their way */
	for (unsigned i = 0; i < c->sink_count; i++)
		write_to(c, s, c->sinks[i]);
	if (--s->writes_left == 0)
		slot_written(c, s);
}

static bool room(const struct copy *c)
{
	for (unsigned i = 0; i < c->sink_count; i++)
		if (c->sinks[i]->ops->room &&
		    !c->sinks[i]->ops->room(c->sinks[i]))
			return false;
	return true;
}

/* Write what has been read, in order. */
static void write_ready(struct copy *c)
{
	while (c->first && c->first->read_done && !c->job->fault.code &&
	       room(c)) {
		struct slot *s = c->first;

		c->first = s->next;
		if (!c->first)
			c->last = NULL;
		write_start(c, s);
	}
}

/* ---------------------------------------------------------------- loop -- */

static void turn_ends(struct copy *c)
{
	convert_reap(c->job);
	if (c->src->ops->turn)
		c->src->ops->turn(c->src);
	for (unsigned i = 0; i < c->sink_count; i++)
		if (c->sinks[i]->ops->turn)
			c->sinks[i]->ops->turn(c->sinks[i]);
}

/* One read is started a turn, and its bytes are dealt with in the same turn
 * if the page cache had them: that keeps them in the processor's cache. Only
 * when every slot is busy is there anything to wait for.
 */
static int turn(struct copy *c, struct vhd_err *err)
{
	bool may_read = convert_may_read(c->job);
	bool waits = !c->free || c->all_read || !may_read;
	int rc = 0;

	if (convert_interrupted(c->job, err))
		return -EINTR;
	c->share_waits = false;
	if (may_read)
		rc = read_next(c, err);
	if (rc)
		return rc;
	if (!waits && !c->share_waits)
		vhd_queue_kick(c->job->queue);
	else
		rc = convert_wait(c->job, err);
	if (rc)
		return rc;
	turn_ends(c);
	write_ready(c);
	if (convert_resume_due(c->job))
		convert_resume_turn(c->job, done_before(c));
	cli_progress_show(&c->job->progress, c->at_bytes,
			  c->stats->read_bytes);
	return convert_faulted(c->job, err);
}

static int slots_create(struct copy *c, struct vhd_err *err)
{
	c->slots = calloc(SLOTS, sizeof(*c->slots));
	if (!c->slots)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: %zu bytes for requests",
				SLOTS * sizeof(*c->slots));
	c->buffers = convert_buffers(SLOTS, CONVERT_UNIT_BYTES, err);
	if (!c->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < SLOTS; i++) {
		c->slots[i].copy = c;
		c->slots[i].buf = (uint8_t *)c->buffers +
				  (size_t)i * CONVERT_UNIT_BYTES;
		c->slots[i].next = c->free;
		c->free = &c->slots[i];
	}
	return 0;
}

/* After a failure: nothing may be left that points into the slots. */
static void drain(struct copy *c)
{
	convert_drain(c->job);
	if (c->src->ops->drain)
		c->src->ops->drain(c->src);
	for (unsigned i = 0; i < c->sink_count; i++)
		if (c->sinks[i]->ops->drain)
			c->sinks[i]->ops->drain(c->sinks[i]);
}

static int finish(struct copy *c, struct vhd_err *err)
{
	uint64_t size = c->src->size_bytes;
	int rc = 0;

	c->stats->size_bytes = size;
	for (unsigned i = 0; i < c->sink_count && !rc; i++) {
		struct convert_sink *k = c->sinks[i];

		c->job->blame = k->path;
		if (k->ops->finish)
			rc = k->ops->finish(k, size + c->stats->grown_bytes,
					    err);
	}
	return rc;
}

int convert_copy(struct convert_job *job, struct convert_source *src,
		 struct convert_sink *sink, struct convert_stats *stats,
		 struct vhd_err *err)
{
	struct copy c = {
		.job = job,
		.src = src,
		.sinks = { sink, job->onlooker },
		.sink_count = job->onlooker ? 2 : 1,
		.stats = stats,
		.at_bytes = job->resume ? job->resume->mark.mark_bytes : 0,
		.failed_bytes = UINT64_MAX,
	};
	int rc;

	job->blame = job->dst;
	rc = slots_create(&c, err);
	while (!rc && (!c.all_read || c.busy))
		rc = turn(&c, err);
	if (!rc)
		rc = finish(&c, err);
	drain(&c);
	stats->done_bytes = done_before(&c);
	convert_buffers_free(c.buffers, SLOTS, CONVERT_UNIT_BYTES);
	free(c.slots);
	return rc;
}
