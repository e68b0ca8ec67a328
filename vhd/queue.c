/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk queue: the one way bytes move. See queue_int.h for its parts.
 *
 * Invariants: every submitted request is in exactly one place (waiting, with
 * pieces out, in a flush, done) and leaves through vhd_queue_reap once. Slots
 * are given out in order: who came first and waits goes first, and flushes,
 * which need one slot, go before requests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checked.h"
#include "engine_nbd.h"
#include "fail.h"
#include "queue_int.h"

void vhd_queue_destroy(struct vhd_queue *q)
{
	if (!q)
		return;
	queue_images_release(q);
	if (!q->broken)
		q->engine->destroy(q->state);
	vhd_engine_nbd_discard(q->spare);
	free(q->slots);
	free(q);
}

bool vhd_queue_broken(const struct vhd_queue *q)
{
	return q->broken;
}

unsigned vhd_queue_in_flight(const struct vhd_queue *q)
{
	return q->in_flight;
}

/* ------------------------------------------------------------ requests -- */

static uint32_t flags_of(enum vhd_op op)
{
	return op == VHD_OP_ZERO ? VHD_REQ_UNMAP : VHD_REQ_FUA;
}

static bool length(const struct vhd_req *req, uint64_t *len)
{
	*len = 0;
	if (req->op == VHD_OP_ZERO)
		return !req->iov_count &&
		       !mul_ovf(req->sectors, VHD_SECTOR_BYTES, len);
	if (req->iov_count && !req->iov)
		return false;
	for (uint32_t i = 0; i < req->iov_count; i++)
		if (add_ovf(*len, req->iov[i].iov_len, len))
			return false;
	return *len % VHD_SECTOR_BYTES == 0;
}

/* What can be said against a request before any I/O. */
static void check(struct vhd_queue *q, const struct queue_image *im,
		  struct vhd_req *req)
{
	if (q->broken)
		queue_fault(req, -EIO, VHD_WHY_IO, 0);
	else if (!im || req->op > VHD_OP_ZERO ||
		 req->flags & ~flags_of(req->op))
		queue_fault(req, -EINVAL, VHD_WHY_ARGUMENT, 0);
	else if (req->op == VHD_OP_FLUSH)
		return;
	else if (!length(req, &req->len_bytes_))
		queue_fault(req, -EINVAL, VHD_WHY_ARGUMENT, 0);
	else if (!range_ok(req->lba, req->len_bytes_ / VHD_SECTOR_BYTES,
			   im->sectors))
		queue_fault(req, -EINVAL, VHD_WHY_RANGE, 0);
	else if (req->op != VHD_OP_READ && !im->writable)
		queue_fault(req, -EROFS, VHD_WHY_READ_ONLY, 0);
}

static void wait_for_slot(struct vhd_queue *q, struct vhd_req *req)
{
	req->state_ |= REQ_WAITING;
	queue_list_add(&q->waiting, req);
}

void vhd_queue_submit(struct vhd_queue *q, struct vhd_req *req)
{
	struct queue_image *im = queue_image_find(q, req->img);

	req->result = 0;
	req->why = VHD_WHY_NONE;
	req->bad_lba = 0;
	req->len_bytes_ = 0;
	req->cursor_bytes_ = 0;
	req->bad_bytes_ = 0;
	req->iov_skip_bytes_ = 0;
	req->iov_index_ = 0;
	req->pending_ = 0;
	req->state_ = 0;
	q->in_flight++;
	check(q, im, req);
	if (req->state_ & REQ_FAILED)
		queue_finish(q, req);
	else if (req->op == VHD_OP_FLUSH)
		queue_flush_join(q, im, req);
	else if (q->waiting.head || !queue_advance(q, im, req))
		wait_for_slot(q, req);
}

/* --------------------------------------------------------------- pumps -- */

/* Slots came free: go on with what waits for them. */
static void feed(struct vhd_queue *q)
{
	struct vhd_req *req;

	if (q->start_head)
		queue_flush_start(q);
	while (q->free && (req = queue_list_take(&q->waiting))) {
		struct queue_image *im = queue_image_find(q, req->img);

		req->state_ &= ~REQ_WAITING;
		if (queue_advance(q, im, req))
			continue;
		req->state_ |= REQ_WAITING;
		req->next_ = q->waiting.head;
		if (!q->waiting.head)
			q->waiting.tail = req;
		q->waiting.head = req;
	}
}

/* The engine is given up, which waits for what it has under way: nothing will
 * come back from it, and nothing of it touches files and buffers any more.
 */
static void break_queue(struct vhd_queue *q, int code)
{
	struct vhd_req *req;

	if (q->broken)
		return;
	q->broken = code;
	q->engine->destroy(q->state);
	q->state = NULL;
	for (uint32_t i = 0; i < q->depth; i++) {
		struct queue_slot *slot = &q->slots[i];

		req = slot->busy ? slot->req : NULL;
		slot->busy = false;
		if (!req)
			continue;
		/* Nobody will know what its sync said. */
		if (slot->io.dsync)
			vhd_poison(slot->im->img);
		queue_fault(req, -EIO, VHD_WHY_IO, slot->pos_bytes);
		if (--req->pending_ == 0 && !(req->state_ & REQ_WAITING))
			queue_finish(q, req);
	}
	while ((req = queue_list_take(&q->waiting))) {
		queue_fault(req, -EIO, VHD_WHY_IO, req->cursor_bytes_);
		queue_finish(q, req);
	}
	for (unsigned i = 0; i < VHD_QUEUE_IMAGES_MAX; i++)
		if (q->images[i].img)
			queue_flush_abort(q, &q->images[i]);
	q->start_head = NULL;
	q->free = NULL;
}

void vhd_queue_kick(struct vhd_queue *q)
{
	int rc;

	if (q->broken)
		return;
	if (q->start_head)
		queue_flush_start(q);
	rc = q->engine->submit(q->state);
	if (rc)
		break_queue(q, rc);
}

/* Take what the engine has finished; says whether there was anything. */
static bool collect(struct vhd_queue *q)
{
	struct vhd_io *io = q->engine->reap(q->state);
	bool any = io;

	while (io) {
		struct vhd_io *next = io->next;

		queue_io_done(q, io);
		io = next;
	}
	if (any && (q->waiting.head || q->start_head))
		feed(q);
	return any;
}

unsigned vhd_queue_reap(struct vhd_queue *q, struct vhd_req **done,
			unsigned max)
{
	unsigned n = 0;

	/* What finishes may send out more, which may be finished at once. */
	do
		vhd_queue_kick(q);
	while (!q->broken && collect(q));
	while (n < max && q->done.head)
		done[n++] = queue_list_take(&q->done);
	q->in_flight -= n;
	return n;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int vhd_queue_wait(struct vhd_queue *q, int wake_fd, int timeout_ms)
{
	int64_t end_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
	int rc;

	while (!q->broken) {
		if (q->done.head) {
			vhd_queue_kick(q);
			break;
		}
		if (q->start_head)
			queue_flush_start(q);
		if (q->done.head)
			continue;
		if (!q->in_flight && wake_fd < 0 && timeout_ms < 0)
			return 0;
		rc = q->spare ? vhd_engine_nbd_watch(q->spare, wake_fd) : 0;
		if (!rc)
			rc = q->engine->wait(q->state, wake_fd, timeout_ms);
		if (rc) {
			break_queue(q, rc);
			break;
		}
		if (!collect(q))
			return 0;
		/* An operation ended, but maybe no request: go on for the
		 * rest of the time.
		 */
		if (timeout_ms > 0) {
			int64_t left_ms = end_ms - now_ms();

			timeout_ms = left_ms > 0 ? (int)left_ms : 0;
		}
	}
	return q->broken;
}

void vhd_queue_cancel(struct vhd_queue *q, struct vhd_req *req)
{
	struct queue_image *im = queue_image_find(q, req->img);

	if (req->state_ & (REQ_DONE | REQ_CANCELLED) || !im)
		return;
	req->state_ |= REQ_CANCELLED;
	if (req->state_ & REQ_FLUSHING) {
		queue_flush_cancel(q, im, req);
		return;
	}
	if (req->state_ & REQ_WAITING) {
		queue_list_remove(&q->waiting, req);
		req->state_ &= ~REQ_WAITING;
		if (!req->pending_) {
			queue_settle(q, im, req);
			return;
		}
	}
	for (uint32_t i = 0; i < q->depth; i++)
		if (q->slots[i].busy && q->slots[i].req == req)
			q->engine->cancel(q->state, &q->slots[i].io);
}
