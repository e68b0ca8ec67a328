/* SPDX-License-Identifier: BSD-2-Clause */
/* A request to an NBD export, and the lists it moves along: see nbd_int.h.
 * Private to vhd/.
 */
#ifndef VHD_NBD_REQ_H
#define VHD_NBD_REQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct vhd_nbd;

enum nbd_op {
	NBD_READ,
	NBD_WRITE,
	NBD_ZERO,
	NBD_FLUSH,
};

struct nbd_list {
	struct nbd_req *head, *tail;
};

/* One request. Who asks fills the first part and keeps it, iovecs and buffers
 * until `over` is called, once, by the connection's thread.
 */
struct nbd_req {
	enum nbd_op op;
	bool fua;
	bool fast; /* ZERO: only if that is faster than writing */
	uint64_t off_bytes;
	uint64_t len_bytes;
	const struct iovec *iov;
	uint32_t iov_count;
	void (*over)(struct nbd_req *req);
	void *user;
	int64_t res; /* bytes, maybe fewer; 0 of a flush; negative errno */

	bool cancelled; /* under the lock; no neighbour of what is not */

	/* nbd_run.c's */
	struct vhd_nbd *n;
	struct nbd_list *in; /* the list it is on, or NULL */
	struct nbd_req *prev, *next;
	uint8_t *buf;	     /* what is sent or received, part_bytes of it */
	uint8_t *bounce;     /* the same, where it is ours */
	uint64_t part_bytes;
	uint64_t mark;	     /* FLUSH: writes kept up to this are covered */
	uint32_t sends;
	int error;
	bool flushing;	     /* a FUA write whose server knows only flushes */
	bool own;	     /* a flush, or a kept write, of ours */
	bool kept;	     /* the latter */
	bool counted;	     /* in writing_bytes */
	uint64_t cookie;     /* nbd_line.c's: the command's number */
};

/* It says, when it is answered, that something is durable. */
static inline bool nbd_is_flush(const struct nbd_req *r)
{
	return r->op == NBD_FLUSH || r->flushing;
}

static inline void nbd_list_add(struct nbd_list *l, struct nbd_req *r)
{
	r->in = l;
	r->next = NULL;
	r->prev = l->tail;
	if (l->tail)
		l->tail->next = r;
	else
		l->head = r;
	l->tail = r;
}

static inline void nbd_list_add_first(struct nbd_list *l, struct nbd_req *r)
{
	r->in = l;
	r->prev = NULL;
	r->next = l->head;
	if (l->head)
		l->head->prev = r;
	else
		l->tail = r;
	l->head = r;
}

static inline void nbd_list_remove(struct nbd_req *r)
{
	struct nbd_list *l = r->in;

	if (r->prev)
		r->prev->next = r->next;
	else
		l->head = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		l->tail = r->prev;
	r->in = NULL;
}

static inline struct nbd_req *nbd_list_take(struct nbd_list *l)
{
	struct nbd_req *r = l->head;

	if (r)
		nbd_list_remove(r);
	return r;
}

#endif
