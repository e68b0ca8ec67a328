/* SPDX-License-Identifier: BSD-2-Clause */
/* One command, from its words to its end; see toolcase.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/proof/toolcase.h"

#define TIME_MAX_MS 60000
#define ALL_WORDS   (CASE_WORDS_MAX + 24)

static void give_up(const char *what)
{
	perror(what);
	abort();
}

/* In the child. */
_Noreturn static void become(const char *const *words,
			     const struct run_how *how, const int out[2])
{
	const char *argv[ALL_WORDS];
	unsigned n = 0;
	int null = open("/dev/null", O_RDONLY);

	for (unsigned i = 0; how->before && how->before[i]; i++)
		argv[n++] = how->before[i];
	for (unsigned i = 0; words[i]; i++)
		argv[n++] = words[i];
	argv[n] = NULL;
	for (unsigned i = 0; how->env && how->env[i]; i++)
		putenv((char *)(uintptr_t)how->env[i]);
	if (how->file_limit) {
		const struct rlimit l = {how->file_limit, how->file_limit};

		if (setrlimit(RLIMIT_FSIZE, &l))
			_exit(125);
	}
	setpgid(0, 0);
	if (chdir(how->dir) || null < 0 || dup2(null, 0) < 0 ||
	    dup2(out[0], 1) < 0 || dup2(out[1], 2) < 0)
		_exit(125);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(126);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* More of one stream; false at its end. What does not fit is dropped. */
static bool take(int fd, char *text, size_t *len)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t room = RUN_TEXT_MAX - 1 - *len, fits;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	fits = (size_t)n < room ? (size_t)n : room;
	memcpy(text + *len, buf, fits);
	*len += fits;
	text[*len] = '\0';
	return true;
}

static void listen_to(int out, int err, pid_t pid, struct run *r)
{
	struct pollfd p[2] = {{.fd = out, .events = POLLIN},
			      {.fd = err, .events = POLLIN}};
	int64_t end = now_ms() + TIME_MAX_MS;

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int64_t left = end - now_ms();

		if (left <= 0 && !r->hung) {
			r->hung = true;
			kill(-pid, SIGKILL);
		}
		if (poll(p, 2, left > 0 ? (int)left : 1000) < 0 &&
		    errno != EINTR)
			give_up("poll");
		if (p[0].revents && !take(out, r->out, &r->out_len))
			p[0].fd = -1;
		if (p[1].revents && !take(err, r->err, &r->err_len))
			p[1].fd = -1;
		p[0].revents = p[1].revents = 0;
	}
}

void run_words(const char *const *words, const struct run_how *how,
	       struct run *r)
{
	int out[2], err[2], status;
	pid_t pid;

	r->out_len = r->err_len = 0;
	r->out[0] = r->err[0] = '\0';
	r->hung = false;
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0)
		become(words, how, (const int[]){out[1], err[1]});
	close(out[1]);
	close(err[1]);
	listen_to(out[0], err[0], pid, r);
	close(out[0]);
	close(err[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
	r->status = WIFEXITED(status) ? WEXITSTATUS(status)
				      : 128 + WTERMSIG(status);
}
