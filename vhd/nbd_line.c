/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection that was handed over ready for commands: all that is left of NBD
 * is one header for each command and one for each answer. So a process that
 * runs a guest needs no library for it, and no more of a server's bytes are
 * looked at than that.
 *
 * Commands go out in the order of the list `sent`; `sending` is the first that
 * is not out entirely, and only what is before it can be answered. An answer is
 * found by its number. Whatever a server sends besides ends the connection.
 * Source: the NBD protocol document, "Request message", "Simple reply message".
 */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "endian.h"
#include "nbd_int.h"

#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC   0x67446698u
#define TURNS	      256 /* answers taken before anything else is looked at */

enum {
	CMD_READ = 0,
	CMD_WRITE = 1,
	CMD_DISCONNECT = 2,
	CMD_FLUSH = 3,
	CMD_ZERO = 6,
	FLAG_FUA = 1 << 0,
	FLAG_FAST_ZERO = 1 << 4,
};

struct request_wire {
	be32 magic;
	be16 flags, command;
	be64 cookie, off_bytes;
	be32 len_bytes;
};

struct reply_wire {
	be32 magic, error;
	be64 cookie;
};

static_assert(sizeof(struct request_wire) == NBD_REQUEST_BYTES, "request");
static_assert(sizeof(struct reply_wire) == NBD_REPLY_BYTES, "simple reply");

/* ------------------------------------------------------------- commands -- */

static uint16_t command_of(const struct nbd_req *r)
{
	static const uint16_t commands[] = {
		[NBD_READ] = CMD_READ,
		[NBD_WRITE] = CMD_WRITE,
		[NBD_ZERO] = CMD_ZERO,
		[NBD_FLUSH] = CMD_FLUSH,
	};

	return r->flushing ? CMD_FLUSH : commands[r->op];
}

static uint16_t flags_of(const struct vhd_nbd *n, const struct nbd_req *r)
{
	unsigned flags = 0;
	uint16_t command = command_of(r);

	if ((command == CMD_WRITE || command == CMD_ZERO) && r->fua &&
	    n->facts.can_fua)
		flags |= FLAG_FUA;
	if (command == CMD_ZERO && r->fast && n->facts.fast_zero)
		flags |= FLAG_FAST_ZERO;
	return (uint16_t)flags;
}

static void head_make(struct vhd_nbd *n, const struct nbd_req *r)
{
	bool flush = command_of(r) == CMD_FLUSH;
	const struct request_wire q = {
		.magic = be32_put(REQUEST_MAGIC),
		.flags = be16_put(flags_of(n, r)),
		.command = be16_put(command_of(r)),
		.cookie = be64_put(r->cookie),
		.off_bytes = be64_put(flush ? 0 : r->off_bytes),
		.len_bytes = be32_put(flush ? 0 : (uint32_t)r->part_bytes),
	};

	memcpy(n->line.head, &q, sizeof(q));
}

/* As much as the socket takes now. False: it takes no more. */
static bool send_some(struct vhd_nbd *n)
{
	struct nbd_line *l = &n->line;
	struct nbd_req *r = l->sending;
	bool data = command_of(r) == CMD_WRITE;
	uint64_t all = NBD_REQUEST_BYTES + (data ? r->part_bytes : 0);
	struct iovec iov[2];
	struct msghdr m = {.msg_iov = iov};
	ssize_t done;

	if (l->out_bytes == 0)
		head_make(n, r);
	if (l->out_bytes < NBD_REQUEST_BYTES)
		iov[m.msg_iovlen++] = (struct iovec){
			l->head + l->out_bytes,
			NBD_REQUEST_BYTES - l->out_bytes};
	if (data) {
		uint64_t at = l->out_bytes > NBD_REQUEST_BYTES
				      ? l->out_bytes - NBD_REQUEST_BYTES
				      : 0;

		iov[m.msg_iovlen++] = (struct iovec){
			r->buf + at, (size_t)(r->part_bytes - at)};
	}
	done = sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0) {
		l->dead = errno != EAGAIN && errno != EINTR;
		return false;
	}
	l->out_bytes += (uint64_t)done;
	if (l->out_bytes == all) {
		l->sending = r->next;
		l->out_bytes = 0;
	}
	return true;
}

static void send_all(struct vhd_nbd *n)
{
	while (!n->line.dead && n->line.sending && send_some(n))
		;
}

int vhd_nbd_line_issue(struct vhd_nbd *n, struct nbd_req *r)
{
	struct nbd_line *l = &n->line;

	if (l->fd < 0 || l->dead)
		return -ENOTCONN;
	r->cookie = ++l->cookie;
	if (l->sending)
		return 0;
	l->sending = r;
	l->out_bytes = 0;
	send_all(n);
	/* Should it have died, that is seen by who looks at the connection. */
	return 0;
}

/* -------------------------------------------------------------- answers -- */

/* NBD's numbers; others that a server may invent are a bad argument. */
static int error_of(uint32_t nbd)
{
	static const struct {
		uint32_t nbd;
		int code;
	} errors[] = {
		{0, 0},		 {1, EPERM},	  {5, EIO},
		{12, ENOMEM},	 {22, EINVAL},	  {28, ENOSPC},
		{75, EOVERFLOW}, {95, ENOTSUP}, {108, ESHUTDOWN},
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].nbd == nbd)
			return errors[i].code;
	return EINVAL;
}

static void answered(struct vhd_nbd *n, struct nbd_req *r, int error)
{
	r->error = error;
	nbd_list_remove(r);
	nbd_list_add(&n->answered, r);
}

/* One that is out entirely. */
static struct nbd_req *find(const struct vhd_nbd *n, uint64_t cookie)
{
	for (struct nbd_req *r = n->sent.head; r && r != n->line.sending;
	     r = r->next)
		if (r->cookie == cookie)
			return r;
	return NULL;
}

/* A header is there. */
static void reply_take(struct vhd_nbd *n)
{
	struct nbd_line *l = &n->line;
	struct reply_wire w;
	struct nbd_req *r;
	int error;

	memcpy(&w, l->reply, sizeof(w));
	l->reply_bytes = 0;
	r = find(n, be64_get(w.cookie));
	if (be32_get(w.magic) != REPLY_MAGIC || !r) {
		l->dead = true;
		return;
	}
	error = error_of(be32_get(w.error));
	if (command_of(r) == CMD_READ && !error) {
		l->reading = r;
		l->in_bytes = 0;
	} else {
		answered(n, r, error);
	}
}

/* Of what was received, first the data of a read. */
static void bytes_take(struct vhd_nbd *n, size_t bytes)
{
	struct nbd_line *l = &n->line;

	if (l->reading) {
		uint64_t left = l->reading->part_bytes - l->in_bytes;
		size_t data = bytes < left ? bytes : (size_t)left;

		l->in_bytes += data;
		bytes -= data;
		if (data == left) {
			answered(n, l->reading, 0);
			l->reading = NULL;
		}
	}
	l->reply_bytes += bytes;
	if (l->reply_bytes == NBD_REPLY_BYTES)
		reply_take(n);
}

/* False: there is no more now. */
static bool receive_some(struct vhd_nbd *n)
{
	struct nbd_line *l = &n->line;
	struct iovec iov[2];
	struct msghdr m = {.msg_iov = iov};
	ssize_t got;

	if (l->reading)
		iov[m.msg_iovlen++] = (struct iovec){
			l->reading->buf + l->in_bytes,
			(size_t)(l->reading->part_bytes - l->in_bytes)};
	iov[m.msg_iovlen++] = (struct iovec){
		l->reply + l->reply_bytes, NBD_REPLY_BYTES - l->reply_bytes};
	got = recvmsg(l->fd, &m, MSG_DONTWAIT);
	if (got <= 0) {
		l->dead = got == 0 || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	bytes_take(n, (size_t)got);
	return !l->dead;
}

void vhd_nbd_line_turn(struct vhd_nbd *n, bool in, bool out)
{
	int turns = 0;

	if (out)
		send_all(n);
	while (in && !n->line.dead && turns++ < TURNS && receive_some(n))
		;
}

/* -------------------------------------------------------- coming, going -- */

void vhd_nbd_line_begin(struct vhd_nbd *n, int fd)
{
	n->line = (struct nbd_line){.fd = fd, .cookie = n->line.cookie};
}

void vhd_nbd_line_close(struct vhd_nbd *n)
{
	if (n->line.fd >= 0)
		(void)close(n->line.fd);
	vhd_nbd_line_begin(n, -1);
}

/* Between commands only; a server takes an end without it as well. */
void vhd_nbd_line_bye(struct vhd_nbd *n)
{
	const struct request_wire q = {
		.magic = be32_put(REQUEST_MAGIC),
		.command = be16_put(CMD_DISCONNECT),
	};
	struct iovec iov = {(void *)(uintptr_t)&q, sizeof(q)};
	const struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n->line.fd >= 0 && !n->line.dead && !n->line.sending)
		(void)sendmsg(n->line.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
