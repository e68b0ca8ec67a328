/* SPDX-License-Identifier: BSD-2-Clause */
/* Power: the ACPI PM1a registers (event block of 4 bytes, control block of 2)
 * and the ways to reset a PC: port 0xcf9, the keyboard controller's pulse.
 * Nothing raises a PM event here; the registers exist because ACPI requires
 * them and because writing SLP_EN is how a guest switches off.
 *
 * Thread: its owner's. Source: ACPI 6.3 section 4.8.3; Intel ICH9 data sheet
 * (reset control).
 */
#ifndef HV_CHIP_PM_H
#define HV_CHIP_PM_H

#include <stdint.h>

#define HV_PM1_EVENT_BYTES 4
#define HV_PM1_CONTROL_BYTES 2
#define HV_PM_SLEEP_TYPE_OFF 5 /* what the DSDT's _S5 says */

enum hv_pm_request {
	HV_PM_NONE,
	HV_PM_OFF,
	HV_PM_RESET,
};

struct hv_pm {
	uint8_t event[HV_PM1_EVENT_BYTES]; /* status, enable */
	uint8_t control[HV_PM1_CONTROL_BYTES];
	uint8_t reset;
};

void hv_pm_init(struct hv_pm *pm);

/* Byte `off` of the event and of the control block. */
uint8_t hv_pm_event_read(const struct hv_pm *pm, unsigned off);
void hv_pm_event_write(struct hv_pm *pm, unsigned off, uint8_t val);
uint8_t hv_pm_control_read(const struct hv_pm *pm, unsigned off);
enum hv_pm_request hv_pm_control_write(struct hv_pm *pm, unsigned off,
				       uint8_t val);

uint8_t hv_pm_reset_read(const struct hv_pm *pm);
enum hv_pm_request hv_pm_reset_write(struct hv_pm *pm, uint8_t val);

/* A write to the keyboard controller's command port. */
enum hv_pm_request hv_pm_kbd_write(uint8_t val);

#endif
