/* SPDX-License-Identifier: BSD-2-Clause */
/* See vhdimg.h. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/vhdimg.h"

/* What cannot be built cannot be tested. */
static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static void poke(struct memfile *m, const void *b, size_t len, uint64_t off)
{
	if (memfile_poke(m, b, len, off))
		abort();
}

void img_put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

void img_put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

uint32_t img_get32(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 8 | p[i];
	return v;
}

uint64_t img_get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

void img_seal(uint8_t *p, size_t len)
{
	size_t at = len == 512 ? IMG_F_CHECKSUM : IMG_H_CHECKSUM;
	uint32_t sum = 0;

	img_put32(p + at, 0);
	for (size_t i = 0; i < len; i++)
		sum += p[i];
	img_put32(p + at, ~sum);
}

void img_footer(uint8_t f[512], uint32_t type, uint64_t size)
{
	memset(f, 0, 512);
	memcpy(f, "conectix", 8);
	img_put32(f + IMG_F_FEATURES, 2);
	img_put32(f + IMG_F_VERSION, 0x00010000);
	img_put64(f + IMG_F_DATA_OFFSET,
		  type == IMG_TYPE_FIXED ? UINT64_MAX : IMG_HEADER);
	img_put32(f + IMG_F_TIMESTAMP, 0x12345678);
	memcpy(f + IMG_F_APP, "qem2", 4);
	img_put32(f + IMG_F_APP_VERSION, 0x00050003);
	memcpy(f + 36, "Wi2k", 4);
	img_put64(f + IMG_F_ORIGINAL_SIZE, size);
	img_put64(f + IMG_F_CURRENT_SIZE, size);
	memcpy(f + 56, "\xff\xff\x10\xff", 4);
	img_put32(f + IMG_F_TYPE, type);
	memset(f + IMG_F_ID, 0xab, 16);
	img_seal(f, 512);
}

void img_header(uint8_t h[1024], uint32_t entries, uint32_t block)
{
	memset(h, 0, 1024);
	memcpy(h, "cxsparse", 8);
	img_put64(h + IMG_H_NEXT, UINT64_MAX);
	img_put64(h + IMG_H_TABLE, IMG_TABLE);
	img_put32(h + IMG_H_VERSION, 0x00010000);
	img_put32(h + IMG_H_ENTRIES, entries);
	img_put32(h + IMG_H_BLOCK, block);
	img_seal(h, 1024);
}

struct memfile *img_fixed(uint64_t size)
{
	struct memfile *m = need(memfile_create());
	uint8_t f[512];

	img_footer(f, IMG_TYPE_FIXED, size);
	poke(m, f, 512, size);
	return m;
}

uint8_t img_byte(uint32_t block)
{
	return (uint8_t)(0x10 + block);
}

static uint32_t blocks_of(uint64_t size, uint32_t block)
{
	return (uint32_t)((size + block - 1) / block);
}

static uint32_t bitmap_of(uint32_t block)
{
	return (block / 4096 + 511) / 512 * 512;
}

uint64_t img_place(uint64_t size, uint32_t block, unsigned k)
{
	uint64_t table =
		((uint64_t)blocks_of(size, block) * 4 + 511) / 512 * 512;

	return IMG_TABLE + table + (uint64_t)k * (bitmap_of(block) + block);
}

static void put_block(struct memfile *m, uint64_t at, uint32_t block,
		      uint32_t number)
{
	uint32_t bitmap = bitmap_of(block);
	uint8_t *b = need(malloc((size_t)bitmap + block));

	memset(b, 0xff, bitmap);
	memset(b + bitmap, img_byte(number), block);
	poke(m, b, (size_t)bitmap + block, at);
	free(b);
}

struct memfile *img_bare(uint64_t size, uint32_t block, const uint32_t *order,
			 unsigned count)
{
	struct memfile *m = need(memfile_create());
	uint32_t entries = blocks_of(size, block);
	size_t table = ((size_t)entries * 4 + 511) / 512 * 512;
	uint8_t *bat = need(malloc(table));
	uint8_t f[512], h[1024];

	img_footer(f, IMG_TYPE_DYNAMIC, size);
	img_header(h, entries, block);
	memset(bat, 0xff, table);
	for (unsigned k = 0; k < count; k++)
		img_put32(bat + (size_t)order[k] * 4,
			  (uint32_t)(img_place(size, block, k) / 512));
	poke(m, f, 512, 0);
	poke(m, h, 1024, IMG_HEADER);
	poke(m, bat, table, IMG_TABLE);
	poke(m, f, 512, img_place(size, block, count));
	free(bat);
	return m;
}

struct memfile *img_dynamic(uint64_t size, uint32_t block,
			    const uint32_t *order, unsigned count)
{
	struct memfile *m = img_bare(size, block, order, count);

	for (unsigned k = 0; k < count; k++)
		put_block(m, img_place(size, block, k), block, order[k]);
	return m;
}

void img_set(struct memfile *m, uint64_t at, size_t len, size_t field,
	     const void *bytes, size_t n)
{
	uint8_t b[1024];

	memfile_peek(m, b, len, at);
	memcpy(b + field, bytes, n);
	img_seal(b, len);
	poke(m, b, len, at);
}

void img_set32(struct memfile *m, uint64_t at, size_t len, size_t field,
	       uint32_t v)
{
	uint8_t b[4];

	img_put32(b, v);
	img_set(m, at, len, field, b, 4);
}

void img_set64(struct memfile *m, uint64_t at, size_t len, size_t field,
	       uint64_t v)
{
	uint8_t b[8];

	img_put64(b, v);
	img_set(m, at, len, field, b, 8);
}

void img_footers(struct memfile *m, size_t field, const void *bytes, size_t n)
{
	img_set(m, 0, 512, field, bytes, n);
	img_set(m, memfile_len(m) - 512, 512, field, bytes, n);
}

void img_footers32(struct memfile *m, size_t field, uint32_t v)
{
	uint8_t b[4];

	img_put32(b, v);
	img_footers(m, field, b, 4);
}

void img_footers64(struct memfile *m, size_t field, uint64_t v)
{
	uint8_t b[8];

	img_put64(b, v);
	img_footers(m, field, b, 8);
}

void img_bat(struct memfile *m, uint32_t block, uint32_t sector)
{
	uint8_t b[4];

	img_put32(b, sector);
	poke(m, b, 4, IMG_TABLE + (uint64_t)block * 4);
}

int img_open(struct memfile *m, enum vhd_format format, bool writable,
	     struct vhd **out, struct vhd_err *err)
{
	struct vhd_open_opts o = {.format = format, .writable = writable};
	struct vhd_file f = memfile_file(m);

	return vhd_open_file(&f, &o, out, err);
}

int img_inspect(struct memfile *m, struct vhd **out, struct vhd_err *err)
{
	struct vhd_open_opts o = {.inspect = true};
	struct vhd_file f = memfile_file(m);

	return vhd_open_file(&f, &o, out, err);
}
