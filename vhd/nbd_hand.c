/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that another process makes: asked for, and taken (nbd_hand_wire.h).
 * An answer that comes too late, to a question that was given up, is known by
 * its number and dropped.
 */
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "nbd_hand_wire.h"

#define STALE_MAX 64 /* late answers dropped at one look */

int vhd_nbd_hand_ask(struct vhd_nbd *n, uint32_t timeout_ms)
{
	struct nbd_ask_wire q = {
		.number = be32_put(++n->hand_number),
		.timeout_ms = be32_put(timeout_ms),
	};
	struct iovec iov = {&q, sizeof(q)};
	const struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	memcpy(q.magic, NBD_ASK_MAGIC, sizeof(q.magic));
	if (sendmsg(n->how.connector_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN) /* it is slow: then there is no answer either */
		return -errno;
	return 0;
}

/* The descriptor that came, or -1. The first of several; others are closed. */
static int fd_take(struct msghdr *m)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(fd));
			if (first < 0)
				first = fd;
			else
				(void)close(fd);
		}
	}
	return first;
}

/* One packet: its length; 0: the connector is gone. */
static ssize_t packet_take(int from, struct nbd_answer_wire *w, int *fd)
{
	struct iovec iov = {w, sizeof(*w)};
	union nbd_hand_control c;
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = c.bytes,
		.msg_controllen = sizeof(c.bytes),
	};
	ssize_t n;

	memset(w, 0, sizeof(*w));
	*fd = -1;
	n = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	*fd = fd_take(&m);
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

static int ended(struct vhd_err *err)
{
	return vhd_fail(err, -ENOTCONN, VHD_WHY_SERVER, 0,
			"the process that connects to it for this guest has "
			"ended");
}

static int no_connection(struct nbd_answer_wire *w, struct vhd_err *err)
{
	uint32_t error = be32_get(w->error);
	int code = error < 4096 ? -(int)error : -EIO;

	w->text[sizeof(w->text) - 1] = '\0';
	for (char *p = w->text; *p; p++)
		if ((uint8_t)*p < ' ' || *p == 0x7f)
			*p = '?';
	return vhd_fail(err, code, VHD_WHY_SERVER, 0, "%s",
			w->text[0] ? w->text : vhd_errno_text(code));
}

static void raw_get(const struct nbd_answer_wire *w, struct nbd_raw *raw)
{
	*raw = (struct nbd_raw){
		.size_bytes = (int64_t)be64_get(w->size_bytes),
		.min_bytes = (int64_t)be64_get(w->min_bytes),
		.max_bytes = (int64_t)be64_get(w->max_bytes),
		.flags = be32_get(w->flags),
	};
}

int vhd_nbd_hand_look(struct vhd_nbd *n, struct nbd_raw *raw,
		      struct vhd_err *err)
{
	struct nbd_answer_wire w = {0};

	for (int i = 0; i < STALE_MAX; i++) {
		int fd;
		ssize_t len = packet_take(n->how.connector_fd, &w, &fd);
		bool ours = len == (ssize_t)sizeof(w) &&
			    memcmp(w.magic, NBD_ANSWER_MAGIC,
				   NBD_MAGIC_BYTES) == 0 &&
			    be32_get(w.number) == n->hand_number;

		if (len == -EAGAIN || len == -EINTR)
			return -EAGAIN;
		if (len == 0)
			return ended(err);
		if (ours && !be32_get(w.error) && fd >= 0) {
			raw_get(&w, raw);
			vhd_nbd_line_begin(n, fd);
			return 0;
		}
		if (fd >= 0)
			(void)close(fd);
		if (ours && be32_get(w.error))
			return no_connection(&w, err);
	}
	return -EAGAIN;
}
