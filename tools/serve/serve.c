/* SPDX-License-Identifier: BSD-2-Clause */
/* See serve.h. Whatever is not in the table of a URI's plain characters is
 * written as %XX.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define PLUGIN_FILE "lib/nbdkit/nbdkit-vhd-plugin.so"
#define OURS_MAX    32 /* words of our own on nbdkit's command line */

int serve_plugin_find(struct serve *s)
{
	char dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	int len;

	if (n > 0) {
		dir[n] = '\0';
		for (int up = 0; up < 2; up++)
			if (strrchr(dir, '/'))
				*strrchr(dir, '/') = '\0';
		len = snprintf(s->plugin, sizeof(s->plugin), "%s/%s", dir,
			       PLUGIN_FILE);
		if (len > 0 && (size_t)len < sizeof(s->plugin) &&
		    access(s->plugin, R_OK) == 0)
			return CLI_OK;
	}
	snprintf(s->plugin, sizeof(s->plugin), "vhd");
	return CLI_OK;
}

/* ---------------------------------------------------- the command line -- */

struct words {
	char **argv;
	int count;
	bool failed;
};

static void add(struct words *w, const char *word)
{
	char *copy = w->argv ? strdup(word) : NULL;

	if (copy)
		w->argv[w->count++] = copy;
	else
		w->failed = true;
}

/* KEY and value in one word. */
static void add_pair(struct words *w, const char *key, const char *value)
{
	char *word = NULL;

	if (asprintf(&word, "%s%s", key, value) < 0)
		word = NULL;
	if (word)
		add(w, word);
	else
		w->failed = true;
	free(word);
}

static void add_server(struct words *w, const struct serve *s)
{
	char number[16];

	if (s->run) {
		add_pair(w, "--run=", s->run);
	} else {
		snprintf(number, sizeof(number), "%d", s->ready_fd);
		add(w, "--foreground");
		add(w, "--exit-with-parent");
		add_pair(w, "--pidfile=/dev/fd/", number);
	}
	if (s->port || s->listen) {
		add_pair(w, "--port=", s->port ? s->port : SERVE_PORT);
		add_pair(w, "--ipaddr=", s->listen ? s->listen : "localhost");
	} else {
		add_pair(w, "--unix=", s->socket ? s->socket : "-");
	}
	if (!s->opts.writable && !s->overlay)
		add(w, "--readonly");
	if (s->overlay)
		add(w, "--filter=cow");
	if (s->once)
		add(w, "--filter=exitlast");
}

char **serve_argv(const struct serve *s)
{
	size_t room = OURS_MAX + (size_t)s->extra_count;
	struct words w = {.argv = calloc(room, sizeof(char *))};

	add(&w, "nbdkit");
	add_server(&w, s);
	add(&w, s->plugin);
	add_pair(&w, "file=", s->path);
	if (s->format)
		add_pair(&w, "format=", s->format);
	if (s->parents.dir)
		add_pair(&w, "parent-dir=", s->parents.dir);
	if (s->opts.larger_child)
		add(&w, "larger-child=true");
	if (s->opts.direct)
		add(&w, "direct=true");
	for (int i = 0; i < s->extra_count; i++)
		add(&w, s->extra[i]);
	if (!w.failed)
		return w.argv;
	serve_argv_free(w.argv);
	return NULL;
}

void serve_argv_free(char **argv)
{
	for (int i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* --------------------------------------------------------- the address -- */

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("-._~/", c));
}

/* The caller frees it. */
static char *escaped(const char *text)
{
	char *out = malloc(3 * strlen(text) + 1);
	char *at = out;

	if (!out)
		return NULL;
	for (; *text; text++) {
		if (plain(*text))
			*at++ = *text;
		else
			at += sprintf(at, "%%%02X", (unsigned char)*text);
	}
	*at = '\0';
	return out;
}

static bool tls(const struct serve *s)
{
	for (int i = 0; i < s->extra_count; i++)
		if (!strcmp(s->extra[i], "--tls=on") ||
		    !strcmp(s->extra[i], "--tls=require"))
			return true;
	return false;
}

static char *socket_uri(const struct serve *s)
{
	char *full = realpath(s->socket, NULL);
	char *path = escaped(full ? full : s->socket);
	char *uri = NULL;

	if (path && asprintf(&uri, "nbd%s+unix:///?socket=%s",
			     tls(s) ? "s" : "", path) < 0)
		uri = NULL;
	free(path);
	free(full);
	return uri;
}

/* All addresses of this machine: clients want its name. */
static bool any_address(const char *listen)
{
	return !strcmp(listen, "0.0.0.0") || !strcmp(listen, "::");
}

char *serve_uri(const struct serve *s)
{
	const char *port = s->port ? s->port : SERVE_PORT;
	const char *host = s->listen ? s->listen : "localhost";
	char name[HOST_NAME_MAX + 1] = "localhost";
	char *uri;
	bool v6;

	if (s->socket)
		return socket_uri(s);
	if (any_address(host)) {
		if (gethostname(name, sizeof(name)))
			strcpy(name, "localhost");
		name[sizeof(name) - 1] = '\0';
		host = name;
	}
	v6 = strchr(host, ':');
	if (asprintf(&uri, "nbd%s://%s%s%s:%s", tls(s) ? "s" : "",
		     v6 ? "[" : "", host, v6 ? "]" : "", port) < 0)
		return NULL;
	return uri;
}

void serve_tell(const struct serve *s)
{
	char size[CLI_SIZE_TEXT], shown[VERB_SHOWN_BYTES], layers[32] = "";
	char *uri = serve_uri(s);

	if (!uri)
		return;
	if (s->layers > 1)
		snprintf(layers, sizeof(layers), ", %u layers", s->layers);
	printf("%s: %s, %s%s, %s\n", verb_shown(s->path, shown), s->type,
	       cli_size_text(s->size_bytes, size, sizeof(size)), layers,
	       s->opts.writable ? "clients may write"
	       : s->overlay	? "what clients write is thrown away"
				: "read-only");
	printf("\n    %s\n\nfor example:\n\n", uri);
	printf("    nbdinfo --map '%s'\n", uri);
	printf("    nbdcopy '%s' disk.raw\n", uri);
	printf("    qemu-img convert -O qcow2 '%s' disk.qcow2\n\n", uri);
	printf("%s\n", s->once ? "It ends with the last client."
			       : "Ctrl-C ends it.");
	fflush(stdout);
	free(uri);
}
