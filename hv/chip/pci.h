/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI as a Generation 1 machine has it: one bus, configured by mechanism 1,
 * with the functions that an IDE controller needs around it.
 *
 *   00:00.0  8086:7192  440BX host bridge
 *   00:07.0  8086:7110  PIIX4 ISA bridge
 *   00:07.1  8086:7111  PIIX4 IDE
 *
 * After hv_pci_init all is as a BIOS leaves it: legacy ports open, the bus
 * master's registers at HV_PCI_MASTER_PORT. No function has an interrupt pin
 * (IDE in legacy mode has ISA's lines 14 and 15), and there is no PIIX4 PM
 * function: ACPI tells of the registers that there are.
 *
 * Thread: its owner's. Sources: PCI Local Bus Specification 2.1, sections
 * 3.7.4.1 and 6; Intel 82371AB (PIIX4) data sheet, 82443BX data sheet.
 */
#ifndef HV_CHIP_PCI_H
#define HV_CHIP_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define HV_PCI_FUNCTIONS 3
#define HV_PCI_MASTER_PORT 0xffa0u

struct hv_pci {
	uint32_t address;
	uint8_t config[HV_PCI_FUNCTIONS][256];
};

void hv_pci_init(struct hv_pci *p);

/* CONFIG_ADDRESS, at its port by double words only. */
uint32_t hv_pci_address_in(const struct hv_pci *p);
void hv_pci_address_out(struct hv_pci *p, uint32_t val);
/* CONFIG_DATA: `size` bytes from byte `off` (0..3) on, all in its 4. */
void hv_pci_data_in(const struct hv_pci *p, unsigned off, unsigned size,
		    uint8_t *data);
void hv_pci_data_out(struct hv_pci *p, unsigned off, unsigned size,
		     const uint8_t *data);

/* What the IDE function's configuration says: whether a channel's ports are
 * open; where its bus master's 16 ports are, 0: nowhere; and whether it may
 * be master.
 */
bool hv_pci_ide_open(const struct hv_pci *p, unsigned channel);
uint16_t hv_pci_ide_port(const struct hv_pci *p);
bool hv_pci_ide_master(const struct hv_pci *p);

#endif
