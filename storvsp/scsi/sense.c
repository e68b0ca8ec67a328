/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest is told: verdict -> SRB status, SCSI status and sense, and
 * the library's errors -> verdict. Two tables; nothing else builds sense.
 *
 * Rules that suit Linux, Windows and FreeBSD alike: success is good + 01 with
 * the bytes moved and never carries sense; every failure of a command is
 * CHECK CONDITION + 84 (86 where the request itself is wrong, 82 for aborted)
 * with sense and length 0; a missing LUN is SRB status 20 and nothing else;
 * sense key NO SENSE never goes with a failure (Linux would repeat it); a
 * reservation conflict is SCSI status 18 without sense.
 * Sense has the fixed format unless the guest asks for descriptors, which hold
 * 64 bits of an address.
 * Sources: SPC-3 4.5 (sense data); Linux storvsc_drv.c, sd.c.
 */
#include <errno.h>
#include <string.h>

#include "attention.h"

#define SAM_GOOD  0x00
#define SAM_CHECK 0x02
#define SAM_CONFLICT 0x18
#define SAM_FULL  0x28

enum sense_key {
	KEY_NONE = 0x0,
	KEY_NOT_READY = 0x2,
	KEY_MEDIUM = 0x3,
	KEY_HARDWARE = 0x4,
	KEY_ILLEGAL = 0x5,
	KEY_ATTENTION = 0x6,
	KEY_PROTECT = 0x7,
	KEY_ABORTED = 0xB,
	KEY_MISCOMPARE = 0xE,
};

#define SENSED STORVSP_SRB_AUTOSENSE

static const struct answer {
	uint8_t srb, scsi, key, asc, ascq;
} answers[SCSI_VERDICT_COUNT] = {
	[SCSI_GOOD] = {STORVSP_SRB_SUCCESS, SAM_GOOD, KEY_NONE, 0, 0},
	[SCSI_NO_LUN] = {STORVSP_SRB_INVALID_LUN, SAM_GOOD, KEY_NONE, 0, 0},
	[SCSI_BAD_OPCODE] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			     KEY_ILLEGAL, 0x20, 0x00},
	[SCSI_BAD_FIELD] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			    KEY_ILLEGAL, 0x24, 0x00},
	[SCSI_BAD_PARAM] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			    KEY_ILLEGAL, 0x26, 0x00},
	[SCSI_PARAM_LENGTH] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			       KEY_ILLEGAL, 0x1A, 0x00},
	[SCSI_NO_SAVED_PAGES] = {STORVSP_SRB_INVALID_REQUEST | SENSED,
				 SAM_CHECK, KEY_ILLEGAL, 0x39, 0x00},
	[SCSI_BAD_RELEASE] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			      KEY_ILLEGAL, 0x26, 0x04},
	/* ERROR without sense would be DID_ERROR to Linux' SG_IO, which tells
	 * sg_persist nothing; BUSY it leaves to the SCSI status.
	 */
	[SCSI_RESERVED] = {STORVSP_SRB_BUSY, SAM_CONFLICT, KEY_NONE, 0, 0},
	[SCSI_LBA_RANGE] = {STORVSP_SRB_INVALID_REQUEST | SENSED, SAM_CHECK,
			    KEY_ILLEGAL, 0x21, 0x00},
	[SCSI_WRITE_PROTECTED] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
				  KEY_PROTECT, 0x27, 0x00},
	/* SPACE ALLOCATION FAILED WRITE PROTECT: ENOSPC for Linux' file
	 * systems, "resources exhausted" for Windows
	 */
	[SCSI_NO_SPACE] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_PROTECT,
			   0x27, 0x07},
	[SCSI_MISCOMPARE] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
			     KEY_MISCOMPARE, 0x1D, 0x00},
	[SCSI_NO_DISC] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_NOT_READY,
			  0x3A, 0x01},
	[SCSI_NO_DISC_TRAY_OPEN] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
				    KEY_NOT_READY, 0x3A, 0x02},
	[SCSI_TRAY_LOCKED] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
			      KEY_ILLEGAL, 0x53, 0x02},
	[SCSI_READ_ERROR] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_MEDIUM,
			     0x11, 0x00},
	[SCSI_WRITE_ERROR] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_MEDIUM,
			      0x0C, 0x00},
	/* INTERNAL TARGET FAILURE: not repeated by Linux, and must not be */
	[SCSI_TARGET_FAILURE] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
				 KEY_HARDWARE, 0x44, 0x00},
	[SCSI_RESOURCES] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_ABORTED,
			    0x55, 0x03},
	/* BUSY beside it, so that nobody takes it for a success; Linux looks
	 * at the SCSI status and lowers its depth
	 */
	[SCSI_TASK_SET_FULL] = {STORVSP_SRB_BUSY, SAM_FULL, KEY_NONE, 0, 0},
	[SCSI_ABORTED] = {STORVSP_SRB_ABORTED | SENSED, SAM_CHECK, KEY_ABORTED,
			  0x00, 0x00},
	[SCSI_UA_RESET] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_ATTENTION,
			   0x29, 0x00},
	[SCSI_UA_MEDIUM] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
			    KEY_ATTENTION, 0x28, 0x00},
	[SCSI_UA_RESERVATIONS_PREEMPTED] = {STORVSP_SRB_ERROR | SENSED,
					    SAM_CHECK, KEY_ATTENTION, 0x2A,
					    0x03},
	[SCSI_UA_MODE] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK, KEY_ATTENTION,
			  0x2A, 0x01},
	/* Linux repeats the command and reads the capacity again */
	[SCSI_UA_CAPACITY] = {STORVSP_SRB_ERROR | SENSED, SAM_CHECK,
			      KEY_ATTENTION, 0x2A, 0x09},
};

/* First row that fits wins. result 0 and why COUNT fit all. */
static const struct cause {
	uint8_t ops; /* bit per enum vhd_op */
	int result;
	enum vhd_why why;
	enum scsi_verdict verdict;
} causes[] = {
#define ANY	0xFF
#define ON(op)	(1u << (op))
#define WHY_ANY VHD_WHY_COUNT
	{ANY, 0, VHD_WHY_CANCELLED, SCSI_ABORTED},
	{ANY, -ECANCELED, WHY_ANY, SCSI_ABORTED},
	{ANY, 0, VHD_WHY_POISONED, SCSI_TARGET_FAILURE},
	{ANY, 0, VHD_WHY_RANGE, SCSI_LBA_RANGE},
	{ANY, 0, VHD_WHY_READ_ONLY, SCSI_WRITE_PROTECTED},
	{ANY, -EROFS, WHY_ANY, SCSI_WRITE_PROTECTED},
	{ANY, 0, VHD_WHY_NO_SPACE, SCSI_NO_SPACE},
	{ANY, -ENOSPC, WHY_ANY, SCSI_NO_SPACE},
	{ANY, -EDQUOT, WHY_ANY, SCSI_NO_SPACE},
	{ANY, -EFBIG, WHY_ANY, SCSI_NO_SPACE},
	{ANY, -EFAULT, WHY_ANY, SCSI_BAD_FIELD},
	{ANY, -ENOMEM, WHY_ANY, SCSI_RESOURCES},
	{ANY, -EAGAIN, WHY_ANY, SCSI_RESOURCES},
	{ANY, 0, VHD_WHY_ARGUMENT, SCSI_TARGET_FAILURE},
	{ON(VHD_OP_READ), 0, WHY_ANY, SCSI_READ_ERROR},
	{ANY, 0, WHY_ANY, SCSI_WRITE_ERROR},
#undef ANY
#undef ON
#undef WHY_ANY
};

enum scsi_verdict scsi_verdict_from_vhd(enum vhd_op op, int result,
					enum vhd_why why)
{
	const struct cause *c = causes;

	if (result == 0)
		return SCSI_GOOD;
	/* the last row fits everything */
	while (!(c->ops & 1u << op) || (c->result && c->result != result) ||
	       (c->why != VHD_WHY_COUNT && c->why != why))
		c++;
	return c->verdict;
}

/* The SRB statuses that have a packet status of their own. */
static const struct {
	uint8_t srb;
	uint32_t status;
} statuses[] = {
	{STORVSP_SRB_SUCCESS, STORVSP_STATUS_SUCCESS},
	{STORVSP_SRB_DATA_OVERRUN, STORVSP_STATUS_BUFFER_OVERFLOW},
	{STORVSP_SRB_BUSY, STORVSP_STATUS_DEVICE_BUSY},
	{STORVSP_SRB_FLUSHED, STORVSP_STATUS_UNSUCCESSFUL},
	{STORVSP_SRB_BAD_FUNCTION, STORVSP_STATUS_INVALID_REQUEST},
	{STORVSP_SRB_BAD_LENGTH, STORVSP_STATUS_INVALID_REQUEST},
	{STORVSP_SRB_SELECTION_TIMEOUT, STORVSP_STATUS_NOT_CONNECTED},
	{STORVSP_SRB_TIMEOUT, STORVSP_STATUS_TIMEOUT},
	{STORVSP_SRB_COMMAND_TIMEOUT, STORVSP_STATUS_TIMEOUT},
	{STORVSP_SRB_INVALID_LUN, STORVSP_STATUS_NO_SUCH_DEVICE},
	{STORVSP_SRB_INVALID_TARGET, STORVSP_STATUS_NO_SUCH_DEVICE},
	{STORVSP_SRB_NO_DEVICE, STORVSP_STATUS_NO_SUCH_DEVICE},
	{STORVSP_SRB_NO_HBA, STORVSP_STATUS_NO_SUCH_DEVICE},
	{STORVSP_SRB_ABORTED, STORVSP_STATUS_CANCELLED},
};

uint32_t scsi_ntstatus(uint8_t srb_status)
{
	uint8_t srb = srb_status & STORVSP_SRB_STATUS_MASK;

	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].srb == srb)
			return statuses[i].status;
	return STORVSP_STATUS_IO_ERROR;
}

/* What the INFORMATION field says, if anything. Of a write that failed
 * nothing: Linux would take the sectors before it for written.
 */
static bool information(const struct scsi_end *end, uint64_t *out)
{
	if (end->verdict == SCSI_MISCOMPARE) {
		*out = end->miscompare_at;
		return true;
	}
	*out = end->bad_lba;
	return end->verdict == SCSI_READ_ERROR && end->bad_lba_known;
}

static uint32_t fixed_format(uint8_t *out, const struct scsi_end *end)
{
	const struct answer *a = &answers[end->verdict];
	uint64_t info;

	memset(out, 0, SCSI_SENSE_BYTES);
	out[0] = 0x70; /* current error */
	out[2] = a->key;
	out[7] = SCSI_SENSE_BYTES - 8;
	out[12] = a->asc;
	out[13] = a->ascq;
	/* INFORMATION has 32 bits; a larger address is left out */
	if (information(end, &info) && info <= UINT32_MAX) {
		out[0] |= 0x80; /* VALID */
		scsi_put32(out + 3, (uint32_t)info);
	}
	return SCSI_SENSE_BYTES;
}

#define DESCRIPTOR_HEADER 8u
#define DESCRIPTOR_INFORMATION 12u
static_assert(DESCRIPTOR_HEADER + DESCRIPTOR_INFORMATION <=
		      SCSI_SENSE_BYTES_MAX,
	      "all that is ever told fits the request's answer");

static uint32_t descriptor_format(uint8_t *out, uint32_t max,
				  const struct scsi_end *end)
{
	const struct answer *a = &answers[end->verdict];
	uint8_t *d = out + DESCRIPTOR_HEADER;
	uint64_t info;

	memset(out, 0, DESCRIPTOR_HEADER);
	out[0] = 0x72; /* current error */
	out[1] = a->key;
	out[2] = a->asc;
	out[3] = a->ascq;
	if (!information(end, &info) ||
	    max < DESCRIPTOR_HEADER + DESCRIPTOR_INFORMATION)
		return DESCRIPTOR_HEADER;
	out[7] = DESCRIPTOR_INFORMATION;
	memset(d, 0, DESCRIPTOR_INFORMATION);
	d[1] = DESCRIPTOR_INFORMATION - 2;
	d[2] = 0x80; /* VALID */
	scsi_put64(d + 4, info);
	return DESCRIPTOR_HEADER + DESCRIPTOR_INFORMATION;
}

uint32_t scsi_sense_fill(uint8_t *out, uint32_t max, const struct scsi_end *end)
{
	return end->descriptor_sense ? descriptor_format(out, max, end)
				     : fixed_format(out, end);
}

void scsi_answer(struct storvsp_packet_wire *p, const struct scsi_end *end,
		 bool v1)
{
	const struct answer *a = &answers[end->verdict];
	struct storvsp_request_wire *r = &p->u.request;

	p->status = le32_put(scsi_ntstatus(a->srb));
	memset(r, 0, sizeof(*r));
	r->length =
		le16_put(v1 ? STORVSP_REQUEST_BYTES_V1 : STORVSP_REQUEST_BYTES);
	r->srb_status = a->srb;
	r->scsi_status = a->scsi;
	r->cdb_length = STORVSP_CDB_BYTES;
	r->sense_length = v1 ? STORVSP_SENSE_BYTES_V1 : STORVSP_SENSE_BYTES;
	if (end->verdict == SCSI_GOOD)
		r->transfer_length = le32_put(end->bytes_moved);
	if (a->srb & STORVSP_SRB_AUTOSENSE)
		(void)scsi_sense_fill(r->cdb_or_sense, r->sense_length, end);
}

/* REQUEST SENSE: sense always travels with the failed command, so nothing is
 * pending but a unit attention.
 */
enum scsi_verdict scsi_request_sense(struct scsi_task *t)
{
	const struct scsi_end pending = {
		.verdict = scsi_attention_take(t->disk->switches),
		.descriptor_sense = t->cdb[1] & 0x01, /* DESC */
	};
	uint8_t *p = scsi_reply(t, SCSI_SENSE_BYTES_MAX, t->cdb[4]);

	t->reply_bytes = scsi_sense_fill(p, SCSI_SENSE_BYTES_MAX, &pending);
	return SCSI_GOOD;
}
