/* SPDX-License-Identifier: BSD-2-Clause */
/* The copy: a ring of slots, each a buffer that is read into, scanned for
 * zeros and written from.
 *
 *   free -> reading -> read -> (scan) -> writing -> free
 *
 * Invariants:
 *   - reads are started in disk order, several in flight;
 *   - writes are submitted in disk order too, whatever order the reads came
 *     back in, so that blocks of a dynamic image are laid out in sequence and
 *     the same source always gives the same layout;
 *   - only grains that are not all zero are written: the destination is new
 *     and reads as zero where nothing was written;
 *   - buffers are allocated once, and few, so that what was read is still in
 *     the processor's cache when it is scanned and written.
 */
#include <errno.h>
#include <stdlib.h>

#include <isa-l/mem_routines.h>

#include "convert.h"

#define SLOTS 16u
#define SLOT_BYTES (512u << 10)
/* Data and zero grains in turn give the most pieces. */
#define PIECES_MAX (SLOT_BYTES / CONVERT_GRAIN_BYTES / 2 + 1)
#define REAP_MAX 32u

struct slot {
	struct slot *next;      /* in the free list or the order of reading */
	uint8_t *buf;
	uint64_t off_bytes;
	uint64_t len_bytes;
	bool read_done;
	unsigned writes_left;
	struct vhd_req read;
	struct iovec read_iov;
	struct vhd_req write[PIECES_MAX];
	struct iovec write_iov[PIECES_MAX];
};

struct copy {
	struct convert_job *job;
	struct vhd *src;
	struct vhd *dst;
	struct convert_extents extents;
	struct convert_writeback *wb;
	struct convert_stats *stats;
	uint64_t at_bytes;      /* where the next read may start */
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
	c->free = s;
	c->busy--;
}

static void read_start(struct copy *c, uint64_t len_bytes)
{
	struct slot *s = c->free;

	c->free = s->next;
	c->busy++;
	s->next = NULL;
	s->off_bytes = c->at_bytes;
	s->len_bytes = len_bytes;
	s->read_done = false;
	s->read_iov = (struct iovec){ s->buf, len_bytes };
	s->read = (struct vhd_req){
		.img = c->src,
		.op = VHD_OP_READ,
		.lba = s->off_bytes / VHD_SECTOR_BYTES,
		.iov = &s->read_iov,
		.iov_count = 1,
		.user = s,
	};
	if (c->last)
		c->last->next = s;
	else
		c->first = s;
	c->last = s;
	c->at_bytes += len_bytes;
	convert_paid(c->job, len_bytes);
	vhd_queue_submit(c->job->queue, &s->read);
}

static int read_next(struct copy *c, struct vhd_err *err)
{
	uint64_t len = 0;
	int rc;

	if (c->all_read || !c->free)
		return 0;
	rc = convert_extents_next(&c->extents, SLOT_BYTES, &c->at_bytes, &len,
				  err);
	if (rc) {
		c->job->blame = c->job->src;
		return rc;
	}
	if (len)
		read_start(c, len);
	else
		c->all_read = true;
	return 0;
}

/* The next run of grains that are not all zero at or behind `*from`; returns
 * its end, and `*from` at the end of the slot when there is none.
 */
static uint64_t piece_next(const struct slot *s, uint64_t *from)
{
	uint64_t at = *from;
	bool inside = false;

	while (at < s->len_bytes) {
		uint64_t left = s->len_bytes - at;
		uint64_t n = left < CONVERT_GRAIN_BYTES ? left
							: CONVERT_GRAIN_BYTES;
		/* 0 says "all zero" */
		bool data = isal_zero_detect(s->buf + at, n) != 0;

		if (inside && !data)
			return at;
		if (!inside && data)
			*from = at;
		inside = data;
		at += n;
	}
	if (!inside)
		*from = s->len_bytes;
	return s->len_bytes;
}

/* A submitted write has its place, and has not reached the kernel yet. */
static void place_ahead(struct copy *c, const struct vhd_req *req)
{
	struct vhd_run run;

	if (c->wb->ahead &&
	    !vhd_map(c->dst, req->lba, req->iov->iov_len / VHD_SECTOR_BYTES,
		     &run, NULL) &&
	    run.kind == VHD_RUN_FILE)
		convert_writeback_ahead(c->wb, run.off_bytes,
					run.sectors * VHD_SECTOR_BYTES);
}

static void write_start(struct copy *c, struct slot *s)
{
	uint64_t from = 0, to;

	s->writes_left = 0;
	for (; (to = piece_next(s, &from)) > from; from = to) {
		unsigned i = s->writes_left++;

		s->write_iov[i] = (struct iovec){ s->buf + from, to - from };
		s->write[i] = (struct vhd_req){
			.img = c->dst,
			.op = VHD_OP_WRITE,
			.lba = (s->off_bytes + from) / VHD_SECTOR_BYTES,
			.iov = &s->write_iov[i],
			.iov_count = 1,
			.user = s,
		};
		c->stats->written_bytes += to - from;
		vhd_queue_submit(c->job->queue, &s->write[i]);
		place_ahead(c, &s->write[i]);
	}
	if (!s->writes_left)
		slot_free(c, s);
}

/* Write what has been read, in order. */
static void write_ready(struct copy *c)
{
	while (c->first && c->first->read_done) {
		struct slot *s = c->first;

		c->first = s->next;
		if (!c->first)
			c->last = NULL;
		write_start(c, s);
	}
}

/* Where a slot's bytes went in the file; the blocks of one slot lie behind
 * one another unless they are smaller than it and were there before, which
 * they were not.
 */
static int slot_written(struct copy *c, struct slot *s, struct vhd_err *err)
{
	uint64_t lba = s->write[0].lba;
	uint64_t end = (s->off_bytes + s->len_bytes) / VHD_SECTOR_BYTES;
	struct vhd_run run;
	int rc;

	rc = vhd_map(c->dst, lba, end - lba, &run, err);
	if (!rc && run.kind == VHD_RUN_FILE)
		rc = convert_writeback_add(c->wb, run.off_bytes,
					   run.sectors * VHD_SECTOR_BYTES, err);
	if (rc)
		c->job->blame = c->job->dst;
	slot_free(c, s);
	return rc;
}

static int finish(struct copy *c, struct vhd_req *req, struct vhd_err *err)
{
	struct slot *s = req->user;
	bool was_read = req->op == VHD_OP_READ;

	if (req->result)
		return convert_req_fail(c->job, req,
					was_read ? c->job->src : c->job->dst,
					err);
	if (was_read) {
		c->stats->read_bytes += s->len_bytes;
		s->read_done = true;
		return 0;
	}
	return --s->writes_left ? 0 : slot_written(c, s, err);
}

/* ---------------------------------------------------------------- loop -- */

static int reap(struct copy *c, struct vhd_err *err)
{
	struct vhd_req *done[REAP_MAX];
	unsigned n = vhd_queue_reap(c->job->queue, done, REAP_MAX);
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++)
		rc = finish(c, done[i], err);
	write_ready(c);
	return rc;
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
	if (may_read)
		rc = read_next(c, err);
	if (rc)
		return rc;
	if (!waits)
		vhd_queue_kick(c->job->queue);
	else
		rc = convert_wait(c->job, err);
	if (!rc)
		rc = reap(c, err);
	cli_progress_show(&c->job->progress, c->at_bytes,
			  c->stats->read_bytes);
	return rc;
}

static int slots_create(struct copy *c, struct vhd_err *err)
{
	c->slots = calloc(SLOTS, sizeof(*c->slots));
	if (!c->slots)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: %zu bytes for requests",
				SLOTS * sizeof(*c->slots));
	c->buffers = convert_buffers(SLOTS, SLOT_BYTES, err);
	if (!c->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < SLOTS; i++) {
		c->slots[i].buf = (uint8_t *)c->buffers +
				  (size_t)i * SLOT_BYTES;
		c->slots[i].next = c->free;
		c->free = &c->slots[i];
	}
	return 0;
}

static int attach(struct convert_job *job, struct vhd *img, const char *path,
		  struct vhd_err *err)
{
	int rc = vhd_queue_attach(job->queue, img, err);

	if (rc)
		job->blame = path;
	return rc;
}

int convert_copy(struct convert_job *job, struct convert_input *in,
		 struct vhd *dst, struct convert_writeback *wb,
		 struct convert_stats *stats, struct vhd_err *err)
{
	struct copy c = {
		.job = job,
		.src = in->img,
		.dst = dst,
		.wb = wb,
		.stats = stats,
	};
	int rc;

	convert_extents_init(&c.extents, in->img, in->fd);
	job->blame = job->dst;
	rc = slots_create(&c, err);
	if (rc)
		goto out;
	rc = attach(job, in->img, job->src, err);
	if (rc)
		goto out;
	rc = attach(job, dst, job->dst, err);
	if (rc)
		goto out_src;
	while (!rc && (!c.all_read || c.busy))
		rc = turn(&c, err);
	convert_drain(job);
	vhd_queue_detach(job->queue, dst);
out_src:
	vhd_queue_detach(job->queue, in->img);
out:
	convert_buffers_free(c.buffers, SLOTS, SLOT_BYTES);
	free(c.slots);
	return rc;
}
