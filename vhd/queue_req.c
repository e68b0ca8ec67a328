/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a request wherever it is: taken off a list, at fault, over. */
#include "queue_int.h"

bool queue_list_remove(struct queue_list *l, struct vhd_req *req)
{
	struct vhd_req *prev = NULL;

	for (struct vhd_req *r = l->head; r; prev = r, r = r->next_) {
		if (r != req)
			continue;
		if (prev)
			prev->next_ = req->next_;
		else
			l->head = req->next_;
		if (l->tail == req)
			l->tail = prev;
		return true;
	}
	return false;
}

void queue_fault(struct vhd_req *req, int code, enum vhd_why why,
		 uint64_t pos_bytes)
{
	if (!(req->state_ & REQ_FAILED)) {
		req->state_ |= REQ_FAILED;
		req->result = code;
		req->why = why;
		req->bad_bytes_ = pos_bytes;
	} else if (pos_bytes < req->bad_bytes_) {
		req->bad_bytes_ = pos_bytes;
	}
}

void queue_finish(struct vhd_queue *q, struct vhd_req *req)
{
	if (req->state_ & REQ_FAILED && req->op != VHD_OP_FLUSH)
		req->bad_lba = req->lba + req->bad_bytes_ / VHD_SECTOR_BYTES;
	req->state_ |= REQ_DONE;
	queue_list_add(&q->done, req);
}
