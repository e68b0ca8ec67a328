/* SPDX-License-Identifier: BSD-2-Clause */
/* The mode pages of a DVD-ROM drive. Without page 2A Linux takes the drive for
 * one of the first generation that plays no DVD.
 * Source: MMC-6 7.1 to 7.5, MMC-3 6.3.11 (page 2A).
 */
#include <string.h>

#include "mode.h"

#define DVD_KBPS   (16 * 1385u) /* 16 times a DVD's own speed, in kB/s */
#define BUFFER_KIB 512u
/* Of the page's bytes, which count from its header on. */
#define AT(byte) ((byte)-2)

static void page_recovery(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	(void)body;
}

/* No timers: the drive never rests. */
static void page_power(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	(void)body;
}

static void page_timeouts(const struct storvsp_disk *d, uint8_t *body)
{
	(void)d;
	(void)body;
}

static void page_capabilities(const struct storvsp_disk *d, uint8_t *body)
{
	body[AT(2)] = 0x08; /* reads DVD-ROM */
	body[AT(4)] = 0x70; /* mode 2, both forms; more than one session */
	body[AT(6)] = 0x29; /* a tray; ejects; can be locked */
	if (atomic_load(&d->switches->tray_locked))
		body[AT(6)] |= 0x02;
	scsi_put16(body + AT(8), DVD_KBPS);
	scsi_put16(body + AT(12), BUFFER_KIB);
	scsi_put16(body + AT(14), DVD_KBPS);
}

const struct mode_page scsi_dvd_pages[MODE_DVD_PAGES] = {
	{0x01, 10, page_recovery},
	{0x1A, 10, page_power},
	{0x1D, 10, page_timeouts},
	{0x2A, 24, page_capabilities},
};

static_assert(10 + 10 + 10 + 24 + 2 * MODE_DVD_PAGES <= MODE_PAGES_BYTES_MAX,
	      "all pages");
