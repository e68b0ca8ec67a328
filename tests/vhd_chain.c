/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/chain.c and vhd/parent.c: chains read as one flat disk, by every way of
 * reading; parents are found where they may be and nowhere else, and every
 * refusal has its reason.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
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

/* ---------------------------------------------------------------- files -- */

/* A directory with `in/` for images, `in/deep/`, and `out/` beside it. */
struct place {
	char dir[64];
};

static void place_make(struct place *p)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(p->dir, sizeof(p->dir), "%.40s/chain.XXXXXX",
		 tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(p->dir));
	assert_int_equal(chdir(p->dir), 0);
	assert_int_equal(mkdir("in", 0700), 0);
	assert_int_equal(mkdir("in/deep", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
}

static void place_remove(struct place *p)
{
	char command[128];

	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
	assert_int_equal(system(command), 0);
}

static int open_below(const char *path, const char *dir, struct vhd **img,
		      struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = dir};

	return vhd_open(path, &o, img, e);
}

static void save(struct memfile *m, const char *path)
{
	diff_save(m, path);
	memfile_destroy(m);
}

/* A fixed disk with the id 0 and one byte all over. */
static void save_base(const char *path, uint8_t byte)
{
	struct memfile *m = img_fixed(8192);
	uint8_t b[8192], id[16];

	memset(b, byte, sizeof(b));
	assert_int_equal(memfile_poke(m, b, sizeof(b), 0), 0);
	diff_id(id, 0);
	img_set(m, 8192, 512, IMG_F_ID, id, 16);
	save(m, path);
}

static void save_child(const char *path, const char *w2ru)
{
	struct memfile *m = diff_empty(1, 8192, 4096);

	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, w2ru);
	save(m, path);
}

static void assert_reads(const char *path, const char *dir, uint8_t byte)
{
	uint8_t b[8192];
	struct vhd *img = NULL;
	struct vhd_err e;

	assert_int_equal(open_below(path, dir, &img, &e), 0);
	assert_int_equal(vhd_read(img, 0, b, sizeof(b), &e), 0);
	for (size_t i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], byte);
	assert_int_equal(vhd_close(img, &e), 0);
}

static void assert_missing(const char *path, const char *dir)
{
	struct vhd *img;
	struct vhd_err e;

	assert_refused(open_below(path, dir, &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
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
		struct place p;
		struct chain c;
		struct vhd *img;
		struct vhd_err e;

		place_make(&p);
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
		place_remove(&p);
	}
}

/* Every way in which a child may say where its parent is. */
static void every_kind_of_name_is_followed(void **state)
{
	static const struct {
		uint32_t platform;
		const char *text;
		bool wide;
	} ways[] = {
		{VHD_LOCATOR_W2RU, ".\\deep\\base.vhd", true},
		{VHD_LOCATOR_W2RU, "deep\\BASE.vhd", true},
		{VHD_LOCATOR_WI2R, ".\\deep\\base.vhd", false},
		{VHD_LOCATOR_MACX, "file://./deep/base.vhd", false},
		{VHD_LOCATOR_MACX, "file:///Volumes/x/near%2evhd", false},
		{VHD_LOCATOR_W2KU, "D:\\Images\\near.vhd", true},
		{VHD_LOCATOR_W2KU, "D:\\Images\\Near.VHD", true},
		{VHD_LOCATOR_WI2K, "D:\\Images\\near.vhd", false},
		{0, "C:\\VM\\near.vhd", false},
		{0, "NEAR.vhd", false},
	};
	(void)state;
	struct place p;

	place_make(&p);
	save_base("in/deep/base.vhd", 0x77);
	save_base("in/near.vhd", 0x77);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct memfile *m = diff_empty(1, 8192, 4096);

		if (!ways[i].platform)
			diff_name(m, ways[i].text);
		else if (ways[i].wide)
			diff_locator_text(m, 3, ways[i].platform, ways[i].text);
		else
			diff_locator(m, 3, ways[i].platform, ways[i].text,
				     strlen(ways[i].text));
		save(m, "in/child.vhd");
		assert_reads("in/child.vhd", "in", 0x77);
	}
	place_remove(&p);
}

static void the_first_name_whose_id_fits_wins(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct memfile *other = img_fixed(8192);
	struct place p;

	place_make(&p);
	diff_locator_text(m, 0, VHD_LOCATOR_W2KU, "C:\\third.vhd");
	diff_locator_text(m, 1, VHD_LOCATOR_W2RU, ".\\first.vhd");
	diff_locator(m, 2, VHD_LOCATOR_MACX, "file://./second.vhd", 19);
	diff_name(m, "fourth.vhd");
	save(m, "in/child.vhd");
	save_base("in/fourth.vhd", 4);
	assert_reads("in/child.vhd", "in", 4);
	save_base("in/third.vhd", 3);
	assert_reads("in/child.vhd", "in", 3);
	save_base("in/second.vhd", 2);
	assert_reads("in/child.vhd", "in", 2);
	diff_save(other, "in/first.vhd"); /* another disk */
	assert_reads("in/child.vhd", "in", 2);
	save_base("in/first.vhd", 1);
	assert_reads("in/child.vhd", "in", 1);
	memfile_destroy(other);
	place_remove(&p);
}

static void nothing_outside_the_directory_is_opened(void **state)
{
	(void)state;
	struct vhd *img;
	struct vhd_err e;
	struct place p;
	char text[160];

	place_make(&p);
	save_base("out/base.vhd", 0x11);
	save_base("base.vhd", 0x11);
	save_child("in/child.vhd", "..\\base.vhd");
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	save_child("in/child.vhd", "deep\\..\\..\\out\\base.vhd");
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	snprintf(text, sizeof(text), "%s/out/base.vhd", p.dir);
	save_child("in/child.vhd", text);
	assert_missing("in/child.vhd", "in");
	assert_missing("in/child.vhd", ".");
	/* Links: one that stays, one that leaves, one from the root. */
	save_child("in/child.vhd", "link.vhd");
	assert_int_equal(symlink("../out/base.vhd", "in/link.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	assert_reads("in/child.vhd", ".", 0x11);
	assert_int_equal(unlink("in/link.vhd"), 0);
	assert_int_equal(symlink(text, "in/link.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	assert_missing("in/child.vhd", ".");
	assert_int_equal(unlink("in/link.vhd"), 0);
	save_base("in/deep/base.vhd", 0x22);
	assert_int_equal(symlink("deep/base.vhd", "in/link.vhd"), 0);
	assert_reads("in/child.vhd", "in", 0x22);
	/* The child itself must be in there. */
	assert_refused(open_below("in/child.vhd", "in/deep", &img, &e), &e,
		       EINVAL, VHD_WHY_ARGUMENT);
	assert_refused(open_below("in/child.vhd", "i", &img, &e), &e, ENOENT,
		       VHD_WHY_SYSTEM);
	assert_reads("in/child.vhd", "/", 0x22);
	place_remove(&p);
}

static void what_is_not_the_parent_is_refused_by_reason(void **state)
{
	(void)state;
	struct memfile *other = img_fixed(8192), *bad;
	struct vhd_open_opts rw = {.writable = true,
				   .format = VHD_FORMAT_FIXED};
	struct vhd *img, *held;
	struct vhd_err e;
	struct place p;

	place_make(&p);
	save_child("in/child.vhd", "base.vhd");
	assert_missing("in/child.vhd", "in");
	diff_save(other, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	bad = memfile_create();
	memfile_resize(bad, 8192); /* raw */
	save(bad, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	save(memfile_create(), "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_SIZE_ZERO);
	bad = memfile_clone(other);
	img_set32(bad, 8192, 512, IMG_F_TYPE, 7);
	save(bad, "in/base.vhd");
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_FOOTER_TYPE);
	save_base("in/base.vhd", 0x33);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	assert_refused(open_below("in/child.vhd", "in", &img, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(held);
	/* While a chain is open, nobody writes to its parents. */
	assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
	assert_refused(vhd_open("in/base.vhd", &rw, &held, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	assert_int_equal(vhd_open("in/base.vhd", &rw, &held, &e), 0);
	vhd_abandon(held);
	/* A child may be written to, its parents never. */
	rw.format = VHD_FORMAT_AUTO;
	rw.parent_dir = "in";
	assert_int_equal(vhd_open("in/child.vhd", &rw, &img, &e), 0);
	rw.format = VHD_FORMAT_FIXED;
	assert_refused(vhd_open("in/base.vhd", &rw, &held, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	memfile_destroy(other);
	place_remove(&p);
}

static void circles_are_refused(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct vhd *img;
	struct vhd_err e;
	uint8_t id[16];
	struct place p;

	place_make(&p);
	/* Its own parent. */
	diff_id(id, 1);
	diff_parent_id(m, id);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "a.vhd");
	diff_save(m, "in/a.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	/* By a copy of itself. */
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "copy.vhd");
	diff_save(m, "in/a.vhd");
	diff_save(m, "in/copy.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	memfile_destroy(m);
	/* Two that ask for each other. */
	m = diff_empty(1, 8192, 4096);
	diff_id(id, 2);
	diff_parent_id(m, id);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "b.vhd");
	save(m, "in/a.vhd");
	m = diff_empty(2, 8192, 4096);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "a.vhd");
	save(m, "in/b.vhd");
	assert_refused(open_below("in/a.vhd", "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_CYCLE);
	place_remove(&p);
}

static void files_stack_to_the_limit_and_no_further(void **state)
{
	(void)state;
	struct vhd *img;
	struct vhd_err e;
	struct place p;
	char path[32] = "in/0.vhd", name[32];
	uint8_t b[512];

	place_make(&p);
	save_base(path, 0x44);
	for (unsigned i = 1; i <= VHD_CHAIN_MAX; i++) {
		struct memfile *m = diff_empty(i, 8192, 4096);

		snprintf(name, sizeof(name), "%u.vhd", i - 1);
		diff_locator_text(m, 0, VHD_LOCATOR_W2RU, name);
		snprintf(path, sizeof(path), "in/%u.vhd", i);
		save(m, path);
	}
	assert_refused(open_below(path, "in", &img, &e), &e, EUCLEAN,
		       VHD_WHY_CHAIN_DEPTH);
	snprintf(path, sizeof(path), "in/%u.vhd", VHD_CHAIN_MAX - 1);
	assert_int_equal(open_below(path, "in", &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->layers, VHD_CHAIN_MAX);
	assert_int_equal(vhd_read(img, 0, b, 512, &e), 0);
	assert_int_equal(b[0], 0x44);
	assert_int_equal(vhd_close(img, &e), 0);
	place_remove(&p);
}

static void impossible_locators_are_noted_and_passed_over(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	static const uint8_t odd[3] = {'x', 0, 'y'};
	struct vhd *img;
	struct vhd_err e;
	struct place p;
	char text[64];

	place_make(&p);
	save_base("in/base.vhd", 0x55);
	diff_locator(m, 0, VHD_LOCATOR_W2RU, odd, 3);
	diff_locator_text(m, 1, VHD_LOCATOR_W2RU, "other.vhd");
	img_set64(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 24 + 16, 512);
	diff_locator_text(m, 2, VHD_LOCATOR_W2KU, "more.vhd");
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + 48 + 8, 70000);
	diff_locator_text(m, 3, 0x4d616320, "alias");
	diff_name(m, "base.vhd");
	save(m, "in/child.vhd");
	assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
	assert_true(vhd_get_info(img)->notes & VHD_NOTE_LOCATOR_BAD);
	assert_false(vhd_get_info(img)->notes & VHD_NOTE_PARENT_TIME);
	vhd_abandon(img);
	assert_int_equal(unlink("in/base.vhd"), 0);
	assert_missing("in/child.vhd", "in");
	/* To be looked at it opens nevertheless, and says where it looked. */
	const struct vhd_open_opts o = {.inspect = true, .parent_dir = "in"};

	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->fault.why, VHD_WHY_PARENT_MISSING);
	assert_int_equal(vhd_parent_path(img, 0, text, sizeof(text)), 8);
	assert_string_equal(text, "base.vhd");
	assert_int_equal(vhd_parent_path(img, 0, text, 8), -ENAMETOOLONG);
	assert_int_equal(vhd_parent_path(img, 1, text, sizeof(text)), -ENOENT);
	vhd_abandon(img);
	place_remove(&p);
}

/* blktap's child of a raw disk: an id of zeros and the name. What is named is
 * read as it is, even if it looks like a VHD: its guest may have made it so.
 */
static void a_raw_parent_of_blktaps_needs_leave(void **state)
{
	(void)state;
	static const uint8_t none[16];
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct memfile *raw = memfile_create(), *forged;
	struct vhd_open_opts o = {.parent_dir = "in"};
	uint8_t b[8192], got[8192];
	struct vhd *img = NULL;
	struct vhd_err e = {0};
	struct place p;

	place_make(&p);
	memset(b, 0x3a, sizeof(b));
	assert_int_equal(memfile_poke(raw, b, sizeof(b), 0), 0);
	diff_save(raw, "in/raw");
	diff_parent_id(m, none);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, ".\\raw");
	diff_save(m, "in/child.vhd");
	/* Another maker's id of zeros is an id, and a raw disk has none. */
	o.raw_parent = true;
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_ID);
	img_footers(m, IMG_F_APP, "tap\0\0\1\0\3", 8);
	diff_save(m, "in/child.vhd");
	o.raw_parent = false;
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, ENOTSUP,
		       VHD_WHY_PARENT_RAW);
	o.raw_parent = true;
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->layers, 2);
	assert_int_equal(vhd_read(img, 0, got, sizeof(got), &e), 0);
	assert_memory_equal(got, b, sizeof(b));
	vhd_abandon(img);
	/* A child without an id of its own is not therefore that disk. */
	img_footers(m, IMG_F_ID, none, 16);
	diff_save(m, "in/child.vhd");
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	vhd_abandon(img);
	/* A size that is another's needs its own leave. */
	forged = img_fixed(8192 - 512);
	diff_save(forged, "in/raw");
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 7680, got, 512, &e), 0);
	assert_memory_equal(got, "conectix", 8);
	vhd_abandon(img);
	assert_int_equal(truncate("in/raw", 4096), 0);
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, EUCLEAN,
		       VHD_WHY_PARENT_SIZE);
	o.larger_child = true;
	assert_int_equal(vhd_open("in/child.vhd", &o, &img, &e), 0);
	assert_int_equal(vhd_read(img, 4096, got, 4096, &e), 0);
	assert_int_equal(got[0] | got[4095], 0);
	vhd_abandon(img);
	/* Outside of the directory it is not to be had. */
	assert_int_equal(rename("in/raw", "raw"), 0);
	assert_refused(vhd_open("in/child.vhd", &o, &img, &e), &e, ENOENT,
		       VHD_WHY_PARENT_MISSING);
	memfile_destroy(forged);
	memfile_destroy(raw);
	memfile_destroy(m);
	place_remove(&p);
}

static void a_parents_date_is_only_noted(void **state)
{
	(void)state;
	struct memfile *m = diff_empty(1, 8192, 4096);
	struct vhd *img;
	struct vhd_err e;
	struct stat st;
	struct place p;

	place_make(&p);
	save_base("in/base.vhd", 0x66);
	assert_int_equal(stat("in/base.vhd", &st), 0);
	diff_locator_text(m, 0, VHD_LOCATOR_W2RU, "base.vhd");
	for (unsigned late = 0; late < 2; late++) {
		img_set32(m, IMG_HEADER, 1024, DIFF_H_PARENT_TIME,
			  (uint32_t)(st.st_mtime - 946684800 + late));
		diff_save(m, "in/child.vhd");
		assert_int_equal(open_below("in/child.vhd", "in", &img, &e), 0);
		assert_int_equal(
			!!(vhd_get_info(img)->notes & VHD_NOTE_PARENT_TIME),
			late);
		vhd_abandon(img);
	}
	memfile_destroy(m);
	place_remove(&p);
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
		T(every_kind_of_name_is_followed),
		T(the_first_name_whose_id_fits_wins),
		T(nothing_outside_the_directory_is_opened),
		T(what_is_not_the_parent_is_refused_by_reason),
		T(circles_are_refused),
		T(files_stack_to_the_limit_and_no_further),
		T(impossible_locators_are_noted_and_passed_over),
		T(a_raw_parent_of_blktaps_needs_leave),
		T(a_parents_date_is_only_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
