/* SPDX-License-Identifier: BSD-2-Clause */
/* Start by firmware from the disk itself: SeaBIOS, what it asks for, and our
 * option ROM that gives it the disks. Private to hv/.
 *
 *   1 MiB - size .. 1 MiB    the firmware's copy in RAM, which it changes
 *   4 GiB - size .. 4 GiB    the firmware itself, read only
 *   end of low RAM - 64 KiB  the ACPI tables, reserved in the memory map
 *
 * Sources: SeaBIOS docs/ and src/fw/paravirt.c, src/fw/romfile_loader.h (which
 * items it reads); Intel SDM vol. 3 section 9.1.4 (first instruction).
 */
#ifndef HV_BOOT_BIOS_H
#define HV_BOOT_BIOS_H

#include "hv.h"
#include "int13.h"
#include "memory.h"

struct hv_bios;
struct hv_vcpu;

/* What SeaBIOS is told, as a pure function of these. */
struct hv_bios_machine {
	const struct hv_layout *layout;
	uint32_t cpus;
	bool dvd_first;
};
#define HV_BIOS_ACPI_BYTES 0x10000u
struct hv_fwcfg;
/* Fill a new fw_cfg. `rsdp` is the start of the tables. */
int hv_bios_items(struct hv_fwcfg *f, const struct hv_bios_machine *m,
		  const uint8_t rsdp[36], struct vhd_err *err);

/* An exit at one of the option ROM's ports; the vCPU's thread. */
static inline bool hv_bios_is_port(uint16_t port)
{
	return port >= HV_INT13_CALL && port <= HV_INT13_PORT_LAST;
}
int hv_bios_exit(struct hv_vcpu *v, uint16_t port);

#endif
