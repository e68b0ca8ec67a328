/* SPDX-License-Identifier: BSD-2-Clause */
/* A partition on a KVM that is not there: opening /dev/kvm, ioctl, eventfd and
 * mmap are this program's own (--wrap), each call of which fails once in each
 * way. Whatever fails, there is one clear error and nothing is left behind;
 * what a processor's exits mean goes with it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/part.h"
#include "tests/lib/cm.h"
#include "tests/lib/proof.h"

#define CPUS	  2u
#define RUN_BYTES 12288
#define LINES	  8u

int __real_open64(const char *path, int flags, ...);
int __real_eventfd(unsigned count, int flags);
int __real_ioctl(int fd, unsigned long request, ...);
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t n);
ssize_t __real_write(int fd, const void *buf, size_t n);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a,
			  void *(*run)(void *), void *arg);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a,
			  void *(*run)(void *), void *arg);
bool __wrap_hv_cpu_virtualizes(void);

/* ------------------------------------------------------------- the fake -- */

/* What a processor does: one of these at each KVM_RUN, the last one for ever.
 * Returns 0 or an errno.
 */
typedef int (*step_fn)(struct kvm_run *run);

static struct {
	bool no_flag;	       /* the processor shows no virtualization */
	int lacks;	       /* this capability */
	int version;
	unsigned calls;	       /* counted, that may fail */
	unsigned fail_at;      /* from 1; 0: none */
	int fail_errno;
	unsigned long failed;  /* the request; 1 none of KVM's; 0: none yet */
	int failed_cap;	       /* of KVM_CHECK_EXTENSION */
	unsigned long refuse;  /* this request always fails */
	int refuse_errno;
	struct kvm_run *run[CPUS];
	int fd[CPUS];
	const step_fn *step;   /* of processor 0 */
	size_t mapped_bytes;
	int interrupt_fd;      /* a write to it is interrupted once */
	unsigned lines;
	char line[LINES][256];
	unsigned hurried;      /* disks were told to */
} fake;

/* True: this call shall fail, and errno says how. */
static bool fails(unsigned long request, int cap)
{
	if (++fake.calls != fake.fail_at)
		return false;
	fake.failed = request;
	fake.failed_cap = cap;
	errno = fake.fail_errno;
	return true;
}

bool __wrap_hv_cpu_virtualizes(void)
{
	return !fake.no_flag;
}

static int object(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

int __wrap_open64(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/kvm") != 0)
		return __real_open64(path, flags, 0644);
	assert_int_equal(flags, O_RDWR | O_CLOEXEC);
	return fails(1, 0) ? -1 : object("kvm", 0);
}

int __wrap_eventfd(unsigned count, int flags)
{
	return fails(1, 0) ? -1 : __real_eventfd(count, flags);
}

void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	void *p;

	if (fails(1, 0))
		return MAP_FAILED;
	p = __real_mmap64(at, n, prot, flags, fd, off);
	if (p != MAP_FAILED)
		fake.mapped_bytes += n;
	return p;
}

int __wrap_munmap(void *at, size_t n)
{
	fake.mapped_bytes -= n;
	return __real_munmap(at, n);
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	if (fd == fake.interrupt_fd) {
		fake.interrupt_fd = -1;
		errno = EINTR;
		return -1;
	}
	return __real_write(fd, buf, n);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a,
			  void *(*run)(void *), void *arg)
{
	if (fake.fail_at && fails(1, 0))
		return fake.fail_errno;
	return __real_pthread_create(t, a, run, arg);
}

static int create_cpu(unsigned long index)
{
	assert_true(index < CPUS);
	fake.fd[index] = object("vcpu", RUN_BYTES);
	fake.run[index] = __real_mmap64(NULL, RUN_BYTES, PROT_READ | PROT_WRITE,
					MAP_SHARED, fake.fd[index], 0);
	assert_ptr_not_equal(fake.run[index], MAP_FAILED);
	return fake.fd[index];
}

static int supported_cpuid(struct kvm_cpuid2 *c)
{
	static const struct kvm_cpuid_entry2 e[] = {
		{.function = 0, .eax = 1},
		{.function = 1},
		{.function = 0x80000001, .ecx = 1u << 2},
	};

	memcpy(c->entries, e, sizeof(e));
	c->nent = sizeof(e) / sizeof(e[0]);
	return 0;
}

static int supported_hyperv(struct kvm_cpuid2 *c)
{
	static const struct kvm_cpuid_entry2 e[] = {
		{.function = 0x40000003, .eax = 0xffffffff, .ebx = 0xffffffff,
		 .edx = 0xffffffff},
		{.function = 0x40000004},
	};

	memcpy(c->entries, e, sizeof(e));
	c->nent = sizeof(e) / sizeof(e[0]);
	return 0;
}

/* Runs until it is kicked. */
static int until_kicked(struct kvm_run *run)
{
	sigset_t kick;
	int sig;

	(void)run;
	sigemptyset(&kick);
	sigaddset(&kick, SIGUSR1);
	sigwait(&kick, &sig);
	return EINTR;
}

static int run_cpu(int fd)
{
	step_fn step = until_kicked;
	int rc;

	if (fd == fake.fd[0]) {
		step = *fake.step;
		if (fake.step[1])
			fake.step++;
	}
	rc = step(fake.run[fd == fake.fd[0] ? 0 : 1]);
	if (!rc)
		return 0;
	errno = rc;
	return -1;
}

static int check_extension(int cap)
{
	return cap == fake.lacks ? 0 : cap == KVM_CAP_MAX_VCPUS ? 64 : 1;
}

static int answer(int fd, unsigned long request, void *arg)
{
	struct kvm_regs *regs = arg;

	switch (request) {
	case KVM_GET_API_VERSION:
		return fake.version;
	case KVM_CHECK_EXTENSION:
		return check_extension((int)(uintptr_t)arg);
	case KVM_CREATE_VM:
		return object("vm", 0);
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_BYTES;
	case KVM_CREATE_VCPU:
		return create_cpu((unsigned long)arg);
	case KVM_GET_SUPPORTED_CPUID:
		return supported_cpuid(arg);
	case KVM_GET_SUPPORTED_HV_CPUID:
		return supported_hyperv(arg);
	case KVM_GET_LAPIC:
		memset(arg, 0, sizeof(struct kvm_lapic_state));
		return 0;
	case KVM_GET_SREGS:
		memset(arg, 0, sizeof(struct kvm_sregs));
		return 0;
	case KVM_GET_MP_STATE:
		memset(arg, 0, sizeof(struct kvm_mp_state));
		return 0;
	case KVM_GET_REGS:
		*regs = (struct kvm_regs){.rip = 0x1234};
		return 0;
	case KVM_SET_MSRS:
	case KVM_GET_MSRS:
		return (int)((struct kvm_msrs *)arg)->nmsrs;
	case KVM_RUN:
		return run_cpu(fd);
	default:
		return 0;
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	assert_int_equal(_IOC_TYPE(request), KVMIO);
	if (request == fake.refuse) {
		errno = fake.refuse_errno;
		return -1;
	}
	/* Processors' calls come in any order: they are refused by name. */
	if (request != KVM_RUN && fake.step == NULL &&
	    fails(request, (int)(uintptr_t)arg))
		return -1;
	return answer(fd, request, arg);
}

/* -------------------------------------------------------------- helpers -- */

static void say(void *arg, const char *line)
{
	(void)arg;
	if (fake.lines < LINES)
		snprintf(fake.line[fake.lines++], sizeof(fake.line[0]), "%s",
			 line);
}

static void hurry(void *arg, bool on)
{
	assert_ptr_equal(arg, &fake);
	fake.hurried += on;
}

static void reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.version = KVM_API_VERSION;
	fake.interrupt_fd = -1;
	fake.lacks = -1;
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int make(struct hv **hv, struct vhd_err *err)
{
	const struct hv_opts o = {
		.cpus = CPUS,
		.memory_bytes = HV_MEMORY_MIN,
		.console_in_fd = -1,
		.console_out_fd = -1,
		.log = say,
		.disks_hurry = hurry,
		.disks_arg = &fake,
	};
	int rc = hv_create(&o, hv, err);

	if (rc)
		return rc;
	rc = hv_vcpu_enter_linux(&(*hv)->vcpu[0], 0x100000, err);
	(*hv)->loaded = rc == 0;
	if (rc)
		hv_destroy(*hv);
	return rc;
}

/* With what is the fake's own, it all is gone. */
static void gone(unsigned files_before)
{
	for (unsigned i = 0; i < CPUS; i++)
		if (fake.run[i])
			assert_int_equal(__real_munmap(fake.run[i], RUN_BYTES),
					 0);
	assert_int_equal(fake.mapped_bytes, 0);
	assert_int_equal(open_files(), files_before);
}

/* ------------------------------------------------------------- creation -- */

static const int kinds[] = {EIO, EINTR, EAGAIN, ENOMEM, EFAULT, EBADF};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static unsigned cells;

/* KVM says "no such thing" to these, and that is as good as an answer. */
static bool may_be_absent(void)
{
	return fake.failed == KVM_CHECK_EXTENSION &&
	       (fake.failed_cap == KVM_CAP_MAX_VCPUS ||
		fake.failed_cap == KVM_CAP_SYS_HYPERV_CPUID);
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
	unsigned files = open_files(), n = 0, k = 0;

	(void)state;
	for (bool all = false; !all; k = (k + 1) % KINDS) {
		struct vhd_err err = {0};
		struct hv *hv = NULL;
		int rc;

		reset();
		n += k == 0;
		fake.fail_at = n;
		fake.fail_errno = kinds[k];
		rc = make(&hv, &err);
		all = fake.failed == 0;
		if (all)
			assert_int_equal(rc, 0);
		else
			judge(rc, kinds[k], &err);
		if (!rc)
			hv_destroy(hv);
		gone(files);
		cells += !all;
	}
	assert_true(n > 40);
}

static void a_kvm_that_lacks_something_is_not_used(void **state)
{
	unsigned files = open_files();
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	reset();
	fake.no_flag = true;
	assert_int_equal(make(&hv, &err), -ENODEV);
	assert_false(hv_available(&err));
	reset();
	fake.version = KVM_API_VERSION + 1;
	assert_int_equal(make(&hv, &err), -ENOTSUP);
	reset();
	fake.lacks = KVM_CAP_HYPERV_SYNIC2;
	assert_int_equal(make(&hv, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "SynIC"));
	reset();
	fake.refuse = KVM_CREATE_VM;
	fake.refuse_errno = EBUSY;
	assert_false(hv_available(&err));
	assert_int_equal(err.code, -EBUSY);
	reset();
	assert_true(hv_available(&err));
	assert_int_equal(open_files(), files);
}

/* ------------------------------------------------------------------ run -- */

static int off(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return 0;
}

static int reboot(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_RESET;
	return 0;
}

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
	return off(run);
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
	step_fn step[8];
};

static const struct story stories[] = {
	{HV_END_POWEROFF, NULL, 0, {off}},
	{HV_END_POWEROFF, NULL, 0, {interrupted, again, again, interrupted, off}},
	{HV_END_RESET, NULL, 0, {reboot}},
	{HV_END_TRIPLE_FAULT, NULL, 0, {triple}},
	{HV_END_CRASH, "crashed: P0=0", 0, {crash}},
	{HV_END_CRASH, "the guest crashed", KVM_GET_MSRS, {crash}},
	{HV_END_POWEROFF, NULL, 0, {synic, hypercall, off_if_refused}},
	{HV_END_POWEROFF, NULL, 0, {read_nothing, write_nothing, off}},
	{HV_END_POWEROFF, NULL, KVM_IRQ_LINE, {port_in, port_out, off}},
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
	unsigned files = open_files();

	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		const struct story *s = &stories[i];
		struct vhd_err err = {0};
		struct hv *hv = NULL;
		const char *told;

		reset();
		assert_int_equal(make(&hv, &err), 0);
		fake.step = s->step;
		fake.refuse = s->refuse;
		fake.refuse_errno = EIO;
		fake.interrupt_fd = hv->wake_fd;
		if (hv_run(hv, &err) != s->end)
			fail_msg("story %zu: not that end", i);
		assert_int_equal(fake.hurried, 1);
		told = s->end == HV_END_FAILED ? err.text : fake.line[0];
		if (s->text && !strstr(told, s->text))
			fail_msg("story %zu: '%s'", i, told);
		hv_destroy(hv);
		gone(files);
	}
}

/* The other processor, and a run of which only one has begun. */
static void threads_that_cannot_start_end_the_run(void **state)
{
	static const step_fn idle[] = {until_kicked, NULL};
	unsigned files = open_files();

	(void)state;
	for (unsigned n = 1; n <= CPUS; n++) {
		struct vhd_err err = {0};
		struct hv *hv = NULL;

		reset();
		assert_int_equal(make(&hv, &err), 0);
		fake.step = idle;
		fake.calls = 0;
		fake.fail_at = n;
		fake.fail_errno = EAGAIN;
		assert_int_equal(hv_run(hv, &err), HV_END_FAILED);
		assert_int_equal(err.code, -EAGAIN);
		assert_non_null(strstr(err.text, "thread"));
		hv_destroy(hv);
		gone(files);
	}
}

static void state_that_cannot_be_read_is_left_out(void **state)
{
	static const unsigned long needed[] = {KVM_GET_REGS, KVM_GET_MP_STATE,
					       KVM_GET_LAPIC};
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	reset();
	assert_int_equal(make(&hv, &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		fake.refuse = needed[i];
		fake.refuse_errno = EINTR;
		hv_say_state(hv);
		assert_int_equal(fake.lines, 0);
	}
	fake.refuse = 0;
	hv_say_state(hv);
	assert_int_equal(fake.lines, CPUS);
	assert_non_null(strstr(fake.line[1], "processor 1: running at rip "
					     "0x1234"));
	hv_destroy(hv);
	gone(open_files());
}

/* A channel is not opened without its doorbell; to take one down cannot fail
 * in a way that matters.
 */
static void doorbells_that_kvm_refuses_are_told(void **state)
{
	struct vhd_err err;
	struct hv *hv;

	(void)state;
	reset();
	assert_int_equal(make(&hv, &err), 0);
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
	gone(open_files());
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_call_of_a_creation_may_fail_in_each_way),
		T(a_kvm_that_lacks_something_is_not_used),
		T(every_exit_has_its_end),
		T(threads_that_cannot_start_end_the_run),
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
