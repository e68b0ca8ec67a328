/* SPDX-License-Identifier: BSD-2-Clause */
/* A partition on a KVM that is not there (fakekvm.h), each call of which fails
 * once in each way. Whatever fails, there is one clear error and nothing is left
 * behind; what a processor's exits mean goes with it.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/fakekvm.h"
#include "tests/lib/proof.h"

/* ------------------------------------------------------------- creation -- */

static const int kinds[] = {EIO, EINTR, EAGAIN, ENOMEM, EFAULT, EBADF};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static unsigned cells;

/* KVM says "no such thing" to these, and that is as good as an answer. */
static bool may_be_absent(void)
{
	return fake.failed == KVM_CHECK_EXTENSION &&
	       (fake.failed_cap == KVM_CAP_MAX_VCPUS ||
		fake.failed_cap == KVM_CAP_SYS_HYPERV_CPUID ||
		fake.failed_cap == KVM_CAP_TSC_DEADLINE_TIMER);
}

static bool is_question(void)
{
	return fake.failed == KVM_CHECK_EXTENSION ||
	       fake.failed == KVM_GET_API_VERSION;
}

static bool tried_again(int kind)
{
	return fake.failed == KVM_CREATE_VM && kind == EINTR;
}

static void judge(int rc, int kind, const struct vhd_err *err)
{
	if (may_be_absent() || tried_again(kind)) {
		assert_int_equal(rc, 0);
		return;
	}
	assert_true(rc < 0);
	assert_int_equal(err->code, rc);
	assert_true(strlen(err->text) > 10);
	if (is_question())
		assert_int_equal(rc, -ENOTSUP);
	else if (fake.failed != 1) /* vmbus_create has its own codes */
		assert_int_equal(rc, -kind);
}

static void each_call_of_a_creation_may_fail_in_each_way(void **state)
{
	unsigned files = fake_open_files(), n = 0, k = 0;

	(void)state;
	for (bool all = false; !all; k = (k + 1) % KINDS) {
		struct vhd_err err = {0};
		struct hv *hv = NULL;
		int rc;

		fake_reset();
		n += k == 0;
		fake.fail_at = n;
		fake.fail_errno = kinds[k];
		rc = fake_make(&hv, false, &err);
		all = fake.failed == 0;
		if (all)
			assert_int_equal(rc, 0);
		else
			judge(rc, kinds[k], &err);
		if (!rc)
			hv_destroy(hv);
		fake_gone(files);
		cells += !all;
	}
	assert_true(n > 40);
}

static void a_kvm_that_lacks_something_is_not_used(void **state)
{
	unsigned files = fake_open_files();
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	fake_reset();
	fake.no_flag = true;
	assert_int_equal(fake_make(&hv, false, &err), -ENODEV);
	assert_false(hv_available(&err));
	assert_false(hv_present(&err));
	fake_reset();
	fake.version = KVM_API_VERSION + 1;
	assert_int_equal(fake_make(&hv, false, &err), -ENOTSUP);
	fake_reset();
	fake.lacks = KVM_CAP_HYPERV_SYNIC2;
	assert_int_equal(fake_make(&hv, false, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "SynIC"));
	fake_reset();
	fake.refuse = KVM_CREATE_VM;
	fake.refuse_errno = EBUSY;
	assert_false(hv_available(&err));
	assert_int_equal(err.code, -EBUSY);
	assert_true(hv_present(&err));
	fake_reset();
	assert_true(hv_available(&err));
	assert_int_equal(fake_open_files(), files);
}

/* ------------------------------------------------------------------ run -- */

static int crash(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_CRASH;
	return 0;
}

static int odd_event(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = 77;
	return 0;
}

static int triple(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static int no_entry(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = 0x80000021;
	return 0;
}

static int internal(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = 4;
	return 0;
}

static int odd_exit(struct kvm_run *run)
{
	run->exit_reason = 12345;
	return 0;
}

static int odd_hyperv(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_HYPERV;
	run->hyperv.type = 99;
	return 0;
}

static int synic(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_HYPERV;
	run->hyperv.type = KVM_EXIT_HYPERV_SYNIC;
	run->hyperv.u.synic.control = 1;
	run->hyperv.u.synic.msg_page = 0x1001;
	run->hyperv.u.synic.evt_page = 0x2001;
	return 0;
}

static int hypercall(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_HYPERV;
	run->hyperv.type = KVM_EXIT_HYPERV_HCALL;
	run->hyperv.u.hcall.input = 0xffff;
	return 0;
}

/* The one before was answered: there is no such hypercall. */
static int off_if_refused(struct kvm_run *run)
{
	assert_int_equal(run->hyperv.u.hcall.result,
			 VMBUS_HV_INVALID_HYPERCALL_CODE);
	return fake_off(run);
}

static int read_nothing(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.is_write = 0;
	return 0;
}

static int write_nothing(struct kvm_run *run)
{
	assert_int_equal(run->mmio.data[7], 0xff);
	run->mmio.is_write = 1;
	return 0;
}

static int port_in(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_IN;
	run->io.size = 1;
	run->io.count = 1;
	run->io.port = 0x3fd;
	run->io.data_offset = 4096;
	return 0;
}

static int port_out(struct kvm_run *run)
{
	port_in(run);
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.port = 0x3f8;
	return 0;
}

static int fault_io(struct kvm_run *run)
{
	(void)run;
	return EIO;
}

static int fault_nomem(struct kvm_run *run)
{
	(void)run;
	return ENOMEM;
}

static int fault_address(struct kvm_run *run)
{
	(void)run;
	return EFAULT;
}

static int fault_handle(struct kvm_run *run)
{
	(void)run;
	return EBADF;
}

static int again(struct kvm_run *run)
{
	(void)run;
	return EAGAIN;
}

static int interrupted(struct kvm_run *run)
{
	(void)run;
	return EINTR;
}

struct story {
	enum hv_end end;
	const char *text;    /* in the error, or in the first line */
	unsigned long refuse; /* a request that fails meanwhile */
	fake_step step[8];
};

static const struct story stories[] = {
	{HV_END_POWEROFF, NULL, 0, {fake_off}},
	{HV_END_POWEROFF, NULL, 0, {interrupted, again, again, interrupted, fake_off}},
	{HV_END_RESET, NULL, 0, {fake_reboot}},
	{HV_END_TRIPLE_FAULT, NULL, 0, {triple}},
	{HV_END_CRASH, "crashed: P0=0", 0, {crash}},
	{HV_END_CRASH, "the guest crashed", KVM_GET_MSRS, {crash}},
	{HV_END_POWEROFF, NULL, 0, {synic, hypercall, off_if_refused}},
	{HV_END_POWEROFF, NULL, 0, {read_nothing, write_nothing, fake_off}},
	{HV_END_POWEROFF, NULL, KVM_IRQ_LINE, {port_in, port_out, fake_off}},
	{HV_END_FAILED, "KVM_RUN: Input/output error (rip 0x1234)", 0,
	 {again, fault_io}},
	{HV_END_FAILED, "KVM_RUN: Input/output error (rip 0)", KVM_GET_REGS,
	 {fault_io}},
	{HV_END_FAILED, "KVM_RUN: Cannot allocate memory", 0, {fault_nomem}},
	{HV_END_FAILED, "KVM_RUN: Bad address", 0, {fault_address}},
	{HV_END_FAILED, "KVM_RUN: Bad file descriptor", 0, {fault_handle}},
	{HV_END_FAILED, "refuses to enter", 0, {no_entry}},
	{HV_END_FAILED, "internal error 4", 0, {internal}},
	{HV_END_FAILED, "unexpected exit 12345", 0, {odd_exit}},
	{HV_END_FAILED, "unexpected Hyper-V exit 99", 0, {odd_hyperv}},
	{HV_END_FAILED, "unexpected system event 77", 0, {odd_event}},
};

static void every_exit_has_its_end(void **state)
{
	unsigned files = fake_open_files();

	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		const struct story *s = &stories[i];
		struct vhd_err err = {0};
		struct hv *hv = NULL;
		const char *told;

		fake_reset();
		assert_int_equal(fake_make(&hv, true, &err), 0);
		fake.step = s->step;
		fake.refuse = s->refuse;
		fake.refuse_errno = EIO;
		atomic_store(&fake_interrupt_fd, hv->wake_fd);
		if (hv_run(hv, &err) != s->end)
			fail_msg("story %zu: not that end", i);
		assert_int_equal(fake.hurried, 1);
		told = s->end == HV_END_FAILED ? err.text : fake.line[0];
		if (s->text && !strstr(told, s->text))
			fail_msg("story %zu: '%s'", i, told);
		hv_destroy(hv);
		fake_gone(files);
	}
}

/* The services' channels; then the other processor, and a run of which only one
 * has begun.
 */
static void what_cannot_start_ends_the_run(void **state)
{
	static const fake_step idle[] = {fake_until_kicked, NULL};
	unsigned files = fake_open_files();

	(void)state;
	for (unsigned n = 1; n <= HV_IC_SERVICES + FAKE_CPUS; n++) {
		struct vhd_err err = {0};
		struct hv *hv = NULL;

		fake_reset();
		assert_int_equal(fake_make(&hv, false, &err), 0);
		fake.step = idle;
		fake.calls = 0;
		fake.fail_at = n;
		fake.fail_errno = EAGAIN;
		assert_int_equal(hv_run(hv, &err), HV_END_FAILED);
		assert_int_equal(err.code, -EAGAIN);
		assert_non_null(strstr(err.text, n > HV_IC_SERVICES
							 ? "thread"
							 : "event"));
		hv_destroy(hv);
		fake_gone(files);
	}
}

static struct hv *to_tell; /* once */

/* The other processor's: asks, and is asked itself. */
static int ask_once(struct kvm_run *run)
{
	struct hv *hv = to_tell;

	to_tell = NULL;
	if (hv)
		hv_tell_state(hv);
	return fake_until_kicked(run);
}

static int off_when_told(struct kvm_run *run)
{
	while (fake.told < FAKE_CPUS)
		sched_yield();
	return fake_off(run);
}

static void processors_say_where_they_are_and_go_on(void **state)
{
	static const fake_step steps[] = {fake_until_kicked, off_when_told,
					  NULL};
	unsigned files = fake_open_files();
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	fake.step = steps;
	fake.other = ask_once;
	to_tell = hv;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	assert_int_equal(fake.told, FAKE_CPUS);
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		assert_non_null(strstr(fake.line[i], "running at rip 0x1234"));
	hv_destroy(hv);
	fake_gone(files);
}

static void state_that_cannot_be_read_is_left_out(void **state)
{
	static const unsigned long needed[] = {KVM_GET_REGS, KVM_GET_MP_STATE,
					       KVM_GET_LAPIC};
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		fake.refuse = needed[i];
		fake.refuse_errno = EINTR;
		hv_say_state(hv);
		assert_int_equal(fake.told, 0);
	}
	fake.refuse = 0;
	hv_say_state(hv);
	assert_int_equal(fake.told, FAKE_CPUS);
	assert_non_null(strstr(fake.line[1], "processor 1: running at rip "
					     "0x1234"));
	hv_destroy(hv);
	fake_gone(fake_open_files());
}

/* A channel is not opened without its doorbell; to take one down cannot fail
 * in a way that matters.
 */
static void doorbells_that_kvm_refuses_are_told(void **state)
{
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, false, &err), 0);
	for (unsigned k = 0; k < KINDS; k++) {
		fake.refuse = KVM_HYPERV_EVENTFD;
		fake.refuse_errno = kinds[k];
		assert_int_equal(hv_synic_ops.bind(hv, 0x2001, 0), -kinds[k]);
		hv_synic_ops.unbind(hv, 0x2001, 0);
		cells++;
	}
	fake.refuse = 0;
	assert_int_equal(hv_synic_ops.bind(hv, 0x2001, 0), 0);
	hv_synic_ops.unbind(hv, 0x2001, 0);
	hv_destroy(hv);
	fake_gone(fake_open_files());
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_call_of_a_creation_may_fail_in_each_way),
		T(a_kvm_that_lacks_something_is_not_used),
		T(every_exit_has_its_end),
		T(what_cannot_start_ends_the_run),
		T(processors_say_where_they_are_and_go_on),
		T(state_that_cannot_be_read_is_left_out),
		T(doorbells_that_kvm_refuses_are_told),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	proof_figure("F1", failed == 0 && cells > 0,
		     "of KVM and eventfds, by a fake: %u cells of a call and a "
		     "kind",
		     cells);
	return failed;
}
