/* SPDX-License-Identifier: BSD-2-Clause */
/* A request, or a part of one, on its way to the server: by libnbd, or by the
 * line of a connection that was handed over.
 */
#include "nbd_int.h"

static int answered(void *user, int *error)
{
	struct nbd_req *r = user;

	r->error = *error;
	nbd_list_remove(r);
	nbd_list_add(&r->n->answered, r);
	return 1;
}

static int64_t issue(struct vhd_nbd *n, struct nbd_req *r)
{
	const nbd_completion_callback cb = {
		.callback = answered,
		.user_data = r,
	};
	uint32_t fua =
		r->fua && n->facts.can_fua ? LIBNBD_CMD_FLAG_FUA : 0;

	if (nbd_is_flush(r))
		return nbd_aio_flush(n->h, cb, 0);
	switch (r->op) {
	case NBD_READ:
		return nbd_aio_pread(n->h, r->buf, r->part_bytes, r->off_bytes,
				     cb, 0);
	case NBD_WRITE:
		return nbd_aio_pwrite(n->h, r->buf, r->part_bytes,
				      r->off_bytes, cb, fua);
	default:
		if (r->fast && n->facts.fast_zero)
			fua |= LIBNBD_CMD_FLAG_FAST_ZERO;
		return nbd_aio_zero(n->h, r->part_bytes, r->off_bytes, cb,
				    fua);
	}
}

static int send_handed(struct vhd_nbd *n, struct nbd_req *r)
{
	int rc = vhd_nbd_line_issue(n, r);

	if (rc)
		nbd_list_remove(r);
	return rc;
}

int vhd_nbd_send(struct vhd_nbd *n, struct nbd_req *r)
{
	int code;

	r->sends++;
	r->error = 0;
	if (nbd_is_flush(r))
		r->mark = n->kept_seq;
	if (!n->sent.head)
		n->heard_ms = vhd_nbd_now_ms();
	/* It may be answered, or lost, within the call. */
	nbd_list_add(&n->sent, r);
	if (n->how.handed)
		return send_handed(n, r);
	if (issue(n, r) >= 0)
		return 0;
	code = nbd_get_errno();
	nbd_list_remove(r);
	if (nbd_aio_is_dead(n->h) > 0 || nbd_aio_is_closed(n->h) > 0)
		return -ENOTCONN;
	return code > 0 ? -code : -EIO;
}
