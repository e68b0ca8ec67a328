/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a partition; private to hv/.
 *
 * A partition has one machine after the other in hv_run: KVM's virtual machine
 * with its processors, its interrupts and the content of memory. At a reset the
 * machine goes and the next one is built from what is open. Bus, board,
 * descriptors and threads stay.
 *
 * Threads: the control thread is the one that calls hv_run. vCPU threads live
 *   only inside hv_run, all through it, and touch their machine only between
 *   hv_vcpu_go and hv_vcpu_halt. How a machine ends is decided once, by whoever
 *   comes first (hv_end_set).
 */
#ifndef HV_PART_H
#define HV_PART_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "cpuid.h"
#include "hv.h"
#include "life.h"
#include "memory.h"

#define HV_SINTS 16

struct kvm_run;
struct hv_piix;

/* A processor's SynIC as the guest has set it up. */
struct hv_synic {
	pthread_mutex_t lock; /* all below, and writes to the pages named here:
			       * none after the guest took a page back */
	uint64_t control, message_page, event_page;
	/* KVM's timers write messages, too, from inside KVM_RUN and without a
	 * lock: the processor stays out while one is written here.
	 */
	pthread_cond_t moved; /* inside or wanted_out has changed */
	bool inside;          /* in KVM_RUN */
	bool wanted_out;
};

struct hv_vcpu {
	struct hv *hv;
	uint32_t index;      /* VP index, vCPU id and APIC id alike */
	int fd;
	struct kvm_run *run;
	int sint_fd;         /* irqfd that raises SINT 2 */
	struct hv_synic synic;
	pthread_t thread;
	bool started, running; /* control thread */
	bool able;           /* it has begun well; read after `halted` */
	bool leave;          /* read after `go` */
	sem_t go, halted;    /* one each way for each machine */
	unsigned told;       /* of `tell`; its thread's */
	uint64_t spent_us;   /* processor time when last looked at; rouse.c */
	atomic_bool rouse;   /* it shall not halt any longer */
	_Atomic uint64_t roused; /* as `left` */
	_Atomic uint64_t left[HV_CAUSES]; /* written by its thread only */
	struct vhd_err err;  /* why it failed, where `end` says this one did */
};

/* What a machine starts from. */
struct hv_boot {
	/* Fill guest memory, which is zero, and set the first processor's
	 * registers. Called for each machine; opens nothing.
	 */
	int (*load)(struct hv *hv, struct vhd_err *err);
	void (*close)(struct hv *hv);
};

struct hv_boot_image;
struct hv_boot_entry;

struct hv {
	struct hv_opts opts;
	int kvm_fd, vm_fd;
	size_t run_bytes;
	struct hv_cpuid *kvm_cpuid; /* what KVM supports, then its Hyper-V's */
	struct hv_layout layout;
	struct hv_ram ram;
	struct hv_mem *mem;
	struct vmbus *bus;
	struct hv_board *board;
	struct hv_piix *piix; /* NULL: no PCI */
	int wake_fd;         /* the control thread shall look around */
	int ack_fd;          /* a message slot was emptied */
	bool ack_wanted;     /* control thread: a post found its slot busy */
	struct hv_life life;
	const struct hv_boot *boot; /* NULL: nothing was loaded */
	struct hv_boot_image *linux_image;
	struct hv_bios *bios;
	unsigned restarts;
	bool sleeps_badly;   /* its processors; see rouse.c */
	atomic_bool stop;    /* hv_stop was called */
	atomic_uint tell;    /* how often hv_tell_state was called */
	_Atomic uint64_t entered_ns; /* of the first processor; 0: not yet */
	_Atomic uint32_t end; /* enum hv_end, HV_END_NONE; + vCPU << 8 */
	struct hv_vcpu vcpu[]; /* opts.cpus */
};

#define HV_END_NONE 0xffu

/* notice.c.
 * Decide how the run ends, unless that is decided; wake the control thread.
 * Async-signal-safe.
 */
void hv_end_set(struct hv *hv, enum hv_end end, uint32_t vcpu);
static inline bool hv_ended(struct hv *hv)
{
	return (atomic_load(&hv->end) & 0xff) != HV_END_NONE;
}
void hv_wake(struct hv *hv);
/* Make it leave the guest; it may enter again. Any thread. */
void hv_vcpu_kick(struct hv_vcpu *v);
#define HV_KICK_SIGNAL SIGUSR1
/* Tell the person in front of it; printf-like, one line. Any thread. */
__attribute__((format(printf, 2, 3))) void hv_say(struct hv *hv,
						  const char *fmt, ...);

/* machine.c: what KVM has of the partition, but for the processors' own. */
int hv_machine_build(struct hv *hv, struct vhd_err *err);
/* Also of what was built in part. Nothing of it runs or is used any more. */
void hv_machine_destroy(struct hv *hv);

/* vcpu.c: a processor of a machine ... */
void hv_vcpu_init(struct hv_vcpu *v, struct hv *hv, uint32_t index);
void hv_vcpu_fini(struct hv_vcpu *v);
int hv_vcpu_create(struct hv_vcpu *v, struct vhd_err *err);
void hv_vcpu_destroy(struct hv_vcpu *v);
int hv_vcpu_setup(struct hv_vcpu *v, struct vhd_err *err);
int hv_vcpu_enter_linux(struct hv_vcpu *v, const struct hv_boot_entry *entry,
			struct vhd_err *err);
/* ... and its thread, which waits until it may go. */
int hv_vcpu_start(struct hv_vcpu *v, struct vhd_err *err);
/* Once after each start: wait until it has begun. What thread_begins says. */
int hv_vcpu_ready(struct hv_vcpu *v, struct vhd_err *err);
/* Run the machine that there is now. */
void hv_vcpu_go(struct hv_vcpu *v);
/* After the end was decided: make it leave the guest, and wait for that. */
void hv_vcpu_halt(struct hv_vcpu *v);
/* End the thread, which is halted. */
void hv_vcpu_join(struct hv_vcpu *v);
/* Say where it is; not while another thread runs it. */
void hv_vcpu_say_state(struct hv_vcpu *v);

/* exits.c, for the processor's thread: do what the exit asks for; false: it
 * has decided the end.
 */
bool hv_vcpu_exit(struct hv_vcpu *v);
/* The run has failed; returns false. Only the one that decided the end keeps its
 * reason: nobody reads others.
 */
__attribute__((format(printf, 2, 3))) bool hv_vcpu_fail(struct hv_vcpu *v,
							 const char *fmt, ...);
/* Its instruction pointer, or 0. */
unsigned long long hv_vcpu_where(struct hv_vcpu *v);

/* irq.c */
int hv_irq_setup(struct hv *hv, struct vhd_err *err);
void hv_irq_fini(struct hv *hv); /* also of what was set up in part */
void hv_irq_line(struct hv *hv, unsigned line, bool level);

/* synic.c */
extern const struct vmbus_host_ops hv_synic_ops;
void hv_synic_init(struct hv_synic *s);
void hv_synic_fini(struct hv_synic *s);
/* A new processor's: the guest has set up nothing. */
void hv_synic_reset(struct hv_synic *s);
/* The guest wrote one of the registers; values after the write. */
void hv_synic_update(struct hv_vcpu *v, uint64_t control,
		     uint64_t message_page, uint64_t event_page);
/* Around KVM_RUN; the processor's thread. */
void hv_synic_enter(struct hv_synic *s);
void hv_synic_leave(struct hv_synic *s);

/* restart.c, for the control thread: let all processors run ... */
void hv_vcpus_go(struct hv *hv);
/* ... after the end was decided, wait until none does ... */
void hv_vcpus_halt(struct hv *hv);
/* ... and then, where the guest asked for a reset, build the next machine and
 * let it run. False: there is none, and `end` says why.
 */
bool hv_restart(struct hv *hv);

/* control.c: serve bus and console until there is no machine any more. */
void hv_control_run(struct hv *hv);

/* console.c: what the guest writes. Created with the partition, begun before
 * the guest runs, ended, maybe early, when no processor does: what is left is
 * still written, bounded in time, and what is lost is told.
 */
int hv_console_create(struct hv *hv, struct vhd_err *err);
int hv_console_begin(struct hv *hv, struct vhd_err *err);
void hv_console_hurry(struct hv *hv); /* the guest is to come to its end */
void hv_console_say_lost(struct hv *hv);
void hv_console_end(struct hv *hv);

#endif
