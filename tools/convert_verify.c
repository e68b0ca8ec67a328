/* SPDX-License-Identifier: BSD-2-Clause */
/* The comparison: every part in which either image has data is read from
 * both, several parts in flight, and compared in disk order, so that the
 * difference reported is the first one. Behind its end an image reads as
 * zero, so that images of different sizes can be compared.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"

#define SLOTS 8u
#define SLOT_BYTES (512u << 10)
#define REAP_MAX 16u

struct pair {
	uint64_t off_bytes;
	uint64_t len_bytes;
	unsigned reads_left;
	struct vhd_req req[2];
	struct iovec iov[2];
	uint8_t *buf[2];
};

/* One side: its next piece of data, looked up ahead. */
struct side {
	struct convert_extents extents;
	struct vhd *img;
	const char *path;
	uint64_t off_bytes;
	uint64_t len_bytes; /* 0: no more data */
};

struct verify {
	struct convert_job *job;
	struct side side[2];
	struct pair pairs[SLOTS]; /* a ring: started in order, ended in order */
	unsigned head;
	unsigned count;
	bool all_read;
	uint64_t compared_bytes;
	void *buffers;
};

/* Bring a side's look-ahead to the data at or behind `at`. */
static int advance(struct verify *v, struct side *s, uint64_t at,
		   struct vhd_err *err)
{
	int rc;

	if (!s->len_bytes || s->off_bytes + s->len_bytes > at)
		return 0;
	s->off_bytes = at;
	rc = convert_extents_next(&s->extents, SLOT_BYTES, &s->off_bytes,
				  &s->len_bytes, err);
	if (rc)
		v->job->blame = s->path;
	return rc;
}

/* The next part that has data on either side. Both sides' pieces end within
 * the same unit, so one part covers the longer of the two.
 */
static bool part_next(const struct verify *v, uint64_t *off, uint64_t *end)
{
	bool any = false;

	*off = UINT64_MAX;
	for (int i = 0; i < 2; i++)
		if (v->side[i].len_bytes && v->side[i].off_bytes < *off)
			*off = v->side[i].off_bytes;
	*end = *off;
	for (int i = 0; i < 2; i++) {
		const struct side *s = &v->side[i];

		if (!s->len_bytes ||
		    s->off_bytes / SLOT_BYTES != *off / SLOT_BYTES)
			continue;
		any = true;
		if (s->off_bytes + s->len_bytes > *end)
			*end = s->off_bytes + s->len_bytes;
	}
	return any;
}

/* Read [off, end) of one side; what is behind its end is zero. */
static void read_side(struct verify *v, struct pair *p, int i)
{
	const struct side *s = &v->side[i];
	uint64_t size = s->extents.size_bytes;
	uint64_t there = p->off_bytes < size ? size - p->off_bytes : 0;

	if (there > p->len_bytes)
		there = p->len_bytes;
	memset(p->buf[i] + there, 0, p->len_bytes - there);
	if (!there)
		return;
	p->reads_left++;
	convert_paid(v->job, there);
	p->iov[i] = (struct iovec){ p->buf[i], there };
	p->req[i] = (struct vhd_req){
		.img = s->img,
		.op = VHD_OP_READ,
		.lba = p->off_bytes / VHD_SECTOR_BYTES,
		.iov = &p->iov[i],
		.iov_count = 1,
		.user = p,
	};
	vhd_queue_submit(v->job->queue, &p->req[i]);
}

static int read_next(struct verify *v, struct vhd_err *err)
{
	struct pair *p = &v->pairs[(v->head + v->count) % SLOTS];
	uint64_t off, end;
	int rc = 0;

	if (!part_next(v, &off, &end)) {
		v->all_read = true;
		return 0;
	}
	v->count++;
	p->off_bytes = off;
	p->len_bytes = end - off;
	p->reads_left = 0;
	for (int i = 0; i < 2; i++)
		read_side(v, p, i);
	for (int i = 0; i < 2 && !rc; i++)
		rc = advance(v, &v->side[i], end, err);
	return rc;
}

static uint64_t first_difference(const struct pair *p)
{
	uint64_t i = 0;

	while (p->buf[0][i] == p->buf[1][i])
		i++;
	return p->off_bytes + i;
}

/* Compare what has arrived, in order. 1: a difference. */
static int compare_ready(struct verify *v, uint64_t *at_bytes)
{
	while (v->count && !v->pairs[v->head].reads_left) {
		const struct pair *p = &v->pairs[v->head];

		if (memcmp(p->buf[0], p->buf[1], p->len_bytes) != 0) {
			*at_bytes = first_difference(p);
			return 1;
		}
		v->compared_bytes += p->len_bytes;
		v->head = (v->head + 1) % SLOTS;
		v->count--;
	}
	return 0;
}

static int reap(struct verify *v, struct vhd_err *err)
{
	struct vhd_req *done[REAP_MAX];
	unsigned n = vhd_queue_reap(v->job->queue, done, REAP_MAX);

	for (unsigned i = 0; i < n; i++) {
		struct pair *p = done[i]->user;

		if (done[i]->result)
			return convert_req_fail(
				v->job, done[i],
				v->side[done[i] - p->req].path, err);
		p->reads_left--;
	}
	return 0;
}

static int turn(struct verify *v, uint64_t *at_bytes, struct vhd_err *err)
{
	int rc = 0;

	if (convert_interrupted(v->job, err))
		return -EINTR;
	while (!rc && v->count < SLOTS && !v->all_read &&
	       convert_may_read(v->job))
		rc = read_next(v, err);
	if (!rc)
		rc = convert_wait(v->job, err);
	if (!rc)
		rc = reap(v, err);
	if (rc)
		return rc;
	if (v->count)
		cli_progress_show(&v->job->progress,
				  v->pairs[v->head].off_bytes,
				  v->compared_bytes);
	return compare_ready(v, at_bytes);
}

static int side_init(struct verify *v, int i, struct convert_input *in,
		     const char *path, struct vhd_err *err)
{
	struct side *s = &v->side[i];

	*s = (struct side){ .img = in->img, .path = path, .len_bytes = 1 };
	v->job->blame = path;
	convert_extents_init(&s->extents, in->img, in->fd);
	return convert_extents_next(&s->extents, SLOT_BYTES, &s->off_bytes,
				    &s->len_bytes, err);
}

static int run(struct verify *v, uint64_t *at_bytes, struct vhd_err *err)
{
	int rc;

	v->buffers = convert_buffers(2 * SLOTS, SLOT_BYTES, err);
	if (!v->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < 2 * SLOTS; i++)
		v->pairs[i / 2].buf[i % 2] = (uint8_t *)v->buffers +
					     (size_t)i * SLOT_BYTES;
	for (int i = 0; i < 2; i++) {
		v->job->blame = v->side[i].path;
		rc = vhd_queue_attach(v->job->queue, v->side[i].img, err);
		if (rc && i)
			vhd_queue_detach(v->job->queue, v->side[0].img);
		if (rc)
			return rc;
	}
	do
		rc = turn(v, at_bytes, err);
	while (!rc && (!v->all_read || v->count));
	convert_drain(v->job);
	for (int i = 0; i < 2; i++)
		vhd_queue_detach(v->job->queue, v->side[i].img);
	return rc;
}

int convert_compare(struct convert_job *job, struct convert_input *a,
		    struct convert_input *b, uint64_t *at_bytes,
		    struct vhd_err *err)
{
	struct verify *v = calloc(1, sizeof(*v));
	int rc;

	job->blame = job->dst;
	if (!v)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	v->job = job;
	rc = side_init(v, 0, a, job->src, err);
	if (!rc)
		rc = side_init(v, 1, b, job->dst, err);
	if (!rc)
		rc = run(v, at_bytes, err);
	convert_buffers_free(v->buffers, 2 * SLOTS, SLOT_BYTES);
	free(v);
	return rc;
}

int convert_verify(struct convert_job *job, struct convert_input *a,
		   struct convert_input *b, uint64_t *at_bytes,
		   struct vhd_err *err)
{
	uint64_t size[2] = {
		vhd_get_info(a->img)->size_bytes,
		vhd_get_info(b->img)->size_bytes,
	};

	if (size[0] != size[1]) {
		*at_bytes = size[0] < size[1] ? size[0] : size[1];
		return 1;
	}
	return convert_compare(job, a, b, at_bytes, err);
}
