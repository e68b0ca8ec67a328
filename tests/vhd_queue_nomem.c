/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory: none is taken once a queue runs, and a queue that cannot have it is
 * not made. The library's allocations come here by the linker's --wrap; what
 * liburing and libaio take is theirs.
 */
#include <errno.h>

#include "tests/lib/proof.h"
#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"

#define BLOCK (32u << 10)
#define BLOCKS 32u
#define SECTORS (BLOCKS * BLOCK / SECTOR)
#define REQUESTS 170000u /* with each engine; storvsp_nomem has as many */

static unsigned allocations;
static unsigned fail_nth; /* 0: none */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool refuse(void)
{
	return ++allocations == fail_nth;
}

void *__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

static const enum vhd_engine engine_ids[] = {
	VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};

/* Writes that make blocks, reads, flushes, a queue that runs full. */
static void traffic(struct vhd_queue *q, struct vhd *img)
{
	enum { OUT = 32 };
	static uint8_t bufs[OUT][3 * SECTOR];
	static struct iovec iov[OUT][2];
	static struct vhd_req reqs[OUT];

	for (unsigned n = 0; n < REQUESTS; n++) {
		unsigned i = n % OUT;

		if (i == 0)
			while (vhd_queue_in_flight(q))
				assert_int_equal(qtest_next(q)->result, 0);
		iov[i][0] = (struct iovec){bufs[i], 700};
		iov[i][1] = (struct iovec){bufs[i] + 700, 3 * SECTOR - 700};
		reqs[i] = (struct vhd_req){
			.img = img, .iov = iov[i], .iov_count = 2,
			.lba = n * 131ull % (SECTORS - 3),
			.op = n % 3 ? VHD_OP_READ : VHD_OP_WRITE};
		if (n % 1024 == 1023)
			reqs[i] = (struct vhd_req){.img = img,
						   .op = VHD_OP_FLUSH};
		vhd_queue_submit(q, &reqs[i]);
	}
	while (vhd_queue_in_flight(q))
		assert_int_equal(qtest_next(q)->result, 0);
}

static void requests_take_no_memory(void **state)
{
	const enum vhd_engine *engine = *state;
	char *path = qtest_path();
	struct vhd *img = qtest_create(path, VHD_FORMAT_DYNAMIC,
				       (uint64_t)SECTORS * SECTOR, BLOCK,
				       false);
	struct vhd_queue *q = qtest_queue(*engine, 8);
	unsigned before;

	qtest_attach(q, img);
	before = allocations;
	traffic(q, img);
	proof_figure("M3", allocations == before,
		     "queue, %s: %u allocations in %u requests",
		     vhd_engine_name(*engine), allocations - before, REQUESTS);
	assert_int_equal(allocations, before);
	assert_in_range(before, 1, 1000); /* the counter is connected */
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	qtest_close(img);
	unlink(path);
	free(path);
}

/* A child over an empty parent; the caller frees both paths. */
static struct vhd *make_child(char **parent, char **path)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = (uint64_t)SECTORS * SECTOR,
		.block_size_bytes = BLOCK,
		.unique_id = {1},
		.parent_dir = "/",
	};
	struct vhd *img = NULL;

	*parent = qtest_path();
	*path = qtest_path();
	assert_int_equal(vhd_create(*parent, &o, &img, NULL), 0);
	qtest_close(img);
	o.format = VHD_FORMAT_DIFF;
	o.parent_path = *parent;
	o.unique_id[0] = 2;
	assert_int_equal(vhd_create(*path, &o, &img, NULL), 0);
	return img;
}

static void drop_child(struct vhd *img, char *parent, char *path)
{
	qtest_close(img);
	unlink(path);
	unlink(parent);
	free(path);
	free(parent);
}

/* A child keeps the bits of each block from the first write to it, and a flush
 * room for copies of them; both once.
 */
static void a_child_takes_memory_for_each_block_once(void **state)
{
	const enum vhd_engine *engine = *state;
	char *parent, *path;
	struct vhd *img = make_child(&parent, &path);
	struct vhd_queue *q = qtest_queue(*engine, 8);
	uint8_t b[SECTOR] = {1};
	unsigned before;

	qtest_attach(q, img);
	before = allocations;
	for (uint64_t i = 0; i < BLOCKS; i++)
		assert_int_equal(qtest_io(q, img, VHD_OP_WRITE,
					  i * (BLOCK / SECTOR), b, SECTOR),
				 0);
	assert_int_equal(qtest_flush(q, img), 0);
	/* one for each block, and the flush's room, which doubles */
	assert_in_range(allocations - before, BLOCKS, BLOCKS + 8);
	before = allocations;
	traffic(q, img);
	assert_int_equal(allocations, before);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	drop_child(img, parent, path);
}

/* It cannot copy the bits: it fails, and the next one covers all. */
static void a_flush_without_memory_loses_nothing(void **state)
{
	const enum vhd_engine *engine = *state;
	char *parent, *path;
	struct vhd *img = make_child(&parent, &path);
	struct vhd_queue *q = qtest_queue(*engine, 8);
	struct vhd_req flush = {.img = img, .op = VHD_OP_FLUSH};
	uint8_t b[SECTOR] = {1};

	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 5, b, SECTOR), 0);
	allocations = 0;
	fail_nth = 1;
	assert_int_equal(qtest_run(q, &flush), -ENOMEM);
	assert_int_equal(flush.why, VHD_WHY_NOMEM);
	fail_nth = 0;
	/* nor does a write that can keep no bits */
	allocations = 0;
	fail_nth = 1;
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, BLOCK / SECTOR, b,
				  SECTOR),
			 -ENOMEM);
	fail_nth = 0;
	assert_int_equal(qtest_flush(q, img), 0);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, BLOCK / SECTOR, b,
				  SECTOR),
			 0);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	drop_child(img, parent, path);
}

static void a_queue_without_memory_is_not_made(void **state)
{
	struct vhd_queue_opts opts = {.engine = *(const enum vhd_engine *)
						 *state};
	struct vhd_queue *q = NULL;
	struct vhd_err err = {0};
	unsigned refused = 0;

	for (unsigned n = 1;; n++) {
		int rc;

		allocations = 0;
		fail_nth = n;
		rc = vhd_queue_create(&opts, &q, &err);
		fail_nth = 0;
		if (!rc)
			break;
		assert_refused(rc, &err, ENOMEM, VHD_WHY_NOMEM);
		assert_null(q);
		refused++;
	}
	assert_in_range(refused, 3, 20);
	vhd_queue_destroy(q);
}

#define ON(name, n, test) \
	{name ": " #test, test, NULL, NULL, (void *)&engine_ids[n]}
#define EACH(test) ON("uring", 0, test), ON("aio", 1, test), ON("sync", 2, test)

int main(void)
{
	struct CMUnitTest tests[] = {
		EACH(requests_take_no_memory),
		EACH(a_child_takes_memory_for_each_block_once),
		EACH(a_flush_without_memory_loses_nothing),
		EACH(a_queue_without_memory_is_not_made),
	};

	return engines_run_group_tests(tests, NULL, NULL);
}
