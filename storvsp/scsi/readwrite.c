/* SPDX-License-Identifier: BSD-2-Clause */
/* READ, WRITE and VERIFY in all lengths, PRE-FETCH, SYNCHRONIZE CACHE and START
 * STOP UNIT: the commands that become disk requests.
 *
 * Order of the checks: fields, range, write protection, buffer. A transfer of
 * nothing is good and moves nothing; it is checked like any other.
 * Verifying reads what is there, through the host's cache unless the image was
 * opened past it; nothing is compared (BYTCHK).
 * Source: SBC-3 5.7 to 5.11, 5.19, 5.23, 5.29 to 5.39.
 */
#include "scsi.h"
#include "vhd/checked.h"

/* Byte 1 of the long forms: RDPROTECT/WRPROTECT and RELADR, none of which
 * this disk has; DPO is advice; FUA_NV is obsolete and covered by FUA.
 */
#define RW_FLAGS_REFUSED 0xE1
#define RW_FLAG_FUA	 0x08
/* VERIFY and WRITE AND VERIFY: also BYTCHK; bits 0 and 3 are reserved. */
#define VERIFY_FLAGS_REFUSED 0xEF
#define IMMED		     0x02 /* of PRE-FETCH */

static enum scsi_verdict transfer(struct scsi_task *t, enum vhd_op op,
				  uint64_t lba, uint64_t blocks, bool fua)
{
	uint64_t bytes;

	if (!range_ok(lba, blocks, t->blocks))
		return SCSI_LBA_RANGE;
	if (op == VHD_OP_WRITE && t->disk->read_only)
		return SCSI_WRITE_PROTECTED;
	if (blocks == 0)
		return SCSI_GOOD;
	if (mul_ovf(blocks, scsi_block_bytes(t->disk), &bytes) ||
	    bytes > t->buffer_bytes || bytes > t->max_transfer_bytes)
		return SCSI_BAD_FIELD;
	t->io.op = op;
	t->io.fua = op == VHD_OP_WRITE &&
		    (fua || atomic_load(&t->disk->switches->cache_off));
	t->io.lba = scsi_sectors(t, lba);
	t->io.bytes = bytes;
	return SCSI_IO;
}

/* The 6-byte form: 21 bits of address; a count of 0 means 256. */
static enum scsi_verdict transfer_6(struct scsi_task *t, enum vhd_op op)
{
	uint64_t lba = scsi_get32(t->cdb) & 0x1FFFFF;
	uint64_t blocks = t->cdb[4] ? t->cdb[4] : 256;

	return transfer(t, op, lba, blocks, false);
}

static enum scsi_verdict transfer_long(struct scsi_task *t, enum vhd_op op,
				       uint64_t lba, uint64_t blocks)
{
	if (t->cdb[1] & RW_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	return transfer(t, op, lba, blocks, t->cdb[1] & RW_FLAG_FUA);
}

static enum scsi_verdict transfer_10(struct scsi_task *t, enum vhd_op op)
{
	return transfer_long(t, op, scsi_get32(t->cdb + 2),
			     scsi_get16(t->cdb + 7));
}

static enum scsi_verdict transfer_12(struct scsi_task *t, enum vhd_op op)
{
	return transfer_long(t, op, scsi_get32(t->cdb + 2),
			     scsi_get32(t->cdb + 6));
}

static enum scsi_verdict transfer_16(struct scsi_task *t, enum vhd_op op)
{
	return transfer_long(t, op, scsi_get64(t->cdb + 2),
			     scsi_get32(t->cdb + 10));
}

enum scsi_verdict scsi_read_6(struct scsi_task *t)
{
	return transfer_6(t, VHD_OP_READ);
}

enum scsi_verdict scsi_read_10(struct scsi_task *t)
{
	return transfer_10(t, VHD_OP_READ);
}

enum scsi_verdict scsi_read_12(struct scsi_task *t)
{
	return transfer_12(t, VHD_OP_READ);
}

enum scsi_verdict scsi_read_16(struct scsi_task *t)
{
	return transfer_16(t, VHD_OP_READ);
}

enum scsi_verdict scsi_write_6(struct scsi_task *t)
{
	return transfer_6(t, VHD_OP_WRITE);
}

enum scsi_verdict scsi_write_10(struct scsi_task *t)
{
	return transfer_10(t, VHD_OP_WRITE);
}

enum scsi_verdict scsi_write_12(struct scsi_task *t)
{
	return transfer_12(t, VHD_OP_WRITE);
}

enum scsi_verdict scsi_write_16(struct scsi_task *t)
{
	return transfer_16(t, VHD_OP_WRITE);
}

static void add_extent(struct scsi_task *t, uint64_t lba, uint64_t blocks)
{
	t->extent[t->extent_count++] = (struct scsi_extent){
		scsi_sectors(t, lba), scsi_sectors(t, blocks)};
}

/* Read a range that is there, to nowhere. */
static enum scsi_verdict look_at(struct scsi_task *t, uint64_t lba,
				 uint64_t blocks)
{
	if (blocks == 0)
		return SCSI_GOOD;
	t->io.op = VHD_OP_READ;
	t->io.verify = true;
	add_extent(t, lba, blocks);
	return SCSI_IO;
}

static enum scsi_verdict verify(struct scsi_task *t, uint64_t lba,
				uint64_t blocks)
{
	if (t->cdb[1] & VERIFY_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	if (!range_ok(lba, blocks, t->blocks))
		return SCSI_LBA_RANGE;
	return look_at(t, lba, blocks);
}

enum scsi_verdict scsi_verify_10(struct scsi_task *t)
{
	return verify(t, scsi_get32(t->cdb + 2), scsi_get16(t->cdb + 7));
}

enum scsi_verdict scsi_verify_12(struct scsi_task *t)
{
	return verify(t, scsi_get32(t->cdb + 2), scsi_get32(t->cdb + 6));
}

enum scsi_verdict scsi_verify_16(struct scsi_task *t)
{
	return verify(t, scsi_get64(t->cdb + 2), scsi_get32(t->cdb + 10));
}

/* Verified is what is on the medium: the write has to be durable first. */
static enum scsi_verdict write_verify(struct scsi_task *t, uint64_t lba,
				      uint64_t blocks)
{
	enum scsi_verdict v;

	if (t->cdb[1] & VERIFY_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	v = transfer(t, VHD_OP_WRITE, lba, blocks, true);
	if (v != SCSI_IO)
		return v;
	t->io.verify = true;
	add_extent(t, lba, blocks);
	return SCSI_IO;
}

enum scsi_verdict scsi_write_verify_10(struct scsi_task *t)
{
	return write_verify(t, scsi_get32(t->cdb + 2), scsi_get16(t->cdb + 7));
}

enum scsi_verdict scsi_write_verify_12(struct scsi_task *t)
{
	return write_verify(t, scsi_get32(t->cdb + 2), scsi_get32(t->cdb + 6));
}

enum scsi_verdict scsi_write_verify_16(struct scsi_task *t)
{
	return write_verify(t, scsi_get64(t->cdb + 2),
			    scsi_get32(t->cdb + 10));
}

/* Into the host's cache, which is what serves later reads unless the image was
 * opened past it. Good rather than "condition met": how long it stays there is
 * the host's affair. With IMMED nothing is promised and nothing done. A count
 * of 0 is the rest of the disk, of which as much as the block limits tell.
 */
static enum scsi_verdict pre_fetch(struct scsi_task *t, uint64_t lba,
				   uint64_t blocks)
{
	uint64_t most = SCSI_PREFETCH_SECTORS_MAX >> t->disk->block_log2;

	if (!range_ok(lba, blocks, t->blocks))
		return SCSI_LBA_RANGE;
	if (blocks > most)
		return SCSI_BAD_FIELD;
	if (blocks == 0)
		blocks = t->blocks - lba < most ? t->blocks - lba : most;
	return t->cdb[1] & IMMED ? SCSI_GOOD : look_at(t, lba, blocks);
}

enum scsi_verdict scsi_pre_fetch_10(struct scsi_task *t)
{
	return pre_fetch(t, scsi_get32(t->cdb + 2), scsi_get16(t->cdb + 7));
}

enum scsi_verdict scsi_pre_fetch_16(struct scsi_task *t)
{
	return pre_fetch(t, scsi_get64(t->cdb + 2), scsi_get32(t->cdb + 10));
}

/* Nothing has to move; the place must be there. */
enum scsi_verdict scsi_seek(struct scsi_task *t)
{
	return range_ok(scsi_get32(t->cdb + 2), 1, t->blocks) ? SCSI_GOOD
							      : SCSI_LBA_RANGE;
}

/* A read-only disk has nothing that could be flushed. */
static enum scsi_verdict flush(struct scsi_task *t)
{
	if (t->disk->read_only)
		return SCSI_GOOD;
	t->io.op = VHD_OP_FLUSH;
	return SCSI_IO;
}

/* The whole cache whatever range is named, which the standard allows; IMMED
 * may be answered late.
 */
static enum scsi_verdict synchronize(struct scsi_task *t, uint64_t lba,
				     uint64_t blocks)
{
	if (!range_ok(lba, blocks, t->blocks))
		return SCSI_LBA_RANGE;
	return flush(t);
}

enum scsi_verdict scsi_synchronize_cache_10(struct scsi_task *t)
{
	return synchronize(t, scsi_get32(t->cdb + 2), scsi_get16(t->cdb + 7));
}

enum scsi_verdict scsi_synchronize_cache_16(struct scsi_task *t)
{
	return synchronize(t, scsi_get64(t->cdb + 2), scsi_get32(t->cdb + 10));
}

/* Stopping flushes; the disk stays ready. Nothing can be ejected, and there
 * are no power conditions.
 */
enum scsi_verdict scsi_start_stop_unit(struct scsi_task *t)
{
	if (t->cdb[4] & 0xF2)
		return SCSI_BAD_FIELD;
	return t->cdb[4] & 0x01 ? SCSI_GOOD : flush(t);
}
