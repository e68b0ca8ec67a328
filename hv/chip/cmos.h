/* SPDX-License-Identifier: BSD-2-Clause */
/* The CMOS clock (MC146818) in UTC, read-only: index at port 0x70, data at
 * 0x71. Time comes in as an argument. Of the memory behind the clock firmware
 * reads what the machine is like; a guest can write the one byte by which PC
 * software told a BIOS why it reset the processor, and nothing else.
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

#define HV_CMOS_BYTES 128u

/* What PC firmware looks up there. */
enum {
	HV_CMOS_SHUTDOWN = 0x0f,
	HV_CMOS_BASE_KIB = 0x15,     /* 16 bits each; of the first 640 KiB */
	HV_CMOS_ABOVE_1M_KIB = 0x17, /* up to 64 MiB */
	HV_CMOS_ABOVE_1M_KIB_TOO = 0x30,
	HV_CMOS_ABOVE_16M_64K = 0x34, /* below 4 GiB, by 64 KiB */
	HV_CMOS_BOOT_FLAGS = 0x38,
	HV_CMOS_BOOT_ORDER = 0x3d,
	HV_CMOS_ABOVE_4G_64K = 0x5b, /* 24 bits */
	HV_CMOS_MORE_CPUS = 0x5f,
};

struct hv_cmos {
	uint8_t index;
	uint8_t memory[HV_CMOS_BYTES]; /* where no clock register is */
	int64_t latched_s; /* Unix time the registers show; < 0: none yet */
};

void hv_cmos_init(struct hv_cmos *c);
/* A byte of the memory; those of the clock stay hidden. */
void hv_cmos_set(struct hv_cmos *c, unsigned index, uint8_t val);
void hv_cmos_write(struct hv_cmos *c, uint8_t val); /* by the guest */
void hv_cmos_select(struct hv_cmos *c, uint8_t index);
uint8_t hv_cmos_read(struct hv_cmos *c, int64_t now_unix_s);

#endif
