/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd unmount: take away what vhd mount has put on a directory, and wait until
 * the image is closed, so that whoever comes next finds it free and in order.
 *
 * What is mounted there is either our file system of a disk's files, or a file
 * system whose device is one of these files, by way of a loop device or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/verb/verb.h"

#define WAIT_MS 30000

static const struct cli_option options[] = {
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

struct unmount {
	const char *prog;
	char *dir;             /* absolute; owned */
	char device[PATH_MAX]; /* what is mounted there */
	char type[64];
};

/* ------------------------------------------------------------- mountinfo -- */

/* \040 and its like, as mountinfo has them. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' &&
		    text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') * 64 +
				       (text[2] - '0') * 8 + text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* The last line for the directory is what is seen there. */
static bool look_up(struct unmount *u)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	while (f && getline(&line, &room, f) > 0) {
		char point[PATH_MAX], type[64], device[PATH_MAX];
		char *dash = strstr(line, " - ");

		if (!dash ||
		    sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 ||
		    sscanf(dash, " - %63s %4095s", type, device) != 2)
			continue;
		unescape(point);
		unescape(device);
		if (strcmp(point, u->dir) != 0)
			continue;
		strcpy(u->type, type);
		strcpy(u->device, device);
		found = true;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* A loop device's file takes its place. */
static void through_loop(struct unmount *u)
{
	char name[64], path[128];
	FILE *f;

	if (sscanf(u->device, "/dev/%63[a-z0-9]", name) != 1 ||
	    strncmp(name, "loop", 4) != 0)
		return;
	snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", name);
	f = fopen(path, "re");
	if (f && fgets(u->device, sizeof(u->device), f))
		u->device[strcspn(u->device, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* ------------------------------------------------------------ the server -- */

/* Who serves the files of a directory, or -1. */
static pid_t server_of(const char *dir)
{
	char text[16];
	ssize_t n = getxattr(dir, "user.vhd.pid", text, sizeof(text) - 1);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

static pid_t server(struct unmount *u)
{
	char dir[PATH_MAX];
	char *slash;

	if (!strcmp(u->type, "fuse.vhd"))
		return server_of(u->dir);
	through_loop(u);
	snprintf(dir, sizeof(dir), "%s", u->device);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return -1;
	*slash = '\0';
	return server_of(dir);
}

/* Until it has ended. */
static bool await(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int64_t end = cli_now_ms() + WAIT_MS;
	int64_t left = WAIT_MS;

	while (left > 0) {
		int n = poll(&p, 1, (int)left);

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		left = end - cli_now_ms();
	}
	return false;
}

/* ------------------------------------------------------------ unmounting -- */

/* What was written becomes durable, and a failure is told, before it goes. */
static int flush(const struct unmount *u)
{
	char path[PATH_MAX];
	int fd, rc;

	if (strcmp(u->type, "fuse.vhd") != 0 ||
	    snprintf(path, sizeof(path), "%s/disk", u->dir) >=
		    (int)sizeof(path))
		return CLI_OK;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return CLI_OK;
	rc = fsync(fd);
	close(fd);
	if (!rc)
		return CLI_OK;
	cli_tell("%s: %s: what was written could not be made durable: "
			"%s\n",
		u->prog, u->dir, strerror(errno));
	return CLI_IO;
}

/* Of a user's own mount fusermount3 takes care. */
static int helper(const struct unmount *u)
{
	char *argv[] = {"fusermount3", "-u", "-q", "--", u->dir, NULL};
	pid_t child = fork();
	int status;

	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return child > 0 && WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

static int unmount(const struct unmount *u)
{
	bool refused;

	if (!umount2(u->dir, UMOUNT_NOFOLLOW))
		return CLI_OK;
	if (errno == EPERM) {
		if (!helper(u))
			return CLI_OK;
		errno = EPERM;
	}
	refused = errno == EPERM || errno == EBUSY;
	cli_tell("%s: %s: cannot unmount: %s\n", u->prog, u->dir,
		errno == EPERM && access("/etc/mtab", F_OK) < 0
			? "fusermount3 needs /etc/mtab: "
			  "ln -s ../proc/self/mounts /etc/mtab"
		: refused ? "it is in use: close what is open there"
			  : strerror(errno));
	return refused ? CLI_REFUSED : CLI_IO;
}

static int take_away(struct unmount *u)
{
	int pidfd = -1, status;
	pid_t pid;

	if (!look_up(u)) {
		cli_tell("%s: %s: nothing is mounted there\n", u->prog,
			u->dir);
		return CLI_REFUSED;
	}
	pid = server(u);
	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		cli_tell("%s: %s: not mounted by vhd mount: use "
				"umount\n",
			u->prog, u->dir);
		return CLI_REFUSED;
	}
	status = flush(u);
	if (!status)
		status = unmount(u);
	if (!status && !await(pidfd)) {
		cli_tell("%s: %s: unmounted, but the image is still "
				"open\n",
			u->prog, u->dir);
		status = CLI_IO;
	}
	close(pidfd);
	return status;
}

int verb_unmount(const char *prog, int argc, char **argv)
{
	struct unmount u = {.prog = prog};
	struct cli_options o = {
		.prog = prog,
		.usage = "[options] DIR",
		.about = "Unmount what vhd mount has mounted, and wait until "
			 "the image is closed.",
		.table = options,
		.argc = argc,
		.argv = argv,
	};
	int status = CLI_OK, id;

	do
		id = cli_options_next(&o, &status);
	while (id > 0);
	if (id < 0)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(prog, "needs one directory");
	u.dir = realpath(argv[o.first_operand], NULL);
	if (!u.dir) {
		cli_tell("%s: %s: %s: check the name\n", prog,
			argv[o.first_operand], strerror(errno));
		return CLI_REFUSED;
	}
	status = take_away(&u);
	free(u.dir);
	return status;
}
