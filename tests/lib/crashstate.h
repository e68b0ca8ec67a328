/* SPDX-License-Identifier: BSD-2-Clause */
/* From a record (crashdisk.h) to the states that a power cut may leave.
 *
 * The model. A change is cut at 512-byte sectors. What a finished flush of a
 * file covered is there; of what came later, any subset of the pieces is, in
 * any order. The length is any that the file had since the flush. Two things
 * are promised by the file systems of Linux and used by everyone: where a write
 * lengthens the file, the new length never appears before the bytes that gave
 * rise to it; and cutting a file is one step.
 * Modes:
 *   STRICT_512  a sector is old or new
 *   ATOMIC_4K   the same for 4 KiB, as on most disks today
 *   GARBAGE     a sector that was being written may hold neither; making a hole
 *               writes none
 *   SIZE_LAG    all bytes are there or any part of them, and the length has come
 *               only a part of the way, to one that no call ever asked for
 * A change longer than 64 KiB is cut into 128 parts instead.
 */
#ifndef TESTS_LIB_CRASHSTATE_H
#define TESTS_LIB_CRASHSTATE_H

#include "tests/lib/crashdisk.h"

enum crash_mode {
	CRASH_STRICT_512,
	CRASH_ATOMIC_4K,
	CRASH_GARBAGE,
	CRASH_SIZE_LAG,
	CRASH_MODES,
};

const char *crash_mode_name(enum crash_mode mode);

/* What a torn sector holds in GARBAGE mode. */
extern const uint8_t crash_garbage[CRASH_SECTOR];

struct crash_opts {
	enum crash_mode mode;
	unsigned exhaustive; /* every subset of so many pieces at most */
	unsigned samples;    /* else so many of them at a point */
	size_t from;	     /* points before this one are not visited */
	uint64_t seed;
};

#define CRASH_TORN_MAX 8u

/* One state. */
struct crash_state {
	size_t point;	 /* so many events had happened */
	unsigned flying; /* pieces in flight; lengths, too */
	/* GARBAGE: where it is, in which file */
	unsigned torn;
	uint64_t torn_off[CRASH_TORN_MAX];
	unsigned torn_file[CRASH_TORN_MAX];
};

/* The media are in that state and may be changed. Not 0: enough. */
typedef int (*crash_visit)(void *ctx, const struct crash_state *s);

/* Visit states at every point, before the first event and behind each. `d`
 * holds the media as they were when the record began, by their numbers, and
 * again on return. Returns what `visit` did.
 */
int crash_states(struct crashdisk *const *d, unsigned count,
		 const struct crash_record *r, const struct crash_opts *o,
		 crash_visit visit, void *ctx);

#endif
