/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of LUNs: sorted by path, target, LUN, so that finding one is a
 * binary search and REPORT LUNS a walk.
 * Source: SPC-3 6.21 (REPORT LUNS), SAM-3 4.9 (LUN formats).
 */
#include <assert.h>
#include <errno.h>

#include "scsi.h"
#include "target.h"

static uint32_t address(uint8_t path, uint8_t target, uint8_t lun)
{
	return (uint32_t)path << 16 | (uint32_t)target << 8 | lun;
}

static uint32_t disk_address(const struct storvsp_disk *d)
{
	return address(d->path, d->target, d->lun);
}

/* Index of the first disk whose address is not below `want`. */
static unsigned lower_bound(const struct storvsp_luns *luns, uint32_t want)
{
	unsigned lo = 0, hi = luns->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (disk_address(luns->disk[mid]) < want)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int storvsp_luns_add(struct storvsp_luns *luns, const struct storvsp_disk *disk)
{
	uint32_t want = disk_address(disk);
	unsigned at = lower_bound(luns, want);

	if (luns->count == STORVSP_DISKS_MAX)
		return -ENOSPC;
	if (at < luns->count && disk_address(luns->disk[at]) == want)
		return -EEXIST;
	for (unsigned i = 0; i < luns->count; i++)
		if (disk->img && luns->disk[i]->img == disk->img)
			return -EEXIST;
	for (unsigned i = luns->count; i > at; i--)
		luns->disk[i] = luns->disk[i - 1];
	luns->disk[at] = disk;
	luns->count++;
	return 0;
}

bool storvsp_luns_has(const struct storvsp_luns *luns,
		      const struct storvsp_disk *disk)
{
	unsigned at = lower_bound(luns, disk_address(disk));

	return at < luns->count && luns->disk[at] == disk;
}

void storvsp_luns_remove(struct storvsp_luns *luns,
			 const struct storvsp_disk *disk)
{
	unsigned at = lower_bound(luns, disk_address(disk));

	assert(at < luns->count && luns->disk[at] == disk);
	luns->count--;
	for (; at < luns->count; at++)
		luns->disk[at] = luns->disk[at + 1];
}

const struct storvsp_disk *storvsp_luns_find(const struct storvsp_luns *luns,
					     uint8_t path, uint8_t target,
					     uint8_t lun)
{
	uint32_t want = address(path, target, lun);
	unsigned at = lower_bound(luns, want);

	if (at == luns->count || disk_address(luns->disk[at]) != want)
		return NULL;
	return luns->disk[at];
}

/* REPORT LUNS. Answered for targets without any disk, too: without an empty
 * list Linux falls back to asking LUN after LUN.
 */
enum scsi_verdict scsi_report_luns(struct scsi_task *t)
{
	uint8_t select = t->cdb[2];
	uint32_t n = 0;
	uint8_t *p;

	if (select > 2)
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, scsi_get32(t->cdb + 6));
	/* 0 and 2: all LUNs; 1: well-known ones, of which there are none */
	for (unsigned i = lower_bound(t->luns, address(t->path, t->target, 0));
	     select != 1 && i < t->luns->count; i++) {
		const struct storvsp_disk *d = t->luns->disk[i];

		if (d->path != t->path || d->target != t->target)
			break;
		/* peripheral device addressing: byte 0 is 0, byte 1 the LUN */
		p[8 + 8 * n + 1] = d->lun;
		n++;
	}
	scsi_put32(p, 8 * n);
	t->reply_bytes = 8 + 8 * n;
	return SCSI_GOOD;
}
