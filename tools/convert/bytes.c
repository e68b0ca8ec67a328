/* SPDX-License-Identifier: BSD-2-Clause */
/* The way out of a stream: a ring of parts. The copying thread fills them, any
 * of the packing threads compresses one (or nobody does, for bytes as they
 * are), the writing thread writes them in order. A run of zeros is a part
 * with nothing but a length.
 *
 *   head: being filled   ... queued ... packing ... ready ...   tail: written
 *
 * Threads: everything below `lock` is under it; the bytes of a part belong to
 * whoever the part's state says. Where nobody reads a pipe the writing thread
 * would hang for ever: it never waits in write() but for room or `stop_fd`. The
 * pipe is opened anew for that, because O_NONBLOCK on a description that others
 * share would be theirs, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

#define PACKERS_MAX 16u
#define PARTS_MAX (2 * PACKERS_MAX + 4)
/* Runs of zeros are written in units of this. */
#define ZERO_BYTES CONVERT_PART_BYTES

enum state { EMPTY, QUEUED, PACKING, READY };

struct part {
	enum state state;
	bool zeros;
	uint64_t len;
	uint8_t *in;      /* CONVERT_DICT_BYTES of dictionary in front */
	size_t dict_len;
	uint8_t *packed;
	size_t packed_len;
	uint32_t crc;
};

struct convert_bytes {
	struct convert_job *job;
	const char *path;
	int fd;
	int level;
	int own_fd;           /* the same pipe, not blocking; or -1 */
	bool socket;
	int event_fd;
	int stop_fd;
	unsigned count;       /* of parts */
	uint8_t *memory;      /* of their buffers; owned */
	size_t memory_bytes;
	uint8_t *zeros;       /* in it: ZERO_BYTES of them */
	uint8_t *zeros_packed;
	size_t zeros_packed_len;
	unsigned packers;
	pthread_t packer[PACKERS_MAX];
	pthread_t writer;
	bool writing;         /* the thread is to be joined */

	/* the copying thread's */
	bool open;            /* the part at head is being filled */
	size_t dict_len;      /* the end of the last part */
	uint8_t dict[CONVERT_DICT_BYTES];

	pthread_mutex_t lock;
	pthread_cond_t change;
	struct part part[PARTS_MAX];
	uint64_t head;
	uint64_t next;        /* the next one to be packed */
	uint64_t tail;
	bool ended;           /* nothing comes behind head */
	bool written;         /* ... and all is written */
	bool stop;
	int error;            /* errno, of whichever thread */

	/* the writing thread's */
	uint32_t crc;
	uint64_t total;
};

static struct part *part_at(struct convert_bytes *b, uint64_t n)
{
	return &b->part[n % b->count];
}

static void tell(struct convert_bytes *b)
{
	convert_wake(b->event_fd);
}

static void fail(struct convert_bytes *b, int code)
{
	pthread_mutex_lock(&b->lock);
	if (!b->error)
		b->error = code;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
	tell(b);
}

/* --------------------------------------------------------------- packing -- */

static struct part *pack_take(struct convert_bytes *b)
{
	struct part *p = NULL;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		/* Runs of zeros are ready when they are queued. */
		if (b->next < b->tail)
			b->next = b->tail;
		while (b->next < b->head &&
		       part_at(b, b->next)->state != QUEUED)
			b->next++;
		if (b->stop || b->error || b->next < b->head || b->ended)
			break;
		pthread_cond_wait(&b->change, &b->lock);
	}
	if (!b->stop && !b->error && b->next < b->head) {
		p = part_at(b, b->next++);
		p->state = PACKING;
	}
	pthread_mutex_unlock(&b->lock);
	return p;
}

static void *pack_run(void *arg)
{
	struct convert_bytes *b = arg;
	struct convert_deflate *d = convert_deflate_open(b->level);
	struct part *p;

	if (!d)
		fail(b, ENOMEM);
	while (d && (p = pack_take(b))) {
		p->packed_len = convert_deflate_part(
			d, p->in - p->dict_len, p->dict_len, p->in, p->len,
			p->packed);
		p->crc = convert_crc(p->in, p->len);
		if (!p->packed_len) {
			fail(b, EIO);
			break;
		}
		pthread_mutex_lock(&b->lock);
		p->state = READY;
		pthread_cond_broadcast(&b->change);
		pthread_mutex_unlock(&b->lock);
	}
	convert_deflate_close(d);
	return NULL;
}

/* --------------------------------------------------------------- writing -- */

static ssize_t write_some(const struct convert_bytes *b, const uint8_t *at,
			  size_t len)
{
	if (b->socket)
		return send(b->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(b->own_fd >= 0 ? b->own_fd : b->fd, at, len);
}

/* ECANCELED: it was to stop while nobody took anything. */
static int write_all(struct convert_bytes *b, const uint8_t *at, size_t len)
{
	struct pollfd p[2] = {
		{ .fd = b->fd, .events = POLLOUT },
		{ .fd = b->stop_fd, .events = POLLIN },
	};

	while (len) {
		ssize_t n = write_some(b, at, len);

		if (n < 0 && errno == EAGAIN && poll(p, 2, -1) >= 0) {
			if (p[1].revents)
				return ECANCELED;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool stopped(struct convert_bytes *b)
{
	bool stop;

	pthread_mutex_lock(&b->lock);
	stop = b->stop;
	pthread_mutex_unlock(&b->lock);
	return stop;
}

/* The same packed zeros over and over. The rest of a run is short. */
static int write_zeros(struct convert_bytes *b, uint64_t len)
{
	const uint8_t *from = b->level ? b->zeros_packed : b->zeros;
	size_t each = b->level ? b->zeros_packed_len : ZERO_BYTES;
	int rc = 0;

	for (; !rc && len >= ZERO_BYTES && !stopped(b); len -= ZERO_BYTES)
		rc = write_all(b, from, each);
	return rc;
}

static int write_part(struct convert_bytes *b, const struct part *p)
{
	if (b->level) {
		uint32_t crc = p->zeros ? convert_crc_zeros(p->len) : p->crc;

		b->crc = convert_crc_join(b->crc, crc, p->len);
		b->total += p->len;
	}
	if (p->zeros)
		return write_zeros(b, p->len);
	return b->level ? write_all(b, p->packed, p->packed_len)
			: write_all(b, p->in, p->len);
}

static int write_head(struct convert_bytes *b)
{
	uint8_t head[CONVERT_GZIP_HEAD_BYTES];

	if (!b->level)
		return 0;
	convert_gzip_head(head, b->level);
	return write_all(b, head, sizeof(head));
}

static int write_tail(struct convert_bytes *b)
{
	uint8_t tail[CONVERT_GZIP_TAIL_BYTES];

	if (!b->level)
		return 0;
	convert_gzip_tail(tail, b->crc, b->total);
	return write_all(b, tail, sizeof(tail));
}

/* The next part to write; NULL: there is none any more. */
static struct part *write_take(struct convert_bytes *b)
{
	struct part *p = NULL;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		if (b->stop || b->error || (b->ended && b->tail == b->head))
			break;
		if (b->tail < b->head && part_at(b, b->tail)->state == READY) {
			p = part_at(b, b->tail);
			break;
		}
		pthread_cond_wait(&b->change, &b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return p;
}

static void write_over(struct convert_bytes *b, struct part *p)
{
	pthread_mutex_lock(&b->lock);
	p->state = EMPTY;
	b->tail++;
	pthread_mutex_unlock(&b->lock);
	tell(b);
}

static void *write_run(void *arg)
{
	struct convert_bytes *b = arg;
	struct part *p;
	bool over;
	int rc;

	rc = write_head(b);
	while (!rc && (p = write_take(b))) {
		rc = write_part(b, p);
		if (!rc)
			write_over(b, p);
	}
	pthread_mutex_lock(&b->lock);
	over = b->stop || b->error;
	pthread_mutex_unlock(&b->lock);
	if (!rc && !over)
		rc = write_tail(b);
	if (rc) {
		fail(b, rc);
		return NULL;
	}
	pthread_mutex_lock(&b->lock);
	b->written = !over;
	pthread_mutex_unlock(&b->lock);
	tell(b);
	return NULL;
}

/* --------------------------------------------------------------- filling -- */

/* The part being filled, or NULL when all are on their way. Only this thread
 * moves head, and nobody else touches an empty part.
 */
static struct part *filling(struct convert_bytes *b)
{
	struct part *p = part_at(b, b->head);

	if (b->open)
		return p;
	pthread_mutex_lock(&b->lock);
	if (b->head - b->tail == b->count)
		p = NULL;
	pthread_mutex_unlock(&b->lock);
	if (!p)
		return NULL;
	p->zeros = false;
	p->len = 0;
	p->dict_len = b->dict_len;
	memcpy(p->in - b->dict_len, b->dict, b->dict_len);
	b->open = true;
	return p;
}

static void queue(struct convert_bytes *b)
{
	struct part *p = part_at(b, b->head);

	b->dict_len = 0;
	if (b->level && !p->zeros && p->len >= CONVERT_DICT_BYTES) {
		b->dict_len = CONVERT_DICT_BYTES;
		memcpy(b->dict, p->in + p->len - b->dict_len, b->dict_len);
	}
	b->open = false;
	pthread_mutex_lock(&b->lock);
	p->state = p->zeros || !b->level ? READY : QUEUED;
	b->head++;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
}

/* Bytes, or zeros where there are none. */
static size_t put(struct convert_bytes *b, const uint8_t *bytes, size_t len)
{
	struct part *p = filling(b);

	if (!p)
		return 0;
	if (len > CONVERT_PART_BYTES - p->len)
		len = CONVERT_PART_BYTES - p->len;
	if (bytes)
		memcpy(p->in + p->len, bytes, len);
	else
		memset(p->in + p->len, 0, len);
	p->len += len;
	if (p->len == CONVERT_PART_BYTES)
		queue(b);
	return len;
}

size_t convert_bytes_put(struct convert_bytes *b, const void *bytes,
			 size_t len)
{
	size_t done = 0, n = 1;

	for (; n && done < len; done += n)
		n = put(b, (const uint8_t *)bytes + done, len - done);
	return done;
}

uint64_t convert_bytes_zeros(struct convert_bytes *b, uint64_t len)
{
	uint64_t done = 0, run;
	struct part *p;

	while (done < len) {
		size_t n = len - done < CONVERT_PART_BYTES
				   ? (size_t)(len - done)
				   : CONVERT_PART_BYTES;

		/* Whole runs go into a part of their own. */
		run = (len - done) / ZERO_BYTES * ZERO_BYTES;
		if (run && b->open && part_at(b, b->head)->len)
			queue(b);
		p = run ? filling(b) : NULL;
		if (run && !p)
			break;
		if (run) {
			p->zeros = true;
			p->len = run;
			queue(b);
			done += run;
			continue;
		}
		n = put(b, NULL, n);
		if (!n)
			break;
		done += n;
	}
	return done;
}

/* ----------------------------------------------------------- the threads -- */

void convert_bytes_turn(struct convert_bytes *b)
{
	uint64_t count;
	int code;

	if (read(b->event_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&b->lock);
	code = b->error;
	pthread_mutex_unlock(&b->lock);
	if (!code)
		return;
	convert_fault(b->job, b->path, -code,
		      code == ENOSPC || code == EDQUOT || code == EFBIG
			      ? VHD_WHY_NO_SPACE
		      : code == EPIPE  ? VHD_WHY_CANCELLED
		      : code == ENOMEM ? VHD_WHY_NOMEM
				       : VHD_WHY_IO,
		      "cannot write: %s",
		      code == EPIPE ? "whoever reads it has closed the pipe"
				    : strerror(code));
}

int convert_bytes_end(struct convert_bytes *b, struct vhd_err *err)
{
	bool written = false;
	int rc = 0;

	if (b->open && part_at(b, b->head)->len)
		queue(b);
	pthread_mutex_lock(&b->lock);
	b->ended = true;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
	for (;;) {
		pthread_mutex_lock(&b->lock);
		written = b->written;
		pthread_mutex_unlock(&b->lock);
		convert_bytes_turn(b);
		rc = convert_faulted(b->job, err);
		if (rc || written)
			return rc;
		rc = convert_wait(b->job, err);
		if (!rc && convert_interrupted(b->job, err))
			rc = -EINTR;
		if (rc)
			return rc;
	}
}

static void join(struct convert_bytes *b)
{

	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < b->packers; i++)
		pthread_join(b->packer[i], NULL);
	b->packers = 0;
	if (!b->writing)
		return;
	convert_wake(b->stop_fd);
	pthread_join(b->writer, NULL);
	b->writing = false;
}

void convert_bytes_close(struct convert_bytes *b)
{
	if (!b)
		return;
	join(b);
	if (b->event_fd >= 0) {
		convert_unwatch(b->job, b->event_fd);
		close(b->event_fd);
	}
	if (b->stop_fd >= 0)
		close(b->stop_fd);
	if (b->own_fd >= 0)
		close(b->own_fd);
	convert_buffers_free(b->memory, 1, b->memory_bytes);
	pthread_cond_destroy(&b->change);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static unsigned processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1
							    : CPU_COUNT(&set);

	return n < 1 ? 1 : n > (int)PACKERS_MAX ? PACKERS_MAX : (unsigned)n;
}

/* Each part's bytes behind room for a dictionary, then its packed ones; zeros,
 * plain and packed, at the end.
 */
static int memory_make(struct convert_bytes *b, struct vhd_err *err)
{
	size_t packed = b->level ? CONVERT_PACKED_BYTES : 0;
	size_t each = CONVERT_DICT_BYTES + CONVERT_PART_BYTES + packed;
	struct convert_deflate *d;
	uint8_t *at;

	b->memory_bytes = b->count * each + ZERO_BYTES + packed;
	b->memory = convert_buffers(1, b->memory_bytes, err);
	if (!b->memory)
		return -ENOMEM;
	at = b->memory;
	for (unsigned i = 0; i < b->count; i++, at += each) {
		b->part[i].in = at + CONVERT_DICT_BYTES;
		b->part[i].packed = b->part[i].in + CONVERT_PART_BYTES;
	}
	b->zeros = at;
	if (!b->level)
		return 0;
	b->zeros_packed = at + ZERO_BYTES;
	d = convert_deflate_open(b->level);
	if (d)
		b->zeros_packed_len = convert_deflate_part(
			d, NULL, 0, b->zeros, ZERO_BYTES, b->zeros_packed);
	convert_deflate_close(d);
	return b->zeros_packed_len ? 0
				   : vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
					      "out of memory for zlib");
}

static int threads_start(struct convert_bytes *b, unsigned packers,
			 struct vhd_err *err)
{
	int rc = pthread_create(&b->writer, NULL, write_run, b);

	b->writing = !rc;
	while (!rc && b->packers < packers) {
		rc = pthread_create(&b->packer[b->packers], NULL, pack_run, b);
		b->packers += !rc;
	}
	return rc ? vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
			     "cannot start a thread: %s", strerror(rc))
		  : 0;
}

/* How to write without waiting. A pipe without a reader cannot be opened: then
 * the first write tells. Files need no care.
 */
static void fd_prepare(struct convert_bytes *b)
{
	char path[32];
	struct stat st;

	b->own_fd = -1;
	if (fstat(b->fd, &st) < 0)
		return;
	b->socket = S_ISSOCK(st.st_mode);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	if (S_ISFIFO(st.st_mode))
		b->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

int convert_bytes_open(struct convert_bytes **out, struct convert_job *job,
		       int fd, const char *path, int level,
		       struct vhd_err *err)
{
	struct convert_bytes *b = calloc(1, sizeof(*b));
	unsigned packers = level ? processors() : 0;
	int rc;

	if (!b)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	b->job = job;
	b->path = path;
	b->fd = fd;
	b->level = level;
	b->count = 2 * packers + 4;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->change, NULL);
	fd_prepare(b);
	b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = b->event_fd < 0 || b->stop_fd < 0
		     ? vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot make an event: %s", strerror(errno))
		     : convert_watch(job, b->event_fd, EPOLLIN, err);
	if (!rc)
		rc = memory_make(b, err);
	if (!rc)
		rc = threads_start(b, packers, err);
	if (rc)
		convert_bytes_close(b);
	else
		*out = b;
	return rc;
}
