/* SPDX-License-Identifier: BSD-2-Clause */
/* Processors that sleep through an interrupt (hv/rouse.c), on a KVM that is not
 * there (fakekvm.h): they run until they are kicked, and KVM says of them what
 * a test wants it to.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tests/lib/cm.h"
#include "tests/lib/fakekvm.h"

#define INTERRUPTS_ON (1u << 9)

static atomic_uint asked, roused[FAKE_CPUS];
static uint32_t state_is;
static _Atomic uint32_t set_to;

static void mp_state(int fd, bool set, struct kvm_mp_state *s)
{
	if (!set) {
		s->mp_state = state_is;
		asked++;
		return;
	}
	set_to = s->mp_state;
	roused[fd == fake.fd[0] ? 0 : 1]++;
}

static int until_all_are_roused_twice(struct kvm_run *run)
{
	return roused[0] < 2 || roused[1] < 2 ? fake_until_kicked(run)
					      : fake_off(run);
}

static int until_asked_often(struct kvm_run *run)
{
	return asked < 4 * FAKE_CPUS ? fake_until_kicked(run) : fake_off(run);
}

/* The first processor works; the other one, which does not, is roused. */
static int until_the_other_is_roused_often(struct kvm_run *run)
{
	(void)run;
	while (roused[1] < 8)
		;
	return fake_off(run);
}

static void run_guest(fake_step step, uint32_t state, uint64_t rflags,
		      unsigned long refuse)
{
	const fake_step steps[] = {step, NULL};
	unsigned files = fake_open_files();
	struct hv_stats stats;
	struct vhd_err err;
	struct hv *hv;

	fake_reset();
	fake.mp_state = mp_state;
	fake.rflags = rflags;
	state_is = state;
	asked = roused[0] = roused[1] = 0;
	assert_int_equal(fake_make(&hv, false, &err), 0);
	hv->sleeps_badly = true;
	fake.step = steps;
	fake.refuse = refuse;
	fake.refuse_errno = EINVAL;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	hv_get_stats(hv, &stats);
	assert_int_equal(stats.roused, roused[0] + roused[1]);
	hv_destroy(hv);
	fake_gone(files);
}

static void each_processor_is_had_out_of_its_halt(void **state)
{
	(void)state;
	run_guest(until_all_are_roused_twice, KVM_MP_STATE_HALTED,
		  INTERRUPTS_ON, 0);
	assert_int_equal(set_to, KVM_MP_STATE_RUNNABLE);
}

static void a_halt_that_no_interrupt_ends_is_left_alone(void **state)
{
	(void)state;
	run_guest(until_asked_often, KVM_MP_STATE_HALTED, 0, 0);
	assert_int_equal(roused[0] + roused[1], 0);
}

static void a_processor_that_does_not_halt_is_left_alone(void **state)
{
	static const uint32_t states[] = {KVM_MP_STATE_RUNNABLE,
					  KVM_MP_STATE_UNINITIALIZED,
					  KVM_MP_STATE_INIT_RECEIVED,
					  KVM_MP_STATE_SIPI_RECEIVED};

	(void)state;
	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		run_guest(until_asked_often, states[i], INTERRUPTS_ON, 0);
		assert_int_equal(roused[0] + roused[1], 0);
	}
}

/* Little of the machine may be left for it now and then. */
static void a_processor_at_work_is_left_alone(void **state)
{
	(void)state;
	run_guest(until_the_other_is_roused_often, KVM_MP_STATE_HALTED,
		  INTERRUPTS_ON, 0);
	assert_in_range(roused[0], 0, 3);
}

static void where_kvm_refuses_the_guest_goes_on(void **state)
{
	(void)state;
	run_guest(until_asked_often, KVM_MP_STATE_HALTED, INTERRUPTS_ON,
		  KVM_SET_MP_STATE);
	assert_int_equal(roused[0] + roused[1], 0);
	run_guest(until_asked_often, KVM_MP_STATE_HALTED, INTERRUPTS_ON,
		  KVM_GET_REGS);
	assert_int_equal(roused[0] + roused[1], 0);
}

static void where_they_sleep_well_nobody_is_kicked(void **state)
{
	struct vhd_err err;
	struct hv *hv;
	unsigned before;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	before = hv->life.source_count;
	hv->sleeps_badly = false;
	assert_int_equal(hv_rouse_create(hv), 0);
	assert_int_equal(hv->life.source_count, before);
	hv->sleeps_badly = true;
	assert_int_equal(hv_rouse_create(hv), 0);
	assert_int_equal(hv->life.source_count, before + 1);
	hv->life.source_count = HV_SOURCES_MAX;
	assert_int_equal(hv_rouse_create(hv), -ENOSPC);
	hv->life.source_count = before;
	hv_destroy(hv);
	fake_gone(fake_open_files());
}

static void no_room_for_it_ends_the_run(void **state)
{
	unsigned files = fake_open_files();
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	hv->sleeps_badly = true;
	/* the services' and their clock have theirs */
	hv->life.source_count = HV_SOURCES_MAX - HV_IC_SERVICES - 1;
	assert_int_equal(hv_run(hv, &err), HV_END_FAILED);
	assert_int_equal(err.code, -ENOSPC);
	hv_destroy(hv);
	fake_gone(files);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_processor_is_had_out_of_its_halt),
		T(a_halt_that_no_interrupt_ends_is_left_alone),
		T(a_processor_that_does_not_halt_is_left_alone),
		T(a_processor_at_work_is_left_alone),
		T(where_kvm_refuses_the_guest_goes_on),
		T(where_they_sleep_well_nobody_is_kicked),
		T(no_room_for_it_ends_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
