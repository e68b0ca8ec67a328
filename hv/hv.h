/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor core: one partition on KVM that presents itself as Hyper-V.
 *
 * Threads: hv_create .. hv_run and hv_destroy belong to one thread, which in
 *   hv_run is the control thread: it serves VMBus messages and the console.
 *   Each vCPU has a thread of its own inside hv_run, with all signals blocked;
 *   so has the console's output.
 *   hv_stop may be called from a signal handler.
 * Sources: Hypervisor Top-Level Functional Specification; Linux
 *   Documentation/virt/kvm/api.rst, Documentation/x86/boot.rst.
 */
#ifndef HV_H
#define HV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gpa.h"
#include "ic.h"
#include "vhd/err.h"
#include "vmbus.h"

#define HV_CPUS_MAX 64
#define HV_MEMORY_MIN (32ull << 20)
#define HV_MEMORY_MAX (1ull << 40)

struct hv;

/* The threads of a run. */
enum hv_thread { HV_THREAD_CPU, HV_THREAD_CONTROL, HV_THREAD_CONSOLE };

struct hv_opts {
	uint32_t cpus;          /* 1..HV_CPUS_MAX */
	uint64_t memory_bytes;  /* multiple of 2 MiB */
	bool no_reboot;         /* a reset ends the run */
	/* Do not recommend the hypercall that flushes other processors' TLBs.
	 * Linux 6.1 for i386, where it uses retpolines (Debian 12 on AMD),
	 * calls it through the wrong slot of its stack.
	 */
	bool no_flush_call;
	/* The host's processor for each of the guest's, or NULL: any. */
	const uint16_t *pin;
	int console_in_fd;      /* -1: no input */
	int console_out_fd;     /* -1: nobody wants it. It may block */
	/* Once the guest is to end, the console holds nobody up who has waited
	 * so long for it; 0: a second.
	 */
	unsigned console_ms;
	/* Sees console input before the guest does and may take bytes out of
	 * it: returns how many are left. Control thread. May be NULL.
	 */
	size_t (*console_filter)(void *arg, uint8_t *bytes, size_t len);
	/* Sees what the guest writes to the console, as soon as it is taken
	 * from it; must not block. The console's thread. May be NULL.
	 */
	void (*console_tap)(void *arg, const uint8_t *bytes, size_t len);
	void *console_arg;
	/* Called by each thread, as the first thing it does in hv_run; no
	 * processor enters the guest before all of them are through. A
	 * negative errno, with its reason, ends the run. May be NULL.
	 */
	int (*thread_begins)(void *arg, enum hv_thread thread,
			     struct vhd_err *err);
	void *thread_arg;
	/* Processors are waited for: a disk that one of them waits for (see
	 * disk.h) shall end that early, and fail others, until it is told
	 * otherwise. Control thread. May be NULL.
	 */
	void (*disks_hurry)(void *arg, bool on);
	/* The next machine is about to be built, and no processor runs: what
	 * disks (disk.h) say of themselves may change now, and at no other
	 * time. Control thread. May be NULL.
	 */
	void (*disks_renew)(void *arg);
	void *disks_arg;
	vmbus_log_fn log;       /* may be NULL; any thread */
	void *log_arg;
};

/* Why processors left the guest for this program. */
enum hv_cause {
	HV_CAUSE_SERIAL, /* the console's port */
	HV_CAUSE_CLOCK,
	HV_CAUSE_POWER,  /* power management, reset */
	HV_CAUSE_PCI,    /* its configuration ports */
	HV_CAUSE_FIRMWARE, /* what it asks, and its calls of disks */
	HV_CAUSE_PORT,   /* any other */
	HV_CAUSE_MEMORY, /* an address where nothing is */
	HV_CAUSE_HYPERV,
	HV_CAUSE_OTHER,
	HV_CAUSES
};

struct hv_stats {
	uint64_t entered_ns;       /* CLOCK_MONOTONIC at the first entry; or 0 */
	uint64_t left[HV_CAUSES];  /* of all processors and machines */
	uint64_t roused;           /* halts ended: the host's KVM sits in an
				    * emulator that begins some too early */
};

/* Why hv_run returned. */
enum hv_end {
	HV_END_POWEROFF,     /* the guest switched itself off */
	HV_END_RESET,        /* the guest asked for a reset: no_reboot */
	HV_END_CRASH,        /* the guest reported a panic (crash MSRs) */
	HV_END_TRIPLE_FAULT,
	HV_END_STOPPED,      /* hv_stop */
	HV_END_FAILED,       /* KVM refused to go on; see err */
};

/* True when the processor and kernel can run a partition; otherwise err says
 * what is missing. Requires the CPU flag as well as a working /dev/kvm.
 * `hv_present` does not try, which spares the time of a virtual machine's coming
 * and going: hv_create will tell.
 */
bool hv_available(struct vhd_err *err);
bool hv_present(struct vhd_err *err);

int hv_create(const struct hv_opts *opts, struct hv **out, struct vhd_err *err);
void hv_destroy(struct hv *hv);

/* Load a bzImage (and initrd) for direct boot; paths of regular files. Both stay
 * open, to be read again at each reset. Once.
 */
int hv_boot_linux(struct hv *hv, const char *kernel_path,
		  const char *initrd_path, const char *cmdline,
		  struct vhd_err *err);

/* Say what hv_boot_linux would refuse, without a partition or KVM; and of what
 * it would not, whether the kernel is a 64-bit one (`long_mode` may be NULL).
 */
int hv_boot_linux_check(uint64_t memory_bytes, const char *kernel_path,
			const char *initrd_path, const char *cmdline,
			bool *long_mode, struct vhd_err *err);

struct hv_disk; /* disk.h */

/* Start by a BIOS from the disk itself. */

struct hv_bios_opts {
	const uint8_t *image; /* SeaBIOS; copied */
	size_t image_bytes;
	/* The i-th in the order in which they are numbered, the first of which
	 * is booted from; NULL behind the last. Asked at each start, while no
	 * processor runs; they live as long as the partition.
	 */
	const struct hv_disk *(*disk)(void *arg, unsigned i);
	void *disk_arg;
	bool dvd_first; /* a disc boots, where there is one to boot from */
};

int hv_boot_bios(struct hv *hv, const struct hv_bios_opts *opts,
		 struct vhd_err *err);
/* Say what is wrong with an image. */
int hv_bios_check(const uint8_t *image, size_t bytes, struct vhd_err *err);

/* What firmware and boot loaders have had of the disks. */
struct hv_bios_calls {
	uint64_t calls, errors, bytes_read, bytes_written;
};
/* False: there is no firmware. Any thread. */
bool hv_bios_calls(struct hv *hv, struct hv_bios_calls *out);

/* Give the machine a PCI bus with an IDE controller (PIIX4) that has these
 * disks (disk.h), NULL where there is none; they live as long as the partition,
 * each in its place.
 * Once, before anything is loaded. -EINVAL: a disk's blocks are not of 512
 * bytes, a DVD's not of 2048.
 */
#define HV_IDE_POSITIONS 4
int hv_add_ide(struct hv *hv, const struct hv_disk *const disks[HV_IDE_POSITIONS],
	       struct vhd_err *err);

struct hv_mem *hv_memory(struct hv *hv);
struct vmbus *hv_bus(struct hv *hv);

/* Run until the guest ends. At a reset by the guest the machine is built anew
 * and loaded again, unless opts.no_reboot; the bus and its offers stay, each
 * channel is closed.
 */
enum hv_end hv_run(struct hv *hv, struct vhd_err *err);
void hv_stop(struct hv *hv); /* async-signal-safe */

void hv_get_stats(const struct hv *hv, struct hv_stats *out); /* any thread */

/* ----------------------------------------------- asking a running guest -- */

enum hv_ask_what {
	HV_ASK_INFO,   /* into `info` */
	HV_ASK_PAUSE,  /* done when no processor runs any more */
	HV_ASK_RESUME, /* its clock is set, too */
	HV_ASK_INPUT,  /* `bytes` for the console; done when it has them */
	HV_ASK_SERVICE, /* `service` of the integration services */
};

struct hv_info {
	uint32_t cpus;
	uint64_t memory_bytes;
	bool paused;
	uint64_t uptime_ms; /* of the partition */
	uint32_t vmbus_version; /* major << 16 | minor; 0: not connected */
	/* Somebody waits for so long until the console's output is taken; 0:
	 * nobody. And how many bytes of it were lost.
	 */
	uint64_t console_held_ms, console_lost;
	struct hv_ic_info ic;
};

/* The caller's, until it is asked; hv's until `done`, which comes once, on
 * another thread, and must not block.
 */
struct hv_ask {
	enum hv_ask_what what;
	struct hv_info info;
	struct hv_ic_request service; /* all but done and arg */
	const uint8_t *bytes;
	size_t len, given; /* given: how many it took */
	int result; /* 0 or a negative errno; its reason in err */
	struct vhd_err err;
	void (*done)(struct hv_ask *a);
	void *arg;
	struct hv *hv;	     /* hv's own, as the next two */
	atomic_bool dropped;
	struct hv_ask *next;
};

/* Any thread; never blocks. -ECONNRESET: the guest has ended; -EAGAIN: too many
 * are waiting. Then there will be no `done`.
 */
int hv_ask(struct hv *hv, struct hv_ask *a, struct vhd_err *err);
/* INPUT whose sender has gone: what the guest does not take at once is dropped,
 * and it is done soon. Any thread.
 */
void hv_ask_drop(struct hv_ask *a);

/* Have each processor tell the log where it is, in the same way, and go on.
 * While hv_run runs; from its thread, or a signal handler of it.
 */
void hv_tell_state(struct hv *hv);

/* After hv_run: tell the log what each processor was doing, a line each, for
 * somebody who wonders why a guest hung.
 */
void hv_say_state(struct hv *hv);

#endif
