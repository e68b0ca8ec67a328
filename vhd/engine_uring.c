/* SPDX-License-Identifier: BSD-2-Clause */
/* The io_uring engine: one system call per batch (O_DIRECT: per group), none
 * to collect what is there.
 *
 * Set-up: the flags that save interrupts where the kernel has them, step by
 * step down to none. The ring is made disabled and enabled by the first call
 * that submits, which so names its owner thread: the ring may be made by one
 * thread and used by another. Files are registered in a sparse table, two
 * places an image (buffered, direct), and one for `wake_fd`; where the table is
 * refused, descriptors are used as they are.
 *
 * Before it is enabled the ring is restricted, for good, to what stands in
 * `operations` and `registrations` below, and to registered files: whoever
 * takes over this process cannot open, connect or run anything through it,
 * where a seccomp filter does not look. A kernel without restrictions (before
 * 5.10) gets a ring without them.
 *
 * Memory that the caller names is registered as fixed buffers, a buffer a GiB,
 * which is the most that the kernel takes: an operation with one buffer inside
 * of one of them becomes READ_FIXED or WRITE_FIXED. That is done before the
 * ring is enabled, after which registering buffers is not allowed any more.
 *
 * A completion's user data is the operation, or one of the small numbers below
 * for the engine's own requests. `wake_fd` is watched by one poll request that
 * stays armed until it fires or another descriptor is given; each has its own
 * number, so that the end of an old one is not taken for the new one's.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "fail.h"
#include "nap.h"

/* liburing 2.3 exports io_uring_register, but neither io_uring_enable_rings
 * nor io_uring_register_restrictions.
 */
#define WAKE_PLACE (2 * VHD_ENGINE_FILES_MAX)
#define FILES (WAKE_PLACE + 1)
/* Submission places beyond the queue's depth: poll, its removal, cancels. */
#define SPARE 8u

/* Operations past the page cache go to the kernel in groups of this many, not
 * only at the end of a batch: the device works on the first while the rest is
 * prepared. Measured at depth 64, 4 KiB: 8 % more than whole batches; 1 to 8
 * make no difference.
 */
#define DIRECT_GROUP 4u

/* The longest buffer that can be registered, and how many. */
#define FIXED_SHIFT 30
#define FIXED_MAX (1u << 14)

/* User data that is no pointer: odd. */
#define TAG_IGNORE 1ull
#define TAG_POLL_FIRST 3ull

/* Registered memory: buffer `first` begins at `base`. */
struct uring_region {
	uintptr_t base;
	size_t len;
	unsigned first;
};

struct uring_engine {
	struct io_uring ring;
	bool restricted;
	bool enabled;
	bool registered;            /* the table of files is there */
	int poll_fd;                /* watched by an armed poll, or -1 */
	int wake_fd;                /* in WAKE_PLACE, or -1 */
	uint64_t poll_tag;
	uint32_t placed;            /* operations in the ring or the kernel */
	struct vhd_io_list stalled; /* found no place in the ring */
	struct vhd_io_list done;    /* cancelled while stalled */
	unsigned region_count;
	struct uring_region region[VHD_QUEUE_MEMORY_MAX];
};

/* From the best to what every io_uring has. */
static const unsigned setups[] = {
	IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_R_DISABLED,
	0,
};

static int ring_init(struct uring_engine *e, uint32_t depth)
{
	int rc = -EINVAL;

	for (size_t i = 0; i < sizeof(setups) / sizeof(setups[0]); i++) {
		struct io_uring_params p = {.flags = setups[i]};

		rc = io_uring_queue_init_params(depth + SPARE, &e->ring, &p);
		e->restricted = setups[i] & IORING_SETUP_R_DISABLED;
		e->enabled = !e->restricted;
		if (rc != -EINVAL)
			break;
	}
	return rc;
}

/* False where this process may not have so many files open: then each operation
 * names its own. liburing's functions for it would raise that limit first, and
 * a sandbox ends a process that tries to.
 */
static bool register_table(struct uring_engine *e)
{
	const struct io_uring_rsrc_register sparse = {
		.nr = FILES,
		.flags = IORING_RSRC_REGISTER_SPARSE,
	};
	unsigned ring = (unsigned)e->ring.ring_fd;
	int fds[FILES];

	if (io_uring_register(ring, IORING_REGISTER_FILES2, &sparse,
			      sizeof(sparse)) == 0)
		return true;
	for (unsigned i = 0; i < FILES; i++)
		fds[i] = -1;
	return io_uring_register(ring, IORING_REGISTER_FILES, fds, FILES) == 0;
}

/* --------------------------------------------------------- restrictions -- */

static const uint8_t operations[] = {
	IORING_OP_READ, IORING_OP_READV,       /* data */
	IORING_OP_WRITE, IORING_OP_WRITEV,
	IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
	IORING_OP_FSYNC, IORING_OP_FALLOCATE,
	IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE, /* wake_fd */
	IORING_OP_ASYNC_CANCEL,                /* vhd_queue_cancel */
};

static const uint8_t registrations[] = {
	IORING_REGISTER_FILES_UPDATE, /* attach, detach, wake_fd */
	IORING_REGISTER_ENABLE_RINGS,
};

/* A kernel that cannot bound a wait by itself (before 5.11) has liburing add
 * an operation for it.
 */
static int restrict_ring(struct uring_engine *e)
{
	enum {
		OPERATIONS = sizeof(operations),
		REGISTRATIONS = sizeof(registrations),
		MORE = 2,
	};
	struct io_uring_restriction r[OPERATIONS + REGISTRATIONS + MORE];
	bool whole = e->registered &&
		     (e->ring.features & IORING_FEAT_EXT_ARG);
	unsigned n = 0;

	memset(r, 0, sizeof(r));
	for (unsigned i = 0; i < OPERATIONS; i++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n++].sqe_op = operations[i];
	}
	for (unsigned i = 0; i < REGISTRATIONS; i++) {
		r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		r[n++].register_op = registrations[i];
	}
	if (whole) {
		r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
		r[n++].sqe_flags = IOSQE_FIXED_FILE;
	} else {
		r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
		r[n++].sqe_flags = IOSQE_FIXED_FILE;
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n++].sqe_op = IORING_OP_TIMEOUT;
	}
	return io_uring_register((unsigned)e->ring.ring_fd,
				 IORING_REGISTER_RESTRICTIONS, r, n);
}

static int uring_create(uint32_t depth, void **state, struct vhd_err *err)
{
	struct uring_engine *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return vhd_fail_nomem(err, sizeof(*e), "the uring engine");
	rc = ring_init(e, depth);
	if (rc) {
		free(e);
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot set up io_uring for %u operations: "
				"%s; another engine may work",
				depth, vhd_errno_text(rc));
	}
	e->registered = register_table(e);
	rc = e->enabled ? 0 : restrict_ring(e);
	if (rc < 0) {
		io_uring_queue_exit(&e->ring);
		free(e);
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot restrict a ring of io_uring: %s; "
				"another engine may work", vhd_errno_text(rc));
	}
	e->poll_fd = -1;
	e->wake_fd = -1;
	e->poll_tag = TAG_POLL_FIRST;
	*state = e;
	return 0;
}

/* How many operations the kernel has: without those that lie in the ring. */
static uint32_t in_kernel(const struct uring_engine *e)
{
	const struct io_uring_sq *sq = &e->ring.sq;
	uint32_t left = e->placed;

	for (unsigned i = sq->sqe_tail - io_uring_sq_ready(&e->ring);
	     i != sq->sqe_tail; i++)
		left -= !(sq->sqes[i & *sq->kring_mask].user_data & 1);
	return left;
}

static uint32_t take_done(struct uring_engine *e, struct vhd_io_list *list);

/* After the engine broke operations may be under way. The end of the ring does
 * not wait for them: they would write to the file, and to buffers, that are
 * somebody else's by then.
 */
static void drain(struct uring_engine *e)
{
	struct vhd_io_list list = {0};

	while (in_kernel(e)) {
		int rc = io_uring_get_events(&e->ring);

		if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
			return; /* there is no ring any more */
		if (!take_done(e, &list))
			vhd_nap(1000);
	}
}

static void uring_destroy(void *state)
{
	struct uring_engine *e = state;

	drain(e);
	io_uring_queue_exit(&e->ring);
	free(e);
}

static int put_files(struct uring_engine *e, uint32_t slot, int fd,
		     int direct_fd)
{
	int fds[2] = {fd, direct_fd};
	int rc;

	if (!e->registered)
		return 0;
	rc = io_uring_register_files_update(&e->ring, 2 * slot, fds, 2);
	if (rc < 0)
		return rc;
	return rc == 2 ? 0 : -EIO;
}

static int uring_attach(void *state, const struct vhd_file *f, uint32_t slot,
			struct vhd_err *err)
{
	int rc;

	if (f->fd < 0)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"this medium has no file descriptor; only "
				"the sync engine serves it");
	rc = put_files(state, slot, f->fd, f->direct_fd);
	if (rc)
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot register the file with io_uring: %s",
				vhd_errno_text(rc));
	return 0;
}

/* A place that cannot be emptied is overwritten by the next attach. */
static void uring_detach(void *state, const struct vhd_file *f, uint32_t slot)
{
	(void)f;
	(void)put_files(state, slot, -1, -1);
}

/* -------------------------------------------------------------- memory -- */

static unsigned buffers_of(size_t len)
{
	return (unsigned)((len + (1ull << FIXED_SHIFT) - 1) >> FIXED_SHIFT);
}

/* Cut regions into buffers; `regions` gets where each begins. */
static struct iovec *buffers_make(const struct iovec *mem, unsigned count,
				  struct uring_region *regions, unsigned *total)
{
	struct iovec *b;
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		regions[i] = (struct uring_region){
			(uintptr_t)mem[i].iov_base, mem[i].iov_len, n};
		if (mem[i].iov_len >> FIXED_SHIFT >= FIXED_MAX)
			return NULL;
		n += buffers_of(mem[i].iov_len);
	}
	*total = n;
	b = n > 0 && n <= FIXED_MAX ? calloc(n, sizeof(*b)) : NULL;
	for (unsigned i = 0; i < count && b; i++) {
		uint8_t *at = mem[i].iov_base;
		size_t left = mem[i].iov_len;

		for (unsigned k = regions[i].first; left; k++) {
			size_t len = left >> FIXED_SHIFT
					     ? (size_t)1 << FIXED_SHIFT
					     : left;

			b[k] = (struct iovec){at, len};
			at += len;
			left -= len;
		}
	}
	return b;
}

static int uring_memory(void *state, const struct iovec *mem, unsigned count,
			struct vhd_err *err)
{
	struct uring_region regions[VHD_QUEUE_MEMORY_MAX];
	struct uring_engine *e = state;
	struct iovec *buffers;
	unsigned total = 0;
	int rc;

	if (e->region_count || e->placed || (e->restricted && e->enabled))
		return vhd_fail(err, -EBUSY, VHD_WHY_ARGUMENT, 0,
				"memory is registered once, before the first "
				"request");
	buffers = buffers_make(mem, count, regions, &total);
	if (!buffers)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory, or too much of it, to register");
	rc = io_uring_register((unsigned)e->ring.ring_fd,
			       IORING_REGISTER_BUFFERS, buffers, total);
	free(buffers);
	if (rc < 0)
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"the kernel does not lock this memory for "
				"io_uring: %s", vhd_errno_text(rc));
	memcpy(e->region, regions, count * sizeof(regions[0]));
	e->region_count = count;
	return 0;
}

/* The registered buffer in which all of `v` lies, or -1. */
static int fixed_buffer(const struct uring_engine *e, const struct iovec *v)
{
	uintptr_t base = (uintptr_t)v->iov_base;

	for (unsigned i = 0; i < e->region_count; i++) {
		const struct uring_region *r = &e->region[i];
		uintptr_t at = base - r->base; /* wraps to huge when below */

		if (at >= r->len)
			continue;
		if (v->iov_len > r->len - at || !v->iov_len ||
		    at >> FIXED_SHIFT != (at + v->iov_len - 1) >> FIXED_SHIFT)
			return -1;
		return (int)(r->first + (at >> FIXED_SHIFT));
	}
	return -1;
}

/* ---------------------------------------------------------- submission -- */

static void fixed(const struct uring_engine *e, struct io_uring_sqe *sqe)
{
	if (e->registered)
		sqe->flags = IOSQE_FIXED_FILE;
}

static void fill_one(const struct uring_engine *e, struct io_uring_sqe *sqe,
		     const struct vhd_io *io, int fd)
{
	int buffer = fixed_buffer(e, io->iov);
	unsigned op = io->op == VHD_IO_READ
			      ? buffer < 0 ? IORING_OP_READ
					   : IORING_OP_READ_FIXED
			      : buffer < 0 ? IORING_OP_WRITE
					   : IORING_OP_WRITE_FIXED;

	io_uring_prep_rw((int)op, sqe, fd, io->iov->iov_base,
			 (unsigned)io->iov->iov_len, io->off_bytes);
	if (buffer >= 0)
		sqe->buf_index = (uint16_t)buffer;
}

static void fill(struct uring_engine *e, struct io_uring_sqe *sqe,
		 struct vhd_io *io)
{
	int fd = io->direct ? io->file->direct_fd : io->file->fd;
	bool read = io->op == VHD_IO_READ;

	if (e->registered)
		fd = (int)(2 * io->file_slot + io->direct);
	if (io->op == VHD_IO_SYNC)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else if (io->op == VHD_IO_ZERO)
		io_uring_prep_fallocate(
			sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)io->off_bytes, (off_t)io->zero_bytes);
	else if (io->iov_count == 1)
		fill_one(e, sqe, io, fd);
	else
		io_uring_prep_rw(read ? IORING_OP_READV : IORING_OP_WRITEV,
				 sqe, fd, io->iov, io->iov_count,
				 io->off_bytes);
	if (io->dsync)
		sqe->rw_flags = RWF_DSYNC;
	fixed(e, sqe);
	sqe->user_data = (uint64_t)(uintptr_t)io;
	e->placed++;
}

/* Hand what was prepared to the kernel. What it has no room or memory for
 * stays in the ring.
 */
static int enter(struct uring_engine *e)
{
	int rc;

	if (!e->enabled) {
		rc = io_uring_register((unsigned)e->ring.ring_fd,
				       IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		if (rc < 0)
			return rc;
		e->enabled = true;
	}
	while (io_uring_sq_ready(&e->ring)) {
		rc = io_uring_submit(&e->ring);
		if (rc == -EINTR)
			continue;
		if (rc == -EAGAIN || rc == -EBUSY || rc == 0)
			return 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* A free place; NULL when the ring is full and the kernel takes nothing. */
static struct io_uring_sqe *place(struct uring_engine *e)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

	if (sqe || enter(e))
		return sqe;
	return io_uring_get_sqe(&e->ring);
}

static void uring_prep(void *state, struct vhd_io *io)
{
	struct uring_engine *e = state;
	struct io_uring_sqe *sqe = NULL;

	if (!e->stalled.head)
		sqe = io_uring_get_sqe(&e->ring);
	if (!sqe) {
		vhd_io_list_add(&e->stalled, io);
		return;
	}
	fill(e, sqe, io);
	/* A failure shows again in the submit that follows. */
	if (io->direct && io_uring_sq_ready(&e->ring) >= DIRECT_GROUP)
		(void)enter(e);
}

static int uring_submit(void *state)
{
	struct uring_engine *e = state;
	int rc = enter(e);

	while (!rc && e->stalled.head) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);

		if (!sqe) /* full, and the kernel takes nothing now */
			return 0;
		do
			fill(e, sqe, vhd_io_list_take(&e->stalled));
		while (e->stalled.head &&
		       (sqe = io_uring_get_sqe(&e->ring)));
		rc = enter(e);
	}
	return rc;
}

/* ---------------------------------------------------------- completion -- */

static void poll_ended(struct uring_engine *e, uint64_t tag)
{
	if (tag == e->poll_tag)
		e->poll_fd = -1;
}

/* Move completions to the list; how many there were. */
static uint32_t take_done(struct uring_engine *e, struct vhd_io_list *list)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&e->ring, head, cqe) {
		if (cqe->user_data & 1) {
			poll_ended(e, cqe->user_data);
		} else {
			struct vhd_io *io =
				(struct vhd_io *)(uintptr_t)cqe->user_data;

			io->res = cqe->res;
			if (io->op == VHD_IO_ZERO && !io->res)
				io->res = (int64_t)io->zero_bytes;
			vhd_io_list_add(list, io);
			e->placed--;
		}
		n++;
	}
	io_uring_cq_advance(&e->ring, n);
	return n;
}

static struct vhd_io *uring_reap(void *state)
{
	struct uring_engine *e = state;
	struct vhd_io_list list = e->done;

	e->done.head = NULL;
	/* Completions may wait in the kernel for a call: deferred work, or
	 * more of them than the ring holds.
	 */
	if (IO_URING_READ_ONCE(*e->ring.sq.kflags) &
	    (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		(void)io_uring_get_events(&e->ring);
	take_done(e, &list);
	return list.head;
}

/* -------------------------------------------------------------- waiting -- */

/* Have `wake_fd` in its place; -1 empties it. */
static bool wake_place(struct uring_engine *e, int wake_fd)
{
	if (!e->registered || e->wake_fd == wake_fd)
		return true;
	if (io_uring_register_files_update(&e->ring, WAKE_PLACE, &wake_fd,
					   1) != 1)
		return false;
	e->wake_fd = wake_fd;
	return true;
}

/* Have exactly `wake_fd` watched. Without a place in the ring for it the call
 * must not block; false then.
 */
static bool watch(struct uring_engine *e, int wake_fd)
{
	struct io_uring_sqe *sqe;

	if (!wake_place(e, wake_fd))
		return false;
	if (e->poll_fd == wake_fd)
		return true;
	if (e->poll_fd >= 0) {
		sqe = place(e);
		if (!sqe)
			return false;
		io_uring_prep_poll_remove(sqe, e->poll_tag);
		fixed(e, sqe);
		sqe->user_data = TAG_IGNORE;
		e->poll_fd = -1;
	}
	e->poll_tag += 2;
	if (wake_fd < 0)
		return true;
	sqe = place(e);
	if (!sqe)
		return false;
	io_uring_prep_poll_add(
		sqe, e->registered ? (int)WAKE_PLACE : wake_fd, POLLIN);
	fixed(e, sqe);
	sqe->user_data = e->poll_tag;
	e->poll_fd = wake_fd;
	return true;
}

static bool nothing_wrong(int rc)
{
	return rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EBUSY;
}

static int uring_wait(void *state, int wake_fd, int timeout_ms)
{
	struct uring_engine *e = state;
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000ll,
	};
	struct io_uring_cqe *cqe;
	int rc = 0;

	if (!e->enabled || e->stalled.head)
		rc = uring_submit(e);
	if (rc)
		return rc;
	if (e->done.head || io_uring_cq_ready(&e->ring) || !watch(e, wake_fd))
		return uring_submit(e);
	rc = io_uring_submit_and_wait_timeout(&e->ring, &cqe, 1,
					      timeout_ms < 0 ? NULL : &ts,
					      NULL);
	if (rc == -EAGAIN) {
		/* The kernel is out of memory: give it a moment. */
		vhd_nap(1000);
		return 0;
	}
	return nothing_wrong(rc) ? 0 : rc;
}

static void uring_cancel(void *state, struct vhd_io *io)
{
	struct uring_engine *e = state;
	struct io_uring_sqe *sqe;

	if (vhd_io_list_remove(&e->stalled, io)) {
		io->res = -ECANCELED;
		vhd_io_list_add(&e->done, io);
		return;
	}
	sqe = place(e);
	if (!sqe)
		return;
	io_uring_prep_cancel(sqe, io, 0);
	fixed(e, sqe);
	sqe->user_data = TAG_IGNORE;
}

const struct vhd_engine_ops vhd_engine_uring = {
	.name = "uring",
	.id = VHD_ENGINE_URING,
	.create = uring_create,
	.destroy = uring_destroy,
	.attach = uring_attach,
	.detach = uring_detach,
	.memory = uring_memory,
	.prep = uring_prep,
	.submit = uring_submit,
	.reap = uring_reap,
	.wait = uring_wait,
	.cancel = uring_cancel,
};
