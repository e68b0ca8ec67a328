/* SPDX-License-Identifier: BSD-2-Clause */
/* INQUIRY: standard data and the vital product data pages, a table.
 *
 * Page 00 is strictly ascending: Windows takes B0 to B2 for absent otherwise.
 * Sources: SPC-3 6.4 and 7.6, SBC-3 6.6; strings and the layout of the
 *   identifiers as Hyper-V presents its disks (OpenVMM scsidisk).
 */
#include <string.h>

#include "scsi.h"

#define STD_BYTES	 104u
#define VPD_HEADER_BYTES 4u

static const char vendor[9] = "Msft    ";
static const char product[17] = "Virtual Disk    ";
static const char dvd_product[17] = "Virtual DVD-ROM ";
static const char revision[5] = "1.0 ";

static uint8_t device_type(const struct storvsp_disk *d)
{
	return d->dvd ? 0x05 : 0x00;
}

static enum scsi_verdict standard(struct scsi_task *t, uint32_t alloc)
{
	uint8_t *p = scsi_reply(t, STD_BYTES, alloc);
	bool dvd = t->disk && t->disk->dvd;

	/* An absent LUN is a good answer with "nothing here, no type": after
	 * an error Linux would make a disk of the empty buffer.
	 */
	p[0] = t->disk ? device_type(t->disk) : 0x7F;
	p[1] = dvd ? 0x80 : 0; /* removable */
	p[2] = 0x05; /* SPC-3 */
	p[3] = 0x02; /* response data format */
	p[4] = STD_BYTES - 5;
	p[7] = 0x02; /* CmdQue */
	memcpy(p + 8, vendor, 8);
	memcpy(p + 16, dvd ? dvd_product : product, 16);
	memcpy(p + 32, revision, 4);
	return SCSI_GOOD;
}

/* Each fills the page's body and returns its length. */
static uint16_t vpd_pages(const struct scsi_task *t, uint8_t *body);

/* 80: the disk's id as 32 hexadecimal digits. */
static uint16_t vpd_serial(const struct scsi_task *t, uint8_t *body)
{
	static const char digit[17] = "0123456789abcdef";

	for (unsigned i = 0; i < 16; i++) {
		uint8_t b = t->disk->unique_id[i];

		body[2 * i] = (uint8_t)digit[b >> 4];
		body[2 * i + 1] = (uint8_t)digit[b & 15];
	}
	return 32;
}

/* 83: a T10 vendor id with the whole 16-byte id, and the NAA 6 name with
 * Microsoft's OUI 00-22-48 and the id's first and last six bytes.
 */
static uint16_t vpd_identification(const struct scsi_task *t, uint8_t *body)
{
	const uint8_t *id = t->disk->unique_id;
	uint8_t *naa = body + 4 + 24;

	body[0] = 0x01; /* binary */
	body[1] = 0x01; /* logical unit, T10 vendor id */
	body[3] = 24;
	memcpy(body + 4, vendor, 8);
	memcpy(body + 12, id, 16);

	naa[0] = 0x01; /* binary */
	naa[1] = 0x03; /* logical unit, NAA */
	naa[3] = 16;
	memcpy(naa + 4, "\x60\x02\x24\x80", 4);
	memcpy(naa + 8, id, 6);
	memcpy(naa + 14, id + 10, 6);
	return 4 + 24 + 4 + 16;
}

/* B0: block limits. The granularity says that 4 KiB is the natural unit: the
 * file's data is aligned to it.
 */
static uint16_t vpd_limits(const struct scsi_task *t, uint8_t *body)
{
	uint32_t unit = scsi_blocks_of(t, 4096);
	uint32_t most = SCSI_UNMAP_SECTORS_MAX >> t->disk->block_log2;

	body[4 - VPD_HEADER_BYTES] = 0x01; /* WSNZ */
	body[5 - VPD_HEADER_BYTES] =
		(uint8_t)scsi_blocks_of(t, SCSI_COMPARE_BYTES_MAX);
	scsi_put16(body + 6 - VPD_HEADER_BYTES, (uint16_t)unit);
	scsi_put32(body + 8 - VPD_HEADER_BYTES,
		   scsi_blocks_of(t, t->max_transfer_bytes));
	scsi_put32(body + 16 - VPD_HEADER_BYTES,
		   SCSI_PREFETCH_SECTORS_MAX >> t->disk->block_log2);
	scsi_put64(body + 36 - VPD_HEADER_BYTES, most);
	if (!t->disk->unmap)
		return 0x3C;
	scsi_put32(body + 20 - VPD_HEADER_BYTES, most);
	scsi_put32(body + 24 - VPD_HEADER_BYTES, SCSI_EXTENTS_MAX);
	scsi_put32(body + 28 - VPD_HEADER_BYTES, unit);
	scsi_put32(body + 32 - VPD_HEADER_BYTES, 1u << 31); /* from LBA 0 */
	return 0x3C;
}

/* B1: not a rotating medium. Absent, Linux would take it for one. */
static uint16_t vpd_characteristics(const struct scsi_task *t, uint8_t *body)
{
	(void)t;
	scsi_put16(body + 4 - VPD_HEADER_BYTES, 0x0001);
	return 0x3C;
}

/* B2: thin where unmapping is on; as READ CAPACITY(16) says, too. */
static uint16_t vpd_provisioning(const struct scsi_task *t, uint8_t *body)
{
	if (!t->disk->unmap)
		return 4;
	/* UNMAP, WRITE SAME (16) and (10) with UNMAP; LBPRZ */
	body[5 - VPD_HEADER_BYTES] =
		(uint8_t)(0xE0 | (t->disk->reads_zero ? 0x04 : 0));
	body[6 - VPD_HEADER_BYTES] = 0x02; /* thin */
	return 4;
}

static const struct vpd_page {
	uint8_t code;
	bool of_blocks; /* a DVD drive has it not */
	uint16_t (*fill)(const struct scsi_task *t, uint8_t *body);
} pages[] = {
	{0x00, false, vpd_pages},
	{0x80, false, vpd_serial},
	{0x83, false, vpd_identification},
	{0xB0, true, vpd_limits},
	{0xB1, true, vpd_characteristics},
	{0xB2, true, vpd_provisioning},
};

#define PAGE_COUNT (sizeof(pages) / sizeof(pages[0]))

static bool has_page(const struct scsi_task *t, const struct vpd_page *p)
{
	return !(t->disk->dvd && p->of_blocks);
}

static uint16_t vpd_pages(const struct scsi_task *t, uint8_t *body)
{
	uint16_t n = 0;

	for (unsigned i = 0; i < PAGE_COUNT; i++)
		if (has_page(t, &pages[i]))
			body[n++] = pages[i].code;
	return n;
}

static enum scsi_verdict vpd(struct scsi_task *t, uint8_t code, uint32_t alloc)
{
	for (unsigned i = 0; i < PAGE_COUNT; i++) {
		uint8_t *p;
		uint16_t n;

		if (pages[i].code != code || !has_page(t, &pages[i]))
			continue;
		p = scsi_reply(t, sizeof(t->reply), alloc);
		n = pages[i].fill(t, p + VPD_HEADER_BYTES);
		p[0] = device_type(t->disk);
		p[1] = code;
		scsi_put16(p + 2, n);
		t->reply_bytes = VPD_HEADER_BYTES + n;
		return SCSI_GOOD;
	}
	return SCSI_BAD_FIELD;
}

enum scsi_verdict scsi_inquiry(struct scsi_task *t)
{
	uint32_t alloc = scsi_get16(t->cdb + 3);

	if (t->cdb[1] & 0x02) /* command support data: gone since SPC-3 */
		return SCSI_BAD_FIELD;
	if (t->cdb[1] & 0x01)
		return t->disk ? vpd(t, t->cdb[2], alloc) : SCSI_BAD_FIELD;
	if (t->cdb[2] != 0)
		return SCSI_BAD_FIELD;
	return standard(t, alloc);
}
