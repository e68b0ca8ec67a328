/* SPDX-License-Identifier: BSD-2-Clause */
/* A fixed number of requests in flight: each that comes back is measured and
 * sent out again elsewhere. A flush waits for those before it and is waited
 * for, as a program does that wants its data safe.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define ALIGN_BYTES 4096u

struct slot {
	struct vhd_req req;
	struct iovec iov;
	uint64_t start_ns;
};

struct bench {
	const struct bench_opts *opts;
	struct bench_result *result;
	struct vhd *img;
	struct vhd_queue *q;
	volatile sig_atomic_t *stop;
	struct slot *slots;
	uint8_t *buf;
	uint64_t places;   /* of opts->size_bytes on the disk */
	uint64_t next;     /* sequential: the place to come */
	uint64_t random;
	uint64_t sent;
	uint64_t since_flush;
	uint64_t end_ns;   /* by the clock; 0: by the count */
};

/* ------------------------------------------------------------- latency -- */

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < BENCH_STEPS)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
	return (shift + 1) * BENCH_STEPS +
	       (unsigned)((ns >> shift) - BENCH_STEPS);
}

/* The middle of what falls into a bucket. */
static uint64_t bucket_ns(unsigned bucket)
{
	unsigned shift = bucket / BENCH_STEPS;
	uint64_t step = bucket % BENCH_STEPS;

	if (!shift)
		return step;
	shift--;
	return ((step + BENCH_STEPS) << shift) + (1ull << shift) / 2;
}

void bench_times_add(struct bench_times *t, uint64_t ns)
{
	unsigned bucket = bucket_of(ns);

	if (bucket >= BENCH_BUCKETS)
		bucket = BENCH_BUCKETS - 1;
	t->bucket[bucket]++;
	if (!t->count || ns < t->min_ns)
		t->min_ns = ns;
	if (ns > t->max_ns)
		t->max_ns = ns;
	t->sum_ns += ns;
	t->count++;
}

uint64_t bench_times_part(const struct bench_times *t, unsigned permille)
{
	uint64_t want = (t->count * permille + 999) / 1000, seen = 0;

	for (unsigned i = 0; t->count && i < BENCH_BUCKETS; i++) {
		uint64_t ns = bucket_ns(i);

		seen += t->bucket[i];
		if (seen < want || !seen)
			continue;
		/* No time is outside of what there was. */
		if (ns > t->max_ns)
			return t->max_ns;
		return ns < t->min_ns ? t->min_ns : ns;
	}
	return t->max_ns;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ------------------------------------------------------------ requests -- */

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Small seeds must not begin with small numbers; never 0. */
static uint64_t random_begin(uint64_t seed)
{
	seed += 0x9e3779b97f4a7c15u;
	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
	seed = (seed ^ seed >> 27) * 0x94d049bb133111ebu;
	return (seed ^ seed >> 31) | 1;
}

static uint64_t next_place(struct bench *b)
{
	uint64_t place;

	if (!b->opts->sequential) /* the high half of a product: no division */
		return (uint64_t)((unsigned __int128)random_next(&b->random) *
					  b->places >>
				  64);
	place = b->next++;
	if (b->next == b->places)
		b->next = 0;
	return place;
}

static void send(struct bench *b, struct slot *s)
{
	s->req = (struct vhd_req){
		.img = b->img,
		.op = b->opts->write ? VHD_OP_WRITE : VHD_OP_READ,
		.lba = next_place(b) *
		       (b->opts->size_bytes / VHD_SECTOR_BYTES),
		.iov = &s->iov,
		.iov_count = 1,
		.user = s,
	};
	s->start_ns = now_ns();
	b->sent++;
	b->since_flush++;
	vhd_queue_submit(b->q, &s->req);
}

static bool over(const struct bench *b)
{
	if (*b->stop || (b->opts->count && b->sent >= b->opts->count))
		return true;
	return b->end_ns && now_ns() >= b->end_ns;
}

static bool flush_due(const struct bench *b)
{
	return b->opts->flush_interval &&
	       b->since_flush >= b->opts->flush_interval;
}

static int failed(const struct vhd_req *req, struct vhd_err *err)
{
	return vhd_fail(err, req->result, req->why, 0,
			"a request at disk offset %llu failed: %s",
			(unsigned long long)req->bad_lba * VHD_SECTOR_BYTES,
			strerror(-req->result));
}

/* Take in what is done; with `more`, send each slot out again. */
static int reap(struct bench *b, bool more, struct vhd_err *err)
{
	struct vhd_req *done[BENCH_DEPTH_MAX];
	unsigned n = vhd_queue_reap(b->q, done, b->opts->depth);
	uint64_t now = n ? now_ns() : 0;

	for (unsigned i = 0; i < n; i++) {
		struct slot *s = done[i]->user;

		if (done[i]->result)
			return failed(done[i], err);
		bench_times_add(&b->result->times, now - s->start_ns);
		if (more && !over(b) && !flush_due(b))
			send(b, s);
	}
	if (n)
		return 0;
	if (vhd_queue_wait(b->q, -1, 100))
		return vhd_fail(err, -EIO, VHD_WHY_IO, 0,
				"the queue's engine broke");
	return 0;
}

static int settle(struct bench *b, struct vhd_err *err)
{
	int rc = 0;

	while (!rc && vhd_queue_in_flight(b->q))
		rc = reap(b, false, err);
	return rc;
}

static int flush(struct bench *b, uint64_t *ns, struct vhd_err *err)
{
	struct vhd_req req = {.img = b->img, .op = VHD_OP_FLUSH}, *done;
	uint64_t start = now_ns();

	vhd_queue_submit(b->q, &req);
	while (!vhd_queue_reap(b->q, &done, 1))
		if (vhd_queue_wait(b->q, -1, -1))
			return vhd_fail(err, -EIO, VHD_WHY_IO, 0,
					"the queue's engine broke");
	if (req.result)
		return vhd_fail(err, req.result, req.why, 0,
				"a flush failed: %s", strerror(-req.result));
	*ns = now_ns() - start;
	return 0;
}

static int flush_between(struct bench *b, struct vhd_err *err)
{
	uint64_t ns;
	int rc = settle(b, err);

	if (!rc)
		rc = flush(b, &ns, err);
	if (rc)
		return rc;
	bench_times_add(&b->result->flush_times, ns);
	b->result->flushes++;
	b->since_flush = 0;
	return 0;
}

/* All slots out, and again, until it is over. */
static int loop(struct bench *b, struct vhd_err *err)
{
	int rc = 0;

	while (!rc && !over(b)) {
		for (unsigned i = 0; i < b->opts->depth && !over(b); i++) {
			send(b, &b->slots[i]);
			if (flush_due(b))
				break;
		}
		while (!rc && vhd_queue_in_flight(b->q) && !over(b) &&
		       !flush_due(b))
			rc = reap(b, true, err);
		if (!rc && flush_due(b))
			rc = flush_between(b, err);
		else if (!rc)
			rc = settle(b, err);
	}
	return rc;
}

/* ----------------------------------------------------------------- run -- */

static int prepare(struct bench *b, struct vhd_err *err)
{
	size_t size = b->opts->size_bytes, all = size * b->opts->depth;
	uint64_t fill = random_begin(b->opts->seed);

	all = (all + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
	b->slots = calloc(b->opts->depth, sizeof(*b->slots));
	b->buf = aligned_alloc(ALIGN_BYTES, all);
	if (!b->slots || !b->buf)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: %zu bytes of buffers", all);
	for (size_t i = 0; i + 8 <= all; i += 8) {
		uint64_t word = random_next(&fill);

		memcpy(b->buf + i, &word, 8);
	}
	for (unsigned i = 0; i < b->opts->depth; i++)
		b->slots[i].iov = (struct iovec){b->buf + i * size, size};
	return 0;
}

static int measure(struct bench *b, struct vhd_err *err)
{
	uint64_t start = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	int rc;

	if (!b->opts->count)
		b->end_ns = start + b->opts->time_ms * 1000000u;
	rc = loop(b, err);
	b->result->elapsed_ns = now_ns() - start;
	b->result->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (!rc && b->opts->write)
		rc = flush(b, &b->result->end_flush_ns, err);
	return rc;
}

/* After a failure the rest must still come back before it is let go. */
static void drain(struct bench *b)
{
	struct vhd_req *done[BENCH_DEPTH_MAX];

	while (vhd_queue_in_flight(b->q))
		if (!vhd_queue_reap(b->q, done, BENCH_DEPTH_MAX) &&
		    vhd_queue_wait(b->q, -1, -1) < 0)
			(void)vhd_queue_reap(b->q, done, BENCH_DEPTH_MAX);
}

int bench_run(struct vhd *img, const struct bench_opts *opts,
	      volatile sig_atomic_t *stop, struct bench_result *result,
	      struct vhd_err *err)
{
	const struct vhd_queue_opts how = {
		.engine = opts->engine,
		.depth = opts->depth > VHD_QUEUE_DEPTH_DEFAULT ? opts->depth
							       : 0,
	};
	struct bench b = {
		.opts = opts,
		.result = result,
		.img = img,
		.stop = stop,
		.places = vhd_get_info(img)->size_bytes / opts->size_bytes,
		.random = random_begin(opts->seed),
	};
	int rc;

	memset(result, 0, sizeof(*result));
	rc = prepare(&b, err);
	if (!rc)
		rc = vhd_queue_create(&how, &b.q, err);
	if (rc)
		goto out;
	result->engine = vhd_queue_engine(b.q);
	rc = vhd_queue_attach(b.q, img, err);
	if (rc)
		goto out;
	rc = measure(&b, err);
	drain(&b);
	vhd_queue_detach(b.q, img);
out:
	vhd_queue_destroy(b.q);
	free(b.slots);
	free(b.buf);
	return rc;
}
