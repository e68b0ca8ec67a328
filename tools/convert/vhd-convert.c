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
#include <unistd.h>

#include "convert.h"
#include "digest.h"
#include "resume.h"
#include "tools/verb/verb.h"

static const char prog[] = CONVERT_PROG;

/* ------------------------------------------------------------ the steps -- */

/* SIGINT and its like become readable; the file size limit becomes EFBIG, a
 * pipe that nobody reads EPIPE.
 */
static int signals_open(struct vhd_err *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN); /* EPIPE, likewise */
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0) {
		fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"cannot watch for signals: %s", strerror(errno));
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* What cannot be, now that it is known what SRC is. */
static int dst_check(const struct convert_opts *opts,
		     const struct convert_from *from, struct vhd_err *err)
{
	bool stream = from->stream || from->spool_why;

	if (from->in.img && convert_input_has_parent(&from->in, opts->dst))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"is a parent of the file to read from");
	if (opts->parent && same_file(opts->parent, opts->dst))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"is the parent that it is to build on");
	if (opts->resume && stream)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"cannot be resumed: SRC is a stream, which "
				"has no middle to begin at");
	if (opts->reflink == CONVERT_REFLINK_ALWAYS && stream)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"cannot share: SRC is a stream, which has no "
				"blocks");
	return 0;
}

/* Into the image file that DST names. */
static int to_file(struct convert_job *job, const struct convert_opts *opts,
		   struct convert_from *from, struct convert_stats *stats,
		   struct vhd_err *err)
{
	struct convert_output out;
	int rc = dst_check(opts, from, err);

	job->blame = opts->dst;
	if (rc)
		return rc;
	rc = convert_resume_output(&out, opts, &from->in, err);
	if (rc > 0)
		stats->finished = true;
	if (rc)
		return rc < 0 ? rc : 0;
	rc = from->source->size_bytes == CONVERT_SIZE_UNKNOWN
		     ? convert_to_grown(job, opts, from->source, &out, stats,
					err)
		     : convert_to_file(job, opts, from->source, &out, stats,
				       err);
	convert_output_close(&out);
	return rc;
}

static int through(struct convert_job *job, const struct convert_opts *opts,
		   struct convert_from *from, struct convert_stats *stats,
		   struct vhd_err *err)
{
	struct convert_digest *digest = NULL;
	int64_t start_ms = cli_now_ms();
	int rc = 0;

	job->blame = NULL; /* the word would be at fault */
	if (opts->digest)
		rc = convert_digest_open(&digest, job, opts->digest, err);
	if (rc)
		return rc;
	job->onlooker = digest ? convert_digest_sink(digest) : NULL;
	if (convert_nbd_is_uri(opts->dst))
		rc = convert_to_nbd(job, opts, from->source, stats, err);
	else if (opts->gzip_level || !strcmp(opts->dst, "-"))
		rc = convert_to_stream(job, opts, from, stats, err);
	else
		rc = to_file(job, opts, from, stats, err);
	stats->took_ms = cli_now_ms() - start_ms;
	if (!rc)
		rc = convert_report(job, opts, from, stats, digest, err);
	job->onlooker = NULL;
	convert_digest_close(digest);
	return rc;
}

static int with_queue(struct convert_job *job, const struct convert_opts *opts,
		      struct convert_stats *stats, struct vhd_err *err)
{
	bool late = convert_confine_late(opts);
	struct convert_from from;
	int rc = late ? 0 : convert_confine(opts, err);

	if (!rc)
		rc = convert_from_open(&from, job, opts, err);
	if (rc)
		return rc;
	if (late)
		rc = convert_confine(opts, err);
	if (!rc)
		rc = through(job, opts, &from, stats, err);
	convert_from_close(&from);
	return rc;
}

static int convert(const struct convert_opts *opts)
{
	struct convert_job job = {
		.src = strcmp(opts->src, "-") ? opts->src : "standard input",
		.dst = strcmp(opts->dst, "-") ? opts->dst : "standard output",
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
	int status;

	if (!cli_streams_hold()) {
		cli_tell("vhd-convert: cannot open /: %s\n", strerror(errno));
		return CLI_IO;
	}
	status = convert_args(argc, argv, &opts);
	if (status >= 0)
		return status;
	return opts.in_place ? convert_in_place(&opts) : convert(&opts);
}
