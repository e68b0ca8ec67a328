/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the parents of a differencing disk may be. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

char *cli_parent_dir(const char *path)
{
	char *dir = realpath(path, NULL);
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (slash)
		slash[slash == dir] = '\0';
	return dir;
}
