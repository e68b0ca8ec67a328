/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks ahead of the copy, writeback behind it.
 *
 * Ahead: ext4 with delayed allocation accounts for each 4 KiB of a buffered
 * write by itself, which costs more than copying the bytes (measured: 40 % of
 * the whole). Space that is allocated before the write has none of that.
 *
 * Behind: each range goes through three states: written (dirty in the page
 * cache), under writeback (started at once, not waited for), and,
 * CONVERT_BEHIND ranges later, waited for and dropped. That bounds the dirty
 * memory (to 64 MiB of pieces), and a disk slower than the copy slows the copy
 * down here rather than in one long sync at the end. Fewer ranges make the copy
 * wait for a disk that is merely busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "convert.h"

/* Below this a call costs more than it saves. */
#define AHEAD_MIN_BYTES (64u << 10)

void convert_writeback_init(struct convert_writeback *wb, int fd, bool stream)
{
	struct statfs fs;

	*wb = (struct convert_writeback){ .fd = fd, .stream = stream };
	wb->ahead = fstatfs(fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
}

void convert_writeback_ahead(struct convert_writeback *wb, uint64_t off_bytes,
			     uint64_t len_bytes)
{
	if (!wb->ahead || len_bytes < AHEAD_MIN_BYTES)
		return;
	/* Only a help: a full disk is for the write to report. */
	if (fallocate(wb->fd, FALLOC_FL_KEEP_SIZE, (off_t)off_bytes,
		      (off_t)len_bytes) < 0)
		wb->ahead = false;
}

static int range(struct convert_writeback *wb, uint64_t off, uint64_t len,
		 unsigned flags, struct vhd_err *err)
{
	int code;

	if (sync_file_range(wb->fd, (off_t)off, (off_t)len, flags) == 0)
		return 0;
	code = -errno;
	/* A file system without the call still has the sync at the end. */
	if (code == -ENOSYS || code == -EINVAL || code == -ESPIPE ||
	    code == -EOPNOTSUPP) {
		wb->stream = false;
		return 0;
	}
	return vhd_fail(err, code,
			code == -ENOSPC || code == -EDQUOT ? VHD_WHY_NO_SPACE
							   : VHD_WHY_IO,
			off, "cannot write out %llu bytes at offset %llu: %s",
			(unsigned long long)len, (unsigned long long)off,
			strerror(-code));
}

static int drop_oldest(struct convert_writeback *wb, struct vhd_err *err)
{
	uint64_t off = wb->behind[wb->head].off_bytes;
	uint64_t len = wb->behind[wb->head].len_bytes;
	int rc;

	wb->head = (wb->head + 1) % CONVERT_BEHIND;
	wb->count--;
	rc = range(wb, off, len, SYNC_FILE_RANGE_WAIT_BEFORE, err);
	if (rc || !wb->stream)
		return rc;
	/* Advice only: a refusal costs memory, nothing else. */
	(void)posix_fadvise(wb->fd, (off_t)off, (off_t)len,
			    POSIX_FADV_DONTNEED);
	return 0;
}

int convert_writeback_add(struct convert_writeback *wb, uint64_t off_bytes,
			  uint64_t len_bytes, struct vhd_err *err)
{
	unsigned tail;
	int rc;

	if (!wb->stream || !len_bytes)
		return 0;
	rc = range(wb, off_bytes, len_bytes, SYNC_FILE_RANGE_WRITE, err);
	if (!rc && wb->stream && wb->count == CONVERT_BEHIND)
		rc = drop_oldest(wb, err);
	if (rc || !wb->stream)
		return rc;
	tail = (wb->head + wb->count++) % CONVERT_BEHIND;
	wb->behind[tail].off_bytes = off_bytes;
	wb->behind[tail].len_bytes = len_bytes;
	return 0;
}
