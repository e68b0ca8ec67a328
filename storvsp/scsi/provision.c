/* SPDX-License-Identifier: BSD-2-Clause */
/* Space that a guest gives back: UNMAP, WRITE SAME, GET LBA STATUS.
 *
 * A disk whose layers are all its own reads unmapped sectors as zero and says
 * so (LBPRZ); over a parent they read as before where only a written zero
 * would hide the parent's. All extents of a list are judged before the first
 * one is touched.
 * Source: SBC-3 5.6 (GET LBA STATUS), 5.28 (UNMAP), 5.42 (WRITE SAME).
 */
#include <assert.h>
#include <string.h>

#include "scsi.h"
#include "vhd/checked.h"

#define UNMAP_ANCHOR  0x01
#define SAME_REFUSED  0xF6 /* WRPROTECT, ANCHOR, and two obsolete bits */
#define SAME_UNMAP    0x08
#define SAME_NDOB     0x01
#define STATUS_MAPPED 0
#define STATUS_NONE   1
/* Runs of the map that one GET LBA STATUS looks at. */
#define STATUS_RUNS_MAX 1024u

static enum scsi_verdict may_change(const struct scsi_task *t)
{
	return t->disk->read_only ? SCSI_WRITE_PROTECTED : SCSI_IO;
}

/* -------------------------------------------------------------- UNMAP -- */

static enum scsi_verdict take_extents(struct scsi_task *t, const uint8_t *at,
				      unsigned count)
{
	uint64_t sum = 0;

	assert(count <= SCSI_EXTENTS_MAX); /* by the length of the list */
	for (unsigned i = 0; i < count; i++, at += SCSI_EXTENT_BYTES) {
		uint64_t lba = scsi_get64(at), blocks = scsi_get32(at + 8);

		if (!range_ok(lba, blocks, t->blocks))
			return SCSI_LBA_RANGE;
		sum += scsi_sectors(t, blocks);
		if (blocks)
			t->extent[t->extent_count++] = (struct scsi_extent){
				scsi_sectors(t, lba), scsi_sectors(t, blocks)};
	}
	return sum > SCSI_UNMAP_SECTORS_MAX ? SCSI_BAD_PARAM : SCSI_GOOD;
}

/* Of disks that take space back: scsi_command_find knows. */
enum scsi_verdict scsi_unmap(struct scsi_task *t)
{
	uint32_t list = scsi_get16(t->cdb + 7), bytes;
	enum scsi_verdict v;

	if (t->cdb[1] & UNMAP_ANCHOR)
		return SCSI_BAD_FIELD;
	if (list == 0)
		return SCSI_GOOD;
	if (list > t->buffer_bytes)
		return SCSI_BAD_FIELD;
	if (list < SCSI_UNMAP_HEADER_BYTES)
		return SCSI_PARAM_LENGTH;
	if (list > SCSI_UNMAP_BYTES_MAX) /* more extents than we said */
		return SCSI_BAD_PARAM;
	bytes = scsi_get16(t->param + 2);
	if (bytes > list - SCSI_UNMAP_HEADER_BYTES)
		return SCSI_PARAM_LENGTH;
	v = take_extents(t, t->param + SCSI_UNMAP_HEADER_BYTES,
			 bytes / SCSI_EXTENT_BYTES);
	if (v != SCSI_GOOD || may_change(t) != SCSI_IO)
		return v != SCSI_GOOD ? v : may_change(t);
	t->io.op = VHD_OP_ZERO;
	t->io.unmap = !t->disk->reads_zero;
	t->io.bytes = list;
	return t->extent_count ? SCSI_IO : SCSI_GOOD;
}

/* --------------------------------------------------------- WRITE SAME -- */

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* A count of 0 would mean the rest of the disk; the block limits say that it
 * is not taken.
 */
static enum scsi_verdict same(struct scsi_task *t, uint64_t lba,
			      uint32_t blocks, bool no_data)
{
	uint32_t block_bytes = scsi_block_bytes(t->disk);
	uint64_t sectors = scsi_sectors(t, blocks);

	if (t->cdb[1] & SAME_REFUSED ||
	    (t->cdb[1] & SAME_UNMAP && !t->disk->unmap))
		return SCSI_BAD_FIELD;
	if (!range_ok(lba, blocks, t->blocks))
		return SCSI_LBA_RANGE;
	if (sectors == 0 || sectors > SCSI_UNMAP_SECTORS_MAX)
		return SCSI_BAD_FIELD;
	if (!no_data && t->param_bytes < block_bytes)
		return SCSI_BAD_FIELD;
	t->extent[t->extent_count++] =
		(struct scsi_extent){scsi_sectors(t, lba), sectors};
	if (no_data)
		memset(t->param, 0, block_bytes);
	/* a hole is durable only with a flush: with the cache off, zeros */
	t->io.fua = atomic_load(&t->disk->switches->cache_off);
	t->io.op = all_zero(t->param, block_bytes) && !t->io.fua
			   ? VHD_OP_ZERO
			   : VHD_OP_WRITE;
	t->io.bytes = no_data ? 0 : block_bytes;
	return may_change(t);
}

enum scsi_verdict scsi_write_same_10(struct scsi_task *t)
{
	if (t->cdb[1] & SAME_NDOB)
		return SCSI_BAD_FIELD;
	return same(t, scsi_get32(t->cdb + 2), scsi_get16(t->cdb + 7), false);
}

enum scsi_verdict scsi_write_same_16(struct scsi_task *t)
{
	return same(t, scsi_get64(t->cdb + 2), scsi_get32(t->cdb + 10),
		    t->cdb[1] & SAME_NDOB);
}

/* --------------------------------------------------------- LBA STATUS -- */

/* The status of the sectors from `lba` on, and how many share it. */
static int run_at(const struct scsi_task *t, uint64_t lba, uint8_t *status,
		  uint64_t *sectors)
{
	uint64_t end = scsi_sectors(t, t->blocks);
	struct vhd_run run;
	unsigned layer;
	int rc = vhd_map_chain(t->disk->img, lba, end - lba, &run, &layer,
			       NULL);

	*sectors = 0;
	if (rc)
		return rc;
	*status = run.kind == VHD_RUN_FILE ? STATUS_MAPPED : STATUS_NONE;
	*sectors = run.sectors;
	return 0;
}

/* The same in blocks. One of which sectors differ counts as mapped, for some
 * of it is.
 */
static int status_at(const struct scsi_task *t, uint64_t lba, uint8_t *status,
		     uint64_t *blocks)
{
	uint64_t at = scsi_sectors(t, lba), block = scsi_sectors(t, 1);
	uint64_t n, done;
	int rc = run_at(t, at, status, &n);

	if (rc || n >= block) {
		*blocks = n / block;
		return rc;
	}
	*blocks = 1;
	for (done = n; done < block; done += n) {
		uint8_t more;

		rc = run_at(t, at + done, &more, &n);
		if (rc)
			return rc;
		if (more == STATUS_MAPPED)
			*status = STATUS_MAPPED;
	}
	return 0;
}

/* May read bitmaps, each once in the life of the image. */
enum scsi_verdict scsi_get_lba_status(struct scsi_task *t)
{
	uint32_t alloc = scsi_get32(t->cdb + 10);
	uint64_t lba = scsi_get64(t->cdb + 2), n;
	uint8_t *p, *d = NULL, status;
	uint32_t used = 8;

	if (!range_ok(lba, 1, t->blocks))
		return SCSI_LBA_RANGE;
	p = scsi_reply(t, SCSI_REPLY_BYTES_MAX, alloc);
	for (unsigned i = 0; i < STATUS_RUNS_MAX && lba < t->blocks;
	     i++, lba += n) {
		if (status_at(t, lba, &status, &n))
			return SCSI_READ_ERROR;
		if (d && d[12] == status && scsi_get32(d + 8) + n <= UINT32_MAX) {
			scsi_put32(d + 8, (uint32_t)(scsi_get32(d + 8) + n));
			continue;
		}
		if (used + 16 > SCSI_REPLY_BYTES_MAX ||
		    (d && used + 16 > alloc))
			break;
		if (n > UINT32_MAX)
			n = UINT32_MAX;
		d = p + used;
		used += 16;
		scsi_put64(d, lba);
		scsi_put32(d + 8, (uint32_t)n);
		d[12] = status;
	}
	scsi_put32(p, used - 4);
	t->reply_bytes = used;
	return SCSI_GOOD;
}
