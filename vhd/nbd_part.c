/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a request goes out as one command, and where its bytes are: a server
 * takes and gives them in one piece.
 */
#include <stdlib.h>
#include <string.h>

#include "nbd_int.h"

/* The first buffer, with those that follow it in memory. */
static uint64_t run_of(const struct nbd_req *r, uint8_t **start)
{
	uint64_t sum = 0;

	*start = NULL;
	for (uint32_t i = 0; i < r->iov_count; i++) {
		const struct iovec *v = &r->iov[i];

		if (!v->iov_len)
			continue;
		if (!*start)
			*start = v->iov_base;
		else if (*start + sum != (uint8_t *)v->iov_base)
			break;
		sum += v->iov_len;
	}
	return sum;
}

void vhd_nbd_part_copy(const struct nbd_req *r, bool out)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < r->iov_count && at < r->part_bytes; i++) {
		const struct iovec *v = &r->iov[i];
		uint64_t left = r->part_bytes - at;
		size_t len = v->iov_len < left ? v->iov_len : (size_t)left;

		if (!len)
			continue;
		if (out)
			memcpy(v->iov_base, r->bounce + at, len);
		else
			memcpy(r->bounce + at, v->iov_base, len);
		at += len;
	}
}

/* Memory in one piece: the caller's, or a copy. Where there is no room for a
 * copy, what is in one piece goes alone; the queue sends the rest.
 */
static void buffer_choose(struct vhd_nbd *n, struct nbd_req *r)
{
	uint8_t *start;
	uint64_t run = run_of(r, &start), len = r->len_bytes;

	if (len > NBD_BOUNCE_ONE)
		len = NBD_BOUNCE_ONE;
	if (run < len && n->bounce_bytes + len <= NBD_BOUNCE_BYTES)
		r->bounce = malloc(len);
	if (!r->bounce) {
		r->buf = start;
		r->part_bytes = run < n->facts.max_bytes ? run
							 : n->facts.max_bytes;
		return;
	}
	if (len > n->facts.max_bytes)
		len = n->facts.max_bytes;
	r->buf = r->bounce;
	r->part_bytes = len;
	n->bounce_bytes += len;
	if (r->op == NBD_WRITE)
		vhd_nbd_part_copy(r, false);
}

void vhd_nbd_part_choose(struct vhd_nbd *n, struct nbd_req *r)
{
	if (r->part_bytes || r->op == NBD_FLUSH)
		return;
	if (r->op == NBD_ZERO)
		r->part_bytes = r->len_bytes < NBD_ZERO_BYTES ? r->len_bytes
							      : NBD_ZERO_BYTES;
	else
		buffer_choose(n, r);
}

void vhd_nbd_part_free(struct vhd_nbd *n, struct nbd_req *r)
{
	if (r->bounce) {
		free(r->bounce);
		n->bounce_bytes -= r->part_bytes;
	}
	r->bounce = r->buf = NULL;
}
