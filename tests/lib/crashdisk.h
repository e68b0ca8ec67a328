/* SPDX-License-Identifier: BSD-2-Clause */
/* A medium for power cuts: one flat file in memory that can be taken back to
 * any earlier moment, knows the hash of its content, and writes down every
 * change and flush where a record is attached. Trying a state costs as much as
 * the sectors in which it differs, not the length of the file.
 *
 * Invariant: bytes behind the length are zero.
 * Thread: one.
 */
#ifndef TESTS_LIB_CRASHDISK_H
#define TESTS_LIB_CRASHDISK_H

#include "tests/lib/memfile.h"

#define CRASH_SECTOR	   512u
#define CRASHDISK_ROOM	   (64u << 20) /* beyond: -EFBIG */
#define CRASH_LOSE_NOTHING (-1)

enum crash_kind {
	CRASH_WRITE,
	CRASH_ZERO,
	CRASH_TRUNCATE, /* `off` is the new length */
	CRASH_FLUSH,
	CRASH_OWN_SYNC, /* [off, off + len) only: of a write that waits for it */
	CRASH_MARK, /* put in by the test */
};

struct crash_event {
	enum crash_kind kind;
	unsigned file; /* number of the medium, as it was created */
	int mark;
	uint64_t off;
	uint64_t len;
	uint64_t was_len; /* of the file before */
	size_t data;	  /* WRITE: where in the record's bytes */
};

/* What happened to the media that have it, in order. */
struct crash_record {
	struct crash_event *events;
	size_t count, room;
	uint8_t *bytes;
	size_t bytes_used, bytes_room;
	/* The flush of this number says that it did its work and did not; it
	 * leaves no event.
	 */
	int lose;
	int flushes; /* so far */
	/* Called in each flush with its number; may be NULL. */
	void (*at_flush)(void *ctx, int number);
	void *ctx;
};

void crash_record_init(struct crash_record *r);
void crash_record_fini(struct crash_record *r);
void crash_record_mark(struct crash_record *r, int mark);

struct crashdisk;

/* `number` goes into the events. Aborts without memory. */
struct crashdisk *crashdisk_create(unsigned number);
void crashdisk_destroy(struct crashdisk *d); /* takes; may be NULL */
/* The medium to hand to vhd_open_file; borrows `d`. */
struct vhd_file crashdisk_file(struct crashdisk *d);
/* Begin anew with this content; earlier moments are gone. */
void crashdisk_load(struct crashdisk *d, const struct memfile *m);
/* Borrows; NULL: nothing is written down. */
void crashdisk_set_record(struct crashdisk *d, struct crash_record *r);
struct crash_record *crashdisk_record(const struct crashdisk *d);

/* The next flush is one write's own (O_DSYNC): it covers this range and no
 * more.
 */
void crashdisk_own_sync(struct crashdisk *d, uint64_t off, uint64_t len);

/* Now, to come back to. Moments are left in the reverse order. */
size_t crashdisk_now(const struct crashdisk *d);
void crashdisk_back(struct crashdisk *d, size_t then);

const uint8_t *crashdisk_bytes(const struct crashdisk *d);
uint64_t crashdisk_len(const struct crashdisk *d);
/* Of content and length: equal media have equal ones. */
uint64_t crashdisk_hash(const struct crashdisk *d);

/* Past the record. Writing does not change the length: what lies behind it
 * must be given one, or cut off by setting it, before anything else happens.
 */
void crashdisk_poke(struct crashdisk *d, const void *bytes, uint64_t len,
		    uint64_t off);
void crashdisk_zero(struct crashdisk *d, uint64_t len, uint64_t off);
void crashdisk_set_len(struct crashdisk *d, uint64_t len);

#endif
