/* SPDX-License-Identifier: BSD-2-Clause */
/* The interrupt routing table; private to hv/. */
#ifndef HV_IRQ_H
#define HV_IRQ_H

#include <linux/kvm.h>
#include <stdint.h>

#include "hv.h"

/* Interrupt numbers from here up are SINT 2 of processor 0, 1, ...; those
 * below are the I/O APIC's pins.
 */
#define HV_GSI_SINT 24u
#define HV_IRQ_ENTRIES_MAX (16u + 24u + HV_CPUS_MAX)

/* A struct kvm_irq_routing with its entries. */
struct hv_irq_table {
	uint32_t nr, flags;
	struct kvm_irq_routing_entry entries[HV_IRQ_ENTRIES_MAX];
};

void hv_irq_table_fill(uint32_t cpus, struct hv_irq_table *t);

#endif
