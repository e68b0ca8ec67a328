/* SPDX-License-Identifier: BSD-2-Clause */
/* Many requests in flight against blocks that do not exist yet: each block is
 * made once, every write lands, and what is read beside them is zero or new,
 * never another block's data.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"
#include "tests/lib/random.h"

#define BLOCK (32u << 10)
#define BLOCK_SECTORS (BLOCK / SECTOR)
#define BLOCKS 64u
#define SECTORS (BLOCKS * BLOCK_SECTORS)
#define WRITERS 6u

static const enum vhd_engine engine_ids[] = {
	VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};

struct fixture {
	enum vhd_engine engine;
	char *path;
	struct vhd *img;
	atomic_bool stop;
	pthread_barrier_t start;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->engine = *(const enum vhd_engine *)*state;
	f->path = qtest_path();
	f->img = qtest_create(f->path, VHD_FORMAT_DYNAMIC,
			      (uint64_t)SECTORS * SECTOR, BLOCK, false);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	free(f->path);
	free(f);
	return 0;
}

/* Closed and opened again, the image has so many blocks and nothing is wrong
 * with its table (opening checks that no two entries are equal or overlap).
 */
static struct vhd *reopen(struct fixture *f, uint32_t blocks)
{
	struct vhd_open_opts opts = {.format = VHD_FORMAT_DYNAMIC};
	struct vhd_err err = {0};

	qtest_close(f->img);
	if (vhd_open(f->path, &opts, &f->img, &err))
		fail_msg("open: %s", err.text);
	assert_int_equal(vhd_get_info(f->img)->blocks_used, blocks);
	return f->img;
}

static void one_batch_makes_a_block_once(void **state)
{
	struct fixture *f = *state;
	struct vhd_queue *q = qtest_queue(f->engine, 16);
	static uint8_t data[BLOCK], beside[BLOCK];
	static struct iovec iov[2 * BLOCK_SECTORS];
	static struct vhd_req reqs[2 * BLOCK_SECTORS];
	const uint64_t first = 5 * BLOCK_SECTORS;
	unsigned n = 0;

	qtest_attach(q, f->img);
	qtest_fill(data, BLOCK, first, 1);
	memset(beside, 0x55, BLOCK);
	/* Even sectors are written; odd ones are read meanwhile. */
	for (unsigned i = 0; i < BLOCK_SECTORS; i++) {
		uint8_t *buf = i % 2 ? beside : data;

		iov[n] = (struct iovec){buf + i * SECTOR, SECTOR};
		reqs[n] = (struct vhd_req){
			.img = f->img, .lba = first + i, .iov = &iov[n],
			.iov_count = 1,
			.op = i % 2 ? VHD_OP_READ : VHD_OP_WRITE};
		vhd_queue_submit(q, &reqs[n++]);
	}
	while (n--)
		assert_int_equal(qtest_next(q)->result, 0);
	for (unsigned i = 1; i < BLOCK_SECTORS; i += 2)
		qtest_check_zero(beside + i * SECTOR, SECTOR);
	vhd_queue_detach(q, f->img);
	vhd_queue_destroy(q);
	reopen(f, 1);
	assert_int_equal(vhd_read(f->img, first * SECTOR, beside, BLOCK, NULL),
			 0);
	for (unsigned i = 0; i < BLOCK_SECTORS; i++)
		if (i % 2)
			qtest_check_zero(beside + i * SECTOR, SECTOR);
		else
			qtest_check(beside + i * SECTOR, SECTOR, first + i, 1);
	vhd_close(f->img, NULL);
}

struct writer {
	struct fixture *f;
	unsigned me;
};

/* Every sector s with s % WRITERS == me, all blocks at the same time. */
static void *write_share(void *arg)
{
	struct writer *w = arg;
	struct vhd_queue *q = qtest_queue(w->f->engine, 32);
	uint8_t *data = malloc((size_t)SECTORS * SECTOR);
	struct iovec *iov = calloc(SECTORS, sizeof(*iov));
	struct vhd_req *reqs = calloc(SECTORS, sizeof(*reqs));

	assert_true(data && iov && reqs);
	qtest_attach(q, w->f->img);
	qtest_fill(data, (size_t)SECTORS * SECTOR, 0, 1);
	pthread_barrier_wait(&w->f->start);
	for (unsigned i = w->me; i < SECTORS; i += WRITERS) {
		/* block by block: all threads ask for the same new block */
		iov[i] = (struct iovec){data + (size_t)i * SECTOR, SECTOR};
		reqs[i] = (struct vhd_req){.img = w->f->img, .lba = i,
					   .op = VHD_OP_WRITE, .iov = &iov[i],
					   .iov_count = 1};
		vhd_queue_submit(q, &reqs[i]);
		if (vhd_queue_in_flight(q) >= 48)
			assert_int_equal(qtest_next(q)->result, 0);
	}
	while (vhd_queue_in_flight(q))
		assert_int_equal(qtest_next(q)->result, 0);
	vhd_queue_detach(q, w->f->img);
	vhd_queue_destroy(q);
	free(data);
	free(iov);
	free(reqs);
	return NULL;
}

/* Reads while others write: each byte is what it will be, or zero. */
static void *read_along(void *arg)
{
	struct fixture *f = arg;
	struct vhd_queue *q = qtest_queue(f->engine, 4);
	static uint8_t buf[4 * BLOCK], expect[4 * BLOCK];
	uint64_t random = 7;
	uintptr_t wrong = 0;

	qtest_attach(q, f->img);
	pthread_barrier_wait(&f->start);
	while (!atomic_load(&f->stop)) {
		uint64_t lba = random_below(&random,
					    SECTORS - 4 * BLOCK_SECTORS);

		qtest_fill(expect, sizeof(expect), lba, 1);
		memset(buf, 0x55, sizeof(buf));
		if (qtest_io(q, f->img, VHD_OP_READ, lba, buf, sizeof(buf)))
			wrong++;
		for (size_t i = 0; i < sizeof(buf); i++)
			wrong += buf[i] != expect[i] && buf[i] != 0;
	}
	vhd_queue_detach(q, f->img);
	vhd_queue_destroy(q);
	return (void *)wrong;
}

static void racing_queues_make_each_block_once(void **state)
{
	struct fixture *f = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS], reader;
	void *wrong = NULL;
	uint8_t *buf = malloc((size_t)SECTORS * SECTOR);

	assert_non_null(buf);
	pthread_barrier_init(&f->start, NULL, WRITERS + 1);
	assert_int_equal(pthread_create(&reader, NULL, read_along, f), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){f, i};
		assert_int_equal(pthread_create(&threads[i], NULL, write_share,
						&writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&f->stop, true);
	pthread_join(reader, &wrong);
	pthread_barrier_destroy(&f->start);
	assert_null(wrong);
	reopen(f, BLOCKS);
	assert_int_equal(vhd_read(f->img, 0, buf, (size_t)SECTORS * SECTOR,
				  NULL), 0);
	qtest_check(buf, (size_t)SECTORS * SECTOR, 0, 1);
	vhd_close(f->img, NULL);
	free(buf);
}

#define ON(name, n, test) \
	{name ": " #test, test, set_up, tear_down, (void *)&engine_ids[n]}
#define EACH(test) ON("uring", 0, test), ON("aio", 1, test), ON("sync", 2, test)

int main(void)
{
	struct CMUnitTest tests[] = {
		EACH(one_batch_makes_a_block_once),
		EACH(racing_queues_make_each_block_once),
	};

	return engines_run_group_tests(tests, NULL, NULL);
}
