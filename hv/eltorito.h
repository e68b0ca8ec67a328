/* SPDX-License-Identifier: BSD-2-Clause */
/* The boot record of a disc: where its boot image is and goes. Only images
 * that emulate no drive: what is installed from discs today has no other.
 * The disc is hostile.
 * Source: "El Torito" Bootable CD-ROM Format Specification 1.0, section 2.
 */
#ifndef HV_ELTORITO_H
#define HV_ELTORITO_H

#include <stdint.h>

#include "disk.h"

struct hv_eltorito {
	uint32_t lba;      /* of the image, in the disc's blocks */
	uint16_t sectors;  /* of 512 bytes, to be loaded; 1 or more */
	uint16_t segment;  /* where to */
};

/* -ENOENT: no boot record for a PC; -ENOTSUP: it emulates a drive; -EINVAL: it
 * contradicts itself; what reading says.
 */
int hv_eltorito_find(const struct hv_disk *disc, struct hv_eltorito *out);

#endif
