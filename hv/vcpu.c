/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtual processor: its set-up, and its thread. What is done at an exit is in
 * exits.c.
 *
 * To leave the guest: every signal is blocked in the thread; while in KVM_RUN,
 * HV_KICK_SIGNAL alone is not. So a kick that comes at any moment ends the
 * current or the next KVM_RUN, and no handler ever runs: it is taken off by
 * hand.
 * Source: Linux Documentation/virt/kvm/api.rst, section 5.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "boot_linux.h"
#include "clock.h"
#include "part.h"

#define SIGSET_KERNEL_BYTES 8

static int refused(struct hv_vcpu *v, const char *what, struct vhd_err *err)
{
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"KVM refuses %s of processor %u: %s", what, v->index,
			strerror(errno));
}

/* -------------------------------------------------------------- set-up -- */

static int set_signal_mask(struct hv_vcpu *v, struct vhd_err *err)
{
	struct {
		uint32_t len;
		uint8_t set[SIGSET_KERNEL_BYTES];
	} mask = {.len = SIGSET_KERNEL_BYTES};

	memset(mask.set, 0xff, sizeof(mask.set));
	mask.set[(HV_KICK_SIGNAL - 1) / 8] &=
		(uint8_t)~(1u << (HV_KICK_SIGNAL - 1) % 8);
	if (ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
		return refused(v, "the signal mask", err);
	return 0;
}

void hv_vcpu_init(struct hv_vcpu *v, struct hv *hv, uint32_t index)
{
	v->hv = hv;
	v->index = index;
	v->fd = v->sint_fd = -1;
	hv_synic_init(&v->synic);
	sem_init(&v->go, 0, 0);
	sem_init(&v->halted, 0, 0);
}

void hv_vcpu_fini(struct hv_vcpu *v)
{
	sem_destroy(&v->halted);
	sem_destroy(&v->go);
	hv_synic_fini(&v->synic);
}

int hv_vcpu_create(struct hv_vcpu *v, struct vhd_err *err)
{
	struct kvm_enable_cap synic = {.cap = KVM_CAP_HYPERV_SYNIC2};
	void *run;

	v->fd = ioctl(v->hv->vm_fd, KVM_CREATE_VCPU, (unsigned long)v->index);
	if (v->fd < 0)
		return refused(v, "the creation", err);
	run = mmap(NULL, v->hv->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   v->fd, 0);
	if (run == MAP_FAILED)
		return refused(v, "the mapping", err);
	v->run = run;
	if (ioctl(v->fd, KVM_ENABLE_CAP, &synic) < 0)
		return refused(v, "the SynIC", err);
	return set_signal_mask(v, err);
}

void hv_vcpu_destroy(struct hv_vcpu *v)
{
	if (v->run)
		(void)munmap(v->run, v->hv->run_bytes);
	v->run = NULL;
	if (v->fd >= 0)
		(void)close(v->fd);
	v->fd = -1;
	hv_synic_reset(&v->synic);
}

/* Local APIC as a BIOS leaves it: LINT0 takes the 8259's interrupts, LINT1 is
 * the NMI.
 */
static int set_lapic(struct hv_vcpu *v, struct vhd_err *err)
{
	enum { LVT_LINT0 = 0x350, LVT_LINT1 = 0x360 };
	const uint32_t extint = 7u << 8, nmi = 4u << 8;
	struct kvm_lapic_state s;

	if (ioctl(v->fd, KVM_GET_LAPIC, &s) < 0)
		return refused(v, "reading the APIC", err);
	memcpy(s.regs + LVT_LINT0, &extint, sizeof(extint));
	memcpy(s.regs + LVT_LINT1, &nmi, sizeof(nmi));
	if (ioctl(v->fd, KVM_SET_LAPIC, &s) < 0)
		return refused(v, "the APIC", err);
	return 0;
}

/* MTRRs on and all memory write-back, as a BIOS leaves them; and the word by
 * which a guest sees that it may report a crash.
 */
static int set_msrs(struct hv_vcpu *v, struct vhd_err *err)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entries[3];
	} msrs = {
		.nmsrs = 2,
		.entries = {
			{.index = 0x1a0, .data = 1},               /* MISC_ENABLE */
			{.index = 0x2ff, .data = 1u << 11 | 6u},   /* MTRRdefType */
			{.index = 0x40000105, .data = 1ull << 63}, /* CRASH_CTL */
		},
	};

	if (v->index == 0)
		msrs.nmsrs = 3; /* one for the whole partition */
	if (ioctl(v->fd, KVM_SET_MSRS, &msrs) != (int)msrs.nmsrs)
		return refused(v, "the MSRs", err);
	return 0;
}

/* The guest's TSC runs at the host's rate as it is known now. KVM creates a
 * processor with the rate known when it was loaded; where the kernel has
 * corrected that since (more than 250 ppm, as on a busy host whose first
 * calibration was bad) and the hardware cannot scale the TSC, KVM multiplies it
 * by zero: the guest's clock stands still, and its timers never come.
 * Source: Linux arch/x86/kvm/x86.c, kvm_set_tsc_khz.
 */
static int set_tsc_rate(struct hv_vcpu *v, struct vhd_err *err)
{
	enum { AS_HOST = 0 };

	if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)AS_HOST) < 0)
		return refused(v, "the TSC's rate", err);
	return 0;
}

static int set_cpuid(struct hv_vcpu *v, struct vhd_err *err)
{
	const struct hv_cpuid *kvm = v->hv->kvm_cpuid;
	struct hv_cpuid *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	ret = hv_cpuid_build(&kvm[0], &kvm[1], v->index, v->hv->opts.cpus, c,
			     err);
	if (ret == 0 && ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		ret = refused(v, "the CPUID", err);
	free(c);
	return ret;
}

int hv_vcpu_setup(struct hv_vcpu *v, struct vhd_err *err)
{
	int ret = set_cpuid(v, err);

	if (ret == 0)
		ret = set_tsc_rate(v, err);
	if (ret == 0)
		ret = set_lapic(v, err);
	return ret == 0 ? set_msrs(v, err) : ret;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.l = long_mode,
		.db = !long_mode,
		.g = 1,
	};
}

/* Long mode with the tables of bzimage.c, or protected mode without paging;
 * everything else as after reset.
 */
int hv_vcpu_enter_linux(struct hv_vcpu *v, const struct hv_boot_entry *entry,
			struct vhd_err *err)
{
	enum { CR0_PE = 1u, CR0_ET = 1u << 4, CR4_PAE = 1u << 5 };
	const uint64_t cr0_pg = 1ull << 31;
	const uint64_t efer_lme = 1u << 8, efer_lma = 1u << 10;
	struct kvm_regs regs = {
		.rip = entry->gpa,
		.rsi = HV_BOOT_PARAMS_GPA,
		.rflags = 2,
	};
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return refused(v, "reading the registers", err);
	s.cs = flat(HV_BOOT_CS, 0xb, entry->long_mode);
	s.ds = s.es = s.ss = s.fs = s.gs = flat(HV_BOOT_DS, 0x3, false);
	s.gdt.base = HV_BOOT_GDT_GPA;
	s.gdt.limit = HV_BOOT_GDT_BYTES - 1;
	s.idt.base = 0;
	s.idt.limit = 0;
	s.cr0 = CR0_ET | CR0_PE;
	if (entry->long_mode) {
		s.cr3 = HV_BOOT_PAGES_GPA;
		s.cr4 |= CR4_PAE;
		s.cr0 |= cr0_pg;
		s.efer |= efer_lme | efer_lma;
	}
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0 ||
	    ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return refused(v, "the registers", err);
	return 0;
}

/* ------------------------------------------------------------- running -- */

/* 0, or the negative errno of KVM_RUN. */
static int run(struct hv_vcpu *v)
{
	int ret;

	hv_synic_enter(&v->synic);
	ret = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	hv_synic_leave(&v->synic);
	return ret;
}

static void take_kick(void)
{
	const struct timespec now = {0, 0};
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, HV_KICK_SIGNAL);
	(void)sigtimedwait(&kick, NULL, &now);
}

static int pin(struct hv_vcpu *v)
{
	const uint16_t *cpus = v->hv->opts.pin;
	cpu_set_t set;
	int ret;

	if (!cpus)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpus[v->index], &set);
	ret = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	if (ret == 0)
		return 0;
	return vhd_fail(&v->err, -ret, VHD_WHY_SYSTEM, 0,
			"processor %u cannot be pinned to the host's %u: %s",
			v->index, cpus[v->index], strerror(ret));
}

static bool begin(struct hv_vcpu *v)
{
	const struct hv_opts *o = &v->hv->opts;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	(void)pthread_setname_np(pthread_self(), name); /* for people only */
	if (pin(v) < 0)
		return false;
	return !o->thread_begins ||
	       o->thread_begins(o->thread_arg, HV_THREAD_CPU, &v->err) == 0;
}

static void note_entry(struct hv_vcpu *v)
{
	if (v->index == 0 && atomic_load(&v->hv->entered_ns) == 0)
		atomic_store(&v->hv->entered_ns, hv_now_ns());
}

/* Once for calls of hv_tell_state that came together. */
static void tell_state(struct hv_vcpu *v)
{
	unsigned tell = atomic_load(&v->hv->tell);

	if (v->told == tell)
		return;
	v->told = tell;
	hv_vcpu_say_state(v);
}

/* Until the machine has its end. */
static void run_guest(struct hv_vcpu *v)
{
	note_entry(v);
	while (!hv_ended(v->hv)) {
		int ret;

		tell_state(v);
		hv_vcpu_attend(v);
		hv_vcpu_rouse(v);
		ret = run(v);
		if (ret == -EINTR) {
			take_kick();
			continue;
		}
		if (ret == -EAGAIN)
			continue;
		if (ret < 0) {
			(void)hv_vcpu_fail(v, "KVM_RUN: %s (rip %#llx)",
					   strerror(-ret), hv_vcpu_where(v));
			break;
		}
		if (!hv_vcpu_exit(v))
			break;
	}
}

static void wait_for(sem_t *s)
{
	while (sem_wait(s) < 0 && errno == EINTR)
		;
}

static void *vcpu_main(void *arg)
{
	struct hv_vcpu *v = arg;

	v->able = begin(v);
	for (;;) {
		(void)sem_post(&v->halted);
		wait_for(&v->go);
		if (v->leave)
			return NULL;
		run_guest(v);
	}
}

/* --------------------------------------------------------------- state -- */

/* The highest vector set in one of the APIC's 256-bit registers, or -1. */
static int highest(const struct kvm_lapic_state *s, unsigned reg)
{
	for (int word = 7; word >= 0; word--) {
		uint32_t bits;

		memcpy(&bits, s->regs + reg + 16u * (unsigned)word,
		       sizeof(bits));
		if (bits)
			return word * 32 + 31 - __builtin_clz(bits);
	}
	return -1;
}

void hv_vcpu_say_state(struct hv_vcpu *v)
{
	enum { RFLAGS_IF = 1u << 9, APIC_ISR = 0x100, APIC_IRR = 0x200 };
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_lapic_state apic;

	if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0 ||
	    ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0 ||
	    ioctl(v->fd, KVM_GET_LAPIC, &apic) < 0)
		return;
	hv_say(v->hv,
	       "processor %u: %s at rip %#llx, interrupts %s, highest vector "
	       "waiting %d, in service %d",
	       v->index,
	       mp.mp_state == KVM_MP_STATE_RUNNABLE ? "running"
	       : mp.mp_state == KVM_MP_STATE_HALTED ? "halted"
						    : "not started",
	       (unsigned long long)regs.rip,
	       regs.rflags & RFLAGS_IF ? "on" : "off",
	       highest(&apic, APIC_IRR), highest(&apic, APIC_ISR));
}

/* -------------------------------------------------------------- thread -- */

int hv_vcpu_start(struct hv_vcpu *v, struct vhd_err *err)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&v->thread, NULL, vcpu_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret != 0)
		return vhd_fail(err, -ret, VHD_WHY_SYSTEM, 0,
				"cannot start a thread: %s", strerror(ret));
	v->started = true;
	return 0;
}

int hv_vcpu_ready(struct hv_vcpu *v, struct vhd_err *err)
{
	wait_for(&v->halted);
	if (v->able)
		return 0;
	if (err)
		*err = v->err;
	return v->err.code;
}

void hv_vcpu_go(struct hv_vcpu *v)
{
	v->running = true;
	(void)sem_post(&v->go);
}

void hv_vcpu_halt(struct hv_vcpu *v)
{
	if (!v->running)
		return;
	hv_vcpu_kick(v);
	wait_for(&v->halted);
	v->running = false;
}

void hv_vcpu_join(struct hv_vcpu *v)
{
	if (!v->started)
		return;
	v->started = false; /* no kick, by a signal's handler say, from now on */
	v->leave = true;
	(void)sem_post(&v->go);
	(void)pthread_join(v->thread, NULL);
}
