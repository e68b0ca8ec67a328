/* SPDX-License-Identifier: BSD-2-Clause */
/* Images to be resized, and what their disks hold before and after. */
#ifndef TESTS_LIB_RESIZEIMG_H
#define TESTS_LIB_RESIZEIMG_H

#include "vhd/resize.h"
#include "vhdimg.h"

#define KIB 1024u
enum { BLOCK = 16 * KIB };

/* All of it; the caller frees. */
uint8_t *disk_content(struct memfile *m, uint64_t *size);
bool all_zero(const uint8_t *b, uint64_t len);
/* The disk has `size` bytes: those of `was` as far as both go, then zeros. */
void disk_holds(struct memfile *m, const uint8_t *was, uint64_t was_size,
		uint64_t size);
/* What another program, and a check, say of it. */
void disk_is_clean(struct memfile *m, uint64_t size);
/* Random bytes, none of them zero. */
void disk_put(struct memfile *m, uint64_t off, uint64_t len, uint64_t *rnd);

/* Written, shrinking allowed. */
int resize_on(struct vhd_file f, uint64_t size, bool force,
	      struct vhd_resize_result *r, struct vhd_err *e);
void must_resize(struct memfile *m, uint64_t size);

/* Blocks densely behind the table, in no order, junk behind the disk's end. */
struct memfile *dense_image(uint64_t *rnd);
struct memfile *fixed_image(uint64_t *rnd);
struct memfile *blktap_image(uint64_t *rnd);

struct resize_source {
	const char *what;
	struct memfile *(*make)(uint64_t *rnd);
	uint64_t sizes[6]; /* to be resized to; ends with 0 */
};
enum { RESIZE_SOURCES = 3 };
extern const struct resize_source resize_sources[RESIZE_SOURCES];

#endif
