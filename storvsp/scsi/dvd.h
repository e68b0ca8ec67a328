/* SPDX-License-Identifier: BSD-2-Clause */
/* A DVD-ROM drive: a disc that may be there or not, and a tray. dvd.c has what
 * moves, dvd_info.c what is told of the drive and the disc, dvd_mode.c its mode
 * pages, dvd_commands.c the table.
 *
 * The guest opens and closes the tray, unless it has locked it itself; the disc
 * lies in it meanwhile. The host exchanges discs at any time (disks.c): the
 * drive is then another `struct storvsp_disk` at the same address, so that a
 * command that has begun goes on with the disc it began with.
 * Source: MMC-6; what Linux (sr.c, cdrom.c) looks at.
 */
#ifndef STORVSP_DVD_H
#define STORVSP_DVD_H

#include "scsi.h"

#define DVD_BLOCK_LOG2 2u /* sectors of 512 bytes in one of 2048 */

/* Media events, as GET EVENT STATUS NOTIFICATION numbers them. */
enum dvd_event {
	DVD_NO_CHANGE = 0,
	DVD_EJECT_REQUEST = 1,
	DVD_NEW_DISC = 2,
	DVD_DISC_GONE = 3,
};

/* SCSI_GOOD when a disc is there to be read, in a drive. */
enum scsi_verdict scsi_dvd_disc(const struct storvsp_disk *d);
/* A reset unlocks the tray. */
void scsi_dvd_reset(struct storvsp_switches *s);
/* The drive's state goes over to the one that takes its place; what a guest is
 * to hear of it is pending there.
 */
void scsi_dvd_exchange(const struct storvsp_disk *from,
		       const struct storvsp_disk *to);

#endif
