/* SPDX-License-Identifier: BSD-2-Clause */
/* What a tool needs within reach that connects to an NBD server in the sandbox:
 * the files that looking a name up and TLS read.
 */
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

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

void sandbox_allow_server(struct sandbox *s, const char *uri)
{
	static const char *const files[] = {
		"/etc", "/run/systemd/resolve", "/usr/share/ca-certificates",
		"/usr/lib/ssl",
	};

	s->role = SANDBOX_REMOTE;
	host_look_up(uri);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		sandbox_allow(s, files[i], SANDBOX_READ);
	allow_home(s, ".pki");
	allow_home(s, ".config/pki");
	allow_word(s, uri, "tls-certificates=");
	allow_word(s, uri, "tls-psk-file=");
}
