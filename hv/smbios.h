/* SPDX-License-Identifier: BSD-2-Clause */
/* SMBIOS tables: who made this machine. Guests go by it: Linux's ata_piix
 * leaves a disk alone that storvsc will have, where the maker is Microsoft and
 * the machine a "Virtual Machine" (of another version than Virtual PC's,
 * "VS2005R2").
 * Pure functions. Source: DMTF DSP0134 (SMBIOS) 2.8, sections 5 to 7.
 */
#ifndef HV_SMBIOS_H
#define HV_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

/* Where direct boot puts them: guests look for the entry point from 0xf0000 to
 * 0xfffff, every 16 bytes.
 */
#define HV_SMBIOS_GPA 0xf0000u
#define HV_SMBIOS_BYTES 0x1000u

#define HV_SMBIOS_ENTRY_BYTES 31u

/* The tables (structures); returns the number of bytes, or -ENOSPC. */
int hv_smbios_tables(uint8_t *buf, size_t cap);
/* Their entry point of 32 bits: `bytes` of them at `gpa`. A firmware that moves
 * them corrects address and checksums by itself.
 */
void hv_smbios_entry(size_t bytes, uint32_t gpa,
		     uint8_t out[HV_SMBIOS_ENTRY_BYTES]);

/* Both for a place in memory (16-byte aligned), the entry point first. The
 * number of bytes, or -ENOSPC.
 */
int hv_smbios_build(uint8_t *buf, size_t cap, uint32_t gpa);

#endif
