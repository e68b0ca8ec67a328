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
 *   flush = vhd_commit_begin          (which blocks exist now: the ticket)
 *           data sync                 (engine or vhd_file_flush)
 *           vhd_commit_publish        (BAT sectors of those blocks)
 *           data sync
 *           vhd_commit_end
 *
 * Where vhd_commit_needed says no, one data sync is the whole flush. Two
 * flushes may overlap: each publishes what the other has not.
 *
 * The trailing footer is kept ahead of the blocks: the file grows in large
 * sparse steps with the footer at its end, and shrinks to fit on close. It
 * may be missing at any instant; the copy at offset 0 is the anchor.
 */
#ifndef VHD_ALLOC_H
#define VHD_ALLOC_H

#include "vhd.h"

/* Like vhd_map, but the run is always VHD_RUN_FILE: missing blocks are
 * allocated, partly valid ones are made whole first. Fixed and raw images map
 * as they are. Any thread; takes the image's allocation lock only when a
 * block is missing.
 * Errors: -EROFS (READ_ONLY), -EIO (POISONED), -ENOSPC, -EFBIG (NO_SPACE).
 *   Where the process has a limit on file sizes it must ignore SIGXFSZ to
 *   see -EFBIG. After an error the block is as missing or partial as before.
 */
int vhd_map_write(struct vhd *img, uint64_t lba, uint64_t sectors,
		  struct vhd_run *run, struct vhd_err *err);

uint64_t vhd_commit_begin(struct vhd *img);
bool vhd_commit_needed(struct vhd *img, uint64_t ticket);
int vhd_commit_publish(struct vhd *img, uint64_t ticket, struct vhd_err *err);
void vhd_commit_end(struct vhd *img, uint64_t ticket);

/* After a failed sync or metadata write: all later writes and flushes fail
 * with -EIO / VHD_WHY_POISONED until the image is opened again.
 */
void vhd_poison(struct vhd *img);
bool vhd_poisoned(const struct vhd *img);

/* What the queue needs to know of an image. */
const struct vhd_file *vhd_get_file(const struct vhd *img);
bool vhd_is_writable(const struct vhd *img);
/* Layer `i` of its chain, which exists. */
struct vhd *vhd_get_layer(const struct vhd *img, unsigned i);
/* Every data run of this image is 4 KiB-aligned in the file. */
bool vhd_data_aligned(const struct vhd *img);

#endif
