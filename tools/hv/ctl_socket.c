/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket of a guest: where it is, who may have it, messages.
 *
 * It lies in a directory of the user's own and has mode 0600; who connects must
 * besides be the same user or root (SO_PEERCRED). Two guests that start with
 * one name at once are kept apart by a lock on the directory.
 * Sources: unix(7), XDG Base Directory Specification.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"

#define BACKLOG 8
#define CONNECT_MS 1000u /* the queue of one that accepts nobody is full */

/* ------------------------------------------------------------ the place -- */

static int failed(struct vhd_err *err, int code, const char *what,
		  const char *path)
{
	return vhd_fail(err, -code, VHD_WHY_SYSTEM, 0, "%s %.100s: %s", what,
			path, strerror(code));
}

/* Nobody else's, or names in it could be exchanged. */
static int dir_check(int fd, const char *path, struct vhd_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return failed(err, errno, "cannot look at", path);
	if (st.st_uid == geteuid() && !(st.st_mode & 022))
		return 0;
	return vhd_fail(err, -EPERM, VHD_WHY_SYSTEM, 0,
			"%.100s is another user's or open to others", path);
}

int ctl_place_find(const char *name, bool make, struct ctl_place *out,
		   struct vhd_err *err)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	char dir[96];
	int n = snprintf(dir, sizeof(dir), "%s/hv",
			 base && *base == '/' ? base : "/run");

	if (n < 0 || (size_t)n >= sizeof(dir) ||
	    (size_t)n + strlen(name) + 6 >= sizeof(out->path))
		return vhd_fail(err, -ENAMETOOLONG, VHD_WHY_ARGUMENT, 0,
				"the socket's path would be too long for one: "
				"%.60s/%.20s.sock", dir, name);
	if (make && mkdir(dir, 0700) < 0 && errno != EEXIST)
		return failed(err, errno, "cannot make the directory", dir);
	out->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->dir_fd < 0)
		return failed(err, errno, "cannot open", dir);
	(void)snprintf(out->name, sizeof(out->name), "%.64s.sock", name);
	memcpy(out->path, dir, (size_t)n);
	out->path[n] = '/';
	memcpy(out->path + n + 1, out->name, strlen(out->name) + 1);
	n = make ? dir_check(out->dir_fd, dir, err) : 0;
	if (n)
		ctl_place_close(out);
	return n;
}

void ctl_place_close(struct ctl_place *p)
{
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	p->dir_fd = -1;
}

/* ------------------------------------------------------------- sockets --- */

static void address(const struct ctl_place *p, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, p->path, strlen(p->path) + 1);
}

int ctl_patience(int fd, unsigned ms)
{
	const struct timeval t = {.tv_sec = ms / 1000,
				  .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 ||
			       setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t,
					  sizeof(t)) < 0
		       ? -errno
		       : 0;
}

unsigned ctl_patience_ms(int fd)
{
	struct timeval t = {0};
	socklen_t len = sizeof(t);

	if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len) < 0)
		return 0;
	return (unsigned)t.tv_sec * 1000 + (unsigned)t.tv_usec / 1000;
}

/* -EAGAIN: somebody listens there, and takes nobody. */
static int try_connect(const struct ctl_place *p, int *fd)
{
	struct sockaddr_un a;
	int code;

	address(p, &a);
	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	if (ctl_patience(*fd, CONNECT_MS) == 0 &&
	    connect(*fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    ctl_patience(*fd, 0) == 0)
		return 0;
	code = errno;
	close(*fd);
	*fd = -1;
	return -code;
}

int ctl_connect(const struct ctl_place *p, int *fd, struct vhd_err *err)
{
	int rc = try_connect(p, fd);

	return rc ? failed(err, -rc, "cannot connect to", p->path) : 0;
}

static int bind_here(const struct ctl_place *p, int fd)
{
	struct sockaddr_un a;
	mode_t old = umask(0177);
	int rc;

	address(p, &a);
	rc = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	(void)umask(old);
	if (rc == 0 && listen(fd, BACKLOG) < 0)
		rc = -errno;
	return rc;
}

int ctl_name_taken(struct vhd_err *err)
{
	return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
			"a guest of this name is running already");
}

/* The directory is locked: nobody else decides at the same time. */
static int listen_locked(const struct ctl_place *p, int fd, struct vhd_err *err)
{
	int other = -1, rc = try_connect(p, &other);

	if (rc == 0)
		close(other);
	if (rc == 0 || rc == -EAGAIN)
		return ctl_name_taken(err);
	/* left by one that did not come to its end */
	if (rc == -ECONNREFUSED && unlinkat(p->dir_fd, p->name, 0) < 0 &&
	    errno != ENOENT)
		return failed(err, errno, "cannot replace", p->path);
	rc = bind_here(p, fd);
	return rc ? failed(err, -rc, "cannot make the socket", p->path) : 0;
}

int ctl_listen(const struct ctl_place *p, int *out, struct vhd_err *err)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int rc;

	if (fd < 0)
		return failed(err, errno, "cannot make the socket", p->path);
	if (flock(p->dir_fd, LOCK_EX) < 0)
		rc = failed(err, errno, "cannot lock the directory of",
			    p->path);
	else
		rc = listen_locked(p, fd, err);
	(void)flock(p->dir_fd, LOCK_UN);
	if (rc)
		close(fd);
	else
		*out = fd;
	return rc;
}

/* ------------------------------------------------------------ messages --- */

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(CTL_FILES_MAX * sizeof(int))];
};

int ctl_send(int fd, const void *bytes, size_t len, const int *fds,
	     unsigned count, int flags)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	union control c;
	ssize_t n;

	if (count) {
		memset(&c, 0, sizeof(c));
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&c.head), fds, count * sizeof(int));
	}
	do
		n = sendmsg(fd, &m, flags | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void files_take(struct msghdr *m, int *fds, unsigned *count)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(fd));
			if (*count < CTL_FILES_MAX)
				fds[(*count)++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t ctl_receive(int fd, void *bytes, size_t max, int *fds, unsigned *count,
		    int flags)
{
	struct iovec iov = {bytes, max};
	union control c;
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = c.bytes,
		.msg_controllen = sizeof(c.bytes),
	};
	ssize_t n;

	*count = 0;
	do
		n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	files_take(&m, fds, count);
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EMSGSIZE; /* what came of files is the caller's */
	return n;
}
