/* SPDX-License-Identifier: BSD-2-Clause */
/* What other threads ask of a running guest, on a KVM that is not there: each
 * is told once, whenever it is asked; a paused guest stands still, and its time
 * with it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/fakekvm.h"

static const fake_step idle[] = {fake_until_kicked, NULL};

struct asked {
	struct hv_ask a;
	sem_t told;
	unsigned times;
	unsigned machines; /* there had been when it was told */
};

static atomic_uint machines;

static void told(struct hv_ask *a)
{
	struct asked *q = a->arg;

	q->times++;
	q->machines = atomic_load(&machines);
	sem_post(&q->told);
}

static int begin(struct hv *hv, struct asked *q, enum hv_ask_what what)
{
	sem_init(&q->told, 0, 0);
	q->times = 0;
	q->a.what = what;
	q->a.done = told;
	q->a.arg = q;
	return hv_ask(hv, &q->a, &q->a.err);
}

static void type(struct hv *hv, struct asked *q, const char *text)
{
	q->a.bytes = (const uint8_t *)text;
	q->a.len = strlen(text);
	assert_int_equal(begin(hv, q, HV_ASK_INPUT), 0);
}

static int ask(struct hv *hv, struct asked *q, enum hv_ask_what what)
{
	int rc = begin(hv, q, what);

	if (rc)
		return rc;
	sem_wait(&q->told);
	return q->a.result;
}

static void *run(void *hv)
{
	struct vhd_err err;

	assert_int_equal(hv_run(hv, &err), HV_END_STOPPED);
	return NULL;
}

static uint64_t tsc[FAKE_CPUS], set_tsc[FAKE_CPUS], set_clock;
static unsigned sets;

static void msr(int fd, bool set, struct kvm_msr_entry *e)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		if (fake.fd[i] != fd || e->index != 0x10)
			continue;
		if (set) {
			set_tsc[i] = e->data;
			assert_int_equal(set_clock, 0); /* TSCs first */
			sets++;
		} else {
			e->data = tsc[i];
		}
	}
}

static void clock_is(bool set, struct kvm_clock_data *c)
{
	if (set)
		set_clock = c->clock;
	else
		c->clock = 4711;
}

static void count_machines(void)
{
	atomic_fetch_add(&machines, 1);
}

/* The fake is filled while nothing runs. */
static pthread_t start_with(struct hv **hv, unsigned long refuse,
			    const fake_step *steps)
{
	struct vhd_err err = {0};
	pthread_t t;

	assert_int_equal(fake_make(hv, false, &err), 0);
	fake.step = steps;
	fake.creates = count_machines;
	set_clock = 0;
	fake.msr = refuse || steps != idle ? NULL : msr;
	fake.clock = refuse || steps != idle ? NULL : clock_is;
	fake.refuse = refuse;
	fake.refuse_errno = EIO;
	assert_int_equal(pthread_create(&t, NULL, run, *hv), 0);
	return t;
}

static pthread_t start(struct hv **hv, unsigned long refuse)
{
	return start_with(hv, refuse, idle);
}

static void end(struct hv *hv, pthread_t t, unsigned files)
{
	hv_stop(hv);
	pthread_join(t, NULL);
	hv_destroy(hv);
	fake_gone(files);
}

static void a_paused_guest_stands_still_and_its_time_does(void **state)
{
	static struct asked info, pause, go, service;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	t = start(&hv, 0);
	assert_int_equal(ask(hv, &info, HV_ASK_INFO), 0);
	assert_false(info.a.info.paused);
	assert_int_equal(info.a.info.cpus, FAKE_CPUS);
	for (unsigned round = 0; round < 3; round++) {
		sets = 0;
		set_clock = 0;
		tsc[0] = 1000 + round;
		tsc[1] = 2000 + round;
		assert_int_equal(ask(hv, &pause, HV_ASK_PAUSE), 0);
		assert_int_equal(ask(hv, &pause, HV_ASK_PAUSE), 0); /* is so */
		assert_int_equal(ask(hv, &info, HV_ASK_INFO), 0);
		assert_true(info.a.info.paused);
		service.a.service.op = HV_IC_OP_THAW;
		assert_int_equal(ask(hv, &service, HV_ASK_SERVICE), -EBUSY);
		assert_int_equal(sets, 0);
		tsc[0] = tsc[1] = 9000000;
		assert_int_equal(ask(hv, &go, HV_ASK_RESUME), 0);
		assert_int_equal(sets, FAKE_CPUS);
		assert_int_equal(set_tsc[0], 1000 + round);
		assert_int_equal(set_tsc[1], 2000 + round);
		assert_int_equal(set_clock, 4711);
		assert_int_equal(ask(hv, &go, HV_ASK_RESUME), 0); /* is so */
		assert_int_equal(sets, FAKE_CPUS);
		assert_int_equal(ask(hv, &service, HV_ASK_SERVICE), -ENOTCONN);
	}
	assert_int_equal(fake.told, 0);
	end(hv, t, files);
}

static void time_that_cannot_be_held_is_told_and_goes_on(void **state)
{
	static const unsigned long calls[] = {KVM_GET_CLOCK, KVM_GET_MSRS,
					      KVM_SET_MSRS, KVM_SET_CLOCK};
	static struct asked pause, go;
	unsigned files = fake_open_files();

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct hv *hv;
		pthread_t t;

		fake_reset();
		t = start(&hv, calls[i]);
		assert_int_equal(ask(hv, &pause, HV_ASK_PAUSE), 0);
		assert_int_equal(ask(hv, &go, HV_ASK_RESUME), 0);
		assert_int_equal(fake.told, 1);
		assert_non_null(strstr(fake.line[0], "stand still"));
		end(hv, t, files);
	}
}

static void a_paused_guest_can_be_ended(void **state)
{
	static struct asked pause;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	t = start(&hv, 0);
	assert_int_equal(ask(hv, &pause, HV_ASK_PAUSE), 0);
	end(hv, t, files);
}

/* -------------------------------------------------------------- console -- */

static bool writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) > 0;
}

/* Nobody reads it: the pipe and the board fill up, and the processor waits. */
static pthread_t start_held(struct hv **hv, const fake_step *steps, int end[2],
			    void *(*runs)(void *hv))
{
	static struct asked info;
	struct vhd_err err = {0};
	pthread_t t;

	fake_reset();
	assert_int_equal(pipe(end), 0);
	fake.console_fd = end[1];
	assert_int_equal(fake_make(hv, false, &err), 0);
	fake.step = steps;
	assert_int_equal(pthread_create(&t, NULL, runs, *hv), 0);
	do
		assert_int_equal(ask(*hv, &info, HV_ASK_INFO), 0);
	while (!info.a.info.console_held_ms || writable(end[1]));
	return t;
}

/* One that was given up goes when its last write has failed. */
static void gone_by_and_by(unsigned files)
{
	while (fake_open_files() != files)
		sched_yield();
	fake_gone(files);
}

static const fake_step writes[] = {fake_writes, NULL};

static void a_guest_that_waits_for_its_console_can_be_paused(void **state)
{
	static struct asked pause, go, info;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;
	int p[2];

	(void)state;
	t = start_held(&hv, writes, p, run);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask(hv, &pause, HV_ASK_PAUSE), 0);
		assert_int_equal(ask(hv, &info, HV_ASK_INFO), 0);
		assert_true(info.a.info.paused);
		assert_int_equal(info.a.info.console_lost, 0);
		assert_int_equal(ask(hv, &go, HV_ASK_RESUME), 0);
	}
	/* it is still the console that it waits for: this would hang */
	do
		assert_int_equal(ask(hv, &info, HV_ASK_INFO), 0);
	while (!info.a.info.console_held_ms);
	close(p[0]);
	close(p[1]);
	hv_stop(hv);
	pthread_join(t, NULL);
	hv_destroy(hv);
	gone_by_and_by(files);
}

static void a_guest_that_waits_for_its_console_can_be_killed(void **state)
{
	unsigned files = fake_open_files();
	char bytes[4096];
	struct hv *hv;
	pthread_t t;
	int p[2];

	(void)state;
	t = start_held(&hv, writes, p, run);
	hv_stop(hv);
	pthread_join(t, NULL);
	hv_destroy(hv);
	assert_int_equal(fake.told, 1); /* what is lost is told */
	assert_non_null(strstr(fake.line[0], "lost"));
	/* what went out before is whole */
	close(p[1]);
	while (read(p[0], bytes, sizeof(bytes)) > 0)
		;
	close(p[0]);
	gone_by_and_by(files);
}

static void *run_to_power_off(void *hv)
{
	struct vhd_err err;

	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	return NULL;
}

/* There is no driver: it is not to end after all, and loses nothing. */
static void a_guest_that_refuses_to_end_keeps_its_output(void **state)
{
	static struct asked service, info;
	unsigned files = fake_open_files();
	char bytes[4096];
	struct hv *hv;
	pthread_t t;
	int p[2];

	(void)state;
	t = start_held(&hv, writes, p, run);
	service.a.service.op = HV_IC_OP_POWER_OFF;
	assert_int_equal(ask(hv, &service, HV_ASK_SERVICE), -ENOTCONN);
	for (unsigned i = 0; i < 64; i++) {
		assert_true(read(p[0], bytes, sizeof(bytes)) > 0);
		assert_int_equal(ask(hv, &info, HV_ASK_INFO), 0);
		assert_int_equal(info.a.info.console_lost, 0);
	}
	close(p[0]);
	close(p[1]);
	hv_stop(hv);
	pthread_join(t, NULL);
	hv_destroy(hv);
	gone_by_and_by(files);
}

/* What it writes on its way does not keep it from going. */
static void a_guest_that_is_to_end_does_not_wait_for_its_console(void **state)
{
	static const fake_step steps[] = {
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_writes, fake_writes, fake_writes, fake_writes,
		fake_off,    NULL,
	};
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;
	int p[2];

	(void)state;
	t = start_held(&hv, steps, p, run_to_power_off);
	hv_console_hurry(hv); /* as ask.c does */
	pthread_join(t, NULL);
	hv_destroy(hv);
	close(p[0]);
	close(p[1]);
	gone_by_and_by(files);
}

/* ----------------------------------------------------------------- asks -- */

/* Before the run, while it goes, and when it is over. */
static void each_is_told_once_whenever_it_is_asked(void **state)
{
	static struct asked early, many[40], input, late;
	unsigned files = fake_open_files(), refused = 0, full = 0;
	struct vhd_err err = {0};
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	fake.step = idle;
	assert_int_equal(begin(hv, &early, HV_ASK_INFO), 0);
	for (unsigned i = 0; i < 40; i++)
		full += begin(hv, &many[i], HV_ASK_INFO) == -EAGAIN;
	assert_int_equal(full, 40 - (HV_ASKS_MAX - 1));
	assert_int_equal(pthread_create(&t, NULL, run, hv), 0);
	sem_wait(&early.told);
	for (unsigned i = 0; i < HV_ASKS_MAX - 1; i++)
		sem_wait(&many[i].told);
	/* the guest listens to no console: this waits to the end */
	type(hv, &input, "x");
	assert_int_equal(ask(hv, &late, HV_ASK_INFO), 0);
	assert_int_equal(input.times, 0);
	hv_stop(hv);
	pthread_join(t, NULL);
	assert_int_equal(input.times, 1);
	assert_int_equal(input.a.result, -ECONNRESET);
	assert_int_equal(begin(hv, &late, HV_ASK_INFO), -ECONNRESET);
	for (unsigned i = 0; i < 40; i++)
		refused += many[i].times != (i < HV_ASKS_MAX - 1);
	assert_int_equal(refused, 0);
	assert_int_equal(early.times, 1);
	hv_destroy(hv);
	fake_gone(files);
}

static void input_that_is_dropped_is_told_at_once(void **state)
{
	static struct asked a, b;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	t = start(&hv, 0);
	type(hv, &a, "abc");
	type(hv, &b, "abc");
	hv_ask_drop(&a.a);
	sem_wait(&a.told);
	assert_int_equal(b.times, 0);
	hv_ask_drop(&b.a);
	sem_wait(&b.told);
	assert_int_equal(a.a.given + b.a.given, 0);
	end(hv, t, files);
}

static void input_behind_one_that_waits_can_be_dropped(void **state)
{
	static struct asked first, second;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	t = start(&hv, 0);
	type(hv, &first, "abc");
	type(hv, &second, "abc");
	hv_ask_drop(&second.a);
	sem_wait(&second.told);
	assert_int_equal(first.times, 0);
	end(hv, t, files);
}

/* The sender had gone before anybody looked; the guest listens. */
static void input_that_fits_is_given_although_it_is_dropped(void **state)
{
	static const uint8_t set_up[][2] = {{2, 0x01}, {4, 0x0b}, {1, 0x01}};
	static struct asked a;
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	fake.step = idle;
	for (unsigned i = 0; i < 3; i++)
		hv_board_out(hv->board, HV_PORT_COM1 + set_up[i][0], 1, 1,
			     &set_up[i][1]);
	type(hv, &a, "typed, more than fits");
	hv_ask_drop(&a.a);
	assert_int_equal(pthread_create(&t, NULL, run, hv), 0);
	sem_wait(&a.told);
	assert_int_equal(a.a.given, 16);
	end(hv, t, files);
}

/* A run that never begins tells them, too. */
static void a_run_that_fails_tells_who_asked(void **state)
{
	static struct asked a;
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	assert_int_equal(begin(hv, &a, HV_ASK_PAUSE), 0);
	fake.step = idle;
	fake.calls = 0;
	fake.fail_at = HV_IC_SERVICES + 1;
	fake.fail_errno = EAGAIN;
	assert_int_equal(hv_run(hv, &err), HV_END_FAILED);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.a.result, -ECONNRESET);
	hv_destroy(hv);
	fake_gone(files);
}

/* ---------------------------------------------------------- many at once -- */

static const fake_step resets[] = {fake_reboot, NULL};

/* A guest whose first instruction is a reset does not keep others waiting. */
static void who_asks_is_heard_while_the_guest_does_nothing_but_reset(
	void **state)
{
	static struct asked info;
	unsigned files = fake_open_files();
	struct hv *hv;
	pthread_t t;

	(void)state;
	fake_reset();
	t = start_with(&hv, 0, resets);
	for (unsigned i = 0; i < 100; i++) {
		unsigned before;

		assert_int_equal(begin(hv, &info, HV_ASK_INFO), 0);
		before = atomic_load(&machines);
		sem_wait(&info.told);
		assert_int_equal(info.a.result, 0);
		/* the one that was about to end, and the next */
		assert_true((int)(info.machines - before) <= 2);
	}
	end(hv, t, files);
}

enum { ASKERS = 4, ROUNDS = 150 };

struct asker {
	struct hv *hv;
	unsigned seed, told;
};

/* Whatever comes of it, it comes once. */
static void *ask_much(void *arg)
{
	static const enum hv_ask_what what[] = {HV_ASK_INFO, HV_ASK_PAUSE,
						HV_ASK_RESUME, HV_ASK_INPUT,
						HV_ASK_SERVICE, HV_ASK_RESUME};
	struct asker *r = arg;
	struct asked q;

	for (unsigned i = 0; i < ROUNDS; i++) {
		memset(&q, 0, sizeof(q));
		r->seed = r->seed * 1103515245u + 12345u;
		q.a.bytes = (const uint8_t *)"x";
		q.a.len = 1;
		q.a.service.op = (enum hv_ic_op)(r->seed >> 20) % HV_IC_OPS;
		if (begin(r->hv, &q, what[(r->seed >> 16) % 6]))
			continue;
		if (q.a.what == HV_ASK_INPUT)
			hv_ask_drop(&q.a);
		sem_wait(&q.told);
		r->told += q.times;
		sem_destroy(&q.told);
	}
	return NULL;
}

static int pause_and_reset(struct kvm_run *run)
{
	static unsigned n; /* processor 0's */
	const struct timespec t = {0, 200000};

	if (++n % 2) {
		(void)nanosleep(&t, NULL);
		return EINTR;
	}
	return fake_reboot(run);
}

static void many_ask_while_the_guest_resets_and_each_is_told_once(void **state)
{
	static const fake_step steps[] = {pause_and_reset, NULL};
	struct asker asker[ASKERS] = {0};
	unsigned files = fake_open_files(), told = 0;
	pthread_t t, threads[ASKERS];
	struct hv *hv;

	(void)state;
	fake_reset();
	t = start_with(&hv, 0, steps);
	for (unsigned i = 0; i < ASKERS; i++) {
		asker[i] = (struct asker){hv, 77 + i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, ask_much,
						&asker[i]), 0);
	}
	for (unsigned i = 0; i < ASKERS; i++) {
		pthread_join(threads[i], NULL);
		told += asker[i].told;
	}
	assert_int_equal(told, ASKERS * ROUNDS);
	end(hv, t, files);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_paused_guest_stands_still_and_its_time_does),
		T(time_that_cannot_be_held_is_told_and_goes_on),
		T(a_paused_guest_can_be_ended),
		T(a_guest_that_waits_for_its_console_can_be_paused),
		T(a_guest_that_waits_for_its_console_can_be_killed),
		T(a_guest_that_is_to_end_does_not_wait_for_its_console),
		T(a_guest_that_refuses_to_end_keeps_its_output),
		T(each_is_told_once_whenever_it_is_asked),
		T(input_that_is_dropped_is_told_at_once),
		T(input_behind_one_that_waits_can_be_dropped),
		T(input_that_fits_is_given_although_it_is_dropped),
		T(a_run_that_fails_tells_who_asked),
		T(who_asks_is_heard_while_the_guest_does_nothing_but_reset),
		T(many_ask_while_the_guest_resets_and_each_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
