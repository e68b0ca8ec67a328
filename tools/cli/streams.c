/* SPDX-License-Identifier: BSD-2-Clause */
/* The standard streams' numbers are theirs, also where nobody opened them. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"

bool cli_streams_hold(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/", O_PATH) != fd)
			return false;
	return true;
}
