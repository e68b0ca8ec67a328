/* SPDX-License-Identifier: BSD-2-Clause */
/* Images made by hand for tests: written from the format's tables, without
 * the library's own encoders, so that one error cannot hide in both.
 *
 * Dynamic layout as QEMU has it: footer copy at 0, header at 512, BAT at 1536,
 * blocks densely behind it, footer behind the last block.
 */
#ifndef TESTS_LIB_VHDIMG_H
#define TESTS_LIB_VHDIMG_H

#include "tests/lib/memfile.h"

#define IMG_TYPE_FIXED	 2
#define IMG_TYPE_DYNAMIC 3
#define IMG_TYPE_DIFF	 4

#define IMG_HEADER 512
#define IMG_TABLE  1536

/* Field offsets used by tests. */
enum img_footer_field {
	IMG_F_COOKIE = 0,
	IMG_F_FEATURES = 8,
	IMG_F_VERSION = 12,
	IMG_F_DATA_OFFSET = 16,
	IMG_F_TIMESTAMP = 24,
	IMG_F_APP = 28,
	IMG_F_APP_VERSION = 32,
	IMG_F_ORIGINAL_SIZE = 40,
	IMG_F_CURRENT_SIZE = 48,
	IMG_F_TYPE = 60,
	IMG_F_CHECKSUM = 64,
	IMG_F_ID = 68,
	IMG_F_SAVED = 84,
	IMG_F_HIDDEN = 85,
	IMG_F_RESERVED = 86,
};

enum img_header_field {
	IMG_H_COOKIE = 0,
	IMG_H_NEXT = 8,
	IMG_H_TABLE = 16,
	IMG_H_VERSION = 24,
	IMG_H_ENTRIES = 28,
	IMG_H_BLOCK = 32,
	IMG_H_CHECKSUM = 36,
	IMG_H_LOCATOR = 576,
};

void img_put32(uint8_t *p, uint32_t v);
void img_put64(uint8_t *p, uint64_t v);
uint32_t img_get32(const uint8_t *p);
uint64_t img_get64(const uint8_t *p);

/* Put the right checksum into a footer (512) or dynamic header (1024). */
void img_seal(uint8_t *p, size_t len);

void img_footer(uint8_t f[512], uint32_t type, uint64_t size);
void img_header(uint8_t h[1024], uint32_t entries, uint32_t block);

/* The caller owns the result. */
struct memfile *img_fixed(uint64_t size);
/* `order`: block numbers in the order they lie in the file. Bitmaps are all
 * ones, each sector of block b filled with img_byte(b).
 */
struct memfile *img_dynamic(uint64_t size, uint32_t block,
			    const uint32_t *order, unsigned count);
/* The same without bitmaps and data: all zero, and costing nothing. */
struct memfile *img_bare(uint64_t size, uint32_t block, const uint32_t *order,
			 unsigned count);
uint8_t img_byte(uint32_t block);
/* Where the `k`th block in the file has its bitmap. */
uint64_t img_place(uint64_t size, uint32_t block, unsigned k);

/* Change a field of the structure of `len` bytes at `at` and seal it. */
void img_set(struct memfile *m, uint64_t at, size_t len, size_t field,
	     const void *bytes, size_t n);
void img_set32(struct memfile *m, uint64_t at, size_t len, size_t field,
	       uint32_t v);
void img_set64(struct memfile *m, uint64_t at, size_t len, size_t field,
	       uint64_t v);
/* The same in both footers of a dynamic image. */
void img_footers32(struct memfile *m, size_t field, uint32_t v);
void img_footers64(struct memfile *m, size_t field, uint64_t v);
void img_footers(struct memfile *m, size_t field, const void *bytes, size_t n);
void img_bat(struct memfile *m, uint32_t block, uint32_t sector);

/* Open over memory; 0 or the error, as vhd_open_file. */
int img_open(struct memfile *m, enum vhd_format format, bool writable,
	     struct vhd **out, struct vhd_err *err);
int img_inspect(struct memfile *m, struct vhd **out, struct vhd_err *err);

#endif
