/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-convert: raw, fixed and dynamic disk images into one another.
 *
 * The source is opened read-only and locked. The destination appears under
 * its name only when it is complete and durable; every failure before that
 * leaves nothing behind and one line on stderr.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "convert.h"
#include "verb.h"

static const char prog[] = CONVERT_PROG;

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

/* Into the image file that DST names. */
static int to_file(struct convert_job *job, const struct convert_opts *opts,
		   struct convert_from *from, struct convert_stats *stats,
		   struct vhd_err *err)
{
	struct convert_output out;
	int rc;

	job->blame = opts->dst;
	if (from->in.img && convert_input_has_parent(&from->in, opts->dst))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"is a parent of the file to read from");
	rc = convert_output_open(&out, opts->dst, opts->force, &from->in.st,
				 err);
	if (rc)
		return rc;
	rc = convert_to_file(job, opts, from->source, &out, stats, err);
	convert_output_close(&out);
	return rc;
}

static void describe_more(const struct convert_job *job,
			  const struct convert_stats *stats)
{
	char got[CLI_SIZE_TEXT], put[CLI_SIZE_TEXT];

	if (stats->not_shared)
		fprintf(stderr, "%s: %s: %s be shared with SRC: %s\n", prog,
			job->dst,
			stats->shared_bytes ? "not all blocks could"
					    : "blocks cannot",
			strerror(stats->not_shared));
	fprintf(stderr, "%s: %s: %s read, %s written, by %s\n", prog, job->dst,
		cli_size_text(stats->read_bytes, got, sizeof(got)),
		cli_size_text(stats->written_bytes - stats->shared_bytes, put,
			      sizeof(put)),
		vhd_engine_name(vhd_queue_engine(job->queue)));
}

static void describe_source(const struct convert_opts *opts,
			    const struct vhd_info *info)
{
	if (info->probed)
		fprintf(stderr, "%s: %s: taken as %s: %s\n", prog, opts->src,
			vhd_format_name(info->format), info->probe);
	if (info->layers > 1)
		fprintf(stderr, "%s: %s: read through %u layers\n", prog,
			opts->src, info->layers);
}

static void describe(const struct convert_opts *opts,
		     const struct convert_from *from,
		     const struct convert_stats *stats, int64_t took_ms)
{
	char size[CLI_SIZE_TEXT], data[CLI_SIZE_TEXT], shared[64] = "";

	if (opts->quiet)
		return;
	if (from->in.img)
		describe_source(opts, vhd_get_info(from->in.img));
	cli_size_text(stats->size_bytes + stats->grown_bytes, size,
		      sizeof(size));
	if (stats->shared_bytes)
		snprintf(shared, sizeof(shared), ", %s of it shared",
			 cli_size_text(stats->shared_bytes, data,
				       sizeof(data)));
	cli_size_text(stats->written_bytes, data, sizeof(data));
	if (stats->grown_bytes)
		fprintf(stderr, "%s: %s: %llu bytes larger than %s, for %s\n",
			prog, opts->dst, (unsigned long long)stats->grown_bytes,
			opts->src, vhd_target_name(opts->target));
	fprintf(stderr, "%s: %s: %s, %s, %s of data%s, %lld.%lld s%s\n", prog,
		opts->dst, vhd_format_name(opts->to), size, data, shared,
		(long long)(took_ms / 1000), (long long)(took_ms / 100 % 10),
		opts->verify ? ", verified" : "");
}

static int with_queue(struct convert_job *job, const struct convert_opts *opts,
		      struct convert_stats *stats, struct vhd_err *err)
{
	struct convert_from from;
	int64_t start_ms = cli_now_ms();
	int rc;

	rc = convert_from_open(&from, job, opts, err);
	if (rc)
		return rc;
	if (convert_nbd_is_uri(opts->dst))
		rc = convert_to_nbd(job, opts, from.source, stats, err);
	else
		rc = to_file(job, opts, &from, stats, err);
	if (!rc)
		describe(opts, &from, stats, cli_now_ms() - start_ms);
	if (!rc && opts->verbose)
		describe_more(job, stats);
	convert_from_close(&from);
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

	if (status >= 0)
		return status;
	return opts.in_place ? convert_in_place(&opts) : convert(&opts);
}
