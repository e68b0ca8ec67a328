/* SPDX-License-Identifier: BSD-2-Clause */
/* PERSISTENT RESERVE IN: a disk's reservations, told.
 * Source: SPC-4 6.15, 7.6.4 (TransportID); SPC-2 5.5.1 (conflict with an old
 *   reservation).
 */
#include "reserve.h"
#include "scsi.h"

#define HEADER_BYTES	    8u
#define RESERVATION_BYTES   16u
#define STATUS_BYTES	    24u /* of a full status, without TransportID */
#define TRANSPORT_ID_BYTES  24u
/* Neither SAS nor Fibre Channel nor any other that has a number. */
#define NO_PROTOCOL	    0x0F

/* Each fills what is behind the 8-byte header and returns its length. */

static uint32_t keys(const struct storvsp_reserve *r, uint8_t *p)
{
	if (!r->now.registered)
		return 0;
	scsi_put64(p, r->now.key);
	return 8;
}

/* Who holds it for all registrants has no key to name. */
static uint32_t reservation(const struct storvsp_reserve *r, uint8_t *p)
{
	if (r->now.type == 0)
		return 0;
	if (r->now.type != 7 && r->now.type != 8)
		scsi_put64(p, r->now.key);
	p[13] = r->now.type;
	return RESERVATION_BYTES;
}

static uint32_t full_status(const struct storvsp_reserve *r, uint8_t *p)
{
	if (!r->now.registered)
		return 0;
	scsi_put64(p, r->now.key);
	if (r->now.type) {
		p[12] = 0x01; /* R_HOLDER */
		p[13] = r->now.type;
	}
	scsi_put16(p + 18, 1); /* relative target port */
	scsi_put32(p + 20, TRANSPORT_ID_BYTES);
	p[24] = NO_PROTOCOL;
	return STATUS_BYTES + TRANSPORT_ID_BYTES;
}

static enum scsi_verdict
tell(struct scsi_task *t,
     uint32_t (*fill)(const struct storvsp_reserve *r, uint8_t *p))
{
	struct storvsp_reserve *r = &t->disk->switches->reserve;
	enum scsi_verdict v = SCSI_RESERVED;
	uint32_t n;
	uint8_t *p;

	pthread_mutex_lock(&r->lock);
	if (!r->old_style) {
		p = scsi_reply(t,
			       HEADER_BYTES + STATUS_BYTES + TRANSPORT_ID_BYTES,
			       scsi_get16(t->cdb + 7));
		n = fill(r, p + HEADER_BYTES);
		scsi_put32(p, r->generation);
		scsi_put32(p + 4, n);
		t->reply_bytes = HEADER_BYTES + n;
		v = SCSI_GOOD;
	}
	pthread_mutex_unlock(&r->lock);
	return v;
}

enum scsi_verdict scsi_read_keys(struct scsi_task *t)
{
	return tell(t, keys);
}

enum scsi_verdict scsi_read_reservation(struct scsi_task *t)
{
	return tell(t, reservation);
}

enum scsi_verdict scsi_read_full_status(struct scsi_task *t)
{
	return tell(t, full_status);
}

/* All six types. Registrations of one port are those of all: there is one.
 */
enum scsi_verdict scsi_report_capabilities(struct scsi_task *t)
{
	struct storvsp_reserve *r = &t->disk->switches->reserve;
	enum scsi_verdict v = SCSI_RESERVED;
	uint8_t *p;

	pthread_mutex_lock(&r->lock);
	if (!r->old_style) {
		p = scsi_reply(t, 8, scsi_get16(t->cdb + 7));
		scsi_put16(p, 8);
		p[2] = (uint8_t)(0x04 | (r->keep ? 0x01 : 0)); /* ATP_C, PTPL_C */
		p[3] = (uint8_t)(0x80 | (r->kept ? 0x01 : 0)); /* TMV, PTPL_A */
		p[4] = 0xEA;
		p[5] = 0x01;
		v = SCSI_GOOD;
	}
	pthread_mutex_unlock(&r->lock);
	return v;
}
