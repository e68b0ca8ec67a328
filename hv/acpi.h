/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables of the machine, as bytes for a place in guest memory: RSDP,
 * XSDT, FADT, MADT, FACS and the DSDT compiled from dsdt.asl; with a PCI bus the
 * SSDT of ssdt_pci.asl.
 * A pure function. Source: ACPI 6.3 chapter 5.
 */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/err.h"

/* Where the tables go: the RSDP is found there also by scanning. */
#define HV_ACPI_GPA 0xe0000u
#define HV_ACPI_BYTES 0x10000u /* then SMBIOS's tables */

/* Fill `buf` for guest address `gpa` (64-byte aligned, the RSDP first), for
 * processors with APIC ids 0 .. cpus - 1, and whether there is a PCI bus. Returns
 * the number of bytes used, or -ENOSPC.
 */
int hv_acpi_build(uint8_t *buf, size_t cap, uint64_t gpa, uint32_t cpus,
		  bool pci);

#endif
