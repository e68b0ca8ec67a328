/* SPDX-License-Identifier: BSD-2-Clause */
/* NBD exports as source and sink.
 *
 * Source: what the server calls zero (block status, base:allocation) is not
 * read. A hole that it does not call zero has any content, so it is.
 *
 * Sink: an export may hold something already, so what the disk has as zero is
 * written as zero: with WRITE_ZEROES where the server can, which may unmap
 * but must read back as zero (TRIM promises nothing of the kind and is not
 * used). An export that is all zero beforehand needs none of that. Behind the
 * disk's end the export stays as it is.
 */
#include <errno.h>
#include <stdlib.h>

#include "nbd.h"

/* One question about zeros covers at most this. */
#define STATUS_BYTES (1u << 30)
/* One request to zero. */
#define ZERO_BYTES (128u << 20)

/* --------------------------------------------------------------- extents -- */

static int status_take(void *user, const char *context, uint64_t off,
		       uint32_t *entries, size_t count, int *error)
{
	struct convert_nbd_extents *x = user;

	(void)context;
	(void)off;
	(void)error;
	for (size_t i = 0; i + 1 < count; i += 2) {
		bool zero = entries[i + 1] & LIBNBD_STATE_ZERO;

		if (x->count && x->extent[x->count - 1].zero == zero) {
			x->extent[x->count - 1].len_bytes += entries[i];
			continue;
		}
		if (x->count == CONVERT_NBD_EXTENTS_MAX)
			return 0; /* the rest is asked for later */
		x->extent[x->count].len_bytes = entries[i];
		x->extent[x->count++].zero = zero;
	}
	return 0;
}

static int status_over(void *user, int *error)
{
	struct convert_nbd_extents *x = user;

	x->error = *error;
	return 1;
}

static void status_free(void *user)
{
	((struct convert_nbd_extents *)user)->answered = true;
}

static int ask(struct convert_nbd_extents *x, uint64_t at, struct vhd_err *err)
{
	struct convert_nbd *n = x->n;
	uint64_t left = n->size_bytes - at;
	nbd_extent_callback take = { .callback = status_take, .user_data = x };
	nbd_completion_callback over = {
		.callback = status_over,
		.user_data = x,
		.free = status_free,
	};
	int rc = 0;

	x->asked_bytes = x->last_bytes = at;
	x->count = x->last = 0;
	x->answered = false;
	x->error = ENOTCONN; /* unless there is an answer */
	if (nbd_aio_block_status(n->conn[0].h,
				 left < STATUS_BYTES ? left : STATUS_BYTES, at,
				 take, over, 0) < 0)
		return convert_nbd_fail(n, VHD_WHY_IO,
					"cannot ask where data is", err);
	n->in_flight++;
	while (!x->answered && !rc)
		rc = convert_nbd_wait(n, err);
	if (!x->answered)
		convert_nbd_drain(n); /* the question points to `x` */
	else
		n->in_flight--;
	if (rc || !x->error)
		return rc;
	n->job->blame = n->path;
	return vhd_fail(err, -x->error, VHD_WHY_IO, 0,
			"cannot learn where there is data at disk offset %llu",
			(unsigned long long)at);
}

/* Within the last answer: which extent `at` is in. */
static bool find(struct convert_nbd_extents *x, uint64_t at)
{
	if (at < x->last_bytes) {
		x->last = 0;
		x->last_bytes = x->asked_bytes;
	}
	if (at < x->last_bytes)
		return false;
	while (x->last < x->count &&
	       at - x->last_bytes >= x->extent[x->last].len_bytes)
		x->last_bytes += x->extent[x->last++].len_bytes;
	return x->last < x->count;
}

int convert_nbd_zero_at(struct convert_nbd_extents *x, uint64_t at,
			bool *zero, uint64_t *until, struct vhd_err *err)
{
	struct convert_nbd *n = x->n;
	int rc = 0;

	*zero = false;
	*until = n->size_bytes;
	if (!n->knows_zeros)
		return 0;
	if (!find(x, at)) {
		rc = ask(x, at & ~(uint64_t)(n->min_bytes - 1), err);
		/* A server that says nothing is read. */
		if (rc || !find(x, at))
			return rc;
	}
	*zero = x->extent[x->last].zero;
	*until = x->last_bytes + x->extent[x->last].len_bytes;
	if (*until > n->size_bytes)
		*until = n->size_bytes;
	return 0;
}

/* ---------------------------------------------------------------- source -- */

static struct convert_nbd_source *source_of(struct convert_source *s)
{
	return (struct convert_nbd_source *)s;
}

/* Skip zeros from `at`: the place of the first byte that may be none, at most
 * `end`; or, with `zero` false, of the first that is.
 */
static int skip(struct convert_nbd_extents *x, bool zero, uint64_t end,
		uint64_t *at, struct vhd_err *err)
{
	while (*at < end) {
		uint64_t until;
		bool is;
		int rc = convert_nbd_zero_at(x, *at, &is, &until, err);

		if (rc || is != zero)
			return rc;
		*at = until;
	}
	return 0;
}

static int source_next(struct convert_source *source, uint64_t unit_bytes,
		       uint64_t *off_bytes, uint64_t *len_bytes,
		       struct vhd_err *err)
{
	struct convert_nbd_source *s = source_of(source);
	uint64_t mask = (s->nbd.min_bytes > CONVERT_GRAIN_BYTES
				 ? s->nbd.min_bytes
				 : CONVERT_GRAIN_BYTES) -
			1;
	uint64_t floor = *off_bytes, at = floor, end;
	int rc;

	*len_bytes = 0;
	rc = skip(&s->extents, true, source->size_bytes, &at, err);
	if (rc || at >= source->size_bytes)
		return rc;
	*off_bytes = at & ~mask;
	if (*off_bytes < floor)
		*off_bytes = floor;
	end = (*off_bytes | (unit_bytes - 1)) + 1;
	if (end > source->size_bytes)
		end = source->size_bytes;
	rc = skip(&s->extents, false, end, &at, err);
	if (rc)
		return rc;
	at = (at + mask) & ~mask;
	*len_bytes = (at < end ? at : end) - *off_bytes;
	return 0;
}

static void source_read(struct convert_source *s, struct convert_io *io)
{
	convert_nbd_read(&source_of(s)->nbd, io);
}

static void source_turn(struct convert_source *s)
{
	convert_nbd_turn(&source_of(s)->nbd);
}

static void source_drain(struct convert_source *s)
{
	convert_nbd_drain(&source_of(s)->nbd);
}

static void source_close(struct convert_source *s)
{
	convert_nbd_close(&source_of(s)->nbd);
	convert_qemu_stop(&source_of(s)->qemu);
}

static const struct convert_source_ops source_ops = {
	.next = source_next,
	.read = source_read,
	.turn = source_turn,
	.drain = source_drain,
	.close = source_close,
};

static int source_connect(struct convert_nbd_source *s,
			  struct convert_job *job, const char *path,
			  const char *format, struct vhd_err *err)
{
	int rc;

	if (!format)
		return convert_nbd_open(&s->nbd, job, path, path, NULL, err);
	rc = convert_qemu_start(&s->qemu, format, path, err);
	if (rc)
		return rc;
	rc = convert_nbd_open(&s->nbd, job, path, NULL, &s->qemu, err);
	if (rc && rc != -EINTR)
		convert_qemu_explain(&s->qemu, err);
	return rc;
}

int convert_nbd_source_open(struct convert_nbd_source *s,
			    struct convert_job *job, const char *path,
			    const char *format, struct vhd_err *err)
{
	int rc;

	*s = (struct convert_nbd_source){
		.source = { .ops = &source_ops, .job = job, .path = path },
		.qemu = { .said_fd = -1 },
	};
	for (unsigned i = 0; i < CONVERT_NBD_CONNS_MAX; i++)
		s->qemu.fds[i] = -1;
	job->blame = path;
	rc = source_connect(s, job, path, format, err);
	s->extents.n = &s->nbd;
	s->source.size_bytes = s->nbd.size_bytes;
	if (!rc && !s->nbd.size_bytes)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ZERO, 0,
			      "is an export of 0 bytes");
	else if (!rc && s->nbd.size_bytes % VHD_SECTOR_BYTES)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ALIGN, 0,
			      "is an export of %llu bytes, which is no "
			      "multiple of 512",
			      (unsigned long long)s->nbd.size_bytes);
	if (rc)
		source_close(&s->source);
	return rc;
}

/* ------------------------------------------------------------------ sink -- */

static struct convert_nbd_sink *sink_of(struct convert_sink *s)
{
	return (struct convert_nbd_sink *)s;
}

static void zero_done(struct convert_io *io)
{
	struct convert_nbd_sink *s = io->user;

	io->next_ = s->free;
	s->free = io;
}

/* Send what makes zero of [pos, to). False: some of it has to wait. */
static bool zero_to(struct convert_nbd_sink *s, uint64_t to)
{
	uint64_t most = s->nbd.can_zero ? ZERO_BYTES : CONVERT_UNIT_BYTES;

	if (s->blank && s->pos_bytes < to)
		s->pos_bytes = to;
	while (s->pos_bytes < to && s->free) {
		struct convert_io *io = s->free;
		uint64_t len = to - s->pos_bytes;

		s->free = io->next_;
		*io = (struct convert_io){
			.off_bytes = s->pos_bytes,
			.len_bytes = len < most ? len : most,
			.buf = s->zeros,
			.done = zero_done,
			.user = s,
		};
		s->pos_bytes += io->len_bytes;
		if (s->nbd.can_zero)
			convert_nbd_zero(&s->nbd, io);
		else
			convert_nbd_write(&s->nbd, io);
	}
	return s->pos_bytes >= to;
}

/* Send the pieces whose zeros in front are on their way. */
static void send_on(struct convert_nbd_sink *s)
{
	while (s->first && zero_to(s, s->first->off_bytes)) {
		struct convert_io *io = s->first;

		s->first = io->next_;
		s->pos_bytes = io->off_bytes + io->len_bytes;
		convert_nbd_write(&s->nbd, io);
	}
}

static bool sink_room(struct convert_sink *s)
{
	return !sink_of(s)->first;
}

static void sink_write(struct convert_sink *sink, struct convert_io *io)
{
	struct convert_nbd_sink *s = sink_of(sink);

	if (io->off_bytes + io->len_bytes > s->nbd.size_bytes) {
		io->result = convert_fault(
			sink->job, sink->path, -ENOSPC, VHD_WHY_RANGE,
			"the export has only %llu bytes, the disk is larger",
			(unsigned long long)s->nbd.size_bytes);
		io->done(io);
		return;
	}
	io->next_ = NULL;
	if (s->first)
		s->last->next_ = io;
	else
		s->first = io;
	s->last = io;
	send_on(s);
}

static void sink_turn(struct convert_sink *s)
{
	convert_nbd_turn(&sink_of(s)->nbd);
	send_on(sink_of(s));
}

static int sink_finish(struct convert_sink *sink, uint64_t size_bytes,
		       struct vhd_err *err)
{
	struct convert_nbd_sink *s = sink_of(sink);
	int rc = 0;

	if (size_bytes > s->nbd.size_bytes)
		return vhd_fail(err, -ENOSPC, VHD_WHY_RANGE, 0,
				"the export has only %llu bytes, the disk "
				"%llu",
				(unsigned long long)s->nbd.size_bytes,
				(unsigned long long)size_bytes);
	while (!rc && (!zero_to(s, size_bytes) || s->nbd.in_flight)) {
		rc = convert_nbd_wait(&s->nbd, err);
		if (!rc)
			rc = convert_faulted(sink->job, err);
	}
	if (!rc && s->flush && s->nbd.can_flush)
		rc = convert_nbd_flush(&s->nbd, err);
	return rc;
}

static void sink_drain(struct convert_sink *sink)
{
	struct convert_nbd_sink *s = sink_of(sink);

	convert_nbd_drain(&s->nbd);
	for (struct convert_io *io; (io = s->first);) {
		s->first = io->next_;
		io->result = -ECANCELED;
		io->done(io);
	}
}

static void sink_close(struct convert_sink *s)
{
	convert_nbd_close(&sink_of(s)->nbd);
	free(sink_of(s)->zeros);
	sink_of(s)->zeros = NULL;
}

static const struct convert_sink_ops sink_ops = {
	.room = sink_room,
	.write = sink_write,
	.finish = sink_finish,
	.turn = sink_turn,
	.drain = sink_drain,
	.close = sink_close,
};

/* Is all of the export known to be zero? */
static int blank(struct convert_nbd_sink *s, struct vhd_err *err)
{
	struct convert_nbd_extents *x = calloc(1, sizeof(*x));
	uint64_t at = 0;
	int rc = 0;

	if (!x)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	x->n = &s->nbd;
	rc = skip(x, true, s->nbd.size_bytes, &at, err);
	s->blank = at >= s->nbd.size_bytes;
	free(x);
	return rc;
}

static int sink_check(const struct convert_nbd_sink *s, uint64_t size_bytes,
		      struct vhd_err *err)
{
	if (s->nbd.read_only)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the server lets this export only be read");
	if (size_bytes != CONVERT_SIZE_UNKNOWN &&
	    size_bytes > s->nbd.size_bytes)
		return vhd_fail(err, -ENOSPC, VHD_WHY_RANGE, 0,
				"the export has %llu bytes, the disk %llu: "
				"make it at least as large",
				(unsigned long long)s->nbd.size_bytes,
				(unsigned long long)size_bytes);
	return 0;
}

int convert_nbd_sink_open(struct convert_nbd_sink *s, struct convert_job *job,
			  const char *uri, uint64_t size_bytes, bool sync,
			  struct vhd_err *err)
{
	int rc;

	*s = (struct convert_nbd_sink){
		.sink = { .ops = &sink_ops, .job = job, .path = uri },
		.flush = sync,
	};
	rc = convert_nbd_open(&s->nbd, job, uri, uri, NULL, err);
	if (!rc)
		rc = sink_check(s, size_bytes, err);
	if (!rc)
		rc = blank(s, err);
	if (!rc && !s->nbd.can_zero && !s->blank) {
		s->zeros = calloc(1, CONVERT_UNIT_BYTES);
		if (!s->zeros)
			rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				      "out of memory");
	}
	s->sink.grain_bytes = s->nbd.min_bytes > CONVERT_GRAIN_BYTES
				      ? s->nbd.min_bytes
				      : CONVERT_GRAIN_BYTES;
	for (unsigned i = 0; i < CONVERT_NBD_ZEROS_MAX; i++) {
		s->zero[i].user = s;
		zero_done(&s->zero[i]);
	}
	if (rc)
		sink_close(&s->sink);
	return rc;
}
