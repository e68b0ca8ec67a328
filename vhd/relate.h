/* SPDX-License-Identifier: BSD-2-Clause */
/* What a child says about its parent: the id and the time, the name, and two
 * locators. Private to vhd/.
 */
#ifndef VHD_RELATE_H
#define VHD_RELATE_H

#include "image.h"
#include "locator.h"

/* Room for each of our locators: a page of its own, as Windows gives them, and
 * the longest path twice, so that another one can be put beside it.
 */
#define VHD_RELATION_SPACE_BYTES 4096u
#define VHD_RELATION_PATH_BYTES	 (2 * VHD_PARENT_PATH_MAX)

struct vhd_relation {
	uint8_t parent_id[16];
	uint32_t parent_timestamp_s;
	uint8_t name[512];	/* UTF-16BE, NUL-padded */
	uint32_t relative_len;	/* bytes of UTF-16LE */
	uint32_t absolute_len;	/* 0: the path cannot be written so */
	uint8_t relative[VHD_RELATION_PATH_BYTES];
	uint8_t absolute[VHD_RELATION_PATH_BYTES];
};

/* Both paths absolute and without links. `parent` is open.
 * Errors: -EINVAL (ARGUMENT): a name that no reader would find again;
 *   -ENOTSUP (UNSUPPORTED): nothing a child could ask for.
 */
int vhd_relation_make(const char *child_path, const char *parent_path,
		      const struct vhd *parent, struct vhd_relation *r,
		      struct vhd_err *err);

/* The file's absolute path without links, also where only its directory is
 * there yet. Returns -errno; the caller frees `*out`.
 */
int vhd_path_resolve(const char *path, char **out);

/* `path` lies below `dir`; both resolved. */
bool vhd_path_below(const char *path, const char *dir);

#endif
