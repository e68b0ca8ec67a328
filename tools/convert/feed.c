/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes in order out of a pipe or a compressed file. gzip as gzip(1) reads it:
 * any number of members, zeros behind the last one are padding, anything else
 * there is noted and left alone.
 * Source: RFC 1952; zlib.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "stream.h"

#define IN_BYTES (128u << 10)

enum place {
	PLAIN,   /* nothing is inflated */
	BETWEEN, /* a member may begin */
	INSIDE,
	OVER,
};

struct convert_feed {
	int fd;
	int stop_fd;       /* or -1 */
	enum place place;
	bool eof;          /* of the descriptor */
	bool trailing;
	uint64_t members;
	uint64_t in_bytes; /* read from the descriptor so far */
	size_t at;         /* in `in`: not used yet from here ... */
	size_t end;        /* ... to here */
	z_stream z;
	size_t head_at;
	size_t head_len;
	uint8_t head[CONVERT_HEAD_BYTES];
	uint8_t in[IN_BYTES];
};

struct convert_feed *convert_feed_open(int fd, int stop_fd)
{
	struct convert_feed *f = calloc(1, sizeof(*f));

	if (f) {
		f->fd = fd;
		f->stop_fd = stop_fd;
	}
	return f;
}

void convert_feed_heed(struct convert_feed *f, int stop_fd)
{
	f->stop_fd = stop_fd;
}

void convert_feed_close(struct convert_feed *f)
{
	if (f && f->place != PLAIN)
		(void)inflateEnd(&f->z);
	free(f);
}

bool convert_feed_trailing(const struct convert_feed *f)
{
	return f->trailing;
}

void convert_feed_unread(struct convert_feed *f, const uint8_t *bytes,
			 size_t len)
{
	memcpy(f->head, bytes, len);
	f->head_at = 0;
	f->head_len = len;
}

/* ------------------------------------------------------------ descriptor -- */

/* Wait until there is something to read: read(2) must not be where a thread
 * waits that is to stop.
 */
static int readable(const struct convert_feed *f)
{
	struct pollfd p[2] = {
		{ .fd = f->fd, .events = POLLIN },
		{ .fd = f->stop_fd, .events = POLLIN },
	};

	if (poll(p, 2, -1) < 0 && errno != EINTR)
		return -errno;
	return f->stop_fd >= 0 && p[1].revents ? -EINTR : 0;
}

static ssize_t read_some(const struct convert_feed *f, uint8_t *buf,
			 size_t len)
{
	ssize_t n;

	for (;;) {
		int rc = readable(f);

		if (rc)
			return rc;
		n = read(f->fd, buf, len);
		if (n >= 0)
			return n;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

static ssize_t fd_read(struct convert_feed *f, uint8_t *buf, size_t len,
		       struct vhd_err *err)
{
	ssize_t n = read_some(f, buf, len);

	if (n >= 0) {
		f->eof = n == 0;
		f->in_bytes += (uint64_t)n;
		return n;
	}
	if (n != -EINTR)
		vhd_fail(err, (int)n, VHD_WHY_IO, f->in_bytes,
			 "cannot read: %s", strerror((int)-n));
	return n;
}

/* Have at least `want` bytes in `in`, unless the end is nearer. */
static int need(struct convert_feed *f, size_t want, struct vhd_err *err)
{
	if (f->end - f->at >= want)
		return 0;
	memmove(f->in, f->in + f->at, f->end - f->at);
	f->end -= f->at;
	f->at = 0;
	while (f->end < want && !f->eof) {
		ssize_t n = fd_read(f, f->in + f->end, IN_BYTES - f->end, err);

		if (n < 0)
			return (int)n;
		f->end += (size_t)n;
	}
	return 0;
}

/* ------------------------------------------------------------------ gzip -- */

static bool magic_at(const struct convert_feed *f)
{
	return f->end - f->at >= 2 && f->in[f->at] == 0x1f &&
	       f->in[f->at + 1] == 0x8b;
}

int convert_feed_is_gzip(struct convert_feed *f, bool *gzip,
			 struct vhd_err *err)
{
	int rc = need(f, 3, err);

	/* The third byte: deflate, the only method there is. */
	*gzip = !rc && magic_at(f) && f->end - f->at >= 3 &&
		f->in[f->at + 2] == 8;
	return rc;
}

int convert_feed_inflate(struct convert_feed *f, struct vhd_err *err)
{
	if (inflateInit2(&f->z, 16 + 15) != Z_OK)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory for zlib");
	f->place = BETWEEN;
	return 0;
}

/* Where the compressed stream is being read. */
static uint64_t here(const struct convert_feed *f)
{
	return f->in_bytes - (f->end - f->at);
}

static int begin_member(struct convert_feed *f, struct vhd_err *err)
{
	int rc = need(f, 2, err);

	while (!rc && f->members && f->end > f->at && f->in[f->at] == 0) {
		f->at++;
		rc = need(f, 2, err);
	}
	if (rc)
		return rc;
	f->place = OVER;
	if (f->members && !magic_at(f)) {
		f->trailing = f->end > f->at;
		return 0;
	}
	f->place = INSIDE;
	f->members++;
	(void)inflateReset(&f->z); /* it is one that inflateInit2 made */
	return 0;
}

static int damaged(const struct convert_feed *f, struct vhd_err *err)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_PACKED, here(f),
			"damaged gzip data (%s) at offset %llu of it",
			f->z.msg ? f->z.msg : "it makes no sense",
			(unsigned long long)here(f));
}

static int inside(struct convert_feed *f, uint8_t *buf, size_t len,
		  size_t *done, struct vhd_err *err)
{
	int rc = need(f, 1, err);

	if (rc)
		return rc;
	if (f->at == f->end)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SHORT_IO, here(f),
				"the gzip data ends too early, at offset %llu "
				"of it",
				(unsigned long long)here(f));
	f->z.next_in = f->in + f->at;
	f->z.avail_in = (uInt)(f->end - f->at);
	f->z.next_out = buf;
	f->z.avail_out = (uInt)len;
	rc = inflate(&f->z, Z_NO_FLUSH);
	f->at = f->end - f->z.avail_in;
	*done = len - f->z.avail_out;
	if (rc == Z_STREAM_END)
		f->place = BETWEEN;
	else if (rc == Z_MEM_ERROR)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory for zlib");
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		return damaged(f, err);
	return 0;
}

/* Some bytes, none at the end. */
static int64_t some(struct convert_feed *f, uint8_t *buf, size_t len,
		    struct vhd_err *err)
{
	size_t done = 0;
	int rc = 0;

	if (f->place == PLAIN && f->end > f->at) {
		done = f->end - f->at < len ? f->end - f->at : len;
		memcpy(buf, f->in + f->at, done);
		f->at += done;
		return (int64_t)done;
	}
	if (f->place == PLAIN)
		return f->eof ? 0 : fd_read(f, buf, len, err);
	while (!rc && !done && f->place != OVER)
		rc = f->place == BETWEEN ? begin_member(f, err)
					 : inside(f, buf, len, &done, err);
	return rc ? rc : (int64_t)done;
}

int64_t convert_feed_read(struct convert_feed *f, uint8_t *buf, size_t len,
			  struct vhd_err *err)
{
	size_t done = f->head_len - f->head_at;

	if (done > len)
		done = len;
	memcpy(buf, f->head + f->head_at, done);
	f->head_at += done;
	while (done < len) {
		int64_t n = some(f, buf + done, len - done, err);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}
