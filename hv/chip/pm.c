/* SPDX-License-Identifier: BSD-2-Clause */
/* Power and reset registers. See pm.h. */
#include "pm.h"

#include <string.h>

enum {
	EVENT_STATUS_BYTES = 2,

	CONTROL_SCI_EN = 0x01,      /* byte 0: ACPI mode, always on */
	CONTROL_SLP_TYP_SHIFT = 2,  /* byte 1, 3 bits */
	CONTROL_SLP_EN = 0x20,      /* byte 1; reads as 0 */

	RESET_CPU = 0x04,           /* 0xcf9: reset on its 0 -> 1 edge */

	KBD_PULSE_MASK = 0xf0,
	KBD_PULSE = 0xf0,           /* pulse output lines that are 0 ... */
	KBD_PULSE_RESET = 0x01,     /* ... of which line 0 is reset */
};

void hv_pm_init(struct hv_pm *pm)
{
	memset(pm, 0, sizeof(*pm));
	pm->control[0] = CONTROL_SCI_EN;
}

uint8_t hv_pm_event_read(const struct hv_pm *pm, unsigned off)
{
	return pm->event[off % HV_PM1_EVENT_BYTES];
}

void hv_pm_event_write(struct hv_pm *pm, unsigned off, uint8_t val)
{
	off %= HV_PM1_EVENT_BYTES;
	if (off < EVENT_STATUS_BYTES)
		pm->event[off] &= (uint8_t)~val; /* write 1 to clear */
	else
		pm->event[off] = val;
}

uint8_t hv_pm_control_read(const struct hv_pm *pm, unsigned off)
{
	return pm->control[off % HV_PM1_CONTROL_BYTES];
}

enum hv_pm_request hv_pm_control_write(struct hv_pm *pm, unsigned off,
				       uint8_t val)
{
	if (off % HV_PM1_CONTROL_BYTES == 0) {
		pm->control[0] = val | CONTROL_SCI_EN;
		return HV_PM_NONE;
	}
	pm->control[1] = val & (uint8_t)~CONTROL_SLP_EN;
	if ((val & CONTROL_SLP_EN) &&
	    (val >> CONTROL_SLP_TYP_SHIFT & 7) == HV_PM_SLEEP_TYPE_OFF)
		return HV_PM_OFF;
	return HV_PM_NONE;
}

uint8_t hv_pm_reset_read(const struct hv_pm *pm)
{
	return pm->reset;
}

enum hv_pm_request hv_pm_reset_write(struct hv_pm *pm, uint8_t val)
{
	uint8_t before = pm->reset;

	pm->reset = val;
	return (val & ~before & RESET_CPU) ? HV_PM_RESET : HV_PM_NONE;
}

enum hv_pm_request hv_pm_kbd_write(uint8_t val)
{
	if ((val & KBD_PULSE_MASK) == KBD_PULSE && !(val & KBD_PULSE_RESET))
		return HV_PM_RESET;
	return HV_PM_NONE;
}
