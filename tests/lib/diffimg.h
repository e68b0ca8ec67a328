/* SPDX-License-Identifier: BSD-2-Clause */
/* Differencing images made by hand, as vhdimg.h makes the others, and the
 * flat disk that a chain of them must read as.
 */
#ifndef TESTS_LIB_DIFFIMG_H
#define TESTS_LIB_DIFFIMG_H

#include "tests/lib/vhdimg.h"

/* Field offsets in the dynamic header. */
#define DIFF_H_PARENT_ID   40
#define DIFF_H_PARENT_TIME 56
#define DIFF_H_NAME	   64

/* Footer id of the image number `n`, n from 0; never all zero. */
void diff_id(uint8_t id[16], unsigned n);

/* An image with the id `n`, all of whose content is drawn from `rnd` and laid
 * over `model`, which has `size` bytes. Fixed and dynamic ones replace it; a
 * differencing one asks for the parent `n` - 1 and names none. Sectors whose
 * bit is 0 have other bytes in the file than in the model.
 */
struct memfile *diff_random(uint32_t type, unsigned n, uint64_t size,
			    uint32_t block, uint8_t *model, uint64_t *rnd);

/* An empty differencing image `n` over `n` - 1. */
struct memfile *diff_empty(unsigned n, uint64_t size, uint32_t block);

/* Give slot `i` a locator with this payload, which is put behind the blocks. */
void diff_locator(struct memfile *m, unsigned i, uint32_t platform,
		  const void *payload, size_t len);
/* The same with ASCII text as UTF-16, little-endian. */
void diff_locator_text(struct memfile *m, unsigned i, uint32_t platform,
		       const char *text);
/* The header's name field, from ASCII. */
void diff_name(struct memfile *m, const char *text);
void diff_parent_id(struct memfile *m, const uint8_t id[16]);

/* Write the image out as a file; aborts where that fails. */
void diff_save(const struct memfile *m, const char *path);

#endif
