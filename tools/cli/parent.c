/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the parents of a differencing disk may be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

char *cli_parent_dir(const char *path)
{
	char *dir = realpath(path, NULL), *slash;

	/* A failure must not look like an image that may have no parents: the
	 * directory of the name is right as well unless it is a link, and then
	 * opening the image says that it is elsewhere.
	 */
	if (!dir && errno != ENOENT && *path)
		dir = strdup(path);
	slash = dir ? strrchr(dir, '/') : NULL;
	if (slash)
		slash[slash == dir] = '\0';
	else if (dir)
		strcpy(dir, ".");
	return dir;
}
