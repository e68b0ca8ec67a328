/* SPDX-License-Identifier: BSD-2-Clause */
/* A DVD-ROM drive's tray, lock and disc.
 * Source: MMC-6 6.5 (GET EVENT STATUS NOTIFICATION), 6.10, 6.16, 6.48.
 */
#include "attention.h"
#include "dvd.h"

#define START	     0x01
#define LOEJ	     0x02
#define CLASS_MEDIA  4u
#define MEDIA_BIT    (1u << CLASS_MEDIA)
#define POLLED	     0x01
#define NO_EVENT     0x80 /* NEA */
#define TRAY_OPEN    0x01
#define DISC_PRESENT 0x02
#define DOOR_OPEN    0x10

enum scsi_verdict scsi_dvd_disc(const struct storvsp_disk *d)
{
	if (atomic_load(&d->switches->tray_open))
		return SCSI_NO_DISC_TRAY_OPEN;
	return d->img ? SCSI_GOOD : SCSI_NO_DISC;
}

void scsi_dvd_reset(struct storvsp_switches *s)
{
	atomic_store(&s->tray_locked, false);
}

void scsi_dvd_exchange(const struct storvsp_disk *from,
		       const struct storvsp_disk *to)
{
	struct storvsp_switches *s = to->switches;

	atomic_store(&s->tray_locked,
		     atomic_load(&from->switches->tray_locked));
	atomic_store(&s->descriptor_sense,
		     atomic_load(&from->switches->descriptor_sense));
	atomic_store(&s->media_event, to->img ? DVD_NEW_DISC : DVD_DISC_GONE);
	if (to->img)
		scsi_attention_raise(s, SCSI_UA_MEDIUM);
}

/* ------------------------------------------------------------- the tray -- */

/* Opened, the disc cannot be read; closed again, it may be another one for all
 * the guest knows.
 */
static void tray_move(const struct storvsp_disk *d, bool open)
{
	struct storvsp_switches *s = d->switches;

	if (atomic_exchange(&s->tray_open, open) == open || !d->img)
		return;
	atomic_store(&s->media_event, open ? DVD_DISC_GONE : DVD_NEW_DISC);
	if (!open)
		scsi_attention_raise(s, SCSI_UA_MEDIUM);
}

/* Without LoEj it is the motor that starts or stops: nothing to do. */
enum scsi_verdict scsi_dvd_start_stop(struct scsi_task *t)
{
	uint8_t how = t->cdb[4];

	if (how & 0xF0) /* power conditions */
		return SCSI_BAD_FIELD;
	if (!(how & LOEJ))
		return SCSI_GOOD;
	if (!(how & START) && atomic_load(&t->disk->switches->tray_locked))
		return SCSI_TRAY_LOCKED;
	tray_move(t->disk, !(how & START));
	return SCSI_GOOD;
}

/* PREVENT ALLOW MEDIUM REMOVAL; the persistent kind would be of a changer. */
enum scsi_verdict scsi_dvd_prevent(struct scsi_task *t)
{
	if (t->cdb[4] & 0x02)
		return SCSI_BAD_FIELD;
	atomic_store(&t->disk->switches->tray_locked, t->cdb[4] & 0x01);
	return SCSI_GOOD;
}

/* Only by asking: nothing is told unasked. An event is told once. */
enum scsi_verdict scsi_dvd_event_status(struct scsi_task *t)
{
	struct storvsp_switches *s = t->disk->switches;
	uint8_t *p;

	if (!(t->cdb[1] & POLLED))
		return SCSI_BAD_FIELD;
	p = scsi_reply(t, 8, scsi_get16(t->cdb + 7));
	p[3] = MEDIA_BIT; /* supported classes */
	if (!(t->cdb[4] & MEDIA_BIT)) {
		t->reply_bytes = 4;
		scsi_put16(p, 2);
		p[2] = NO_EVENT;
		return SCSI_GOOD;
	}
	scsi_put16(p, 6);
	p[2] = CLASS_MEDIA;
	p[4] = DVD_NO_CHANGE;
	if (t->alloc_bytes > 4 && t->buffer_bytes > 4)
		p[4] = atomic_exchange(&s->media_event, DVD_NO_CHANGE);
	if (atomic_load(&s->tray_open))
		p[5] = TRAY_OPEN;
	else if (t->disk->img)
		p[5] = DISC_PRESENT;
	return SCSI_GOOD;
}

enum scsi_verdict scsi_dvd_mechanism_status(struct scsi_task *t)
{
	uint8_t *p = scsi_reply(t, 8, scsi_get16(t->cdb + 8));

	if (atomic_load(&t->disk->switches->tray_open))
		p[1] = DOOR_OPEN;
	return SCSI_GOOD;
}
