/* SPDX-License-Identifier: BSD-2-Clause */
/* The flat disk that a guest may rely on. Of each sector it keeps every
 * content that a read may return, and every one that a power cut may leave,
 * with the times at which the guest learned what; nothing else is known of
 * what lies below.
 *
 * A write is known from posting to answer. Where it ended well, what had
 * ended before it was posted is not read any more; once a flush posted after
 * its answer ended well, or it was durable itself, a power cut does not bring
 * that back either. Writes that failed, or whose answer never came, may have
 * happened or not.
 *
 * A content is a number: 0 is what the disk began with, others make the 512
 * bytes by simmodel_fill; with SIMMODEL_ZEROS they are zero.
 */
#ifndef TESTS_LIB_SIMMODEL_H
#define TESTS_LIB_SIMMODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIMMODEL_SECTORS 256u
#define SIMMODEL_VALUES	 8u
#define SIMMODEL_NEVER	 UINT32_MAX
#define SIMMODEL_ZEROS	 0x80000000u

struct simmodel_value {
	uint32_t number;
	uint32_t posted;
	uint32_t ended; /* NEVER: under way */
	bool good;
	bool safe;	    /* some flush covers it */
	uint32_t unread;    /* reads posted from here on do not see it */
	uint32_t forgotten; /* nor does a power cut leave it */
};

struct simmodel_sector {
	uint32_t count;
	struct simmodel_value value[SIMMODEL_VALUES];
};

struct simmodel {
	uint32_t sectors;
	uint32_t next; /* number */
	uint64_t salt;
	uint8_t start[SIMMODEL_SECTORS][512]; /* number 0 */
	struct simmodel_sector sector[SIMMODEL_SECTORS];
};

/* `start` has been filled in. */
void simmodel_init(struct simmodel *m, uint32_t sectors, uint64_t salt);
void simmodel_fill(const struct simmodel *m, uint32_t lba, uint32_t number,
		   uint8_t out[512]);

/* Whether one more write fits; `oldest` is when the oldest read under way was
 * posted.
 */
bool simmodel_room(struct simmodel *m, uint32_t lba, uint32_t n,
		   uint32_t oldest);
/* Begin a write of the next number, or with ZEROS. */
void simmodel_write(struct simmodel *m, uint32_t lba, uint32_t n,
		    uint32_t number, uint32_t now);
void simmodel_written(struct simmodel *m, uint32_t lba, uint32_t n,
		      uint32_t number, bool good, bool durable, uint32_t now);
/* A flush posted at `posted` ended well. */
void simmodel_flushed(struct simmodel *m, uint32_t posted, uint32_t now);
/* Whether a read of these bytes, posted then, may end now. */
bool simmodel_read(struct simmodel *m, uint32_t lba, const uint8_t got[512],
		   uint32_t posted, uint32_t now);

/* What lies on the medium with nothing under way, after a power cut or
 * without. False: it may not. From then on it is the only content.
 */
bool simmodel_settle(struct simmodel *m, uint32_t lba, const uint8_t got[512],
		     bool cut);

/* To stdout: what the sector may hold, and what of all that was ever written
 * there these bytes are.
 */
void simmodel_tell(const struct simmodel *m, uint32_t lba,
		   const uint8_t got[512]);

#endif
