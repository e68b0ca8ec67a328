/* SPDX-License-Identifier: BSD-2-Clause */
/* The disks as a PC's firmware and boot loaders reach them: INT 13h. An option
 * ROM of our own (int13.S) has nothing in it but one OUT for each call; what
 * the call does is done here, between guest memory and a disk's door.
 *
 * All registers and all of guest memory are the guest's to choose. A call moves
 * at most 65535 blocks, by pieces; the first that fails ends it.
 *
 * Threads: set-up before the guest runs; then any, one call at a time.
 * Sources: Phoenix BIOS Enhanced Disk Drive Specification 1.1 and 3.0 (T13);
 * "El Torito" Bootable CD-ROM Format Specification 1.0; R. Brown's interrupt
 * list for the older functions.
 */
#ifndef HV_INT13_H
#define HV_INT13_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "gpa.h"

/* The ROM's ports; the byte written says nothing. */
enum hv_int13_port {
	HV_INT13_CALL = 0xe8,  /* INT 13h */
	HV_INT13_START = 0xe9, /* once, before anything boots */
	HV_INT13_DVD = 0xea,   /* start from a disc */
	HV_INT13_PORT_LAST = HV_INT13_DVD,
};

#define HV_INT13_DISKS_MAX 64u /* from drive 0x80 */
#define HV_INT13_DVDS_MAX  16u /* from drive 0xe0 */
#define HV_INT13_DVD_FIRST 0xe0u

struct hv_int13;

struct hv_int13_disks {
	const struct hv_disk *disk[HV_INT13_DISKS_MAX];
	unsigned disks;
	const struct hv_disk *dvd[HV_INT13_DVDS_MAX];
	unsigned dvds;
};

/* Behind those of its kind that are there; what is too much is left out. */
void hv_int13_disks_add(struct hv_int13_disks *d, const struct hv_disk *disk);

struct hv_int13_regs {
	uint16_t ax, bx, cx, dx, si, ds, es;
};

enum hv_int13_result {
	HV_INT13_OK,
	HV_INT13_ERROR,    /* the caller is to see the carry flag */
	HV_INT13_NOT_OURS, /* a drive that is none of hv's: a floppy, say */
};

struct hv_int13_stats {
	uint64_t calls, errors, bytes_read, bytes_written;
};

/* Borrows `mem` and the disks, copies the list. -ENOMEM. */
int hv_int13_create(const struct hv_mem *mem,
		    const struct hv_int13_disks *disks, struct hv_int13 **out);
void hv_int13_destroy(struct hv_int13 *h); /* may be NULL */
/* As after power-on, with these disks; the counters go on. */
void hv_int13_reset(struct hv_int13 *h, const struct hv_int13_disks *disks);

/* One exit of the ROM. */
enum hv_int13_result hv_int13_exit(struct hv_int13 *h, enum hv_int13_port port,
				   struct hv_int13_regs *r);

void hv_int13_get_stats(struct hv_int13 *h, struct hv_int13_stats *out);

#endif
