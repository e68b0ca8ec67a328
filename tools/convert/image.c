/* SPDX-License-Identifier: BSD-2-Clause */
/* Images as the ends of a conversion: read and written through the queue. The
 * destination is new, so what is not written reads as zero.
 */
#include "convert.h"

/* -------------------------------------------------------------- source -- */

static struct convert_image_source *source_of(struct convert_source *s)
{
	return (struct convert_image_source *)s;
}

static int source_next(struct convert_source *s, uint64_t unit_bytes,
		       uint64_t *off_bytes, uint64_t *len_bytes,
		       struct vhd_err *err)
{
	return convert_extents_next(&source_of(s)->extents, unit_bytes,
				    off_bytes, len_bytes, err);
}

static void source_read(struct convert_source *s, struct convert_io *io)
{
	convert_submit(s->job, source_of(s)->img, VHD_OP_READ, s->path, io);
}

static void source_close(struct convert_source *s)
{
	vhd_queue_detach(s->job->queue, source_of(s)->img);
}

static const struct convert_source_ops source_ops = {
	.next = source_next,
	.read = source_read,
	.close = source_close,
};

const struct convert_image_source *
convert_image_source_of(const struct convert_source *s)
{
	return s->ops == &source_ops ? (const struct convert_image_source *)s
				     : NULL;
}

int convert_image_source_init(struct convert_image_source *s,
			      struct convert_job *job,
			      struct convert_input *in, const char *path,
			      struct vhd_err *err)
{
	*s = (struct convert_image_source){
		.source = {
			.ops = &source_ops,
			.job = job,
			.path = path,
			.size_bytes = vhd_get_info(in->img)->size_bytes,
		},
		.img = in->img,
	};
	convert_extents_init(&s->extents, in->img, in->fd);
	job->blame = path;
	return vhd_queue_attach(job->queue, in->img, err);
}

/* ---------------------------------------------------------------- sink -- */

static struct convert_image_sink *sink_of(struct convert_sink *s)
{
	return (struct convert_image_sink *)s;
}

/* A submitted write has its place, and has not reached the kernel yet. */
static void place_ahead(struct convert_image_sink *s,
			const struct convert_io *io)
{
	struct vhd_run run;

	if (s->wb->ahead &&
	    !vhd_map(s->img, io->off_bytes / VHD_SECTOR_BYTES,
		     io->len_bytes / VHD_SECTOR_BYTES, &run, NULL) &&
	    run.kind == VHD_RUN_FILE)
		convert_writeback_ahead(s->wb, run.off_bytes,
					run.sectors * VHD_SECTOR_BYTES);
}

/* What was read to be looked at may still be shared rather than written. */
static bool shared_instead(struct convert_sink *s, struct convert_io *io)
{
	struct convert_share *sh = s->job->share;
	struct vhd_err err = { 0 };
	uint64_t done, n;
	bool may;
	int rc;

	if (!sh || sh->off || sh->ahead)
		return false;
	rc = convert_share_plan(sh, io->off_bytes, io->len_bytes, &may, &n,
				&err);
	if (!rc && (!may || n < io->len_bytes))
		return false;
	if (!rc)
		rc = convert_share_do(sh, io->off_bytes, io->len_bytes, &done,
				      &err);
	if (rc > 0)
		return false;
	if (rc < 0)
		io->result = convert_fault(s->job, s->path, rc, err.why, "%s",
					   err.text);
	io->done(io);
	return true;
}

static void sink_write(struct convert_sink *s, struct convert_io *io)
{
	if (shared_instead(s, io))
		return;
	convert_submit(s->job, sink_of(s)->img, VHD_OP_WRITE, s->path, io);
	place_ahead(sink_of(s), io);
}

/* Where the bytes went in the file: blocks of one part lie behind one another
 * unless they are smaller than it and were there before, which they were not.
 */
static int sink_written(struct convert_sink *s, uint64_t off_bytes,
			uint64_t len_bytes, struct vhd_err *err)
{
	struct vhd_run run;
	int rc;

	rc = vhd_map(sink_of(s)->img, off_bytes / VHD_SECTOR_BYTES,
		     len_bytes / VHD_SECTOR_BYTES, &run, err);
	if (!rc && run.kind == VHD_RUN_FILE)
		rc = convert_writeback_add(sink_of(s)->wb, run.off_bytes,
					   run.sectors * VHD_SECTOR_BYTES, err);
	return rc;
}

static void sink_close(struct convert_sink *s)
{
	vhd_queue_detach(s->job->queue, sink_of(s)->img);
}

static const struct convert_sink_ops sink_ops = {
	.write = sink_write,
	.written = sink_written,
	.close = sink_close,
};

int convert_image_sink_init(struct convert_image_sink *s,
			    struct convert_job *job, struct vhd *img,
			    struct convert_writeback *wb, struct vhd_err *err)
{
	*s = (struct convert_image_sink){
		.sink = {
			.ops = &sink_ops,
			.job = job,
			.path = job->dst,
			.grain_bytes = CONVERT_GRAIN_BYTES,
		},
		.img = img,
		.wb = wb,
	};
	job->blame = job->dst;
	return vhd_queue_attach(job->queue, img, err);
}
