/* SPDX-License-Identifier: BSD-2-Clause */
/* The data of a merge on its way: a ring of slots, each a buffer that is read
 * into from the layers and written from into the target.
 *
 *   free -> reading -> read -> (zeros) -> writing -> free
 *
 * Reads and writes are submitted in the order of the disk, many in flight, so
 * that new blocks lie in sequence and the same images give the same layout.
 * Slots hold sectors of their own; no two requests touch the same.
 */
#include <errno.h>
#include <stdlib.h>

#include <isa-l/mem_routines.h>

#include "fail.h"
#include "merge_int.h"

#define SLOTS	     32u
#define SLOT_BYTES   (256u << 10)
#define SLOT_SECTORS (SLOT_BYTES / VHD_SECTOR_BYTES)
/* Grains written and left out in turn, and one cut at each end. */
#define PIECES_MAX (SLOT_SECTORS / MERGE_GRAIN_SECTORS / 2 + 2)
#define REAP_MAX   32u
/* How often `progress` is asked while nothing comes back. */
#define WAIT_MS	     200
#define BUFFER_ALIGN 4096u

struct slot {
	struct slot *next; /* in the free list or the order of reading */
	uint8_t *buf;
	uint64_t lba;
	uint64_t sectors;
	bool read_done;
	unsigned writes_left;
	struct vhd_req read;
	struct iovec read_iov;
	struct vhd_req write[PIECES_MAX];
	struct iovec write_iov[PIECES_MAX];
};

struct copy {
	struct vhd *upper;
	struct vhd *target;
	const struct vhd_merge_opts *opts;
	struct vhd_merge_result *r;
	struct vhd_queue *queue;
	uint64_t *lacking; /* owned: see merge_leave_out */
	uint64_t lba;	   /* where the next read may start */
	bool all_read;
	struct slot *slots;
	uint8_t *buffers;
	struct slot *free;
	struct slot *first; /* oldest being read; in the order of reading */
	struct slot *last;
	unsigned busy;
};

/* --------------------------------------------------------------- reads -- */

static void slot_free(struct copy *c, struct slot *s)
{
	s->next = c->free;
	c->free = s;
	c->busy--;
}

static void read_start(struct copy *c, uint64_t sectors)
{
	struct slot *s = c->free;

	c->free = s->next;
	c->busy++;
	s->next = NULL;
	s->lba = c->lba;
	s->sectors = sectors;
	s->read_done = false;
	s->read_iov = (struct iovec){s->buf, sectors * VHD_SECTOR_BYTES};
	s->read = (struct vhd_req){
		.img = c->upper,
		.op = VHD_OP_READ,
		.lba = s->lba,
		.iov = &s->read_iov,
		.iov_count = 1,
		.user = s,
	};
	if (c->last)
		c->last->next = s;
	else
		c->first = s;
	c->last = s;
	c->lba += sectors;
	vhd_queue_submit(c->queue, &s->read);
}

static int read_next(struct copy *c, struct vhd_err *err)
{
	uint64_t n;
	int rc;

	if (c->all_read || !c->free)
		return 0;
	rc = merge_next(c->upper, SLOT_SECTORS, &c->lba, &n, err);
	if (rc)
		return rc;
	if (n)
		read_start(c, n);
	else
		c->all_read = true;
	return 0;
}

/* -------------------------------------------------------------- writes -- */

static void piece_start(struct copy *c, struct slot *s, uint64_t lba,
			uint64_t sectors)
{
	unsigned i = s->writes_left++;

	s->write_iov[i] = (struct iovec){
		s->buf + (lba - s->lba) * VHD_SECTOR_BYTES,
		sectors * VHD_SECTOR_BYTES,
	};
	s->write[i] = (struct vhd_req){
		.img = c->target,
		.op = VHD_OP_WRITE,
		.lba = lba,
		.iov = &s->write_iov[i],
		.iov_count = 1,
		.user = s,
	};
	c->r->write_bytes += sectors * VHD_SECTOR_BYTES;
	vhd_queue_submit(c->queue, &s->write[i]);
}

/* Whether a grain need not be written. */
static int left_out(struct copy *c, const struct slot *s, uint64_t lba,
		    uint64_t sectors, bool *out, struct vhd_err *err)
{
	uint8_t *at = s->buf + (lba - s->lba) * VHD_SECTOR_BYTES;

	*out = false;
	if (isal_zero_detect(at, (size_t)sectors * VHD_SECTOR_BYTES))
		return 0;
	return merge_leave_out(c->target, c->lacking, lba, sectors, out, err);
}

/* Write a slot's grains, those that follow each other as one. */
static int write_start(struct copy *c, struct slot *s, struct vhd_err *err)
{
	uint64_t end = s->lba + s->sectors, from = s->lba, n;
	int rc = 0;

	s->writes_left = 0;
	for (uint64_t lba = s->lba; lba < end; lba += n) {
		bool out;

		n = merge_grain(lba, end);
		rc = left_out(c, s, lba, n, &out, err);
		if (rc)
			break;
		if (!out)
			continue;
		c->r->zero_bytes += n * VHD_SECTOR_BYTES;
		if (from < lba)
			piece_start(c, s, from, lba - from);
		from = lba + n;
	}
	if (!rc && from < end)
		piece_start(c, s, from, end - from);
	if (!s->writes_left)
		slot_free(c, s);
	return rc;
}

/* Write what has been read, in order. */
static int write_ready(struct copy *c, struct vhd_err *err)
{
	int rc = 0;

	while (!rc && c->first && c->first->read_done) {
		struct slot *s = c->first;

		c->first = s->next;
		if (!c->first)
			c->last = NULL;
		c->r->held_bytes += s->sectors * VHD_SECTOR_BYTES;
		rc = write_start(c, s, err);
	}
	return rc;
}

/* ---------------------------------------------------------------- loop -- */

static int finish(struct copy *c, struct vhd_req *req, struct vhd_err *err)
{
	struct slot *s = req->user;
	bool was_read = req->op == VHD_OP_READ;

	if (req->result)
		return vhd_fail(err, req->result, req->why, 0,
				"cannot %s at disk offset %llu: %s",
				was_read ? "read the layers" : "write",
				(unsigned long long)req->bad_lba *
					VHD_SECTOR_BYTES,
				vhd_errno_text(req->result));
	if (was_read)
		s->read_done = true;
	else if (--s->writes_left == 0)
		slot_free(c, s);
	return 0;
}

/* What is back. The first fault counts, unless it only says that the target
 * was given up: the cause may have been sent out before it and come back later.
 */
static int collect(struct copy *c, int rc, unsigned *count, struct vhd_err *err)
{
	struct vhd_req *done[REAP_MAX];
	unsigned n = vhd_queue_reap(c->queue, done, REAP_MAX);

	for (unsigned i = 0; i < n; i++)
		if (!rc || (done[i]->result && err->why == VHD_WHY_POISONED))
			rc = finish(c, done[i], err);
	*count = n;
	return rc;
}

static int reap(struct copy *c, struct vhd_err *err)
{
	unsigned n;
	int rc = collect(c, 0, &n, err);

	return rc ? rc : write_ready(c, err);
}

static int asked_to_end(const struct copy *c, struct vhd_err *err)
{
	if (!c->opts->progress ||
	    !c->opts->progress(c->opts->ctx, c->lba * VHD_SECTOR_BYTES,
			       c->r->held_bytes))
		return 0;
	return vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			"the merge was stopped; the disk reads as before "
			"through its layers");
}

/* Only when every slot is busy, or nothing is left to read, is there anything
 * to wait for.
 */
static int turn(struct copy *c, struct vhd_err *err)
{
	bool waits;
	int rc = asked_to_end(c, err);

	if (!rc)
		rc = read_next(c, err);
	if (rc)
		return rc;
	waits = !c->free || c->all_read;
	if (waits && vhd_queue_in_flight(c->queue)) {
		rc = vhd_queue_wait(c->queue, -1, WAIT_MS);
		if (rc)
			return vhd_fail(err, rc, VHD_WHY_IO, 0,
					"the I/O engine failed: %s",
					vhd_errno_text(rc));
	}
	return reap(c, err);
}

/* Nothing may be under way when buffers go. */
static int drain(struct copy *c, int rc, struct vhd_err *err)
{
	unsigned n;

	while (vhd_queue_in_flight(c->queue)) {
		rc = collect(c, rc, &n, err);
		if (!n)
			(void)vhd_queue_wait(c->queue, -1, WAIT_MS);
	}
	return rc;
}

/* ------------------------------------------------------- setting it up -- */

static int slots_create(struct copy *c, struct vhd_err *err)
{
	bool dynamic = c->target->info.format == VHD_FORMAT_DYNAMIC;

	c->slots = calloc(SLOTS, sizeof(*c->slots));
	c->buffers = aligned_alloc(BUFFER_ALIGN, SLOTS * SLOT_BYTES);
	c->lacking = merge_lacking(c->target);
	if (!c->slots || !c->buffers || (dynamic && !c->lacking))
		return vhd_fail_nomem(err, SLOTS * SLOT_BYTES, "buffers");
	for (unsigned i = SLOTS; i-- > 0;) {
		c->slots[i].buf = c->buffers + (size_t)i * SLOT_BYTES;
		c->slots[i].next = c->free;
		c->free = &c->slots[i];
	}
	return 0;
}

static int queue_create(struct copy *c, struct vhd_err *err)
{
	const struct vhd_queue_opts o = {.engine = c->opts->engine};
	int rc = vhd_queue_create(&o, &c->queue, err);

	if (!rc)
		rc = vhd_queue_attach(c->queue, c->upper, err);
	if (!rc)
		rc = vhd_queue_attach(c->queue, c->target, err);
	return rc;
}

int merge_copy(struct vhd *upper, struct vhd *target,
	       const struct vhd_merge_opts *opts, struct vhd_merge_result *r,
	       struct vhd_err *err)
{
	struct copy c = {
		.upper = upper, .target = target, .opts = opts, .r = r};
	uint32_t used = target->used;
	struct vhd_err e = {0};
	int rc = slots_create(&c, &e);

	r->held_bytes = r->write_bytes = r->zero_bytes = 0;
	if (!rc)
		rc = queue_create(&c, &e);
	while (!rc && (!c.all_read || c.busy))
		rc = turn(&c, &e);
	if (c.queue)
		rc = drain(&c, rc, &e);
	if (rc && err)
		*err = e;
	vhd_queue_destroy(c.queue);
	free(c.buffers);
	free(c.slots);
	free(c.lacking);
	r->new_blocks = target->used - used;
	return rc;
}
