/* SPDX-License-Identifier: BSD-2-Clause */
/* What open and close need of a medium beyond file.h. Private to vhd/. */
#ifndef VHD_FILESYS_H
#define VHD_FILESYS_H

#include "file.h"

/* Takes the file's descriptors; says what close said. */
int vhd_file_close_checked(struct vhd_file *f);

/* A block device: its length is fixed. */
bool vhd_file_is_device(const struct vhd_file *f);

#endif
