/* SPDX-License-Identifier: BSD-2-Clause */
/* Does this machine's KVM let a guest's processor take an interrupt between STI
 * and the instruction behind it? None may: that is what makes "STI; HLT" a safe
 * way to wait. Where one does, hv has to end halts (hv/rouse.c).
 *
 * usage: shadow COUNT
 *
 * The guest, in real mode, does nothing but CLI, STI and three NOPs. A timer
 * has it leave now and then, at any of them; it gets an interrupt as soon as
 * KVM says that it may, and its handler looks where it came from. Prints how
 * many of COUNT interrupts came from the first NOP.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#define MEMORY_BYTES 0x10000u
#define LOOP	     0x1000u
#define FIRST_NOP    (LOOP + 2)
#define HANDLER	     0x2000u
#define CAUGHT	     0x3000u /* a word: from the first NOP */
#define STACK	     0x8000u
#define VECTOR	     0x20u
#define PERIOD_US    3000

static const uint8_t loop[] = {
	0xfa,             /* cli */
	0xfb,             /* sti */
	0x90, 0x90, 0x90, /* nop: FIRST_NOP */
	0xeb, 0xf9,       /* jmp LOOP */
};

static const uint8_t handler[] = {
	0x55,                         /* push bp */
	0x89, 0xe5,                   /* mov bp, sp */
	0x81, 0x7e, 0x02, 0x02, 0x10, /* cmp word [bp + 2], FIRST_NOP */
	0x75, 0x04,                   /* jne over it */
	0xff, 0x06, 0x00, 0x30,       /* inc word [CAUGHT] */
	0x5d,                         /* pop bp */
	0xcf,                         /* iret */
};

static void die(const char *what)
{
	fprintf(stderr, "shadow: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

static void tick(int sig)
{
	(void)sig;
}

static void kick_now_and_then(void)
{
	const struct itimerval t = {{0, PERIOD_US}, {0, PERIOD_US}};
	struct sigaction a;

	memset(&a, 0, sizeof(a));
	a.sa_handler = tick;
	must(sigaction(SIGALRM, &a, NULL), "sigaction");
	must(setitimer(ITIMER_REAL, &t, NULL), "setitimer");
}

static void enter(int cpu)
{
	struct kvm_regs regs = {.rip = LOOP, .rsp = STACK, .rflags = 2};
	struct kvm_sregs s;

	must(ioctl(cpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs.base = s.cs.selector = s.ss.base = s.ss.selector = 0;
	must(ioctl(cpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* True: an interrupt was given. */
static int step(int cpu, struct kvm_run *run)
{
	struct kvm_interrupt i = {.irq = VECTOR};

	if (ioctl(cpu, KVM_RUN, 0) < 0) {
		if (errno != EINTR)
			die("KVM_RUN");
	} else if (run->exit_reason != KVM_EXIT_IRQ_WINDOW_OPEN) {
		fprintf(stderr, "shadow: exit %u\n", run->exit_reason);
		exit(2);
	}
	run->request_interrupt_window = !run->ready_for_interrupt_injection;
	if (run->request_interrupt_window)
		return 0;
	must(ioctl(cpu, KVM_INTERRUPT, &i), "KVM_INTERRUPT");
	return 1;
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1000;
	int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int bytes = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "size");
	uint8_t *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region r = {
		.memory_size = MEMORY_BYTES,
		.userspace_addr = (uintptr_t)memory,
	};
	struct kvm_run *run;
	int cpu;

	if (memory == MAP_FAILED)
		die("memory");
	memcpy(memory + LOOP, loop, sizeof(loop));
	memcpy(memory + HANDLER, handler, sizeof(handler));
	memory[VECTOR * 4 + 1] = HANDLER >> 8;
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "memory");
	cpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   cpu, 0);
	if (run == MAP_FAILED)
		die("kvm_run");
	enter(cpu);
	kick_now_and_then();
	while (count > 0)
		count -= step(cpu, run);
	printf("%d\n", memory[CAUGHT] | memory[CAUGHT + 1] << 8);
	return 0;
}
