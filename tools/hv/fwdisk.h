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
 */
#ifndef TOOLS_HV_FWDISK_H
#define TOOLS_HV_FWDISK_H

#include "hv.h"
#include "hv/disk.h"

struct hv_fwdisks;

/* Of all that the command line names, in its order. Borrows `disks`. */
int hv_fwdisks_create(struct hv_disks *disks, struct hv_fwdisks **out,
		      struct vhd_err *err);
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

/* Disk `i` of the command line; lives as long as `f`. */
const struct hv_disk *hv_fwdisk(const struct hv_fwdisks *f, unsigned i);

/* The guest's driver has a controller's disks, or not any more. */
void hv_fwdisks_guest_has(struct hv_fwdisks *f, unsigned controller, bool yes);
/* Nobody is at an image by this door from here until `let_go`, which follows
 * soon: vCPUs wait for it. A request that does not end within seconds is ended
 * (-ECANCELED). Not from this file's thread. `f` may be NULL.
 */
void hv_fwdisks_hold(struct hv_fwdisks *f);
void hv_fwdisks_let_go(struct hv_fwdisks *f);
/* Disk `i`'s image is about to be closed: no medium from now on. Waits as
 * `hold` does. Not from this file's thread. `f` may be NULL.
 */
void hv_fwdisks_forget(struct hv_fwdisks *f, unsigned i);

#endif
