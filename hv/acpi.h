/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables of the machine, as bytes for a place in guest memory: RSDP,
 * XSDT, FADT, MADT, FACS and the DSDT compiled from dsdt.asl.
 * A pure function. Source: ACPI 6.3 chapter 5.
 */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "vhd/err.h"

/* Where the tables go: the RSDP is found there also by scanning. */
#define HV_ACPI_GPA 0xe0000u
#define HV_ACPI_BYTES 0x20000u

/* Fill `buf` for guest address `gpa` (64-byte aligned, the RSDP first), for
 * processors with APIC ids 0 .. cpus - 1. Returns the number of bytes used,
 * or -ENOSPC.
 */
int hv_acpi_build(uint8_t *buf, size_t cap, uint64_t gpa, uint32_t cpus);

#endif
