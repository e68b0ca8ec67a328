/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream as a source: one thread reads (and inflates) into the pieces that
 * the copy hands over, in order. Where the stream may be a fixed disk, its
 * last sector is always kept back until more comes, because at the end it may
 * be the footer. That and the stream's first bytes are then judged by the
 * library, in a file in memory that is hollow in between: the same rules as
 * for a file.
 *
 * Threads: pieces and what is told of them are under the lock. The thread waits
 * for bytes or `stop_fd`, so that it ends though a pipe stays silent.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stream.h"

#define TAIL_BYTES VHD_SECTOR_BYTES

struct convert_stream {
	struct convert_source source;
	struct convert_feed *feed;
	enum vhd_format from;
	bool verbatim;
	uint64_t told_bytes; /* size of the disk by --size, or UNKNOWN */
	int event_fd;
	int stop_fd;
	pthread_t thread;
	bool running;

	pthread_mutex_t lock;
	pthread_cond_t change;
	struct convert_io *todo; /* in order */
	struct convert_io *todo_last;
	struct convert_io *done;
	struct convert_io *done_last;
	bool stop;
	bool ended;          /* all of the disk was delivered */
	uint64_t size_bytes; /* ... and it was so large */
	struct vhd_err err;  /* why the thread gave up; code 0: it did not */

	/* the thread's */
	uint64_t sent_bytes; /* delivered */
	bool over;           /* the feed is at its end */
	size_t head_len;     /* of the stream's first bytes */
	size_t tail_len;     /* read, not delivered */
	uint8_t head[CONVERT_HEAD_BYTES];
	uint8_t tail[TAIL_BYTES];
	enum vhd_format verdict;
	char why[120];
	uint8_t room[CONVERT_UNIT_BYTES + TAIL_BYTES];
};

/* --------------------------------------------------------------- the end -- */

static int memory_write(int fd, const void *buf, size_t len, uint64_t off)
{
	return len && pwrite(fd, buf, len, (off_t)off) != (ssize_t)len ? -1 : 0;
}

/* The beginning and the end of the stream in a file of its length. */
static int hollow_make(const struct convert_stream *s, uint64_t len,
		       const uint8_t *end, size_t end_len)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);
	size_t head = s->head_len < len ? s->head_len : (size_t)len;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)len) < 0 ||
	    memory_write(fd, s->head, head, 0) < 0 ||
	    memory_write(fd, end, end_len, len - end_len) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A stream of `len` bytes that ends in these: how much of it is disk. */
static int judge(struct convert_stream *s, uint64_t len, const uint8_t *end,
		 size_t end_len, uint64_t *disk, struct vhd_err *err)
{
	const struct vhd_open_opts how = { .format = s->from };
	const struct vhd_info *info;
	struct vhd *img;
	char path[32];
	int fd, rc;

	fd = hollow_make(s, len, end, end_len);
	if (fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot look at its end: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = vhd_open(path, &how, &img, err);
	if (rc) {
		cli_strip_path(err, path);
		close(fd);
		return rc;
	}
	info = vhd_get_info(img);
	s->verdict = info->format;
	if (info->probed)
		snprintf(s->why, sizeof(s->why), "%s", info->probe);
	*disk = info->size_bytes;
	vhd_abandon(img);
	close(fd);
	return 0;
}

/* All of the stream is here but for what was delivered: `have` bytes in `buf`,
 * which has room for TAIL_BYTES more. Deliver at most `len` of them; the rest
 * stays behind for the next piece.
 */
static int64_t deliver_end(struct convert_stream *s, uint8_t *buf, size_t have,
			   size_t len, struct vhd_err *err)
{
	size_t end_len = have < TAIL_BYTES ? have : TAIL_BYTES;
	uint64_t total = s->sent_bytes + have, disk = total, left;
	int rc = 0;

	if (!s->over && !s->verbatim)
		rc = judge(s, total, buf + have - end_len, end_len, &disk,
			   err);
	else if (s->over)
		disk = s->size_bytes;
	if (rc)
		return rc;
	s->over = true;
	left = disk - s->sent_bytes;
	if (left > len) {
		s->tail_len = (size_t)left - len;
		memcpy(s->tail, buf + len, s->tail_len);
		left = len;
	} else {
		s->tail_len = 0;
	}
	pthread_mutex_lock(&s->lock);
	s->size_bytes = disk;
	s->ended = !s->tail_len;
	pthread_mutex_unlock(&s->lock);
	return (int64_t)left;
}

/* --------------------------------------------------------------- reading -- */

static void head_keep(struct convert_stream *s, const uint8_t *buf, size_t len)
{
	size_t n = CONVERT_HEAD_BYTES - s->head_len;

	if (n > len)
		n = len;
	memcpy(s->head + s->head_len, buf, n);
	s->head_len += n;
}

/* Of a disk whose end tells what it is. `buf` has TAIL_BYTES behind `len`. */
static int64_t read_open_end(struct convert_stream *s, uint8_t *buf,
			     size_t len, struct vhd_err *err)
{
	size_t had = s->tail_len, want = len + TAIL_BYTES - had;
	int64_t n;

	memcpy(buf, s->tail, had);
	if (s->over)
		return deliver_end(s, buf, had, len, err);
	n = convert_feed_read(s->feed, buf + had, want, err);
	if (n < 0)
		return n;
	head_keep(s, buf + had, (size_t)n);
	if ((size_t)n < want)
		return deliver_end(s, buf, had + (size_t)n, len, err);
	s->tail_len = TAIL_BYTES;
	memcpy(s->tail, buf + len, TAIL_BYTES);
	return (int64_t)len;
}

/* Of a disk whose size was told. */
static int64_t read_told(struct convert_stream *s, uint8_t *buf, size_t len,
			 struct vhd_err *err)
{
	uint64_t left = s->told_bytes - s->sent_bytes;
	uint8_t more;
	int64_t n;

	n = convert_feed_read(s->feed, buf, len < left ? len : (size_t)left,
			      err);
	if (n < 0)
		return n;
	if ((uint64_t)n < left && (size_t)n < len)
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"ends after %llu bytes, --size says %llu",
				(unsigned long long)(s->sent_bytes +
						     (uint64_t)n),
				(unsigned long long)s->told_bytes);
	if ((uint64_t)n < left)
		return n;
	left = (uint64_t)n;
	n = convert_feed_read(s->feed, &more, 1, err);
	if (n < 0)
		return n;
	if (n)
		return vhd_fail(err, -EINVAL, VHD_WHY_RANGE, 0,
				"goes on behind the %llu bytes of --size",
				(unsigned long long)s->told_bytes);
	s->verdict = VHD_FORMAT_RAW;
	pthread_mutex_lock(&s->lock);
	s->size_bytes = s->told_bytes;
	s->ended = true;
	pthread_mutex_unlock(&s->lock);
	return (int64_t)left;
}

static struct convert_io *todo_take(struct convert_stream *s)
{
	struct convert_io *io;

	pthread_mutex_lock(&s->lock);
	while (!s->todo && !s->stop)
		pthread_cond_wait(&s->change, &s->lock);
	io = s->stop ? NULL : s->todo;
	if (io)
		s->todo = io->next_;
	pthread_mutex_unlock(&s->lock);
	return io;
}

static void done_put(struct convert_stream *s, struct convert_io *io,
		     const struct vhd_err *err)
{

	io->next_ = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->done)
		s->done_last->next_ = io;
	else
		s->done = io;
	s->done_last = io;
	if (err->code)
		s->err = *err;
	pthread_mutex_unlock(&s->lock);
	convert_wake(s->event_fd);
}

static void fill(struct convert_stream *s, struct convert_io *io,
		 struct vhd_err *err)
{
	int64_t n = 0;

	io->result = 0;
	if (s->ended) /* only this thread sets it */
		n = 0;
	else if (s->told_bytes != CONVERT_SIZE_UNKNOWN)
		n = read_told(s, io->buf, io->len_bytes, err);
	else
		n = read_open_end(s, s->room, io->len_bytes, err);
	if (n > 0 && s->told_bytes == CONVERT_SIZE_UNKNOWN)
		memcpy(io->buf, s->room, (size_t)n);
	if (n < 0)
		io->result = (int)n;
	io->len_bytes = n < 0 ? 0 : (uint64_t)n;
	s->sent_bytes += io->len_bytes;
}

static void *stream_run(void *arg)
{
	struct convert_stream *s = arg;
	struct vhd_err err = { 0 };
	struct convert_io *io;

	while ((io = todo_take(s))) {
		/* After a failure nothing more is read. */
		if (err.code) {
			io->result = err.code;
			io->len_bytes = 0;
		} else {
			fill(s, io, &err);
		}
		done_put(s, io, &err);
	}
	return NULL;
}

/* ---------------------------------------------------------------- source -- */

static struct convert_stream *stream_of(struct convert_source *s)
{
	return (struct convert_stream *)s;
}

static int source_next(struct convert_source *source, uint64_t unit_bytes,
		       uint64_t *off_bytes, uint64_t *len_bytes,
		       struct vhd_err *err)
{
	struct convert_stream *s = stream_of(source);
	uint64_t left = source->size_bytes - *off_bytes;
	bool ended;

	(void)err;
	pthread_mutex_lock(&s->lock);
	ended = s->ended;
	pthread_mutex_unlock(&s->lock);
	*len_bytes = unit_bytes - (*off_bytes & (unit_bytes - 1));
	if (*len_bytes > left)
		*len_bytes = left;
	if (ended && s->told_bytes == CONVERT_SIZE_UNKNOWN)
		*len_bytes = 0;
	return 0;
}

static void source_read(struct convert_source *source, struct convert_io *io)
{
	struct convert_stream *s = stream_of(source);

	io->next_ = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->todo)
		s->todo_last->next_ = io;
	else
		s->todo = io;
	s->todo_last = io;
	pthread_cond_signal(&s->change);
	pthread_mutex_unlock(&s->lock);
}

static void source_turn(struct convert_source *source)
{
	struct convert_stream *s = stream_of(source);
	struct convert_io *done;
	struct vhd_err err;
	uint64_t count;

	if (read(s->event_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&s->lock);
	done = s->done;
	s->done = NULL;
	err = s->err;
	if (s->ended)
		source->size_bytes = s->size_bytes;
	pthread_mutex_unlock(&s->lock);
	if (err.code)
		convert_fault(source->job, source->path, err.code, err.why,
			      "%s", err.text);
	while (done) {
		struct convert_io *io = done;

		done = io->next_;
		io->done(io);
	}
}

/* The thread may be writing into a piece that is about to go. */
static void source_drain(struct convert_source *source)
{
	struct convert_stream *s = stream_of(source);
	struct convert_io *io;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->change);
	pthread_mutex_unlock(&s->lock);
	if (s->running) {
		convert_wake(s->stop_fd);
		pthread_join(s->thread, NULL);
	}
	s->running = false;
	source_turn(source);
	while ((io = s->todo)) {
		s->todo = io->next_;
		io->result = -ECANCELED;
		io->done(io);
	}
}

static const struct convert_source_ops source_ops = {
	.next = source_next,
	.read = source_read,
	.turn = source_turn,
	.drain = source_drain,
};

struct convert_source *convert_stream_source(struct convert_stream *s)
{
	return &s->source;
}

enum vhd_format convert_stream_verdict(const struct convert_stream *s,
				       const char **why)
{
	*why = s->why;
	return s->verdict;
}

bool convert_stream_trailing(const struct convert_stream *s)
{
	return convert_feed_trailing(s->feed);
}

int convert_stream_open(struct convert_stream **out, struct convert_job *job,
			const char *path,
			const struct convert_stream_opts *opts,
			struct vhd_err *err)
{
	struct convert_stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s) {
		convert_feed_close(opts->feed);
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	}
	s->source = (struct convert_source){
		.ops = &source_ops,
		.job = job,
		.path = path,
		.size_bytes = opts->size_bytes,
		.streams = true,
	};
	s->feed = opts->feed;
	s->from = opts->from;
	s->verbatim = opts->verbatim;
	s->told_bytes = opts->size_bytes;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->change, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = s->event_fd < 0 || s->stop_fd < 0
		     ? vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot make an event: %s", strerror(errno))
		     : convert_watch(job, s->event_fd, EPOLLIN, err);
	convert_feed_heed(s->feed, s->stop_fd);
	if (!rc) {
		rc = -pthread_create(&s->thread, NULL, stream_run, s);
		s->running = !rc;
		if (rc)
			vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
				 "cannot start a thread: %s", strerror(-rc));
	}
	if (rc)
		convert_stream_close(s);
	else
		*out = s;
	return rc;
}

void convert_stream_close(struct convert_stream *s)
{
	if (!s)
		return;
	source_drain(&s->source);
	if (s->event_fd >= 0) {
		convert_unwatch(s->source.job, s->event_fd);
		close(s->event_fd);
	}
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
	convert_feed_close(s->feed);
	free(s);
}
