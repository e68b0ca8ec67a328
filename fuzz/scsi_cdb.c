/* SPDX-License-Identifier: BSD-2-Clause */
/* One CDB on one address, with any buffer and direction: fast, and checked
 * against what must hold for every command. No rings; disks of no data, each
 * smaller than it is said to be.
 *
 * Input: shape, address (3 bytes), direction, claimed CDB length (6 bits; the
 * next is for blocks of 4 KiB, the last for DVD drives), buffer size (4 bytes), the CDB, then
 * parameters, zero where the input ends.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storvsp/scsi/attention.h"
#include "storvsp/scsi/dvd.h"
#include "tests/lib/memfile.h"
#include "vhd/image.h"

#define DISKS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

#define CLAIMED 0x3F
#define LARGE	0x40
#define DVD	0x80

static const uint64_t sizes[] = {1, 64, 0xFFFFFFFF, 1ull << 40};

static struct storvsp_switches switches[DISKS];

static struct vhd *image(unsigned i)
{
	static struct vhd *images[DISKS];

	if (!images[i]) {
		const struct vhd_create_opts o = {
			.format = VHD_FORMAT_DYNAMIC,
			.size_bytes = 1u << 20,
			.block_size_bytes = 64u << 10,
		};
		struct vhd_file f = memfile_file(memfile_create());

		check(vhd_create_file(&f, &o, &images[i], NULL) == 0, "create");
	}
	return images[i];
}

static void add_disks(struct storvsp_luns *luns, struct storvsp_disk *d,
		      uint8_t shape, uint8_t kind)
{
	bool dvd = kind & DVD;
	uint8_t log2 = dvd ? DVD_BLOCK_LOG2 : kind & LARGE ? 3 : 0;

	for (unsigned i = 0; i < (shape & 3) + 1u; i++) {
		d[i] = (struct storvsp_disk){
			.img = image(i),
			.switches = &switches[i],
			.block_log2 = log2,
			.dvd = dvd,
			.path = i == 3,
			.target = i == 2,
			.lun = i == 1 ? 254 : 0,
			.read_only = dvd || shape >> 4 & 1,
			.unmap = !dvd && shape >> 6 & 1,
			.reads_zero = shape >> 7 & 1,
		};
		atomic_store(&switches[i].sectors,
			     sizes[(shape >> 2 & 3) ^ i] << log2);
		storvsp_reserve_init(&switches[i].reserve,
				     &(struct storvsp_disk_opts){0});
		atomic_store(&switches[i].tray_open, dvd && shape >> 4 & 1);
		if (dvd && shape >> 6 & 1) { /* no disc */
			d[i].img = NULL;
			atomic_store(&switches[i].sectors, 0);
		}
		scsi_attention_clear(&switches[i]);
		if (shape >> 5 & 1)
			scsi_attention_raise(&switches[i], SCSI_UA_CAPACITY);
		memset(d[i].unique_id, shape, sizeof(d[i].unique_id));
		check(storvsp_luns_add(luns, &d[i]) == 0, "add");
	}
}

static uint64_t disk_sectors(const struct scsi_task *t)
{
	return atomic_load(&t->disk->switches->sectors);
}

/* Whole blocks. */
static bool aligned(const struct scsi_task *t, uint64_t sectors)
{
	return (sectors & ((1u << t->disk->block_log2) - 1)) == 0;
}

static void check_extents(const struct scsi_task *t)
{
	uint64_t sum = 0;

	check(t->io.bytes <= t->buffer_bytes, "more than the buffer");
	check(t->extent_count <= SCSI_EXTENTS_MAX, "extents");
	for (unsigned i = 0; i < t->extent_count; i++) {
		const struct scsi_extent *e = &t->extent[i];

		check(e->sectors > 0, "an empty extent");
		check(e->sectors <= disk_sectors(t) &&
			      e->lba <= disk_sectors(t) - e->sectors,
		      "outside the disk");
		check(aligned(t, e->lba) && aligned(t, e->sectors), "a part");
		sum += e->sectors;
	}
	check(sum <= SCSI_UNMAP_SECTORS_MAX || t->io.verify,
	      "more than was said");
	check(t->io.op == VHD_OP_ZERO || t->io.op == VHD_OP_WRITE ||
		      t->io.verify,
	      "op");
	check(!t->io.unmap || t->disk->unmap, "unmap");
}

/* A disk operation stays inside the disk and inside the buffer. */
static void check_io(const struct scsi_task *t)
{
	const struct scsi_io *io = &t->io;
	uint64_t sectors =
		io->bytes / (io->compare ? 2 : 1) / VHD_SECTOR_BYTES;

	check(t->disk, "I/O without a disk");
	if (t->extent_count) {
		check(!t->disk->read_only || t->io.op == VHD_OP_READ,
		      "write protection");
		check_extents(t);
		return;
	}
	check(io->op == VHD_OP_READ || !t->disk->read_only, "write protection");
	if (io->op == VHD_OP_FLUSH) {
		check(io->bytes == 0 && !io->fua, "flush with data");
		return;
	}
	check(io->bytes > 0 && io->bytes % VHD_SECTOR_BYTES == 0, "length");
	check(aligned(t, io->lba) && aligned(t, sectors), "a part");
	check(io->bytes <= t->buffer_bytes, "more than the buffer");
	check(io->bytes <= t->max_transfer_bytes, "more than a transfer");
	check(sectors <= disk_sectors(t) &&
		      io->lba <= disk_sectors(t) - sectors,
	      "outside the disk");
	check(t->data_in == (io->op == VHD_OP_READ ? STORVSP_DATA_IN
						   : STORVSP_DATA_OUT),
	      "direction");
	check(!io->fua || io->op == VHD_OP_WRITE, "FUA");
}

static void check_reply(const struct scsi_task *t)
{
	uint32_t sent = scsi_reply_sent(t);

	check(t->reply_bytes <= sizeof(t->reply), "reply too long");
	check(sent <= t->reply_bytes && sent <= t->alloc_bytes &&
		      sent <= t->buffer_bytes,
	      "sent too much");
	check(sent == 0 || t->data_in == STORVSP_DATA_IN, "data the wrong way");
}

static void check_answer(enum scsi_verdict v, bool v1)
{
	const struct scsi_end end = {.verdict = v};
	struct storvsp_packet_wire p = {0};

	scsi_answer(&p, &end, v1);
	check(p.u.request.srb_status != 0, "an answer that is pending");
	check((v == SCSI_GOOD) == (le32_get(p.status) == 0), "status");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scsi_task t;
	struct storvsp_disk d[DISKS];
	struct storvsp_luns luns = {0};
	uint8_t in[26] = {0};
	enum scsi_verdict v;

	memcpy(in, data, size < sizeof(in) ? size : sizeof(in));
	add_disks(&luns, d, in[0], in[5]);
	t.luns = &luns;
	t.path = in[1];
	t.target = in[2];
	t.lun = in[3];
	t.disk = storvsp_luns_find(&luns, in[1], in[2], in[3]);
	t.data_in = in[4];
	t.buffer_bytes = scsi_get32(in + 6);
	t.max_transfer_bytes = 2u << 20;
	memcpy(t.cdb, in + 10, sizeof(t.cdb));
	memset(t.param, 0, sizeof(t.param));
	if (size > sizeof(in))
		memcpy(t.param, data + sizeof(in),
		       size - sizeof(in) < sizeof(t.param) ? size - sizeof(in)
							   : sizeof(t.param));
	t.param_bytes = scsi_param_wanted(&t);
	v = scsi_run(&t, in[5] & CLAIMED);
	if (v >= SCSI_UA_FIRST && v <= SCSI_UA_LAST) {
		check(t.disk && v == SCSI_UA_CAPACITY, "an attention");
		check_answer(v, in[0] & 0x20);
		v = scsi_run(&t, in[5] & CLAIMED);
		check(v < SCSI_UA_FIRST || v > SCSI_UA_LAST, "told twice");
	}
	check(v < SCSI_VERDICT_COUNT, "verdict");
	check((v == SCSI_NO_LUN) <= !t.disk, "no LUN where one is");
	if (v == SCSI_IO)
		check_io(&t);
	else
		check_answer(v, in[0] & 0x20);
	if (v == SCSI_GOOD)
		check_reply(&t);
	return 0;
}
