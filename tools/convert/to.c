/* SPDX-License-Identifier: BSD-2-Clause */
/* Destinations that are no image files. What reached them stays there when
 * the conversion fails later: an export cannot appear under a name only when
 * it is complete.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "nbd.h"

/* Read the export again, over new connections. */
static int verify(struct convert_job *job, const struct convert_opts *opts,
		  struct convert_source *src, struct vhd_err *err)
{
	struct convert_nbd_source *again = malloc(sizeof(*again));
	uint64_t at = 0;
	int rc;

	if (!again)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = convert_nbd_source_open(again, job, opts->dst, NULL, err);
	if (rc)
		goto out;
	/* What an export has behind the disk's end is not ours. */
	if (again->source.size_bytes > src->size_bytes)
		again->source.size_bytes = src->size_bytes;
	cli_progress_start(&job->progress, "verifying", src->size_bytes,
			   opts->quiet);
	rc = convert_compare_ends(job, src, &again->source, &at, err);
	cli_progress_end(&job->progress);
	convert_source_close(&again->source);
out:
	free(again);
	if (rc <= 0)
		return rc;
	job->blame = job->dst;
	vhd_fail(err, -EIO, VHD_WHY_IO, 0,
		 "differs from the source at disk offset %llu, or one of them "
		 "changed meanwhile",
		 (unsigned long long)at);
	return 1;
}

int convert_to_nbd(struct convert_job *job, const struct convert_opts *opts,
		   struct convert_source *src, struct convert_stats *stats,
		   struct vhd_err *err)
{
	struct convert_nbd_sink sink;
	bool vague;
	int rc;

	rc = convert_nbd_sink_open(&sink, job, opts->dst, src->size_bytes,
				   !opts->no_sync, err);
	if (rc)
		return rc;
	vague = !sink.nbd.can_flush && !sink.nbd.can_fua && !opts->no_sync;
	cli_progress_start(&job->progress, "copying", src->size_bytes,
			   opts->quiet);
	rc = convert_copy(job, src, &sink.sink, stats, err);
	cli_progress_end(&job->progress);
	convert_sink_close(&sink.sink);
	if (!rc && opts->verify)
		rc = verify(job, opts, src, err);
	if (!rc && vague && !opts->quiet)
		cli_tell("vhd-convert: %s: the server knows neither "
				"flush nor FUA, so when the data is safe there "
				"is not known\n",
			opts->dst);
	return rc;
}
