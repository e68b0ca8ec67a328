/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h: which drive and which function a call is for, the numbers of drives,
 * and what is started from. The functions are in tables: chs.c, edd.c, disc.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "int13_int.h"

#define DISK_FIRST 0x80u

static const struct function *find(uint8_t ah, bool disc)
{
	const struct function *const lists[] = {int13_chs, int13_edd,
						int13_disc};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct function *f = lists[i]; f->run; f++)
			if (f->ah == ah)
				return disc && !f->disc ? NULL : f;
	return NULL;
}

static bool drive_find(const struct hv_int13 *h, uint8_t number,
		       struct drive *d)
{
	d->number = number;
	if (h->first && number >= h->first && number < h->first + h->count)
		d->disk = h->disks.disk[number - h->first];
	else if (number >= HV_INT13_DVD_FIRST &&
		 number < HV_INT13_DVD_FIRST + h->disks.dvds)
		d->disk = h->disks.dvd[number - HV_INT13_DVD_FIRST];
	else
		return false;
	return true;
}

/* Numbers behind ours: no drives. The firmware gives them to what it finds
 * itself, drives of the emulated IDE controller, which are ours once more.
 */
static bool is_twice(const struct hv_int13 *h, uint8_t number)
{
	return h->first && number >= h->first + h->count &&
	       number < HV_INT13_DVD_FIRST;
}

/* The same for how many there are: the first call comes when all have their
 * numbers; later the word is the guest's.
 */
static void count_once(struct hv_int13 *h)
{
	uint8_t count = (uint8_t)(h->first - DISK_FIRST + h->count);

	if (!h->first || h->counted)
		return;
	h->counted = true;
	if (h->count > 0)
		(void)hv_gpa_write(h->mem, BDA_COUNT, &count, 1);
}

static enum hv_int13_result call(struct hv_int13 *h, struct hv_int13_regs *r)
{
	const struct function *f = NULL;
	struct drive d;
	enum status st = ST_PARAMETER;
	bool twice = is_twice(h, low(r->dx));
	uint8_t byte;

	count_once(h);
	if (!twice && !drive_find(h, low(r->dx), &d))
		return HV_INT13_NOT_OURS;
	h->stats.calls++;
	if (!twice)
		f = find(high(r->ax), d.disk->dvd);
	set_high(&r->ax, 0);
	if (f)
		st = f->run(h, &d, r);
	byte = (uint8_t)st;
	(void)hv_gpa_write(h->mem, BDA_STATUS, &byte, 1);
	if (st == ST_OK)
		return HV_INT13_OK;
	h->stats.errors++;
	set_high(&r->ax, byte);
	return HV_INT13_ERROR;
}

/* Disks come behind those that the firmware has by now: none, as it is told to
 * begin with ours.
 */
static void start(struct hv_int13 *h)
{
	uint8_t found = 0;
	unsigned room;

	if (h->first)
		return; /* once is enough */
	(void)hv_gpa_read(h->mem, BDA_COUNT, &found, 1);
	room = HV_INT13_DVD_FIRST - DISK_FIRST;
	room = found < room ? room - found : 0;
	h->first = DISK_FIRST + found;
	h->count = h->disks.disks < room ? h->disks.disks : room;
	found = (uint8_t)(found + h->count);
	(void)hv_gpa_write(h->mem, BDA_COUNT, &found, 1);
}

enum hv_int13_result hv_int13_exit(struct hv_int13 *h, enum hv_int13_port port,
				   struct hv_int13_regs *r)
{
	enum hv_int13_result result = HV_INT13_OK;

	pthread_mutex_lock(&h->lock);
	if (port == HV_INT13_CALL)
		result = call(h, r);
	else if (port == HV_INT13_START)
		start(h);
	else
		result = int13_start_disc(h, r);
	pthread_mutex_unlock(&h->lock);
	return result;
}

/* ---------------------------------------------------------- life and death */

void hv_int13_disks_add(struct hv_int13_disks *d, const struct hv_disk *disk)
{
	if (disk->dvd && d->dvds < HV_INT13_DVDS_MAX)
		d->dvd[d->dvds++] = disk;
	else if (!disk->dvd && d->disks < HV_INT13_DISKS_MAX)
		d->disk[d->disks++] = disk;
}

void hv_int13_reset(struct hv_int13 *h, const struct hv_int13_disks *disks)
{
	pthread_mutex_lock(&h->lock);
	h->disks = *disks;
	h->first = h->count = 0;
	h->counted = h->from_disc = false;
	pthread_mutex_unlock(&h->lock);
}

void hv_int13_get_stats(struct hv_int13 *h, struct hv_int13_stats *out)
{
	pthread_mutex_lock(&h->lock);
	*out = h->stats;
	pthread_mutex_unlock(&h->lock);
}

int hv_int13_create(const struct hv_mem *mem,
		    const struct hv_int13_disks *disks, struct hv_int13 **out)
{
	struct hv_int13 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->mem = mem;
	h->disks = *disks;
	pthread_mutex_init(&h->lock, NULL);
	*out = h;
	return 0;
}

void hv_int13_destroy(struct hv_int13 *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}
