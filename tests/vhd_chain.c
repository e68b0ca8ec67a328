/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/chain.c: chains read as one flat disk, by every way of reading, and what
 * may be whose parent. How parents are found is in vhd_parent.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "tests/lib/scratch.h"
#include "vhd/engine.h"
#include "vhd/image.h"
#include "vhd/locator.h"

#define KIB  1024u
#define SIZE (300 * KIB + 512)

#define LAYERS_MAX 8u

/* A random chain: image 0 is the lowest. */
struct chain {
	unsigned count;
	struct memfile *m[LAYERS_MAX];
	uint8_t *model;
	uint64_t size;
};

static void chain_make(struct chain *c, unsigned count, uint64_t size,
		       uint64_t *rnd)
{
	*c = (struct chain){.count = count, .size = size};
	c->model = calloc(1, size);
	assert_non_null(c->model);
	for (unsigned i = 0; i < count; i++) {
		uint32_t block = 4096u << random_below(rnd, 6);
		uint32_t type = i		       ? IMG_TYPE_DIFF
				: random_below(rnd, 2) ? IMG_TYPE_FIXED
						       : IMG_TYPE_DYNAMIC;

		c->m[i] = diff_random(type, i, size, block, c->model, rnd);
	}
}

static void chain_free(struct chain *c)
{
	for (unsigned i = 0; i < c->count; i++)
		memfile_destroy(c->m[i]);
	free(c->model);
}

static struct vhd *layer_open(struct memfile *m, bool larger_child)
{
	struct vhd_open_opts o = {
		.parent_dir = "",
		.larger_child = larger_child,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, &img, &e), 0);
	return img;
}

/* Top down or bottom up: the order must not matter. */
static struct vhd *chain_open(struct chain *c, bool up)
{
	struct vhd *img[LAYERS_MAX];
	struct vhd_err e;

	for (unsigned i = 0; i < c->count; i++)
		img[i] = layer_open(c->m[i], false);
	for (unsigned k = 1; k < c->count; k++) {
		unsigned i = up ? k : c->count - k;

		if (up)
			assert_int_equal(
				vhd_chain_set_parent(img[i], img[i - 1], &e),
				0);
		else
			assert_int_equal(vhd_chain_link(img[c->count - 1],
							img[i], img[i - 1], &e),
					 0);
	}
	return img[c->count - 1];
}

static void model_check(struct vhd *img, const uint8_t *model, uint64_t size,
			uint64_t *rnd)
{
	uint8_t *b = malloc(size);
	struct vhd_err e;

	assert_non_null(b);
	assert_int_equal(vhd_read(img, 0, b, size, &e), 0);
	assert_memory_equal(b, model, size);
	for (int i = 0; i < 50; i++) {
		uint64_t at = random_below(rnd, size / 512);
		uint64_t n = 1 + random_below(rnd, size / 512 - at);

		assert_int_equal(vhd_read(img, at * 512, b, n * 512, &e), 0);
		assert_memory_equal(b, model + at * 512, n * 512);
	}
	free(b);
}

/* Walk the whole map; each run's bytes are where it says. */
static void map_check(struct vhd *img, const struct chain *c)
{
	uint64_t sectors = c->size / 512;
	struct vhd_run run;
	struct vhd_err e;
	unsigned layer;

	for (uint64_t lba = 0; lba < sectors; lba += run.sectors) {
		assert_int_equal(vhd_map_chain(img, lba, sectors - lba, &run,
					       &layer, &e),
				 0);
		assert_true(run.sectors && run.sectors <= sectors - lba);
		assert_true(layer < c->count);
		assert_int_not_equal(run.kind, VHD_RUN_PARENT);
		for (uint64_t s = 0; s < run.sectors; s++) {
			uint8_t b[512] = {0};

			if (run.kind == VHD_RUN_FILE)
				memfile_peek(c->m[c->count - 1 - layer], b, 512,
					     run.off_bytes + s * 512);
			assert_memory_equal(b, c->model + (lba + s) * 512, 512);
		}
	}
	assert_refused(vhd_map_chain(img, sectors, 1, &run, &layer, &e), &e,
		       EINVAL, VHD_WHY_RANGE);
	assert_refused(vhd_map_chain(img, 0, 0, &run, &layer, &e), &e, EINVAL,
		       VHD_WHY_RANGE);
}

#define REQS 24u

/* Many reads of many sizes in flight, each compared when it comes. */
static void queue_check(struct vhd *img, enum vhd_engine engine,
			const uint8_t *model, uint64_t size, uint64_t *rnd)
{
	struct vhd_queue_opts o = {.engine = engine, .depth = 5};
	struct vhd_req req[REQS] = {0}, *done[REQS];
	struct iovec iov[REQS];
	struct vhd_queue *q;
	struct vhd_err e;
	unsigned seen = 0;
	int rc = vhd_queue_create(&o, &q, &e);

	if (rc == -ENOSYS || rc == -EPERM)
		return; /* the machine bars it */
	assert_int_equal(rc, 0);
	assert_int_equal(vhd_queue_attach(q, img, &e), 0);
	for (unsigned i = 0; i < REQS; i++) {
		uint64_t at = random_below(rnd, size / 512);
		uint64_t n = 1 + random_below(rnd, size / 512 - at);

		iov[i].iov_base =
			aligned_alloc(4096, (n * 512 + 4095) & ~4095u);
		iov[i].iov_len = n * 512;
		assert_non_null(iov[i].iov_base);
		req[i] = (struct vhd_req){.img = img,
					  .op = VHD_OP_READ,
					  .lba = at,
					  .iov = &iov[i],
					  .iov_count = 1};
		vhd_queue_submit(q, &req[i]);
	}
	while (seen < REQS) {
		seen += vhd_queue_reap(q, done, REQS);
		if (seen < REQS)
			assert_int_equal(vhd_queue_wait(q, -1, -1), 0);
	}
	for (unsigned i = 0; i < REQS; i++) {
		assert_int_equal(req[i].result, 0);
		assert_memory_equal(iov[i].iov_base, model + req[i].lba * 512,
				    iov[i].iov_len);
		free(iov[i].iov_base);
	}
	vhd_queue_detach(q, img);
	assert_int_equal(vhd_queue_attach(q, img, &e), 0);
	vhd_queue_destroy(q);
}

static void random_chains_read_as_one_flat_disk(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();

	for (int i = 0; i < 60; i++) {
		unsigned n = 1 + (unsigned)random_below(&rnd, LAYERS_MAX);
		struct chain c;
		struct vhd *img;

		chain_make(&c, n, 512 * (1 + random_below(&rnd, 800)), &rnd);
		img = chain_open(&c, i & 1);
		assert_int_equal(vhd_get_info(img)->layers, n);
		model_check(img, c.model, c.size, &rnd);
		map_check(img, &c);
		queue_check(img, VHD_ENGINE_SYNC, c.model, c.size, &rnd);
		assert_int_equal(vhd_close(img, NULL), 0);
		chain_free(&c);
	}
}

static void chains_of_files_read_by_every_engine(void **state)
{
	static const enum vhd_engine engines[] = {
		VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};
	(void)state;
	uint64_t rnd = random_seed();

	for (int round = 0; round < 12; round++) {
		unsigned n = 2 + (unsigned)random_below(&rnd, LAYERS_MAX - 1);
		struct vhd_open_opts o = {
			.parent_dir = "in",
			.direct = round & 1,
		};
		char path[32], name[32];
		struct vhd_layer layer;
		struct scratch p;
		struct chain c;
		struct vhd *img;
		struct vhd_err e;

		scratch_enter(&p, "chain", false);
		assert_int_equal(mkdir("in", 0700), 0);
		chain_make(&c, n, SIZE, &rnd);
		for (unsigned i = 0; i < n; i++) {
			snprintf(name, sizeof(name), ".\\l%u.vhd", i - 1);
			if (i)
				diff_locator_text(c.m[i], 0, VHD_LOCATOR_W2RU,
						  name);
			snprintf(path, sizeof(path), "in/l%u.vhd", i);
			diff_save(c.m[i], path);
		}
		assert_int_equal(vhd_open(path, &o, &img, &e), 0);
		assert_int_equal(vhd_get_info(img)->layers, n);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(vhd_layer(img, i, &layer), 0);
			assert_true(layer.fd >= 0);
			snprintf(path, sizeof(path), "/in/l%u.vhd", n - 1 - i);
			assert_string_equal(layer.path + strlen(layer.path) -
						    strlen(path),
					    path);
			assert_int_equal(layer.info->layers, n - i);
		}
		assert_int_equal(vhd_layer(img, n, &layer), -EINVAL);
		model_check(img, c.model, c.size, &rnd);
		map_check(img, &c);
		for (unsigned i = 0; i < 3; i++)
			queue_check(img, engines[i], c.model, c.size, &rnd);
		assert_int_equal(vhd_close(img, &e), 0);
		chain_free(&c);
		scratch_leave(&p);
	}
}

static void nothing_is_written_to_any_layer(void **state)
{
	(void)state;
	uint64_t rnd = random_seed();
	struct chain c;
	struct vhd *img;

	chain_make(&c, 4, SIZE, &rnd);
	img = chain_open(&c, true);
	model_check(img, c.model, c.size, &rnd);
	assert_int_equal(vhd_close(img, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(memfile_count(c.m[i], MEMFILE_WRITE), 0);
		assert_int_equal(memfile_count(c.m[i], MEMFILE_TRUNCATE), 0);
		assert_int_equal(memfile_count(c.m[i], MEMFILE_ZERO), 0);
	}
	chain_free(&c);
}

static int fail_reads(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	(void)ctx;
	(void)off;
	(void)len;
	return op == MEMFILE_READ ? -EIO : 0;
}

static void a_parents_fault_is_the_reads_fault(void **state)
{
	(void)state;
	uint8_t *model = calloc(1, SIZE), b[512];
	uint64_t rnd = 1;
	struct memfile *base =
		diff_random(IMG_TYPE_FIXED, 0, SIZE, 0, model, &rnd);
	struct memfile *top = diff_empty(1, SIZE, 4096);
	struct vhd *img = layer_open(top, false);
	struct vhd_err e;

	assert_int_equal(vhd_chain_set_parent(img, layer_open(base, false), &e),
			 0);
	memfile_set_hook(base, fail_reads, NULL);
	assert_refused(vhd_read(img, 0, b, 512, &e), &e, EIO, VHD_WHY_IO);
	memfile_set_hook(base, NULL, NULL);
	assert_int_equal(vhd_read(img, 0, b, 512, &e), 0);
	assert_memory_equal(b, model, 512);
	vhd_abandon(img);
	memfile_destroy(base);
	memfile_destroy(top);
	free(model);
}

static void without_its_parent_a_child_gives_no_zeros(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, SIZE, 4096);
	struct vhd *img = layer_open(m, false);
	uint8_t b[512];
	struct vhd_err e;

	assert_refused(vhd_read(img, 0, b, 512, &e), &e, ENOTSUP,
		       VHD_WHY_NEEDS_PARENT);
	vhd_abandon(img);
	assert_refused(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), &e,
		       ENOTSUP, VHD_WHY_NEEDS_PARENT);
	memfile_destroy(m);
}

static void a_long_empty_child_costs_one_walk_only(void **state)
{
	(void)state;
	const uint64_t size = 2040ull << 30;
	struct memfile *base = img_bare(size, 2u << 20, NULL, 0);
	struct memfile *top = diff_empty(1, size, 2u << 20);
	struct vhd *img = layer_open(top, false);
	uint64_t lba = 0, sectors = size / 512, runs = 0;
	struct vhd_run run;
	struct vhd_err e;
	unsigned layer;
	uint8_t id[16];
	struct vhd *low;

	diff_id(id, 0);
	img_footers(base, IMG_F_ID, id, 16);
	low = layer_open(base, false);
	assert_int_equal(vhd_chain_set_parent(img, low, &e), 0);
	for (; lba < sectors; lba += run.sectors, runs++) {
		assert_int_equal(vhd_map_chain(img, lba, sectors - lba, &run,
					       &layer, &e),
				 0);
		assert_int_equal(run.kind, VHD_RUN_HOLE);
	}
	assert_true(runs > 1000 && runs < 3000);
	vhd_abandon(img);
	memfile_destroy(base);
	memfile_destroy(top);
}

/* ------------------------------------------------------------- who fits -- */

static void a_larger_child_needs_leave_and_ends_in_zeros(void **state)
{
	(void)state;
	const uint64_t small = 20 * KIB + 512, large = 52 * KIB;
	uint8_t *model = calloc(1, large), *b = malloc(large);
	uint64_t rnd = random_seed();
	struct memfile *base, *top;
	struct vhd *img, *low;
	struct vhd_run run;
	struct vhd_err e;
	unsigned layer;

	base = diff_random(IMG_TYPE_FIXED, 0, small, 0, model, &rnd);
	top = diff_random(IMG_TYPE_DIFF, 1, large, 4096, model, &rnd);
	img = layer_open(top, false);
	low = layer_open(base, false);
	assert_refused(vhd_chain_set_parent(img, low, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	vhd_abandon(img);
	img = layer_open(top, true);
	assert_int_equal(vhd_chain_set_parent(img, low, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, large, &e), 0);
	assert_memory_equal(b, model, large);
	queue_check(img, VHD_ENGINE_SYNC, model, large, &rnd);
	for (uint64_t lba = 0; lba < large / 512; lba += run.sectors)
		assert_int_equal(vhd_map_chain(img, lba, large / 512 - lba,
					       &run, &layer, &e),
				 0);
	vhd_abandon(img);
	memfile_destroy(base);
	memfile_destroy(top);
	free(model);
	free(b);
}

static void a_larger_parent_is_refused(void **state)
{
	(void)state;
	struct memfile *base = img_fixed(SIZE + 512);
	struct memfile *top = diff_empty(1, SIZE, 4096);
	struct vhd *img = layer_open(top, true), *low;
	uint8_t id[16];
	struct vhd_err e;

	diff_id(id, 0);
	img_set(base, SIZE + 512, 512, IMG_F_ID, id, 16);
	low = layer_open(base, false);
	assert_refused(vhd_chain_set_parent(img, low, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	vhd_abandon(low);
	vhd_abandon(img);
	memfile_destroy(base);
	memfile_destroy(top);
}

static void another_id_and_a_raw_disk_are_no_parent(void **state)
{
	(void)state;
	static const uint8_t none[16];
	struct memfile *other = img_fixed(SIZE), *raw = memfile_create();
	struct memfile *top = diff_empty(1, SIZE, 4096);
	struct vhd *img = layer_open(top, false), *low;
	struct vhd_err e;

	low = layer_open(other, false);
	assert_refused(vhd_chain_set_parent(img, low, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	vhd_abandon(low);
	vhd_abandon(img);
	diff_parent_id(top, none);
	memfile_resize(raw, SIZE);
	img = layer_open(top, false);
	low = layer_open(raw, false);
	assert_refused(vhd_chain_set_parent(img, low, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	vhd_abandon(low);
	vhd_abandon(img);
	memfile_destroy(other);
	memfile_destroy(raw);
	memfile_destroy(top);
}

static void copies_of_one_disk_make_no_circle(void **state)
{
	(void)state;
	struct memfile *a = diff_empty(1, SIZE, 4096);
	struct memfile *b = diff_empty(2, SIZE, 4096);
	struct vhd *img, *mid, *low;
	uint8_t id[16];
	struct vhd_err e;

	diff_id(id, 2);
	diff_parent_id(a, id);
	img = layer_open(b, false);
	mid = layer_open(a, false);
	low = layer_open(b, false);
	assert_int_equal(vhd_chain_set_parent(img, mid, &e), 0);
	assert_refused(vhd_chain_link(img, mid, low, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	vhd_abandon(low);
	vhd_abandon(img);
	memfile_destroy(a);
	memfile_destroy(b);
}

static void the_deepest_chain_reads_and_one_more_is_refused(void **state)
{
	(void)state;
	static struct memfile *m[VHD_CHAIN_MAX + 1];
	uint8_t *model = calloc(1, 8192), b[8192];
	struct vhd *img, *next;
	uint64_t rnd = 7;
	struct vhd_err e;

	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++)
		m[i] = i ? diff_empty(i, 8192, 4096)
			 : diff_random(IMG_TYPE_FIXED, 0, 8192, 0, model, &rnd);
	img = layer_open(m[0], false);
	for (unsigned i = 1; i < VHD_CHAIN_MAX; i++) {
		next = layer_open(m[i], false);
		assert_int_equal(vhd_chain_set_parent(next, img, &e), 0);
		img = next;
	}
	assert_int_equal(vhd_get_info(img)->layers, VHD_CHAIN_MAX);
	assert_int_equal(vhd_read(img, 0, b, 8192, &e), 0);
	assert_memory_equal(b, model, 8192);
	queue_check(img, VHD_ENGINE_SYNC, model, 8192, &rnd);
	next = layer_open(m[VHD_CHAIN_MAX], false);
	assert_refused(vhd_chain_set_parent(next, img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_DEPTH);
	vhd_abandon(next);
	vhd_abandon(img);
	for (unsigned i = 0; i <= VHD_CHAIN_MAX; i++)
		memfile_destroy(m[i]);
	free(model);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(random_chains_read_as_one_flat_disk),
		T(nothing_is_written_to_any_layer),
		T(a_parents_fault_is_the_reads_fault),
		T(without_its_parent_a_child_gives_no_zeros),
		T(a_long_empty_child_costs_one_walk_only),
		T(a_larger_child_needs_leave_and_ends_in_zeros),
		T(a_larger_parent_is_refused),
		T(another_id_and_a_raw_disk_are_no_parent),
		T(copies_of_one_disk_make_no_circle),
		T(the_deepest_chain_reads_and_one_more_is_refused),
		T(chains_of_files_read_by_every_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
