/* SPDX-License-Identifier: BSD-2-Clause */
/* Split sets: one image cut into files, as Virtual PC up to 2004 made them on
 * file systems with small files. NAME.vhd comes first, then NAME.v01, NAME.v02
 * and so on beside it. The parts have no headers; the trailing footer closes
 * the last one. Such a set is only read. Private to vhd/.
 * Source: VHD specification 1.0, "Split Hard Disk Images".
 */
#ifndef VHD_SPLIT_H
#define VHD_SPLIT_H

#include "file.h"

#define VHD_SPLIT_PARTS_MAX 64u

/* Where the other parts are. `open` takes the first part's name with another
 * suffix; -ENOENT: there is no such file.
 */
struct vhd_split_dir {
	int (*open)(void *ctx, const char *name, struct vhd_file *out,
		    struct vhd_err *err);
	void *ctx;
};

/* If `f`, called `name`, is the first part of a set, make it the whole set. An
 * image that is whole by itself stays as it is, whatever is beside it.
 * Errors (`f` is then still the caller's, and what it was): -EUCLEAN
 *   (SPLIT_SET) a part is missing, of another size or of another disk, or `f`
 *   is not the first; -EROFS (READ_ONLY_LAYOUT) for `writable`.
 */
int vhd_split_gather(struct vhd_file *f, const char *name,
		     const struct vhd_split_dir *dir, bool writable,
		     struct vhd_err *err);

/* vhd_file_open, then the rest of a split set. */
int vhd_split_open(const char *path, const struct vhd_file_open *how,
		   struct vhd_file *out, struct vhd_err *err);

/* How many parts; 1 for what is not split. */
unsigned vhd_split_parts(const struct vhd_file *f);

#endif
