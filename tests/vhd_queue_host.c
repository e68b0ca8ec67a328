/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue and what the host does to it: O_DIRECT and its alignment, a file
 * that may not grow, machines that forbid an engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/lib/engines.h"
#include "tests/lib/qsim.h"
#include "tests/lib/random.h"

static const enum vhd_engine engine_ids[] = {
	VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};

/* ------------------------------------------------------------- O_DIRECT -- */

/* An image on a real file whose direct descriptor is another one, as good as
 * any: the simulated engine only notes that it was chosen.
 */
struct direct {
	char *path;
	struct vhd *img;
	struct simengine *sim;
	struct vhd_queue *q;
	struct sim_fate fate;
	uint8_t *buf; /* page-aligned */
};

static void direct_decide(void *ctx, const struct vhd_io *io,
			  struct sim_fate *fate)
{
	struct direct *d = ctx;

	if (io->direct)
		*fate = d->fate;
}

static int direct_up(void **state)
{
	struct direct *d = calloc(1, sizeof(*d));
	struct sim_opts opts = {.decide = direct_decide, .ctx = d};
	struct vhd_file_open how = {.writable = true, .create = true};
	struct vhd_create_opts create = {.format = VHD_FORMAT_DYNAMIC,
					 .size_bytes = DISK_BYTES,
					 .block_size_bytes = BLOCK};
	struct vhd_file file;
	struct vhd_err err = {0};

	if (!d)
		return -1;
	d->path = qtest_path();
	d->buf = aligned_alloc(4096, 8 * BLOCK);
	if (!d->buf || vhd_file_open(d->path, &how, &file, &err))
		return -1;
	file.direct_fd = open(d->path, O_RDWR | O_CLOEXEC);
	file.direct_mem_bytes = 512;
	file.direct_off_bytes = 512;
	if (vhd_create_file(&file, &create, &d->img, &err))
		return -1;
	d->sim = simengine_create(&opts);
	if (simengine_queue(d->sim, 4, &d->q))
		return -1;
	qtest_attach(d->q, d->img);
	*state = d;
	return 0;
}

static int direct_down(void **state)
{
	struct direct *d = *state;

	vhd_queue_detach(d->q, d->img);
	vhd_queue_destroy(d->q);
	simengine_destroy(d->sim);
	qtest_close(d->img);
	unlink(d->path);
	free(d->path);
	free(d->buf);
	free(d);
	return 0;
}

/* Move and say whether the last operation went direct. */
static bool went_direct(struct direct *d, enum vhd_op op, uint64_t lba,
			size_t at, size_t len)
{
	assert_int_equal(qtest_io(d->q, d->img, op, lba, d->buf + at, len), 0);
	return simengine_event(d->sim, simengine_count(d->sim) - 1)->direct;
}

static void only_whole_pages_are_written_direct(void **state)
{
	struct direct *d = *state;

	assert_true(went_direct(d, VHD_OP_WRITE, 0, 0, 4096));
	assert_true(went_direct(d, VHD_OP_WRITE, 8, 4096, 8192));
	assert_false(went_direct(d, VHD_OP_WRITE, 1, 0, 4096));
	assert_false(went_direct(d, VHD_OP_WRITE, 8, 0, 512));
	assert_false(went_direct(d, VHD_OP_WRITE, 8, 0, 4096 + 512));
	assert_false(went_direct(d, VHD_OP_WRITE, 8, 1, 4096));
}

static void reads_go_direct_where_the_kernel_takes_them(void **state)
{
	struct direct *d = *state;

	assert_int_equal(qtest_io(d->q, d->img, VHD_OP_WRITE, 0, d->buf,
				  BLOCK), 0);
	assert_true(went_direct(d, VHD_OP_READ, 0, 0, 4096));
	assert_true(went_direct(d, VHD_OP_READ, 8, 4096, 8192));
	assert_false(went_direct(d, VHD_OP_READ, 0, 1, 4096));
}

static void one_crooked_buffer_of_many_is_enough(void **state)
{
	struct direct *d = *state;
	struct iovec iov[3] = {{d->buf, 4096}, {d->buf + 8192, 4096},
			       {d->buf + 16384, 4096}};
	struct vhd_req req = {.img = d->img, .op = VHD_OP_WRITE, .iov = iov,
			      .iov_count = 3};
	size_t last;

	assert_int_equal(qtest_run(d->q, &req), 0);
	last = simengine_count(d->sim) - 1;
	assert_true(simengine_event(d->sim, last)->direct);
	iov[1].iov_base = d->buf + 8192 + 1;
	assert_int_equal(qtest_run(d->q, &req), 0);
	assert_false(simengine_event(d->sim, last + 1)->direct);
	iov[1].iov_base = d->buf + 8192;
	iov[1].iov_len = 4095;
	iov[2].iov_len = 4097;
	assert_int_equal(qtest_run(d->q, &req), 0);
	assert_false(simengine_event(d->sim, last + 2)->direct);
}

static void a_file_system_that_refuses_is_not_asked_again(void **state)
{
	struct direct *d = *state;
	size_t before = simengine_count(d->sim);

	d->fate.code = -EINVAL;
	qtest_fill(d->buf, 4096, 0, 1);
	assert_false(went_direct(d, VHD_OP_WRITE, 0, 0, 4096));
	assert_int_equal(simengine_count(d->sim), before + 2);
	assert_false(went_direct(d, VHD_OP_READ, 0, 0, 4096));
	assert_int_equal(simengine_count(d->sim), before + 3);
	qtest_check(d->buf, 4096, 0, 1);
}

/* Random requests, aligned or not, one after another, against a flat model;
 * with the real O_DIRECT where the file system has it.
 */
static void direct_and_buffered_requests_see_each_other(void **state)
{
	enum vhd_engine engine = *(const enum vhd_engine *)*state;
	uint64_t random = random_seed();
	char *path = qtest_path();
	uint8_t *model = calloc(1, DISK_BYTES);
	uint8_t *buf = aligned_alloc(4096, 4 * BLOCK);

	assert_non_null(model);
	assert_non_null(buf);
	for (unsigned format = 0; format < 2; format++) {
		struct vhd *img = qtest_create(
			path, format ? VHD_FORMAT_DYNAMIC : VHD_FORMAT_FIXED,
			DISK_BYTES, BLOCK, true);
		struct vhd_queue *q = qtest_queue(engine, 4);

		qtest_attach(q, img);
		memset(model, 0, DISK_BYTES);
		for (unsigned n = 0; n < 300; n++) {
			uint64_t step = random_below(&random, 2) ? 8 : 1;
			uint64_t lba = random_below(&random, 7000) / step *
				       step;
			size_t len = (1 + random_below(&random, 30)) * step *
				     SECTOR;
			size_t at = random_below(&random, 4) == 0 ? 513 : 0;

			if (lba * SECTOR + len > DISK_BYTES)
				continue;
			if (random_below(&random, 2)) {
				qtest_fill(buf + at, len, lba, n);
				memcpy(model + lba * SECTOR, buf + at, len);
				assert_int_equal(qtest_io(q, img, VHD_OP_WRITE,
							  lba, buf + at, len),
						 0);
			}
			lba -= lba % 16;
			assert_int_equal(qtest_io(q, img, VHD_OP_READ, lba,
						  buf, BLOCK / 4), 0);
			assert_memory_equal(buf, model + lba * SECTOR,
					    BLOCK / 4);
		}
		vhd_queue_detach(q, img);
		vhd_queue_destroy(q);
		qtest_close(img);
	}
	unlink(path);
	free(path);
	free(model);
	free(buf);
}

/* ---------------------------------------------------------- file limits -- */

/* Writes from `lba` on under a limit on the file's length; checks that the
 * fault is told with the sector that was the first not done.
 */
static void write_past_limit(struct vhd_queue *q, struct vhd *img,
			     uint64_t limit_bytes, uint64_t lba,
			     uint64_t bad_lba)
{
	static uint8_t buf[4 * BLOCK];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_req req = {.img = img, .op = VHD_OP_WRITE, .lba = lba,
			      .iov = &iov, .iov_count = 1};
	struct rlimit old, now;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	now = old;
	now.rlim_cur = limit_bytes;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
	qtest_run(q, &req);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(req.result, -EFBIG);
	assert_int_equal(req.why, VHD_WHY_NO_SPACE);
	assert_int_equal(req.bad_lba, bad_lba);
	/* The limit gone, all is well. */
	assert_int_equal(qtest_run(q, &req), 0);
	assert_int_equal(qtest_flush(q, img), 0);
}

static void a_file_limit_stops_a_write_where_it_lies(void **state)
{
	const enum vhd_engine *engine = *state;
	char *path = qtest_path();
	struct vhd *img = qtest_create(path, VHD_FORMAT_FIXED, DISK_BYTES, 0,
				       false);
	struct vhd_queue *q = qtest_queue(*engine, 4);

	qtest_attach(q, img);
	write_past_limit(q, img, 1 << 20, 2000, 2048);
	write_past_limit(q, img, 1 << 20, 2048, 2048);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	qtest_close(img);
	unlink(path);
	free(path);
}

static void a_file_that_may_not_grow_stops_new_blocks(void **state)
{
	const enum vhd_engine *engine = *state;
	char *path = qtest_path();
	struct vhd *img = qtest_create(path, VHD_FORMAT_DYNAMIC, DISK_BYTES,
				       BLOCK, false);
	struct vhd_queue *q = qtest_queue(*engine, 4);
	static uint8_t one[SECTOR];
	uint64_t block0;
	struct vhd_run run;

	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, one, SECTOR), 0);
	assert_int_equal(vhd_map(img, 0, 1, &run, NULL), 0);
	block0 = run.off_bytes;
	/* The limit lies behind the first block: the second has no place for
	 * its bitmap.
	 */
	write_past_limit(q, img, block0 + BLOCK, BLOCK_SECTORS - 4,
			 BLOCK_SECTORS);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	qtest_close(img);
	unlink(path);
	free(path);
}

/* ----------------------------------------------------- forbidden engines -- */

/* A thread of its own, because a filter stays on the thread. */
struct barred {
	int first_call; /* system calls that are refused, or -1 */
	int second_call;
	int code;
	bool filtered;
	enum vhd_engine want;
	int rc;
	struct vhd_err err;
	enum vhd_engine got;
	bool works;
};

static bool refuse_calls(const struct barred *b)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)b->first_call,
			 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)b->second_call,
			 0, 1),
		BPF_STMT(BPF_RET | BPF_K,
			 SECCOMP_RET_ERRNO | (uint32_t)b->code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 5, .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

static bool moves_bytes(struct vhd_queue *q)
{
	char *path = qtest_path();
	struct vhd *img = qtest_create(path, VHD_FORMAT_DYNAMIC, DISK_BYTES,
				       BLOCK, false);
	uint8_t buf[SECTOR];

	qtest_attach(q, img);
	qtest_fill(buf, SECTOR, 5, 1);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 5, buf, SECTOR), 0);
	memset(buf, 0, SECTOR);
	assert_int_equal(qtest_io(q, img, VHD_OP_READ, 5, buf, SECTOR), 0);
	qtest_check(buf, SECTOR, 5, 1);
	assert_int_equal(qtest_flush(q, img), 0);
	vhd_queue_detach(q, img);
	qtest_close(img);
	unlink(path);
	free(path);
	return true;
}

static void *create_barred(void *arg)
{
	struct barred *b = arg;
	struct vhd_queue_opts opts = {.engine = b->want, .depth = 8};
	struct vhd_queue *q = NULL;

	b->filtered = refuse_calls(b);
	b->rc = vhd_queue_create(&opts, &q, &b->err);
	if (b->rc)
		return NULL;
	b->got = vhd_queue_engine(q);
	b->works = moves_bytes(q);
	vhd_queue_destroy(q);
	return NULL;
}

static struct barred run_barred(int first, int second, int code,
				enum vhd_engine want)
{
	struct barred b = {.first_call = first, .second_call = second,
			   .code = code, .want = want};
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, create_barred, &b), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_true(b.filtered);
	return b;
}

static void auto_takes_the_next_engine_where_one_is_forbidden(void **state)
{
	static const int codes[] = {EPERM,  ENOSYS, ENOMEM, EACCES,
				    EAGAIN, EMFILE, ENFILE, EINVAL,
				    EOPNOTSUPP};
	const enum vhd_engine second = engine_there(VHD_ENGINE_AIO)
					       ? VHD_ENGINE_AIO
					       : VHD_ENGINE_SYNC;
	const enum vhd_engine first =
		engine_there(VHD_ENGINE_URING) ? VHD_ENGINE_URING : second;
	struct barred b;

	(void)state;
	b = run_barred(-1, -1, EPERM, VHD_ENGINE_AUTO);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.got, first);
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		b = run_barred(SYS_io_uring_setup, -1, codes[i],
			       VHD_ENGINE_AUTO);
		assert_int_equal(b.rc, 0);
		assert_int_equal(b.got, second);
		assert_true(b.works);
		b = run_barred(SYS_io_uring_setup, SYS_io_setup, codes[i],
			       VHD_ENGINE_AUTO);
		assert_int_equal(b.rc, 0);
		assert_int_equal(b.got, VHD_ENGINE_SYNC);
		assert_true(b.works);
	}
}

static void auto_does_not_hide_other_failures(void **state)
{
	struct vhd_queue_opts deep = {.depth = VHD_QUEUE_DEPTH_MAX + 1};
	struct barred b = run_barred(SYS_io_uring_setup, -1, EFAULT,
				     VHD_ENGINE_AUTO);
	struct vhd_queue *q;
	struct vhd_err e;

	(void)state;
	assert_refused(b.rc, &b.err, EFAULT, VHD_WHY_SYSTEM);
	assert_refused(vhd_queue_create(&deep, &q, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
}

/* Not one descriptor is left, neither for a ring nor for an eventfd. */
static void auto_does_without_descriptors(void **state)
{
	const struct vhd_queue_opts opts = {.engine = VHD_ENGINE_AUTO};
	const struct vhd_queue_opts ring = {.engine = VHD_ENGINE_URING};
	struct vhd_queue *q = NULL, *named = NULL;
	struct rlimit old, none;
	struct vhd_err e;
	int rc, named_rc;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = vhd_queue_create(&opts, &q, &e);
	named_rc = vhd_queue_create(&ring, &named, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(vhd_queue_engine(q), VHD_ENGINE_SYNC);
	assert_true(moves_bytes(q));
	vhd_queue_destroy(q);
	if (engine_there(VHD_ENGINE_URING))
		assert_refused(named_rc, &e, EMFILE, VHD_WHY_SYSTEM);
}

static void a_named_engine_never_becomes_another(void **state)
{
	struct barred b = run_barred(SYS_io_uring_setup, SYS_io_setup, EPERM,
				     VHD_ENGINE_URING);

	(void)state;
	assert_refused(b.rc, &b.err, EPERM, VHD_WHY_SYSTEM);
	b = run_barred(SYS_io_uring_setup, SYS_io_setup, ENOSYS,
		       VHD_ENGINE_AIO);
	assert_refused(b.rc, &b.err, ENOSYS, VHD_WHY_SYSTEM);
	b = run_barred(SYS_io_uring_setup, SYS_io_setup, EPERM,
		       VHD_ENGINE_SYNC);
	assert_int_equal(b.rc, 0);
	assert_int_equal(b.got, VHD_ENGINE_SYNC);
	b.want = (enum vhd_engine)17;
	b = run_barred(-1, -1, EPERM, b.want);
	assert_refused(b.rc, &b.err, EINVAL, VHD_WHY_ARGUMENT);
}

#define ON(name, n, test) \
	{name ": " #test, test, NULL, NULL, (void *)&engine_ids[n]}
#define EACH(test) ON("uring", 0, test), ON("aio", 1, test), ON("sync", 2, test)
#define DIRECT(test) \
	cmocka_unit_test_setup_teardown(test, direct_up, direct_down)

int main(void)
{
	struct CMUnitTest tests[] = {
		DIRECT(only_whole_pages_are_written_direct),
		DIRECT(reads_go_direct_where_the_kernel_takes_them),
		DIRECT(one_crooked_buffer_of_many_is_enough),
		DIRECT(a_file_system_that_refuses_is_not_asked_again),
		EACH(direct_and_buffered_requests_see_each_other),
		EACH(a_file_limit_stops_a_write_where_it_lies),
		EACH(a_file_that_may_not_grow_stops_new_blocks),
		cmocka_unit_test(
			auto_takes_the_next_engine_where_one_is_forbidden),
		cmocka_unit_test(auto_does_not_hide_other_failures),
		cmocka_unit_test(auto_does_without_descriptors),
		cmocka_unit_test(a_named_engine_never_becomes_another),
	};

	return engines_run_group_tests(tests, NULL, NULL);
}
