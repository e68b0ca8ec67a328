/* SPDX-License-Identifier: BSD-2-Clause */
/* One writer or many readers: an open-file-description lock over the whole
 * file. It belongs to the open file, not to the process, so two opens in one
 * process exclude each other too and closing another descriptor of the file
 * does not drop it. Private to vhd/.
 */
#ifndef VHD_LOCK_H
#define VHD_LOCK_H

#include <stdbool.h>

#include "err.h"

/* Lock `fd`, exclusively or shared, without waiting.
 * Errors: -EBUSY (LOCKED) when another holds it; SYSTEM where the file system
 * has no locks.
 */
int vhd_lock(int fd, bool exclusive, const char *path, struct vhd_err *err);

/* Before closing: the open file may outlive our descriptor, because io_uring
 * gives registered files back late and a fork may have copied it.
 */
void vhd_unlock(int fd);

#endif
