/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg: what firmware asks about the machine. Numbered items of bytes, chosen
 * at one port and read at another, or moved to guest memory by one descriptor;
 * those with names are listed in a directory, which is item 0x19. Nothing can
 * be written. Whatever is chosen that is not there reads as zeros, as does what
 * is behind an item's end.
 *
 * Threads: set-up before the guest runs; then any.
 * Source: QEMU docs/specs/fw_cfg.txt; which items SeaBIOS wants: boot_bios.c.
 */
#ifndef HV_CHIP_FWCFG_H
#define HV_CHIP_FWCFG_H

#include <stddef.h>
#include <stdint.h>

#include "hv/board.h"
#include "hv/gpa.h"

#define HV_FWCFG_PORT	    0x510
#define HV_FWCFG_PORT_LAST  0x51b
#define HV_FWCFG_ITEMS_MAX  32u
#define HV_FWCFG_NAME_BYTES 56u
/* One descriptor moves no more: the largest item has less. */
#define HV_FWCFG_DMA_MAX (1u << 20)

/* Keys that mean the same everywhere. */
enum {
	HV_FWCFG_SIGNATURE = 0x00, /* there already */
	HV_FWCFG_FEATURES = 0x01,  /* there already */
	HV_FWCFG_CPUS = 0x05,
	HV_FWCFG_BOOT_MENU = 0x0e,
	HV_FWCFG_CPUS_MAX = 0x0f,
	HV_FWCFG_DIRECTORY = 0x19, /* there already */
	HV_FWCFG_FILE_FIRST = 0x20,
};

struct hv_fwcfg;

/* Borrows `mem`. -ENOMEM. */
int hv_fwcfg_create(const struct hv_mem *mem, struct hv_fwcfg **out);
void hv_fwcfg_destroy(struct hv_fwcfg *f); /* may be NULL */

/* An item, or one with a name; the bytes are copied. -ENOSPC, -ENOMEM, -EEXIST,
 * -EINVAL (the name is too long).
 */
int hv_fwcfg_add(struct hv_fwcfg *f, uint16_t key, const void *bytes,
		 size_t len);
int hv_fwcfg_add_file(struct hv_fwcfg *f, const char *name, const void *bytes,
		      size_t len);
/* Nothing is chosen, as after power-on. The items stay. */
void hv_fwcfg_reset(struct hv_fwcfg *f);

/* For hv_board_add, with the chip as its argument. */
extern const struct hv_port_range hv_fwcfg_ports;

#endif
