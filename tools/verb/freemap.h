/* SPDX-License-Identifier: BSD-2-Clause */
/* What the file systems on a disk call free. Private to tools/.
 *
 * None is read by own code: ext2, 3 and 4 by libext2fs through an I/O manager
 * over the image; XFS by xfsprogs, NTFS and FAT by partclone and ntfs-3g,
 * which want a file: the partition is shown to them as one by FUSE, read-only,
 * for as long as they run. A file system that is not clean is refused: what it
 * says about free space may be out of date.
 *
 *   freemap.c        partitions, which program is asked
 *   freemap_set.c    the sorted answer
 *   freemap_ext.c    libext2fs
 *   freemap_tool.c   the programs, and what they print
 *   freemap_mount.c  a part of the disk as a file
 */
#ifndef FREEMAP_H
#define FREEMAP_H

#include "tools/inspect/inspect.h"

struct freemap_range {
	uint64_t off_bytes; /* on the disk */
	uint64_t end_bytes;
};

struct freemap {
	struct freemap_range *ranges; /* owned; sorted, apart */
	size_t count;
	size_t room;
	unsigned asked;	  /* file systems that said */
	unsigned unknown; /* partitions of which nothing is known: used */
	uint64_t bytes;
};

/* One file system. */
struct freemap_fs {
	struct vhd *img;
	uint64_t off_bytes;
	uint64_t len_bytes;
	char name[64]; /* "partition 2 (ext4)" */
	struct freemap *map;
};

/* Ask all that are there. Errors: -EUCLEAN or -ENOTSUP (UNSUPPORTED): one is
 * not clean, damaged, or its program is missing; none is known at all.
 */
int freemap_find(struct freemap *map, struct vhd *img, const char *path,
		 struct vhd_err *err);
void freemap_fini(struct freemap *map);

/* Is all of this free? */
bool freemap_has(const struct freemap *map, uint64_t off_bytes,
		 uint64_t len_bytes);

/* A range inside the file system is free; what reaches out of it is refused. */
int freemap_add(const struct freemap_fs *fs, uint64_t off_bytes,
		uint64_t len_bytes, struct vhd_err *err);
/* Sort, and join what touches. */
void freemap_settle(struct freemap *map);
/* "partition 2 (ext4) WHAT" */
__attribute__((format(printf, 3, 4))) int freemap_refuse(
	const struct freemap_fs *fs, struct vhd_err *err, const char *fmt, ...);

int freemap_ext(const struct freemap_fs *fs, struct vhd_err *err);
int freemap_xfs(const struct freemap_fs *fs, struct vhd_err *err);
int freemap_ntfs(const struct freemap_fs *fs, struct vhd_err *err);
int freemap_fat(const struct freemap_fs *fs, struct vhd_err *err);

/* A part of a disk as a read-only file, served by a process of its own that
 * ends with this one.
 */
struct freemap_mount {
	char dir[64];
	char file[80];
	int pid;
};

int freemap_mount(struct freemap_mount *m, const struct freemap_fs *fs,
		  struct vhd_err *err);
void freemap_umount(struct freemap_mount *m);

#endif
