/* SPDX-License-Identifier: BSD-2-Clause */
/* One SCSI request: its claims are checked against its packet, the command is
 * run, small answers are copied to the guest, disk transfers go through their
 * disk's gate to the queue with the guest's own pages.
 */
#include <errno.h>
#include <string.h>

#include "compare.h"
#include "gate.h"
#include "policy.h"
#include "request.h"
#include "state.h"
#include "trace.h"

static bool wants_descriptors(const struct storvsp_disk *d)
{
	return d && atomic_load_explicit(&d->switches->descriptor_sense,
					 memory_order_relaxed);
}

static void finish(struct channel *ch, struct request *r,
		   const struct scsi_end *end)
{
	if (end->verdict != SCSI_GOOD)
		stat_add(&ch->stats, STAT_ERRORS, 1);
	if (r->gate)
		storvsp_gate_leave(ch, r, end);
	TRACE_REQUEST_COMPLETE(ch->number, r->trans_id, end->verdict);
	scsi_answer(&r->answer, end, r->v1);
	channel_answer(ch, r);
}

/* The request as the command sees it, from a copy of the packet. */
static enum scsi_verdict decode(struct channel *ch,
				const struct storvsp_request_wire *q,
				const struct vmbus_packet *pkt)
{
	struct scsi_task *t = &ch->task;
	int rc;

	t->luns = &ch->luns;
	t->path = q->path;
	t->target = q->target;
	t->lun = q->lun;
	t->disk = storvsp_luns_find(&ch->luns, q->path, q->target, q->lun);
	memcpy(t->cdb, q->cdb_or_sense, sizeof(t->cdb));
	t->data_in = q->data_in;
	t->max_transfer_bytes = ch->session.max_transfer_bytes;
	rc = storvsp_buffer_init(&ch->buffer, pkt, le32_get(q->transfer_length),
				 t->max_transfer_bytes);
	t->buffer_bytes = ch->buffer.bytes;
	if (rc || pkt->type == 0)
		return SCSI_BAD_FIELD;
	t->param_bytes = scsi_param_wanted(t);
	if (storvsp_buffer_get(&ch->buffer, ch->mem, t->param, t->param_bytes))
		return SCSI_BAD_FIELD;
	return scsi_run(t, q->cdb_length);
}

/* The same `len` bytes again and again, for at most `n` sectors and `max`
 * times. Returns for how many sectors.
 */
static uint64_t fill_iov(struct request *r, uint32_t *iovs, void *bytes,
			 size_t len, uint64_t n, unsigned max)
{
	uint64_t left = n * VHD_SECTOR_BYTES;

	while (left && *iovs < max) {
		size_t part = left < len ? (size_t)left : len;

		r->iov[(*iovs)++] = (struct iovec){bytes, part};
		left -= part;
	}
	return n - left / VHD_SECTOR_BYTES;
}

/* A pattern written with the cache off is durable by its last step's end as
 * any other write: each step is.
 */
static uint32_t step_flags(const struct request *r)
{
	if (r->io.verify)
		return 0;
	return (r->io.unmap ? VHD_REQ_UNMAP : 0) |
	       (r->io.fua ? VHD_REQ_FUA : 0);
}

/* The next of the request's extents, or as much of it as one transfer takes.
 */
static void next_step(struct channel *ch, struct request *r)
{
	struct scsi_extent *e = &r->extent[r->at];
	uint64_t n = e->sectors;
	uint32_t iovs = 0;

	if (r->io.verify)
		n = fill_iov(r, &iovs, ch->sink, STORVSP_SINK_BYTES, n,
			     ch->iov_max < STORVSP_VERIFY_IOVS
				     ? ch->iov_max
				     : STORVSP_VERIFY_IOVS);
	else if (r->io.op == VHD_OP_WRITE)
		n = fill_iov(r, &iovs, r->pattern, scsi_block_bytes(r->disk),
			     n, ch->iov_max);
	r->sectors = n;
	r->req = (struct vhd_req){
		.img = r->disk->img,
		.op = r->io.verify ? VHD_OP_READ : r->io.op,
		.flags = step_flags(r),
		.lba = e->lba,
		.sectors = n,
		.iov = r->iov,
		.iov_count = iovs,
		.user = r,
	};
	e->lba += n;
	e->sectors -= n;
	if (!e->sectors)
		r->at++;
}

static void take(struct channel *ch, struct request *r)
{
	r->disk = ch->task.disk;
	r->io = ch->task.io;
	r->at = 0;
	r->count = ch->task.extent_count;
	memcpy(r->extent, ch->task.extent, r->count * sizeof(r->extent[0]));
}

static enum scsi_verdict prepare_steps(struct channel *ch, struct request *r)
{
	const struct scsi_task *t = &ch->task;

	take(ch, r);
	if (r->io.op == VHD_OP_WRITE)
		memcpy(r->pattern, t->param, scsi_block_bytes(r->disk));
	next_step(ch, r);
	return SCSI_IO;
}

/* Make the request's first step ready for the disk queue. */
static enum scsi_verdict prepare(struct channel *ch, struct request *r)
{
	const struct scsi_io *io = &ch->task.io;
	int iovs = 0;

	if (io->compare) {
		storvsp_compare_prepare(ch, r);
		return SCSI_IO;
	}
	/* to write and verify begins as a write */
	if (ch->task.extent_count && !(io->verify && io->op == VHD_OP_WRITE))
		return prepare_steps(ch, r);
	if (io->op != VHD_OP_FLUSH) {
		iovs = storvsp_buffer_iov(&ch->buffer, ch->mem,
					  (uint32_t)io->bytes, r->iov,
					  ch->iov_max);
		if (iovs < 0)
			return SCSI_BAD_FIELD;
	}
	take(ch, r);
	r->sectors = io->bytes / VHD_SECTOR_BYTES;
	r->req = (struct vhd_req){
		.img = r->disk->img,
		.op = io->op,
		.flags = io->fua ? VHD_REQ_FUA : 0,
		.lba = io->lba,
		.iov = r->iov,
		.iov_count = (uint32_t)iovs,
		.user = r,
	};
	return SCSI_IO;
}

/* Copy a small answer out; `moved` is what arrived. */
static enum scsi_verdict deliver(struct channel *ch, uint32_t *moved)
{
	uint32_t bytes = scsi_reply_sent(&ch->task);

	if (storvsp_buffer_put(&ch->buffer, ch->mem, ch->task.reply, bytes))
		return SCSI_BAD_FIELD;
	*moved = bytes;
	return SCSI_GOOD;
}

void storvsp_request_start(struct channel *ch, struct request *r,
			   const struct storvsp_packet_wire *in,
			   const struct vmbus_packet *pkt)
{
	const struct storvsp_request_wire *q = &in->u.request;
	struct scsi_end end = {0};

	TRACE_REQUEST_START(ch->number, r->trans_id, q->path, q->target, q->lun,
			    q->cdb_or_sense[0]);
	r->v1 = storvsp_session_is_v1(&ch->session);
	end.verdict = decode(ch, q, pkt);
	end.descriptor_sense = wants_descriptors(ch->task.disk);
	if (end.verdict == SCSI_GOOD)
		end.verdict = deliver(ch, &end.bytes_moved);
	else if (end.verdict == SCSI_IO)
		end.verdict = prepare(ch, r);
	if (end.verdict == SCSI_IO && !storvsp_gate_enter(ch, r))
		end.verdict = SCSI_TASK_SET_FULL;
	if (end.verdict != SCSI_IO)
		finish(ch, r, &end);
}

static void count_moved(struct stats *s, const struct scsi_io *io)
{
	if (io->op == VHD_OP_READ)
		stat_add(s, STAT_READ_BYTES, io->bytes);
	else if (io->op == VHD_OP_WRITE)
		stat_add(s, STAT_WRITTEN_BYTES,
			 io->compare ? io->bytes / 2 : io->bytes);
}

static void complain(struct channel *ch, const struct request *r)
{
	const struct storvsp_disk *d = r->disk;

	storvsp_log_line(ch->log,
			 "disk %u:%u:%u: %s of %llu sectors at %llu failed: %s",
			 d->path, d->target, d->lun, storvsp_op_text(r->req.op),
			 (unsigned long long)r->sectors,
			 (unsigned long long)r->req.lba,
			 storvsp_errno_text(r->req.result));
}

/* What the disk queue says, as the guest is to see it. */
static struct scsi_end verdict_of(const struct request *r)
{
	const struct vhd_req *req = &r->req;
	struct scsi_end end = {
		.verdict = scsi_verdict_from_vhd(req->op, req->result,
						 req->why),
		.bad_lba = req->bad_lba >> r->disk->block_log2,
		/* An address outside the request would make the guest believe
		 * that sectors arrived which did not.
		 */
		.bad_lba_known = req->bad_lba >= req->lba &&
				 req->bad_lba - req->lba < r->sectors,
		.descriptor_sense = wants_descriptors(r->disk),
	};

	if (end.verdict == SCSI_GOOD)
		end.bytes_moved = (uint32_t)r->io.bytes;
	return end;
}

/* Back to the gate: for the next step, or held. */
static bool goes_on(struct channel *ch, struct request *r,
		    struct scsi_end *end)
{
	if (end->verdict == SCSI_GOOD) {
		if (r->at == r->count)
			return false;
		if (!r->io.compare)
			next_step(ch, r);
		else if (!storvsp_compare_next(r, end))
			return false;
		storvsp_gate_again(ch, r);
		return true;
	}
	if (!storvsp_policy_holds(ch, r))
		return false;
	storvsp_gate_hold(ch, r);
	return true;
}

void storvsp_request_end(struct channel *ch, struct request *r)
{
	struct scsi_end end = verdict_of(r);

	storvsp_gate_back(ch, r);
	if (!r->doomed && goes_on(ch, r, &end))
		return;
	if (end.verdict == SCSI_GOOD && r->at < r->count)
		end.verdict = SCSI_ABORTED;
	if (r->doomed)
		r->gate->doomed--;
	r->doomed = false;
	if (end.verdict == SCSI_GOOD)
		count_moved(&ch->stats, &r->io);
	else if (end.verdict != SCSI_ABORTED &&
		 end.verdict != SCSI_MISCOMPARE)
		complain(ch, r);
	finish(ch, r, &end);
}

void storvsp_request_abort(struct channel *ch, struct request *r)
{
	const struct scsi_end aborted = {
		.verdict = SCSI_ABORTED,
		.descriptor_sense = wants_descriptors(r->disk),
	};

	finish(ch, r, &aborted);
}
