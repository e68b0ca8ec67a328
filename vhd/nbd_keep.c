/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes that an NBD server has acknowledged and no flush has covered yet: a
 * server that ends may take them with it, so a copy of each is kept.
 *
 * A flush covers what was answered before it was sent. On a new connection the
 * copies go out again in the order of their answers, two that overlap one
 * after the other, and all of them before anything else: what a guest has read
 * since is what is there again. What a durable write has covered since is left
 * out, so that it is never undone, not even for a moment that a server ends in.
 *
 * Where there is no memory for a copy, or the server does not take it again,
 * the write may be lost: then the next flush says so, once for all.
 */
#include <stdlib.h>
#include <string.h>

#include "nbd_int.h"

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

/* What is in memory of it. */
static uint64_t data_bytes(const struct nbd_kept *k)
{
	return k->req.op == NBD_WRITE && !k->durable ? k->len_bytes : 0;
}

void vhd_nbd_keep(struct vhd_nbd *n, const struct nbd_req *r, bool durable)
{
	const struct nbd_kept kept = {
		.req = {.n = n, .op = r->op, .own = true, .kept = true},
		.seq = n->kept_seq + 1,
		.off_bytes = r->off_bytes,
		.len_bytes = r->part_bytes,
		.durable = durable,
	};
	uint64_t bytes = data_bytes(&kept);
	struct nbd_kept *k;

	if (!n->facts.can_flush) /* what it acknowledged is durable */
		return;
	n->kept_seq++;
	k = malloc(sizeof(*k) + bytes);
	if (!k) {
		n->unkept_seq = n->kept_seq;
		return;
	}
	*k = kept;
	if (bytes)
		memcpy(k->data, r->buf, bytes);
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
	n->kept_bytes -= cost(data_bytes(k));
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
	for (struct nbd_kept *k = n->kept; k; k = k->next)
		k->at_bytes = k->durable ? k->len_bytes : 0;
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

/* The next part that no durable write has covered since; false: there is no
 * more of it.
 */
static bool part_next(struct nbd_kept *k)
{
	uint64_t from = k->off_bytes + k->at_bytes;
	uint64_t to = k->off_bytes + k->len_bytes;
	const struct nbd_kept *d = from < to ? k->next : NULL;

	while (d) {
		uint64_t end = d->off_bytes + d->len_bytes;

		if (!d->durable || end <= from || d->off_bytes >= to) {
			d = d->next;
		} else if (d->off_bytes > from) {
			to = d->off_bytes;
			d = d->next;
		} else { /* and look at all again, from its end */
			from = end;
			to = k->off_bytes + k->len_bytes;
			d = from < to ? k->next : NULL;
		}
	}
	k->at_bytes = from - k->off_bytes;
	if (from >= to)
		return false;
	k->req.off_bytes = from;
	k->req.len_bytes = k->req.part_bytes = to - from;
	k->req.buf = k->req.op == NBD_WRITE ? k->data + k->at_bytes : NULL;
	return true;
}

/* One part of the next; false: not now. */
static bool send_part(struct vhd_nbd *n, struct nbd_kept *k)
{
	int rc;

	if (k->req.in) /* its last part */
		return false;
	if (!part_next(k)) {
		n->again = k->next;
		return true;
	}
	if (overlaps_sent(n, &k->req))
		return false;
	k->at_bytes += k->req.part_bytes;
	n->again_out++;
	rc = vhd_nbd_send(n, &k->req);
	if (!rc)
		return true;
	n->again_out--;
	if (rc == -ENOTCONN) /* the loss comes to be seen */
		return false;
	n->lost = true;
	return true;
}

bool vhd_nbd_keep_send(struct vhd_nbd *n)
{
	while (n->again && n->again_out < AGAIN_MAX)
		if (!send_part(n, n->again))
			return false;
	return !n->again && !n->again_out;
}

void vhd_nbd_keep_answered(struct vhd_nbd *n, struct nbd_req *r)
{
	n->again_out--;
	if (r->error)
		n->lost = true;
}
