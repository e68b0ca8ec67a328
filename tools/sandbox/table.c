/* SPDX-License-Identifier: BSD-2-Clause */
/* The system calls that each role may make, with the reason beside each: the
 * one list, from which filters are made, manual pages are checked and counts
 * are taken.
 *
 * A letter a role: v processor, i storage channel, a the same without rings (by
 * libaio or plain calls), c control thread, o console and messages, k server of
 * hv ctl, h its disk on an NBD server, whose connections are handed over, l
 * connection to an NBD server; r reader, w writer, n (net) remote.
 * Source: seccomp(2); what glibc 2.36 and liburing 2.3 call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox.h"

enum {
	V = SANDBOX_BIT(SANDBOX_VCPU),
	I = SANDBOX_BIT(SANDBOX_IO),
	A = SANDBOX_BIT(SANDBOX_IO_PLAIN),
	C = SANDBOX_BIT(SANDBOX_CONTROL),
	O = SANDBOX_BIT(SANDBOX_OUTPUT),
	K = SANDBOX_BIT(SANDBOX_CTL),
	H = SANDBOX_BIT(SANDBOX_HANDED),
	L = SANDBOX_BIT(SANDBOX_LINK),
	R = SANDBOX_BIT(SANDBOX_READER),
	W = SANDBOX_BIT(SANDBOX_WRITER),
	N = SANDBOX_BIT(SANDBOX_REMOTE),
	IA = I | A,
	HV = V | IA | C | O | K | H | L,
	KH = K | H,
	CK = C | K,
	LN = L | N,
	WN = W | N,
	TOOL = R | W | N,
	ALL = HV | TOOL,
};

/* ------------------------------------------------------------ arguments -- */

static const struct sandbox_value fcntls[] = {
	{F_OFD_SETLK, TOOL | C | K, "lock and unlock an image"},
	{F_OFD_GETLK, TOOL | K, "who has it"},
	{F_GETFL, TOOL | K, "blocking or not"},
	{F_SETFL, TOOL | K, "O_NONBLOCK is only for opening"},
	{F_DUPFD_CLOEXEC, W, "the stream of another program's map"},
	{F_GETFD, N, "libnbd makes its socket close on exec"},
	{F_SETFD, TOOL, "the same; a memory file that is handed on"},
	{0},
};

static const struct sandbox_value ioctls[] = {
	{KVM_RUN, V, "run the guest"},
	{KVM_GET_MSRS, V | C, "a guest's crash report; a clock to be held"},
	{KVM_GET_REGS, V | C, "where a processor stood; a call of firmware"},
	{KVM_GET_MP_STATE, V | C, "the same, of a guest that hangs"},
	{KVM_SET_MP_STATE, V, "one that an emulator lets sleep too long"},
	{KVM_GET_LAPIC, V | C, "the same"},
	{KVM_IRQ_LINE, V | C, "the serial port's interrupt"},
	{KVM_HYPERV_EVENTFD, C, "a channel's doorbell"},
	{KVM_CREATE_VM, C, "after a reset: the next machine"},
	{KVM_SET_IDENTITY_MAP_ADDR, C, "its place in Intel's address space"},
	{KVM_SET_TSS_ADDR, C, "the same"},
	{KVM_CREATE_IRQCHIP, C, "its interrupt controllers"},
	{KVM_CREATE_PIT2, C, "its timer"},
	{KVM_SET_USER_MEMORY_REGION, C, "its memory, which is there"},
	{KVM_CREATE_VCPU, C, "its processors"},
	{KVM_ENABLE_CAP, C, "their SynICs"},
	{KVM_SET_SIGNAL_MASK, C, "which signal kicks them"},
	{KVM_SET_GSI_ROUTING, C, "its interrupt lines"},
	{KVM_IRQFD, C, "a processor's message interrupt"},
	{KVM_SET_CPUID2, C, "what the processors say they are"},
	{KVM_SET_TSC_KHZ, C, "their clock"},
	{KVM_SET_LAPIC, C, "their APICs as a BIOS leaves them"},
	{KVM_SET_MSRS, C, "their memory types; the clock as it was"},
	{KVM_GET_CLOCK, C, "a paused guest's time"},
	{KVM_SET_CLOCK, C, "its time as it was"},
	{KVM_GET_SREGS, V | C,
	 "where the first one starts; segments of a call of firmware"},
	{KVM_SET_SREGS, C, "where the first one starts"},
	{KVM_SET_REGS, V | C, "the same; a call's answer"},
	{TCGETS, TOOL | C, "is it a terminal"},
	{TCSETS, C | N, "the terminal as it was"},
	{TCSETSW, C | N, "the same"},
	{TIOCGWINSZ, TOOL, "its width"},
	{FS_IOC_GETFLAGS, TOOL, "compressed by the file system"},
	{BLKGETSIZE64, TOOL | K, "size of a block device"},
	{BLKSSZGET, TOOL | K, "its sector size"},
	{FIONREAD, N, "getaddrinfo: length of a name server's answer"},
	{FICLONERANGE, WN, "share blocks instead of copying"},
	{0},
};

/* What pthread_create asks for, and nothing else: no process, no namespace. */
static const struct sandbox_value threads[] = {
	{CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND |
		 CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID |
		 CLONE_CHILD_CLEARTID,
	 CK | WN, "a thread"},
	{0},
};

static const struct sandbox_value policies[] = {
	{SCHED_NORMAL, IA | C, "at once"},
	{SCHED_BATCH, IA | C, "when the guest waits"},
	{0},
};

static const struct sandbox_value prctls[] = {
	{PR_SET_NAME, C, "for people only"},
	{0},
};

static const struct sandbox_value seccomps[] = {
	{SECCOMP_SET_MODE_FILTER, CK, "one more filter"},
	{0},
};

static const struct sandbox_value families[] = {
	{AF_UNIX, LN, "a server on this machine"},
	{AF_INET, LN, "one elsewhere, or a name server"},
	{AF_INET6, LN, "the same"},
	{AF_NETLINK, N, "getaddrinfo asks which addresses there are"},
	{0},
};

#define ANY(call, roles, why) \
	{#call, SYS_##call, roles, 0, 0, NULL, 0, false, why}
#define NOT(call, roles, code, why) \
	{#call, SYS_##call, roles, code, 0, NULL, 0, false, why}
#define ONE_OF(call, roles, arg, values, why) \
	{#call, SYS_##call, roles, 0, arg, values, 0, false, why}
#define ITS_OWN(call, roles, arg, values, why) \
	{#call, SYS_##call, roles, 0, arg, values, 0, true, why}
#define WITHOUT(call, roles, arg, bits, why) \
	{#call, SYS_##call, roles, 0, arg, NULL, bits, false, why}

static const struct sandbox_rule rules[] = {
	/* what is open already */
	ANY(read, IA | C | KH | L | TOOL, "counters of events, console, streams"),
	ANY(write, HV | TOOL, "wake other threads, console, messages"),
	ANY(readv, N, "libnbd's TLS"),
	ANY(writev, N, "libnbd's TLS"),
	ANY(pread64, IA | C | K | TOOL, "metadata of images"),
	ANY(pwrite64, IA | C | K | TOOL, "the same; a reader's memory file"),
	ANY(preadv, A | C | TOOL, "the sync engine"),
	ANY(pwritev, A | C | WN, "the sync engine"),
	ANY(lseek, K | TOOL, "length of files, where holes are"),
	ANY(close, IA | C | O | KH | L | TOOL, "what is no longer needed"),
	ANY(fdatasync, IA | C | K | WN, "metadata to the disk, in order"),
	ANY(ftruncate, IA | C | K | TOOL, "length of images; a memory file's"),
	ANY(fallocate, IA | C | K | WN, "space ahead of data, holes"),
	ONE_OF(fcntl, TOOL | C | K, 1, fcntls, "locks and flags of files"),
	ONE_OF(ioctl, V | C | K | TOOL, 1, ioctls, "KVM, terminals, disks"),

	/* waiting and being woken */
	ANY(poll, A | C | O | KH | L | TOOL, "wait for events"),
	ANY(futex, ALL, "locks and ends of threads"),
	ANY(restart_syscall, ALL, "a wait goes on after a stop"),
	ANY(clock_gettime, ALL, "where the clock is no part of the vDSO"),
	ANY(rt_sigtimedwait, V, "take a kick off"),
	ANY(rt_sigreturn, C | TOOL, "a signal's handler ends"),
	ANY(rt_sigprocmask, ALL, "glibc: around the end of a thread"),
	ANY(rt_sigaction, C | TOOL, "handlers back as they were"),

	/* memory */
	ANY(brk, ALL, "malloc"),
	WITHOUT(mmap, ALL, 2, PROT_EXEC, "malloc, stacks, rings"),
	WITHOUT(mprotect, C | K | TOOL, 2, PROT_EXEC, "malloc, stacks"),
	ANY(munmap, HV | TOOL, "malloc, stacks, rings"),
	ANY(mremap, K | TOOL, "realloc of what is large"),
	ANY(madvise, HV | TOOL, "the end of a thread's stack"),

	/* threads and the end */
	NOT(clone3, CK | WN, ENOSYS,
	    "its flags are out of a filter's sight: glibc takes clone"),
	ONE_OF(clone, CK | WN, 0, threads, "start a thread"),
	ANY(set_robust_list, CK | WN, "a thread starts"),
	ANY(rseq, CK | WN, "a thread starts"),
	ANY(sched_getaffinity, WN, "how many threads are worth it; malloc"),
	ITS_OWN(sched_setscheduler, IA | C, 1, policies,
		"one processor: does a channel push the guest off it"),
	ONE_OF(prctl, C, 0, prctls, "name of a thread"),
	ANY(exit, HV | WN, "a thread ends"),
	ONE_OF(seccomp, CK, 0, seccomps, "a thread's own filter, narrower"),
	ANY(alarm, C, "no more --timeout"),
	ANY(exit_group, C | TOOL, "the program ends"),
	ANY(getpid, C | WN, "kick a thread; names of temporary files"),
	ANY(gettid, C | WN, "raise"),
	ANY(tgkill, C | WN, "kick a thread; end by the signal that came"),

	/* rings of io_uring, libaio */
	ANY(io_uring_enter, I | C | TOOL, "the disk queue"),
	ANY(io_uring_setup, C | TOOL, "make its ring"),
	ANY(io_uring_register, I | C | TOOL, "restrict it, its files"),
	ANY(io_setup, C | TOOL, "where there are no rings"),
	ANY(io_submit, A | C | TOOL, "the same"),
	ANY(io_getevents, A | C | TOOL, "the same"),
	ANY(io_cancel, A | C | TOOL, "the same"),
	ANY(io_destroy, A | C | TOOL, "the same"),
	ANY(eventfd2, CK | TOOL, "a counter of a queue, of a connection"),

	/* files by name; Landlock says which */
	ANY(openat, TOOL, "images, and what is made"),
	ANY(openat2, TOOL, "parents, below one directory"),
	ANY(newfstatat, TOOL | C | K, "what a file is"),
	ANY(fstat, TOOL | C | K, "the same"),
	ANY(statx, TOOL | C | K, "alignment of direct transfers"),
	ANY(fstatfs, WN, "what the file system is good at"),
	ANY(access, TOOL, "is there such a file"),
	ANY(faccessat2, TOOL,
	    "the same, as realpath asks of a name with a slash last"),
	ANY(readlink, TOOL, "realpath"),
	ANY(getcwd, TOOL, "realpath"),
	ANY(getdents64, TOOL, "other children beside an image"),
	ANY(fadvise64, TOOL, "what will not be read again"),
	NOT(fadvise64, IA | C | K, ENOSYS, "a hint only, which the guest goes without"),
	ANY(sync_file_range, WN, "write out while copying goes on"),
	ANY(fsync, WN, "the file and its name to the disk"),
	ANY(linkat, WN, "a nameless file gets its name"),
	ANY(renameat, WN, "a finished file replaces another"),
	ANY(renameat2, WN, "the same, or not"),
	ANY(unlink, WN, "an unfinished file goes"),
	ANY(unlinkat, WN | C, "the same; the socket of hv ctl in the end"),
	ANY(fchmod, WN, "permissions as the old file's"),
	ANY(fchown, WN, "owner as the old file's"),

	/* facts */
	ANY(getrandom, TOOL, "ids of new images, malloc"),
	ANY(prlimit64, TOOL, "how many files may be open"),
	ANY(sysinfo, TOOL | K, "qsort: how much memory there is"),
	ANY(getuid, TOOL, "libraries: is the environment to be trusted"),
	ANY(geteuid, TOOL | K, "the same"),
	ANY(getgid, TOOL, "the same"),
	ANY(getegid, TOOL, "the same"),

	/* streams and servers */
	ANY(memfd_create, TOOL, "memory that a library reads as a file"),
	ANY(epoll_create1, C | TOOL, "several events in one wait"),
	ANY(epoll_ctl, C | TOOL, "the same"),
	ANY(pipe2, N, "libnbd"),
	ONE_OF(socket, LN, 0, families, "reach a server, again"),
	ANY(connect, LN, "the same"),
	ANY(getsockopt, LN | K, "the same; who a client is"),
	ANY(setsockopt, LN, "the same"),
	ANY(accept4, K, "a client of hv ctl"),
	ANY(getsockname, N, "the same"),
	ANY(getpeername, N, "the same"),
	ANY(bind, N, "getaddrinfo"),
	ANY(sendto, LN, "talk to it"),
	ANY(sendmsg, N | KH, "the same; answers to hv ctl"),
	ANY(sendmmsg, N, "ask a name server"),
	ANY(recvfrom, LN, "the same"),
	ANY(recvmsg, N | KH, "the same; requests, with an image's files"),
	ANY(shutdown, LN, "the end of it"),
	ANY(kill, N, "end qemu-nbd, which we started"),
	ANY(wait4, N, "the same"),
	ANY(rmdir, N, "where its socket was"),
	ANY(uname, N, "getaddrinfo"),
};

const struct sandbox_rule *sandbox_rules(size_t *count)
{
	*count = sizeof(rules) / sizeof(rules[0]);
	return rules;
}

unsigned sandbox_calls(enum sandbox_role role)
{
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		n += (rules[i].roles & SANDBOX_BIT(role)) != 0 &&
		     rules[i].errno_value == 0;
	return n;
}

const char *sandbox_role_name(enum sandbox_role role)
{
	static const char *const names[SANDBOX_ROLES] = {
		[SANDBOX_VCPU] = "processor",
		[SANDBOX_IO] = "storage channel",
		[SANDBOX_IO_PLAIN] = "storage channel without rings",
		[SANDBOX_CONTROL] = "control thread",
		[SANDBOX_OUTPUT] = "console and messages",
		[SANDBOX_CTL] = "server of hv ctl",
		[SANDBOX_HANDED] = "disk added on a server",
		[SANDBOX_LINK] = "connection to a server",
		[SANDBOX_READER] = "reader",
		[SANDBOX_WRITER] = "writer",
		[SANDBOX_REMOTE] = "remote",
	};

	return names[role];
}
