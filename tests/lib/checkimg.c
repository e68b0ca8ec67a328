/* SPDX-License-Identifier: BSD-2-Clause */
/* See checkimg.h. */
#include <string.h>

#include "tests/lib/checkimg.h"

/* ------------------------------------------------------------ findings -- */

static int collect(void *ctx, const struct vhd_finding *f)
{
	struct found *all = ctx;

	assert_true(all->count < FOUND_MAX);
	assert_true(f->text[0] != '\0');
	all->f[all->count++] = *f;
	return 0;
}

void found_by(struct memfile *m, struct vhd_check_opts *o, struct found *all)
{
	struct vhd_file f = memfile_file(m);

	memset(all, 0, sizeof(*all));
	o->found = collect;
	o->ctx = all;
	o->now_unix_s = FOUND_NOW_S;
	all->rc = vhd_check_file(&f, o, &all->r, &all->err);
}

void found_in(struct memfile *m, struct found *all)
{
	struct vhd_check_opts o = {.data = true};

	found_by(m, &o, all);
}

const struct vhd_finding *found_find(const struct found *all,
				     enum vhd_finding_code code)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->f[i].code == code)
			return &all->f[i];
	return NULL;
}

uint64_t found_faults(const struct found *all)
{
	return all->r.severity_count[VHD_SEVERITY_ERROR] +
	       all->r.severity_count[VHD_SEVERITY_WARNING];
}

/* -------------------------------------------------------------- images -- */

void img_poke(struct memfile *m, const void *b, size_t len, uint64_t off)
{
	assert_int_equal(memfile_poke(m, b, len, off), 0);
}

void img_poke_zeros(struct memfile *m, size_t len, uint64_t off)
{
	static const uint8_t zeros[4096];

	assert_true(len <= sizeof(zeros));
	img_poke(m, zeros, len, off);
}

uint64_t img_end(const struct memfile *m)
{
	return memfile_len(m) - 512;
}

const uint32_t img_three_order[3] = {2, 0, 3};

struct memfile *img_three(void)
{
	return img_dynamic(IMG_THREE_BYTES, MIB, img_three_order, 3);
}

void img_hide_sector(struct memfile *m)
{
	img_poke(m, "\xfe", 1, img_place(IMG_THREE_BYTES, MIB, 1) + 2);
}

/* A blktap image of four blocks, all full, its batmap where its header says,
 * the blocks behind.
 */
struct memfile *img_blktap(uint8_t map)
{
	struct memfile *m = img_bare(IMG_THREE_BYTES, MIB, NULL, 0);
	uint8_t w[512] = {0}, b[512] = {0}, ones[256], f[512];
	uint64_t at = IMG_BATMAP + 1024;

	memcpy(w, "tdbatmap", 8);
	img_put64(w + 8, IMG_BATMAP + 512);
	img_put32(w + 16, 1);
	img_put32(w + 20, 0x00010002);
	img_put32(w + 24, ~(uint32_t)map);
	b[0] = map;
	img_poke(m, w, 512, IMG_BATMAP);
	img_poke(m, b, 512, IMG_BATMAP + 512);
	memset(ones, 0xff, sizeof(ones));
	for (uint32_t k = 0; k < 4; k++, at += 512 + MIB) {
		img_poke(m, ones, sizeof(ones), at);
		img_bat(m, k, (uint32_t)(at / 512));
	}
	img_footer(f, IMG_TYPE_DYNAMIC, IMG_THREE_BYTES);
	img_poke(m, f, 512, 0);
	img_poke(m, f, 512, at);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	img_footers32(m, IMG_F_APP_VERSION, 0x00010003);
	return m;
}

struct memfile *img_child(void)
{
	struct memfile *m = img_three();
	uint8_t loc[24] = {0};

	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
	img_set(m, IMG_HEADER, 1024, 40, "parent-identity!", 16);
	img_set(m, IMG_HEADER, 1024, 64, "\0p\0.\0v\0h\0d\0\0", 12);
	img_put32(loc, 0x57327275); /* W2ru */
	img_put32(loc + 4, 512);
	img_put32(loc + 8, 14);
	img_put64(loc + 16, img_place(IMG_THREE_BYTES, MIB, 3) + 512);
	img_set(m, IMG_HEADER, 1024, IMG_H_LOCATOR, loc, 24);
	/* The payload behind the blocks, then the footer. */
	uint8_t f[512];

	memfile_peek(m, f, 512, img_end(m));
	img_poke(m, f, 512, memfile_len(m) + 512);
	img_poke_zeros(m, 512, img_place(IMG_THREE_BYTES, MIB, 3));
	img_poke(m, ".\0\\\0p\0.\0v\0h\0d\0", 14,
		 img_place(IMG_THREE_BYTES, MIB, 3) + 512);
	return m;
}
