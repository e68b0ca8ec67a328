/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections to an NBD server: opened, and requests in flight on all of them
 * in turn. Everything happens in the one thread that converts; the sockets
 * are watched beside the queue.
 *
 * A server may demand requests in multiples of a block and limit their size.
 * A piece larger than that goes out in parts; one that is no multiple goes
 * through a buffer that is.
 * Source: the NBD protocol document; libnbd(3).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "nbd.h"

#define WAIT_MS 200
/* A request's size where the server names no limit; all must take this. */
#define PART_BYTES_MAX (32u << 20)
#define BYE_MS 1000

bool convert_nbd_is_uri(const char *text)
{
	return vhd_is_nbd_uri(text);
}

bool convert_nbd_is_raw(const struct convert_opts *opts)
{
	return vhd_is_nbd_uri(opts->src) &&
	       (opts->from == VHD_FORMAT_AUTO || opts->from == VHD_FORMAT_RAW);
}

int convert_nbd_fail(const struct convert_nbd *n, enum vhd_why why,
		     const char *what, struct vhd_err *err)
{
	const char *text = nbd_get_error();
	int code = nbd_get_errno() ? -nbd_get_errno() : -EIO;
	/* In front there is the name of a function of the library. */
	const char *after = text && !strncmp(text, "nbd_", 4)
				    ? strstr(text, ": ")
				    : NULL;

	n->job->blame = n->path;
	return vhd_fail(err, code, why, 0, "%s: %s", what,
			after  ? after + 2
			: text ? text
			       : strerror(-code));
}

/* -------------------------------------------------------------- watching -- */

static uint32_t events_of(struct nbd_handle *h)
{
	unsigned dir = nbd_aio_get_direction(h);

	return (dir & LIBNBD_AIO_DIRECTION_READ ? (uint32_t)EPOLLIN : 0) |
	       (dir & LIBNBD_AIO_DIRECTION_WRITE ? (uint32_t)EPOLLOUT : 0);
}

/* Have waits end when this connection has something to do. */
static void watch(struct convert_nbd *n, struct convert_nbd_conn *c)
{
	uint32_t events = 0;
	struct vhd_err err;

	if (c->fd < 0)
		return; /* not connected yet: that is waited for otherwise */
	if (nbd_aio_is_dead(c->h) != 1 && nbd_aio_is_closed(c->h) != 1)
		events = events_of(c->h);
	if (events == c->watched)
		return;
	if (!events)
		convert_unwatch(n->job, c->fd);
	else if (convert_watch(n->job, c->fd, events, &err))
		convert_fault(n->job, n->path, err.code, err.why, "%s",
			      err.text);
	c->watched = events;
}

static void unwatch(struct convert_nbd *n, struct convert_nbd_conn *c)
{
	if (c->watched)
		convert_unwatch(n->job, c->fd);
	c->watched = 0;
}

void convert_nbd_turn(struct convert_nbd *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		struct convert_nbd_conn *c = &n->conn[i];

		/* A dead one says so to each piece that it had. */
		while (nbd_poll(c->h, 0) > 0)
			;
		watch(n, c);
	}
}

int convert_nbd_wait(struct convert_nbd *n, struct vhd_err *err)
{
	struct pollfd p[CONVERT_NBD_CONNS_MAX + 1];

	for (unsigned i = 0; i < n->count; i++) {
		uint32_t events = events_of(n->conn[i].h);

		p[i] = (struct pollfd){ .fd = nbd_aio_get_fd(n->conn[i].h) };
		p[i].events = (short)((events & EPOLLIN ? POLLIN : 0) |
				      (events & EPOLLOUT ? POLLOUT : 0));
	}
	p[n->count] = (struct pollfd){ n->job->signal_fd, POLLIN, 0 };
	if (poll(p, n->count + 1, WAIT_MS) < 0 && errno != EINTR)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot wait for the server: %s",
				strerror(errno));
	if (convert_interrupted(n->job, err))
		return -EINTR;
	convert_nbd_turn(n);
	return 0;
}

/* --------------------------------------------------------------- opening -- */

static struct nbd_handle *handle_new(void)
{
	struct nbd_handle *h = nbd_create();

	if (!h)
		return NULL;
	/* The URI is the user's own, and may name a file of TLS keys. */
	if (nbd_set_uri_allow_local_file(h, true) < 0 ||
	    nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0) {
		nbd_close(h);
		return NULL;
	}
	return h;
}

static int no_connection(const struct convert_nbd *n, struct vhd_err *err)
{
	return convert_nbd_fail(n, VHD_WHY_SERVER, "cannot connect", err);
}

static int connect_one(struct convert_nbd *n, const char *uri, int *fd,
		       struct vhd_err *err)
{
	struct convert_nbd_conn *c = &n->conn[n->count];
	int rc = 0, sent;

	*c = (struct convert_nbd_conn){ .h = handle_new(), .fd = -1 };
	if (!c->h)
		return convert_nbd_fail(n, VHD_WHY_SERVER, "cannot use libnbd",
					err);
	n->count++;
	if (fd) {
		sent = nbd_aio_connect_socket(c->h, *fd);
		*fd = -1; /* the handle's now */
	} else {
		sent = nbd_aio_connect_uri(c->h, uri);
	}
	if (sent < 0)
		rc = no_connection(n, err);
	while (!rc && nbd_aio_is_connecting(c->h) == 1) {
		if (nbd_poll(c->h, 0) < 0)
			rc = no_connection(n, err);
		else if (nbd_aio_is_connecting(c->h) == 1)
			rc = convert_nbd_wait(n, err);
	}
	if (!rc && nbd_aio_is_ready(c->h) != 1)
		rc = no_connection(n, err);
	if (rc) {
		unwatch(n, c);
		nbd_close(c->h);
		n->count--;
		return rc;
	}
	c->fd = nbd_aio_get_fd(c->h);
	return 0;
}

static int learn(struct convert_nbd *n, struct vhd_err *err)
{
	struct nbd_handle *h = n->conn[0].h;
	int64_t size = nbd_get_size(h);
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t max = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return convert_nbd_fail(n, VHD_WHY_SERVER,
					"cannot learn the size", err);
	n->size_bytes = (uint64_t)size;
	n->min_bytes = min > 1 ? (uint32_t)min : 1;
	n->max_bytes = max > 0 && max < PART_BYTES_MAX ? (uint32_t)max
						       : PART_BYTES_MAX;
	if ((n->min_bytes & (n->min_bytes - 1)) ||
	    n->min_bytes > CONVERT_UNIT_BYTES || n->max_bytes < n->min_bytes)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"the server wants requests of %u to %u bytes, "
				"which is not handled",
				n->min_bytes, n->max_bytes);
	n->max_bytes -= n->max_bytes % n->min_bytes;
	n->read_only = nbd_is_read_only(h) == 1;
	n->can_zero = nbd_can_zero(h) == 1;
	n->can_flush = nbd_can_flush(h) == 1;
	n->can_fua = nbd_can_fua(h) == 1;
	n->knows_zeros =
		nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
	return 0;
}

int convert_nbd_open(struct convert_nbd *n, struct convert_job *job,
		     const char *path, const char *uri,
		     struct convert_qemu *qemu, struct vhd_err *err)
{
	int rc;

	*n = (struct convert_nbd){ .job = job, .path = path };
	job->blame = path;
	rc = connect_one(n, uri, qemu ? &qemu->fds[0] : NULL, err);
	if (!rc)
		rc = learn(n, err);
	if (rc || nbd_can_multi_conn(n->conn[0].h) != 1)
		return rc;
	/* More connections help; a server that wants no more of them is one
	 * that has few.
	 */
	while (!rc && n->count < CONVERT_NBD_CONNS_MAX)
		rc = connect_one(n, uri, qemu ? &qemu->fds[n->count] : NULL,
				 err);
	return rc == -EINTR ? rc : 0;
}

void convert_nbd_close(struct convert_nbd *n)
{
	int64_t until_ms = cli_now_ms() + BYE_MS;
	struct vhd_err err;

	for (unsigned i = 0; i < n->count; i++)
		if (n->in_flight || nbd_aio_is_ready(n->conn[i].h) != 1 ||
		    nbd_aio_disconnect(n->conn[i].h, 0) < 0)
			until_ms = 0;
	while (n->count && cli_now_ms() < until_ms &&
	       nbd_aio_is_closed(n->conn[0].h) != 1 &&
	       nbd_aio_is_dead(n->conn[0].h) != 1)
		if (convert_nbd_wait(n, &err))
			break;
	for (unsigned i = 0; i < n->count; i++) {
		unwatch(n, &n->conn[i]);
		nbd_close(n->conn[i].h);
	}
	n->count = 0;
}

void convert_nbd_drain(struct convert_nbd *n)
{
	if (n->in_flight)
		convert_nbd_close(n);
}

/* -------------------------------------------------------------- requests -- */

enum kind { READ, WRITE, ZERO, FLUSH };

static const char *const verbs[] = { "read", "write", "zero", "flush" };

struct request {
	struct convert_nbd *n;
	struct convert_io *io;
	enum kind kind;
	uint8_t *bounce;      /* owned; NULL: the piece's own buffer */
	uint64_t from_bytes;  /* the range asked for: whole blocks */
	uint64_t end_bytes;
	unsigned left;        /* parts out, and one while they are sent */
	unsigned parts;
	unsigned answered;
};

static void fault_of(const struct request *r, int code)
{
	bool lost = code == ENOTCONN || code == ESHUTDOWN || code == EPIPE ||
		    code == ECONNRESET;

	r->io->result = -code;
	convert_fault(r->n->job, r->n->path, -code,
		      code == ENOSPC || code == EFBIG ? VHD_WHY_NO_SPACE
						      : VHD_WHY_IO,
		      "cannot %s at disk offset %llu: %s", verbs[r->kind],
		      (unsigned long long)r->io->off_bytes,
		      lost ? "the server is gone" : strerror(code));
}

static void part_over(void *user)
{
	struct request *r = user;
	struct convert_io *io = r->io;

	if (--r->left)
		return;
	if (!io->result && r->answered < r->parts)
		io->result = -ECANCELED;
	if (r->bounce && r->kind == READ && !io->result)
		memcpy(io->buf, r->bounce + (io->off_bytes - r->from_bytes),
		       io->len_bytes);
	r->n->in_flight--;
	free(r->bounce);
	free(r);
	io->done(io);
}

static int part_answered(void *user, int *error)
{
	struct request *r = user;

	r->answered++;
	if (*error)
		fault_of(r, *error);
	return 1;
}

static int part_send(struct request *r, struct nbd_handle *h, uint64_t off,
		     uint32_t len)
{
	/* libnbd calls `free` once a part, answered or not. */
	nbd_completion_callback cb = {
		.callback = part_answered,
		.user_data = r,
		.free = part_over,
	};
	uint8_t *buf = r->bounce ? r->bounce + (off - r->from_bytes)
				 : r->io->buf + (off - r->io->off_bytes);
	uint32_t fua = !r->n->can_flush && r->n->can_fua ? LIBNBD_CMD_FLAG_FUA
							 : 0;
	int64_t rc;

	switch (r->kind) {
	case READ:
		rc = nbd_aio_pread(h, buf, len, off, cb, 0);
		break;
	case WRITE:
		rc = nbd_aio_pwrite(h, buf, len, off, cb, fua);
		break;
	case ZERO:
		rc = nbd_aio_zero(h, len, off, cb, fua);
		break;
	default:
		rc = nbd_aio_flush(h, cb, 0);
		break;
	}
	return rc < 0 ? -1 : 0;
}

/* Why libnbd takes no command: not all that it refuses has an errno, and once
 * the server is gone it calls the command's state invalid.
 */
static int refused_errno(struct nbd_handle *h)
{
	int err = nbd_get_errno();

	if (nbd_aio_is_dead(h) > 0 || nbd_aio_is_closed(h) > 0)
		return ECONNRESET;
	return err ? err : EIO;
}

static void parts_send(struct request *r, uint64_t part_max)
{
	struct convert_nbd *n = r->n;
	uint64_t off = r->from_bytes, end = r->end_bytes;

	r->left = 1;
	do {
		struct convert_nbd_conn *c = &n->conn[n->next++ % n->count];
		uint64_t len = end - off < part_max ? end - off : part_max;

		r->left++;
		r->parts++;
		if (part_send(r, c->h, off, (uint32_t)len) < 0)
			fault_of(r, refused_errno(c->h));
		watch(n, c);
		off += len;
	} while (off < end);
	part_over(r);
}

/* A buffer of whole blocks around a piece that is none. Behind a piece to be
 * written there is zero: only a disk's end is no multiple.
 */
static int bounce_make(struct request *r)
{
	uint64_t mask = r->n->min_bytes - 1;
	const struct convert_io *io = r->io;

	r->from_bytes = io->off_bytes & ~mask;
	r->end_bytes = (io->off_bytes + io->len_bytes + mask) & ~mask;
	if (r->kind == ZERO || r->kind == FLUSH ||
	    r->end_bytes - r->from_bytes == io->len_bytes)
		return 0;
	r->bounce = calloc(1, r->end_bytes - r->from_bytes);
	if (!r->bounce)
		return -ENOMEM;
	if (r->kind == WRITE)
		memcpy(r->bounce + (io->off_bytes - r->from_bytes), io->buf,
		       io->len_bytes);
	return 0;
}

static void submit(struct convert_nbd *n, struct convert_io *io,
		   enum kind kind, uint64_t part_max)
{
	struct request *r = calloc(1, sizeof(*r));

	io->result = 0;
	if (r)
		*r = (struct request){ .n = n, .io = io, .kind = kind };
	if (!r || bounce_make(r)) {
		free(r);
		io->result = convert_fault(n->job, n->path, -ENOMEM,
					   VHD_WHY_NOMEM, "out of memory");
		io->done(io);
		return;
	}
	n->in_flight++;
	parts_send(r, part_max);
}

void convert_nbd_read(struct convert_nbd *n, struct convert_io *io)
{
	submit(n, io, READ, n->max_bytes);
}

void convert_nbd_write(struct convert_nbd *n, struct convert_io *io)
{
	submit(n, io, WRITE, n->max_bytes);
}

void convert_nbd_zero(struct convert_nbd *n, struct convert_io *io)
{
	submit(n, io, ZERO, UINT32_MAX & ~(uint64_t)(n->min_bytes - 1));
}

static void flush_done(struct convert_io *io)
{
	*(bool *)io->user = true;
}

int convert_nbd_flush(struct convert_nbd *n, struct vhd_err *err)
{
	bool over = false;
	struct convert_io io = { .done = flush_done, .user = &over };
	int rc = 0;

	submit(n, &io, FLUSH, 1);
	while (!over && !rc)
		rc = convert_nbd_wait(n, err);
	if (!over)
		convert_nbd_drain(n); /* `io` goes out of scope */
	return rc ? rc : convert_faulted(n->job, err);
}
