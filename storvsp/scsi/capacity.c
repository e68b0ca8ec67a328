/* SPDX-License-Identifier: BSD-2-Clause */
/* READ CAPACITY (10) and (16). Logical and physical blocks are 512 bytes, as
 * Hyper-V says for VHD, unless the disk was given others.
 * Source: SBC-3 5.12 and 5.13.
 */
#include "scsi.h"

#define LBPME 0x80
#define LBPRZ 0x40

/* Without PMI the address must be 0; with it we answer the same: no delay
 * lurks anywhere behind any sector.
 */
static bool pmi_ok(uint8_t flags, uint64_t lba)
{
	return (flags & 0x01) || lba == 0;
}

enum scsi_verdict scsi_read_capacity_10(struct scsi_task *t)
{
	uint64_t last = t->blocks - 1;
	uint8_t *p;

	if (!pmi_ok(t->cdb[8], scsi_get32(t->cdb + 2)))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 8, 8);
	scsi_put32(p, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
	scsi_put32(p + 4, scsi_block_bytes(t->disk));
	return SCSI_GOOD;
}

enum scsi_verdict scsi_read_capacity_16(struct scsi_task *t)
{
	uint8_t *p;

	if (!pmi_ok(t->cdb[14], scsi_get64(t->cdb + 2)))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 32, scsi_get32(t->cdb + 10));
	scsi_put64(p, t->blocks - 1);
	scsi_put32(p + 8, scsi_block_bytes(t->disk));
	p[13] = t->disk->physical_log2;
	if (t->disk->unmap)
		p[14] = (uint8_t)(LBPME | (t->disk->reads_zero ? LBPRZ : 0));
	return SCSI_GOOD;
}
