/* SPDX-License-Identifier: BSD-2-Clause */
/* What is needed of a medium or of the file system beyond file.h. Private to
 * vhd/.
 */
#ifndef VHD_FILESYS_H
#define VHD_FILESYS_H

#include "file.h"

/* Takes the file's descriptors; says what close said. */
int vhd_file_close_checked(struct vhd_file *f);

/* The same after work on the file that ended with `rc`: that, or where it is 0
 * what close said.
 */
int vhd_file_close_after(struct vhd_file *f, int rc, struct vhd_err *err);

/* open(2), close-on-exec and 0666 for what is made, again after a signal: a
 * descriptor or a negative errno.
 */
int vhd_open_retry(const char *path, int flags);

/* [off, off + len) becomes a hole, which reads as zero; -EOPNOTSUPP
 * (UNSUPPORTED) where only writing can do it.
 */
int vhd_file_punch(const struct vhd_file *f, uint64_t off, uint64_t len,
		   struct vhd_err *err);

/* A block device or an NBD export: its length is fixed. */
bool vhd_file_is_device(const struct vhd_file *f);

#endif
