/* SPDX-License-Identifier: BSD-2-Clause */
/* The places that a sandbox is to leave open, noted before it is entered. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.h"

static void add_fd(struct sandbox *s, int fd, enum sandbox_access access)
{
	struct sandbox_place *more;

	if (fd < 0)
		return;
	more = reallocarray(s->places, s->count + 1, sizeof(*more));
	if (!more) {
		close(fd);
		s->error = -ENOMEM;
		return;
	}
	s->places = more;
	more[s->count++] = (struct sandbox_place){fd, access};
}

void sandbox_allow(struct sandbox *s, const char *path,
		   enum sandbox_access access)
{
	int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;

	if (path && fd < 0 && (errno == EMFILE || errno == ENFILE))
		s->error = -errno;
	add_fd(s, fd, access);
}

/* What is in `path` before its last component; "." for none. */
static char *dirname_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

void sandbox_allow_dir_of(struct sandbox *s, const char *path,
			  enum sandbox_access access)
{
	char *real, *dir;

	if (!path)
		return;
	real = realpath(path, NULL);
	dir = dirname_of(real ? real : path);
	if (!dir)
		s->error = -ENOMEM;
	sandbox_allow(s, dir, access);
	free(dir);
	free(real);
}

void sandbox_places_free(struct sandbox *s)
{
	for (size_t i = 0; i < s->count; i++)
		close(s->places[i].fd);
	free(s->places);
	s->places = NULL;
	s->count = 0;
}
