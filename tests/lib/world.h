/* SPDX-License-Identifier: BSD-2-Clause */
/* A chain of image files in the current directory and, for each of its layers,
 * the flat disk that it must read as; made at random, changed by the test,
 * judged by the library, by the independent reader and by vhd_check.
 */
#ifndef TESTS_LIB_WORLD_H
#define TESTS_LIB_WORLD_H

#include "vhd/vhd.h"

#define WORLD_LAYERS 8u

struct world_layer {
	char path[24];
	uint8_t *model;
	uint64_t size;
	/* a layer above was merged past this one: it opens, and is needed by
	 * those above it, but what it reads as by itself means nothing
	 */
	bool stale;
};

struct world {
	uint64_t rnd;
	uint64_t seed; /* with it the same case is made again */
	unsigned count;
	struct world_layer layer[WORLD_LAYERS]; /* 0 is the lowest */
	unsigned names;				/* files made so far */
	char trail[2048];			/* what was done */
};

/* A random case: one image of the library's own making, or a chain of up to
 * eight, all from foreign tables.
 */
void world_make(struct world *w, uint64_t seed);
/* With all files. */
void world_free(struct world *w);

/* Add to the trail. */
__attribute__((format(printf, 2, 3))) void world_note(struct world *w,
						      const char *fmt, ...);
/* End the test; tells seed and trail. */
__attribute__((format(printf, 2, 3), noreturn)) void world_fail(
	const struct world *w, const char *fmt, ...);

uint64_t world_below(struct world *w, uint64_t n);
void world_id(struct world *w, uint8_t id[16]);
enum vhd_engine world_engine(struct world *w);
/* A disk's length in bytes: odd numbers of sectors, few of them or many. */
uint64_t world_size(struct world *w);
uint32_t world_block(struct world *w, uint64_t size);

static inline struct world_layer *world_head(struct world *w)
{
	return &w->layer[w->count - 1];
}

/* A name that no file has. */
void world_name(struct world *w, char path[24]);
/* Put a layer on top; its model is that of the former top, or zero. */
struct world_layer *world_push(struct world *w, const char *path,
			       uint64_t size);
/* Take layers off, from the top down to `count`; with their files or not. */
void world_pop(struct world *w, unsigned count);
/* The model has another length; new space is zero. */
void world_resize(struct world_layer *l, uint64_t size);

/* Open a layer by its path; fails the test where it does not open. */
struct vhd *world_open(struct world *w, unsigned i, bool writable);

/* Open the top image, write, zero, read and flush in any order, and close it
 * or leave it as a crash right after a flush would.
 */
void world_write(struct world *w);

/* One layer's own bytes and those below it, by the other reader only: for a
 * layer that is open, after a flush.
 */
void world_judge_bytes(struct world *w, unsigned i);
/* Everything, by everyone. No layer may be open for writing. */
void world_judge(struct world *w);

#endif
