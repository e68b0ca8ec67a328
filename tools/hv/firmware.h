/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot by firmware. Private to tools/hv. */
#ifndef TOOLS_HV_FIRMWARE_H
#define TOOLS_HV_FIRMWARE_H

#include "hv.h"

struct hv_firmware {
	uint8_t *image;
	size_t bytes;
};

/* Where SeaBIOS is installed, or NULL. */
const char *hv_firmware_find(void);
/* Read and check it; errors name the file. */
int hv_firmware_read(const char *path, struct hv_firmware *f,
		     struct vhd_err *err);
void hv_firmware_free(struct hv_firmware *f);

/* The disks in the order in which firmware numbers them; how many. */
unsigned hv_firmware_order(const struct hv_args *args,
			   unsigned order[HV_DISKS_MAX]);
bool hv_firmware_dvd_first(const struct hv_args *args);

/* What keeps a BIOS from starting this boot sector, or NULL. */
const char *hv_firmware_fault(const uint8_t sector[512]);
/* Complain about a disk that cannot boot, where nothing else can: an exit
 * code.
 */
int hv_firmware_check(const struct hv_args *args, struct hv_disks *disks);

#endif
