/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams into files. A spool is where a stream goes that cannot be used in
 * the order in which it comes; it never has a name, so it never stays behind.
 * The same sink makes a raw or fixed destination of a disk whose size shows
 * only at its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"

static void spool_write(struct convert_sink *sink, struct convert_io *io)
{
	struct convert_spool *s = (struct convert_spool *)sink;
	uint64_t done = 0;

	convert_writeback_ahead(&s->wb, io->off_bytes, io->len_bytes);
	while (done < io->len_bytes && !io->result) {
		ssize_t n = pwrite(s->fd, io->buf + done, io->len_bytes - done,
				   (off_t)(io->off_bytes + done));

		if (n > 0)
			done += (uint64_t)n;
		else if (n == 0 || errno != EINTR)
			io->result = convert_fault(
				sink->job, sink->path, n ? -errno : -EIO,
				n && (errno == ENOSPC || errno == EDQUOT ||
				      errno == EFBIG)
					? VHD_WHY_NO_SPACE
					: VHD_WHY_IO,
				"cannot write at offset %llu: %s",
				(unsigned long long)(io->off_bytes + done),
				n ? strerror(errno) : "nothing was taken");
	}
	io->done(io);
}

static int spool_written(struct convert_sink *sink, uint64_t off_bytes,
			 uint64_t len_bytes, struct vhd_err *err)
{
	struct convert_spool *s = (struct convert_spool *)sink;

	return convert_writeback_add(&s->wb, off_bytes, len_bytes, err);
}

static int spool_finish(struct convert_sink *sink, uint64_t size_bytes,
			struct vhd_err *err)
{
	struct convert_spool *s = (struct convert_spool *)sink;

	if (ftruncate(s->fd, (off_t)size_bytes) == 0)
		return 0;
	return vhd_fail(err, -errno,
			errno == EFBIG ? VHD_WHY_NO_SPACE : VHD_WHY_SYSTEM, 0,
			"cannot make the file %llu bytes long: %s",
			(unsigned long long)size_bytes, strerror(errno));
}

static const struct convert_sink_ops spool_ops = {
	.write = spool_write,
	.written = spool_written,
	.finish = spool_finish,
};

void convert_spool_init(struct convert_spool *s, struct convert_job *job,
			int fd, const char *path, bool stream)
{
	*s = (struct convert_spool){
		.sink = {
			.ops = &spool_ops,
			.job = job,
			.path = path,
			.grain_bytes = CONVERT_GRAIN_BYTES,
		},
		.fd = fd,
	};
	convert_writeback_init(&s->wb, fd, stream);
}

static int nameless(const char *dir)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR &&
			errno != ENOENT && errno != EINVAL))
		return fd;
	/* A file system without nameless files: one that had a name. */
	if ((size_t)snprintf(path, sizeof(path), "%s/.vhd-XXXXXX", dir) >=
	    sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

int convert_spool_file(const char *dst, struct vhd_err *err)
{
	const char *slash = strrchr(dst, '/');
	const char *tmp = getenv("TMPDIR");
	char *dir;
	int fd;

	if (!strcmp(dst, "-") || convert_nbd_is_uri(dst))
		dir = strdup(tmp && *tmp ? tmp : "/var/tmp");
	else if (!slash)
		dir = strdup(".");
	else
		dir = strndup(dst, slash == dst ? 1 : (size_t)(slash - dst));
	if (!dir)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	fd = nameless(dir);
	if (fd < 0)
		fd = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot make a temporary file in %s: %s", dir,
			      strerror(errno));
	free(dir);
	return fd;
}

/* ----------------------------------------------------------------- grown -- */

static int footer_add(const struct convert_opts *opts, int fd,
		      uint64_t size_bytes, struct vhd_err *err)
{
	struct vhd_create_opts create;
	uint8_t footer[VHD_SECTOR_BYTES];
	struct vhd_stream *plan;
	int rc;

	rc = convert_create_opts(opts, size_bytes, &create, err);
	if (!rc)
		rc = vhd_stream_create(&create, NULL, &plan, err);
	if (rc)
		return rc;
	vhd_stream_meta(plan, size_bytes, footer, sizeof(footer));
	vhd_stream_destroy(plan);
	if (pwrite(fd, footer, sizeof(footer), (off_t)size_bytes) ==
	    (ssize_t)sizeof(footer))
		return 0;
	return vhd_fail(err, -errno, VHD_WHY_IO, size_bytes,
			"cannot write the footer: %s", strerror(errno));
}

int convert_to_grown(struct convert_job *job, const struct convert_opts *opts,
		     struct convert_source *src, struct convert_output *out,
		     struct convert_stats *stats, struct vhd_err *err)
{
	struct convert_spool spool;
	int rc;

	convert_spool_init(&spool, job, out->fd, job->dst, !opts->no_sync);
	cli_progress_start(&job->progress, "copying", src->size_bytes,
			   opts->quiet);
	rc = convert_copy(job, src, &spool.sink, stats, err);
	cli_progress_end(&job->progress);
	if (rc)
		return rc;
	job->blame = job->dst;
	if (opts->to == VHD_FORMAT_FIXED)
		rc = footer_add(opts, out->fd, stats->size_bytes, err);
	if (!rc && opts->sparse == CONVERT_SPARSE_NO)
		rc = convert_reserve(out->fd, err);
	if (!rc && convert_interrupted(job, err))
		rc = -EINTR;
	return rc ? rc : convert_output_publish(out, !opts->no_sync, err);
}
