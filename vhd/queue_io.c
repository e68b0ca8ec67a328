/* SPDX-License-Identifier: BSD-2-Clause */
/* From a request to file operations and back.
 *
 * The map says where the next run of the request lives. Runs without bytes in
 * the file are zeroed in place; each other run becomes a piece with a slot.
 * When one run is the whole request, or its edges fall between buffers, the
 * operation uses the caller's iovecs as they are; otherwise a bounded trimmed
 * copy in the slot, as often as the piece needs.
 *
 * A ZERO has no buffers: holes are punched into the image's own file, and
 * where that cannot be or does not help zeros are written, or, with
 * VHD_REQ_UNMAP, nothing is done.
 */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "nbd.h"
#include "queue_int.h"

#define IOV_MAX_KERNEL 1024u /* UIO_MAXIOV */
#define ZEROS_BYTES (64u << 10)

/* --------------------------------------------------------- buffer walks -- */

/* Move a place in a request's buffers on by `bytes`, which are there. */
static void iov_forward(const struct iovec *iov, uint32_t *index,
			uint64_t *skip_bytes, uint64_t bytes)
{
	uint64_t at = *skip_bytes + bytes;
	uint32_t i = *index;

	while (at && at >= iov[i].iov_len)
		at -= iov[i++].iov_len;
	*index = i;
	*skip_bytes = at;
}

static void zero_forward(struct vhd_req *req, uint64_t bytes)
{
	while (bytes) {
		const struct iovec *v = &req->iov[req->iov_index_];
		uint64_t room = v->iov_len - req->iov_skip_bytes_;
		uint64_t n = bytes < room ? bytes : room;

		if (n)
			memset((uint8_t *)v->iov_base + req->iov_skip_bytes_,
			       0, (size_t)n);
		iov_forward(req->iov, &req->iov_index_, &req->iov_skip_bytes_,
			    n);
		/* Step over an empty buffer, where nothing moved. */
		if (!n)
			req->iov_index_++;
		bytes -= n;
	}
}

/* How many whole ones of the caller's iovecs fit into what is left, from where
 * the slot stands; none when it stands inside of one.
 */
static uint32_t iov_whole(const struct queue_slot *slot, uint64_t most,
			  uint64_t *bytes)
{
	const struct iovec *iov = slot->req->iov + slot->iov_index;
	uint64_t sum = 0;
	uint32_t n = 0;

	if (!slot->iov_skip_bytes)
		while (sum < most && n < IOV_MAX_KERNEL &&
		       iov[n].iov_len <= most - sum)
			sum += iov[n++].iov_len;
	*bytes = sum;
	return n;
}

static uint32_t iov_copy(struct queue_slot *slot, uint64_t most,
			 uint64_t *bytes)
{
	const struct iovec *from = slot->req->iov + slot->iov_index;
	uint64_t skip = slot->iov_skip_bytes, sum = 0;
	uint32_t n = 0;

	while (sum < most && n < QUEUE_SLOT_IOV) {
		uint64_t len = from->iov_len - skip;

		if (len > most - sum)
			len = most - sum;
		if (len)
			slot->iov[n++] = (struct iovec){
				.iov_base = (uint8_t *)from->iov_base + skip,
				.iov_len = (size_t)len,
			};
		sum += len;
		skip = 0;
		from++;
	}
	*bytes = sum;
	return n;
}

/* Choose the buffers of the next operation: the caller's iovecs where they do
 * as they are, else whichever way covers more.
 */
static void iov_choose(struct queue_slot *slot)
{
	uint64_t most = slot->left_bytes, borrowed, copied;
	uint32_t whole, n;

	if (most > QUEUE_IO_BYTES_MAX)
		most = QUEUE_IO_BYTES_MAX;
	whole = iov_whole(slot, most, &borrowed);
	if (borrowed < most) {
		n = iov_copy(slot, most, &copied);
		if (copied > borrowed) {
			slot->io.iov = slot->iov;
			slot->io.iov_count = n;
			slot->asked_bytes = copied;
			return;
		}
	}
	slot->io.iov = slot->req->iov + slot->iov_index;
	slot->io.iov_count = whole;
	slot->asked_bytes = borrowed;
}

/* ---------------------------------------------------------- operations -- */

static bool fits_direct(const struct queue_direct *d, const struct vhd_io *io,
			uint64_t len_bytes)
{
	uint32_t mask = io->op == VHD_IO_WRITE ? d->write_mask : d->read_mask;

	if ((io->off_bytes | len_bytes) & mask)
		return false;
	for (uint32_t i = 0; i < io->iov_count; i++)
		if ((uintptr_t)io->iov[i].iov_base & d->mem_mask ||
		    io->iov[i].iov_len & d->read_mask)
			return false;
	return true;
}

/* As many zeros as the slot's iovecs hold. */
static void iov_zeros(struct queue_slot *slot)
{
	static uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));
	uint64_t sum = 0;
	uint32_t n = 0;

	while (sum < slot->left_bytes && n < QUEUE_SLOT_IOV) {
		uint64_t len = slot->left_bytes - sum;

		if (len > sizeof(zeros))
			len = sizeof(zeros);
		slot->iov[n++] = (struct iovec){zeros, (size_t)len};
		sum += len;
	}
	slot->io.iov = slot->iov;
	slot->io.iov_count = n;
	slot->asked_bytes = sum;
}

static void send_hole(struct vhd_queue *q, struct queue_slot *slot)
{
	slot->io.iov_count = 0;
	slot->io.direct = false;
	slot->io.zero_bytes = slot->left_bytes;
	slot->asked_bytes = slot->left_bytes;
	q->engine->prep(q->state, &slot->io);
}

/* Send what is left of the slot's piece, or as much as one call takes. */
static void slot_send(struct vhd_queue *q, struct queue_slot *slot)
{
	struct queue_file *f = slot->file;

	if (slot->io.op == VHD_IO_ZERO) {
		send_hole(q, slot);
		return;
	}
	if (slot->zeros)
		iov_zeros(slot);
	else
		iov_choose(slot);
	slot->io.direct = f->use_direct && fits_direct(&f->direct, &slot->io,
						       slot->asked_bytes);
	q->engine->prep(q->state, &slot->io);
}

/* Where the request has come to. */
static uint64_t lba_of(const struct vhd_req *req)
{
	return req->lba + req->cursor_bytes_ / VHD_SECTOR_BYTES;
}

static void piece_start(struct vhd_queue *q, struct queue_image *im,
			struct queue_file *file, struct vhd_req *req,
			const struct vhd_run *run, uint64_t bytes)
{
	struct queue_slot *slot = queue_slot_get(q);

	slot->im = im;
	slot->file = file;
	slot->req = req;
	slot->from_bytes = req->cursor_bytes_;
	slot->pos_bytes = req->cursor_bytes_;
	slot->left_bytes = bytes;
	slot->iov_index = req->iov_index_;
	slot->iov_skip_bytes = req->iov_skip_bytes_;
	slot->retries = 0;
	slot->io.op = req->op == VHD_OP_READ ? VHD_IO_READ : VHD_IO_WRITE;
	slot->zeros = req->op == VHD_OP_ZERO;
	if (run->kind == VHD_RUN_HOLE)
		slot->io.op = VHD_IO_ZERO;
	slot->io.dsync = false;
	slot->io.file = file->file;
	slot->io.file_slot = file->slot;
	slot->io.off_bytes = run->off_bytes;
	if (req->op == VHD_OP_WRITE && req->flags & VHD_REQ_FUA) {
		/* A block that the BAT on disk does not show yet is not made
		 * durable by its data alone, nor a sector whose bit is not
		 * set there.
		 */
		if (im->grows &&
		    vhd_write_needs_flush(im->img, lba_of(req), run->sectors))
			req->state_ |= REQ_SYNC_AFTER;
		else
			slot->io.dsync = true;
	}
	req->pending_++;
	slot_send(q, slot);
}

/* What becomes of the next run of a ZERO: VHD_RUN_ZERO where there is nothing
 * to do, VHD_RUN_HOLE where one is to be punched, VHD_RUN_FILE where zeros are
 * to be written.
 */
static int map_next_zero(struct vhd_queue *q, struct queue_image *im,
			 const struct vhd_req *req, uint64_t n,
			 struct vhd_run *run)
{
	uint64_t lba = lba_of(req);
	int rc = vhd_map_zero(im->img, lba, n, run, &q->err);

	if (rc)
		return rc;
	if (run->kind == VHD_RUN_FILE && !im->own.no_holes)
		run->kind = VHD_RUN_HOLE;
	else if (run->kind == VHD_RUN_HOLE || req->flags & VHD_REQ_UNMAP)
		run->kind = VHD_RUN_ZERO;
	else
		rc = vhd_map_write(im->img, lba, run->sectors, run, &q->err);
	return rc;
}

/* Where the next run lives and in which file; most images have but one. */
static int map_next(struct vhd_queue *q, struct queue_image *im,
		    struct vhd_req *req, struct vhd_run *run,
		    struct queue_file **file)
{
	uint64_t lba = lba_of(req);
	uint64_t n = (req->len_bytes_ - req->cursor_bytes_) / VHD_SECTOR_BYTES;
	unsigned layer;
	int rc;

	*file = &im->own;
	if (req->op == VHD_OP_ZERO) {
		rc = map_next_zero(q, im, req, n, run);
	} else if (req->op == VHD_OP_WRITE) {
		rc = vhd_map_write(im->img, lba, n, run, &q->err);
	} else if (im->below_count) {
		rc = vhd_map_chain(im->img, lba, n, run, &layer, &q->err);
		if (!rc && layer)
			*file = &im->below[layer - 1];
	} else {
		rc = vhd_map(im->img, lba, n, run, &q->err);
	}
	if (!rc && run->kind == VHD_RUN_PARENT)
		rc = vhd_fail(&q->err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
			      "these sectors live in the parent");
	if (rc)
		queue_fault(req, rc, q->err.why, req->cursor_bytes_);
	return rc;
}

bool queue_advance(struct vhd_queue *q, struct queue_image *im,
		   struct vhd_req *req)
{
	struct queue_file *file;
	struct vhd_run run;
	uint64_t bytes;

	while (req->cursor_bytes_ < req->len_bytes_ &&
	       !(req->state_ & (REQ_FAILED | REQ_CANCELLED))) {
		if (!q->free)
			return false;
		if (map_next(q, im, req, &run, &file))
			break;
		bytes = run.sectors * VHD_SECTOR_BYTES;
		if (req->op == VHD_OP_ZERO) {
			if (run.kind != VHD_RUN_ZERO)
				piece_start(q, im, file, req, &run, bytes);
		} else if (run.kind == VHD_RUN_FILE) {
			piece_start(q, im, file, req, &run, bytes);
			if (req->cursor_bytes_ + bytes < req->len_bytes_)
				iov_forward(req->iov, &req->iov_index_,
					    &req->iov_skip_bytes_, bytes);
		} else {
			zero_forward(req, bytes);
		}
		req->cursor_bytes_ += bytes;
	}
	if (!req->pending_)
		queue_settle(q, im, req);
	return true;
}

/* ---------------------------------------------------------- completions -- */

void queue_settle(struct vhd_queue *q, struct queue_image *im,
		  struct vhd_req *req)
{
	bool whole = req->cursor_bytes_ == req->len_bytes_ &&
		     !(req->state_ & REQ_FAILED);

	if (!whole || !(req->state_ & REQ_SYNC_AFTER)) {
		if (!whole && req->state_ & REQ_CANCELLED)
			queue_fault(req, -ECANCELED, VHD_WHY_CANCELLED,
				    req->cursor_bytes_);
		queue_finish(q, req);
	} else if (req->state_ & REQ_CANCELLED) {
		queue_fault(req, -ECANCELED, VHD_WHY_CANCELLED, 0);
		queue_finish(q, req);
	} else {
		queue_flush_join(q, im, req);
	}
}

/* What has been moved is there, also where the piece then failed. */
static void piece_mark(const struct queue_slot *slot)
{
	uint64_t from = slot->from_bytes / VHD_SECTOR_BYTES;
	uint64_t to = slot->pos_bytes / VHD_SECTOR_BYTES;

	vhd_written(slot->im->img, slot->req->lba + from, to - from);
}

static void piece_end(struct vhd_queue *q, struct queue_slot *slot)
{
	struct vhd_req *req = slot->req;

	if (slot->im->marks && slot->io.op == VHD_IO_WRITE)
		piece_mark(slot);
	queue_slot_put(q, slot);
	if (--req->pending_ == 0 && !(req->state_ & REQ_WAITING))
		queue_settle(q, slot->im, req);
}

/* A durable write that failed may have failed in its sync, and then the
 * kernel has told its only time that earlier writes are lost. These faults
 * alone come before anything was written.
 */
static bool before_writing(int code)
{
	return code == -EFBIG || code == -EINVAL || code == -EFAULT ||
	       code == -EBADF || code == -ECANCELED;
}

static void piece_fault(struct queue_slot *slot, int code, enum vhd_why why)
{
	if (slot->io.dsync && !before_writing(code) &&
	    !vhd_nbd_keeps(slot->file->file, code))
		vhd_poison(slot->im->img);
	queue_fault(slot->req, code, why, slot->pos_bytes);
}

/* After a short count, or a fault that may pass: true when the piece goes on.
 */
static bool piece_goes_on(struct vhd_queue *q, struct queue_slot *slot)
{
	struct vhd_io *io = &slot->io;
	/* What interrupted a durable write may have been its sync, and a sync
	 * that failed is never tried again.
	 */
	bool again = io->res == -EAGAIN || (io->res == -EINTR && !io->dsync);

	if (io->op == VHD_IO_ZERO && io->res < 0 &&
	    vhd_file_no_holes((int)io->res)) {
		/* -EINVAL may be about this one alone */
		slot->file->no_holes |= io->res != -EINVAL;
		if (slot->req->flags & VHD_REQ_UNMAP)
			return false;
		io->op = VHD_IO_WRITE;
		again = true;
	}
	/* The file system asks for more alignment than it told. */
	if (io->res == -EINVAL && io->direct) {
		slot->file->use_direct = false;
		again = true;
	}
	if (io->res < 0 && !(again && ++slot->retries <= QUEUE_RETRIES_MAX)) {
		piece_fault(slot, (int)io->res,
			    io->res == -ECANCELED ? VHD_WHY_CANCELLED
						  : vhd_io_why((int)io->res));
		return false;
	}
	if (io->res == 0) {
		piece_fault(slot, -EIO, VHD_WHY_SHORT_IO);
		return false;
	}
	if (slot->req->state_ & REQ_CANCELLED) {
		queue_fault(slot->req, -ECANCELED, VHD_WHY_CANCELLED,
			    slot->pos_bytes);
		return false;
	}
	slot_send(q, slot);
	return true;
}

static void piece_forward(struct queue_slot *slot, uint64_t bytes)
{
	slot->retries = 0;
	slot->pos_bytes += bytes;
	slot->left_bytes -= bytes;
	slot->io.off_bytes += bytes;
	if (slot->left_bytes && slot->req->op != VHD_OP_ZERO)
		iov_forward(slot->req->iov, &slot->iov_index,
			    &slot->iov_skip_bytes, bytes);
}

void queue_io_done(struct vhd_queue *q, struct vhd_io *io)
{
	struct queue_slot *slot = io->owner;

	if (!slot->req) {
		queue_flush_done(q, slot);
		return;
	}
	if (io->res > 0)
		piece_forward(slot, (uint64_t)io->res <= slot->left_bytes
					    ? (uint64_t)io->res
					    : slot->left_bytes);
	if (slot->left_bytes && piece_goes_on(q, slot))
		return;
	piece_end(q, slot);
}
