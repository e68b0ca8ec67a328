/* SPDX-License-Identifier: BSD-2-Clause */
/* ext2, ext3 and ext4 through libext2fs, which reads the image by an I/O
 * manager of ours. It knows groups whose bitmap was never written and checks
 * bitmaps against their sums; but a bitmap whose place is damaged counts as
 * free there. So each group's descriptor must have the right sum, and what its
 * bitmap leaves free must be what the descriptor, and the superblock in total,
 * say.
 *
 * A manager's open function gets a name and nothing else, so the name is the
 * address of what it shall open.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>

#include "freemap.h"

#include "vhd/checked.h"

static errcode_t chan_open(const char *name, int flags, io_channel *out);
static errcode_t chan_close(io_channel ch);
static errcode_t chan_set_blksize(io_channel ch, int blksize);
static errcode_t chan_read64(io_channel ch, unsigned long long block, int count,
			     void *buf);
static errcode_t chan_read(io_channel ch, unsigned long block, int count,
			   void *buf);
static errcode_t chan_write64(io_channel ch, unsigned long long block,
			      int count, const void *buf);
static errcode_t chan_write(io_channel ch, unsigned long block, int count,
			    const void *buf);
static errcode_t chan_flush(io_channel ch);

/* Never changed; the library's type knows no constant one. */
static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "image",
	.open = chan_open,
	.close = chan_close,
	.set_blksize = chan_set_blksize,
	.read_blk = chan_read,
	.write_blk = chan_write,
	.flush = chan_flush,
	.read_blk64 = chan_read64,
	.write_blk64 = chan_write64,
};

static errcode_t chan_open(const char *name, int flags, io_channel *out)
{
	io_channel ch = calloc(1, sizeof(*ch));
	void *fs;

	if (!ch || sscanf(name, "%p", &fs) != 1 || (flags & IO_FLAG_RW)) {
		free(ch);
		return ch ? EXT2_ET_RO_FILSYS : EXT2_ET_NO_MEMORY;
	}
	ch->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	ch->manager = &manager;
	ch->name = strdup(name);
	ch->block_size = 1024;
	ch->refcount = 1;
	ch->private_data = fs;
	*out = ch;
	return 0;
}

static errcode_t chan_close(io_channel ch)
{
	if (--ch->refcount > 0)
		return 0;
	free(ch->name);
	free(ch);
	return 0;
}

static errcode_t chan_set_blksize(io_channel ch, int blksize)
{
	ch->block_size = blksize;
	return 0;
}

/* Any bytes of the file system. */
static errcode_t read_bytes(const struct freemap_fs *fs, uint64_t off,
			    size_t len, uint8_t *buf)
{
	uint64_t from = off & ~(uint64_t)(VHD_SECTOR_BYTES - 1);
	uint64_t end = (off + len + VHD_SECTOR_BYTES - 1) &
		       ~(uint64_t)(VHD_SECTOR_BYTES - 1);
	uint8_t *whole;
	int rc;

	if (!range_ok(off, len, fs->len_bytes))
		return EXT2_ET_SHORT_READ;
	if (from == off && end == off + len)
		return vhd_read(fs->img, fs->off_bytes + off, buf, len, NULL)
			       ? EIO
			       : 0;
	whole = malloc(end - from);
	if (!whole)
		return EXT2_ET_NO_MEMORY;
	rc = vhd_read(fs->img, fs->off_bytes + from, whole, end - from, NULL);
	if (!rc)
		memcpy(buf, whole + (off - from), len);
	free(whole);
	return rc ? EIO : 0;
}

/* A negative count is one of bytes. */
static errcode_t chan_read64(io_channel ch, unsigned long long block, int count,
			     void *buf)
{
	uint64_t unit = (uint64_t)ch->block_size, off, len;

	len = count < 0 ? (uint64_t) - (int64_t)count : unit * (uint64_t)count;
	if (mul_ovf(block, unit, &off))
		return EXT2_ET_SHORT_READ;
	return read_bytes(ch->private_data, off, (size_t)len, buf);
}

static errcode_t chan_read(io_channel ch, unsigned long block, int count,
			   void *buf)
{
	return chan_read64(ch, block, count, buf);
}

static errcode_t chan_write64(io_channel ch, unsigned long long block,
			      int count, const void *buf)
{
	(void)ch;
	(void)block;
	(void)count;
	(void)buf;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t chan_write(io_channel ch, unsigned long block, int count,
			    const void *buf)
{
	return chan_write64(ch, block, count, buf);
}

static errcode_t chan_flush(io_channel ch)
{
	(void)ch;
	return 0;
}

/* ------------------------------------------------------------- the map -- */

static int is_clean(const struct freemap_fs *fs, ext2_filsys e,
		    struct vhd_err *err)
{
	if (ext2fs_has_feature_journal_needs_recovery(e->super))
		return freemap_refuse(fs, err,
				      "has a journal to be replayed: start "
				      "and shut down its machine, or mount it "
				      "once");
	if (!(e->super->s_state & EXT2_VALID_FS) ||
	    (e->super->s_state & EXT2_ERROR_FS))
		return freemap_refuse(fs, err,
				      "was not unmounted, or has errors: let "
				      "e2fsck look first");
	return 0;
}

/* libext2fs (1.47) writes behind its own bitmap where the first group begins
 * elsewhere than the format has it: at block 1 of blocks of 1 KiB, else at 0.
 * A group's bitmap is whole bytes and fits one block.
 */
static int is_regular(const struct freemap_fs *fs, ext2_filsys e,
		      struct vhd_err *err)
{
	uint32_t first = e->blocksize == 1024 && !e->cluster_ratio_bits;
	uint32_t bits = e->super->s_clusters_per_group;

	if (e->super->s_first_data_block == first && bits && bits % 8 == 0 &&
	    bits / 8 <= e->blocksize)
		return 0;
	return freemap_refuse(fs, err,
			      "is damaged: its groups of blocks are none that "
			      "there can be; let e2fsck look first");
}

/* The free blocks from `at` to `end`, both included; how many goes into *sum.
 */
static int blocks(const struct freemap_fs *fs, ext2_filsys e, blk64_t at,
		  blk64_t end, uint64_t *sum, struct vhd_err *err)
{
	blk64_t from, to;
	int rc = 0;

	*sum = 0;
	while (!rc && at <= end &&
	       !ext2fs_find_first_zero_block_bitmap2(e->block_map, at, end,
						     &from)) {
		if (ext2fs_find_first_set_block_bitmap2(e->block_map, from, end,
							&to))
			to = end + 1;
		rc = freemap_add(fs, from * e->blocksize,
				 (to - from) * e->blocksize, err);
		*sum += to - from;
		at = to;
	}
	return rc;
}

static int disagrees(const struct freemap_fs *fs, struct vhd_err *err)
{
	return freemap_refuse(fs, err,
			      "is damaged: what it says of its free space "
			      "does not agree; let e2fsck look first");
}

/* Group by group, because each must agree with its descriptor. With clusters
 * (bigalloc) the numbers are theirs.
 */
static int groups(const struct freemap_fs *fs, ext2_filsys e,
		  struct vhd_err *err)
{
	uint64_t ratio = (uint64_t)EXT2FS_CLUSTER_RATIO(e), total = 0;

	for (dgrp_t g = 0; g < e->group_desc_count; g++) {
		uint64_t sum;
		int rc;

		if (!ext2fs_group_desc_csum_verify(e, g))
			return disagrees(fs, err);
		rc = blocks(fs, e, ext2fs_group_first_block2(e, g),
			    ext2fs_group_last_block2(e, g), &sum, err);
		if (rc)
			return rc;
		if ((sum + ratio - 1) / ratio !=
		    ext2fs_bg_free_blocks_count(e, g))
			return disagrees(fs, err);
		total += (sum + ratio - 1) / ratio * ratio;
	}
	if (total != ext2fs_free_blocks_count(e->super))
		return disagrees(fs, err);
	return 0;
}

/* What the library has to say comes back as an error anyway. */
static void silent(const char *who, errcode_t code, const char *fmt, va_list ap)
{
	(void)who;
	(void)code;
	(void)fmt;
	(void)ap;
}

int freemap_ext(const struct freemap_fs *fs, struct vhd_err *err)
{
	ext2_filsys e = NULL;
	char name[40];
	errcode_t bad;
	int rc;

	initialize_ext2_error_table();
	set_com_err_hook(silent);
	snprintf(name, sizeof(name), "%p", (const void *)fs);
	bad = ext2fs_open(name, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0,
			  &manager, &e);
	rc = bad ? freemap_refuse(fs, err, "cannot be read: %s",
				  error_message(bad))
		 : is_clean(fs, e, err);
	if (!rc)
		rc = is_regular(fs, e, err);
	if (!rc) {
		bad = ext2fs_read_block_bitmap(e);
		if (bad)
			rc = freemap_refuse(fs, err,
					    "has a damaged block bitmap: %s",
					    error_message(bad));
	}
	if (!rc)
		rc = groups(fs, e, err);
	ext2fs_free(e);
	reset_com_err_hook();
	return rc;
}
