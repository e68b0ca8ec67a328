/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes that an NBD server has acknowledged and no flush has covered yet: a
 * server that ends may take them with it, so a copy of each is kept.
 *
 * A flush covers what was answered before it was sent. On a new connection the
 * copies go out again in the order of their answers, two that overlap one
 * after the other, and all of them before anything else: what a guest has read
 * since is what is there again.
 *
 * Where there is no memory for a copy, or the server does not take it again,
 * the write may be lost: then the next flush says so, once for all.
 */
#include <stdlib.h>
#include <string.h>

#include "nbd.h"

/* Of these, so many are under way at once. */
#define AGAIN_MAX 32u

static uint64_t cost(uint64_t bytes)
{
	return sizeof(struct nbd_kept) + bytes;
}

bool vhd_nbd_keep_room(const struct vhd_nbd *n, uint64_t bytes)
{
	uint64_t in_use = n->kept_bytes + n->writing_bytes;

	return !in_use || in_use + cost(bytes) <= NBD_KEEP_BYTES;
}

void vhd_nbd_keep(struct vhd_nbd *n, const struct nbd_req *r)
{
	uint64_t bytes = r->op == NBD_WRITE ? r->part_bytes : 0;
	struct nbd_kept *k;

	if (!n->facts.can_flush) /* what it acknowledged is durable */
		return;
	n->kept_seq++;
	k = malloc(sizeof(*k) + bytes);
	if (!k) {
		n->unkept_seq = n->kept_seq;
		return;
	}
	*k = (struct nbd_kept){
		.req = {
			.n = n,
			.op = r->op,
			.off_bytes = r->off_bytes,
			.len_bytes = r->part_bytes,
			.part_bytes = r->part_bytes,
			.own = true,
			.kept = true,
		},
		.seq = n->kept_seq,
	};
	if (bytes) {
		memcpy(k->data, r->buf, bytes);
		k->req.buf = k->data;
	}
	*n->kept_end = k;
	n->kept_end = &k->next;
	n->kept_bytes += cost(bytes);
}

static void first_free(struct vhd_nbd *n)
{
	struct nbd_kept *k = n->kept;

	n->kept = k->next;
	if (!n->kept)
		n->kept_end = &n->kept;
	n->kept_bytes -= cost(k->req.op == NBD_WRITE ? k->req.part_bytes : 0);
	free(k);
}

void vhd_nbd_keep_flushed(struct vhd_nbd *n, uint64_t seq)
{
	while (n->kept && n->kept->seq <= seq)
		first_free(n);
	if (n->unkept_seq <= seq)
		n->unkept_seq = 0;
}

void vhd_nbd_keep_clear(struct vhd_nbd *n)
{
	n->again = NULL;
	while (n->kept)
		first_free(n);
}

void vhd_nbd_keep_lost(struct vhd_nbd *n)
{
	n->again = n->kept;
	n->again_out = 0;
	if (n->unkept_seq)
		n->lost = true;
}

static bool overlaps_sent(const struct vhd_nbd *n, const struct nbd_req *r)
{
	for (const struct nbd_req *s = n->sent.head; s; s = s->next)
		if (s->off_bytes < r->off_bytes + r->part_bytes &&
		    r->off_bytes < s->off_bytes + s->part_bytes)
			return true;
	return false;
}

bool vhd_nbd_keep_send(struct vhd_nbd *n)
{
	while (n->again && n->again_out < AGAIN_MAX) {
		struct nbd_kept *k = n->again;
		int rc;

		if (overlaps_sent(n, &k->req))
			return false;
		n->again = k->next;
		n->again_out++;
		rc = vhd_nbd_send(n, &k->req);
		if (!rc)
			continue;
		n->again_out--;
		if (rc == -ENOTCONN) /* the loss comes to be seen */
			return false;
		n->lost = true;
	}
	return !n->again && !n->again_out;
}

void vhd_nbd_keep_answered(struct vhd_nbd *n, struct nbd_req *r)
{
	n->again_out--;
	if (r->error)
		n->lost = true;
}
