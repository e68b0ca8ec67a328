/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes on their way out: all of them in order where somebody reads, and nobody
 * waits for long where nobody does.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hv/outlet.h"
#include "tests/lib/cm.h"

struct source {
	size_t left;
	uint8_t next;
	sem_t go; /* one for each time it gives something */
	int broken;
	unsigned breaks;
};

static size_t take(void *arg, uint8_t *to, size_t cap)
{
	struct source *s = arg;
	size_t n;

	while (sem_wait(&s->go) < 0)
		;
	n = s->left < cap ? s->left : cap;
	for (size_t i = 0; i < n; i++)
		to[i] = s->next++;
	s->left -= n;
	return n;
}

static void broken(void *arg, int code)
{
	struct source *s = arg;

	s->broken = code;
	s->breaks++;
}

static struct hv_outlet *make(struct source *s, int fd, size_t bytes,
			      unsigned gos)
{
	const struct hv_outlet_opts o = {
		.fd = fd,
		.name = "test",
		.take = take,
		.broken = broken,
		.arg = s,
	};
	struct hv_outlet *out = NULL;
	struct vhd_err err;

	memset(s, 0, sizeof(*s));
	s->left = bytes;
	sem_init(&s->go, 0, gos);
	assert_int_equal(hv_outlet_create(&o, &out, &err), 0);
	assert_int_equal(hv_outlet_begin(out, &err), 0);
	return out;
}

/* Until its last writer has closed it: how many, all in order. */
static size_t read_all(int fd)
{
	uint8_t bytes[512], next = 0;
	size_t all = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++, all++)
			assert_int_equal(bytes[i], next++);
	return all;
}

static void *reader(void *arg)
{
	size_t *all = arg;

	*all = read_all((int)*all);
	return NULL;
}

/* All of it comes out of the pipe, which is closed. */
static void comes_out_whole(int p[2])
{
	enum { BYTES = 300000 };
	size_t got = (size_t)p[0];
	struct source s;
	struct hv_outlet *o = make(&s, p[1], BYTES, BYTES);
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, reader, &got), 0);
	assert_true(hv_outlet_end(o, 60000, 60000));
	close(p[1]);
	pthread_join(t, NULL);
	assert_int_equal(got, BYTES);
	assert_int_equal(s.breaks, 0);
	close(p[0]);
}

static void what_is_taken_is_written_whole_and_in_order(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	comes_out_whole(p);
}

/* Somebody else's O_NONBLOCK on the same file is no error. */
static void a_descriptor_that_would_not_wait_is_waited_for(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	assert_int_equal(fcntl(p[0], F_SETFL, 0), 0);
	comes_out_whole(p);
}

static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Into a new pipe that holds but little of it. */
static struct hv_outlet *stuck(struct source *s, int p[2])
{
	assert_int_equal(pipe(p), 0);
	return make(s, p[1], 1u << 20, 1u << 20);
}

static void wait_until_open(unsigned files)
{
	while (open_files() != files)
		sched_yield();
}

/* It stays behind with a descriptor of its own, and goes when it can. */
static void one_that_nobody_reads_is_given_up(void **state)
{
	unsigned before = open_files();
	struct source s;
	struct hv_outlet *o;
	int p[2];

	(void)state;
	o = stuck(&s, p);
	assert_false(hv_outlet_end(o, 1, 1));
	memset(&s, 0xff, sizeof(s)); /* nobody asks it any more */
	close(p[1]);
	assert_true(read_all(p[0]) < 1u << 20);
	close(p[0]);
	wait_until_open(before);
}

/* However well it may move. */
static void one_that_is_not_over_in_time_is_given_up(void **state)
{
	unsigned before = open_files();
	struct source s;
	struct hv_outlet *o;
	int p[2];

	(void)state;
	o = stuck(&s, p);
	assert_false(hv_outlet_end(o, 60000, 2));
	close(p[1]);
	close(p[0]);
	wait_until_open(before);
}

static void one_that_breaks_is_told_once_and_takes_the_rest(void **state)
{
	struct source s;
	struct hv_outlet *o;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	close(p[0]);
	o = make(&s, p[1], 100000, 100000);
	assert_true(hv_outlet_end(o, 60000, 60000));
	assert_int_equal(s.breaks, 1);
	assert_int_equal(s.broken, EPIPE);
	assert_int_equal(s.left, 0);
	close(p[1]);
}

static void one_to_nowhere_takes_everything(void **state)
{
	struct source s;
	struct hv_outlet *o;

	(void)state;
	o = make(&s, -1, 100000, 100000);
	assert_true(hv_outlet_end(o, 60000, 60000));
	assert_int_equal(s.left, 0);
	assert_int_equal(s.breaks, 0);
	assert_true(hv_outlet_end(NULL, 1, 1));
}

static int refuses(void *arg, struct vhd_err *err)
{
	(void)arg;
	return vhd_fail(err, -EPERM, VHD_WHY_SYSTEM, 0, "no");
}

static void one_that_may_not_begin_says_why_and_takes_nothing(void **state)
{
	struct source s = {.left = 1};
	const struct hv_outlet_opts opts = {
		.fd = -1, .name = "test", .take = take, .begins = refuses,
		.arg = &s};
	struct hv_outlet *o = NULL;
	struct vhd_err err;

	(void)state;
	assert_int_equal(hv_outlet_create(&opts, &o, &err), 0);
	assert_int_equal(hv_outlet_begin(o, &err), -EPERM);
	assert_string_equal(err.text, "no");
	assert_true(hv_outlet_end(o, 60000, 60000));
	/* nor does one that never began leave anything */
	assert_int_equal(hv_outlet_create(&opts, &o, &err), 0);
	assert_true(hv_outlet_end(o, 60000, 60000));
}

/* Where no descriptor is left, output would be lost without a word. */
static void one_that_cannot_be_copied_is_refused(void **state)
{
	struct rlimit before, few;
	struct hv_outlet *out = NULL;
	struct hv_outlet_opts o = {.name = "test"};
	struct vhd_err err;
	int fds[2], rc;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	o.fd = fds[1];
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	rc = hv_outlet_create(&o, &out, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(rc, -EMFILE);
	assert_null(out);
	close(fds[0]);
	close(fds[1]);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_taken_is_written_whole_and_in_order),
		T(a_descriptor_that_would_not_wait_is_waited_for),
		T(one_that_nobody_reads_is_given_up),
		T(one_that_is_not_over_in_time_is_given_up),
		T(one_that_breaks_is_told_once_and_takes_the_rest),
		T(one_to_nowhere_takes_everything),
		T(one_that_cannot_be_copied_is_refused),
		T(one_that_may_not_begin_says_why_and_takes_nothing),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
