/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: what is asked of the guest itself, with a guest that is only asked
 * (tests/lib/fakehv.h); the disks' part is in tools_ctl_disk.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/ctlprogram.h"
#include "tests/lib/fakehv.h"
#include "tools/hv/ctl.h"

#define OK "\"ok\":true"

struct world {
	char dir[64];
	struct hv_args args;
	struct hv_disks disks;
	struct hv_controllers controllers;
	struct ctl_server *server;
	int fd;
	bool stopped;
};

static int connect_to(void)
{
	struct ctl_place p;
	struct vhd_err err;
	int fd = -1;

	assert_int_equal(ctl_place_find("vm", false, &p, &err), 0);
	assert_int_equal(ctl_connect(&p, &fd, &err), 0);
	ctl_place_close(&p);
	return fd;
}

static void start(struct world *w, void (*answer)(struct hv_ask *a))
{
	struct vhd_err err = {0};

	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/vhdctl.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	setenv("XDG_RUNTIME_DIR", w->dir, 1);
	w->disks.args = &w->args;
	fakehv_reset(answer);
	if (ctl_server_create("vm", fakehv(), &w->disks, &w->controllers,
			      &w->server, &err) ||
	    ctl_server_start(w->server, &err))
		fail_msg("%s", err.text);
	w->fd = connect_to();
}

/* As run.c does it. */
static void end(struct world *w)
{
	fakehv_end();
	ctl_server_stop(w->server);
	assert_int_equal(ctl_server_close_disks(w->server), CLI_OK);
	ctl_server_destroy(w->server, "power-off");
	w->stopped = true;
}

static void stop(struct world *w)
{
	char path[128];

	close(w->fd);
	if (!w->stopped)
		end(w);
	snprintf(path, sizeof(path), "%s/hv", w->dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(w->dir), 0);
}

static void tell(int fd, const char *request)
{
	assert_int_equal(ctl_send(fd, request, strlen(request), NULL, 0, 0),
			 0);
}

/* What comes next; "" when the other side is gone. */
static const char *hear(int fd)
{
	static char text[CTL_ANSWER_BYTES_MAX + 1];
	int got[CTL_FILES_MAX];
	unsigned n_got;
	ssize_t n = ctl_receive(fd, text, sizeof(text) - 1, got, &n_got, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void heard(int fd, const char *part)
{
	const char *text = hear(fd);

	if (!strstr(text, part))
		fail_msg("%s, not %s", text, part);
}

static bool silent(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 100) == 0;
}

/* -------------------------------------------------------------- answers -- */

static void info_tells_all_of_it(void **state)
{
	struct world w;
	struct hv_ask *a;
	const char *text;

	(void)state;
	start(&w, NULL);
	tell(w.fd, "{\"command\":\"info\"}");
	a = fakehv_take();
	assert_int_equal(a->what, HV_ASK_INFO);
	a->info = (struct hv_info){
		.cpus = 3,
		.memory_bytes = 1u << 28,
		.uptime_ms = 4711,
		.vmbus_version = 0x50003,
		.console_held_ms = 1500,
		.console_lost = 77,
		.ic = {.heard = true, .silent_ms = 12345, .application = 9,
		       .frozen = true, .frozen_left_ms = 99},
	};
	a->info.ic.service[HV_IC_KVP].state = HV_IC_NEGOTIATING;
	a->info.ic.service[HV_IC_VSS].state = HV_IC_READY;
	a->info.ic.service[HV_IC_VSS].version = 0x50000;
	fakehv_done(a, 0, NULL);
	text = hear(w.fd);
	assert_non_null(strstr(
		text, OK ",\"state\":\"running\",\"uptime-ms\":4711,\"cpus\":3,"
			 "\"memory\":268435456,\"vmbus\":\"5.3\","
			 "\"heartbeat\":\"no contact\",\"silent-ms\":12345,"
			 "\"applications\":\"9\",\"frozen\":true,"
			 "\"frozen-left-ms\":99,\"console-held-ms\":1500,"
			 "\"console-lost\":77,"));
	assert_non_null(strstr(text, "{\"service\":\"kvp\",\"state\":\"no "
				     "daemon\",\"version\":null}"));
	assert_non_null(strstr(text, "{\"service\":\"vss\",\"state\":"
				     "\"ready\",\"version\":\"5.0\"}"));
	stop(&w);
}

static void what_is_asked_reaches_the_guest(void **state)
{
	static const struct {
		const char *request;
		enum hv_ask_what what;
		enum hv_ic_op op;
	} rows[] = {
		{"{\"command\":\"shutdown\",\"force\":true}", HV_ASK_SERVICE,
		 HV_IC_OP_POWER_OFF},
		{"{\"command\":\"reboot\"}", HV_ASK_SERVICE, HV_IC_OP_RESTART},
		{"{\"command\":\"pause\"}", HV_ASK_PAUSE, 0},
		{"{\"command\":\"continue\"}", HV_ASK_RESUME, 0},
		{"{\"command\":\"time\"}", HV_ASK_SERVICE, HV_IC_OP_SYNC_TIME},
		{"{\"command\":\"freeze\",\"limit\":7}", HV_ASK_SERVICE,
		 HV_IC_OP_FREEZE},
		{"{\"command\":\"thaw\"}", HV_ASK_SERVICE, HV_IC_OP_THAW},
		{"{\"command\":\"kvp-set\",\"key\":\"k\",\"value\":\"v\"}",
		 HV_ASK_SERVICE, HV_IC_OP_KVP_SET},
		{"{\"command\":\"kvp-get\",\"key\":\"k\",\"pool\":\"guest\"}",
		 HV_ASK_SERVICE, HV_IC_OP_KVP_GET},
		{"{\"command\":\"kvp-delete\",\"key\":\"k\"}", HV_ASK_SERVICE,
		 HV_IC_OP_KVP_DELETE},
		{"{\"command\":\"kvp-enumerate\",\"index\":5}", HV_ASK_SERVICE,
		 HV_IC_OP_KVP_ENUMERATE},
	};
	struct world w;

	(void)state;
	start(&w, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct hv_ask *a;

		tell(w.fd, rows[i].request);
		a = fakehv_take();
		assert_non_null(a);
		assert_int_equal(a->what, rows[i].what);
		if (a->what == HV_ASK_SERVICE)
			assert_int_equal(a->service.op, rows[i].op);
		assert_int_equal(a->service.force, i == 0);
		assert_int_equal(a->service.limit_s, i == 5 ? 7 : 0);
		assert_int_equal(a->service.index, i == 10 ? 5 : 0);
		assert_int_equal(a->service.pool,
				 i == 8 ? HV_IC_POOL_GUEST
					: HV_IC_POOL_EXTERNAL);
		if (i >= 7 && i < 10)
			assert_string_equal(a->service.key, "k");
		strcpy(a->service.value, "a\n\"b");
		fakehv_done(a, 0, NULL);
		heard(w.fd, i == 8 || i == 10 ? "\"value\":\"a\\n\\\"b\""
					      : OK);
	}
	stop(&w);
}

static void refusals_have_their_reason_and_exit_code(void **state)
{
	static const struct {
		int code;
		const char *part;
	} rows[] = {
		{-ENOTCONN, "\"exit\":3"},  {-ENOENT, "\"exit\":1"},
		{-EALREADY, "\"exit\":1"},  {-ETIMEDOUT, "\"exit\":4"},
		{-EREMOTEIO, "\"exit\":3"}, {-ECONNRESET, "\"exit\":3"},
		{-EBUSY, "\"exit\":3"},
	};
	struct world w;

	(void)state;
	start(&w, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *text;

		tell(w.fd, "{\"command\":\"thaw\"}");
		fakehv_done(fakehv_take(), rows[i].code, "because");
		text = hear(w.fd);
		assert_non_null(strstr(text, "\"ok\":false"));
		assert_non_null(strstr(text, "\"because\""));
		assert_non_null(strstr(text, rows[i].part));
	}
	stop(&w);
}

/* ------------------------------------------------------- several clients - */

static void who_waits_for_the_guest_holds_up_nobody(void **state)
{
	struct hv_ask *a, *b;
	struct world w;
	int slow;

	(void)state;
	start(&w, NULL);
	slow = connect_to();
	tell(slow, "{\"command\":\"kvp-get\",\"key\":\"k\"}");
	a = fakehv_take();
	/* not heard while it waits */
	tell(slow, "{\"command\":\"list\"}");
	tell(w.fd, "{\"command\":\"list\"}");
	heard(w.fd, OK);
	tell(w.fd, "{\"command\":\"info\"}");
	b = fakehv_take();
	fakehv_done(b, 0, NULL);
	heard(w.fd, "running");
	assert_true(silent(slow));
	fakehv_done(a, 0, NULL);
	heard(slow, "value");
	heard(slow, "disks");
	close(slow);
	stop(&w);
}

static void who_goes_while_it_waits_leaves_nothing_behind(void **state)
{
	struct hv_ask *a[6];
	struct world w;

	(void)state;
	start(&w, NULL);
	for (unsigned i = 0; i < 6; i++) {
		int fd = connect_to();

		tell(fd, "{\"command\":\"thaw\"}");
		a[i] = fakehv_take();
		close(fd);
	}
	/* its place is free again, before the guest has answered */
	for (unsigned i = 0; i < 20; i++) {
		int fd = connect_to();

		tell(fd, "{\"command\":\"list\"}");
		heard(fd, OK);
		close(fd);
	}
	for (unsigned i = 0; i < 5; i++)
		fakehv_done(a[i], i % 2 ? -EBUSY : 0, "x");
	tell(w.fd, "{\"command\":\"list\"}");
	heard(w.fd, OK);
	fakehv_done(a[5], 0, NULL); /* the server is asked to stop right then */
	stop(&w);
}

static void a_freeze_goes_with_its_holder(void **state)
{
	struct world w;
	struct hv_ask *a;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		int fd;

		start(&w, NULL);
		fd = connect_to();
		tell(fd, "{\"command\":\"freeze\",\"hold\":true}");
		a = fakehv_take();
		if (i == 1) { /* gone before it was frozen */
			close(fd);
			usleep(50000);
		}
		fakehv_done(a, i == 2 ? -EBUSY : 0, "no");
		if (i != 1) {
			heard(fd, i == 0 ? OK : "false");
			assert_int_equal(fakehv_waiting(), 0);
			close(fd);
		}
		if (i == 2) { /* it was not its freeze */
			tell(w.fd, "{\"command\":\"info\"}");
			a = fakehv_take();
			assert_int_equal(a->what, HV_ASK_INFO);
			fakehv_done(a, 0, NULL);
			heard(w.fd, OK);
		} else {
			a = fakehv_take();
			assert_non_null(a);
			assert_int_equal(a->service.op, HV_IC_OP_THAW);
			fakehv_done(a, 0, NULL);
		}
		stop(&w);
	}
}

static void after_a_thaw_nobody_holds_it(void **state)
{
	struct world w;
	int fd;

	(void)state;
	start(&w, NULL);
	fd = connect_to();
	tell(fd, "{\"command\":\"freeze\",\"hold\":true}");
	fakehv_done(fakehv_take(), 0, NULL);
	heard(fd, OK);
	tell(w.fd, "{\"command\":\"thaw\"}");
	fakehv_done(fakehv_take(), 0, NULL);
	heard(w.fd, OK);
	close(fd);
	tell(w.fd, "{\"command\":\"list\"}");
	heard(w.fd, OK);
	tell(w.fd, "{\"command\":\"list\"}");
	heard(w.fd, OK);
	assert_int_equal(fakehv_waiting(), 0);
	stop(&w);
}

/* -------------------------------------------------------------- the end -- */

static void the_end_is_told_to_who_waits_for_it(void **state)
{
	struct world w;
	int waits, asks, shuts, kills;

	(void)state;
	start(&w, NULL);
	waits = connect_to();
	asks = connect_to();
	shuts = connect_to();
	kills = connect_to();
	tell(waits, "{\"command\":\"wait\"}");
	tell(shuts, "{\"command\":\"shutdown\",\"wait\":true}");
	fakehv_done(fakehv_take(), 0, NULL);
	heard(shuts, OK);
	assert_false(fakehv_stopped());
	tell(kills, "{\"command\":\"kill\"}");
	tell(asks, "{\"command\":\"thaw\"}");
	while (fakehv_waiting() == 0 || !fakehv_stopped())
		usleep(1000);
	assert_true(silent(waits) && silent(shuts) && silent(kills));
	end(&w);
	heard(asks, "the guest has ended");
	assert_string_equal(hear(asks), "");
	assert_string_equal(hear(waits), "{\"ok\":true,\"ended\":\"power-off\"}");
	assert_string_equal(hear(shuts), "{\"ok\":true,\"ended\":\"power-off\"}");
	assert_string_equal(hear(kills), "{\"ok\":true,\"ended\":\"power-off\"}");
	assert_string_equal(hear(w.fd), "");
	close(waits);
	close(asks);
	close(shuts);
	close(kills);
	stop(&w);
}

/* -------------------------------------------------------------- console -- */

static void tap(struct world *w, const char *text)
{
	ctl_server_tap(w->server, (const uint8_t *)text, strlen(text));
}

static int attach(bool watch)
{
	int fd = connect_to();

	tell(fd, watch ? "{\"command\":\"console\",\"read-only\":true}"
		       : "{\"command\":\"console\"}");
	heard(fd, OK);
	return fd;
}

static void consoles_see_what_was_and_what_comes(void **state)
{
	struct world w;
	int a, b;

	(void)state;
	start(&w, NULL);
	tap(&w, "before ");
	a = attach(false);
	heard(a, "before ");
	tap(&w, "now ");
	heard(a, "now ");
	b = attach(true);
	heard(b, "before now ");
	tap(&w, "both");
	heard(a, "both");
	heard(b, "both");
	close(a);
	close(b);
	stop(&w);
}

static void one_console_types_and_the_last_one_takes_over(void **state)
{
	struct world w;
	struct hv_ask *ask;
	int a, b, watcher;

	(void)state;
	start(&w, NULL);
	a = attach(false);
	watcher = attach(true);
	tell(watcher, "x");
	tell(a, "first");
	ask = fakehv_take();
	assert_int_equal(ask->what, HV_ASK_INPUT);
	assert_int_equal(ask->len, 5);
	assert_memory_equal(ask->bytes, "first", 5);
	/* what is typed on waits for the guest, output does not */
	tell(a, "more");
	tap(&w, "output");
	heard(a, "output");
	heard(watcher, "output");
	assert_int_equal(fakehv_waiting(), 0);
	fakehv_done(ask, 0, NULL);
	ask = fakehv_take();
	assert_memory_equal(ask->bytes, "more", 4);
	fakehv_done(ask, 0, NULL);
	b = attach(false);
	heard(b, "output");
	heard(a, "keyboard is at another console");
	tell(a, "lost");
	tell(b, "taken");
	ask = fakehv_take();
	assert_memory_equal(ask->bytes, "taken", 5);
	/* gone while the guest does not listen */
	close(b);
	while (!atomic_load(&ask->dropped))
		usleep(1000);
	fakehv_done(ask, 0, NULL);
	close(a);
	close(watcher);
	stop(&w);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* It never reads; the guest writes on; when it does read, it is told. */
static void a_slow_console_loses_output_and_is_told_how_much(void **state)
{
	static char line[1024];
	unsigned long long lost = 0, seen = 0, told;
	struct world w;
	uint64_t began;
	int slow, quick;

	(void)state;
	memset(line, 'a', sizeof(line) - 1);
	start(&w, NULL);
	slow = attach(true);
	began = now_ms();
	for (unsigned i = 0; i < 8192; i++)
		tap(&w, line);
	assert_in_range(now_ms() - began, 0, 60000); /* not 10 ms each */
	quick = connect_to();
	tell(quick, "{\"command\":\"list\"}");
	heard(quick, OK);
	while (seen + lost < 8192ull * 1023) {
		const char *text = hear(slow), *note;

		assert_true(*text);
		note = strstr(text, "[hv: ");
		if (note && sscanf(note, "[hv: %llu bytes of", &told) == 1)
			lost += told;
		else
			seen += strlen(text);
	}
	assert_true(lost > 1 << 20);
	assert_int_equal(seen + lost, 8192ull * 1023);
	close(slow);
	close(quick);
	stop(&w);
}

/* ----------------------------------------------------------- the program - */

static void guest(struct hv_ask *a)
{
	int rc = 0;

	if (a->what == HV_ASK_SERVICE &&
	    a->service.op == HV_IC_OP_KVP_ENUMERATE) {
		rc = a->service.index < 2 ? 0 : -ENOENT;
		snprintf(a->service.key, sizeof(a->service.key), "key%u%u",
			 a->service.pool, a->service.index);
		strcpy(a->service.value, "value");
	}
	if (a->what == HV_ASK_SERVICE && a->service.op == HV_IC_OP_THAW)
		rc = -EALREADY;
	fakehv_done(a, rc, "no such thing");
}

static void the_program_says_how_it_went(void **state)
{
	struct world w;

	(void)state;
	start(&w, guest);
	assert_int_equal(program("vm", "info", NULL), 0);
	assert_non_null(strstr(out, "running"));
	assert_int_equal(program("--json", "vm", "info", NULL), 0);
	assert_non_null(strstr(out, "\"state\":\"running\""));
	assert_int_equal(program("vm", "pause", NULL), 0);
	assert_int_equal(program("vm", "resume", NULL), 0);
	assert_int_equal(program("vm", "time", NULL), 0);
	assert_int_equal(program("vm", "reboot", "--force", NULL), 0);
	assert_int_equal(program("vm", "kvp", "list", NULL), 0);
	assert_non_null(strstr(out, "auto      key20"));
	assert_non_null(strstr(out, "external  key01"));
	assert_int_equal(program("vm", "kvp", "list", "--json", NULL), 0);
	assert_non_null(strstr(out, "\"pairs\":["));
	assert_int_equal(program("vm", "kvp", "get", "key11", NULL), 0);
	assert_string_equal(out, "value\n");
	assert_int_equal(program("vm", "kvp", "get", "key11", "--json", NULL),
			 0);
	assert_non_null(strstr(out, "\"ok\":true"));
	assert_int_equal(program("vm", "kvp", "get", "--pool", "auto", "key11",
				 NULL),
			 1);
	assert_int_equal(program("vm", "kvp", "get", "key99", "--json", NULL),
			 1);
	assert_non_null(strstr(out, "\"ok\":false"));
	assert_non_null(strstr(out, "\"error\":"));
	assert_int_equal(program("vm", "kvp", "set", "a", "b", NULL), 0);
	assert_int_equal(program("vm", "kvp", "delete", "a", NULL), 0);
	assert_int_equal(program("vm", "freeze", "--limit", "9", NULL), 0);
	assert_string_equal(out, "frozen\n");
	assert_int_equal(program("vm", "thaw", NULL), 1);
	assert_int_equal(program("vm", "shutdown", "--timeout", "0", NULL), 0);
	assert_int_equal(program("vm", "shutdown", "--timeout", "1", NULL), 1);
	assert_int_equal(program("nobody", "info", NULL), 3);
	stop(&w);
}

/* An hv that a guest has taken over may answer anything. */
static void an_answer_of_other_kinds_ends_no_client(void **state)
{
	struct json_object *o = json_tokener_parse(
		"{\"ok\":true,\"state\":5,\"services\":7,\"disks\":\"x\","
		"\"memory\":[],\"heartbeat\":{}}");

	(void)state;
	assert_non_null(o);
	ctl_show_info(o);
	ctl_show_list(o);
	ctl_show_stats(json_object_object_get(o, "state"), NULL, 1);
	json_object_put(o);
}

/* A guest that agrees to all, and ends when it was told to. */
static atomic_bool told_to_end;

static void guest_that_goes(struct hv_ask *a)
{
	if (a->what == HV_ASK_SERVICE &&
	    a->service.op == HV_IC_OP_POWER_OFF)
		atomic_store(&told_to_end, true);
	guest(a);
}

/* Who asked for it has its answer then, or is about to. */
static void *end_soon(void *arg)
{
	while (!atomic_load(&told_to_end) && !fakehv_stopped())
		usleep(1000);
	end(arg);
	return NULL;
}

static void a_shutdown_is_over_when_the_guest_is_gone(void **state)
{
	static const char *const verbs[] = {"shutdown", "kill"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world w;
		pthread_t t;

		atomic_store(&told_to_end, false);
		start(&w, guest_that_goes);
		assert_int_equal(pthread_create(&t, NULL, end_soon, &w), 0);
		assert_int_equal(program("vm", verbs[i], NULL), 0);
		assert_string_equal(out, "the guest has ended\n");
		assert_int_equal(fakehv_stopped(), i == 1);
		pthread_join(t, NULL);
		stop(&w);
	}
}

static void what_makes_no_sense_is_usage(void **state)
{
	(void)state;
	assert_int_equal(program("vm", "info", "x", NULL), 2);
	assert_int_equal(program("vm", "info", "--force", NULL), 2);
	assert_int_equal(program("vm", "kvp", NULL), 2);
	assert_int_equal(program("vm", "kvp", "fly", NULL), 2);
	assert_int_equal(program("vm", "kvp", "get", NULL), 2);
	assert_int_equal(program("vm", "kvp", "get", "", NULL), 2);
	assert_int_equal(program("vm", "kvp", "set", "a", NULL), 2);
	assert_int_equal(program("vm", "kvp", "set", "a", "b", "--pool",
				 "auto", NULL),
			 2);
	assert_int_equal(program("vm", "kvp", "list", "--pool", "x", NULL), 2);
	assert_int_equal(program("vm", "freeze", "--limit", "901", NULL), 2);
	assert_int_equal(program("vm", "freeze", "--limit", "0", NULL), 2);
	assert_int_equal(program("vm", "console", "--json", NULL), 2);
	assert_int_equal(program("vm", "shutdown", "--timeout", "x", NULL), 2);
	assert_int_equal(program("vm", "pause", "--hold", NULL), 2);
	assert_int_equal(program("../vm", "info", NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(info_tells_all_of_it),
		cmocka_unit_test(what_is_asked_reaches_the_guest),
		cmocka_unit_test(refusals_have_their_reason_and_exit_code),
		cmocka_unit_test(who_waits_for_the_guest_holds_up_nobody),
		cmocka_unit_test(who_goes_while_it_waits_leaves_nothing_behind),
		cmocka_unit_test(a_freeze_goes_with_its_holder),
		cmocka_unit_test(after_a_thaw_nobody_holds_it),
		cmocka_unit_test(the_end_is_told_to_who_waits_for_it),
		cmocka_unit_test(consoles_see_what_was_and_what_comes),
		cmocka_unit_test(one_console_types_and_the_last_one_takes_over),
		cmocka_unit_test(
			a_slow_console_loses_output_and_is_told_how_much),
		cmocka_unit_test(the_program_says_how_it_went),
		cmocka_unit_test(an_answer_of_other_kinds_ends_no_client),
		cmocka_unit_test(a_shutdown_is_over_when_the_guest_is_gone),
		cmocka_unit_test(what_makes_no_sense_is_usage),
	};

	if (cli_sandbox_set("test", "off"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
