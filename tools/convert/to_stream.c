/* SPDX-License-Identifier: BSD-2-Clause */
/* Destinations that are written from the first byte to the last: standard
 * output, and compressed files, which appear under their name as image files
 * do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serial.h"

/* What of a stream is being made. */
struct stream {
	struct convert_job *job;
	const struct convert_opts *opts;
	struct convert_source *src;
	struct convert_stats *stats;
	int fd;
	struct vhd_create_opts create;
	struct convert_survey survey;
};

/* The first reading of the two that a dynamic image takes. Nobody looks on:
 * digests are made of the second.
 */
static int survey(struct stream *t, struct vhd_err *err)
{
	uint32_t block = t->create.block_size_bytes
				 ? t->create.block_size_bytes
				 : VHD_BLOCK_BYTES_DEFAULT;
	struct convert_sink *onlooker = t->job->onlooker;
	struct convert_stats stats = { 0 };
	int rc;

	rc = convert_survey_init(&t->survey, t->job, t->create.size_bytes,
				 block, err);
	if (rc)
		return rc;
	cli_progress_start(&t->job->progress, "looking", t->src->size_bytes,
			   t->opts->quiet);
	t->job->onlooker = NULL;
	rc = convert_copy(t->job, t->src, &t->survey.sink, &stats, err);
	t->job->onlooker = onlooker;
	cli_progress_end(&t->job->progress);
	return rc;
}

static int transmit(struct stream *t, struct convert_bytes *bytes,
		struct vhd_err *err)
{
	struct convert_serial *serial = malloc(sizeof(*serial));
	int rc;

	if (!serial)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = convert_serial_init(serial, t->job, bytes, t->job->dst,
				 &t->create, t->survey.used, err);
	if (!rc) {
		cli_progress_start(&t->job->progress, "copying",
				   t->src->size_bytes, t->opts->quiet);
		rc = convert_copy(t->job, t->src, &serial->sink, t->stats,
				  err);
		cli_progress_end(&t->job->progress);
	}
	convert_sink_close(&serial->sink);
	free(serial);
	return rc;
}

static int to_fd(struct stream *t, struct vhd_err *err)
{
	struct convert_bytes *bytes;
	uint64_t size = t->src->size_bytes, dst_size = 0;
	int rc = 0;

	t->job->blame = t->job->src;
	if (size != CONVERT_SIZE_UNKNOWN) {
		rc = convert_size(t->opts, size, &dst_size, err);
		t->stats->grown_bytes = rc ? 0 : dst_size - size;
	}
	if (!rc)
		rc = convert_create_opts(t->opts, dst_size, &t->create, err);
	t->job->blame = t->job->dst;
	if (!rc && t->create.format == VHD_FORMAT_DYNAMIC)
		rc = survey(t, err);
	if (!rc)
		rc = convert_bytes_open(&bytes, t->job, t->fd, t->job->dst,
					t->opts->gzip_level, err);
	if (!rc) {
		rc = transmit(t, bytes, err);
		convert_bytes_close(bytes);
	}
	convert_survey_fini(&t->survey);
	return rc;
}

/* Read the finished file again, as what it is. */
static int verify(struct stream *t, const struct convert_output *out,
		  struct vhd_err *err)
{
	struct convert_opts opts = {
		.src = out->path,
		.dst = t->opts->dst,
		.from = t->opts->to,
		.to = t->opts->to,
		.decompress = CONVERT_DECOMPRESS_GZIP,
		.quiet = true,
	};
	struct convert_from again;
	uint64_t at = 0;
	int rc;

	if (fsync(out->fd) < 0)
		return vhd_fail(err, -errno, VHD_WHY_IO, 0,
				"cannot make the file durable: %s",
				strerror(errno));
	(void)posix_fadvise(out->fd, 0, 0, POSIX_FADV_DONTNEED);
	rc = convert_from_open(&again, t->job, &opts, err);
	if (rc)
		return rc;
	cli_progress_start(&t->job->progress, "verifying", t->src->size_bytes,
			   t->opts->quiet);
	rc = convert_compare_ends(t->job, t->src, again.source, &at, err);
	cli_progress_end(&t->job->progress);
	if (!rc && again.source->size_bytes !=
			   t->stats->size_bytes + t->stats->grown_bytes) {
		at = again.source->size_bytes;
		rc = 1;
	}
	convert_from_close(&again);
	t->job->blame = t->job->dst;
	if (rc <= 0)
		return rc;
	vhd_fail(err, -EIO, VHD_WHY_IO, 0,
		 "differs from the source at disk offset %llu, or SRC changed "
		 "meanwhile; nothing was kept", (unsigned long long)at);
	return 1;
}

static int to_packed_file(struct stream *t, const struct stat *st,
			  struct vhd_err *err)
{
	struct convert_output out;
	int rc;

	t->job->blame = t->job->dst;
	rc = convert_output_open(&out, t->opts->dst, t->opts->force, st, err);
	if (rc)
		return rc;
	t->fd = out.fd;
	rc = to_fd(t, err);
	if (!rc && t->opts->verify)
		rc = verify(t, &out, err);
	if (!rc && convert_interrupted(t->job, err))
		rc = -EINTR;
	if (!rc)
		rc = convert_output_publish(&out, !t->opts->no_sync, err);
	convert_output_close(&out);
	return rc;
}

static int to_stdout(struct stream *t, struct vhd_err *err)
{
	struct stat st;
	int rc;

	t->job->blame = t->job->dst;
	/* A closed one is held by what main() put there. */
	if (fstat(STDOUT_FILENO, &st) < 0 ||
	    fcntl(STDOUT_FILENO, F_GETFL) & O_PATH)
		return vhd_fail(err, -EBADF, VHD_WHY_NOT_FILE, 0,
				"is not open");
	if (isatty(STDOUT_FILENO))
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"is a terminal: send it to a file or another "
				"program");
	t->fd = STDOUT_FILENO;
	rc = to_fd(t, err);
	if (rc || t->opts->no_sync ||
	    !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) ||
	    fsync(STDOUT_FILENO) == 0)
		return rc;
	return vhd_fail(err, -errno, VHD_WHY_IO, 0,
			"cannot make the file durable: %s", strerror(errno));
}

int convert_to_stream(struct convert_job *job, const struct convert_opts *opts,
		      struct convert_from *from, struct convert_stats *stats,
		      struct vhd_err *err)
{
	struct stream t = {
		.job = job,
		.opts = opts,
		.src = from->source,
		.stats = stats,
		.fd = -1,
	};

	if (!strcmp(opts->dst, "-"))
		return to_stdout(&t, err);
	return to_packed_file(&t, &from->st, err);
}
