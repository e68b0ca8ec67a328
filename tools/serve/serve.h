/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd serve: what was asked for, nbdkit's command line made of it, and the
 * address that clients use. Private to tools/.
 */
#ifndef SERVE_H
#define SERVE_H

#include <limits.h>

#include "tools/verb/verb.h"

/* Exit status of a child that could not become nbdkit. */
#define SERVE_NOT_RUN 127

#define SERVE_PORT "10809" /* registered for NBD */

struct serve {
	const char *prog;
	const char *path;
	struct vhd_open_opts opts;
	const char *format; /* as given, or NULL */
	struct verb_parents parents;
	bool overlay;
	bool once;
	bool quiet;
	const char *socket; /* one of these two, or with `run` neither */
	const char *port;
	const char *listen;
	const char *run;
	char **extra; /* for nbdkit, after all that is ours */
	int extra_count;
	int ready_fd; /* where nbdkit writes its pid, or -1 */

	/* found out */
	char plugin[PATH_MAX];
	char place[PATH_MAX - 8]; /* directory made for the socket, or "" */
	char own_socket[PATH_MAX];
	uint64_t size_bytes;
	const char *type;
	uint32_t layers;
};

/* Where our plugin is: in this program's tree, or known to nbdkit by name. */
int serve_plugin_find(struct serve *s);

/* nbdkit's argument vector, for exec; NULL: no memory. */
char **serve_argv(const struct serve *s);
void serve_argv_free(char **argv);

/* The address of what is served. The caller frees it; NULL: no memory. */
char *serve_uri(const struct serve *s);

/* Tell the user what is served where, and what to do with it. */
void serve_tell(const struct serve *s);

#endif
