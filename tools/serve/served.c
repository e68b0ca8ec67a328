/* SPDX-License-Identifier: BSD-2-Clause */
/* See served.h. Invariant: a lane is either in the pool or with one call.
 * With O_DIRECT the callers' buffers, which are aligned to nothing, are not
 * what the kernel sees: bytes pass through a buffer of the lane.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "served.h"

/* A lane carries one request, which the sync engine does piece by piece. */
#define LANE_DEPTH   16u
#define BOUNCE_ALIGN 4096u
#define BOUNCE_BYTES (1u << 20)
#define ZERO_BYTES   (1u << 20)

struct lane {
	struct vhd_queue *queue;
	uint8_t *bounce; /* only with O_DIRECT */
	struct lane *next;
};

struct served {
	struct vhd *img;
	bool direct;
	pthread_mutex_t lock; /* of the pool */
	struct lane *pool;
};

/* ---------------------------------------------------------------- lanes -- */

static void lane_free(struct lane *lane)
{
	vhd_queue_destroy(lane->queue);
	free(lane->bounce);
	free(lane);
}

static int lane_make(struct served *s, struct lane **out, struct vhd_err *err)
{
	static const struct vhd_queue_opts opts = {
		.engine = VHD_ENGINE_SYNC,
		.depth = LANE_DEPTH,
	};
	struct lane *lane = calloc(1, sizeof(*lane));
	int rc = 0;

	if (lane && s->direct)
		lane->bounce = aligned_alloc(BOUNCE_ALIGN, BOUNCE_BYTES);
	if (!lane || (s->direct && !lane->bounce))
		rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
	if (!rc)
		rc = vhd_queue_create(&opts, &lane->queue, err);
	if (!rc)
		rc = vhd_queue_attach(lane->queue, s->img, err);
	if (!rc)
		*out = lane;
	else if (lane)
		lane_free(lane);
	return rc;
}

static int lane_get(struct served *s, struct lane **out, struct vhd_err *err)
{
	struct lane *lane;

	pthread_mutex_lock(&s->lock);
	lane = s->pool;
	if (lane)
		s->pool = lane->next;
	pthread_mutex_unlock(&s->lock);
	if (!lane)
		return lane_make(s, out, err);
	*out = lane;
	return 0;
}

static void lane_put(struct served *s, struct lane *lane)
{
	pthread_mutex_lock(&s->lock);
	lane->next = s->pool;
	s->pool = lane;
	pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------- requests -- */

static int req_run(struct lane *lane, struct vhd_req *req, struct vhd_err *err)
{
	static const char *const did[] = {
		[VHD_OP_READ] = "read",
		[VHD_OP_WRITE] = "write",
		[VHD_OP_FLUSH] = "flush",
	};
	struct vhd_req *done = NULL;

	vhd_queue_submit(lane->queue, req);
	while (!vhd_queue_reap(lane->queue, &done, 1))
		(void)vhd_queue_wait(lane->queue, -1, -1);
	if (!req->result)
		return 0;
	if (req->op == VHD_OP_FLUSH)
		return vhd_fail(err, req->result, req->why, 0,
				"cannot flush: %s", strerror(-req->result));
	return vhd_fail(err, req->result, req->why, 0,
			"cannot %s sector %llu: %s", did[req->op],
			(unsigned long long)req->bad_lba,
			strerror(-req->result));
}

static int transfer(struct served *s, struct lane *lane, enum vhd_op op,
		    struct iovec iov, uint64_t off_bytes, uint32_t flags,
		    struct vhd_err *err)
{
	struct vhd_req req = {
		.img = s->img,
		.op = op,
		.flags = flags,
		.lba = off_bytes / VHD_SECTOR_BYTES,
		.iov = &iov,
		.iov_count = 1,
	};

	if (off_bytes % VHD_SECTOR_BYTES || iov.iov_len % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%zu bytes at %llu are not whole sectors of "
				"512",
				iov.iov_len, (unsigned long long)off_bytes);
	return req_run(lane, &req, err);
}

/* The same in pieces through the lane's own buffer. */
static int bounce(struct served *s, struct lane *lane, enum vhd_op op,
		  struct iovec iov, uint64_t off_bytes, uint32_t flags,
		  struct vhd_err *err)
{
	uint8_t *at = iov.iov_base;
	size_t left = iov.iov_len;
	int rc = 0;

	while (!rc && left) {
		size_t n = left < BOUNCE_BYTES ? left : BOUNCE_BYTES;
		struct iovec piece = {lane->bounce, n};

		if (op == VHD_OP_WRITE)
			memcpy(lane->bounce, at, n);
		rc = transfer(s, lane, op, piece, off_bytes, flags, err);
		if (!rc && op == VHD_OP_READ)
			memcpy(at, lane->bounce, n);
		at += n;
		off_bytes += n;
		left -= n;
	}
	return rc;
}

static int move(struct served *s, enum vhd_op op, struct iovec iov,
		uint64_t off_bytes, uint32_t flags, struct vhd_err *err)
{
	struct lane *lane;
	int rc = lane_get(s, &lane, err);

	if (rc)
		return rc;
	rc = (s->direct ? bounce : transfer)(s, lane, op, iov, off_bytes,
					     flags, err);
	lane_put(s, lane);
	return rc;
}

int served_read(struct served *s, void *buf, size_t len, uint64_t off_bytes,
		struct vhd_err *err)
{
	return move(s, VHD_OP_READ, (struct iovec){buf, len}, off_bytes, 0,
		    err);
}

int served_write(struct served *s, const void *buf, size_t len,
		 uint64_t off_bytes, uint32_t flags, struct vhd_err *err)
{
	/* The library only reads what is to be written. */
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return move(s, VHD_OP_WRITE, iov, off_bytes, flags, err);
}

int served_flush(struct served *s, struct vhd_err *err)
{
	struct vhd_req req = {.img = s->img, .op = VHD_OP_FLUSH};
	struct lane *lane;
	int rc = lane_get(s, &lane, err);

	if (rc)
		return rc;
	rc = req_run(lane, &req, err);
	lane_put(s, lane);
	return rc;
}

static int zero_run(struct served *s, uint64_t lba, uint64_t left,
		    uint32_t flags, uint64_t *n, struct vhd_err *err)
{
	static const uint8_t zeros[ZERO_BYTES];
	int rc = vhd_zero(s->img, lba, left, n, err);

	if (rc != -EOPNOTSUPP || flags & SERVED_FAST)
		return rc;
	if (flags & SERVED_WISH)
		return 0;
	if (*n > ZERO_BYTES / VHD_SECTOR_BYTES)
		*n = ZERO_BYTES / VHD_SECTOR_BYTES;
	return served_write(s, zeros, (size_t)*n * VHD_SECTOR_BYTES,
			    lba * VHD_SECTOR_BYTES, 0, err);
}

int served_zero(struct served *s, uint64_t len, uint64_t off_bytes,
		uint32_t flags, struct vhd_err *err)
{
	uint64_t lba = off_bytes / VHD_SECTOR_BYTES;
	uint64_t left = len / VHD_SECTOR_BYTES;

	if ((off_bytes | len) % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu bytes at %llu are not whole sectors of "
				"512",
				(unsigned long long)len,
				(unsigned long long)off_bytes);
	while (left) {
		uint64_t n = left;
		int rc = zero_run(s, lba, left, flags, &n, err);

		if (rc)
			return rc;
		lba += n;
		left -= n;
	}
	return 0;
}

/* ------------------------------------------------------------ lifecycle -- */

struct vhd *served_image(struct served *s)
{
	return s->img;
}

int served_open(const char *path, const struct vhd_open_opts *opts,
		struct served **out, struct vhd_err *err)
{
	struct served *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	s->direct = opts->direct;
	rc = vhd_open(path, opts, &s->img, err);
	if (rc) {
		free(s);
		return rc;
	}
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

static void served_free(struct served *s)
{
	while (s->pool) {
		struct lane *lane = s->pool;

		s->pool = lane->next;
		lane_free(lane);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int served_close(struct served *s, struct vhd_err *err)
{
	struct vhd *img;

	if (!s)
		return 0;
	img = s->img;
	served_free(s);
	return vhd_close(img, err);
}

void served_abandon(struct served *s)
{
	struct vhd *img = s ? s->img : NULL;

	if (s)
		served_free(s);
	vhd_abandon(img);
}
