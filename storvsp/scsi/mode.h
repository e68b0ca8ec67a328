/* SPDX-License-Identifier: BSD-2-Clause */
/* Mode pages: what MODE SENSE (mode.c) and MODE SELECT (select.c) share. */
#ifndef STORVSP_MODE_H
#define STORVSP_MODE_H

#include <stddef.h>

#include "scsi.h"

#define MODE_PAGES_BYTES_MAX 64u
#define MODE_DESCRIPTOR	     8u /* bytes of a short block descriptor */
#define MODE_DESCRIPTOR_LONG 16u
#define MODE_SWITCHES	     2u
#define MODE_DVD_PAGES	     4u

enum mode_control {
	MODE_CURRENT = 0,
	MODE_CHANGEABLE = 1,
	MODE_DEFAULT = 2,
	MODE_SAVED = 3,
};

struct mode_page {
	uint8_t code;
	uint8_t body_bytes; /* behind the header of two */
	void (*fill)(const struct storvsp_disk *d, uint8_t *body);
};

/* A bit of a page that can be changed. */
struct mode_switch {
	uint8_t code, byte, bit; /* `byte` of the page's body */
	bool of_cache;
	size_t at; /* of an atomic_bool in struct storvsp_switches */
};

extern const struct mode_switch scsi_mode_switches[MODE_SWITCHES];
atomic_bool *scsi_mode_switch_of(const struct storvsp_disk *d,
				 const struct mode_switch *s);

extern const struct mode_page scsi_dvd_pages[MODE_DVD_PAGES];

/* NULL: this device has no such page. */
const struct mode_page *scsi_mode_page(const struct storvsp_disk *d,
				       uint8_t code);
/* A page's body, as it is or as `control` wants it. */
void scsi_mode_fill(const struct storvsp_disk *d, const struct mode_page *p,
		    enum mode_control control, uint8_t *body);
/* The block descriptor as it is told; returns its length. */
uint32_t scsi_mode_descriptor(const struct scsi_task *t, bool full,
			      uint8_t *out);

#endif
