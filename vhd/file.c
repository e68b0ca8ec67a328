/* SPDX-License-Identifier: BSD-2-Clause */
/* The medium: whole transfers over any vhd_file_ops, and the one that is a
 * file of the host.
 *
 * A failed flush is never tried again: the kernel may have dropped the pages
 * it could not write, and a second call would say yes about nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checked.h"
#include "fail.h"
#include "file.h"
#include "filesys.h"
#include "lock.h"
#include "nap.h"
#include "nbd.h"

/* Calls in a row that may say EINTR or EAGAIN before it counts as an error. */
#define RETRIES_MAX	 1000
#define NAP_EVERY	 500u /* of them */
#define NAP_US		 100u
#define DIRECT_BYTES	 4096u /* enough everywhere */
#define ZERO_CHUNK_BYTES 65536u

/* ------------------------------------------------------ whole transfers -- */

static bool again(int64_t rc, unsigned *tries)
{
	if ((rc != -EINTR && rc != -EAGAIN) || ++*tries > RETRIES_MAX)
		return false;
	if (rc == -EAGAIN && *tries % NAP_EVERY == 0)
		vhd_nap(NAP_US);
	return true;
}

static int io_fail(struct vhd_err *err, int code, uint64_t off, size_t len,
		   const char *verb)
{
	return vhd_fail(err, code, vhd_io_why(code), off,
			"cannot %s %zu bytes at offset %llu: %s", verb, len,
			(unsigned long long)off, vhd_errno_text(code));
}

int vhd_file_read(const struct vhd_file *f, void *buf, size_t len, uint64_t off,
		  struct vhd_err *err)
{
	uint8_t *p = buf;
	unsigned tries = 0;

	while (len) {
		ssize_t n = f->ops->pread(f->state, p, len, off);

		if (n < 0 && again(n, &tries))
			continue;
		if (n < 0)
			return io_fail(err, (int)n, off, len, "read");
		if (n == 0)
			return vhd_fail(err, -EIO, VHD_WHY_SHORT_IO, off,
					"the file ends at offset %llu, %zu "
					"bytes too early",
					(unsigned long long)off, len);
		tries = 0;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

int vhd_file_write(const struct vhd_file *f, const void *buf, size_t len,
		   uint64_t off, struct vhd_err *err)
{
	const uint8_t *p = buf;
	unsigned tries = 0;

	while (len) {
		ssize_t n = f->ops->pwrite(f->state, p, len, off);

		/* A write that takes nothing and says nothing is retried
		 * like EAGAIN, and becomes EIO when it stays so.
		 */
		if (n == 0)
			n = -EAGAIN;
		if (n < 0 && again(n, &tries))
			continue;
		if (n == -EAGAIN)
			n = -EIO;
		if (n < 0)
			return io_fail(err, (int)n, off, len, "write");
		tries = 0;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

int vhd_file_flush(const struct vhd_file *f, struct vhd_err *err)
{
	int rc = f->no_sync ? 0 : f->ops->flush(f->state);

	if (rc == 0)
		return 0;
	if (f->sync_failed)
		*f->sync_failed = true;
	return vhd_fail(err, rc, vhd_io_why(rc), 0,
			"cannot make the file durable: %s; writes since the "
			"last flush may be lost",
			vhd_errno_text(rc));
}

static int zero_by_writing(const struct vhd_file *f, uint64_t off, uint64_t len,
			   struct vhd_err *err)
{
	static const uint8_t zeros[ZERO_CHUNK_BYTES];

	while (len) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
		int rc = vhd_file_write(f, zeros, n, off, err);

		if (rc)
			return rc;
		off += n;
		len -= n;
	}
	return 0;
}

int vhd_file_punch(const struct vhd_file *f, uint64_t off, uint64_t len,
		   struct vhd_err *err)
{
	unsigned tries = 0;
	int rc;

	do
		rc = f->ops->zero(f->state, off, len);
	while (again(rc, &tries));
	if (rc)
		return vhd_fail(err, rc,
				rc == -EOPNOTSUPP ? VHD_WHY_UNSUPPORTED
						  : vhd_io_why(rc),
				off,
				"cannot zero %llu bytes at offset %llu: %s",
				(unsigned long long)len,
				(unsigned long long)off, vhd_errno_text(rc));
	return 0;
}

int vhd_file_zero(const struct vhd_file *f, uint64_t off, uint64_t len,
		  struct vhd_err *err)
{
	int rc = len ? vhd_file_punch(f, off, len, err) : 0;

	return rc == -EOPNOTSUPP ? zero_by_writing(f, off, len, err) : rc;
}

int vhd_file_truncate(const struct vhd_file *f, uint64_t len,
		      struct vhd_err *err)
{
	unsigned tries = 0;
	int rc;

	do
		rc = f->ops->truncate(f->state, len);
	while (again(rc, &tries));
	if (rc)
		return vhd_fail(err, rc, vhd_io_why(rc), len,
				"cannot set the file's length to %llu: %s",
				(unsigned long long)len, vhd_errno_text(rc));
	return 0;
}

int vhd_file_size(const struct vhd_file *f, uint64_t *len, struct vhd_err *err)
{
	int rc = f->ops->size(f->state, len);

	if (rc)
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot learn the file's length: %s",
				vhd_errno_text(rc));
	return 0;
}

/* ------------------------------------------------------- a host's file -- */

/* The descriptor is the whole state; it travels inside the pointer so that
 * opening allocates nothing.
 */
static int fd_of(void *state)
{
	return (int)(intptr_t)state;
}

static ssize_t fd_pread(void *state, void *buf, size_t len, uint64_t off)
{
	ssize_t n = pread(fd_of(state), buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static ssize_t fd_pwrite(void *state, const void *buf, size_t len, uint64_t off)
{
	ssize_t n = pwrite(fd_of(state), buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static int fd_flush(void *state)
{
	return fdatasync(fd_of(state)) < 0 ? -errno : 0;
}

bool vhd_file_no_holes(int code)
{
	return code == -EOPNOTSUPP || code == -ENOSYS || code == -ENODEV ||
	       code == -EINVAL; /* block devices want their own alignment */
}

static int fd_zero(void *state, uint64_t off, uint64_t len)
{
	if (fallocate(fd_of(state), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)off, (off_t)len) == 0)
		return 0;
	return vhd_file_no_holes(-errno) ? -EOPNOTSUPP : -errno;
}

static int fd_truncate(void *state, uint64_t len)
{
	return ftruncate(fd_of(state), (off_t)len) < 0 ? -errno : 0;
}

static int fd_size(void *state, uint64_t *len)
{
	off_t end = lseek(fd_of(state), 0, SEEK_END);

	if (end < 0)
		return -errno;
	*len = (uint64_t)end;
	return 0;
}

/* Linux releases the descriptor whatever close says. */
static int fd_close(void *state)
{
	return close(fd_of(state)) < 0 && errno != EINTR ? -errno : 0;
}

static const struct vhd_file_ops fd_ops = {
	.name = "file",
	.pread = fd_pread,
	.pwrite = fd_pwrite,
	.flush = fd_flush,
	.zero = fd_zero,
	.truncate = fd_truncate,
	.size = fd_size,
	.close = fd_close,
};

static int kind_check(int fd, const struct vhd_file_open *how, const char *path,
		      struct stat *st, struct vhd_err *err)
{
	int rc;

	if (fstat(fd, st) < 0) {
		rc = -errno;
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot examine %.80s: %s", path,
				vhd_errno_text(rc));
	}
	if (S_ISDIR(st->st_mode))
		return vhd_fail(err, -EISDIR, VHD_WHY_NOT_FILE, 0,
				"%.80s is a directory, not an image", path);
	if (S_ISREG(st->st_mode) || (S_ISBLK(st->st_mode) && !how->create))
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
			"%.80s is not a regular file%s", path,
			how->create ? "" : " or block device");
}

static int open_fail(int code, const char *path, struct vhd_err *err)
{
	if (code == -EISDIR)
		return vhd_fail(err, code, VHD_WHY_NOT_FILE, 0,
				"%.80s is a directory, not an image", path);
	if (code == -ENOENT && vhd_is_nbd_uri(path))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"an NBD server is not taken here, only a file "
				"or block device");
	if (code == -ENXIO || code == -ENODEV) /* socket, dead device node */
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"%.80s is not a regular file or block device",
				path);
	return vhd_fail(err, code, vhd_system_why(code), 0, "cannot open %.80s: %s",
			path, vhd_errno_text(code));
}

int vhd_open_retry(const char *path, int flags)
{
	unsigned tries = 0;
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC, 0666);
	while (fd < 0 && errno == EINTR && ++tries <= RETRIES_MAX);
	return fd < 0 ? -errno : fd;
}

/* O_NONBLOCK only keeps a FIFO or a dead tape drive from blocking the open;
 * left set it makes io_uring answer EAGAIN.
 */
static int open_plain(const char *path, const struct vhd_file_open *how,
		      struct vhd_err *err)
{
	int flags = O_NOCTTY | O_NONBLOCK;
	int fd;

	flags |= how->writable || how->create ? O_RDWR : O_RDONLY;
	if (how->create)
		flags |= O_CREAT | (how->exclusive ? O_EXCL : 0);
	fd = vhd_open_retry(path, flags);
	return fd < 0 ? open_fail(fd, path, err) : fd;
}

static int make_blocking(int fd, const char *path, struct vhd_err *err)
{
	int fl = fcntl(fd, F_GETFL);
	int rc;

	if (fl >= 0 && fcntl(fd, F_SETFL, fl & ~O_NONBLOCK) == 0)
		return 0;
	rc = -errno;
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot set up %.80s: %s",
			path, vhd_errno_text(rc));
}

/* A second description of the same file for O_DIRECT, or -1: the file system
 * may not have it, and then data goes through the page cache. /proc names the
 * very file; without it the path, if there is one, is opened again and must be
 * the same file.
 */
static int open_direct(int fd, const char *path, bool writable,
		       const struct stat *st)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_DIRECT |
		    (writable ? O_RDWR : O_RDONLY);
	struct stat now;
	char proc[40];
	int direct;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	direct = open(proc, flags);
	if (direct < 0 && errno == ENOENT && path)
		direct = open(path, flags | O_NONBLOCK);
	if (direct < 0)
		return -1;
	if (fstat(direct, &now) == 0 && now.st_dev == st->st_dev &&
	    now.st_ino == st->st_ino && fcntl(direct, F_SETFL, O_DIRECT) == 0)
		return direct;
	close(direct);
	return -1;
}

/* The lock is held by now. An empty file is left alone: ext4 takes one that
 * was cut to nothing for a file being replaced, and writes it out on close.
 */
static int make_empty(int fd, const char *path, struct vhd_err *err)
{
	off_t end = lseek(fd, 0, SEEK_END);
	unsigned tries = 0;
	int rc;

	if (end < 0) {
		rc = -errno;
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot learn the length of %.80s: %s", path,
				vhd_errno_text(rc));
	}
	if (end == 0)
		return 0;
	do
		rc = ftruncate(fd, 0) < 0 ? -errno : 0;
	while (again(rc, &tries));
	if (!rc)
		return 0;
	return vhd_fail(err, rc, vhd_io_why(rc), 0, "cannot empty %.80s: %s",
			path, vhd_errno_text(rc));
}

static void learn_alignment(struct vhd_file *f)
{
	struct statx sx = {0};

	f->direct_mem_bytes = DIRECT_BYTES;
	f->direct_off_bytes = DIRECT_BYTES;
	if (statx(f->direct_fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    sx.stx_mask & STATX_DIOALIGN) {
		f->direct_mem_bytes = sx.stx_dio_mem_align;
		f->direct_off_bytes = sx.stx_dio_offset_align;
	}
}

/* `reopen`: the path to open again where /proc is missing, or NULL. */
static int adopt(int fd, const char *path, const char *reopen,
		 const struct vhd_file_open *how, struct vhd_file *out,
		 struct vhd_err *err)
{
	bool writable = how->writable || how->create;
	struct stat st;
	int rc = make_blocking(fd, path, err);

	if (!rc)
		rc = kind_check(fd, how, path, &st, err);
	if (!rc && !how->no_lock)
		rc = vhd_lock(fd, writable, path, err);
	if (!rc && how->create)
		rc = make_empty(fd, path, err);
	if (rc) {
		close(fd);
		return rc;
	}
	*out = (struct vhd_file){
		.ops = &fd_ops,
		.state = (void *)(intptr_t)fd,
		.fd = fd,
		.direct_fd = how->direct
				     ? open_direct(fd, reopen, writable, &st)
				     : -1,
		.no_sync = how->no_sync,
	};
	if (out->direct_fd >= 0)
		learn_alignment(out);
	return 0;
}

int vhd_file_adopt(int fd, const char *path, const struct vhd_file_open *how,
		   struct vhd_file *out, struct vhd_err *err)
{
	return adopt(fd, path, NULL, how, out, err);
}

int vhd_file_direct(struct vhd_file *f, int fd, const char *path,
		    struct vhd_err *err)
{
	struct stat a, b;
	int flags = fcntl(fd, F_GETFL), own = fcntl(f->fd, F_GETFL);

	if (flags < 0 || own < 0 || !(flags & O_DIRECT) ||
	    (flags & O_ACCMODE) != (own & O_ACCMODE) || flags & O_APPEND ||
	    fstat(fd, &a) < 0 || fstat(f->fd, &b) < 0 ||
	    a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
		close(fd);
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the descriptor for direct transfers is not "
				"%.80s opened with O_DIRECT", path);
	}
	if (fcntl(fd, F_SETFL, O_DIRECT) < 0) { /* and blocking */
		int rc = -errno;

		close(fd);
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot set up %.80s: %s", path,
				vhd_errno_text(rc));
	}
	f->direct_fd = fd;
	learn_alignment(f);
	return 0;
}

int vhd_file_open(const char *path, const struct vhd_file_open *how,
		  struct vhd_file *out, struct vhd_err *err)
{
	int fd, rc;

	if (how->no_lock && (how->writable || how->create))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a file opened for writing must be locked");
	fd = open_plain(path, how, err);
	if (fd < 0)
		return fd;
	rc = adopt(fd, path, path, how, out, err);
	/* What this call made goes again, unless somebody has it open already.
	 */
	if (rc && rc != -EBUSY && how->create && how->exclusive)
		(void)unlink(path);
	return rc;
}

int vhd_file_close_checked(struct vhd_file *f)
{
	int direct = 0, rc = 0;

	if (f->fd >= 0)
		vhd_unlock(f->fd);
	if (f->direct_fd >= 0)
		direct = fd_close((void *)(intptr_t)f->direct_fd);
	if (f->ops && f->ops->close)
		rc = f->ops->close(f->state);
	*f = (struct vhd_file){.fd = -1, .direct_fd = -1};
	return rc ? rc : direct;
}

int vhd_file_close_after(struct vhd_file *f, int rc, struct vhd_err *err)
{
	int closed = vhd_file_close_checked(f);

	if (rc || !closed)
		return rc;
	return vhd_fail(err, closed, vhd_io_why(closed), 0,
			"closing the file failed: %s", vhd_errno_text(closed));
}

/* For files nothing was written to, or that are given up anyway. */
void vhd_file_close(struct vhd_file *f)
{
	(void)vhd_file_close_checked(f);
}

bool vhd_file_is_device(const struct vhd_file *f)
{
	struct stat st;

	if (vhd_nbd_of(f))
		return true;
	return f->fd >= 0 && fstat(f->fd, &st) == 0 && S_ISBLK(st.st_mode);
}
