/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/chain.c: the layers of a chain looked at one by one. */
#include <errno.h>
#include <stdlib.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "vhd/image.h"

#define SIZE (300 * 1024 + 512)
#define LAYERS_MAX 5u

struct chain {
	unsigned count;
	struct memfile *m[LAYERS_MAX];
	uint8_t *model;
};

/* A random chain, its lowest image made first. Returns the top. */
static struct vhd *chain_make(struct chain *c, unsigned count, uint64_t *rnd)
{
	const struct vhd_open_opts o = {.parent_dir = ""};
	struct vhd *img = NULL;
	struct vhd_err e;

	*c = (struct chain){.count = count, .model = calloc(1, SIZE)};
	assert_non_null(c->model);
	for (unsigned i = 0; i < count; i++) {
		uint32_t block = 4096u << random_below(rnd, 6);
		uint32_t type = i		       ? IMG_TYPE_DIFF
				: random_below(rnd, 2) ? IMG_TYPE_FIXED
						       : IMG_TYPE_DYNAMIC;
		struct vhd *below = img;
		struct vhd_file f;

		c->m[i] = diff_random(type, i, SIZE, block, c->model, rnd);
		f = memfile_file(c->m[i]);
		assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
		if (below)
			assert_int_equal(vhd_chain_set_parent(img, below, &e),
					 0);
	}
	return img;
}

static void chain_free(struct chain *c)
{
	for (unsigned i = 0; i < c->count; i++)
		memfile_destroy(c->m[i]);
	free(c->model);
}

/* By hand, layer by layer, the disk is what the chain's map says. */
static void layers_check(struct vhd *img)
{
	for (uint64_t lba = 0; lba < SIZE / 512; lba++) {
		struct vhd_run one, all;
		struct vhd_err e;
		unsigned i = 0, layer;

		do
			assert_int_equal(
				vhd_layer_map(img, i++, lba, 1, &one, &e), 0);
		while (one.kind == VHD_RUN_PARENT);
		assert_int_equal(vhd_map_chain(img, lba, 1, &all, &layer, &e),
				 0);
		assert_int_equal(all.kind, one.kind);
		assert_int_equal(all.off_bytes, one.off_bytes);
		assert_int_equal(layer, i - 1);
	}
}

static void blocks_check(const struct vhd *img, unsigned i)
{
	uint64_t off, used = 0;
	struct vhd_layer l;

	assert_int_equal(vhd_layer(img, i, &l), 0);
	for (uint32_t b = 0; b < l.info->blocks; b++) {
		assert_int_equal(vhd_layer_block(img, i, b, &off), 0);
		assert_true(off < l.info->file_bytes);
		used += off != 0;
	}
	assert_int_equal(used, l.info->blocks_used);
	assert_int_equal(vhd_layer_block(img, i, l.info->blocks, &off),
			 -EINVAL);
}

static void layers_can_be_looked_at_one_by_one(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (unsigned count = 1; count <= LAYERS_MAX; count++) {
		struct chain c;
		struct vhd *img;
		struct vhd_run run;
		struct vhd_err e;
		uint64_t off;

		img = chain_make(&c, count, &rnd);
		layers_check(img);
		for (unsigned i = 0; i < count; i++)
			blocks_check(img, i);
		assert_refused(vhd_layer_map(img, count, 0, 1, &run, &e), &e,
			       EINVAL, VHD_WHY_ARGUMENT);
		assert_int_equal(vhd_layer_block(img, count, 0, &off),
				 -EINVAL);
		vhd_abandon(img);
		chain_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layers_can_be_looked_at_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
