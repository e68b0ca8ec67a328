/* SPDX-License-Identifier: BSD-2-Clause */
/* See fakekvm.h. */
#include "fakekvm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cm.h"
#include "hv/boot_linux.h"

int __real_open64(const char *path, int flags, ...);
int __real_eventfd(unsigned count, int flags);
int __real_ioctl(int fd, unsigned long request, ...);
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t n);
int __real_madvise(void *at, size_t n, int advice);
ssize_t __real_write(int fd, const void *buf, size_t n);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a,
			  void *(*run)(void *), void *arg);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t n);
int __wrap_madvise(void *at, size_t n, int advice);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a,
			  void *(*run)(void *), void *arg);
bool __wrap_hv_cpu_virtualizes(void);

struct fakekvm fake;
atomic_int fake_interrupt_fd = -1;

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

int __wrap_madvise(void *at, size_t n, int advice)
{
	if (advice == MADV_DONTNEED && fails(1, 0))
		return -1;
	return __real_madvise(at, n, advice);
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	if (fd == atomic_load(&fake_interrupt_fd)) {
		atomic_store(&fake_interrupt_fd, -1);
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
	assert_true(index < FAKE_CPUS);
	if (fake.run[index]) /* of the machine before */
		assert_int_equal(
			__real_munmap(fake.run[index], FAKE_RUN_BYTES), 0);
	fake.fd[index] = object("vcpu", FAKE_RUN_BYTES);
	fake.run[index] = __real_mmap64(NULL, FAKE_RUN_BYTES, PROT_READ | PROT_WRITE,
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
int fake_until_kicked(struct kvm_run *run)
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
	fake_step step = fake.other ? fake.other : fake_until_kicked;
	int rc;

	if (fd == fake.fd[0]) {
		const fake_step *at = fake.step;

		step = *at;
		if (at[1])
			fake.step = at + 1;
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

static int mp_state(int fd, bool set, struct kvm_mp_state *s)
{
	if (!set)
		s->mp_state = KVM_MP_STATE_RUNNABLE;
	if (fake.mp_state)
		fake.mp_state(fd, set, s);
	return 0;
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
		if (fake.creates)
			fake.creates();
		return object("vm", 0);
	case KVM_GET_VCPU_MMAP_SIZE:
		return FAKE_RUN_BYTES;
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
	case KVM_SET_MP_STATE:
		return mp_state(fd, request == KVM_SET_MP_STATE, arg);
	case KVM_GET_REGS:
		*regs = (struct kvm_regs){.rip = 0x1234,
					  .rflags = fake.rflags};
		return 0;
	case KVM_SET_CLOCK:
	case KVM_GET_CLOCK:
		if (fake.clock)
			fake.clock(request == KVM_SET_CLOCK, arg);
		return 0;
	case KVM_SET_MSRS:
	case KVM_GET_MSRS:
		if (fake.msr)
			fake.msr(fd, request == KVM_SET_MSRS,
				 ((struct kvm_msrs *)arg)->entries);
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
	if (request != KVM_RUN && (fake.step == NULL || fake.counts) &&
	    fails(request, (int)(uintptr_t)arg))
		return -1;
	return answer(fd, request, arg);
}

/* ---------------------------------------------------------------- steps -- */

int fake_off(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return 0;
}

int fake_reboot(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_RESET;
	return 0;
}

int fake_writes(struct kvm_run *run)
{
	enum { BYTES = 4096, AT = FAKE_RUN_BYTES - BYTES };

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.size = 1;
	run->io.port = HV_PORT_COM1;
	run->io.count = BYTES;
	run->io.data_offset = AT;
	memset((uint8_t *)run + AT, '.', BYTES);
	return 0;
}

/* -------------------------------------------------------------- helpers -- */

static void say(void *arg, const char *line)
{
	(void)arg;
	unsigned n = atomic_fetch_add(&fake.told, 1);

	if (n < FAKE_LINES)
		snprintf(fake.line[n], sizeof(fake.line[0]), "%s", line);
}

static void hurry(void *arg, bool on)
{
	assert_ptr_equal(arg, &fake);
	fake.hurried += on;
	fake.hurry = on;
}

/* Between two machines: the former is gone, the next one was not loaded. */
static void renew(void *arg)
{
	assert_ptr_equal(arg, &fake);
	assert_true(fake.hurry);
	fake.renewed++;
}

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.version = KVM_API_VERSION;
	fake.console_fd = -1;
	atomic_store(&fake_interrupt_fd, -1);
	fake.lacks = -1;
}

unsigned fake_open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int load(struct hv *hv, struct vhd_err *err)
{
	const struct hv_boot_entry entry = {0x100000, true};

	return hv_vcpu_enter_linux(&hv->vcpu[0], &entry, err);
}

static void unload(struct hv *hv)
{
	(void)hv;
}

static const struct hv_boot nothing = {load, unload};

int fake_make(struct hv **hv, bool no_reboot, struct vhd_err *err)
{
	const struct hv_opts o = {
		.cpus = FAKE_CPUS,
		.memory_bytes = HV_MEMORY_MIN,
		.no_reboot = no_reboot,
		.console_in_fd = -1,
		.console_out_fd = fake.console_fd,
		.console_ms = 1,
		.log = say,
		.disks_hurry = hurry,
		.disks_renew = renew,
		.disks_arg = &fake,
	};
	int rc = hv_create(&o, hv, err);

	if (rc)
		return rc;
	(*hv)->boot = &nothing;
	rc = load(*hv, err);
	if (rc)
		hv_destroy(*hv);
	return rc;
}

void fake_gone(unsigned files_before)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		if (fake.run[i])
			assert_int_equal(__real_munmap(fake.run[i], FAKE_RUN_BYTES),
					 0);
	assert_int_equal(fake.mapped_bytes, 0);
	assert_int_equal(fake_open_files(), files_before);
}
