/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest holds of a disk and loses by a reset, or when its driver begins
 * anew: reservations of the old kind, and the lock of a tray.
 */
#ifndef STORVSP_HOLDS_H
#define STORVSP_HOLDS_H

#include "dvd.h"

static inline void scsi_holds_end(struct storvsp_switches *s)
{
	storvsp_reserve_reset(&s->reserve);
	scsi_dvd_reset(s);
}

#endif
