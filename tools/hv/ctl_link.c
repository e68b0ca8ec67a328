/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that connects to an NBD server for a running hv, which connects to
 * nothing itself: `hv ctl NAME disk add` leaves it behind. It holds the one URI
 * that it was given and one end of a socket; hv has the other end, asks there
 * for each connection, and by closing it ends this process. So it lives as long
 * as the disk, or as hv.
 *
 * It is in the sandbox of a tool that speaks to a server, has no terminal and
 * none of its maker's other files open.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/sandbox/sandbox.h"

#define LINK_FD 3

/* A socket's relative name is one in this directory. */
static bool needs_directory(const char *uri)
{
	const char *at = strstr(uri, "socket=");

	return at && at[7] != '/' && strncasecmp(at + 7, "%2f", 3) != 0;
}

static int leave(int fd, const char *uri)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || setsid() < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
		return -errno;
	if (fd != LINK_FD && dup2(fd, LINK_FD) < 0)
		return -errno;
	if (close_range(LINK_FD + 1, ~0u, 0) < 0)
		return -errno;
	if (!needs_directory(uri) && chdir("/") < 0)
		return -errno;
	(void)prctl(PR_SET_NAME, "hv-connect"); /* for people only */
	return 0;
}

/* Nobody is there to be told of a failure but hv, which sees the end. */
static _Noreturn void serve(int fd, const char *uri)
{
	struct sandbox s = {.role = SANDBOX_REMOTE};
	struct vhd_err err;
	int rc = leave(fd, uri);

	if (rc == 0) {
		sandbox_allow_server(&s, uri);
		rc = sandbox_try(&s, "hv ctl", &err);
	}
	if (rc == 0)
		rc = vhd_nbd_connector(LINK_FD, uri, &err);
	_exit(rc ? CLI_IO : CLI_OK);
}

int ctl_link_start(const char *uri, int *out, struct vhd_err *err)
{
	int fds[2], rc = hv_nbd_load(err);
	pid_t pid;

	if (rc)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"no socket for the process that connects: %s",
				strerror(errno));
	pid = fork();
	if (pid == 0)
		serve(fds[1], uri);
	rc = pid < 0 ? -errno : 0;
	(void)close(fds[1]);
	if (rc == 0) {
		*out = fds[0];
		return 0;
	}
	(void)close(fds[0]);
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"no process that connects: %s", strerror(-rc));
}
