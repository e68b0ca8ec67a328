/* SPDX-License-Identifier: BSD-2-Clause */
/* The comparison: every part in which either image has data is read from
 * both, several parts in flight, and compared in disk order, so that the
 * difference reported is the first one; or each is, where someone wants to
 * hear of all. Behind its end an image reads as zero, so that images of
 * different sizes can be compared.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"

#define SLOTS 8u
#define SLOT_BYTES CONVERT_UNIT_BYTES

struct pair {
	uint64_t off_bytes;
	uint64_t len_bytes;
	unsigned reads_left;
	struct convert_io io[2];
	uint8_t *buf[2];
};

/* One side: its next piece of data, looked up ahead. */
struct side {
	struct convert_source *src;
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
	const struct convert_differ *differ; /* NULL: the first will do */
};

/* Bring a side's look-ahead to the data at or behind `at`. */
static int advance(struct verify *v, struct side *s, uint64_t at,
		   struct vhd_err *err)
{
	int rc;

	if (!s->len_bytes || s->off_bytes + s->len_bytes > at)
		return 0;
	s->off_bytes = at;
	rc = s->src->ops->next(s->src, SLOT_BYTES, &s->off_bytes,
			       &s->len_bytes, err);
	if (rc)
		v->job->blame = s->src->path;
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

static void read_done(struct convert_io *io)
{
	struct pair *p = io->user;

	/* A stream may have ended before. */
	memset(io->buf + io->len_bytes, 0, p->len_bytes - io->len_bytes);
	p->reads_left--;
}

/* Read [off, end) of one side; what is behind its end is zero. */
static void read_side(struct verify *v, struct pair *p, int i)
{
	struct convert_source *src = v->side[i].src;
	uint64_t size = src->size_bytes;
	uint64_t there = p->off_bytes < size ? size - p->off_bytes : 0;

	if (there > p->len_bytes)
		there = p->len_bytes;
	memset(p->buf[i] + there, 0, p->len_bytes - there);
	if (!there)
		return;
	p->reads_left++;
	convert_paid(v->job, there);
	p->io[i] = (struct convert_io){
		.off_bytes = p->off_bytes,
		.len_bytes = there,
		.buf = p->buf[i],
		.done = read_done,
		.user = p,
	};
	src->ops->read(src, &p->io[i]);
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

/* From `at` on, the next run of sectors that differ, or agree: its end. */
static uint64_t run_end(const struct pair *p, uint64_t at, bool differ)
{
	while (at < p->len_bytes &&
	       (memcmp(p->buf[0] + at, p->buf[1] + at, VHD_SECTOR_BYTES) !=
		0) == differ)
		at += VHD_SECTOR_BYTES;
	return at;
}

static int tell_all(const struct convert_differ *d, const struct pair *p)
{
	uint64_t end;

	for (uint64_t at = 0; at < p->len_bytes; at = end) {
		int rc;

		at = run_end(p, at, false);
		end = run_end(p, at, true);
		rc = end > at ? d->differ(d->ctx, p->off_bytes + at, end - at)
			      : 0;
		if (rc)
			return rc;
	}
	return 0;
}

/* Compare what has arrived, in order. 1: a difference. */
static int compare_ready(struct verify *v, uint64_t *at_bytes)
{
	while (v->count && !v->pairs[v->head].reads_left) {
		const struct pair *p = &v->pairs[v->head];

		if (memcmp(p->buf[0], p->buf[1], p->len_bytes) != 0) {
			int rc = 1;

			if (v->differ)
				rc = tell_all(v->differ, p);
			else
				*at_bytes = first_difference(p);
			if (rc)
				return rc;
		}
		v->compared_bytes += p->len_bytes;
		v->head = (v->head + 1) % SLOTS;
		v->count--;
	}
	return 0;
}

static void turn_ends(struct verify *v)
{
	convert_reap(v->job);
	for (int i = 0; i < 2; i++)
		if (v->side[i].src->ops->turn)
			v->side[i].src->ops->turn(v->side[i].src);
}

static int turn(struct verify *v, uint64_t *at_bytes, struct vhd_err *err)
{
	int rc = 0;

	if (convert_interrupted(v->job, err))
		return -EINTR;
	while (!rc && v->count < SLOTS && !v->all_read &&
	       convert_may_read(v->job))
		rc = read_next(v, err);
	/* Nothing under way and more to come: the rate is in the way. */
	if (!rc && (v->count || !v->all_read))
		rc = convert_wait(v->job, err);
	if (rc)
		return rc;
	turn_ends(v);
	rc = convert_faulted(v->job, err);
	if (rc)
		return rc;
	if (v->count)
		cli_progress_show(&v->job->progress,
				  v->pairs[v->head].off_bytes,
				  v->compared_bytes);
	return compare_ready(v, at_bytes);
}

static int side_init(struct verify *v, int i, struct convert_source *src,
		     struct vhd_err *err)
{
	struct side *s = &v->side[i];

	*s = (struct side){ .src = src };
	v->job->blame = src->path;
	return src->ops->next(src, SLOT_BYTES, &s->off_bytes, &s->len_bytes,
			      err);
}

static void drain(struct verify *v)
{
	convert_drain(v->job);
	for (int i = 0; i < 2; i++)
		if (v->side[i].src->ops->drain)
			v->side[i].src->ops->drain(v->side[i].src);
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
	do
		rc = turn(v, at_bytes, err);
	while (!rc && (!v->all_read || v->count));
	drain(v);
	return rc;
}

static int compare(struct convert_job *job, struct convert_source *a,
		   struct convert_source *b,
		   const struct convert_differ *differ, uint64_t *at_bytes,
		   struct vhd_err *err)
{
	struct verify *v = calloc(1, sizeof(*v));
	int rc;

	job->blame = b->path;
	if (!v)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	v->job = job;
	v->differ = differ;
	rc = side_init(v, 0, a, err);
	if (!rc)
		rc = side_init(v, 1, b, err);
	if (!rc)
		rc = run(v, at_bytes, err);
	convert_buffers_free(v->buffers, 2 * SLOTS, SLOT_BYTES);
	free(v);
	return rc;
}

int convert_compare_ends(struct convert_job *job, struct convert_source *a,
			 struct convert_source *b, uint64_t *at_bytes,
			 struct vhd_err *err)
{
	return compare(job, a, b, NULL, at_bytes, err);
}

int convert_differences(struct convert_job *job, struct convert_source *a,
			struct convert_source *b,
			const struct convert_differ *differ,
			struct vhd_err *err)
{
	uint64_t unused;

	return compare(job, a, b, differ, &unused, err);
}

int convert_compare(struct convert_job *job, struct convert_input *a,
		    struct convert_input *b, uint64_t *at_bytes,
		    struct vhd_err *err)
{
	struct convert_image_source ends[2];
	int rc;

	rc = convert_image_source_init(&ends[0], job, a, job->src, err);
	if (rc)
		return rc;
	rc = convert_image_source_init(&ends[1], job, b, job->dst, err);
	if (!rc) {
		rc = convert_compare_ends(job, &ends[0].source, &ends[1].source,
					  at_bytes, err);
		convert_source_close(&ends[1].source);
	}
	convert_source_close(&ends[0].source);
	return rc;
}
