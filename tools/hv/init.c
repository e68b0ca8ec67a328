/* SPDX-License-Identifier: BSD-2-Clause */
/* The first process of the machine in which `hv` runs where the processor has
 * no virtualization: loads modules, mounts the shares, runs one command and
 * says how it ended. A static program; everything it does is in /plan (see
 * init.h). Whoever started the machine ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define PLAN_MAX 65536
#define WORDS_MAX 256
#define MODULE_PATH_MAX 256
#define MODULE_COMPRESSED 4 /* MODULE_INIT_COMPRESSED_FILE */
#define PORT_WAIT_MS 20000

/* msize: as large as virtio's descriptors allow. cache=none: every write and
 * fsync of the guest's disk goes to the host's file, nothing stays here.
 */
#define SHARE_OPTIONS "trans=virtio,version=9p2000.L,msize=512000,cache=none"

static int control_fd = -1;

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (control_fd < 0 || write(control_fd, line, (size_t)n) != n)
		(void)!write(STDERR_FILENO, line, (size_t)n);
}

/* Only the host ends this machine. */
__attribute__((noreturn)) static void rest(void)
{
	for (;;)
		pause();
}

__attribute__((noreturn)) static void fail(const char *what, const char *which)
{
	tell("fail %s %s: %s", what, which, strerror(errno));
	rest();
}

/* ---------------------------------------------------------------- plan -- */

struct plan {
	char text[PLAN_MAX];
	size_t len;
};

/* The next entry of kind `kind` after `*at`, or NULL. */
static const char *next(const struct plan *p, char kind, size_t *at)
{
	while (*at < p->len) {
		const char *entry = p->text + *at;

		*at += strlen(entry) + 1;
		if (entry[0] == kind)
			return entry + 1;
	}
	return NULL;
}

static void read_plan(struct plan *p)
{
	int fd = open(HV_INIT_PLAN, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		fail("open", HV_INIT_PLAN);
	n = read(fd, p->text, sizeof(p->text) - 1);
	if (n < 0)
		fail("read", HV_INIT_PLAN);
	p->len = (size_t)n;
	p->text[p->len] = '\0';
	(void)close(fd);
}

/* ------------------------------------------------------------- devices -- */

/* "PATH" or "PATH OPTIONS". */
static void load(const char *entry)
{
	char path[MODULE_PATH_MAX];
	const char *space = strchr(entry, ' ');
	const char *options = space ? space + 1 : "";
	const char *dot;
	bool packed;
	int fd;

	(void)snprintf(path, sizeof(path), "%.*s",
		       space ? (int)(space - entry) : (int)strlen(entry),
		       entry);
	dot = strrchr(path, '.');
	packed = dot && strcmp(dot, ".ko") != 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, options,
			       packed ? MODULE_COMPRESSED : 0) < 0 &&
		       errno != EEXIST))
		fail("load", path);
	(void)close(fd);
}

static void load_all(const struct plan *p, char kind)
{
	const char *path;
	size_t at = 0;

	while ((path = next(p, kind, &at)) != NULL)
		load(path);
}

/* Ports come up a moment after their driver. */
static int open_port(enum hv_init_port nr)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/vport0p%d", nr);
	for (int ms = 0; ms < PORT_WAIT_MS; ms++) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		(void)poll(NULL, 0, 1);
	}
	fail("open", path);
}

static void mount_shares(const struct plan *p, char kind, unsigned long flags)
{
	const char *tag;
	char dir[64];
	size_t at = 0;

	while ((tag = next(p, kind, &at)) != NULL) {
		snprintf(dir, sizeof(dir), "/%s", tag);
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			fail("mkdir", dir);
		if (mount(tag, dir, "9p", flags, SHARE_OPTIONS) < 0)
			fail("mount", dir);
	}
}

/* ------------------------------------------------------------- command -- */

static void collect(const struct plan *p, char kind, char *words[WORDS_MAX])
{
	const char *word;
	size_t at = 0, n = 0;

	while (n < WORDS_MAX - 1 && (word = next(p, kind, &at)) != NULL)
		words[n++] = (char *)(uintptr_t)word;
	words[n] = NULL;
}

static pid_t start(const struct plan *p)
{
	char *argv[WORDS_MAX], *envp[WORDS_MAX];
	int console = open_port(HV_INIT_PORT_CONSOLE);
	int error = open_port(HV_INIT_PORT_ERROR);
	pid_t pid;

	collect(p, 'a', argv);
	collect(p, 'e', envp);
	pid = fork();
	if (pid < 0)
		fail("start", HV_INIT_COMMAND);
	if (pid == 0) {
		if (dup2(console, 0) == 0 && dup2(console, 1) == 1 &&
		    dup2(error, 2) == 2)
			(void)execve(HV_INIT_COMMAND, argv, envp);
		tell("fail run %s: %s", HV_INIT_COMMAND, strerror(errno));
		_exit(127);
	}
	(void)close(console);
	(void)close(error);
	return pid;
}

/* A process of its own passes requests to stop on: this one waits. */
static void start_listener(pid_t command)
{
	char byte;

	if (fork() != 0)
		return;
	while (read(control_fd, &byte, 1) == 1)
		if (byte == HV_INIT_STOP)
			(void)kill(command, SIGTERM);
	_exit(0);
}

static void wait_for(pid_t pid, int *status)
{
	pid_t got;

	do
		got = waitpid(pid, status, 0);
	while (got < 0 && errno == EINTR);
}

/* KVM's modules take their time; the rest goes on meanwhile. */
static pid_t load_in_background(const struct plan *p)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	load_all(p, 'k');
	_exit(0);
}

/* A guest that reads memory before it writes it, as GRUB's relocator does, is
 * given one huge page of zeros for it, and small pages by its next write: then
 * each of those is a fault, which costs most in here. Without that page it has
 * huge ones of its own at once. A kernel that has no such thing is fine, too.
 */
static void no_huge_zero_page(void)
{
	int fd = open("/sys/kernel/mm/transparent_hugepage/use_zero_page",
		      O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	(void)close(fd);
}

int main(void)
{
	static struct plan plan;
	pid_t loader, command;
	int status;

	if (mount("dev", "/dev", "devtmpfs", 0, "") < 0 ||
	    mount("proc", "/proc", "proc", 0, "") < 0 ||
	    mount("sys", "/sys", "sysfs", 0, "") < 0)
		fail("mount", "/dev, /proc or /sys");
	no_huge_zero_page();
	read_plan(&plan);
	loader = load_in_background(&plan);
	load_all(&plan, 'm');
	control_fd = open_port(HV_INIT_PORT_CONTROL);
	mount_shares(&plan, 'r', MS_RDONLY);
	mount_shares(&plan, 'w', 0);
	wait_for(loader, &status);
	tell("up");
	command = start(&plan);
	start_listener(command);
	wait_for(command, &status);
	/* The shares stay mounted: nothing of them is kept here. */
	tell("exit %d", WIFEXITED(status) ? WEXITSTATUS(status)
					  : 256 + WTERMSIG(status));
	rest();
}
