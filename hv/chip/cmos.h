/* SPDX-License-Identifier: BSD-2-Clause */
/* The CMOS clock (MC146818) in UTC, read-only: index at port 0x70, data at
 * 0x71. Time comes in as an argument.
 *
 * A guest checks "update in progress" in register A and then reads the parts
 * of the time one by one; they are served from one moment, taken at that
 * check, so a second that passes in between cannot tear them apart.
 *
 * Thread: its owner's. Source: Motorola MC146818A data sheet.
 */
#ifndef HV_CHIP_CMOS_H
#define HV_CHIP_CMOS_H

#include <stdint.h>

struct hv_cmos {
	uint8_t index;
	int64_t latched_s; /* Unix time the registers show; < 0: none yet */
};

void hv_cmos_init(struct hv_cmos *c);
void hv_cmos_select(struct hv_cmos *c, uint8_t index);
uint8_t hv_cmos_read(struct hv_cmos *c, int64_t now_unix_s);

#endif
