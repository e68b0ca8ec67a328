/* SPDX-License-Identifier: BSD-2-Clause */
/* A recording layer over a medium: every change in order, and every flush.
 * From the record any state that a power cut may leave can be made again:
 * what a finished flush covered is there, of the rest any subset of sectors.
 * Thread: any number; one lock.
 */
#ifndef TESTS_LIB_RECFILE_H
#define TESTS_LIB_RECFILE_H

#include "tests/lib/memfile.h"

enum rec_kind {
	REC_WRITE,
	REC_ZERO,
	REC_TRUNCATE, /* `off` is the new length */
	REC_FLUSH,
	REC_MARK, /* put in by the test */
};

struct rec_event {
	enum rec_kind kind;
	uint64_t off;
	uint64_t len;
	uint8_t *data; /* REC_WRITE */
	int mark;      /* REC_MARK */
};

struct recfile;

/* Borrows `under`; records from now on, starting at its present content. */
struct recfile *recfile_create(struct memfile *under);
void recfile_destroy(struct recfile *r);
struct vhd_file recfile_file(struct recfile *r);
/* Only what changes the medium through the layer is seen. */
size_t recfile_count(const struct recfile *r);
const struct rec_event *recfile_event(const struct recfile *r, size_t i);
void recfile_mark(struct recfile *r, int mark);

/* The medium after the first `n` events, all of them carried out. */
struct memfile *recfile_prefix(const struct recfile *r, size_t n);
/* The medium after a power cut behind event `n`: everything before the last
 * flush among them, and of the later ones each sector as `seed` has it.
 */
struct memfile *recfile_cut(const struct recfile *r, size_t n, uint64_t seed);

#endif
