/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: its server against bad clients and with a guest in memory that does
 * I/O all the while, its socket's name, and its command line for disks against
 * that server.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/lib/ctlprogram.h"
#include "tests/lib/ctlworld.h"
#include "tests/lib/random.h"

/* --------------------------------------------------------- bad clients --- */

static uint64_t cpu_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void without_descriptors_clients_wait_and_nothing_spins(void **state)
{
	const char *list = "{\"command\":\"list\"}";
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct rlimit was, none;
	struct ctl_place p;
	struct vhd_err err;
	struct world w;
	uint64_t before;
	unsigned n = 0;
	int fd, more[33];

	(void)state;
	start(&w);
	expect(w.fd, list, NULL, 0, OK);
	assert_int_equal(ctl_place_find("vm", false, &p, &err), 0);
	memcpy(to.sun_path, p.path, sizeof(to.sun_path));
	ctl_place_close(&p);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){32, was.rlim_max}; /* poll takes no more */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while ((more[n] = dup(fd)) >= 0)
		n++;
	before = cpu_ms();
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	usleep(800000);
	before = cpu_ms() - before;
	while (n > 0)
		close(more[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_in_range(before, 0, 200);
	expect(fd, list, NULL, 0, OK);
	close(fd);
	stop(&w);
}

static void who_does_not_read_holds_up_nobody(void **state)
{
	const char *list = "{\"command\":\"list\"}";
	struct world w;
	int slow;

	(void)state;
	start(&w);
	slow = connect_to("vm");
	while (ctl_send(slow, list, strlen(list), NULL, 0, MSG_DONTWAIT) == 0)
		;
	for (unsigned i = 0; i < 20; i++)
		expect(w.fd, list, NULL, 0, OK);
	close(slow);
	stop(&w);
}

static void one_client_too_many_is_sent_away(void **state)
{
	struct world w;
	int fd[9], got[CTL_FILES_MAX];
	unsigned n;
	char c;

	(void)state;
	start(&w); /* has one */
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 0; i < 8; i++)
		fd[i] = connect_to("vm");
	for (unsigned i = 0; i < 7; i++)
		expect(fd[i], "{\"command\":\"list\"}", NULL, 0, OK);
	assert_true(ctl_receive(fd[7], &c, 1, got, &n, 0) <= 0);
	close(fd[0]);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	fd[8] = connect_to("vm");
	expect(fd[8], "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 1; i < 9; i++)
		close(fd[i]);
	stop(&w);
}

static void garbage_is_answered_or_ends_its_client_only(void **state)
{
	uint64_t seed = random_seed();
	struct world w;
	unsigned before;

	(void)state;
	start(&w);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	before = fds_open();
	for (unsigned i = 0; i < 200; i++) {
		static char bytes[CTL_REQUEST_BYTES_MAX + 100];
		size_t len = random_below(&seed, sizeof(bytes)) + 1;
		int fd = connect_to("vm"), fds[3];

		if (i % 3 == 0)
			len = CTL_REQUEST_BYTES_MAX + 1;
		for (size_t k = 0; k < len; k++)
			bytes[k] = "{}[]\",:0ax\0 "[random_below(&seed, 12)];
		for (unsigned k = 0; k < 3; k++)
			fds[k] = opened("/dev/null", O_RDWR);
		(void)ctl_send(fd, bytes, len, fds, (unsigned)(i % 4), 0);
		for (unsigned k = 0; k < 3; k++)
			close(fds[k]);
		close(fd);
	}
	/* all of it has been looked at */
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 0; i < 1000 && fds_open() != before; i++)
		expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	assert_int_equal(fds_open(), before);
	stop(&w);
}

/* -------------------------------------------------------- names, places -- */

static void a_name_is_one_guests(void **state)
{
	struct ctl_server *other;
	struct vhd_err err;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(ctl_server_create("vm", fakehv(), &w.disks, &w.controllers,
					   &other, &err),
			 -EBUSY);
	ctl_server_destroy(other, "failed");
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	assert_int_equal(connect_to("other"), -ENOENT);
	stop(&w);
}

static void a_socket_left_behind_is_replaced_and_is_private(void **state)
{
	struct ctl_place p;
	struct vhd_err err;
	struct stat st;
	struct world w;
	int fd;

	(void)state;
	start(&w);
	assert_int_equal(ctl_place_find("dead", true, &p, &err), 0);
	assert_int_equal(ctl_listen(&p, &fd, &err), 0);
	assert_int_equal(stat(p.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd); /* without removing it */
	assert_int_equal(connect_to("dead"), -ECONNREFUSED);
	assert_int_equal(ctl_listen(&p, &fd, &err), 0);
	close(fd);
	assert_int_equal(unlink(p.path), 0);
	ctl_place_close(&p);
	stop(&w);
}

/* ------------------------------------------------------- under load ------ */

struct load {
	struct world *w;
	atomic_bool end;
	atomic_uint done;
};

static void *guest(void *arg)
{
	struct load *l = arg;
	struct vsc_answer a;

	while (!atomic_load(&l->end)) {
		unsigned n = atomic_load(&l->done);
		struct vsc_cmd cmd =
			vsc_rw(n % 2, 0, (n * 8) % 8192, 8, false, &l->w->b);

		vsc_run(l->w->c, &cmd, &a);
		if (!vsc_good(&a) && vsc_status(&a).asc != 0x2A) {
			fprintf(stderr, "a request failed\n");
			abort();
		}
		atomic_fetch_add(&l->done, 1);
	}
	return NULL;
}

/* One request at least that began after this did. */
static void works_on(struct load *l)
{
	unsigned before = atomic_load(&l->done);

	while (atomic_load(&l->done) - before < 2)
		usleep(100);
}

static void the_guest_works_on_while_disks_come_grow_and_go(void **state)
{
	struct load l = {0};
	struct world w;
	pthread_t t;
	char text[128];

	(void)state;
	start(&w);
	l.w = &w;
	assert_int_equal(pthread_create(&t, NULL, guest, &l), 0);
	for (unsigned i = 1; i <= 10; i++) {
		add(&w, "{\"command\":\"add\",\"name\":\"one\",\"lun\":1}", w.path[1],
		    OK);
		works_on(&l);
		snprintf(text, sizeof(text),
			 "{\"command\":\"resize\",\"lun\":%u,\"size\":%u}",
			 i % 2, DISK_BYTES + i * 65536);
		expect(w.fd, text, NULL, 0, OK);
		works_on(&l);
		expect(w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
		works_on(&l);
	}
	atomic_store(&l.end, true);
	pthread_join(t, NULL);
	stop(&w);
}

/* ----------------------------------------------------------- the program -- */

static void the_program_does_it_all_and_says_how_it_went(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(program("vm", "disk", "add", w.path[1], NULL), 0);
	appears(&w, 1, true);
	assert_int_equal(program("vm", "disk", "list", NULL), 0);
	assert_int_equal(program("vm", "disk", "list", "--json", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "0:1", "8M", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "1", "+8M", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "1", "1M", NULL), 3);
	assert_int_equal(program("vm", "disk", "stats", NULL), 0);
	assert_int_equal(program("vm", "disk", "stats", "1", "--json", NULL),
			 0);
	assert_int_equal(program("vm", "disk", "limit", "0:0:1", "--iops",
				 "100", "--on-error", "pause", NULL),
			 0);
	assert_int_equal(program("vm", "disk", "resume", "1", NULL), 0);
	assert_int_equal(program("vm", "disk", "remove", "1", NULL), 0);
	assert_int_equal(program("vm", "disk", "remove", "1", NULL), 3);
	assert_int_equal(program("vm", "disk", "add", "/none.vhd", NULL), 3);
	assert_int_equal(program("nobody", "disk", "list", NULL), 3);
	stop(&w);
}

/* A file that was made for a disk stays only where the disk is there. */
static void the_program_brings_a_file_of_reservations(void **state)
{
	char keys[128], word[256], list[256];
	struct world w;

	(void)state;
	start(&w);
	snprintf(keys, sizeof(keys), "%s/keys", w.dir);
	snprintf(word, sizeof(word), "%s,pr=%s", w.path[1], keys);
	snprintf(list, sizeof(list), "%s,pr=%s", w.path[2], keys);
	assert_int_equal(program("nobody", "disk", "add", word, NULL), 3);
	assert_int_equal(access(keys, F_OK), -1);
	assert_int_equal(program("vm", "disk", "add", "--lun", "0", word, NULL),
			 3); /* taken */
	assert_int_equal(access(keys, F_OK), -1);
	assert_int_equal(program("vm", "disk", "add", word, NULL), 0);
	assert_int_equal(access(keys, F_OK), 0);
	assert_int_equal(program("vm", "disk", "add", list, NULL), 3);
	assert_int_equal(access(keys, F_OK), 0);
	assert_int_equal(program("vm", "disk", "remove", "1", NULL), 0);
	assert_int_equal(program("vm", "disk", "add", word, NULL), 0);
	assert_int_equal(unlink(keys), 0);
	stop(&w);
}

static void what_makes_no_sense_is_usage(void **state)
{
	(void)state;
	assert_int_equal(program("vm", NULL), 2);
	assert_int_equal(program("vm", "disk", NULL), 2);
	assert_int_equal(program("vm", "disk", "fly", NULL), 2);
	assert_int_equal(program("vm", "cpu", "list", NULL), 2);
	assert_int_equal(program("../vm", "disk", "list", NULL), 2);
	assert_int_equal(program("vm", "disk", "list", "1", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "x", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "8:0", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "64", NULL), 2);
	assert_int_equal(program("vm", "disk", "resize", "1", "8KB", NULL), 2);
	assert_int_equal(program("vm", "disk", "limit", "1", NULL), 2);
	assert_int_equal(program("vm", "disk", "list", "--now", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,sector=3", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,dvd", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,ide=1", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "nbds://host/a", NULL),
			 2);
	assert_int_equal(program("vm", "disk", "add", "a,parent=nbds://host/a",
				 NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,reconnect=3", NULL), 2);
	assert_int_equal(program("vm", "disk", "insert", "1", "a,pr=b", NULL),
			 2);
	assert_int_equal(program("vm", "disk", "insert", "1", "a,controller=1",
				 NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_does_not_read_holds_up_nobody),
		cmocka_unit_test(
			without_descriptors_clients_wait_and_nothing_spins),
		cmocka_unit_test(one_client_too_many_is_sent_away),
		cmocka_unit_test(garbage_is_answered_or_ends_its_client_only),
		cmocka_unit_test(a_name_is_one_guests),
		cmocka_unit_test(
			a_socket_left_behind_is_replaced_and_is_private),
		cmocka_unit_test(
			the_guest_works_on_while_disks_come_grow_and_go),
		cmocka_unit_test(the_program_does_it_all_and_says_how_it_went),
		cmocka_unit_test(the_program_brings_a_file_of_reservations),
		cmocka_unit_test(what_makes_no_sense_is_usage),
	};

	if (cli_sandbox_set("test", "off"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
