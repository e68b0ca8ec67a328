/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine for machines that forbid io_uring: the kernel's AIO by libaio.
 * A batch is one io_submit; operations through the page cache are done inside
 * it. io_submit stops at the first operation it refuses and says why only when
 * that one comes first, so a refusal ends exactly one operation.
 *
 * Waiting for completions and a descriptor together goes by an eventfd that
 * every completion counts up. It is emptied before the events are looked at:
 * what completes later makes it readable again.
 *
 * The kernel cannot cancel file operations once submitted.
 */
#include <errno.h>
#include <libaio.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"

#define BATCH 64u

struct aio_engine {
	io_context_t ctx;
	int event_fd;
	uint32_t in_kernel;
	struct vhd_io_list queued; /* prepared, not submitted */
	struct vhd_io_list done;
	struct iocb **free;        /* a stack */
	uint32_t free_count;
	struct iocb *blocks;
	struct io_event events[BATCH];
};

static void aio_destroy(void *state)
{
	struct aio_engine *e = state;

	if (!e)
		return;
	if (e->ctx)
		io_destroy(e->ctx);
	if (e->event_fd >= 0)
		close(e->event_fd);
	free(e->blocks);
	free(e->free);
	free(e);
}

static int aio_create(uint32_t depth, void **state, struct vhd_err *err)
{
	struct aio_engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return vhd_fail_nomem(err, sizeof(*e), "the aio engine");
	e->event_fd = -1;
	e->blocks = calloc(depth, sizeof(*e->blocks));
	e->free = calloc(depth, sizeof(*e->free));
	if (!e->blocks || !e->free) {
		aio_destroy(e);
		return vhd_fail_nomem(err, depth * sizeof(*e->blocks),
				      "the aio engine");
	}
	while (e->free_count < depth) {
		e->free[e->free_count] = &e->blocks[e->free_count];
		e->free_count++;
	}
	e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->event_fd < 0) {
		rc = -errno;
		goto out;
	}
	rc = io_setup((int)depth, &e->ctx);
	if (rc) {
		e->ctx = NULL;
		goto out;
	}
	*state = e;
	return 0;
out:
	aio_destroy(e);
	return vhd_fail(err, rc, vhd_system_why(rc), 0,
			"cannot set up kernel AIO for %u operations: %s%s",
			depth, vhd_errno_text(rc),
			rc == -EAGAIN ? "; see /proc/sys/fs/aio-max-nr" : "");
}

static int aio_attach(void *state, const struct vhd_file *f, uint32_t slot,
		      struct vhd_err *err)
{
	(void)state;
	(void)slot;
	if (f->fd < 0)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"this medium has no file descriptor; only "
				"the sync engine serves it");
	return 0;
}

static void aio_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)state;
	(void)f;
	(void)slot;
}

/* The kernel has no such AIO: a hole is punched here and now. */
static void punch(struct aio_engine *e, struct vhd_io *io)
{
	const struct vhd_file *f = io->file;
	int rc = f->ops->zero(f->state, io->off_bytes, io->zero_bytes);

	io->res = rc ? rc : (int64_t)io->zero_bytes;
	vhd_io_list_add(&e->done, io);
}

static void aio_prep(void *state, struct vhd_io *io)
{
	struct aio_engine *e = state;

	if (io->op == VHD_IO_ZERO)
		punch(e, io);
	else
		vhd_io_list_add(&e->queued, io);
}

static void fill(struct iocb *cb, struct vhd_io *io, int event_fd)
{
	int fd = io->direct ? io->file->direct_fd : io->file->fd;

	switch (io->op) {
	case VHD_IO_READ:
		io_prep_preadv(cb, fd, io->iov, (int)io->iov_count,
			       (long long)io->off_bytes);
		break;
	case VHD_IO_WRITE:
		io_prep_pwritev(cb, fd, io->iov, (int)io->iov_count,
				(long long)io->off_bytes);
		if (io->dsync)
			cb->aio_rw_flags = RWF_DSYNC;
		break;
	case VHD_IO_SYNC:
		io_prep_fdsync(cb, fd);
		break;
	case VHD_IO_ZERO: /* never comes so far */
		break;
	}
	io_set_eventfd(cb, event_fd);
	cb->data = io;
}

static void finish(struct aio_engine *e, struct iocb *cb, int64_t res)
{
	struct vhd_io *io = cb->data;

	io->res = res;
	vhd_io_list_add(&e->done, io);
	e->free[e->free_count++] = cb;
}

/* Fill control blocks for the oldest of the queued ones. */
static uint32_t take_batch(struct aio_engine *e, struct iocb **batch)
{
	uint32_t n = 0;

	while (n < BATCH && e->free_count && e->queued.head) {
		struct iocb *cb = e->free[--e->free_count];

		fill(cb, vhd_io_list_take(&e->queued), e->event_fd);
		batch[n++] = cb;
	}
	return n;
}

/* What was not accepted goes back to the head of the queue, in its order. */
static void put_back(struct aio_engine *e, struct iocb **batch, uint32_t n)
{
	while (n-- > 0) {
		struct vhd_io *io = batch[n]->data;

		e->free[e->free_count++] = batch[n];
		io->next = e->queued.head;
		if (!e->queued.head)
			e->queued.tail = io;
		e->queued.head = io;
	}
}

/* The kernel refused this one. It has fdatasync as AIO only since 4.18. */
static void refuse(struct aio_engine *e, struct iocb *cb, int code)
{
	struct vhd_io *io = cb->data;
	int64_t res = code;

	if (io->op == VHD_IO_SYNC && (code == -EINVAL || code == -ENOSYS))
		res = fdatasync(io->file->fd) < 0 ? -errno : 0;
	finish(e, cb, res);
}

static int aio_submit(void *state)
{
	struct aio_engine *e = state;
	struct iocb *batch[BATCH];

	while (e->queued.head && e->free_count) {
		uint32_t n = take_batch(e, batch), sent = 0;

		while (sent < n) {
			int rc = io_submit(e->ctx, (long)(n - sent),
					   batch + sent);

			if (rc == -EINTR)
				continue;
			if (rc == -EAGAIN && e->in_kernel) {
				/* no room before something completes */
				put_back(e, batch + sent, n - sent);
				return 0;
			}
			if (rc <= 0) {
				refuse(e, batch[sent++], rc ? rc : -EIO);
				continue;
			}
			sent += (uint32_t)rc;
			e->in_kernel += (uint32_t)rc;
		}
	}
	return 0;
}

/* Move events to the done list; `least` > 0 blocks for that many. */
static int take_events(struct aio_engine *e, long least, struct timespec *ts)
{
	int n;

	do {
		n = io_getevents(e->ctx, least, BATCH, e->events, ts);
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			finish(e, e->events[i].obj, (long)e->events[i].res);
		e->in_kernel -= (uint32_t)n;
		least = 0;
	} while (n == (int)BATCH);
	return 0;
}

static struct vhd_io *aio_reap(void *state)
{
	struct aio_engine *e = state;
	struct timespec none = {0};

	/* A failure shows in `wait`, which can say so. */
	if (e->in_kernel)
		(void)take_events(e, 0, &none);
	return vhd_io_list_take_all(&e->done);
}

static int wait_both(struct aio_engine *e, int wake_fd, int timeout_ms)
{
	struct pollfd p[] = {
		{.fd = e->event_fd, .events = POLLIN},
		{.fd = wake_fd, .events = POLLIN},
	};
	struct timespec none = {0};
	uint64_t count;
	int rc;

	if (read(e->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	rc = take_events(e, 0, &none);
	if (rc || e->done.head)
		return rc;
	return poll(p, 2, timeout_ms) < 0 ? -errno : 0;
}

static int aio_wait(void *state, int wake_fd, int timeout_ms)
{
	struct aio_engine *e = state;
	struct timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000l,
	};
	int rc;

	aio_submit(e);
	if (e->done.head)
		return 0;
	if (wake_fd < 0 && e->in_kernel)
		rc = take_events(e, 1, timeout_ms < 0 ? NULL : &ts);
	else
		rc = wait_both(e, wake_fd, timeout_ms);
	return rc == -EINTR ? 0 : rc;
}

static void aio_cancel(void *state, struct vhd_io *io)
{
	struct aio_engine *e = state;

	if (vhd_io_list_remove(&e->queued, io)) {
		io->res = -ECANCELED;
		vhd_io_list_add(&e->done, io);
	}
}

const struct vhd_engine_ops vhd_engine_aio = {
	.name = "aio",
	.id = VHD_ENGINE_AIO,
	.create = aio_create,
	.destroy = aio_destroy,
	.attach = aio_attach,
	.detach = aio_detach,
	.prep = aio_prep,
	.submit = aio_submit,
	.reap = aio_reap,
	.wait = aio_wait,
	.cancel = aio_cancel,
};
