/* SPDX-License-Identifier: BSD-2-Clause */
/* The disks behind a controller and their addresses.
 *
 * A list of LUNs is a plain value: each channel keeps a copy of its own, so
 * that looking up a LUN takes no lock. The disks themselves never move and
 * never change once added; what does change of them is atomic and apart.
 */
#ifndef STORVSP_TARGET_H
#define STORVSP_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "reserve.h"
#include "vhd/vhd.h"

/* What Linux scans: 8 SCSI channels, 2 targets, LUN 0 to 254. A disk outside
 * would never be found.
 */
#define STORVSP_PATHS_MAX   8u
#define STORVSP_TARGETS_MAX 2u
#define STORVSP_LUNS_MAX    255u
#define STORVSP_DISKS_MAX   VHD_QUEUE_IMAGES_MAX

/* What may change of a disk at any time, under every channel. */
struct storvsp_switches {
	_Atomic uint64_t sectors;    /* grows; a command looks once */
	atomic_bool cache_off;	     /* every write is durable before it ends */
	_Atomic uint32_t attentions; /* attention.h */
	atomic_bool hurry; /* being removed: end early what is in flight */
	atomic_bool descriptor_sense; /* its format */
	_Atomic uint32_t turn;	      /* enum turn_word */
	struct storvsp_reserve reserve;
	/* of a DVD drive */
	atomic_bool tray_open;
	atomic_bool tray_locked;     /* the guest has it so */
	_Atomic uint8_t media_event; /* enum dvd_event, not yet told */
};

struct policy;

struct storvsp_disk {
	struct vhd *img; /* NULL: a DVD drive without a disc */
	struct storvsp_switches *switches;
	struct policy *policy; /* policy.h */
	unsigned slot;	       /* of this disk in the controller's array */
	uint8_t path, target, lun;
	uint8_t block_log2;    /* sectors of a logical block: 0, or 3 for 4 KiB */
	uint8_t physical_log2; /* logical blocks of a physical one */
	bool dvd;
	bool exchanged; /* it took the place of one with another disc */
	bool read_only;
	bool unmap;	 /* takes space back */
	bool reads_zero; /* what was unmapped reads as zero: no parent */
	uint8_t unique_id[16];
};

/* Sorted by address. */
struct storvsp_luns {
	unsigned count;
	const struct storvsp_disk *disk[STORVSP_DISKS_MAX];
};

/* -EEXIST: address or image in use; -ENOSPC: the list is full. */
int storvsp_luns_add(struct storvsp_luns *luns,
		     const struct storvsp_disk *disk);

/* It is in the list. */
void storvsp_luns_remove(struct storvsp_luns *luns,
			 const struct storvsp_disk *disk);
bool storvsp_luns_has(const struct storvsp_luns *luns,
		      const struct storvsp_disk *disk);

/* NULL when nothing is there. */
const struct storvsp_disk *storvsp_luns_find(const struct storvsp_luns *luns,
					     uint8_t path, uint8_t target,
					     uint8_t lun);

#endif
