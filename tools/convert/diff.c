/* SPDX-License-Identifier: BSD-2-Clause */
/* A differencing image as the destination: only sectors that differ from the
 * parent are written to it.
 *
 * Pieces come in disk order and what no piece covers is zero, so the parent is
 * read beside them from one end of the disk to the other: each sector is
 * settled once, by its piece or as a zero. Zeros count: where the parent has
 * data they are written. The parent is read and the child written at once, in
 * the caller's thread, while the source's next pieces are on their way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"

#define SECTOR VHD_SECTOR_BYTES

struct convert_diff {
	struct convert_sink sink;
	struct vhd *child;         /* borrowed */
	struct convert_input parent;
	const char *parent_path;
	struct convert_extents extents; /* of the parent */
	uint64_t parent_bytes;
	uint64_t at_bytes;         /* before this all is settled */
	uint64_t written_bytes;
	uint8_t *old;              /* the parent's part */
	uint8_t *zeros;
};

static struct convert_diff *diff_of(struct convert_sink *s)
{
	return (struct convert_diff *)s;
}

/* Behind its end the parent reads as zero. */
static int read_old(struct convert_diff *d, uint64_t off, uint64_t len,
		    struct vhd_err *err)
{
	uint64_t there = off < d->parent_bytes ? d->parent_bytes - off : 0;

	if (there > len)
		there = len;
	memset(d->old + there, 0, len - there);
	if (!there)
		return 0;
	d->sink.job->blame = d->parent_path;
	return vhd_read(d->parent.img, off, d->old, there, err);
}

/* The sectors of `now` that are not the parent's. At most one unit. */
static int settle(struct convert_diff *d, uint64_t off, uint64_t len,
		  const uint8_t *now, struct vhd_err *err)
{
	int rc = read_old(d, off, len, err);

	for (uint64_t at = 0, n; !rc && at < len; at += n) {
		bool same = !memcmp(now + at, d->old + at, SECTOR);

		for (n = SECTOR; at + n < len; n += SECTOR)
			if (!memcmp(now + at + n, d->old + at + n, SECTOR) !=
			    same)
				break;
		if (same)
			continue;
		d->sink.job->blame = d->sink.path;
		rc = vhd_write(d->child, off + at, now + at, n, err);
		d->written_bytes += n;
	}
	return rc;
}

/* The disk is zero up to `end`: only where the parent is not is there
 * anything to write.
 */
static int settle_zeros(struct convert_diff *d, uint64_t end,
			struct vhd_err *err)
{
	uint64_t at = d->at_bytes, len = 0;
	int rc = 0;

	while (at < end) {
		rc = convert_extents_next(&d->extents, CONVERT_UNIT_BYTES, &at,
					  &len, err);
		if (rc || !len || at >= end)
			break;
		if (len > end - at)
			len = end - at;
		rc = settle(d, at, len, d->zeros, err);
		if (rc)
			break;
		at += len;
	}
	if (!rc)
		d->at_bytes = end;
	return rc;
}

static void sink_write(struct convert_sink *s, struct convert_io *io)
{
	struct convert_diff *d = diff_of(s);
	struct vhd_err err = { 0 };
	int rc = settle_zeros(d, io->off_bytes, &err);

	if (!rc)
		rc = settle(d, io->off_bytes, io->len_bytes, io->buf, &err);
	if (rc)
		io->result = convert_fault(s->job, s->job->blame, rc, err.why,
					   "%s", err.text);
	else
		d->at_bytes = io->off_bytes + io->len_bytes;
	io->done(io);
}

static int sink_finish(struct convert_sink *s, uint64_t size_bytes,
		       struct vhd_err *err)
{
	return settle_zeros(diff_of(s), size_bytes, err);
}

static void sink_close(struct convert_sink *s)
{
	struct convert_diff *d = diff_of(s);

	convert_input_close(&d->parent);
	free(d->old);
	free(d->zeros);
	free(d);
}

static const struct convert_sink_ops ops = {
	.write = sink_write,
	.finish = sink_finish,
	.close = sink_close,
};

int convert_diff_open(struct convert_sink **sink, struct convert_job *job,
		      const struct convert_opts *opts, struct vhd *child,
		      const char *parent_dir, struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.parent_dir = parent_dir,
		.larger_child = opts->larger_child,
	};
	struct convert_diff *d = calloc(1, sizeof(*d));
	int rc = 0;

	if (!d)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	d->parent.fd = -1;
	d->old = malloc(CONVERT_UNIT_BYTES);
	d->zeros = calloc(1, CONVERT_UNIT_BYTES);
	if (!d->old || !d->zeros)
		rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
	job->blame = opts->parent;
	if (!rc)
		rc = convert_input_open(&d->parent, opts->parent, &how, err);
	if (rc) {
		sink_close(&d->sink);
		return rc;
	}
	d->sink = (struct convert_sink){
		.ops = &ops,
		.job = job,
		.path = job->dst,
		.grain_bytes = CONVERT_GRAIN_BYTES,
	};
	d->child = child;
	d->parent_path = opts->parent;
	d->parent_bytes = vhd_get_info(d->parent.img)->size_bytes;
	convert_extents_init(&d->extents, d->parent.img, d->parent.fd);
	*sink = &d->sink;
	return 0;
}

uint64_t convert_diff_written(struct convert_sink *sink)
{
	return diff_of(sink)->written_bytes;
}
