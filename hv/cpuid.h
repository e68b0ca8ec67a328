/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest's processors say of themselves: KVM's leaves without KVM's
 * own signature, a topology of one socket with a core per processor, and the
 * Hyper-V leaves that this machine stands behind.
 * But for the first, a pure function. Source: TLFS chapter 2; Linux arch/x86/kernel/cpu/mshyperv.c;
 * Intel SDM 2A CPUID; AMD APM 3 appendix E.
 */
#ifndef HV_CPUID_H
#define HV_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhd/err.h"

#define HV_CPUID_ENTRIES_MAX 256

/* A struct kvm_cpuid2 with its entries. */
struct hv_cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[HV_CPUID_ENTRIES_MAX];
};

/* Whether this processor shows VMX or SVM. */
bool hv_cpu_virtualizes(void);

/* The processor itself serves a guest's EOIs, without an exit: a guest should
 * not be told to use anything else. Changes what KVM supports.
 */
void hv_cpuid_hardware_apic(struct hv_cpuid *hyperv);

/* KVM's APICs have a timer that fires at a value of the TSC
 * (KVM_CAP_TSC_DEADLINE_TIMER), which KVM does not list. Changes what KVM
 * supports.
 */
void hv_cpuid_tsc_deadline(struct hv_cpuid *host);

/* `host`: KVM_GET_SUPPORTED_CPUID; `hyperv`: KVM_GET_SUPPORTED_HV_CPUID.
 * -ENOTSUP when KVM lacks what a Hyper-V guest insists on; -E2BIG.
 */
int hv_cpuid_build(const struct hv_cpuid *host, const struct hv_cpuid *hyperv,
		   uint32_t vp, uint32_t cpus, struct hv_cpuid *out,
		   struct vhd_err *err);

/* Take from what KVM supports that other processors' TLBs are to be flushed by
 * a hypercall.
 */
void hv_cpuid_forget_flush(struct hv_cpuid *hyperv);

#endif
