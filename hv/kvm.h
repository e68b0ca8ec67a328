/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening /dev/kvm and asking it what it can do; private to hv/.
 * Source: Linux Documentation/virt/kvm/api.rst.
 */
#ifndef HV_KVM_H
#define HV_KVM_H

#include <stdbool.h>

#include "vhd/err.h"

/* Open /dev/kvm where a partition can run: the processor's flag is there, too,
 * and every capability this module rests on.
 * -ENODEV, -EACCES, -ENOTSUP with the reason in `err`.
 */
int hv_kvm_open(int *fd, struct vhd_err *err);

/* A virtual machine's descriptor, or -1 with errno. A signal to the process
 * while the kernel takes its locks is no failure: it is asked again.
 * Source: Linux mm/mmap.c, mm_take_all_locks.
 */
int hv_kvm_create_vm(int kvm_fd);

/* Whether KVM leaves a guest's interrupt controller to the processor (APICv,
 * AVIC); also where it does not tell.
 */
bool hv_kvm_hardware_apic(void);

/* Physical address bits of this processor. */
unsigned hv_kvm_phys_bits(void);

#endif
