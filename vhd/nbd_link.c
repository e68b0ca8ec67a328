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
#include "nbd_int.h"

#define FIRST_MS 30000
#define BYE_MS	 1000
#define TURNS	 256 /* answers taken before anything else is looked at */
/* A host that vanished shows by no answer to a probe: after this long. */
#define PROBE_AFTER_S 10
#define PROBE_EVERY_S 3
#define PROBES	      3
#define UNACKED_MS    20000u

/* Where headers may be of more than one form: only of the oldest one. */
#ifdef LIBNBD_HAVE_NBD_SET_REQUEST_EXTENDED_HEADERS
static int headers_simple(struct nbd_handle *h)
{
	return nbd_set_request_extended_headers(h, false);
}
#else
static int headers_simple(struct nbd_handle *h)
{
	(void)h;
	return 0;
}
#endif

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
	n->state = NBD_LINKING;
	n->due_ms = vhd_nbd_now_ms() + timeout_ms;
	if (n->how.handed) {
		n->hand_failed = vhd_nbd_hand_ask(n, timeout_ms);
		return;
	}
	n->h = nbd_create();
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
	/* The library need not be there where connections are handed over. */
	if (n->how.handed)
		vhd_nbd_line_close(n);
	else
		nbd_close(n->h);
	n->h = NULL;
}

/* ------------------------------------------------------------- judging -- */

static void raw_read(struct nbd_handle *h, struct nbd_raw *raw)
{
	*raw = (struct nbd_raw){
		.size_bytes = nbd_get_size(h),
		.min_bytes = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM),
		.max_bytes = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM),
	};
	raw->flags = (nbd_is_read_only(h) > 0 ? NBD_RAW_READ_ONLY : 0) |
		     (nbd_can_flush(h) > 0 ? NBD_RAW_FLUSH : 0) |
		     (nbd_can_fua(h) > 0 ? NBD_RAW_FUA : 0) |
		     (nbd_can_zero(h) > 0 ? NBD_RAW_ZERO : 0) |
		     (nbd_can_fast_zero(h) > 0 ? NBD_RAW_FAST_ZERO : 0);
}

static int facts_judge(const struct nbd_raw *raw, struct nbd_facts *f,
		       struct vhd_err *err)
{
	int64_t max = raw->max_bytes;

	if (raw->size_bytes < 0)
		return vhd_fail(err, -EOVERFLOW, VHD_WHY_SERVER, 0,
				"the export's size is unusable");
	if (raw->min_bytes > VHD_SECTOR_BYTES)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_SERVER, 0,
				"the server takes no less than %lld bytes at "
				"once, a disk's sector has 512; nbdkit's "
				"blocksize filter helps",
				(long long)raw->min_bytes);
	if (max <= 0 || max > NBD_PART_BYTES)
		max = NBD_PART_BYTES;
	if (max < 4096)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_SERVER, 0,
				"the server takes no more than %lld bytes at "
				"once",
				(long long)max);
	*f = (struct nbd_facts){
		.size_bytes = (uint64_t)raw->size_bytes,
		.max_bytes = (uint32_t)max & ~(VHD_SECTOR_BYTES - 1),
		.read_only = raw->flags & NBD_RAW_READ_ONLY,
		.can_flush = raw->flags & NBD_RAW_FLUSH,
		.can_fua = raw->flags & NBD_RAW_FUA,
		.can_zero = raw->flags & NBD_RAW_ZERO,
		.fast_zero = raw->flags & NBD_RAW_FAST_ZERO,
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
static void watch_peer(const char *uri, int fd)
{
	static const int on = 1, after = PROBE_AFTER_S, every = PROBE_EVERY_S,
			 probes = PROBES;
	static const unsigned unacked = UNACKED_MS;

	if (strncmp(uri, "nbd://", 6) != 0 && strncmp(uri, "nbds://", 7) != 0)
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

static bool broken(struct nbd_handle *h)
{
	return !h || nbd_aio_is_dead(h) > 0 || nbd_aio_is_closed(h) > 0;
}

static bool gone(const struct vhd_nbd *n)
{
	return n->how.handed ? n->line.fd < 0 || n->line.dead : broken(n->h);
}

static bool came_up(struct vhd_nbd *n, const struct nbd_raw *raw,
		    struct vhd_err *err)
{
	bool first = !n->facts.max_bytes;
	const char *worse = NULL;
	struct nbd_facts now;
	int rc = facts_judge(raw, &now, err);

	if (!rc && first)
		n->facts = now;
	else if (!rc)
		worse = taken_back(n, &now);
	if (worse)
		rc = vhd_fail(err, -ENOTCONN, VHD_WHY_SERVER, 0, "%s", worse);
	if (!rc) {
		/* of one handed over, its maker did it; a test's is none */
		if (!n->how.handed && !n->how.socket)
			watch_peer(n->uri, nbd_aio_get_fd(n->h));
		n->state = NBD_UP;
		return true;
	}
	vhd_nbd_link_close(n);
	n->state = NBD_DEAD;
	return true;
}

bool vhd_nbd_link_broke(const struct vhd_nbd *n)
{
	return n->state == NBD_UP && gone(n);
}

/* 0: there is a connection; -EAGAIN: not yet; else why there is none. */
static int handle_look(const struct vhd_nbd *n, struct nbd_raw *raw,
		       struct vhd_err *err)
{
	if (broken(n->h))
		return link_fail(err, "cannot connect");
	if (nbd_aio_is_ready(n->h) <= 0)
		return -EAGAIN;
	raw_read(n->h, raw);
	return 0;
}

static int handed_look(struct vhd_nbd *n, struct nbd_raw *raw,
		       struct vhd_err *err)
{
	if (n->hand_failed)
		return vhd_fail(err, n->hand_failed, VHD_WHY_SERVER, 0,
				"nobody connects to it for this guest any "
				"more");
	return vhd_nbd_hand_look(n, raw, err);
}

bool vhd_nbd_link_look(struct vhd_nbd *n, struct vhd_err *err)
{
	struct nbd_raw raw;
	int rc;

	if (n->state != NBD_LINKING)
		return false;
	rc = n->how.handed ? handed_look(n, &raw, err)
			   : handle_look(n, &raw, err);
	if (rc == 0)
		return came_up(n, &raw, err);
	if (rc == -EAGAIN && vhd_nbd_now_ms() < n->due_ms)
		return false;
	if (rc == -EAGAIN)
		vhd_fail(err, -ETIMEDOUT, VHD_WHY_SERVER, 0,
			 "cannot connect: no answer");
	vhd_nbd_link_close(n);
	n->state = NBD_DOWN;
	return true;
}

/* ------------------------------------------------------------- turning -- */

static short line_events(const struct vhd_nbd *n, int *fd)
{
	if (n->state == NBD_LINKING) {
		*fd = n->hand_failed ? -1 : n->how.connector_fd;
		return POLLIN;
	}
	if (gone(n))
		return 0;
	*fd = n->line.fd;
	return n->line.sending ? POLLIN | POLLOUT : POLLIN;
}

short vhd_nbd_link_events(const struct vhd_nbd *n, int *fd)
{
	unsigned dir;

	*fd = -1;
	if (n->how.handed)
		return line_events(n, fd);
	if (gone(n))
		return 0;
	*fd = nbd_aio_get_fd(n->h);
	dir = nbd_aio_get_direction(n->h);
	return (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* libnbd must not be told of bytes that are not there: it would wait for them
 * and send nothing until then.
 */
static bool readable(struct nbd_handle *h)
{
	struct pollfd p = {.events = POLLIN};

	if (broken(h) ||
	    !(nbd_aio_get_direction(h) & LIBNBD_AIO_DIRECTION_READ))
		return false;
	p.fd = nbd_aio_get_fd(h);
	return poll(&p, 1, 0) > 0;
}

#define BAD (POLLERR | POLLHUP | POLLNVAL)

static void handle_turn(struct nbd_handle *h, short revents)
{
	int turns = 0;

	if (broken(h))
		return;
	if (revents & (POLLOUT | BAD) &&
	    nbd_aio_get_direction(h) & LIBNBD_AIO_DIRECTION_WRITE)
		(void)nbd_aio_notify_write(h);
	if (!(revents & (POLLIN | BAD)))
		return;
	/* One call takes one answer: go on while there are more. */
	do
		(void)nbd_aio_notify_read(h);
	while (++turns < TURNS && readable(h));
}

void vhd_nbd_link_turn(struct vhd_nbd *n, short revents)
{
	if (!revents)
		return;
	if (!n->how.handed)
		handle_turn(n->h, revents);
	else if (!gone(n))
		vhd_nbd_line_turn(n, revents & (POLLIN | BAD),
				  revents & POLLOUT);
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

	if (n->how.handed)
		vhd_nbd_line_bye(n);
	else if (n->state == NBD_UP && !gone(n))
		(void)nbd_aio_disconnect(n->h, 0);
	while (!n->how.handed && n->state == NBD_UP && !gone(n) &&
	       vhd_nbd_now_ms() < until)
		turn_once(n, 100);
	vhd_nbd_link_close(n);
}

/* ----------------------------------------------------- for somebody else -- */

static int dial_begin(struct nbd_handle *h, const char *uri)
{
	return nbd_set_request_structured_replies(h, false) < 0 ||
			       headers_simple(h) < 0 ||
			       nbd_set_uri_allow_local_file(h, true) < 0 ||
			       nbd_aio_connect_uri(h, uri) < 0
		       ? -1
		       : 0;
}

static void dial_turn(struct nbd_handle *h)
{
	unsigned dir = nbd_aio_get_direction(h);
	struct pollfd p = {
		.fd = nbd_aio_get_fd(h),
		.events = (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN
								   : 0) |
				  (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT
								    : 0)),
	};

	if (poll(&p, 1, 100) > 0)
		handle_turn(h, p.revents);
}

static int dial(struct nbd_handle *h, const char *uri, uint32_t timeout_ms,
		struct vhd_err *err)
{
	int64_t until = vhd_nbd_now_ms() + timeout_ms;

	if (dial_begin(h, uri) < 0)
		return link_fail(err, "cannot connect");
	while (nbd_aio_is_ready(h) <= 0) {
		if (broken(h))
			return link_fail(err, "cannot connect");
		if (vhd_nbd_now_ms() >= until)
			return vhd_fail(err, -ETIMEDOUT, VHD_WHY_SERVER, 0,
					"cannot connect: no answer");
		dial_turn(h);
	}
	if (nbd_get_structured_replies_negotiated(h) <= 0)
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_SERVER, 0,
			"the server was told more than simple replies would "
			"do");
}

int vhd_nbd_dial(const char *uri, uint32_t timeout_ms, struct nbd_handle **out,
		 struct nbd_raw *raw, struct vhd_err *err)
{
	struct nbd_handle *h = nbd_create();
	int rc;

	if (!h)
		return link_fail(err, "cannot connect");
	rc = dial(h, uri, timeout_ms, err);
	if (rc) {
		nbd_close(h);
		return rc;
	}
	raw_read(h, raw);
	watch_peer(uri, nbd_aio_get_fd(h));
	*out = h;
	return 0;
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

	vhd_nbd_link_begin(n, n->how.handed ? NBD_HANDED_MS : FIRST_MS);
	/* What libnbd says of a failure is lost with its next call. */
	if (!n->h && !n->how.handed)
		link_fail(&why, "cannot connect");
	while (n->state == NBD_LINKING && (n->h || n->how.handed) &&
	       !vhd_nbd_link_look(n, &why))
		turn_once(n, 100);
	if (n->state == NBD_UP)
		return n->h ? note_peer(n, err) : 0;
	if (err)
		*err = why;
	return why.code;
}
