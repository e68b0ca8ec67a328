/* SPDX-License-Identifier: BSD-2-Clause */
/* Growth and its ordering: the only code that changes the BAT, bitmaps and
 * the length of an image.
 *
 * The rule. A new block gets its place and its bitmap at once and is visible
 * to every queue through the BAT in memory; the BAT on disk learns of it only
 * at the next flush, after a data sync that made the block's data, bitmap and
 * the file's length durable. A crash before that leaves the old map: the block
 * reads as zero, which a write that was never flushed may do.
 *
 *   flush = vhd_commit_begin          (which blocks exist, which bits are set)
 *           data sync                 (engine or vhd_file_flush)
 *           vhd_commit_publish        (BAT sectors of those blocks, those bits)
 *           data sync
 *           vhd_commit_end
 *
 * Where vhd_commit_needed says no, one data sync is the whole flush. Two
 * flushes may overlap: each publishes what the other has not.
 *
 * A differencing disk does not make its blocks whole: that would copy from the
 * parent what nobody wrote. Its new blocks begin with a bitmap of zeros, over
 * which the parent is read; a sector's bit is set in memory when its data has
 * been written, and in the file by the next flush: see written.c.
 *
 * The trailing footer is kept ahead of the blocks: the file grows in large
 * sparse steps with the footer at its end, and shrinks to fit on close. It
 * may be missing at any instant; the copy at offset 0 is the anchor.
 */
#ifndef VHD_ALLOC_H
#define VHD_ALLOC_H

#include "vhd.h"

/* Like vhd_map, but the run is always VHD_RUN_FILE: missing blocks are
 * allocated, partly valid ones of a dynamic disk are made whole first. Fixed
 * and raw images map as they are. Any thread; takes the image's allocation
 * lock only when a block is missing.
 * Once data is written there, vhd_written must be told.
 * Errors: -EROFS (READ_ONLY), -EIO (POISONED), -ENOSPC, -EFBIG (NO_SPACE),
 *   -ENOMEM: a differencing disk keeps the bits of blocks it writes to.
 *   Where the process has a limit on file sizes it must ignore SIGXFSZ to
 *   see -EFBIG. After an error the block is as missing or partial as before.
 */
int vhd_map_write(struct vhd *img, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, struct vhd_err *err);

/* How the start of these sectors comes to read as zero: VHD_RUN_HOLE: it does;
 * VHD_RUN_FILE: by a hole in the image's own file; VHD_RUN_PARENT: only by
 * writing. zero.c; any thread. Errors: as vhd_map_write, without NO_SPACE.
 */
int vhd_map_zero(struct vhd *img, uint64_t lba, uint64_t sectors,
		 struct vhd_run *run, struct vhd_err *err);

/* These sectors, inside one run of vhd_map_write, have been written: from now
 * on they are read from this file. Any thread; never fails. It matters only to
 * differencing disks; for others it does nothing.
 */
void vhd_written(struct vhd *img, uint64_t lba, uint64_t sectors);
/* A durable write to these sectors needs a flush besides, because block or
 * bits are not durable.
 */
bool vhd_write_needs_flush(struct vhd *img, uint64_t lba, uint64_t sectors);

/* One flush of one image. All zero before its first; its owner keeps it, and
 * with it the memory that copies of bits have come to need.
 */
struct vhd_commit {
	uint64_t ticket;   /* blocks that exist */
	uint64_t bits_seq; /* changes of bits that are in the copies */
	uint8_t *copies;
	size_t used_bytes;
	size_t room_bytes;
};

/* Errors: -ENOMEM; nothing is lost by it, and a later flush covers all. */
int vhd_commit_begin(struct vhd *img, struct vhd_commit *c,
		     struct vhd_err *err);
bool vhd_commit_needed(struct vhd *img, const struct vhd_commit *c);
int vhd_commit_publish(struct vhd *img, const struct vhd_commit *c,
		       struct vhd_err *err);
void vhd_commit_end(struct vhd *img, const struct vhd_commit *c);
/* Release the memory; all zero again. */
void vhd_commit_fini(struct vhd_commit *c);

/* After a failed sync or metadata write: all later writes and flushes fail
 * with -EIO / VHD_WHY_POISONED until the image is opened again.
 */
void vhd_poison(struct vhd *img);

/* What the queue needs to know of an image. */
const struct vhd_file *vhd_get_file(const struct vhd *img);
bool vhd_is_writable(const struct vhd *img);
/* Layer `i` of its chain, which exists. */
struct vhd *vhd_get_layer(const struct vhd *img, unsigned i);
/* Every data run of this image is 4 KiB-aligned in the file. */
bool vhd_data_aligned(const struct vhd *img);

#endif
