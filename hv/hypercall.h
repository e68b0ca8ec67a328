/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls that KVM hands over. A pure function over guest memory and the
 * bus. Source: TLFS chapters 3 and 11; Linux arch/x86/kvm/hyperv.c for what
 * arrives here and in which form.
 */
#ifndef HV_HYPERCALL_H
#define HV_HYPERCALL_H

#include <stdint.h>

struct hv_mem;
struct vmbus;

/* `input` is the control word, `param` the first parameter. Returns the
 * hypercall's result value.
 */
uint64_t hv_hypercall(const struct hv_mem *mem, struct vmbus *bus,
		      uint64_t input, uint64_t param);

#endif
