/* SPDX-License-Identifier: BSD-2-Clause */
/* Who makes connections for a process that cannot (nbd_hand_wire.h): one at a
 * time, each time it is asked.
 */
#include <string.h>

#include "fail.h"
#include "nbd_hand_wire.h"

#define CONNECT_MIN_MS 100u
#define CONNECT_MAX_MS 60000u

static void raw_put(struct nbd_answer_wire *w, const struct nbd_raw *raw)
{
	w->size_bytes = be64_put((uint64_t)raw->size_bytes);
	w->min_bytes = be64_put((uint64_t)raw->min_bytes);
	w->max_bytes = be64_put((uint64_t)raw->max_bytes);
	w->flags = be32_put(raw->flags);
}

/* Waits for room: the asker has no other question meanwhile. */
static int answer(int to, struct nbd_answer_wire *w, int fd)
{
	struct iovec iov = {w, sizeof(*w)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	union nbd_hand_control c;
	ssize_t n;

	if (fd >= 0) {
		memset(&c, 0, sizeof(c));
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&c.head), &fd, sizeof(fd));
	}
	do
		n = sendmsg(to, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Connect, and hand over; 0, or why the asker has no answer. */
static int carry_out(int to, const char *uri, const struct nbd_ask_wire *q)
{
	struct nbd_answer_wire w = {.number = q->number};
	uint32_t ms = be32_get(q->timeout_ms);
	struct nbd_handle *h = NULL;
	struct vhd_err err = {0};
	struct nbd_raw raw;
	int rc, fd = -1;

	ms = ms < CONNECT_MIN_MS ? CONNECT_MIN_MS : ms;
	ms = ms > CONNECT_MAX_MS ? CONNECT_MAX_MS : ms;
	memcpy(w.magic, NBD_ANSWER_MAGIC, sizeof(w.magic));
	rc = vhd_nbd_dial(uri, ms, &h, &raw, &err);
	if (rc) {
		w.error = be32_put((uint32_t)-rc);
		memcpy(w.text, err.text, sizeof(err.text) < sizeof(w.text)
						 ? sizeof(err.text)
						 : sizeof(w.text));
	} else {
		fd = nbd_aio_get_fd(h);
		raw_put(&w, &raw);
	}
	rc = answer(to, &w, fd);
	nbd_close(h); /* its descriptor only: the connection has another one */
	return rc;
}

/* A question, which may take for ever to come; 0: there will be none. */
static int ask_take(int from, struct nbd_ask_wire *q)
{
	struct iovec iov = {q, sizeof(*q)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : 0;
	if (n != (ssize_t)sizeof(*q) || memcmp(q->magic, NBD_ASK_MAGIC, NBD_MAGIC_BYTES) != 0)
		return -EPROTO;
	return 1;
}

int vhd_nbd_connector(int fd, const char *uri, struct vhd_err *err)
{
	struct nbd_ask_wire q = {0};
	int rc = 1;

	if (strncmp(uri, "nbds", 4) == 0)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a connection with TLS cannot be handed over");
	while (rc > 0) {
		rc = ask_take(fd, &q);
		if (rc > 0 && carry_out(fd, uri, &q) < 0)
			rc = 0; /* nobody is there to take it */
	}
	if (rc == 0)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"nobody asks for connections there: %s",
			vhd_errno_text(rc));
}
