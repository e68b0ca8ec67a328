/* SPDX-License-Identifier: BSD-2-Clause */
/* One image under many threads, as its queues use it: lookups without a lock,
 * blocks allocated and made whole under each other's writes, flushes that
 * overlap. Meant for ThreadSanitizer, too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "vhd/image.h"

#define KIB	1024u
#define BLOCK	(16 * KIB)
#define THREADS 8
#define SECTORS 8192u
#define ROUNDS	3000

struct worker {
	struct vhd *img;
	const struct vhd_file *file;
	unsigned number;
	uint64_t rnd;
	uint32_t version[SECTORS / THREADS]; /* of this thread's sectors */
	int failed;			     /* line */
	struct vhd_commit commit;
	struct vhd_err err;
};

static void stamp(uint8_t b[512], uint32_t lba, uint32_t version)
{
	memset(b, 0, 512);
	if (!version)
		return;
	img_put32(b, lba);
	img_put32(b + 508, version);
}

#define CHECK(w, cond)                                                         \
	do {                                                                   \
		if (!(cond)) {                                                 \
			(w)->failed = __LINE__;                                \
			return false;                                          \
		}                                                              \
	} while (0)

static bool write_own(struct worker *w, uint32_t slot)
{
	uint32_t lba = slot * THREADS + w->number;
	struct vhd_run r;
	uint8_t b[512];

	stamp(b, lba, ++w->version[slot]);
	CHECK(w, vhd_map_write(w->img, lba, 1, &r, &w->err) == 0);
	CHECK(w, r.kind == VHD_RUN_FILE && r.sectors == 1);
	CHECK(w, vhd_file_write(w->file, b, 512, r.off_bytes, &w->err) == 0);
	vhd_written(w->img, lba, 1);
	return true;
}

static bool read_own(struct worker *w, uint32_t slot)
{
	uint32_t lba = slot * THREADS + w->number;
	uint8_t want[512], got[512];
	struct vhd_run r;

	stamp(want, lba, w->version[slot]);
	memset(got, 0, sizeof(got));
	CHECK(w, vhd_map(w->img, lba, 1, &r, &w->err) == 0);
	if (r.kind == VHD_RUN_FILE)
		CHECK(w, vhd_file_read(w->file, got, 512, r.off_bytes,
				       &w->err) == 0);
	CHECK(w, memcmp(want, got, 512) == 0);
	return true;
}

static bool flush(struct worker *w)
{
	struct vhd_commit *t = &w->commit;

	CHECK(w, vhd_commit_begin(w->img, t, &w->err) == 0);
	CHECK(w, vhd_file_flush(w->file, &w->err) == 0);
	if (!vhd_commit_needed(w->img, t))
		return true;
	CHECK(w, vhd_commit_publish(w->img, t, &w->err) == 0);
	CHECK(w, vhd_file_flush(w->file, &w->err) == 0);
	vhd_commit_end(w->img, t);
	CHECK(w, !vhd_commit_needed(w->img, t));
	return true;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	bool ok = true;

	for (int i = 0; ok && i < ROUNDS; i++) {
		uint32_t slot =
			(uint32_t)random_below(&w->rnd, SECTORS / THREADS);
		uint64_t what = random_below(&w->rnd, 32);

		if (what == 0)
			ok = flush(w);
		else if (what < 12)
			ok = write_own(w, slot);
		else
			ok = read_own(w, slot);
	}
	return NULL;
}

/* Takes `img`. */
static void verify(struct vhd *img, const struct worker *w)
{
	struct vhd_err e;
	uint8_t want[512], got[512];

	assert_int_equal(vhd_get_info(img)->notes, 0);
	for (uint32_t lba = 0; lba < SECTORS; lba++) {
		stamp(want, lba, w[lba % THREADS].version[lba / THREADS]);
		assert_int_equal(vhd_read(img, lba * 512ull, got, 512, &e), 0);
		assert_memory_equal(want, got, 512);
	}
	vhd_abandon(img);
}

/* Takes `img`. Returns what each thread wrote last. */
static const struct worker *run(struct vhd *img, uint64_t seed)
{
	static struct worker w[THREADS];
	pthread_t t[THREADS];
	struct vhd_err e;

	memset(w, 0, sizeof(w));
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].img = img;
		w[i].file = vhd_get_file(img);
		w[i].number = i;
		w[i].rnd = seed + i;
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		vhd_commit_fini(&w[i].commit);
	}
	for (unsigned i = 0; i < THREADS; i++)
		if (w[i].failed)
			fail_msg("thread %u, line %d: %s", i, w[i].failed,
				 w[i].err.text);
	assert_int_equal(vhd_close(img, &e), 0);
	return w;
}

static void run_in_memory(struct memfile *m, uint64_t seed)
{
	const struct worker *w;
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	w = run(img, seed);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	verify(img, w);
}

/* The kernel's files take no lock that ThreadSanitizer would see, so nothing
 * orders the threads but the library.
 */
static void threads_share_a_file_of_the_host(void **state)
{
	(void)state;
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SECTORS * 512,
		.block_size_bytes = BLOCK,
	};
	struct vhd_open_opts ro = {0};
	char path[] = "/tmp/vhd_threads.XXXXXX";
	const struct worker *w;
	struct vhd *img;
	struct vhd_err e;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vhd_create(path, &o, &img, &e), 0);
	w = run(img, random_seed());
	assert_int_equal(vhd_open(path, &ro, &img, &e), 0);
	verify(img, w);
	assert_int_equal(unlink(path), 0);
}

static struct memfile *fresh(void)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SECTORS * 512,
		.block_size_bytes = BLOCK,
	};
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(vhd_create_file(&f, &o, &img, &e), 0);
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

/* Every block there, none of its sectors valid, junk beneath. */
static struct memfile *all_partial(void)
{
	static uint32_t order[SECTORS * 512 / BLOCK];
	const unsigned n = sizeof(order) / sizeof(order[0]);
	uint8_t map[512] = {0};
	struct memfile *m;

	for (uint32_t i = 0; i < n; i++)
		order[i] = n - 1 - i;
	m = img_dynamic(SECTORS * 512, BLOCK, order, n);
	for (unsigned k = 0; k < n; k++)
		assert_int_equal(
			memfile_poke(m, map, 512,
				     img_place(SECTORS * 512, BLOCK, k)),
			0);
	return m;
}

static void threads_share_a_fresh_image(void **state)
{
	(void)state;
	struct memfile *m = fresh();

	run_in_memory(m, random_seed());
	memfile_destroy(m);
}

static void threads_share_an_image_of_partial_blocks(void **state)
{
	(void)state;
	struct memfile *m = all_partial();

	run_in_memory(m, random_seed());
	memfile_destroy(m);
}

/* A child: what it lacks reads as its parent's zeros. */
static int open_child(struct memfile *top, struct memfile *base, bool writable,
		      struct vhd **out)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = "",
	};
	const struct vhd_open_opts ro = {0};
	struct vhd_file f = memfile_file(top), low = memfile_file(base);
	struct vhd *parent;
	struct vhd_err e;

	assert_int_equal(vhd_open_file(&f, &o, out, &e), 0);
	assert_int_equal(vhd_open_file(&low, &ro, &parent, &e), 0);
	return vhd_chain_set_parent(*out, parent, &e);
}

/* Every block there with no bit set, or none there at all. */
static void threads_share_a_child(void **state)
{
	(void)state;
	uint8_t id[16];

	for (int kind = 0; kind < 2; kind++) {
		struct memfile *base = img_bare(SECTORS * 512, BLOCK, NULL, 0);
		struct memfile *top = kind ? all_partial()
					   : diff_empty(1, SECTORS * 512, BLOCK);
		const struct worker *w;
		struct vhd *img;

		diff_id(id, 0);
		img_footers(base, IMG_F_ID, id, 16);
		img_footers32(top, IMG_F_TYPE, IMG_TYPE_DIFF);
		diff_parent_id(top, id);
		assert_int_equal(open_child(top, base, true, &img), 0);
		w = run(img, random_seed());
		assert_int_equal(open_child(top, base, false, &img), 0);
		verify(img, w);
		memfile_destroy(top);
		memfile_destroy(base);
	}
}

/* All threads want the same block at the same moment: it is allocated, or made
 * whole, once.
 */
struct racer {
	struct vhd *img;
	pthread_barrier_t *start;
	unsigned number;
	bool failed;
};

#define RACES (SECTORS * 512 / BLOCK)

static void *race(void *arg)
{
	struct racer *r = arg;
	struct vhd_run run;
	uint8_t b[512];

	for (uint32_t block = 0; block < RACES; block++) {
		uint32_t lba = block * (BLOCK / 512) + r->number;

		stamp(b, lba, 1);
		pthread_barrier_wait(r->start);
		if (vhd_map_write(r->img, lba, 1, &run, NULL) ||
		    vhd_file_write(vhd_get_file(r->img), b, 512, run.off_bytes,
				   NULL))
			r->failed = true;
	}
	return NULL;
}

static void race_for_blocks(struct memfile *m)
{
	struct racer r[THREADS];
	pthread_t t[THREADS];
	pthread_barrier_t start;
	struct vhd *img;
	struct vhd_err e;
	uint8_t want[512], got[512];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	pthread_barrier_init(&start, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		r[i] = (struct racer){img, &start, i, false};
		assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_false(r[i].failed);
	}
	pthread_barrier_destroy(&start);
	for (uint32_t lba = 0; lba < SECTORS; lba++) {
		stamp(want, lba, lba % (BLOCK / 512) < THREADS);
		assert_int_equal(vhd_read(img, lba * 512ull, got, 512, &e), 0);
		assert_memory_equal(want, got, 512);
	}
	assert_int_equal(vhd_close(img, &e), 0);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->blocks_used, RACES);
	vhd_abandon(img);
}

static void a_block_wanted_by_all_comes_once(void **state)
{
	(void)state;
	struct memfile *m[] = {fresh(), all_partial()};

	for (size_t i = 0; i < 2; i++) {
		race_for_blocks(m[i]);
		memfile_destroy(m[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_fresh_image),
		cmocka_unit_test(threads_share_a_file_of_the_host),
		cmocka_unit_test(threads_share_an_image_of_partial_blocks),
		cmocka_unit_test(threads_share_a_child),
		cmocka_unit_test(a_block_wanted_by_all_comes_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
