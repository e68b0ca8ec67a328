/* SPDX-License-Identifier: BSD-2-Clause */
/* The flush sequence of alloc.h, one step per completed sync, so that the
 * owner thread never waits for the medium:
 *
 *   ticket; sync; [publish the BAT; sync]; end
 *
 * Per image and queue one sequence runs at a time. Who asks before its first
 * sync is handed to the engine shares it; who asks later waits for the next
 * one, which serves them all. Sequences start on kick, reap or wait, so the
 * flushes of one batch are one sequence.
 *
 * Whether the BAT is needed is asked before the first sync: a BAT entry that
 * another queue publishes in between is not covered by that sync.
 *
 * A sync that fails poisons the image and is never repeated: the kernel may
 * have dropped what it could not write.
 */
#include <errno.h>

#include "fail.h"
#include "nbd.h"
#include "queue_int.h"

static void sync_send(struct vhd_queue *q, struct queue_slot *slot)
{
	slot->io.op = VHD_IO_SYNC;
	slot->io.dsync = false;
	slot->io.direct = false;
	slot->io.file = slot->im->own.file;
	slot->io.file_slot = slot->im->own.slot;
	slot->io.off_bytes = 0;
	slot->io.iov = NULL;
	slot->io.iov_count = 0;
	q->engine->prep(q->state, &slot->io);
}

static void start_later(struct vhd_queue *q, struct queue_image *im)
{
	if (im->flush.starting || im->flush.state != FLUSH_IDLE)
		return;
	im->flush.starting = true;
	im->next_start = NULL;
	if (q->start_head)
		q->start_tail->next_start = im;
	else
		q->start_head = im;
	q->start_tail = im;
}

void queue_flush_join(struct vhd_queue *q, struct queue_image *im,
		      struct vhd_req *req)
{
	/* A reader has nothing to make durable. */
	if (!im->writable) {
		queue_finish(q, req);
		return;
	}
	req->state_ |= REQ_FLUSHING;
	queue_list_add(&im->flush.waiting, req);
	start_later(q, im);
}

static void finish_all(struct vhd_queue *q, struct queue_list *l, int code,
		       enum vhd_why why)
{
	struct vhd_req *req;

	while ((req = queue_list_take(l))) {
		req->state_ &= ~REQ_FLUSHING;
		if (code)
			queue_fault(req, code, why, 0);
		queue_finish(q, req);
	}
}

static void begin(struct vhd_queue *q, struct queue_image *im)
{
	struct queue_flush *f = &im->flush;
	struct queue_slot *slot;

	if (vhd_poisoned(im->img)) {
		finish_all(q, &f->waiting, -EIO, VHD_WHY_POISONED);
		return;
	}
	if (!f->waiting.head) /* all of them cancelled */
		return;
	if (vhd_commit_begin(im->img, &f->commit, &q->err)) {
		finish_all(q, &f->waiting, q->err.code, q->err.why);
		return;
	}
	slot = queue_slot_get(q);
	slot->im = im;
	slot->req = NULL;
	f->running = f->waiting;
	f->waiting.head = NULL;
	f->state = vhd_commit_needed(im->img, &f->commit) ? FLUSH_DATA
							   : FLUSH_ONLY;
	sync_send(q, slot);
}

void queue_flush_start(struct vhd_queue *q)
{
	while (q->start_head && q->free) {
		struct queue_image *im = q->start_head;

		q->start_head = im->next_start;
		im->flush.starting = false;
		begin(q, im);
	}
}

static void end(struct vhd_queue *q, struct queue_slot *slot, int code,
		enum vhd_why why)
{
	struct queue_image *im = slot->im;
	struct queue_flush *f = &im->flush;

	queue_slot_put(q, slot);
	f->state = FLUSH_IDLE;
	if (code && !vhd_nbd_keeps(im->own.file, code))
		vhd_poison(im->img);
	if (!code)
		vhd_commit_end(im->img, &f->commit);
	finish_all(q, &f->running, code, why);
	if (f->waiting.head)
		start_later(q, im);
}

void queue_flush_done(struct vhd_queue *q, struct queue_slot *slot)
{
	struct queue_flush *f = &slot->im->flush;
	int res = (int)slot->io.res;
	int rc;

	if (res < 0) {
		end(q, slot, res, vhd_io_why(res));
		return;
	}
	/* The kernel tells a lost write once per open file; it may have told
	 * another queue.
	 */
	if (vhd_poisoned(slot->im->img)) {
		end(q, slot, -EIO, VHD_WHY_POISONED);
		return;
	}
	if (f->state != FLUSH_DATA) {
		end(q, slot, 0, VHD_WHY_NONE);
		return;
	}
	rc = vhd_commit_publish(slot->im->img, &f->commit, &q->err);
	if (rc) {
		end(q, slot, rc, q->err.why);
		return;
	}
	f->state = FLUSH_BAT;
	sync_send(q, slot);
}

/* One that is part of a sequence under way ends with it: as long as the image
 * is in use, a request says so.
 */
void queue_flush_cancel(struct vhd_queue *q, struct queue_image *im,
			struct vhd_req *req)
{
	if (!queue_list_remove(&im->flush.waiting, req))
		return;
	req->state_ &= ~REQ_FLUSHING;
	queue_fault(req, -ECANCELED, VHD_WHY_CANCELLED, 0);
	queue_finish(q, req);
}

void queue_flush_forget(struct vhd_queue *q, struct queue_image *im)
{
	struct queue_image *prev = NULL;

	vhd_commit_fini(&im->flush.commit);
	if (!im->flush.starting)
		return;
	for (struct queue_image *i = q->start_head; i != im; i = i->next_start)
		prev = i;
	if (prev)
		prev->next_start = im->next_start;
	else
		q->start_head = im->next_start;
	if (q->start_tail == im)
		q->start_tail = prev;
	im->flush.starting = false;
}

void queue_flush_abort(struct vhd_queue *q, struct queue_image *im)
{
	struct queue_flush *f = &im->flush;

	if (f->state != FLUSH_IDLE)
		vhd_poison(im->img);
	f->state = FLUSH_IDLE;
	f->starting = false;
	finish_all(q, &f->running, -EIO, VHD_WHY_IO);
	finish_all(q, &f->waiting, -EIO, VHD_WHY_IO);
}
