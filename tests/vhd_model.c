/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight threads, each with its own queue, against one image and a flat model:
 * random writes, FUA writes, zeroing, reads and flushes with many requests in flight.
 * The disk is cut into extents of random length, each owned by one thread, so
 * sectors are never shared and blocks nearly always are. After each round the
 * image is closed, opened again and compared whole. The same on a child, over
 * a parent with other blocks, which stays byte for byte what it was.
 *
 * usage: vhd_model                     20 rounds on each engine (unit test)
 *        vhd_model ENGINE DIRECTORY    the same on one engine, leaving each
 *                                      image and its model as DIRECTORY/N.vhd
 *                                      and N.raw for other readers
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"
#include "tests/lib/random.h"

#define ROUNDS 20u
#define ROUNDS_PER_IMAGE 4u
#define THREADS 8u
#define FLIGHT 12u          /* requests a thread has out */
#define REQUESTS 250u       /* a thread makes in a round */
#define EXTENT_MAX 300u     /* sectors */
#define BUF_BYTES (38u * 4096u) /* at least so many */
_Static_assert(BUF_BYTES >= EXTENT_MAX * SECTOR, "an extent fits");
#define IOV_MAX_TEST 6u
#define EXTENTS_MAX 40000u

/* The disk is no whole number of blocks, of no kind. */
#define DISK_SECTORS (12288u + 77u)
#define DISK_BYTES ((uint64_t)DISK_SECTORS * SECTOR)

struct extent {
	uint32_t first;
	uint32_t sectors;
	unsigned owner;
	bool busy;
};

struct world {
	struct vhd *img;
	enum vhd_engine engine;
	uint8_t *model;
	struct extent extents[EXTENTS_MAX];
	unsigned extent_count;
	atomic_uint faults;
};

struct worker {
	struct world *w;
	unsigned me;
	uint64_t random;
};

struct flight {
	struct vhd_req req;
	struct extent *extent; /* NULL: a flush */
	struct iovec iov[IOV_MAX_TEST];
	uint8_t *buf;
	size_t len;
	bool busy;
};

/* Every thread gets as many as it has requests out, the rest falls as it may:
 * one that has all of its own in flight would look for a free one for ever.
 */
static unsigned owner_of(unsigned extent, uint64_t *random)
{
	uint64_t any = random_below(random, THREADS);

	return extent < THREADS * FLIGHT ? extent % THREADS : (unsigned)any;
}

static void deal_extents(struct world *w, uint64_t *random)
{
	uint32_t at = 0;

	w->extent_count = 0;
	while (at < DISK_SECTORS && w->extent_count < EXTENTS_MAX) {
		uint32_t n = 1 + (uint32_t)random_below(random, EXTENT_MAX);

		/* many short ones, a few that span blocks */
		if (random_below(random, 4))
			n = 1 + n % 24;
		if (n > DISK_SECTORS - at)
			n = DISK_SECTORS - at;
		w->extents[w->extent_count++] = (struct extent){
			.first = at,
			.sectors = n,
			.owner = owner_of(w->extent_count, random),
		};
		at += n;
	}
}

static struct extent *own_free_extent(struct worker *k)
{
	struct world *w = k->w;

	for (;;) {
		struct extent *e = &w->extents[random_below(
			&k->random, w->extent_count)];

		if (e->owner == k->me && !e->busy)
			return e;
	}
}

/* Cut the flight's buffer at random places, sector edges or not. */
static uint32_t cut(struct worker *k, struct flight *f)
{
	size_t at = 0;
	uint32_t n = 0;

	while (n + 1 < IOV_MAX_TEST && at < f->len &&
	       random_below(&k->random, 3)) {
		size_t step = random_below(&k->random, f->len - at + 1);

		if (random_below(&k->random, 2))
			step -= step % SECTOR;
		f->iov[n++] = (struct iovec){f->buf + at, step};
		at += step;
	}
	f->iov[n++] = (struct iovec){f->buf + at, f->len - at};
	return n;
}

static void prepare(struct worker *k, struct flight *f)
{
	struct extent *e = own_free_extent(k);
	uint32_t from = (uint32_t)random_below(&k->random, e->sectors);
	uint32_t n = 1 + (uint32_t)random_below(&k->random, e->sectors - from);
	uint64_t lba = e->first + from;
	uint64_t what = random_below(&k->random, 100);

	f->extent = e;
	e->busy = true;
	f->len = (size_t)n * SECTOR;
	f->req = (struct vhd_req){.img = k->w->img, .lba = lba, .iov = f->iov,
				  .op = VHD_OP_READ};
	f->req.iov_count = cut(k, f);
	if (what < 40) {
		memset(f->buf, 0x55, f->len);
		return;
	}
	if (what < 50) { /* without VHD_REQ_UNMAP: zeros at any price */
		memset(k->w->model + lba * SECTOR, 0, f->len);
		f->req = (struct vhd_req){.img = k->w->img, .lba = lba,
					  .op = VHD_OP_ZERO, .sectors = n};
		return;
	}
	f->req.op = VHD_OP_WRITE;
	f->req.flags = what < 52 ? VHD_REQ_FUA : 0;
	for (size_t i = 0; i < f->len; i += 8) {
		uint64_t v = random_next(&k->random);

		memcpy(f->buf + i, &v, 8);
	}
	memcpy(k->w->model + lba * SECTOR, f->buf, f->len);
}

static void fault(struct worker *k, const struct flight *f, const char *what)
{
	atomic_fetch_add(&k->w->faults, 1);
	print_error("thread %u: %s of %zu bytes at sector %llu: result %d\n",
		    k->me, what, f->len, (unsigned long long)f->req.lba,
		    f->req.result);
}

static void finish(struct worker *k, struct flight *f)
{
	f->busy = false;
	if (f->req.result)
		fault(k, f, "request");
	else if (f->req.op == VHD_OP_READ &&
		 memcmp(f->buf, k->w->model + f->req.lba * SECTOR, f->len))
		fault(k, f, "wrong bytes in a read");
	if (f->extent)
		f->extent->busy = false;
	f->extent = NULL;
}

static void collect(struct worker *k, struct vhd_queue *q)
{
	struct vhd_req *done[FLIGHT];
	unsigned n;

	while ((n = vhd_queue_reap(q, done, FLIGHT)) == 0)
		if (vhd_queue_wait(q, -1, 20000)) {
			atomic_fetch_add(&k->w->faults, 1);
			print_error("thread %u: the engine broke\n", k->me);
		}
	for (unsigned i = 0; i < n; i++)
		finish(k, done[i]->user);
}

static void submit(struct worker *k, struct vhd_queue *q, struct flight *f)
{
	if (random_below(&k->random, 150) == 0) {
		f->len = 0;
		f->req = (struct vhd_req){.img = k->w->img,
					  .op = VHD_OP_FLUSH};
	} else {
		prepare(k, f);
	}
	f->req.user = f;
	f->busy = true;
	vhd_queue_submit(q, &f->req);
}

static void *work(void *arg)
{
	struct worker *k = arg;
	struct vhd_queue *q = qtest_queue(
		k->w->engine, 1 + (uint32_t)random_below(&k->random, 24));
	struct flight *flights = calloc(FLIGHT, sizeof(*flights));

	assert_non_null(flights);
	qtest_attach(q, k->w->img);
	for (unsigned i = 0; i < FLIGHT; i++) {
		flights[i].buf = aligned_alloc(4096, BUF_BYTES);
		assert_non_null(flights[i].buf);
	}
	for (unsigned n = 0; n < REQUESTS; n++) {
		struct flight *f = &flights[n % FLIGHT];

		while (f->busy)
			collect(k, q);
		submit(k, q, f);
		if (random_below(&k->random, 4) == 0)
			vhd_queue_kick(q);
	}
	while (vhd_queue_in_flight(q))
		collect(k, q);
	for (unsigned i = 0; i < FLIGHT; i++)
		free(flights[i].buf);
	free(flights);
	vhd_queue_detach(q, k->w->img);
	vhd_queue_destroy(q);
	return NULL;
}

static void run_threads(struct world *w, uint64_t *random)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){w, i, random_next(random)};
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			fail_msg("no thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* The directory of a path; the caller frees it. */
static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path))
			  : strdup(".");

	assert_non_null(dir);
	return dir;
}

static struct vhd *open_again(const char *path, bool writable, bool direct)
{
	char *dir = dir_of(path);
	struct vhd_open_opts opts = {.format = VHD_FORMAT_AUTO,
				     .writable = writable, .direct = direct,
				     .parent_dir = dir};
	struct vhd_err err = {0};
	struct vhd *img = NULL;

	if (vhd_open(path, &opts, &img, &err))
		fail_msg("open %s: %s", path, err.text);
	free(dir);
	return img;
}

static void compare(const char *path, const uint8_t *model)
{
	struct vhd *img = open_again(path, false, false);
	uint8_t *buf = malloc(DISK_BYTES);

	assert_non_null(buf);
	assert_int_equal(vhd_get_info(img)->notes & VHD_NOTE_DIRTY, 0);
	assert_int_equal(vhd_read(img, 0, buf, DISK_BYTES, NULL), 0);
	for (uint64_t i = 0; i < DISK_BYTES; i++)
		if (buf[i] != model[i])
			fail_msg("sector %llu differs from the model",
				 (unsigned long long)(i / SECTOR));
	free(buf);
	vhd_close(img, NULL);
}

/* Some rounds on one image, which is taken. */
static void play(enum vhd_engine engine, const char *path, struct vhd *img,
		 bool direct, uint8_t *model, uint64_t *random)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->engine = engine;
	w->model = model;
	for (unsigned r = 0; r < ROUNDS_PER_IMAGE; r++) {
		if (r)
			img = open_again(path, true, direct);
		w->img = img;
		deal_extents(w, random);
		run_threads(w, random);
		qtest_close(img);
		compare(path, model);
		assert_int_equal(atomic_load(&w->faults), 0);
	}
	free(w);
}

static uint32_t block_of(unsigned kind)
{
	return (32u << 10) << kind % 4 * 2;
}

/* `kind` varies an image's format, blocks and O_DIRECT. */
static void rounds(enum vhd_engine engine, const char *path, unsigned kind,
		   uint8_t *model, uint64_t *random)
{
	enum vhd_format format = kind % 5 == 4 ? VHD_FORMAT_FIXED
					       : VHD_FORMAT_DYNAMIC;
	bool direct = kind % 2;

	memset(model, 0, DISK_BYTES);
	play(engine, path,
	     qtest_create(path, format, DISK_BYTES,
			  format == VHD_FORMAT_DYNAMIC ? block_of(kind) : 0,
			  direct),
	     direct, model, random);
}

/* A parent with something in it here and there. */
static void make_parent(const char *path, unsigned kind, uint8_t *model,
			uint64_t *random)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = DISK_BYTES,
		.block_size_bytes = block_of(kind + 1),
		.unique_id = {1},
	};
	struct vhd *img = NULL;

	memset(model, 0, DISK_BYTES);
	assert_int_equal(vhd_create(path, &o, &img, NULL), 0);
	for (unsigned i = 0; i < 60; i++) {
		uint64_t lba = random_below(random, DISK_SECTORS - 64);
		size_t len = (1 + random_below(random, 64)) * SECTOR;

		memset(model + lba * SECTOR, (int)random_below(random, 256),
		       len);
		assert_int_equal(vhd_write(img, lba * SECTOR,
					   model + lba * SECTOR, len, NULL),
				 0);
	}
	qtest_close(img);
}

static uint8_t *whole_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *b;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	*len = (size_t)ftell(f);
	rewind(f);
	b = malloc(*len);
	assert_non_null(b);
	assert_int_equal(fread(b, 1, *len, f), *len);
	fclose(f);
	return b;
}

static void child_rounds(enum vhd_engine engine, const char *parent,
			 const char *path, unsigned kind, uint8_t *model,
			 uint64_t *random)
{
	char *dir = dir_of(path);
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DIFF,
		.block_size_bytes = block_of(kind),
		.unique_id = {2},
		.parent_path = parent,
		.parent_dir = dir,
		.direct = kind % 2,
	};
	uint8_t *before, *after;
	size_t len, len_after;
	struct vhd *img = NULL;

	make_parent(parent, kind, model, random);
	before = whole_file(parent, &len);
	assert_int_equal(vhd_create(path, &o, &img, NULL), 0);
	play(engine, path, img, kind % 2, model, random);
	after = whole_file(parent, &len_after);
	assert_int_equal(len, len_after);
	assert_memory_equal(before, after, len);
	free(before);
	free(after);
	free(dir);
}

static void a_child_matches_the_model_over_an_untouched_parent(void **state)
{
	const enum vhd_engine *engine = *state;
	uint64_t random = random_seed();
	uint8_t *model = malloc(DISK_BYTES);
	char *parent = qtest_path(), *path = qtest_path();

	assert_non_null(model);
	for (unsigned i = 0; i < ROUNDS / ROUNDS_PER_IMAGE; i++)
		child_rounds(*engine, parent, path, i, model, &random);
	unlink(parent);
	unlink(path);
	free(parent);
	free(path);
	free(model);
}

static void twenty_rounds_of_eight_threads_match_the_model(void **state)
{
	const enum vhd_engine *engine = *state;
	uint64_t random = random_seed();
	uint8_t *model = malloc(DISK_BYTES);
	char *path = qtest_path();

	assert_non_null(model);
	for (unsigned i = 0; i < ROUNDS / ROUNDS_PER_IMAGE; i++)
		rounds(*engine, path, i, model, &random);
	unlink(path);
	free(path);
	free(model);
}

/* ---------------------------------------------- images for other readers -- */

static char *name_in(const char *dir, unsigned n, const char *ext)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%u.%s", dir, n, ext) < 0)
		abort();
	return path;
}

static void keep_model(const char *path, const uint8_t *model)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(model, 1, DISK_BYTES, f), DISK_BYTES);
	assert_int_equal(fclose(f), 0);
}

struct keep {
	enum vhd_engine engine;
	const char *dir;
};

static void images_and_models_are_left_for_other_readers(void **state)
{
	const struct keep *keep = *state;
	uint64_t random = random_seed();
	uint8_t *model = malloc(DISK_BYTES);

	assert_non_null(model);
	for (unsigned i = 0; i < ROUNDS / ROUNDS_PER_IMAGE; i++) {
		char *vhd = name_in(keep->dir, i, "vhd");
		char *raw = name_in(keep->dir, i, "raw");

		rounds(keep->engine, vhd, i, model, &random);
		keep_model(raw, model);
		free(vhd);
		free(raw);
	}
	free(model);
}

static const enum vhd_engine engine_ids[] = {
	VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};

#define ON(name, n, test) \
	{name ": " #test, test, NULL, NULL, (void *)&engine_ids[n]}
#define EACH(test) ON("uring", 0, test), ON("aio", 1, test), ON("sync", 2, test)

static int leave(const char *engine, const char *dir)
{
	for (unsigned i = 0; i < 3; i++) {
		struct keep keep = {engine_ids[i], dir};
		const struct CMUnitTest tests[] = {
			{"images_and_models_are_left_for_other_readers",
			 images_and_models_are_left_for_other_readers, NULL,
			 NULL, &keep},
		};

		if (strcmp(engine, vhd_engine_name(engine_ids[i])) == 0)
			return cmocka_run_group_tests(tests, NULL, NULL);
	}
	fprintf(stderr, "vhd_model: no engine %s\n", engine);
	return 2;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[] = {
		EACH(twenty_rounds_of_eight_threads_match_the_model),
		EACH(a_child_matches_the_model_over_an_untouched_parent),
	};

	if (argc == 3)
		return leave(argv[1], argv[2]);
	return engines_run_group_tests(tests, NULL, NULL);
}
