/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl NAME console: this terminal and the guest's console, until Ctrl-A x,
 * the end of input that is no terminal, or the end of the guest.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static int write_all(const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 1: there may be more; 0: the guest has ended; or a negative errno. */
static int from_guest(int fd)
{
	uint8_t bytes[CTL_CONSOLE_CHUNK];
	int fds[CTL_FILES_MAX], rc;
	unsigned count;
	ssize_t n = ctl_receive(fd, bytes, sizeof(bytes), fds, &count, 0);

	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
	if (n <= 0)
		return n == -ECONNRESET ? 0 : (int)n;
	rc = write_all(bytes, (size_t)n);
	return rc ? rc : 1;
}

struct typing {
	struct hv_escape escape;
	bool over; /* no more input */
};

static void help(void)
{
	static const char text[] =
		"\r\nCtrl-A x      leave the console; the guest goes on\r\n"
		"Ctrl-A Ctrl-A send Ctrl-A to the guest\r\n"
		"Ctrl-A h      this help\r\n";

	(void)write_all((const uint8_t *)text, sizeof(text) - 1);
}

/* 1: go on; 0: leave; or a negative errno. */
static int to_guest(int fd, struct typing *t)
{
	uint8_t bytes[1024];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	size_t len;
	int rc;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	if (n == 0) {
		t->over = true;
		return 1;
	}
	len = hv_escape_filter(&t->escape, bytes, (size_t)n);
	if (t->escape.help) {
		t->escape.help = false;
		help();
	}
	rc = len ? ctl_send(fd, bytes, len, NULL, 0, 0) : 0;
	if (rc)
		return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
	return t->escape.quit ? 0 : 1;
}

int ctl_attach(int fd)
{
	struct typing t = {0};
	int rc = 1;

	while (rc > 0) {
		struct pollfd p[2] = {
			{.fd = t.over ? -1 : STDIN_FILENO, .events = POLLIN},
			{.fd = fd, .events = POLLIN}};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			rc = from_guest(fd);
		if (rc > 0 && p[0].revents)
			rc = to_guest(fd, &t);
	}
	hv_terminal_restore();
	if (rc == 0)
		return CLI_OK;
	cli_tell("hv ctl: console: %s\n", strerror(-rc));
	return CLI_IO;
}
