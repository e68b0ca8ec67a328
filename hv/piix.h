/* SPDX-License-Identifier: BSD-2-Clause */
/* A PIIX4 with its IDE controller on a PCI bus, behind the board's ports: what
 * a guest needs that knows nothing of the VMBus. Machines have it only when
 * they have a disk on it.
 */
#ifndef HV_PIIX_H
#define HV_PIIX_H

#include "board.h"
#include "chip/ide.h"

#define HV_IRQ_IDE 14 /* of the first channel; 15 of the second */

struct hv_piix;

/* Add it to a board, before the guest runs; the board goes first. `irq` and
 * the disks are hv_ide_create's. -EINVAL, -ENOMEM, -ENOSPC.
 */
int hv_piix_create(struct hv_board *board, struct hv_mem *mem,
		   const struct hv_disk *const disks[HV_IDE_DRIVES],
		   hv_ide_irq_fn irq, void *arg, struct hv_piix **out);
void hv_piix_destroy(struct hv_piix *p); /* may be NULL */

#endif
