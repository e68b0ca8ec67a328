/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-convert --in-place: the library's one change to the file, with what the
 * command line says of it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "convert.h"
#include "tools/verb/verb.h"
#include "tools/verb/preset.h"

/* The size to ask the library for; what it is now, it finds out itself. */
static int size_wanted(const struct convert_opts *opts, uint64_t *size_bytes,
		       uint64_t *grown_bytes, struct vhd_err *err)
{
	struct stat st;
	int rc;

	*size_bytes = *grown_bytes = 0;
	if (opts->to != VHD_FORMAT_FIXED || !opts->target)
		return 0;
	if (stat(opts->src, &st) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot examine: %s", strerror(errno));
	rc = convert_size(opts, (uint64_t)st.st_size, size_bytes, err);
	*grown_bytes = *size_bytes - (uint64_t)st.st_size;
	return rc;
}

static void describe(const struct convert_opts *opts, uint64_t grown_bytes)
{
	char shown[VERB_SHOWN_BYTES];

	if (opts->quiet)
		return;
	fprintf(stderr, "%s: %s: now %s", CONVERT_PROG,
		verb_shown(opts->src, shown),
		opts->to == VHD_FORMAT_RAW ? "a raw disk" : "a fixed VHD");
	if (grown_bytes)
		fprintf(stderr, ", %llu bytes larger, for %s",
			(unsigned long long)grown_bytes,
			vhd_target_name(opts->target));
	fputc('\n', stderr);
}

int convert_in_place(const struct convert_opts *opts)
{
	const struct verb_preset *preset = verb_preset(opts->target);
	struct vhd_in_place_opts how = {
		.from = opts->from,
		.to = opts->to,
		.force = opts->force,
		.now_unix_s = time(NULL),
		.creator = preset ? preset->creator : NULL,
	};
	struct vhd_err err = { 0 };
	uint64_t grown_bytes;
	int rc;

	signal(SIGXFSZ, SIG_IGN); /* the file size limit becomes EFBIG */
	rc = convert_confine(opts, &err);
	if (!rc)
		rc = verb_new_id(how.unique_id, &err);
	if (!rc)
		rc = size_wanted(opts, &how.size_bytes, &grown_bytes, &err);
	if (!rc)
		rc = vhd_in_place(opts->src, &how, &err);
	if (rc)
		return cli_fail(CONVERT_PROG, opts->src, &err);
	describe(opts, grown_bytes);
	return CLI_OK;
}
