/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine that needs nothing of the kernel: each operation is done on
 * submit, in order, through the file's own table of functions, so it serves
 * any medium (memory, recording and fault layers) and repeats exactly.
 * Only what the queue wants done past the page cache goes to the descriptor
 * opened for that.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"

#define RETRIES_MAX 1000

struct sync_engine {
	struct vhd_io_list queued;
	struct vhd_io_list done;
};

static int sync_create(uint32_t depth, void **state, struct vhd_err *err)
{
	struct sync_engine *e = calloc(1, sizeof(*e));

	(void)depth;
	if (!e)
		return vhd_fail_nomem(err, sizeof(*e), "the sync engine");
	*state = e;
	return 0;
}

static void sync_destroy(void *state)
{
	free(state);
}

static int sync_attach(void *state, const struct vhd_file *f, uint32_t slot,
		       struct vhd_err *err)
{
	(void)state;
	(void)f;
	(void)slot;
	(void)err;
	return 0;
}

static void sync_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)state;
	(void)f;
	(void)slot;
}

static void sync_prep(void *state, struct vhd_io *io)
{
	struct sync_engine *e = state;

	vhd_io_list_add(&e->queued, io);
}

/* Buffers one by one; the first short one ends it, as preadv would. */
static int64_t transfer(const struct vhd_io *io)
{
	const struct vhd_file *f = io->file;
	uint64_t off = io->off_bytes;
	int64_t sum = 0;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		const struct iovec *v = &io->iov[i];
		ssize_t n;

		if (io->op == VHD_IO_READ)
			n = f->ops->pread(f->state, v->iov_base, v->iov_len,
					  off);
		else
			n = f->ops->pwrite(f->state, v->iov_base, v->iov_len,
					   off);
		if (n < 0)
			return sum ? sum : n;
		sum += n;
		off += (uint64_t)n;
		if ((size_t)n < v->iov_len)
			break;
	}
	return sum;
}

static int64_t transfer_direct(const struct vhd_io *io)
{
	ssize_t n;

	if (io->op == VHD_IO_READ)
		n = preadv(io->file->direct_fd, io->iov, (int)io->iov_count,
			   (off_t)io->off_bytes);
	else
		n = pwritev(io->file->direct_fd, io->iov, (int)io->iov_count,
			    (off_t)io->off_bytes);
	return n < 0 ? -errno : n;
}

static int64_t perform(const struct vhd_io *io)
{
	unsigned tries = 0;
	int64_t res;
	int rc;

	if (io->op == VHD_IO_SYNC)
		return io->file->ops->flush(io->file->state);
	if (io->op == VHD_IO_ZERO) {
		rc = io->file->ops->zero(io->file->state, io->off_bytes,
					 io->zero_bytes);
		return rc ? rc : (int64_t)io->zero_bytes;
	}
	/* The queue cannot tell an interrupted write from an interrupted sync.
	 */
	do
		res = io->direct ? transfer_direct(io) : transfer(io);
	while (res == -EINTR && io->dsync && ++tries <= RETRIES_MAX);
	if (res <= 0 || !io->dsync)
		return res;
	rc = io->file->ops->flush(io->file->state);
	return rc ? rc : res;
}

static int sync_submit(void *state)
{
	struct sync_engine *e = state;

	struct vhd_io *io;

	while ((io = vhd_io_list_take(&e->queued))) {
		io->res = perform(io);
		vhd_io_list_add(&e->done, io);
	}
	return 0;
}

static struct vhd_io *sync_reap(void *state)
{
	struct sync_engine *e = state;

	return vhd_io_list_take_all(&e->done);
}

static int sync_wait(void *state, int wake_fd, int timeout_ms)
{
	struct sync_engine *e = state;
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};

	sync_submit(e);
	if (e->done.head)
		return 0;
	if (poll(&p, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static void sync_cancel(void *state, struct vhd_io *io)
{
	struct sync_engine *e = state;

	if (vhd_io_list_remove(&e->queued, io)) {
		io->res = -ECANCELED;
		vhd_io_list_add(&e->done, io);
	}
}

const struct vhd_engine_ops vhd_engine_sync = {
	.name = "sync",
	.id = VHD_ENGINE_SYNC,
	.create = sync_create,
	.destroy = sync_destroy,
	.attach = sync_attach,
	.detach = sync_detach,
	.prep = sync_prep,
	.submit = sync_submit,
	.reap = sync_reap,
	.wait = sync_wait,
	.cancel = sync_cancel,
};
