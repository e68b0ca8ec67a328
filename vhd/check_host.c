/* SPDX-License-Identifier: BSD-2-Clause */
/* The file on the host. Windows refuses to attach a VHD whose file is sparse,
 * compressed or encrypted (0xC03A001A), and tools that copy a file to NTFS or
 * over the network may carry these over.
 */
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/fs.h>

#include "check.h"

/* st_blocks counts in this unit on Linux, whatever st_blksize says. */
#define STAT_BLOCK_BYTES 512u

static void attributes(struct check *c, int fd)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return; /* a file system without them */
	if (flags & FS_COMPR_FL)
		check_tell(c, VHD_FIND_HOST_ATTRIBUTE, 0, VHD_NO_BLOCK,
			   "the file is compressed by its file system");
	if (flags & FS_ENCRYPT_FL)
		check_tell(c, VHD_FIND_HOST_ATTRIBUTE, 0, VHD_NO_BLOCK,
			   "the file is encrypted by its file system");
}

void check_host(struct check *c)
{
	bool windows = c->opts->target == VHD_TARGET_HYPERV;
	int fd = c->s.file->fd;
	struct stat st;
	uint64_t there;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	there = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES;
	if (there < c->s.file_bytes)
		check_tell_as(
			c, windows ? VHD_SEVERITY_WARNING : VHD_SEVERITY_INFO,
			VHD_FIND_HOST_SPARSE, 0, VHD_NO_BLOCK,
			"the file is sparse (%llu of %llu bytes are "
			"there): Windows refuses it unless the copy it "
			"gets has its holes filled",
			(unsigned long long)there,
			(unsigned long long)c->s.file_bytes);
	attributes(c, fd);
}
