/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's disks as firmware and emulated controllers reach them (struct
 * hv_disk): one thread with a disk queue of its own on the very images that
 * the storage controllers serve. Private to tools/hv.
 *
 * Reads are always answered. Writes are, until the guest opens the disk's
 * storage controller: from then on it is the guest's driver that writes, and
 * the door says -EBUSY, until the controller's last channel is closed again.
 * The two are never at it together: opening waits for a write that is on its
 * way here, for no longer than it takes to end it early.
 *
 * Disks come and go while the guest runs, grow, and discs are changed. What is
 * gone has no medium from then on; what is new or another one is there for the
 * next machine, which a reset builds, and so is a disk's new size: firmware and
 * emulated controllers look at a disk once.
 */
#ifndef TOOLS_HV_FWDISK_H
#define TOOLS_HV_FWDISK_H

#include "hv.h"
#include "hv/disk.h"

struct hv_fwdisks;

/* Of all that the command line names, in this order (NULL: in its own). Borrows
 * the images until they are forgotten.
 */
int hv_fwdisks_create(struct hv_disks *disks, const unsigned *order,
		      struct hv_fwdisks **out, struct vhd_err *err);
/* Its thread; after the process entered its sandbox, and before the control
 * thread has its filter. `begins` is the thread's own entry, with the engine
 * its queue has; NULL is allowed.
 */
int hv_fwdisks_start(struct hv_fwdisks *f,
		     int (*begins)(enum vhd_engine engine, struct vhd_err *err),
		     struct vhd_err *err);
/* Requests on their way end early, others fail: the run is over, or the
 * machine is rebuilt (`on` false again after that). Any thread.
 */
void hv_fwdisks_hurry(struct hv_fwdisks *f, bool on);
/* Before the images are closed. Takes `f` (may be NULL). */
void hv_fwdisks_destroy(struct hv_fwdisks *f);

/* What is at a place of a controller, or will be for a later machine; lives as
 * long as `f`.
 */
const struct hv_disk *hv_fwdisk(const struct hv_fwdisks *f, unsigned controller,
				unsigned lun);
/* The i-th of those that this machine has: the command line's, then those that
 * came later; NULL behind the last.
 */
const struct hv_disk *hv_fwdisks_nth(const struct hv_fwdisks *f, unsigned i);

struct hv_fwdisk_is {
	struct vhd *img; /* NULL: a drive without a disc */
	uint32_t block_bytes; /* a disk's; 0: 512 */
	bool read_only, dvd;
	uint8_t id[16]; /* stable */
};
/* Something else is at this place from now on, which the next machine finds.
 * What was there is forgotten, as by `forget`; a disc's drive keeps its place
 * in the order. Borrows the image. Not from this file's thread. `f` may be NULL.
 * Errors: what vhd_queue_attach says; then nothing is there, or an empty drive.
 */
int hv_fwdisks_put(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		   const struct hv_fwdisk_is *is, struct vhd_err *err);
/* No processor runs: what is there is told to the next machine. `f` may be
 * NULL.
 */
void hv_fwdisks_renew(struct hv_fwdisks *f);

/* The guest's driver has a controller's disks, or not any more. */
void hv_fwdisks_guest_has(struct hv_fwdisks *f, unsigned controller, bool yes);
/* Nobody is at any image by this door from here until `let_go`: vCPUs wait for
 * that, unless the machine stops; and the one at this place is attached to no
 * queue here. A request that does not end within a second is ended
 * (-ECANCELED). Not from this file's thread. `f` may be NULL.
 * Errors: -EBUSY, where one does not end in `most_ms`: then nothing is held. Of
 * let_go: what vhd_queue_attach says; then it has no medium.
 */
int hv_fwdisks_hold(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		    unsigned most_ms, struct vhd_err *err);
int hv_fwdisks_let_go(struct hv_fwdisks *f, unsigned controller, unsigned lun,
		      struct vhd_err *err);
/* What is at this place is gone, and its image about to be closed: no medium
 * from now on. Waits as `hold` does. Not from this file's thread. `f` may be
 * NULL.
 */
void hv_fwdisks_forget(struct hv_fwdisks *f, unsigned controller, unsigned lun);

#endif
