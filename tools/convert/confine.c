/* SPDX-License-Identifier: BSD-2-Clause */
/* The sandbox of a conversion: which files the command line puts within reach,
 * and when it is entered.
 *
 * An image is read only in there. A server is connected to before, where it is
 * the source: a name has to be looked up, or qemu-nbd started, which a process
 * in the sandbox cannot do. Where a server is the destination, the one that is
 * connected to later, or has a VHD for the library to read, the name is looked
 * up once before for what that loads, and the files that looking up and TLS need
 * are within reach.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "digest.h"
#include "tools/sandbox/sandbox.h"

static bool is_remote(const struct convert_opts *opts)
{
	return opts->foreign || convert_nbd_is_uri(opts->src) ||
	       convert_nbd_is_uri(opts->dst);
}

bool convert_confine_late(const struct convert_opts *opts)
{
	return opts->foreign || convert_nbd_is_raw(opts);
}

static void allow_source(struct sandbox *s, const struct convert_opts *opts)
{
	bool own = !opts->no_parent && !opts->parent_dir;
	char *dir;

	if (convert_nbd_is_raw(opts))
		return;
	if (!strcmp(opts->src, "-")) {
		/* a file, if it is one */
		sandbox_allow(s, "/proc/self/fd/0", SANDBOX_READ);
		return;
	}
	dir = own ? cli_parent_dir(opts->src) : NULL;
	sandbox_allow_image(s, opts->src, own ? dir : opts->parent_dir);
	free(dir);
}

/* Where a source that is a stream is kept until its size is known: as
 * convert_spool_file has it.
 */
static void allow_spool(struct sandbox *s)
{
	const char *tmp = getenv("TMPDIR");

	sandbox_allow(s, tmp && *tmp ? tmp : "/var/tmp", SANDBOX_MAKE);
}

static void allow_destination(struct sandbox *s,
			      const struct convert_opts *opts)
{
	if (convert_nbd_is_uri(opts->dst)) {
		sandbox_allow_server(s, opts->dst);
		allow_spool(s);
	} else if (!strcmp(opts->dst, "-")) {
		/* a pipe with a name is opened again, not to block */
		sandbox_allow(s, "/proc/self/fd/1", SANDBOX_CHANGE);
		allow_spool(s);
	} else {
		sandbox_allow_dir_of(s, opts->dst, SANDBOX_MAKE);
	}
}

/* --to diff: its parent, which may have parents of its own. */
static void allow_parent(struct sandbox *s, const struct convert_opts *opts)
{
	char *dir;

	if (!opts->parent)
		return;
	dir = opts->parent_dir ? NULL : cli_parent_dir(opts->parent);
	sandbox_allow_image(s, opts->parent, dir ? dir : opts->parent_dir);
	free(dir);
}

int convert_confine(const struct convert_opts *opts, struct vhd_err *err)
{
	struct sandbox s = {
		.role = is_remote(opts) ? SANDBOX_REMOTE : SANDBOX_WRITER,
	};

	allow_source(&s, opts);
	if (opts->in_place) {
		sandbox_allow(&s, opts->src, SANDBOX_CHANGE);
	} else {
		allow_destination(&s, opts);
		allow_parent(&s, opts);
	}
	if (opts->digest)
		convert_digest_prepare();
	return sandbox_try(&s, CONVERT_PROG, err);
}
