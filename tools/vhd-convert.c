/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-convert: raw, fixed and dynamic disk images into one another.
 *
 * The source is opened read-only and locked. The destination appears under
 * its name only when it is complete and durable; every failure before that
 * leaves nothing behind and one line on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "convert.h"
#include "verb.h"
#include "verb_preset.h"

static const char prog[] = "vhd-convert";

/* ------------------------------------------------------------ the steps -- */

/* SIGINT and its like become readable; the file size limit becomes EFBIG. */
static int signals_open(struct vhd_err *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	signal(SIGXFSZ, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0) {
		fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"cannot watch for signals: %s", strerror(errno));
}

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
		  struct convert_input *in, const struct convert_output *out,
		  struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.format = opts->to,
		.direct = opts->direct,
	};
	struct convert_image_source ends[2];
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
	cli_progress_start(&job->progress, "verifying",
			   vhd_get_info(in->img)->size_bytes, opts->quiet);
	rc = convert_image_source_init(&ends[0], job, in, job->src, err);
	if (!rc) {
		rc = convert_image_source_init(&ends[1], job, &again, job->dst,
					       err);
		if (!rc) {
			rc = content_check(job, opts, &ends[0].source,
					   &ends[1].source, &at, err);
			convert_source_close(&ends[1].source);
		}
		convert_source_close(&ends[0].source);
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

/* From an open image into a new one. */
static int copy(struct convert_job *job, const struct convert_opts *opts,
		struct convert_input *in, struct convert_output *out,
		struct vhd *dst, struct convert_stats *stats,
		struct vhd_err *err)
{
	struct convert_image_source source;
	struct convert_image_sink sink;
	struct convert_sink *const sinks[] = { &sink.sink };
	struct convert_writeback wb;
	int rc;

	convert_writeback_init(&wb, out->fd, !opts->direct && !opts->no_sync);
	rc = convert_image_source_init(&source, job, in, job->src, err);
	if (rc)
		return rc;
	rc = convert_image_sink_init(&sink, job, dst, &wb, err);
	if (!rc) {
		rc = convert_copy(job, &source.source, sinks, 1, stats, err);
		convert_sink_close(&sink.sink);
	}
	convert_source_close(&source.source);
	return rc;
}

/* Everything between two open files and a durable, named destination. */
static int transfer(struct convert_job *job, const struct convert_opts *opts,
		    struct convert_input *in, struct convert_output *out,
		    struct convert_stats *stats, struct vhd_err *err)
{
	uint64_t size = vhd_get_info(in->img)->size_bytes, dst_size;
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
	rc = copy(job, opts, in, out, dst, stats, err);
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
		rc = verify(job, opts, in, out, err);
	if (rc)
		return rc;
	job->blame = job->dst;
	if (convert_interrupted(job, err))
		return -EINTR;
	return convert_output_publish(out, !opts->no_sync, err);
}

/* The source and, of a differencing disk, all that it builds on. */
static int source_open(const struct convert_opts *opts,
		       struct convert_input *in, struct vhd_err *err)
{
	char *own = opts->no_parent || opts->parent_dir
			    ? NULL
			    : cli_parent_dir(opts->src);
	const struct vhd_open_opts how = {
		.format = opts->from,
		.direct = opts->direct,
		.parent_dir = opts->parent_dir ? opts->parent_dir : own,
		.larger_child = opts->larger_child,
	};
	int rc = convert_input_open(in, opts->src, &how, err);

	free(own);
	return rc;
}

static int destination_open(const struct convert_opts *opts,
			    const struct convert_input *in,
			    struct convert_output *out, struct vhd_err *err)
{
	if (convert_input_has_parent(in, opts->dst))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"is a parent of the file to read from");
	return convert_output_open(out, opts->dst, opts->force, &in->st, err);
}

static void describe_more(const struct convert_job *job,
			  const struct convert_stats *stats)
{
	char got[CLI_SIZE_TEXT], put[CLI_SIZE_TEXT];

	fprintf(stderr, "%s: %s: %s read, %s written, by %s\n", prog, job->dst,
		cli_size_text(stats->read_bytes, got, sizeof(got)),
		cli_size_text(stats->written_bytes, put, sizeof(put)),
		vhd_engine_name(vhd_queue_engine(job->queue)));
}

static void describe(const struct convert_opts *opts,
		     const struct convert_input *in,
		     const struct convert_stats *stats, int64_t took_ms)
{
	const struct vhd_info *info = vhd_get_info(in->img);
	char size[CLI_SIZE_TEXT], data[CLI_SIZE_TEXT];

	if (opts->quiet)
		return;
	cli_size_text(info->size_bytes + stats->grown_bytes, size,
		      sizeof(size));
	cli_size_text(stats->written_bytes, data, sizeof(data));
	if (info->probed)
		fprintf(stderr, "%s: %s: taken as %s: %s\n", prog, opts->src,
			vhd_format_name(info->format), info->probe);
	if (info->layers > 1)
		fprintf(stderr, "%s: %s: read through %u layers\n", prog,
			opts->src, info->layers);
	if (stats->grown_bytes)
		fprintf(stderr, "%s: %s: %llu bytes larger than %s, for %s\n",
			prog, opts->dst, (unsigned long long)stats->grown_bytes,
			opts->src, vhd_target_name(opts->target));
	fprintf(stderr, "%s: %s: %s, %s, %s of data, %lld.%lld s%s\n", prog,
		opts->dst, vhd_format_name(opts->to), size, data,
		(long long)(took_ms / 1000), (long long)(took_ms / 100 % 10),
		opts->verify ? ", verified" : "");
}

static int with_queue(struct convert_job *job, const struct convert_opts *opts,
		      struct convert_stats *stats, struct vhd_err *err)
{
	struct convert_input in;
	struct convert_output out;
	int64_t start_ms = cli_now_ms();
	int rc;

	job->blame = opts->src;
	rc = source_open(opts, &in, err);
	if (rc)
		return rc;
	job->blame = opts->dst;
	rc = destination_open(opts, &in, &out, err);
	if (!rc) {
		rc = transfer(job, opts, &in, &out, stats, err);
		convert_output_close(&out);
	}
	if (!rc)
		describe(opts, &in, stats, cli_now_ms() - start_ms);
	if (!rc && opts->verbose)
		describe_more(job, stats);
	convert_input_close(&in);
	return rc;
}

static int convert(const struct convert_opts *opts)
{
	struct convert_job job = {
		.src = opts->src,
		.dst = opts->dst,
		.wake_fd = -1,
	};
	struct convert_stats stats = { 0 };
	struct vhd_err err = { 0 };
	int rc;

	cli_rate_start(&job.rate, opts->rate, cli_now_ms());
	job.signal_fd = signals_open(&err);
	rc = job.signal_fd < 0 ? job.signal_fd : 0;
	if (!rc)
		rc = convert_job_init(&job, opts->engine, &err);
	if (!rc)
		rc = with_queue(&job, opts, &stats, &err);
	convert_job_fini(&job);
	if (job.signal_fd >= 0)
		close(job.signal_fd);
	if (!rc)
		return CLI_OK;
	rc = rc > 0 ? (cli_fail(prog, job.blame, &err), CLI_DIFFERENT)
		    : cli_fail(prog, job.blame, &err);
	/* A shell must see that the signal ended us. */
	if (job.signal) {
		sigset_t set;

		signal(job.signal, SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, job.signal);
		raise(job.signal);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct convert_opts opts = { 0 };
	int status = convert_args(argc, argv, &opts);

	return status >= 0 ? status : convert(&opts);
}
