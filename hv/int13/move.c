/* SPDX-License-Identifier: BSD-2-Clause */
/* Between a disk and guest memory, whose address the guest chose. A transfer
 * goes by pieces, so that what each needs is bounded; the first that fails ends
 * it.
 */
#include <errno.h>

#include "int13_int.h"

#define PIECE_BYTES (1u << 20)
#define PIECE_PAGES (PIECE_BYTES / HV_PAGE_BYTES + 1)

static enum status status_of(int ret)
{
	switch (ret) {
	case 0:
		return ST_OK;
	case -EINVAL:
		return ST_NOT_FOUND;
	case -EROFS:
	case -EBUSY: /* the guest's own driver has it */
		return ST_WRITE_PROTECTED;
	case -ENOMEDIUM:
		return ST_NO_MEDIUM;
	case -ECANCELED:
		return ST_TIMEOUT;
	case -EIO:
		return ST_MEDIUM;
	default:
		return ST_CONTROLLER;
	}
}

/* All of it is RAM, and at most PIECE_BYTES. */
static int move_piece(struct hv_int13 *h, const struct hv_disk *disk,
		      enum move way, uint64_t lba, uint64_t gpa, uint32_t bytes)
{
	struct iovec iov[HV_MEM_REGIONS_MAX + 1];
	uint64_t pfn[PIECE_PAGES];
	uint32_t offset = (uint32_t)(gpa % HV_PAGE_BYTES);
	size_t pages = (offset + (size_t)bytes + HV_PAGE_BYTES - 1) /
		       HV_PAGE_BYTES;
	int n;

	for (size_t i = 0; i < pages; i++)
		pfn[i] = gpa / HV_PAGE_BYTES + i;
	n = hv_gpa_iov(h->mem, pfn, pages, offset, bytes, iov,
		       sizeof(iov) / sizeof(iov[0]));
	if (n < 0)
		return -EFAULT;
	if (way == MOVE_READ)
		return disk->ops->read(disk->arg, lba, iov, (unsigned)n);
	return disk->ops->write(disk->arg, lba, iov, (unsigned)n);
}

void int13_count_bytes(struct hv_int13 *h, enum move way, uint64_t bytes)
{
	if (way == MOVE_READ)
		h->stats.bytes_read += bytes;
	else
		h->stats.bytes_written += bytes;
}

bool int13_on_disk(const struct hv_disk *disk, uint64_t lba, uint64_t count)
{
	return count <= disk->blocks && lba <= disk->blocks - count;
}

enum status int13_move(struct hv_int13 *h, const struct hv_disk *disk,
		       enum move way, uint64_t lba, uint32_t count,
		       uint64_t gpa, uint32_t *moved)
{
	const uint32_t at_once = PIECE_BYTES / disk->block_bytes;
	int ret = 0;

	*moved = 0;
	if (!int13_on_disk(disk, lba, count))
		return ST_NOT_FOUND;
	if (!hv_gpa_ok(h->mem, gpa, (uint64_t)count * disk->block_bytes))
		return ST_BOUNDARY;
	while (*moved < count && ret == 0) {
		uint32_t n = count - *moved < at_once ? count - *moved
						      : at_once;
		uint32_t bytes = n * disk->block_bytes;

		ret = move_piece(h, disk, way, lba + *moved, gpa, bytes);
		if (ret < 0)
			break;
		int13_count_bytes(h, way, bytes);
		*moved += n;
		gpa += bytes;
	}
	if (ret == 0 && way == MOVE_WRITE && count > 0)
		ret = disk->ops->flush(disk->arg);
	return status_of(ret);
}
