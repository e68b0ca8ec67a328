/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd-mount. Private to tools/.
 *
 *   fs       the FUSE file system: the disk and its partitions as files
 *   part     a partition's own file system, mounted from such a file
 *   overlay  writes that are thrown away at the end
 */
#ifndef MOUNT_H
#define MOUNT_H

#include <limits.h>

#include "tools/inspect/inspect.h"
#include "served.h"

/* Extended attributes of the root directory: who serves it; and, written, that
 * it is to end when the last file in it is closed.
 */
#define MOUNT_ATTR_PID	"user.vhd.pid"
#define MOUNT_ATTR_ONCE "user.vhd.once"
#define MOUNT_DISK	"disk"
#define MOUNT_FSTYPE	"vhd"

struct overlay;

struct mount_file {
	char name[16]; /* "disk", "p1", ... */
	uint64_t off_bytes;
	uint64_t len_bytes;
};

struct mount_fs {
	struct served *served;
	struct overlay *overlay; /* or NULL */
	bool writable;           /* the image, or the overlay */
	bool internal;           /* not seen by users: may be told to end */
	int64_t mtime_s;
	unsigned file_count;
	struct mount_file files[1 + INSPECT_PARTS_MAX];
};

/* Name the files: the disk, and the partitions that fit on it. */
void mount_fs_fill(struct mount_fs *fs, uint64_t size_bytes,
		   const struct inspect_content *content);

/* Serve `fs` on the directory `dir`. Returns in the process that serves, when
 * it is unmounted or told to end, with an exit code; with `background` that is
 * a child, and the process that called has ended with 0 by then. `ready_fd` is
 * written to once the directory can be used; -1: nobody wants to know.
 */
int mount_fs_run(struct mount_fs *fs, const char *prog, const char *dir,
		 const char *source, const char *options, bool background,
		 int ready_fd);

/* Mount the file system in `file` on `dir`, by the kernel or by a program in
 * user space. Returns an exit code, having said what is wrong.
 */
int mount_part(const char *prog, const char *file, const char *fs_type,
	       const char *dir, bool writable, const char *options);

/* What is written goes to a file without a name; the rest is the image's. */
int overlay_create(struct served *s, struct overlay **out, struct vhd_err *err);
void overlay_destroy(struct overlay *o); /* may be NULL */
int overlay_read(struct overlay *o, void *buf, size_t len, uint64_t off_bytes,
		 struct vhd_err *err);
int overlay_write(struct overlay *o, const void *buf, size_t len,
		  uint64_t off_bytes, struct vhd_err *err);

#endif
