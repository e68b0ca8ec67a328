/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection to an NBD server: made without blocking, judged before it is
 * used, and let go. The next one goes to the address that the first one found,
 * where the name of a host would have to be looked up again: that needs files,
 * and a sandbox has none.
 *
 * A server that comes back must still be what was opened: the size no smaller,
 * nothing taken back that it could do.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "nbd.h"

#define FIRST_MS 30000
#define BYE_MS	 1000
#define TURNS	 256 /* answers taken before anything else is looked at */
/* A host that vanished shows by no answer to a probe: after this long. */
#define PROBE_AFTER_S 10
#define PROBE_EVERY_S 3
#define PROBES	      3
#define UNACKED_MS    20000u

int64_t vhd_nbd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* In front of libnbd's text is the name of one of its functions. */
static int link_fail(struct vhd_err *err, const char *what)
{
	const char *text = nbd_get_error();
	int code = nbd_get_errno();
	const char *after =
		text && !strncmp(text, "nbd_", 4) ? strstr(text, ": ") : NULL;

	code = code > 0 ? -code : -ECONNREFUSED;
	return vhd_fail(err, code, VHD_WHY_SERVER, 0, "%s: %.110s", what,
			after  ? after + 2
			: text ? text
			       : vhd_errno_text(code));
}

/* ---------------------------------------------------------- connecting -- */

static int connect_begin(struct vhd_nbd *n, struct nbd_handle *h)
{
	int fd;

	if (n->how.socket) {
		fd = n->how.socket(n->how.socket_arg);
		return fd < 0 ? fd : nbd_aio_connect_socket(h, fd);
	}
	if (n->peer_bytes)
		return nbd_aio_connect(h, (struct sockaddr *)&n->peer,
				       n->peer_bytes);
	return nbd_aio_connect_uri(h, n->uri);
}

void vhd_nbd_link_begin(struct vhd_nbd *n, uint32_t timeout_ms)
{
	n->h = nbd_create();
	n->state = NBD_LINKING;
	n->due_ms = vhd_nbd_now_ms() + timeout_ms;
	if (!n->h)
		return; /* seen as broken by vhd_nbd_link_look */
	/* The URI may name files of keys: it is the user's own. */
	if (nbd_set_uri_allow_local_file(n->h, true) < 0 ||
	    (n->peer_bytes && nbd_set_export_name(n->h, n->export_name) < 0) ||
	    connect_begin(n, n->h) < 0)
		vhd_nbd_link_close(n);
}

void vhd_nbd_link_close(struct vhd_nbd *n)
{
	nbd_close(n->h);
	n->h = NULL;
}

/* ------------------------------------------------------------- judging -- */

static int facts_read(struct nbd_handle *h, struct nbd_facts *f,
		      struct vhd_err *err)
{
	int64_t size = nbd_get_size(h);
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t max = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return link_fail(err, "the export's size is unusable");
	if (min > VHD_SECTOR_BYTES)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_SERVER, 0,
				"the server takes no less than %lld bytes at "
				"once, a disk's sector has 512; nbdkit's "
				"blocksize filter helps",
				(long long)min);
	if (max <= 0 || max > NBD_PART_BYTES)
		max = NBD_PART_BYTES;
	if (max < 4096)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_SERVER, 0,
				"the server takes no more than %lld bytes at "
				"once",
				(long long)max);
	*f = (struct nbd_facts){
		.size_bytes = (uint64_t)size,
		.max_bytes = (uint32_t)max & ~(VHD_SECTOR_BYTES - 1),
		.read_only = nbd_is_read_only(h) > 0,
		.can_flush = nbd_can_flush(h) > 0,
		.can_fua = nbd_can_fua(h) > 0,
		.can_zero = nbd_can_zero(h) > 0,
		.fast_zero = nbd_can_fast_zero(h) > 0,
	};
	return 0;
}

/* What was there at first and is not any more, or NULL. */
static const char *taken_back(const struct vhd_nbd *n,
			      const struct nbd_facts *now)
{
	const struct nbd_facts *was = &n->facts;

	if (now->size_bytes < was->size_bytes)
		return "the export has shrunk";
	if (n->how.writable && now->read_only)
		return "the export has become read-only";
	if (was->can_flush && !now->can_flush)
		return "the server does not flush any more";
	if (was->can_fua && !now->can_fua)
		return "the server has no durable writes any more";
	if (was->can_zero && !now->can_zero)
		return "the server does not write zeros any more";
	if (was->fast_zero && !now->fast_zero)
		return "the server has no fast zeros any more";
	if (now->max_bytes < was->max_bytes)
		return "the server takes less at once than before";
	return NULL;
}

/* A host that is gone says nothing: have the kernel ask, and give up. */
static void watch_peer(const struct vhd_nbd *n)
{
	int fd = nbd_aio_get_fd(n->h);
	static const int on = 1, after = PROBE_AFTER_S, every = PROBE_EVERY_S,
			 probes = PROBES;
	static const unsigned unacked = UNACKED_MS;

	if (n->how.socket || (strncmp(n->uri, "nbd://", 6) != 0 &&
			      strncmp(n->uri, "nbds://", 7) != 0))
		return; /* not TCP */
	/* Without them a loss is only seen later. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every,
			 sizeof(every));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes,
			 sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked,
			 sizeof(unacked));
}

static bool gone(struct nbd_handle *h)
{
	return !h || nbd_aio_is_dead(h) > 0 || nbd_aio_is_closed(h) > 0;
}

static bool came_up(struct vhd_nbd *n, struct vhd_err *err)
{
	bool first = !n->facts.max_bytes;
	const char *worse = NULL;
	struct nbd_facts now;
	int rc = facts_read(n->h, &now, err);

	if (!rc && first)
		n->facts = now;
	else if (!rc)
		worse = taken_back(n, &now);
	if (worse)
		rc = vhd_fail(err, -ENOTCONN, VHD_WHY_SERVER, 0, "%s", worse);
	if (!rc) {
		watch_peer(n);
		n->state = NBD_UP;
		return true;
	}
	vhd_nbd_link_close(n);
	n->state = NBD_DEAD;
	return true;
}

bool vhd_nbd_link_broke(const struct vhd_nbd *n)
{
	return n->state == NBD_UP && gone(n->h);
}

bool vhd_nbd_link_look(struct vhd_nbd *n, struct vhd_err *err)
{
	if (n->state != NBD_LINKING)
		return false;
	if (n->h && nbd_aio_is_ready(n->h) > 0)
		return came_up(n, err);
	if (!gone(n->h) && vhd_nbd_now_ms() < n->due_ms)
		return false;
	if (gone(n->h))
		link_fail(err, "cannot connect");
	else
		vhd_fail(err, -ETIMEDOUT, VHD_WHY_SERVER, 0,
			 "cannot connect: no answer");
	vhd_nbd_link_close(n);
	n->state = NBD_DOWN;
	return true;
}

/* ------------------------------------------------------------- turning -- */

short vhd_nbd_link_events(const struct vhd_nbd *n, int *fd)
{
	unsigned dir;

	*fd = -1;
	if (gone(n->h))
		return 0;
	*fd = nbd_aio_get_fd(n->h);
	dir = nbd_aio_get_direction(n->h);
	return (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* libnbd must not be told of bytes that are not there: it would wait for them
 * and send nothing until then.
 */
static bool readable(struct vhd_nbd *n)
{
	struct pollfd p = {.events = POLLIN};

	if (gone(n->h) || !(nbd_aio_get_direction(n->h) &
			    LIBNBD_AIO_DIRECTION_READ))
		return false;
	p.fd = nbd_aio_get_fd(n->h);
	return poll(&p, 1, 0) > 0;
}

void vhd_nbd_link_turn(struct vhd_nbd *n, short revents)
{
	const short bad = POLLERR | POLLHUP | POLLNVAL;
	int turns = 0;

	if (!revents || gone(n->h))
		return;
	if (revents & (POLLOUT | bad) && nbd_aio_get_direction(n->h) &
						 LIBNBD_AIO_DIRECTION_WRITE)
		(void)nbd_aio_notify_write(n->h);
	if (!(revents & (POLLIN | bad)))
		return;
	/* One call takes one answer: go on while there are more. */
	do
		(void)nbd_aio_notify_read(n->h);
	while (++turns < TURNS && readable(n));
}

static void turn_once(struct vhd_nbd *n, int timeout_ms)
{
	struct pollfd p = {0};

	p.events = vhd_nbd_link_events(n, &p.fd);
	if (poll(&p, 1, timeout_ms) > 0)
		vhd_nbd_link_turn(n, p.revents);
}

void vhd_nbd_link_bye(struct vhd_nbd *n)
{
	int64_t until = vhd_nbd_now_ms() + BYE_MS;

	if (n->state == NBD_UP && !gone(n->h))
		(void)nbd_aio_disconnect(n->h, 0);
	while (n->state == NBD_UP && !gone(n->h) && vhd_nbd_now_ms() < until)
		turn_once(n, 100);
	vhd_nbd_link_close(n);
}

/* --------------------------------------------------------- the first one -- */

/* Where to connect next time. */
static int note_peer(struct vhd_nbd *n, struct vhd_err *err)
{
	socklen_t len = sizeof(n->peer);

	if (n->how.socket || strncmp(n->uri, "nbd://", 6) != 0 ||
	    getpeername(nbd_aio_get_fd(n->h), (struct sockaddr *)&n->peer,
			&len) < 0)
		return 0;
	n->export_name = nbd_get_export_name(n->h);
	if (!n->export_name)
		return vhd_fail_nomem(err, 0, "the name of an export");
	n->peer_bytes = len;
	return 0;
}

int vhd_nbd_link_first(struct vhd_nbd *n, struct vhd_err *err)
{
	struct vhd_err why = {.code = -ECONNREFUSED};

	vhd_nbd_link_begin(n, FIRST_MS);
	/* What libnbd says of a failure is lost with its next call. */
	if (!n->h)
		link_fail(&why, "cannot connect");
	while (n->state == NBD_LINKING && n->h && !vhd_nbd_link_look(n, &why))
		turn_once(n, 100);
	if (n->state == NBD_UP)
		return note_peer(n, err);
	if (err)
		*err = why;
	return why.code;
}
