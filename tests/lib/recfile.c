/* SPDX-License-Identifier: BSD-2-Clause */
/* See recfile.h. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/random.h"
#include "tests/lib/recfile.h"

struct recfile {
	pthread_mutex_t lock;
	struct vhd_file under;
	struct memfile *base;
	struct rec_event *events;
	size_t count;
	size_t room;
};

/* A test without memory for its record proves nothing. */
static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static void add(struct recfile *r, struct rec_event e, const void *data)
{
	if (data) {
		e.data = need(malloc(e.len));
		memcpy(e.data, data, e.len);
	}
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : 64;
		r->events =
			need(realloc(r->events, r->room * sizeof(*r->events)));
	}
	r->events[r->count++] = e;
}

static ssize_t rec_pread(void *state, void *buf, size_t len, uint64_t off)
{
	struct recfile *r = state;

	return r->under.ops->pread(r->under.state, buf, len, off);
}

static ssize_t rec_pwrite(void *state, const void *buf, size_t len,
			  uint64_t off)
{
	struct recfile *r = state;
	ssize_t n;

	pthread_mutex_lock(&r->lock);
	n = r->under.ops->pwrite(r->under.state, buf, len, off);
	if (n > 0)
		add(r, (struct rec_event){REC_WRITE, off, (uint64_t)n, NULL, 0},
		    buf);
	pthread_mutex_unlock(&r->lock);
	return n;
}

static int rec_flush(void *state)
{
	struct recfile *r = state;
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = r->under.ops->flush(r->under.state);
	if (!rc)
		add(r, (struct rec_event){REC_FLUSH, 0, 0, NULL, 0}, NULL);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static int rec_zero(void *state, uint64_t off, uint64_t len)
{
	struct recfile *r = state;
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = r->under.ops->zero(r->under.state, off, len);
	if (!rc)
		add(r, (struct rec_event){REC_ZERO, off, len, NULL, 0}, NULL);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static int rec_truncate(void *state, uint64_t len)
{
	struct recfile *r = state;
	int rc;

	pthread_mutex_lock(&r->lock);
	rc = r->under.ops->truncate(r->under.state, len);
	if (!rc)
		add(r, (struct rec_event){REC_TRUNCATE, len, 0, NULL, 0}, NULL);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static int rec_size(void *state, uint64_t *len)
{
	struct recfile *r = state;

	return r->under.ops->size(r->under.state, len);
}

static int rec_close(void *state)
{
	(void)state;
	return 0;
}

static const struct vhd_file_ops rec_ops = {
	.name = "recording",
	.pread = rec_pread,
	.pwrite = rec_pwrite,
	.flush = rec_flush,
	.zero = rec_zero,
	.truncate = rec_truncate,
	.size = rec_size,
	.close = rec_close,
};

struct recfile *recfile_create(struct memfile *under)
{
	struct recfile *r = need(calloc(1, sizeof(*r)));

	pthread_mutex_init(&r->lock, NULL);
	r->under = memfile_file(under);
	r->base = need(memfile_clone(under));
	return r;
}

void recfile_destroy(struct recfile *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		free(r->events[i].data);
	free(r->events);
	memfile_destroy(r->base);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct vhd_file recfile_file(struct recfile *r)
{
	return (struct vhd_file){
		.ops = &rec_ops,
		.state = r,
		.fd = -1,
		.direct_fd = -1,
	};
}

size_t recfile_count(const struct recfile *r)
{
	return r->count;
}

const struct rec_event *recfile_event(const struct recfile *r, size_t i)
{
	return &r->events[i];
}

void recfile_mark(struct recfile *r, int mark)
{
	pthread_mutex_lock(&r->lock);
	add(r, (struct rec_event){REC_MARK, 0, 0, NULL, mark}, NULL);
	pthread_mutex_unlock(&r->lock);
}

static void zero_range(struct memfile *m, uint64_t off, uint64_t len)
{
	struct vhd_file f = memfile_file(m);

	if (f.ops->zero(f.state, off, len))
		abort();
}

static void apply(struct memfile *m, const struct rec_event *e)
{
	switch (e->kind) {
	case REC_WRITE:
		if (memfile_poke(m, e->data, e->len, e->off))
			abort();
		break;
	case REC_ZERO:
		zero_range(m, e->off, e->len);
		break;
	case REC_TRUNCATE:
		memfile_resize(m, e->off);
		break;
	case REC_FLUSH:
	case REC_MARK:
		break;
	}
}

struct memfile *recfile_prefix(const struct recfile *r, size_t n)
{
	struct memfile *m = need(memfile_clone(r->base));

	for (size_t i = 0; i < n; i++)
		apply(m, &r->events[i]);
	return m;
}

/* Some sectors of one change. A write past the end lengthens the file only as
 * far as it is kept.
 */
static void apply_some(struct memfile *m, const struct rec_event *e,
		       uint64_t *rnd)
{
	if (e->kind == REC_TRUNCATE) {
		if (random_next(rnd) & 1)
			memfile_resize(m, e->off);
		return;
	}
	if (e->kind != REC_WRITE && e->kind != REC_ZERO)
		return;
	for (uint64_t at = 0; at < e->len;) {
		uint64_t n = 512 - (e->off + at) % 512;

		if (n > e->len - at)
			n = e->len - at;
		if (random_next(rnd) & 1) {
			if (e->kind == REC_ZERO)
				zero_range(m, e->off + at, n);
			else if (memfile_poke(m, e->data + at, n, e->off + at))
				abort();
		}
		at += n;
	}
}

struct memfile *recfile_cut(const struct recfile *r, size_t n, uint64_t seed)
{
	uint64_t rnd = seed;
	size_t safe = n;
	struct memfile *m;

	while (safe && r->events[safe - 1].kind != REC_FLUSH)
		safe--;
	m = recfile_prefix(r, safe);
	for (size_t i = safe; i < n; i++)
		apply_some(m, &r->events[i], &rnd);
	return m;
}
