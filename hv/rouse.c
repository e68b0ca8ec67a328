/* SPDX-License-Identifier: BSD-2-Clause */
/* Processors that sleep through an interrupt, for they run in an emulator that
 * forgets what STI means.
 *
 * After STI no interrupt comes before the next instruction is done, which is
 * what makes "STI; HLT" a safe way to wait: whoever has looked whether there is
 * something to do cannot be told of it between the look and the halt. Where
 * something else makes the processor leave the guest just then, SVM keeps that
 * state in the VMCB (interrupt shadow), from where VMRUN has it back. QEMU
 * before 9.1 writes it there, and does not read it: the guest goes on without,
 * takes an interrupt in between, and then halts with work to do that nobody
 * tells it of a second time. With several processors on one of the host's that
 * is the wake-up by another one. Seen in Linux: all of them halted, nothing
 * pending, and one in its idle task that has TIF_NEED_RESCHED set.
 * tests/guest/shadow.c shows the fault alone.
 *
 * So one processor after the other, where it has done nothing for a while, is
 * had out of its halt now and then. An operating system cannot tell this from an
 * interrupt that had nothing for it, and looks around once more. Only a halt with
 * interrupts enabled is ended: without them it is one that nothing shall end.
 * Source: AMD64 APM volume 2, 15.21.5; QEMU 1a150d331d9b ("target/i386: fix
 * INHIBIT_IRQ/TF/RF handling for VMRUN"), target/i386/tcg/sysemu/svm_helper.c.
 */
#include <cpuid.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "part.h"

/* One of them, whichever: the price is the same for any number. */
#define ROUSE_MS 20

/* More than being roused takes, in an emulator. */
#define AWAKE_US 2000u

#define LEAF_HYPERVISOR 0x40000000u

bool hv_rouse_needed(void)
{
	uint32_t a, b, c, d, name[3];

	__cpuid(LEAF_HYPERVISOR, a, b, c, d);
	name[0] = b;
	name[1] = c;
	name[2] = d;
	return a >= LEAF_HYPERVISOR && a <= LEAF_HYPERVISOR + 0xffff &&
	       memcmp(name, "TCGTCGTCGTCG", sizeof(name)) == 0;
}

/* Whether it has hardly run since it was last looked at: the others need no
 * kick, which is an exit of a guest that is at work.
 */
static bool lies_still(struct hv_vcpu *v)
{
	uint64_t before = v->spent_us;
	struct timespec t;
	clockid_t clock;

	if (pthread_getcpuclockid(v->thread, &clock) ||
	    clock_gettime(clock, &t))
		return true; /* not known */
	v->spent_us = (uint64_t)t.tv_sec * 1000000 +
		      (uint64_t)t.tv_nsec / 1000;
	return v->spent_us - before < AWAKE_US;
}

static void rouse_one(struct hv_source *s)
{
	struct hv *hv = s->arg;
	struct hv_vcpu *v = &hv->vcpu[hv->life.rouse_next];

	hv->life.rouse_next = (hv->life.rouse_next + 1) % hv->opts.cpus;
	if (v->started && lies_still(v)) {
		atomic_store(&v->rouse, true);
		hv_vcpu_kick(v);
	}
	s->due_ms = hv_now_ms() + ROUSE_MS;
}

int hv_rouse_create(struct hv *hv)
{
	struct hv_life *l = &hv->life;

	if (!hv->sleeps_badly)
		return 0;
	l->rouse = (struct hv_source){-1, 0, rouse_one, hv};
	return hv_source_add(hv, &l->rouse);
}

void hv_vcpu_rouse(struct hv_vcpu *v)
{
	enum { RFLAGS_IF = 1u << 9 };
	struct kvm_mp_state mp;
	struct kvm_regs regs;

	if (!atomic_load_explicit(&v->rouse, memory_order_relaxed) ||
	    !atomic_exchange(&v->rouse, false))
		return;
	if (ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0 ||
	    mp.mp_state != KVM_MP_STATE_HALTED ||
	    ioctl(v->fd, KVM_GET_REGS, &regs) < 0 ||
	    !(regs.rflags & RFLAGS_IF))
		return;
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	/* Where KVM refuses, it sleeps on until the next time. */
	if (ioctl(v->fd, KVM_SET_MP_STATE, &mp) == 0)
		atomic_fetch_add(&v->roused, 1);
}
