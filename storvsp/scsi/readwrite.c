/* SPDX-License-Identifier: BSD-2-Clause */
/* READ, WRITE and VERIFY in all lengths, COMPARE AND WRITE, PRE-FETCH,
 * SYNCHRONIZE CACHE and START STOP UNIT: the commands that become disk requests.
 *
 * Order of the checks: fields, range, write protection, buffer. A transfer of
 * nothing is good and moves nothing; it is checked like any other.
 * Verifying reads what is there, through the host's cache unless the image was
 * opened past it; nothing is compared (BYTCHK).
 * Source: SBC-3 5.2, 5.7 to 5.11, 5.19, 5.23, 5.29 to 5.39.
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
/* COMPARE AND WRITE: WRPROTECT. */
#define COMPARE_FLAGS_REFUSED 0xE0
#define IMMED		     0x02 /* of PRE-FETCH */

/* Groups of opcodes: their upper three bits. */
enum { GROUP_6 = 0, GROUP_16 = 4, GROUP_12 = 5 };

struct blocks {
	uint64_t lba, count;
};

/* Which blocks a CDB names. Where they stand goes by its length, and that by
 * the group that its opcode belongs to (SPC-3 4.3.4). The form of 6 bytes has
 * 21 bits of address, and its count of 0 means 256.
 */
static struct blocks named(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case GROUP_6:
		return (struct blocks){scsi_get32(cdb) & 0x1FFFFF,
				       cdb[4] ? cdb[4] : 256};
	case GROUP_12:
		return (struct blocks){scsi_get32(cdb + 2),
				       scsi_get32(cdb + 6)};
	case GROUP_16:
		return (struct blocks){scsi_get64(cdb + 2),
				       scsi_get32(cdb + 10)};
	default: /* 10 bytes */
		return (struct blocks){scsi_get32(cdb + 2),
				       scsi_get16(cdb + 7)};
	}
}

static enum scsi_verdict transfer(struct scsi_task *t, enum vhd_op op, bool fua)
{
	struct blocks b = named(t->cdb);
	uint64_t bytes;

	if (!range_ok(b.lba, b.count, t->blocks))
		return SCSI_LBA_RANGE;
	if (op == VHD_OP_WRITE && t->disk->read_only)
		return SCSI_WRITE_PROTECTED;
	if (b.count == 0)
		return SCSI_GOOD;
	if (mul_ovf(b.count, scsi_block_bytes(t->disk), &bytes) ||
	    bytes > t->buffer_bytes || bytes > t->max_transfer_bytes)
		return SCSI_BAD_FIELD;
	t->io.op = op;
	t->io.fua = op == VHD_OP_WRITE &&
		    (fua || atomic_load(&t->disk->switches->cache_off));
	t->io.lba = scsi_sectors(t, b.lba);
	t->io.bytes = bytes;
	return SCSI_IO;
}

/* The form of 6 bytes has no flags. */
static enum scsi_verdict plain_transfer(struct scsi_task *t, enum vhd_op op)
{
	uint8_t flags = t->cdb[0] >> 5 == GROUP_6 ? 0 : t->cdb[1];

	if (flags & RW_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	return transfer(t, op, flags & RW_FLAG_FUA);
}

enum scsi_verdict scsi_read(struct scsi_task *t)
{
	return plain_transfer(t, VHD_OP_READ);
}

enum scsi_verdict scsi_write(struct scsi_task *t)
{
	return plain_transfer(t, VHD_OP_WRITE);
}

/* The buffer holds what must be there, then what is to be there. */
enum scsi_verdict scsi_compare_and_write(struct scsi_task *t)
{
	uint32_t block_bytes = scsi_block_bytes(t->disk);
	uint64_t lba = scsi_get64(t->cdb + 2);
	uint32_t bytes = t->cdb[13] * block_bytes; /* of a half */

	if (t->cdb[1] & COMPARE_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	if (!range_ok(lba, t->cdb[13], t->blocks))
		return SCSI_LBA_RANGE;
	if (t->disk->read_only)
		return SCSI_WRITE_PROTECTED;
	if (bytes == 0)
		return SCSI_GOOD;
	if (bytes > SCSI_COMPARE_BYTES_MAX || 2 * bytes > t->param_bytes)
		return SCSI_BAD_FIELD;
	t->io.op = VHD_OP_WRITE;
	t->io.compare = true;
	t->io.fua = t->cdb[1] & RW_FLAG_FUA ||
		    atomic_load(&t->disk->switches->cache_off);
	t->io.lba = scsi_sectors(t, lba);
	t->io.bytes = 2 * bytes;
	return SCSI_IO;
}

static void add_extent(struct scsi_task *t, struct blocks b)
{
	t->extent[t->extent_count++] = (struct scsi_extent){
		scsi_sectors(t, b.lba), scsi_sectors(t, b.count)};
}

/* Read a range that is there, to nowhere. */
static enum scsi_verdict look_at(struct scsi_task *t, struct blocks b)
{
	if (b.count == 0)
		return SCSI_GOOD;
	t->io.op = VHD_OP_READ;
	t->io.verify = true;
	add_extent(t, b);
	return SCSI_IO;
}

enum scsi_verdict scsi_verify(struct scsi_task *t)
{
	struct blocks b = named(t->cdb);

	if (t->cdb[1] & VERIFY_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	if (!range_ok(b.lba, b.count, t->blocks))
		return SCSI_LBA_RANGE;
	return look_at(t, b);
}

/* Verified is what is on the medium: the write has to be durable first. */
enum scsi_verdict scsi_write_verify(struct scsi_task *t)
{
	enum scsi_verdict v;

	if (t->cdb[1] & VERIFY_FLAGS_REFUSED)
		return SCSI_BAD_FIELD;
	v = transfer(t, VHD_OP_WRITE, true);
	if (v != SCSI_IO)
		return v;
	t->io.verify = true;
	add_extent(t, named(t->cdb));
	return SCSI_IO;
}

/* Into the host's cache, which is what serves later reads unless the image was
 * opened past it. Good rather than "condition met": how long it stays there is
 * the host's affair. With IMMED nothing is promised and nothing done. A count
 * of 0 is the rest of the disk, of which as much as the block limits tell.
 */
enum scsi_verdict scsi_pre_fetch(struct scsi_task *t)
{
	uint64_t most = SCSI_PREFETCH_SECTORS_MAX >> t->disk->block_log2;
	struct blocks b = named(t->cdb);

	if (!range_ok(b.lba, b.count, t->blocks))
		return SCSI_LBA_RANGE;
	if (b.count > most)
		return SCSI_BAD_FIELD;
	if (b.count == 0)
		b.count = t->blocks - b.lba < most ? t->blocks - b.lba : most;
	return t->cdb[1] & IMMED ? SCSI_GOOD : look_at(t, b);
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
enum scsi_verdict scsi_synchronize_cache(struct scsi_task *t)
{
	struct blocks b = named(t->cdb);

	if (!range_ok(b.lba, b.count, t->blocks))
		return SCSI_LBA_RANGE;
	return flush(t);
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
