/* SPDX-License-Identifier: BSD-2-Clause */
/* The system calls of the library, as the linker's --wrap hands them over:
 * each asks fault.h what is to become of it. Linked only into the programs of
 * FAULTED in the Makefile. Also here: the vhd_file_* functions, for the place
 * that called them.
 *
 * A close that fails closes, as Linux does. A result in a completion is
 * changed after the operation was carried out, as a disk may do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <liburing.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/fault.h"
#include "vhd/engine.h"
#include "vhd/file.h"
#include "vhd/filesys.h"

#define FROM	__builtin_return_address(0)
#define FDS_MAX 1024

/* Declares both names of a wrapped function. */
#define WRAP(type, name, ...)                                                  \
	type __real_##name(__VA_ARGS__);                                       \
	type __wrap_##name(__VA_ARGS__);                                       \
	type __wrap_##name(__VA_ARGS__)

static bool written[FDS_MAX];

static void mark(int fd, bool on)
{
	if (fd >= 0 && fd < FDS_MAX)
		written[fd] = on;
}

/* -1 and errno where the kind says so. */
static bool refused(enum fault_kind kind)
{
	if (!fault_errno(kind))
		return false;
	errno = fault_errno(kind);
	return true;
}

/* --------------------------------------------------------- bytes of files --
 */

static size_t part(size_t len)
{
	return len / 2;
}

WRAP(ssize_t, pread64, int fd, void *buf, size_t len, off_t off)
{
	enum fault_kind k = fault_ask(FAULT_PREAD, FROM, (uint64_t)off, len);

	if (k == FAULT_ZERO)
		return 0;
	if (refused(k))
		return -1;
	return __real_pread64(fd, buf, k == FAULT_SHORT ? part(len) : len, off);
}

WRAP(ssize_t, pwrite64, int fd, const void *buf, size_t len, off_t off)
{
	enum fault_kind k = fault_ask(FAULT_PWRITE, FROM, (uint64_t)off, len);

	mark(fd, true);
	if (k == FAULT_ZERO)
		return 0;
	if (refused(k))
		return -1;
	return __real_pwrite64(fd, buf, k == FAULT_SHORT ? part(len) : len,
			       off);
}

static size_t sum(const struct iovec *iov, int count)
{
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += iov[i].iov_len;
	return n;
}

/* A part that O_DIRECT takes, too: the first buffer's half. */
WRAP(ssize_t, preadv64, int fd, const struct iovec *iov, int count, off_t off)
{
	enum fault_kind k =
		fault_ask(FAULT_PREADV, FROM, (uint64_t)off, sum(iov, count));
	struct iovec half = *iov;

	if (k == FAULT_ZERO)
		return 0;
	if (refused(k))
		return -1;
	if (k != FAULT_SHORT)
		return __real_preadv64(fd, iov, count, off);
	half.iov_len =
		half.iov_len > 8192 ? half.iov_len / 2 & ~4095u : half.iov_len;
	return __real_preadv64(fd, &half, 1, off);
}

WRAP(ssize_t, pwritev64, int fd, const struct iovec *iov, int count, off_t off)
{
	enum fault_kind k =
		fault_ask(FAULT_PWRITEV, FROM, (uint64_t)off, sum(iov, count));
	struct iovec half = *iov;

	mark(fd, true);
	if (k == FAULT_ZERO)
		return 0;
	if (refused(k))
		return -1;
	if (k != FAULT_SHORT)
		return __real_pwritev64(fd, iov, count, off);
	half.iov_len =
		half.iov_len > 8192 ? half.iov_len / 2 & ~4095u : half.iov_len;
	return __real_pwritev64(fd, &half, 1, off);
}

WRAP(int, fdatasync, int fd)
{
	return refused(fault_ask(FAULT_FSYNC, FROM, 0, 0))
		       ? -1
		       : __real_fdatasync(fd);
}

WRAP(int, fsync, int fd)
{
	return refused(fault_ask(FAULT_FSYNC_DIR, FROM, 0, 0))
		       ? -1
		       : __real_fsync(fd);
}

WRAP(int, fallocate64, int fd, int mode, off_t off, off_t len)
{
	enum fault_kind k;

	if (!fault_holes()) {
		errno = EOPNOTSUPP;
		return -1;
	}
	k = fault_ask(FAULT_FALLOCATE, FROM, (uint64_t)off, (uint64_t)len);
	mark(fd, true);
	return refused(k) ? -1 : __real_fallocate64(fd, mode, off, len);
}

WRAP(int, ftruncate64, int fd, off_t len)
{
	enum fault_kind k = fault_ask(FAULT_FTRUNCATE, FROM, (uint64_t)len, 0);

	mark(fd, true);
	return refused(k) ? -1 : __real_ftruncate64(fd, len);
}

WRAP(off_t, lseek64, int fd, off_t off, int whence)
{
	enum fault_call call = whence == SEEK_DATA || whence == SEEK_HOLE
				       ? FAULT_SEEK_DATA
				       : FAULT_SEEK_END;

	return refused(fault_ask(call, FROM, 0, 0))
		       ? -1
		       : __real_lseek64(fd, off, whence);
}

WRAP(int, posix_fadvise64, int fd, off_t off, off_t len, int advice)
{
	enum fault_kind k = fault_ask(FAULT_FADVISE, FROM, 0, 0);

	return fault_errno(k) ? fault_errno(k)
			      : __real_posix_fadvise64(fd, off, len, advice);
}

/* --------------------------------------------------- names, descriptors -- */

static int may_open(const void *from)
{
	return refused(fault_ask(FAULT_OPEN, from, 0, 0)) ? -1 : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list ap;
	int fd;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, unsigned);
		va_end(ap);
	}
	fd = may_open(FROM) ? -1 : __real_open64(path, flags, mode);
	mark(fd, false);
	return fd;
}

WRAP(int, __open64_2, const char *path, int flags)
{
	int fd = may_open(FROM) ? -1 : __real___open64_2(path, flags);

	mark(fd, false);
	return fd;
}

/* The library's only one is openat2. */
WRAP(long, syscall, long n, long a, long b, long c, long d)
{
	long fd;

	if (refused(fault_ask(FAULT_OPENAT2, FROM, 0, 0)))
		return -1;
	fd = __real_syscall(n, a, b, c, d);
	mark((int)fd, false);
	return fd;
}

WRAP(int, close, int fd)
{
	enum fault_call call = fd >= 0 && fd < FDS_MAX && written[fd]
				       ? FAULT_CLOSE
				       : FAULT_CLOSE_RO;
	enum fault_kind k = fault_ask(call, FROM, 0, 0);
	int rc;

	mark(fd, false);
	rc = __real_close(fd);
	return refused(k) ? -1 : rc;
}

WRAP(int, unlink, const char *path)
{
	return refused(fault_ask(FAULT_UNLINK, FROM, 0, 0))
		       ? -1
		       : __real_unlink(path);
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
	enum fault_call call = FAULT_FCNTL;
	const struct flock *fl;
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	fl = arg;
	if (cmd == F_OFD_GETLK)
		call = FAULT_GETLK;
	else if (cmd == F_OFD_SETLK)
		call = fl->l_type == F_UNLCK ? FAULT_UNLOCK : FAULT_LOCK;
	return refused(fault_ask(call, FROM, 0, 0))
		       ? -1
		       : __real_fcntl64(fd, cmd, arg);
}

WRAP(int, fstat64, int fd, struct stat *st)
{
	return refused(fault_ask(FAULT_STAT, FROM, 0, 0))
		       ? -1
		       : __real_fstat64(fd, st);
}

WRAP(int, stat64, const char *path, struct stat *st)
{
	return refused(fault_ask(FAULT_STAT, FROM, 0, 0))
		       ? -1
		       : __real_stat64(path, st);
}

WRAP(int, lstat64, const char *path, struct stat *st)
{
	return refused(fault_ask(FAULT_STAT, FROM, 0, 0))
		       ? -1
		       : __real_lstat64(path, st);
}

WRAP(int, fstatvfs64, int fd, struct statvfs *fs)
{
	return refused(fault_ask(FAULT_STAT, FROM, 0, 0))
		       ? -1
		       : __real_fstatvfs64(fd, fs);
}

WRAP(int, statx, int fd, const char *path, int flags, unsigned mask,
     struct statx *st)
{
	return refused(fault_ask(FAULT_STATX, FROM, 0, 0))
		       ? -1
		       : __real_statx(fd, path, flags, mask, st);
}

WRAP(char *, realpath, const char *path, char *out)
{
	return refused(fault_ask(FAULT_REALPATH, FROM, 0, 0))
		       ? NULL
		       : __real_realpath(path, out);
}

WRAP(DIR *, fdopendir, int fd)
{
	return refused(fault_ask(FAULT_FDOPENDIR, FROM, 0, 0))
		       ? NULL
		       : __real_fdopendir(fd);
}

WRAP(struct dirent *, readdir64, DIR *dir)
{
	return refused(fault_ask(FAULT_READDIR, FROM, 0, 0))
		       ? NULL
		       : __real_readdir64(dir);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return refused(fault_ask(FAULT_IOCTL, FROM, 0, 0))
		       ? -1
		       : __real_ioctl(fd, request, arg);
}

/* ----------------------------------------------------------- completions -- */

static uint64_t io_bytes(const struct vhd_io *io)
{
	return io->op == VHD_IO_ZERO ? io->zero_bytes
				     : sum(io->iov, (int)io->iov_count);
}

/* The result that the engine is to see instead. */
static int64_t result(const struct vhd_io *io, const void *from, int64_t res)
{
	static const enum fault_call calls[] = {
		[VHD_IO_READ] = FAULT_DONE_READ,
		[VHD_IO_WRITE] = FAULT_DONE_WRITE,
		[VHD_IO_SYNC] = FAULT_DONE_SYNC,
		[VHD_IO_ZERO] = FAULT_DONE_ZERO,
	};
	enum fault_kind k =
		fault_ask(calls[io->op], from, io->off_bytes, io_bytes(io));

	if (io->op == VHD_IO_WRITE || io->op == VHD_IO_ZERO)
		mark(io->file->fd, true);
	if (k == FAULT_ZERO)
		return 0;
	if (k == FAULT_SHORT && res > 1)
		return res / 2;
	return fault_errno(k) ? -fault_errno(k) : res;
}

static unsigned cq_seen; /* completions before this one were shown */

static void completions_of_uring(struct io_uring *ring)
{
	const void *from = (const void *)((uintptr_t)completions_of_uring + 1);
	unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);

	for (; cq_seen != tail; cq_seen++) {
		struct io_uring_cqe *c =
			&ring->cq.cqes[cq_seen & *ring->cq.kring_mask];

		if (!(c->user_data & 1))
			c->res = (int)result(
				(const struct vhd_io *)(uintptr_t)c->user_data,
				from, c->res);
	}
}

WRAP(int, io_uring_queue_init_params, unsigned entries, struct io_uring *ring,
     struct io_uring_params *p)
{
	enum fault_kind k = fault_ask(FAULT_RING_SETUP, FROM, 0, 0);

	cq_seen = 0;
	if (k == FAULT_SMALL_SQ || k == FAULT_SMALL_CQ)
		entries = 2;
	if (k == FAULT_SMALL_CQ) {
		p->flags |= IORING_SETUP_CQSIZE;
		p->cq_entries = 2;
	}
	return fault_errno(k)
		       ? -fault_errno(k)
		       : __real_io_uring_queue_init_params(entries, ring, p);
}

WRAP(int, io_uring_register_files_update, struct io_uring *ring, unsigned at,
     const int *fds, unsigned n)
{
	enum fault_kind k = fault_ask(FAULT_RING_UPDATE, FROM, 0, 0);

	return fault_errno(k) ? -fault_errno(k)
			      : __real_io_uring_register_files_update(ring, at,
								      fds, n);
}

WRAP(int, io_uring_register, unsigned fd, unsigned op, const void *arg,
     unsigned n)
{
	enum fault_call call = op == IORING_REGISTER_RESTRICTIONS
				       ? FAULT_RING_RESTRICT
			       : op == IORING_REGISTER_BUFFERS
				       ? FAULT_RING_BUFFERS
			       : op == IORING_REGISTER_FILES2
				       ? FAULT_RING_SPARSE
			       : op == IORING_REGISTER_FILES
				       ? FAULT_RING_FILES
				       : FAULT_RING_ENABLE;
	enum fault_kind k = fault_ask(call, FROM, 0, 0);

	return fault_errno(k) ? -fault_errno(k)
			      : __real_io_uring_register(fd, op, arg, n);
}

WRAP(int, io_uring_submit, struct io_uring *ring)
{
	enum fault_kind k = fault_ask(FAULT_RING_SUBMIT, FROM, 0, 0);
	int rc;

	if (fault_errno(k))
		return -fault_errno(k);
	rc = __real_io_uring_submit(ring);
	completions_of_uring(ring);
	return rc;
}

WRAP(int, io_uring_submit_and_wait_timeout, struct io_uring *ring,
     struct io_uring_cqe **cqe, unsigned n, struct __kernel_timespec *ts,
     sigset_t *mask)
{
	enum fault_kind k = fault_ask(FAULT_RING_WAIT, FROM, 0, 0);
	int rc;

	if (fault_errno(k))
		return -fault_errno(k);
	rc = __real_io_uring_submit_and_wait_timeout(ring, cqe, n, ts, mask);
	completions_of_uring(ring);
	return rc;
}

WRAP(int, io_uring_get_events, struct io_uring *ring)
{
	enum fault_kind k = fault_ask(FAULT_RING_EVENTS, FROM, 0, 0);
	int rc;

	if (fault_errno(k))
		return -fault_errno(k);
	rc = __real_io_uring_get_events(ring);
	completions_of_uring(ring);
	return rc;
}

WRAP(int, io_setup, int n, io_context_t *ctx)
{
	enum fault_kind k = fault_ask(FAULT_AIO_SETUP, FROM, 0, 0);

	return fault_errno(k) ? -fault_errno(k) : __real_io_setup(n, ctx);
}

WRAP(int, io_submit, io_context_t ctx, long n, struct iocb **batch)
{
	enum fault_kind k = fault_ask(FAULT_AIO_SUBMIT, FROM, 0, (uint64_t)n);

	if (k == FAULT_ZERO)
		return 0;
	if (fault_errno(k))
		return -fault_errno(k);
	n = __real_io_submit(ctx, k == FAULT_SHORT ? n / 2 : n, batch);
	fault_aio_moved(n > 0 ? n : 0);
	return (int)n;
}

WRAP(int, io_destroy, io_context_t ctx)
{
	return fault_aio_destroy(ctx);
}

int fault_real_io_destroy(void *ctx)
{
	return __real_io_destroy(ctx);
}

static int completions_of_aio(struct io_event *events, int n)
{
	const void *from = (const void *)((uintptr_t)completions_of_aio + 1);

	fault_aio_moved(n > 0 ? -(long)n : 0);
	for (int i = 0; i < n; i++)
		events[i].res = (unsigned long)result(events[i].obj->data, from,
						      (long)events[i].res);
	return n;
}

WRAP(int, io_getevents, io_context_t ctx, long least, long most,
     struct io_event *events, struct timespec *ts)
{
	enum fault_kind k = fault_ask(FAULT_AIO_EVENTS, FROM, 0, 0);

	if (fault_errno(k))
		return -fault_errno(k);
	return completions_of_aio(
		events, __real_io_getevents(ctx, least, most, events, ts));
}

WRAP(int, eventfd, unsigned start, int flags)
{
	return refused(fault_ask(FAULT_EVENTFD, FROM, 0, 0))
		       ? -1
		       : __real_eventfd(start, flags);
}

/* The library reads its own eventfd by it, and nothing else. */
WRAP(ssize_t, read, int fd, void *buf, size_t len)
{
	return refused(fault_ask(FAULT_EVENTFD_READ, FROM, 0, 0))
		       ? -1
		       : __real_read(fd, buf, len);
}

WRAP(int, poll, struct pollfd *p, nfds_t n, int timeout_ms)
{
	return refused(fault_ask(FAULT_POLL, FROM, 0, 0))
		       ? -1
		       : __real_poll(p, n, timeout_ms);
}

/* ------------------------------------------------- who called vhd_file_* -- */

#define VIA(call)                                                              \
	do {                                                                   \
		const void *was = fault_via(FROM);                             \
		int rc = call;                                                 \
		fault_via(was);                                                \
		return rc;                                                     \
	} while (0)

WRAP(int, vhd_file_read, const struct vhd_file *f, void *buf, size_t len,
     uint64_t off, struct vhd_err *err)
{
	VIA(__real_vhd_file_read(f, buf, len, off, err));
}

WRAP(int, vhd_file_write, const struct vhd_file *f, const void *buf, size_t len,
     uint64_t off, struct vhd_err *err)
{
	VIA(__real_vhd_file_write(f, buf, len, off, err));
}

WRAP(int, vhd_file_flush, const struct vhd_file *f, struct vhd_err *err)
{
	VIA(__real_vhd_file_flush(f, err));
}

WRAP(int, vhd_file_zero, const struct vhd_file *f, uint64_t off, uint64_t len,
     struct vhd_err *err)
{
	VIA(__real_vhd_file_zero(f, off, len, err));
}

WRAP(int, vhd_file_punch, const struct vhd_file *f, uint64_t off, uint64_t len,
     struct vhd_err *err)
{
	VIA(__real_vhd_file_punch(f, off, len, err));
}

WRAP(int, vhd_file_truncate, const struct vhd_file *f, uint64_t len,
     struct vhd_err *err)
{
	VIA(__real_vhd_file_truncate(f, len, err));
}

WRAP(int, vhd_file_size, const struct vhd_file *f, uint64_t *len,
     struct vhd_err *err)
{
	VIA(__real_vhd_file_size(f, len, err));
}

WRAP(int, vhd_open_retry, const char *path, int flags)
{
	VIA(__real_vhd_open_retry(path, flags));
}

WRAP(int, vhd_file_open, const char *path, const struct vhd_file_open *how,
     struct vhd_file *out, struct vhd_err *err)
{
	VIA(__real_vhd_file_open(path, how, out, err));
}

WRAP(int, vhd_file_adopt, int fd, const char *path,
     const struct vhd_file_open *how, struct vhd_file *out, struct vhd_err *err)
{
	VIA(__real_vhd_file_adopt(fd, path, how, out, err));
}

WRAP(int, vhd_file_close_checked, struct vhd_file *f)
{
	VIA(__real_vhd_file_close_checked(f));
}

WRAP(void, vhd_file_close, struct vhd_file *f)
{
	const void *was = fault_via(FROM);

	__real_vhd_file_close(f);
	fault_via(was);
}
