/* SPDX-License-Identifier: BSD-2-Clause */
/* An image file as the destination: made, filled, checked against the source
 * if that is asked for, and given its name when it is durable.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "convert.h"
#include "verb.h"
#include "verb_preset.h"

static int dst_create(const struct convert_opts *opts,
		      const struct convert_output *out, uint64_t size_bytes,
		      struct vhd **dst, struct vhd_err *err)
{
	const struct verb_preset *preset = verb_preset(opts->target);
	struct vhd_create_opts create = {
		.format = opts->to,
		.size_bytes = size_bytes,
		.block_size_bytes = opts->block_size_bytes,
		.now_unix_s = time(NULL),
		.creator = preset ? preset->creator : NULL,
		.batmap = preset && preset->batmap,
		.direct = opts->direct,
		.no_sync = true, /* once, in convert_output_publish */
	};
	int rc = verb_new_id(create.unique_id, err);

	if (!rc)
		rc = vhd_create(out->path, &create, dst, err);
	if (rc) {
		cli_strip_path(err, out->path);
		return rc;
	}
	/* A dynamic file's length is known at the end only. */
	if (opts->sparse == CONVERT_SPARSE_NO &&
	    opts->to != VHD_FORMAT_DYNAMIC)
		rc = convert_reserve(out->fd, err);
	if (rc)
		vhd_abandon(*dst);
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

/* Compare with what is on the disk, not with what is in memory. */
static int verify(struct convert_job *job, const struct convert_opts *opts,
		  struct convert_source *src, const struct convert_output *out,
		  struct vhd_err *err)
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
	rc = convert_input_open(&again, out->path, &how, err);
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
	rc = convert_share_init(&share, opts, src, dst, out->fd, err);
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

int convert_to_file(struct convert_job *job, const struct convert_opts *opts,
		    struct convert_source *src, struct convert_output *out,
		    struct convert_stats *stats, struct vhd_err *err)
{
	uint64_t size = src->size_bytes, dst_size;
	struct vhd *dst = NULL;
	int rc;

	job->blame = job->src;
	rc = convert_size(opts, size, &dst_size, err);
	if (rc)
		return rc;
	stats->grown_bytes = dst_size - size;
	job->blame = job->dst;
	rc = dst_create(opts, out, dst_size, &dst, err);
	if (rc)
		return rc;
	cli_progress_start(&job->progress, "copying", size, opts->quiet);
	rc = copy(job, opts, src, out, dst, stats, err);
	cli_progress_end(&job->progress);
	if (rc) {
		vhd_abandon(dst);
		return rc;
	}
	job->blame = job->dst;
	rc = vhd_close(dst, err);
	if (!rc && opts->sparse == CONVERT_SPARSE_NO)
		rc = convert_reserve(out->fd, err);
	if (!rc && opts->verify)
		rc = verify(job, opts, src, out, err);
	if (rc)
		return rc;
	job->blame = job->dst;
	if (convert_interrupted(job, err))
		return -EINTR;
	return convert_output_publish(out, !opts->no_sync, err);
}
