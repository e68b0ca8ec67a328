/* SPDX-License-Identifier: BSD-2-Clause */
/* An image file as the destination: made, filled, checked against the source
 * if that is asked for, and given its name when it is durable.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "convert.h"
#include "resume.h"
#include "tools/verb/verb.h"
#include "tools/verb/preset.h"

#define LET_GO_TRIES 50
#define LET_GO_MS 100

/* Where the parents of a new child may be. */
static const char *parents_of(const struct convert_opts *opts,
			      const struct convert_output *out)
{
	return opts->parent_dir ? opts->parent_dir : out->dir;
}

int convert_create_opts(const struct convert_opts *opts, uint64_t size_bytes,
			struct vhd_create_opts *create, struct vhd_err *err)
{
	const struct verb_preset *preset = verb_preset(opts->target);

	*create = (struct vhd_create_opts){
		.format = opts->to,
		.size_bytes = size_bytes,
		.block_size_bytes = opts->block_size_bytes,
		.now_unix_s = time(NULL),
		.creator = preset ? preset->creator : NULL,
		.batmap = preset && preset->batmap,
		.direct = opts->direct,
		/* once, in convert_output_publish, unless it is to outlive
		 * this run in pieces
		 */
		.no_sync = !opts->resume,
		.larger_child = opts->larger_child,
	};
	return verb_new_id(create->unique_id, err);
}

static int dst_create(const struct convert_opts *opts,
		      const struct convert_output *out, uint64_t size_bytes,
		      struct vhd **dst, struct vhd_err *err)
{
	char final[PATH_MAX];
	struct vhd_create_opts create;
	int rc = convert_create_opts(opts, size_bytes, &create, err);

	if (opts->parent) {
		create.parent_path = opts->parent;
		create.parent_dir = parents_of(opts, out);
		create.final_path = final;
		snprintf(final, sizeof(final), "%s/%s", out->dir, out->name);
	}
	if (!rc)
		rc = vhd_create(out->path, &create, dst, err);
	if (rc)
		cli_strip_path(err, out->path);
	return rc;
}

/* Of the size it should have, and the source's content. */
static int content_check(struct convert_job *job,
			 const struct convert_opts *opts,
			 struct convert_source *in, struct convert_source *again,
			 uint64_t *at, struct vhd_err *err)
{
	uint64_t have = again->size_bytes, want;
	int rc = convert_size(opts, in->size_bytes, &want, err);

	if (rc)
		return rc;
	*at = have < want ? have : want;
	return have != want ? 1 : convert_compare_ends(job, in, again, at, err);
}

/* Compare with what is on the disk, not with what is in memory. A child that
 * has no name yet cannot be opened again, as its parents are found from there:
 * it is read as it is.
 */
static int verify(struct convert_job *job, const struct convert_opts *opts,
		  struct convert_source *src, const struct convert_output *out,
		  struct vhd *open_still, struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.format = opts->to,
		.direct = opts->direct,
	};
	struct convert_image_source written;
	struct convert_input again;
	uint64_t at = 0;
	int rc;

	job->blame = job->dst;
	if (fsync(out->fd) < 0)
		return vhd_fail(err, -errno, VHD_WHY_IO, 0,
				"cannot make the file durable: %s",
				strerror(errno));
	(void)posix_fadvise(out->fd, 0, 0, POSIX_FADV_DONTNEED);
	again = (struct convert_input){ .fd = out->fd, .img = open_still };
	rc = open_still ? 0
			: convert_input_open(&again, out->path, &how, err);
	if (rc)
		return rc;
	cli_progress_start(&job->progress, "verifying", src->size_bytes,
			   opts->quiet);
	rc = convert_image_source_init(&written, job, &again, job->dst, err);
	if (!rc) {
		rc = content_check(job, opts, src, &written.source, &at, err);
		convert_source_close(&written.source);
	}
	cli_progress_end(&job->progress);
	if (!open_still)
		convert_input_close(&again);
	if (rc <= 0)
		return rc;
	job->blame = job->dst;
	vhd_fail(err, -EIO, VHD_WHY_IO, 0,
		 "differs from the source at disk offset %llu, or SRC changed "
		 "meanwhile; nothing was kept", (unsigned long long)at);
	return 1;
}

/* Into the new, all-zero image. */
static int copy(struct convert_job *job, const struct convert_opts *opts,
		struct convert_source *src, struct convert_output *out,
		struct vhd *dst, struct convert_stats *stats,
		struct vhd_err *err)
{
	struct convert_image_sink sink;
	struct convert_writeback wb;
	struct convert_share share;
	int rc;

	job->blame = job->dst;
	rc = convert_share_init(&share, opts, job->onlooker != NULL,
				convert_image_source_of(src), dst, out->fd,
				err);
	if (rc)
		return rc;
	convert_writeback_init(&wb, out->fd, !opts->direct && !opts->no_sync);
	rc = convert_image_sink_init(&sink, job, dst, &wb, err);
	if (rc)
		return rc;
	job->share = &share;
	rc = convert_copy(job, src, &sink.sink, stats, err);
	job->share = NULL;
	stats->shared_bytes = share.shared_bytes;
	stats->not_shared = share.why;
	convert_sink_close(&sink.sink);
	return rc;
}

/* Into a new child. */
static int copy_diff(struct convert_job *job, const struct convert_opts *opts,
		     struct convert_source *src,
		     const struct convert_output *out, struct vhd *dst,
		     struct convert_stats *stats, struct vhd_err *err)
{
	struct convert_sink *sink;
	int rc = convert_diff_open(&sink, job, opts, dst, parents_of(opts, out),
				   err);

	if (rc)
		return rc;
	rc = convert_copy(job, src, sink, stats, err);
	stats->written_bytes = convert_diff_written(sink);
	convert_sink_close(sink);
	if (!rc && opts->verify)
		rc = verify(job, opts, src, out, dst, err);
	return rc;
}

static int dst_open_once(const struct convert_opts *opts,
			 struct convert_output *out,
			 struct convert_resume *resume, uint64_t dst_bytes,
			 struct vhd **dst, struct vhd_err *err)
{
	return resume->mark.mark_bytes
		       ? convert_resume_image(resume, opts, dst, err)
		       : dst_create(opts, out, dst_bytes, dst, err);
}

/* A new image, or what an earlier run left of it. */
static int dst_open(struct convert_job *job, const struct convert_opts *opts,
		    struct convert_source *src, struct convert_output *out,
		    struct convert_resume *resume, uint64_t dst_bytes,
		    struct vhd **dst, struct vhd_err *err)
{
	struct pollfd end = { .fd = job->signal_fd, .events = POLLIN };
	int rc = 0;

	if (opts->resume)
		rc = convert_resume_begin(resume, job, opts, src, out,
					  dst_bytes, err);
	if (!rc)
		rc = dst_open_once(opts, out, resume, dst_bytes, dst, err);
	/* The journal is locked, so whoever has the file has been killed: the
	 * kernel takes a moment to give io_uring's files back.
	 */
	for (int i = 0; rc == -EBUSY && job->resume && i < LET_GO_TRIES &&
			poll(&end, 1, LET_GO_MS) == 0; i++)
		rc = dst_open_once(opts, out, resume, dst_bytes, dst, err);
	if (rc)
		return rc;
	/* A dynamic file's length is known at the end only. */
	if (opts->sparse == CONVERT_SPARSE_NO && opts->to != VHD_FORMAT_DYNAMIC)
		rc = convert_reserve(out->fd, err);
	if (rc)
		vhd_abandon(*dst);
	return rc;
}

/* From an open image to a closed one that holds all of the source. */
static int fill(struct convert_job *job, const struct convert_opts *opts,
		struct convert_source *src, struct convert_output *out,
		struct vhd *dst, struct convert_stats *stats,
		struct vhd_err *err)
{
	struct convert_resume *resume = job->resume;
	bool lost;
	int rc;

	cli_progress_start(&job->progress, "copying", src->size_bytes,
			   opts->quiet);
	if (resume) {
		resume->dst = dst;
		stats->resumed_bytes = resume->mark.mark_bytes;
		job->progress.from = resume->mark.mark_bytes;
	}
	rc = opts->parent ? copy_diff(job, opts, src, out, dst, stats, err)
			  : copy(job, opts, src, out, dst, stats, err);
	cli_progress_end(&job->progress);
	if (!rc) {
		job->blame = job->dst;
		rc = vhd_close(dst, err);
		if (!rc && resume)
			rc = convert_resume_mark(resume, src->size_bytes, err);
		return rc;
	}
	/* After a failed write nobody knows what else was lost. */
	lost = job->fault.code && job->fault_path == job->dst;
	if (resume && !lost && !vhd_flush(dst, NULL))
		(void)convert_resume_mark(resume, stats->done_bytes, NULL);
	vhd_abandon(dst);
	return rc;
}

static int make(struct convert_job *job, const struct convert_opts *opts,
		struct convert_source *src, struct convert_output *out,
		struct convert_resume *resume, struct convert_stats *stats,
		struct vhd_err *err)
{
	struct vhd *dst = NULL;
	uint64_t dst_size;
	int rc;

	job->blame = job->src;
	rc = convert_size(opts, src->size_bytes, &dst_size, err);
	if (rc)
		return rc;
	stats->grown_bytes = dst_size - src->size_bytes;
	job->blame = job->dst;
	rc = dst_open(job, opts, src, out, resume, dst_size, &dst, err);
	if (!rc)
		rc = fill(job, opts, src, out, dst, stats, err);
	if (!rc && opts->sparse == CONVERT_SPARSE_NO)
		rc = convert_reserve(out->fd, err);
	if (!rc && opts->verify && !opts->parent)
		rc = verify(job, opts, src, out, NULL, err);
	if (rc)
		return rc;
	job->blame = job->dst;
	if (convert_interrupted(job, err))
		return -EINTR;
	return convert_output_publish(out, !opts->no_sync, err);
}

int convert_to_file(struct convert_job *job, const struct convert_opts *opts,
		    struct convert_source *src, struct convert_output *out,
		    struct convert_stats *stats, struct vhd_err *err)
{
	struct convert_resume resume = { .journal.fd = -1 };
	int rc = make(job, opts, src, out, &resume, stats, err);

	/* What differs from its source is not worth keeping. */
	convert_resume_end(job, rc < 0 && resume.mark.mark_bytes);
	return rc;
}
