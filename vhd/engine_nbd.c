/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine of a queue that has an image on an NBD export, beside the engine
 * that it had: operations on exports go to their connections (nbd.h), all
 * others to that one, and so one queue serves a local child with a remote
 * parent. To whoever asks, the queue's engine is still the other one: it alone
 * decides which calls the queue's thread makes.
 *
 * A connection's thread hands in what is over and counts up an eventfd. That
 * and the descriptor the queue is to wait for are behind one epoll descriptor,
 * which is what the other engine waits for.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine_nbd.h"
#include "fail.h"
#include "nbd.h"
#include "nbd_int.h"

/* An operation with a connection. */
struct place {
	struct nbd_req req;
	struct vhd_io *io;
	struct place *next; /* free */
	bool out;	    /* `req` is with the connection */
	struct nbd_engine *e;
};

struct nbd_engine {
	const struct vhd_engine_ops *inner;
	void *inner_state;
	int event_fd;
	int epoll_fd;
	int wake_fd; /* in there, or -1 */
	uint32_t depth;
	struct place *places;
	struct vhd_io_list queued;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t came; /* something is over */
	struct place *free;
	uint32_t out;
	struct vhd_io_list done;
	atomic_bool any; /* in `done`; the eventfd counts */
};

/* ----------------------------------------------------------- lifecycle -- */

static void engine_free(struct nbd_engine *e)
{
	if (e->event_fd >= 0)
		close(e->event_fd);
	if (e->epoll_fd >= 0)
		close(e->epoll_fd);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->came);
	free(e->places);
	free(e);
}

static int descriptors_make(struct nbd_engine *e, struct vhd_err *err)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int rc = 0;

	e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->event_fd >= 0)
		e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->event_fd < 0 || e->epoll_fd < 0 ||
	    epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->event_fd, &ev) < 0)
		rc = -errno;
	if (!rc)
		return 0;
	return vhd_fail(err, rc, vhd_system_why(rc), 0,
			"cannot wait for NBD servers: %s", vhd_errno_text(rc));
}

int vhd_engine_nbd_prepare(void **spare, struct vhd_err *err)
{
	struct nbd_engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return vhd_fail_nomem(err, sizeof(*e), "the nbd engine");
	e->event_fd = e->epoll_fd = e->wake_fd = -1;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->came, NULL);
	rc = descriptors_make(e, err);
	if (rc)
		engine_free(e);
	else
		*spare = e;
	return rc;
}

void vhd_engine_nbd_discard(void *spare)
{
	if (spare)
		engine_free(spare);
}

int vhd_engine_nbd_wrap(void *spare, const struct vhd_engine_ops *inner,
			void *inner_state, uint32_t depth, void **state,
			struct vhd_err *err)
{
	struct nbd_engine *e = spare;

	e->places = calloc(depth, sizeof(*e->places));
	if (!e->places)
		return vhd_fail_nomem(err, depth * sizeof(*e->places),
				      "the nbd engine");
	e->inner = inner;
	e->inner_state = inner_state;
	e->depth = depth;
	for (uint32_t i = 0; i < depth; i++) {
		e->places[i].next = e->free;
		e->places[i].e = e;
		e->free = &e->places[i];
	}
	*state = e;
	return 0;
}

const struct vhd_engine_ops *vhd_engine_nbd_inner(void *state,
						  void **inner_state)
{
	struct nbd_engine *e = state;

	if (inner_state)
		*inner_state = e->inner_state;
	return e->inner;
}

void vhd_engine_nbd_rewrap(void *state, const struct vhd_engine_ops *inner,
			   void *inner_state)
{
	struct nbd_engine *e = state;

	e->inner = inner;
	e->inner_state = inner_state;
}

/* What is under way comes back, be it without an answer; its buffers are not
 * touched after that.
 */
static void connections_drop(struct nbd_engine *e)
{
	for (uint32_t i = 0; i < e->depth; i++) {
		struct vhd_nbd *n = NULL;

		/* A connection's lock comes before this one. */
		pthread_mutex_lock(&e->lock);
		if (e->places[i].out)
			n = e->places[i].req.n;
		pthread_mutex_unlock(&e->lock);
		if (n)
			vhd_nbd_drop(n);
	}
	pthread_mutex_lock(&e->lock);
	while (e->out)
		pthread_cond_wait(&e->came, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

static void nbd_destroy(void *state)
{
	struct nbd_engine *e = state;

	e->inner->destroy(e->inner_state);
	connections_drop(e);
	engine_free(e);
}

static int nbd_attach(void *state, const struct vhd_file *f, uint32_t slot,
		      struct vhd_err *err)
{
	struct nbd_engine *e = state;

	return vhd_nbd_of(f) ? 0
			     : e->inner->attach(e->inner_state, f, slot, err);
}

static void nbd_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	struct nbd_engine *e = state;

	if (!vhd_nbd_of(f))
		e->inner->detach(e->inner_state, f, slot);
}

/* ---------------------------------------------------------- operations -- */

static void nbd_prep(void *state, struct vhd_io *io)
{
	struct nbd_engine *e = state;

	if (vhd_nbd_of(io->file))
		vhd_io_list_add(&e->queued, io);
	else
		e->inner->prep(e->inner_state, io);
}

/* The connection's thread. */
static void over(struct nbd_req *req)
{
	struct place *p = req->user;
	struct nbd_engine *e = p->e;
	bool first;

	pthread_mutex_lock(&e->lock);
	p->io->res = req->res;
	vhd_io_list_add(&e->done, p->io);
	p->io = NULL;
	p->out = false;
	p->next = e->free;
	e->free = p;
	e->out--;
	first = !atomic_load_explicit(&e->any, memory_order_relaxed);
	/* Pairs with the acquire in nbd_reap. */
	atomic_store_explicit(&e->any, true, memory_order_release);
	if (first)
		(void)eventfd_write(e->event_fd, 1);
	pthread_cond_signal(&e->came);
	pthread_mutex_unlock(&e->lock);
}

static uint64_t length_of(const struct vhd_io *io)
{
	uint64_t sum = 0;

	if (io->op == VHD_IO_ZERO)
		return io->zero_bytes;
	for (uint32_t i = 0; i < io->iov_count; i++)
		sum += io->iov[i].iov_len;
	return sum;
}

static void fill(struct place *p, struct vhd_io *io)
{
	static const enum nbd_op ops[] = {
		[VHD_IO_READ] = NBD_READ,
		[VHD_IO_WRITE] = NBD_WRITE,
		[VHD_IO_SYNC] = NBD_FLUSH,
		[VHD_IO_ZERO] = NBD_ZERO,
	};

	p->io = io;
	p->req.op = ops[io->op];
	p->req.fua = io->op == VHD_IO_WRITE && io->dsync;
	/* A queue writes zeros where making them is not faster. */
	p->req.fast = true;
	p->req.off_bytes = io->off_bytes;
	p->req.iov = io->iov;
	p->req.iov_count = io->op == VHD_IO_ZERO ? 0 : io->iov_count;
	p->req.len_bytes = length_of(io);
	p->req.over = over;
	p->req.user = p;
}

/* What needs no server, or cannot be asked of this one; else false. */
static bool done_here(const struct vhd_nbd *n, struct vhd_io *io)
{
	if (io->op == VHD_IO_SYNC && !n->facts.can_flush)
		io->res = 0;
	else if (io->op == VHD_IO_ZERO && !n->facts.can_zero)
		io->res = -EOPNOTSUPP;
	else
		return false;
	return true;
}

static void send_one(struct nbd_engine *e, struct vhd_nbd *n,
		     struct vhd_io *io)
{
	struct place *p = NULL;

	pthread_mutex_lock(&e->lock);
	if (done_here(n, io)) {
		vhd_io_list_add(&e->done, io);
		atomic_store_explicit(&e->any, true, memory_order_relaxed);
	} else {
		p = e->free; /* as many as the queue is deep */
		e->free = p->next;
		fill(p, io);
		p->out = true;
		e->out++;
	}
	pthread_mutex_unlock(&e->lock);
	if (p)
		vhd_nbd_post(n, &p->req);
}

static void send_queued(struct nbd_engine *e)
{
	struct vhd_nbd *last = NULL;
	struct vhd_io *io;

	while ((io = vhd_io_list_take(&e->queued))) {
		struct vhd_nbd *n = vhd_nbd_of(io->file);

		if (last && last != n)
			vhd_nbd_kick(last);
		last = n;
		send_one(e, n, io);
	}
	if (last)
		vhd_nbd_kick(last);
}

static int nbd_submit(void *state)
{
	struct nbd_engine *e = state;

	send_queued(e);
	return e->inner->submit(e->inner_state);
}

static struct vhd_io *take_done(struct nbd_engine *e)
{
	struct vhd_io *done;
	eventfd_t count;

	/* Pairs with the release in over. */
	if (!atomic_load_explicit(&e->any, memory_order_acquire))
		return NULL;
	pthread_mutex_lock(&e->lock);
	done = vhd_io_list_take_all(&e->done);
	atomic_store_explicit(&e->any, false, memory_order_relaxed);
	(void)eventfd_read(e->event_fd, &count);
	pthread_mutex_unlock(&e->lock);
	return done;
}

static struct vhd_io *nbd_reap(void *state)
{
	struct nbd_engine *e = state;
	struct vhd_io *list = e->inner->reap(e->inner_state);
	struct vhd_io *done = take_done(e), *last = list;

	if (!list)
		return done;
	while (last->next)
		last = last->next;
	last->next = done;
	return list;
}

/* ------------------------------------------------------------- waiting -- */

/* No call where it is the same as before: a thread in a sandbox may not have
 * it.
 */
static int wake_place(struct nbd_engine *e, int wake_fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (e->wake_fd == wake_fd)
		return 0;
	/* One that was closed has left by itself. */
	if (e->wake_fd >= 0)
		(void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, e->wake_fd, NULL);
	e->wake_fd = -1;
	if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev) < 0)
		return -errno;
	e->wake_fd = wake_fd;
	return 0;
}

int vhd_engine_nbd_watch(void *spare, int wake_fd)
{
	return wake_fd < 0 ? 0 : wake_place(spare, wake_fd);
}

static int nbd_wait(void *state, int wake_fd, int timeout_ms)
{
	struct nbd_engine *e = state;
	int rc = wake_fd < 0 ? 0 : wake_place(e, wake_fd);

	if (rc)
		return rc;
	send_queued(e);
	if (atomic_load_explicit(&e->any, memory_order_acquire))
		return e->inner->submit(e->inner_state);
	return e->inner->wait(e->inner_state,
			      wake_fd < 0 ? e->event_fd : e->epoll_fd,
			      timeout_ms);
}

static void cancel_sent(struct nbd_engine *e, struct vhd_io *io)
{
	struct place *p = NULL;

	pthread_mutex_lock(&e->lock);
	for (uint32_t i = 0; i < e->depth && !p; i++)
		if (e->places[i].out && e->places[i].io == io)
			p = &e->places[i];
	pthread_mutex_unlock(&e->lock);
	/* Should it be over by now, its place is nobody else's before the
	 * next operation is sent, by this thread.
	 */
	if (p)
		vhd_nbd_cancel(p->req.n, &p->req);
}

static void nbd_cancel(void *state, struct vhd_io *io)
{
	struct nbd_engine *e = state;

	if (!vhd_nbd_of(io->file)) {
		e->inner->cancel(e->inner_state, io);
		return;
	}
	if (!vhd_io_list_remove(&e->queued, io)) {
		cancel_sent(e, io);
		return;
	}
	io->res = -ECANCELED;
	pthread_mutex_lock(&e->lock);
	vhd_io_list_add(&e->done, io);
	atomic_store_explicit(&e->any, true, memory_order_relaxed);
	pthread_mutex_unlock(&e->lock);
}

const struct vhd_engine_ops vhd_engine_nbd = {
	.name = "nbd",
	.id = VHD_ENGINE_AUTO, /* none that can be asked for */
	.destroy = nbd_destroy,
	.attach = nbd_attach,
	.detach = nbd_detach,
	.prep = nbd_prep,
	.submit = nbd_submit,
	.reap = nbd_reap,
	.wait = nbd_wait,
	.cancel = nbd_cancel,
};
