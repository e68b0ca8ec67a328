/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl beside an hv that is there and does not answer, as one that was
 * stopped or hangs: each command comes to an end, in its time and with its own
 * status, and a key or signal ends it before.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/lib/ctlprogram.h"
#include "tools/hv/hv.h"

struct world {
	char dir[64];
	struct ctl_place place;
	int listen_fd;
};

static int set_up(void **state)
{
	static struct world w;
	struct vhd_err err;

	strcpy(w.dir, "/tmp/vhdctl.XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	setenv("XDG_RUNTIME_DIR", w.dir, 1);
	assert_int_equal(ctl_place_find("vm", true, &w.place, &err), 0);
	assert_int_equal(ctl_listen(&w.place, &w.listen_fd, &err), 0);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char path[128];

	close(w->listen_fd);
	assert_int_equal(unlinkat(w->place.dir_fd, w->place.name, 0), 0);
	ctl_place_close(&w->place);
	snprintf(path, sizeof(path), "%s/hv", w->dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(w->dir), 0);
	return 0;
}

/* The shortest there is; nobody works meanwhile. */
static void who_gets_no_answer_is_told_so_in_time(void **state)
{
	(void)state;
	assert_int_equal(program("vm", "pause", "--timeout", "1", NULL), 4);
	assert_string_equal(out, "");
	assert_int_equal(program("vm", "disk", "list", "--timeout", "1", NULL),
			 4);
	assert_string_equal(out, "");
}

static void an_answer_may_take_its_time_and_no_longer(void **state)
{
	const struct ctl_request r = {.command = CTL_INFO};
	struct world *w = *state;
	struct vhd_err err;
	int fd;

	assert_int_equal(ctl_connect(&w->place, &fd, &err), 0);
	assert_int_equal(ctl_patience_ms(fd), 0); /* for ever */
	assert_int_equal(ctl_patience(fd, 20), 0);
	assert_in_range(ctl_patience_ms(fd), 20, 30);
	assert_null(ctl_ask(fd, &r, NULL, 0));
	close(fd);
}

/* Its queue is full. Who starts a guest of that name does not wait, either. */
static void one_that_takes_no_client_is_there_all_the_same(void **state)
{
	struct world *w = *state;
	struct vhd_err err;
	int fd[64], other, n = 0, rc;

	while ((rc = ctl_connect(&w->place, &fd[n], &err)) == 0)
		assert_true(++n < 64);
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(ctl_listen(&w->place, &other, &err), -EBUSY);
	assert_int_equal(program("vm", "info", NULL), 4);
	while (n)
		close(fd[--n]);
}

/* It has begun to wait when its request is here. */
static void an_interrupt_ends_it_at_once(void **state)
{
	struct world *w = *state;
	struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};
	char request[CTL_REQUEST_BYTES_MAX];
	int status, fds[CTL_FILES_MAX], fd;
	unsigned count;
	pid_t pid = fork();

	if (pid == 0)
		_exit(program("vm", "pause", "--timeout", "0", NULL));
	assert_int_equal(poll(&p, 1, 60000), 1);
	fd = accept(w->listen_fd, NULL, NULL);
	assert_true(fd >= 0);
	assert_true(ctl_receive(fd, request, sizeof(request), fds, &count,
				0) > 0);
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
	close(fd);
}

static void a_time_that_is_none_is_usage(void **state)
{
	(void)state;
	assert_int_equal(program("vm", "info", "--timeout", "x", NULL), 2);
	assert_int_equal(program("vm", "info", "--timeout", "86401", NULL), 2);
	assert_int_equal(program("vm", "disk", "list", "--timeout", "-1", NULL),
			 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(who_gets_no_answer_is_told_so_in_time),
		T(an_answer_may_take_its_time_and_no_longer),
		T(one_that_takes_no_client_is_there_all_the_same),
		T(an_interrupt_ends_it_at_once),
		T(a_time_that_is_none_is_usage),
	};

	if (cli_sandbox_set("test", "off"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
