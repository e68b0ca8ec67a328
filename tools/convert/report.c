/* SPDX-License-Identifier: BSD-2-Clause */
/* What a finished conversion tells: for people on standard error, results for
 * programs on standard output, unless that is where the disk went.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "stream.h"
#include "tools/verb/verb.h"

static const char prog[] = "vhd-convert";

static void describe_more(const struct convert_job *job,
			  const struct convert_stats *stats)
{
	char got[CLI_SIZE_TEXT], put[CLI_SIZE_TEXT];

	if (stats->not_shared)
		cli_tell("%s: %s: %s be shared with SRC: %s\n", prog,
			job->dst,
			stats->shared_bytes ? "not all blocks could"
					    : "blocks cannot",
			strerror(stats->not_shared));
	cli_tell("%s: %s: %s read, %s written, by %s\n", prog, job->dst,
		cli_size_text(stats->read_bytes, got, sizeof(got)),
		cli_size_text(stats->written_bytes - stats->shared_bytes, put,
			      sizeof(put)),
		vhd_engine_name(vhd_queue_engine(job->queue)));
}

static void describe_image(const struct convert_job *job,
			   const struct vhd_info *info)
{
	if (info->probed)
		cli_tell("%s: %s: taken as %s: %s\n", prog, job->src,
			vhd_format_name(info->format), info->probe);
	if (info->layers > 1)
		cli_tell("%s: %s: read through %u layers\n", prog,
			job->src, info->layers);
}

static void describe_source(const struct convert_job *job,
			    const struct convert_from *from)
{
	const char *why = "";
	bool trailing = from->trailing;

	if (from->spool_why)
		cli_tell("%s: %s: went through a temporary file: %s\n",
			prog, job->src, from->spool_why);
	if (from->in.img)
		describe_image(job, vhd_get_info(from->in.img));
	if (from->stream) {
		enum vhd_format f = convert_stream_verdict(from->stream, &why);

		if (*why)
			cli_tell("%s: %s: taken as %s: %s\n", prog,
				job->src, vhd_format_name(f), why);
		trailing = convert_stream_trailing(from->stream);
	}
	if (trailing)
		cli_tell("%s: %s: what follows the gzip data is "
				"ignored\n", prog, job->src);
}

static void describe(const struct convert_job *job,
		     const struct convert_opts *opts,
		     const struct convert_from *from,
		     const struct convert_stats *stats)
{
	char size[CLI_SIZE_TEXT], data[CLI_SIZE_TEXT], at[CLI_SIZE_TEXT];
	char shared[64] = "";

	if (stats->finished) {
		cli_tell("%s: %s: was complete already\n", prog,
			job->dst);
		return;
	}
	describe_source(job, from);
	cli_size_text(stats->size_bytes + stats->grown_bytes, size,
		      sizeof(size));
	if (stats->shared_bytes)
		snprintf(shared, sizeof(shared), ", %s of it shared",
			 cli_size_text(stats->shared_bytes, data,
				       sizeof(data)));
	cli_size_text(stats->written_bytes, data, sizeof(data));
	if (stats->resumed_bytes)
		cli_tell("%s: %s: resumed at %s\n", prog, job->dst,
			cli_size_text(stats->resumed_bytes, at, sizeof(at)));
	if (stats->grown_bytes)
		cli_tell("%s: %s: %llu bytes larger than %s, for %s\n",
			prog, job->dst, (unsigned long long)stats->grown_bytes,
			job->src, vhd_target_name(opts->target));
	cli_tell("%s: %s: %s, %s, %s of data%s, %lld.%lld s%s\n", prog,
		job->dst, vhd_format_name(opts->to), size, data, shared,
		(long long)(stats->took_ms / 1000),
		(long long)(stats->took_ms / 100 % 10),
		opts->verify ? ", verified" : "");
}

static FILE *results(const struct convert_opts *opts)
{
	return strcmp(opts->dst, "-") ? stdout : stderr;
}

static void put_digests(struct json_object *root,
			const struct convert_digest *digest)
{
	struct json_object *o = cli_json_object();
	char hex[CONVERT_DIGEST_TEXT];
	const char *name;

	for (unsigned i = 0; convert_digest_get(digest, i, &name, hex); i++)
		verb_put_text(o, name, hex);
	cli_json_put(root, "digests", o);
}

/* False: no memory for it. */
static bool json_print(FILE *f, const struct convert_opts *opts,
		       const struct convert_stats *stats,
		       const struct convert_digest *digest)
{
	struct json_object *root = cli_json_object();
	const char *text;

	verb_put_text(root, "source", opts->src);
	verb_put_text(root, "destination", opts->dst);
	verb_put_text(root, "format", vhd_format_name(opts->to));
	verb_put_number(root, "size", stats->size_bytes + stats->grown_bytes);
	verb_put_number(root, "read", stats->read_bytes);
	verb_put_number(root, "written", stats->written_bytes);
	verb_put_number(root, "shared", stats->shared_bytes);
	verb_put_number(root, "resumed-at", stats->resumed_bytes);
	verb_put_bool(root, "verified", opts->verify);
	verb_put_number(root, "milliseconds", (uint64_t)stats->took_ms);
	if (digest)
		put_digests(root, digest);
	text = cli_json_print(root, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		fprintf(f, "%s\n", text);
	json_object_put(root);
	return text;
}

/* As sha256sum has it, with the digest's name in place of a file's in front.
 */
static void digests_print(FILE *f, const struct convert_digest *digest)
{
	char hex[CONVERT_DIGEST_TEXT];
	const char *name;

	for (unsigned i = 0; convert_digest_get(digest, i, &name, hex); i++)
		fprintf(f, "%s  %s\n", name, hex);
}

int convert_report(struct convert_job *job, const struct convert_opts *opts,
		   const struct convert_from *from,
		   const struct convert_stats *stats,
		   const struct convert_digest *digest, struct vhd_err *err)
{
	FILE *f = results(opts);

	if (!opts->quiet && !opts->json)
		describe(job, opts, from, stats);
	if (opts->verbose)
		describe_more(job, stats);
	if (opts->json && !json_print(f, opts, stats, digest))
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory for the report");
	if (opts->json)
		; /* printed */
	else if (digest)
		digests_print(f, digest);
	if (fflush(f) == 0 && !ferror(f))
		return 0;
	job->blame = f == stdout ? "standard output" : "standard error";
	return vhd_fail(err, -EIO, VHD_WHY_SYSTEM, 0,
			"the results could not be written: %s",
			strerror(errno));
}
