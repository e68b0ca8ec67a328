/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl NAME console: this terminal and the guest's console, until Ctrl-A x,
 * the end of input that is no terminal, or the end of the guest.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
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

/* What was typed: as much as hv has not taken yet waits here, so that the keys
 * to leave by are seen although it takes nothing.
 */
struct typing {
	struct hv_escape escape;
	bool over; /* no more input */
	uint8_t bytes[4096];
	size_t len;
};

static void help(void)
{
	static const char text[] =
		"\r\nCtrl-A x      leave the console; the guest goes on\r\n"
		"Ctrl-A Ctrl-A send Ctrl-A to the guest\r\n"
		"Ctrl-A h      this help\r\n";

	(void)write_all((const uint8_t *)text, sizeof(text) - 1);
}

/* 1: go on; 0: the guest has ended; or a negative errno. */
static int pass_on(int fd, struct typing *t)
{
	int rc = ctl_send(fd, t->bytes, t->len, NULL, 0, MSG_DONTWAIT);

	if (rc == -EAGAIN)
		return 1;
	if (rc)
		return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
	t->len = 0;
	return 1;
}

/* 1: go on; 0: leave; or a negative errno. */
static int typed(struct typing *t)
{
	uint8_t *to = t->bytes + t->len;
	ssize_t n = read(STDIN_FILENO, to, sizeof(t->bytes) - t->len);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	t->over = n == 0;
	t->len += hv_escape_filter(&t->escape, to, (size_t)n);
	if (t->escape.help) {
		t->escape.help = false;
		help();
	}
	return 1;
}

int ctl_attach(int fd)
{
	struct typing t = {0};
	int rc = ctl_patience(fd, 0) ? -errno : 1;

	hv_terminal_signals(false);
	while (rc > 0) {
		bool room = !t.over && t.len < sizeof(t.bytes);
		struct pollfd p[2] = {
			{.fd = room ? STDIN_FILENO : -1, .events = POLLIN},
			{.fd = fd,
			 .events = t.len ? POLLIN | POLLOUT : POLLIN}};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents & ~POLLOUT)
			rc = from_guest(fd);
		if (rc > 0 && p[0].revents)
			rc = typed(&t);
		if (rc > 0 && t.len)
			rc = pass_on(fd, &t);
		if (t.escape.quit)
			break;
	}
	rc = t.escape.quit && rc > 0 ? 0 : rc;
	hv_terminal_restore();
	if (rc == 0)
		return CLI_OK;
	cli_tell("hv ctl: console: %s\n", strerror(-rc));
	return CLI_IO;
}
