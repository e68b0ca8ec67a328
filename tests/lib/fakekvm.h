/* SPDX-License-Identifier: BSD-2-Clause */
/* A KVM that is not there: opening /dev/kvm, ioctl, eventfd and mmap are these
 * (by --wrap at link), each call of which may fail once in each way. What a
 * processor does is a list of steps.
 *
 * Threads: a test fills the fake while no processor runs; steps run on the
 *   thread of processor 0.
 */
#ifndef TESTS_LIB_FAKEKVM_H
#define TESTS_LIB_FAKEKVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "hv/part.h"

#define FAKE_CPUS 2u
#define FAKE_RUN_BYTES 12288
#define FAKE_LINES 8u

/* What a processor does: one of these at each KVM_RUN, the last one for ever.
 * Returns 0 or an errno.
 */
typedef int (*fake_step)(struct kvm_run *run);

struct fakekvm {
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
	struct kvm_run *run[FAKE_CPUS];
	int fd[FAKE_CPUS];
	/* of processor 0, which moves on in it; NULL: nothing runs */
	const fake_step *_Atomic step;
	bool counts;	       /* calls are counted while `step` is set, too */
	fake_step other;       /* of the others; NULL: until kicked */
	void (*creates)(void); /* at each KVM_CREATE_VM; may be NULL */
	/* sees and answers the first register; the clock. May be NULL. */
	void (*msr)(int fd, bool set, struct kvm_msr_entry *e);
	void (*clock)(bool set, struct kvm_clock_data *c);
	/* the processor's, told what it is set to; NULL: it runs */
	void (*mp_state)(int fd, bool set, struct kvm_mp_state *s);
	uint64_t rflags;
	size_t mapped_bytes;
	int console_fd;	       /* of fake_make's partitions; -1: none */
	unsigned hurried;      /* disks were told to ... */
	bool hurry;	       /* ... and still are */
	unsigned renewed;      /* disks were asked for what they are now */
	atomic_uint told;      /* lines, of which the first are kept */
	char line[FAKE_LINES][256];
};
extern struct fakekvm fake;
/* A write to it is interrupted once. A thread of the run before may look. */
extern atomic_int fake_interrupt_fd;

void fake_reset(void);
/* A partition on it that boots from nothing: 0 or a negative errno. */
int fake_make(struct hv **hv, bool no_reboot, struct vhd_err *err);
unsigned fake_open_files(void);
/* With what is the fake's own, all is gone. */
void fake_gone(unsigned files_before);

/* Steps. */
int fake_until_kicked(struct kvm_run *run);
int fake_off(struct kvm_run *run);
int fake_reboot(struct kvm_run *run);
int fake_writes(struct kvm_run *run); /* 4 KiB to the console */

#endif
