/* SPDX-License-Identifier: BSD-2-Clause */
/* READ CAPACITY (10) and (16). Logical and physical sectors are 512 bytes, as
 * Hyper-V says for VHD.
 * Source: SBC-3 5.12 and 5.13.
 */
#include "scsi.h"

#define SERVICE_READ_CAPACITY_16 0x10
#define SERVICE_GET_LBA_STATUS	 0x12
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
	uint64_t last = t->sectors - 1;
	uint8_t *p;

	if (!pmi_ok(t->cdb[8], scsi_get32(t->cdb + 2)))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 8, 8);
	scsi_put32(p, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
	scsi_put32(p + 4, VHD_SECTOR_BYTES);
	return SCSI_GOOD;
}

static enum scsi_verdict read_capacity_16(struct scsi_task *t)
{
	uint8_t *p;

	if (!pmi_ok(t->cdb[14], scsi_get64(t->cdb + 2)))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 32, scsi_get32(t->cdb + 10));
	scsi_put64(p, t->sectors - 1);
	scsi_put32(p + 8, VHD_SECTOR_BYTES);
	if (t->disk->unmap)
		p[14] = (uint8_t)(LBPME | (t->disk->reads_zero ? LBPRZ : 0));
	return SCSI_GOOD;
}

enum scsi_verdict scsi_service_action_in_16(struct scsi_task *t)
{
	switch (t->cdb[1] & 0x1F) {
	case SERVICE_READ_CAPACITY_16:
		return read_capacity_16(t);
	case SERVICE_GET_LBA_STATUS:
		return scsi_get_lba_status(t);
	default:
		return SCSI_BAD_FIELD;
	}
}
