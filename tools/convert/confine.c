/* SPDX-License-Identifier: BSD-2-Clause */
/* The sandbox of a conversion: which files the command line puts within reach,
 * and when it is entered.
 *
 * An image is read only in there. A server is connected to before, where it is
 * the source: a name has to be looked up, or qemu-nbd started, which a process
 * in the sandbox cannot do. Where a server is the destination, the one that is
 * connected to later, the name is looked up once before for what that loads,
 * and the files that looking up and TLS need are within reach.
 */
#include <netdb.h>
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
	return opts->foreign || convert_nbd_is_uri(opts->src);
}

static void allow_source(struct sandbox *s, const struct convert_opts *opts)
{
	bool own = !opts->no_parent && !opts->parent_dir;
	char *dir;

	if (convert_nbd_is_uri(opts->src))
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

/* Load what looking up the host of "nbd://USER@HOST:PORT/..." loads; what it
 * finds will be asked for again.
 */
static void host_look_up(const char *uri)
{
	const char *from = strstr(uri, "://"), *at;
	struct addrinfo *found = NULL;
	char *host, *end;

	if (!from || strstr(uri, "+unix:") || strstr(uri, "+vsock:"))
		return;
	from += 3;
	host = strndup(from, strcspn(from, "/?"));
	if (!host)
		return;
	at = strrchr(host, '@');
	from = at ? at + 1 : host;
	end = strrchr(host, ':');
	if (*from == '[') {
		from++;
		end = strchr(from, ']');
	}
	if (end && end > from)
		*end = '\0';
	if (!getaddrinfo(from, "nbd", NULL, &found) && found)
		freeaddrinfo(found);
	free(host);
}

/* A word of the URI's query that names a file or directory. */
static void allow_word(struct sandbox *s, const char *uri, const char *word)
{
	const char *at = strstr(uri, word);
	char *path;

	if (!at)
		return;
	at += strlen(word);
	path = strndup(at, strcspn(at, "&#"));
	sandbox_allow(s, path, SANDBOX_READ);
	free(path);
}

static void allow_home(struct sandbox *s, const char *below)
{
	const char *home = getenv("HOME");
	char path[PATH_MAX];

	if (home && snprintf(path, sizeof(path), "%s/%s", home, below) <
			    (int)sizeof(path))
		sandbox_allow(s, path, SANDBOX_READ);
}

static void allow_server(struct sandbox *s, const char *uri)
{
	static const char *const files[] = {
		"/etc", "/run/systemd/resolve", "/usr/share/ca-certificates",
		"/usr/lib/ssl",
	};

	host_look_up(uri);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		sandbox_allow(s, files[i], SANDBOX_READ);
	allow_home(s, ".pki");
	allow_home(s, ".config/pki");
	allow_word(s, uri, "tls-certificates=");
	allow_word(s, uri, "tls-psk-file=");
}

static void allow_destination(struct sandbox *s,
			      const struct convert_opts *opts)
{
	if (convert_nbd_is_uri(opts->dst)) {
		allow_server(s, opts->dst);
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
