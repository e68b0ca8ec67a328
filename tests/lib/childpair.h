/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of writing to differencing disks share: a child on a recorded
 * medium, over a parent of one byte all over.
 */
#ifndef TESTS_LIB_CHILDPAIR_H
#define TESTS_LIB_CHILDPAIR_H

#include "tests/lib/diffimg.h"
#include "tests/lib/qtest.h"
#include "tests/lib/recfile.h"
#include "vhd/image.h"

#define KIB	1024u
#define MIB	(1u << 20)

/* A child over a fixed parent of one byte all over, on a recorded medium. */
struct pair {
	struct memfile *base;
	struct memfile *top;
	struct recfile *rec;
	struct vhd *img;
	uint64_t size;
	uint32_t block;
};

#define OLD 0x11
#define NEW 0x77

static inline struct vhd *open_on(struct vhd_file f, bool writable)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = "",
	};
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_open_file(&f, &o, &img, &e))
		fail_msg("open: %s", e.text);
	return img;
}

static inline struct vhd *link_on(struct vhd_file top, struct memfile *base,
			   bool writable)
{
	struct vhd *img = open_on(top, writable);
	struct vhd_err e;

	assert_int_equal(vhd_chain_set_parent(
				 img, open_on(memfile_file(base), false), &e),
			 0);
	return img;
}

static inline void pair_make(struct pair *p, uint64_t size, uint32_t block)
{
	uint8_t *bytes = malloc(size), id[16];

	assert_non_null(bytes);
	memset(bytes, OLD, size);
	p->size = size;
	p->block = block;
	p->base = img_fixed(size);
	assert_int_equal(memfile_poke(p->base, bytes, size, 0), 0);
	free(bytes);
	diff_id(id, 0);
	img_set(p->base, size, 512, IMG_F_ID, id, 16);
	p->top = diff_empty(1, size, block);
	p->rec = recfile_create(p->top);
	p->img = link_on(recfile_file(p->rec), p->base, true);
}

static inline void pair_free(struct pair *p)
{
	vhd_abandon(p->img);
	recfile_destroy(p->rec);
	memfile_destroy(p->top);
	memfile_destroy(p->base);
}

static inline void pair_close(struct pair *p)
{
	struct vhd_err e;

	if (vhd_close(p->img, &e))
		fail_msg("close: %s", e.text);
	p->img = NULL;
}

static inline void put(struct pair *p, uint64_t lba, uint32_t n)
{
	uint8_t *b = malloc(n * 512u);
	struct vhd_err e;

	assert_non_null(b);
	memset(b, NEW, n * 512u);
	assert_int_equal(vhd_write(p->img, lba * 512, b, n * 512u, &e), 0);
	free(b);
}

static inline void expect(struct pair *p, uint64_t lba, uint8_t byte)
{
	uint8_t b[512], want[512];
	struct vhd_err e;

	memset(want, byte, 512);
	assert_int_equal(vhd_read(p->img, lba * 512, b, 512, &e), 0);
	assert_memory_equal(b, want, 512);
}

/* The bit as it lies on the medium; false while the BAT has no such block. */
static inline bool bit_on_medium(struct pair *p, uint64_t lba)
{
	uint32_t block = (uint32_t)(lba * 512 / p->block);
	uint32_t in = (uint32_t)(lba - (uint64_t)block * (p->block / 512));
	uint8_t e[4], byte;

	memfile_peek(p->top, e, 4, IMG_TABLE + 4ull * block);
	if (img_get32(e) == UINT32_MAX)
		return false;
	memfile_peek(p->top, &byte, 1, img_get32(e) * 512ull + in / 8);
	return byte & (0x80 >> in % 8);
}

#endif
