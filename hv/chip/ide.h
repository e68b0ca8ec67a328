/* SPDX-License-Identifier: BSD-2-Clause */
/* The IDE controller of a PIIX4: two channels of two drives, hard disks and
 * DVD drives (ATAPI), programmed I/O and bus-master DMA.
 *
 *   ide.c        registers, selection, reset
 *   ide_line.c   how a drive answers: its interrupt, its status
 *   ide_medium.c bytes between a drive's buffer and the medium
 *   ide_data.c   ... and the data port
 *   ide_dma.c    bytes between the buffer and guest memory, by the bus master
 *   ide_ata.c    what a hard disk does; ide_identify.c: what a drive is
 *   ide_atapi.c  what a DVD drive does; ide_packet.c: the packets' answers
 *
 * Everything is done when the access that asked for it returns. Data passes a
 * buffer of the channel: guest memory and medium never wait for one another.
 *
 * Threads: any vCPU's; a channel has a lock, which is held while the medium
 *   works. `irq` is called with it held.
 * Sources: ATA/ATAPI-6 (T13/1410D), SFF-8020i, MMC-3; SFF-8038i (bus master);
 *   Intel 82371AB (PIIX4) data sheet, chapter 5.
 */
#ifndef HV_CHIP_IDE_H
#define HV_CHIP_IDE_H

#include <stdbool.h>
#include <stdint.h>

#include "hv/disk.h"
#include "hv/gpa.h"

#define HV_IDE_CHANNELS 2
#define HV_IDE_DRIVES	4 /* 0 and 1: the first channel's */

struct hv_ide;

/* A channel's interrupt line changed. */
typedef void (*hv_ide_irq_fn)(void *arg, unsigned channel, bool level);

/* Borrows the disks (NULL: no drive there; blocks of 512 bytes, a DVD's of
 * 2048) and `mem`. -EINVAL (other blocks), -ENOMEM.
 */
int hv_ide_create(const struct hv_disk *const disks[HV_IDE_DRIVES],
		  struct hv_mem *mem, hv_ide_irq_fn irq, void *arg,
		  struct hv_ide **out);
void hv_ide_destroy(struct hv_ide *ide); /* may be NULL */
/* As after power-on, with its lines low; nobody is in here, and `irq` is not
 * called.
 */
void hv_ide_reset(struct hv_ide *ide);

/* The command block, `reg` 0..7; 0 is the data port, the one that has widths
 * of 2 and 4 as well. `count` accesses.
 */
void hv_ide_in(struct hv_ide *ide, unsigned channel, unsigned reg,
	       unsigned size, uint32_t count, uint8_t *data);
void hv_ide_out(struct hv_ide *ide, unsigned channel, unsigned reg,
		unsigned size, uint32_t count, const uint8_t *data);
/* The control block's one register: alternate status, device control. */
uint8_t hv_ide_control_in(struct hv_ide *ide, unsigned channel);
void hv_ide_control_out(struct hv_ide *ide, unsigned channel, uint8_t val);

/* Bus master registers, bytes 0..15: 8 of each channel. */
#define HV_IDE_MASTER_BYTES 16u
void hv_ide_master_in(struct hv_ide *ide, unsigned off, unsigned size,
		      uint8_t *data);
void hv_ide_master_out(struct hv_ide *ide, unsigned off, unsigned size,
		       const uint8_t *data);
/* Whether it may be master of the bus (PCI command register). */
void hv_ide_master_allow(struct hv_ide *ide, bool yes);

#endif
