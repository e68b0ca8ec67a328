/* SPDX-License-Identifier: BSD-2-Clause */
/* A qemu-nbd of our own: the reader of qcow2, VMDK, VHDX and VDI.
 *
 * It gets a listening socket that we made (systemd's socket activation: file
 * descriptor 3, LISTEN_FDS and LISTEN_PID). The socket lies in a directory
 * that only we may enter, and is connected to before the child exists; then
 * its name is removed. So nobody else can connect, nothing is left in the file
 * system whatever ends us, and the child, which ends with its last client or
 * when its parent dies, is not left either.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nbd.h"

#define PROGRAM "qemu-nbd"
/* Where it is if PATH does not say. */
#define PLACES "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin"
#define LISTEN_FD 3
#define ENV_MAX 512u

static int fail(struct vhd_err *err, const char *what)
{
	int code = -errno;

	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

static int find(char *path, size_t n, struct vhd_err *err)
{
	const char *places = getenv("PATH");
	const char *at = places && *places ? places : PLACES;

	while (*at) {
		size_t len = strcspn(at, ":");
		int took = snprintf(path, n, "%.*s/" PROGRAM, (int)len, at);

		if (len && took > 0 && (size_t)took < n &&
		    access(path, X_OK) == 0)
			return 0;
		at += len + (at[len] == ':');
	}
	return vhd_fail(err, -ENOENT, VHD_WHY_UNSUPPORTED, 0,
			"needs " PROGRAM ", which is not installed; Debian "
			"has it in qemu-utils");
}

/* --------------------------------------------------------------- sockets -- */

static int socket_new(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Listen at `addr` and connect our ends to it. */
static int sockets_join(struct convert_qemu *q, const struct sockaddr_un *addr,
			int listen_fd)
{
	const struct sockaddr *a = (const struct sockaddr *)addr;

	if (bind(listen_fd, a, sizeof(*addr)) < 0 ||
	    listen(listen_fd, CONVERT_NBD_CONNS_MAX) < 0)
		return -1;
	for (unsigned i = 0; i < CONVERT_NBD_CONNS_MAX; i++) {
		q->fds[i] = socket_new();
		if (q->fds[i] < 0 || connect(q->fds[i], a, sizeof(*addr)) < 0)
			return -1;
	}
	return 0;
}

/* The listening socket, or -1 with errno set. */
static int sockets_make(struct convert_qemu *q)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");
	char dir[80];
	int fd, rc, code;

	snprintf(dir, sizeof(dir), "%s/vhd-nbdXXXXXX",
		 tmp && *tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return -1;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
	fd = socket_new();
	rc = fd < 0 ? -1 : sockets_join(q, &addr, fd);
	code = errno;
	(void)unlink(addr.sun_path);
	(void)rmdir(dir);
	if (rc < 0 && fd >= 0)
		close(fd);
	errno = code;
	return rc < 0 ? -1 : fd;
}

/* ----------------------------------------------------------------- child -- */

/* qemu's options part at commas; a comma in a name is written twice. A name
 * given this way is a file's, whatever it looks like.
 */
static char *image_option(const char *format, const char *path)
{
	char *text = malloc(strlen(path) * 2 + 128);
	char *to;

	if (!text)
		return NULL;
	to = text + sprintf(text,
			    "driver=%.16s,file.driver=file,file.filename=",
			    format);
	for (; *path; path++) {
		*to++ = *path;
		if (*path == ',')
			*to++ = ',';
	}
	*to = '\0';
	return text;
}

/* Our environment and what the child is told of its socket. LISTEN_PID is
 * filled in by the child itself.
 */
static void environment(char **env, char *pid_entry)
{
	static char fds[] = "LISTEN_FDS=1";
	unsigned n = 0;

	for (char **e = environ; *e && n < ENV_MAX; e++)
		if (strncmp(*e, "LISTEN_", 7) != 0)
			env[n++] = *e;
	env[n++] = fds;
	env[n++] = pid_entry;
	env[n] = NULL;
}

/* Between fork and exec: only what may be called there. */
static void put_pid(char *at, pid_t pid)
{
	char digits[16];
	unsigned n = 0;

	do
		digits[n++] = (char)('0' + pid % 10);
	while ((pid /= 10) > 0);
	while (n)
		*at++ = digits[--n];
	*at = '\0';
}

struct child {
	char program[512];
	char *argv[9];
	char *env[ENV_MAX + 3];
	char listen_pid[40];
	int listen_fd;
	int null_fd;
	int said_fd;
	pid_t parent;
};

static _Noreturn void child_run(struct child *c)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGXFSZ, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	/* Ctrl-C is ours to hear: it would end the child under our reads. */
	setpgid(0, 0);
	put_pid(c->listen_pid + strlen("LISTEN_PID="), getpid());
	/* Standard output may be where the disk goes. */
	(void)dup2(c->null_fd, STDIN_FILENO);
	(void)dup2(c->null_fd, STDOUT_FILENO);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == c->parent &&
	    dup2(c->said_fd, STDERR_FILENO) >= 0 &&
	    dup2(c->listen_fd, LISTEN_FD) >= 0) {
		(void)fcntl(LISTEN_FD, F_SETFD, 0);
		execve(c->program, c->argv, c->env);
	}
	_exit(127);
}

static int child_start(struct convert_qemu *q, struct child *c, char *option,
		       struct vhd_err *err)
{
	static char read_only[] = "--read-only", shared[] = "--shared=4";
	static char opts[] = "--image-opts", name[] = PROGRAM;
	unsigned n = 0;

	c->argv[n++] = name;
	c->argv[n++] = read_only;
	c->argv[n++] = shared;
	c->argv[n++] = opts;
	c->argv[n++] = option;
	strcpy(c->listen_pid, "LISTEN_PID=");
	environment(c->env, c->listen_pid);
	c->parent = getpid();
	q->pid = fork();
	if (q->pid < 0) {
		q->pid = 0;
		return fail(err, "cannot start " PROGRAM);
	}
	if (q->pid == 0)
		child_run(c);
	return 0;
}

static int child_prepare(struct convert_qemu *q, struct child *c,
			 struct vhd_err *err)
{
	int rc = find(c->program, sizeof(c->program), err);

	if (rc)
		return rc;
	q->said_fd = memfd_create("qemu-nbd", MFD_CLOEXEC);
	c->said_fd = q->said_fd;
	c->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (c->said_fd >= 0 && c->null_fd >= 0)
		c->listen_fd = sockets_make(q);
	return c->listen_fd < 0 ? fail(err, "cannot prepare for " PROGRAM) : 0;
}

int convert_qemu_start(struct convert_qemu *q, const char *format,
		       const char *path, struct vhd_err *err)
{
	struct child *c = calloc(1, sizeof(*c));
	char *option = image_option(format, path);
	int rc = -ENOMEM;

	if (!c || !option) {
		vhd_fail(err, rc, VHD_WHY_NOMEM, 0, "out of memory");
		goto out;
	}
	c->null_fd = c->listen_fd = -1;
	rc = child_prepare(q, c, err);
	if (!rc)
		rc = child_start(q, c, option, err);
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->null_fd >= 0)
		close(c->null_fd);
out:
	free(option);
	free(c);
	return rc;
}

void convert_qemu_explain(struct convert_qemu *q, struct vhd_err *err)
{
	char said[sizeof(err->text)] = "";
	const char *text = said;
	ssize_t n;

	if (q->said_fd < 0)
		return;
	n = pread(q->said_fd, said, sizeof(said) - 1, 0);
	if (n <= 0)
		return;
	said[strcspn(said, "\n")] = '\0';
	/* "qemu-nbd: Failed to blk_new_open 'OPTIONS': why" */
	if (strstr(said, "': "))
		text = strstr(said, "': ") + strlen("': ");
	else if (!strncmp(said, PROGRAM ": ", strlen(PROGRAM ": ")))
		text += strlen(PROGRAM ": ");
	vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0, PROGRAM " says: %s",
		 text);
}

void convert_qemu_stop(struct convert_qemu *q)
{
	for (unsigned i = 0; i < CONVERT_NBD_CONNS_MAX; i++)
		if (q->fds[i] >= 0)
			close(q->fds[i]);
	if (q->pid > 0) {
		(void)kill(q->pid, SIGTERM);
		while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (q->said_fd >= 0)
		close(q->said_fd);
	q->pid = 0;
	q->said_fd = -1;
	for (unsigned i = 0; i < CONVERT_NBD_CONNS_MAX; i++)
		q->fds[i] = -1;
}
