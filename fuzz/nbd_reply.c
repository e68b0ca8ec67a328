/* SPDX-License-Identifier: BSD-2-Clause */
/* What an NBD server says on a connection that was handed over, to commands
 * that are out; and the answer with which a connector hands one over.
 *
 * Input: a byte that says which of the two. A server: a byte for each of eight
 * commands, some of which the socket does not take at once, then items: a kind
 * and what it takes. The answers' numbers and magic are made, so that most of
 * them are some command's. A connector: the packet from after its magic, as it
 * is, with none, one or more descriptors; or one that is gone.
 * Beyond memory safety: each command is answered once or still out, and only
 * what was out can be answered.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhd/endian.h"
#include "vhd/nbd.h"
#include "vhd/nbd_int.h"

#define COMMANDS  8u
#define DATA_MAX  2048u
#define DATA_MUCH 30000u
#define ITEM_MAX  256u
#define REPLY_MAGIC 0x67446698u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* ------------------------------------------------------------- a server -- */

static struct nbd_req *command(struct vhd_nbd *n, uint8_t how)
{
	struct nbd_req *r = calloc(1, sizeof(*r));

	check(r, "memory");
	r->op = (enum nbd_op)(how & 3);
	r->fua = how & 4;
	r->fast = how & 8;
	r->n = n;
	r->part_bytes = how >> 4 == 15 ? DATA_MUCH
				       : 1u + (how >> 4) * (DATA_MAX / 16);
	r->buf = malloc(r->part_bytes); /* just as large: what is beyond shows */
	check(r->buf, "memory");
	memset(r->buf, 0, r->part_bytes);
	nbd_list_add(&n->sent, r);
	check(vhd_nbd_line_issue(n, r) == 0, "no connection");
	return r;
}

/* One piece of what the server says. */
static size_t item(struct input *in, uint8_t *out)
{
	uint8_t kind = byte(in);
	uint8_t head[16] = {0};
	const be32 magic = be32_put(REPLY_MAGIC);
	const be32 error = be32_put(kind & 2 ? byte(in) : 0);
	const be64 cookie = be64_put(kind >> 3);
	size_t len = 0;

	if (kind & 1) { /* an answer, maybe with some of its data */
		memcpy(head, &magic, 4);
		memcpy(head + 4, &error, 4);
		memcpy(head + 8, &cookie, 8);
		memcpy(out, head, 16);
		len = 16;
	}
	if (kind & 4) {
		size_t more = byte(in);

		memset(out + len, kind, more);
		return len + more;
	}
	while (!(kind & 1) && in->left && len < ITEM_MAX && len < kind)
		out[len++] = byte(in);
	return len;
}

static void turn(struct vhd_nbd *n)
{
	struct nbd_req *r;

	vhd_nbd_line_turn(n, true, true);
	while ((r = nbd_list_take(&n->answered)))
		r->sends++; /* counts its answers here */
}

/* The server takes what was sent, so that there is room for more. */
static void hear(int fd)
{
	uint8_t some[8192];

	while (recv(fd, some, sizeof(some), MSG_DONTWAIT) > 0)
		;
}

static void server(struct input *in)
{
	struct vhd_nbd n = {.how.handed = true, .line.fd = -1};
	struct nbd_req *r[COMMANDS];
	uint8_t out[16 + 256 + ITEM_MAX];
	unsigned left = 0;
	const int little = 1; /* the least there is */
	int fds[2];

	check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 &&
		      setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &little,
				 sizeof(little)) == 0,
	      "socketpair");
	n.facts.can_fua = n.facts.fast_zero = true;
	vhd_nbd_line_begin(&n, fds[0]);
	for (unsigned i = 0; i < COMMANDS; i++)
		r[i] = command(&n, byte(in));
	while (in->left && !n.line.dead) {
		size_t len = item(in, out);

		if (len && out[0] & 64)
			hear(fds[1]);
		if (len && send(fds[1], out, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		turn(&n);
	}
	vhd_nbd_line_bye(&n);
	(void)shutdown(fds[1], SHUT_RDWR);
	turn(&n);
	check(n.line.dead, "an end that is not seen");
	vhd_nbd_line_bye(&n);
	while (nbd_list_take(&n.sent))
		left++;
	for (unsigned i = 0; i < COMMANDS; i++) {
		left += r[i]->sends;
		check(r[i]->sends <= 1, "answered twice");
		free(r[i]->buf);
		free(r[i]);
	}
	check(left == COMMANDS, "a command is lost");
	vhd_nbd_line_close(&n);
	close(fds[1]);
}

/* ---------------------------------------------------------- a connector -- */

static void answer(int to, struct input *in, unsigned fds)
{
	const int both[2] = {to, to};
	uint8_t packet[512] = "vhdlink!";
	struct iovec iov = {packet, 8};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} c = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	while (in->left && iov.iov_len < sizeof(packet))
		packet[iov.iov_len++] = byte(in);
	if (fds) {
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(fds * sizeof(int));
		memcpy(CMSG_DATA(&c.head), both, fds * sizeof(int));
	}
	check(sendmsg(to, &m, MSG_NOSIGNAL) >= 0, "sendmsg");
}

static void connector(struct input *in, unsigned how)
{
	struct vhd_nbd n = {.how.handed = true, .line.fd = -1};
	struct vhd_err err = {0};
	int fds[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0, "socketpair");
	n.how.connector_fd = fds[0];
	if (how & 8)
		(void)shutdown(fds[1], SHUT_RDWR);
	vhd_nbd_link_begin(&n, 1000);
	if (!(how & 12))
		answer(fds[1], in, how & 3);
	if (how & 4)
		(void)shutdown(fds[1], SHUT_RDWR);
	(void)vhd_nbd_link_look(&n, &err);
	if (n.state == NBD_UP) {
		check(n.line.fd >= 0, "up without a connection");
		check(n.facts.max_bytes >= 4096, "no size of a request");
		check(n.facts.size_bytes <= INT64_MAX, "size");
	} else {
		check(n.line.fd < 0, "a connection that is not used");
		check(n.state == NBD_LINKING || err.text[0], "no reason");
	}
	vhd_nbd_link_close(&n);
	close(fds[0]);
	close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t which = byte(&in);

	if (which & 1)
		server(&in);
	else
		connector(&in, (which >> 1) % 3u | (which >> 3 & 3u) << 2);
	return 0;
}
