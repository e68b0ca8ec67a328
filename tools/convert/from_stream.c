/* SPDX-License-Identifier: BSD-2-Clause */
/* Standard input and compressed files as sources. They are used as they come
 * where that is possible; what has to be read in another order, or twice, or
 * must tell its size beforehand, goes through a file without a name first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"

/* ------------------------------------------------------------- decisions -- */

/* Whether to inflate. Content decides nothing where the type was named: a
 * guest can make its raw disk begin like anything.
 */
static int gzip_decide(const struct convert_opts *opts, bool gzip,
		       bool *inflate, struct vhd_err *err)
{
	*inflate = gzip && opts->decompress != CONVERT_DECOMPRESS_NONE;
	if (!gzip && opts->decompress == CONVERT_DECOMPRESS_GZIP)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"does not begin as gzip does");
	if (gzip && opts->decompress == CONVERT_DECOMPRESS_AUTO &&
	    opts->from != VHD_FORMAT_AUTO)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"begins as gzip does: say --decompress gzip, "
				"or --decompress none to take it as it is");
	return 0;
}

/* Why it cannot be used as it comes; NULL: it can. */
static const char *obstacle(const struct convert_opts *opts, bool vhd)
{
	bool sized = opts->stream_bytes != 0;

	if (opts->from == VHD_FORMAT_DYNAMIC ||
	    (opts->from == VHD_FORMAT_AUTO && vhd))
		return "its blocks may lie in any order";
	if (opts->parent)
		return "it is compared with the parent of the new image";
	if (opts->verify)
		return "--verify reads it again";
	if (opts->to == VHD_FORMAT_DYNAMIC &&
	    (!strcmp(opts->dst, "-") || opts->gzip_level))
		return "a dynamic image that is a stream says first where it "
		       "has data";
	if (!sized && opts->to == VHD_FORMAT_DYNAMIC)
		return "a dynamic image needs to know its size first; --size "
		       "tells it";
	if (!sized && opts->target)
		return "--for needs to know its size first; --size tells it";
	return NULL;
}

/* ----------------------------------------------------------------- spool -- */

static int spool_fill(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, int fd,
		      struct vhd_err *err)
{
	struct convert_sink *onlooker = job->onlooker;
	struct convert_stats stats = { 0 };
	struct convert_spool spool;
	int rc;

	convert_spool_init(&spool, job, fd, job->dst, false);
	cli_progress_start(&job->progress, "unpacking", CONVERT_SIZE_UNKNOWN,
			   opts->quiet);
	job->onlooker = NULL;
	rc = convert_copy(job, convert_stream_source(from->stream),
			  &spool.sink, &stats, err);
	job->onlooker = onlooker;
	cli_progress_end(&job->progress);
	return rc;
}

/* The stream's own bytes become a file, and that is opened. */
static int spool_open(struct convert_from *from, struct convert_job *job,
		      const struct convert_opts *opts, const char *why,
		      struct vhd_err *err)
{
	const struct vhd_open_opts how = { .format = opts->from };
	char path[32];
	int rc;

	job->blame = job->dst;
	from->spool_fd = convert_spool_file(opts->dst, err);
	if (from->spool_fd < 0)
		return from->spool_fd;
	rc = spool_fill(from, job, opts, from->spool_fd, err);
	if (rc)
		return rc;
	from->trailing = convert_stream_trailing(from->stream);
	convert_stream_close(from->stream);
	from->stream = NULL;
	from->source = NULL; /* it was the stream's */
	job->blame = job->src;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", from->spool_fd);
	rc = convert_input_open(&from->in, path, &how, err);
	if (rc)
		return rc;
	/* DST's permissions come from files that the user knows. */
	from->in.st = from->st;
	rc = convert_image_source_init(&from->image, job, &from->in, job->src,
				       err);
	if (rc)
		return rc;
	from->source = &from->image.source;
	from->spool_why = why;
	return 0;
}

/* --------------------------------------------------------------- opening -- */

static int size_check(const struct convert_opts *opts, bool vhd,
		      struct vhd_err *err)
{
	if (opts->stream_bytes && opts->from != VHD_FORMAT_RAW)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"--size is for a raw disk: say --from raw");
	if (vhd && opts->from == VHD_FORMAT_FIXED)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TYPE_MISMATCH, 0,
				"begins as a dynamic image does; if it is a "
				"fixed one nevertheless, unpack it to a file");
	return 0;
}

/* Look at how it begins, and go on from there. */
static int feed_use(struct convert_from *from, struct convert_job *job,
		    const struct convert_opts *opts,
		    struct convert_feed *feed, struct vhd_err *err)
{
	uint8_t head[CONVERT_HEAD_BYTES];
	int64_t n = convert_feed_read(feed, head, sizeof(head), err);
	bool vhd = n >= 8 && memcmp(head, "conectix", 8) == 0;
	const char *why = obstacle(opts, vhd);
	struct convert_stream_opts how = {
		.feed = feed,
		.from = opts->from,
		.verbatim = why != NULL,
		.size_bytes = opts->stream_bytes ? opts->stream_bytes
						 : CONVERT_SIZE_UNKNOWN,
	};
	int rc;

	rc = n < 0 ? (int)n : size_check(opts, vhd, err);
	if (rc) {
		convert_feed_close(feed);
		return rc;
	}
	convert_feed_unread(feed, head, (size_t)n);
	rc = convert_stream_open(&from->stream, job, job->src, &how, err);
	if (rc)
		return rc;
	from->source = convert_stream_source(from->stream);
	return why ? spool_open(from, job, opts, why, err) : 0;
}

/* A signal while waiting for the first bytes is not told by the feed. */
static int interrupted(struct convert_job *job, int rc, struct vhd_err *err)
{
	if (rc == -EINTR && !job->signal && !convert_interrupted(job, err))
		return vhd_fail(err, rc, VHD_WHY_CANCELLED, 0, "interrupted");
	return rc;
}

int convert_from_stream(struct convert_from *from, struct convert_job *job,
			const struct convert_opts *opts, int fd,
			struct vhd_err *err)
{
	struct convert_feed *feed = convert_feed_open(fd, job->signal_fd);
	bool gzip = false, inflate = false;
	int rc;

	if (!feed)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	job->blame = job->src;
	rc = convert_feed_is_gzip(feed, &gzip, err);
	if (!rc)
		rc = gzip_decide(opts, gzip, &inflate, err);
	if (!rc && inflate)
		rc = convert_feed_inflate(feed, err);
	if (rc)
		convert_feed_close(feed);
	else
		rc = feed_use(from, job, opts, feed, err);
	from->gzip = inflate;
	return interrupted(job, rc, err);
}

int convert_file_is_gzip(const struct convert_opts *opts, int fd, bool *stream,
			 struct vhd_err *err)
{
	uint8_t head[3];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	bool gzip = n == 3 && head[0] == 0x1f && head[1] == 0x8b &&
		    head[2] == 8;
	int rc;

	if (n < 0) {
		rc = -errno;
		return vhd_fail(err, rc, VHD_WHY_IO, 0, "cannot read: %s",
				strerror(-rc));
	}
	return gzip_decide(opts, gzip, stream, err);
}
