/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd_queue_memory: memory that the kernel keeps at hand. That it does is seen
 * where this process may no longer touch the memory and the kernel still can.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/lib/qtest.h"

#define PAGE	     4096u
#define PAGES	     8u
#define DISK_SECTORS 256u

struct world {
	char *path;
	struct vhd *img;
	struct vhd_queue *q;
	uint8_t *mem; /* PAGES, and as many behind that are not registered */
};

static void start(struct world *w, enum vhd_engine engine)
{
	w->path = qtest_path();
	w->img = qtest_create(w->path, VHD_FORMAT_FIXED,
			      (uint64_t)DISK_SECTORS * SECTOR, 0, false);
	w->q = qtest_queue(engine, 4);
	qtest_attach(w->q, w->img);
	w->mem = mmap(NULL, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(w->mem != MAP_FAILED);
}

static void stop(struct world *w)
{
	vhd_queue_detach(w->q, w->img);
	vhd_queue_destroy(w->q);
	qtest_close(w->img);
	unlink(w->path);
	free(w->path);
	munmap(w->mem, 2 * PAGES * PAGE);
}

/* Two pieces, the second in the middle of a page. */
static int memory(struct world *w, struct vhd_err *err)
{
	const struct iovec m[] = {{w->mem, 4 * PAGE},
				  {w->mem + 4 * PAGE, 3 * PAGE + 1024}};

	return vhd_queue_memory(w->q, m, 2, err);
}

static void hide(struct world *w, bool hidden)
{
	assert_int_equal(mprotect(w->mem, 2 * PAGES * PAGE,
				  hidden ? PROT_NONE
					 : PROT_READ | PROT_WRITE),
			 0);
}

static int move(struct world *w, enum vhd_op op, uint64_t lba, size_t at,
		size_t len, uint32_t flags)
{
	struct iovec v = {w->mem + at, len};
	struct vhd_req req = {
		.img = w->img,
		.op = op,
		.flags = flags,
		.lba = lba,
		.iov = &v,
		.iov_count = 1,
	};

	return qtest_run(w->q, &req);
}

static bool no_rings(void)
{
	struct vhd_queue_opts o = {.engine = VHD_ENGINE_URING};
	struct vhd_queue *q = NULL;

	if (vhd_queue_create(&o, &q, NULL))
		return true;
	vhd_queue_destroy(q);
	return false;
}

static void registered_memory_is_moved_without_a_look_at_its_pages(void **state)
{
	static const struct {
		size_t at, len;
	} cases[] = {
		{0, PAGE},		      /* the first byte */
		{3 * PAGE, PAGE},	      /* to the end of a piece */
		{4 * PAGE, 512},	      /* the next one's first */
		{7 * PAGE + 512, 512},	      /* to its end */
		{1 * PAGE + 512, 2 * PAGE},   /* not at a page */
	};
	uint8_t data[2 * PAGE];
	struct vhd_err err;
	struct world w;

	(void)state;
	if (no_rings())
		skip();
	start(&w, VHD_ENGINE_URING);
	assert_int_equal(memory(&w, &err), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t at = cases[i].at, len = cases[i].len;
		uint32_t fua = i % 2 ? VHD_REQ_FUA : 0;

		qtest_fill(data, len, i, 1);
		memcpy(w.mem + at, data, len);
		hide(&w, true);
		assert_int_equal(
			move(&w, VHD_OP_WRITE, 16 * i, at, len, fua), 0);
		hide(&w, false);
		memset(w.mem + at, 0, len);
		hide(&w, true);
		assert_int_equal(move(&w, VHD_OP_READ, 16 * i, at, len, 0), 0);
		hide(&w, false);
		assert_memory_equal(w.mem + at, data, len);
	}
	stop(&w);
}

static void what_lies_elsewhere_is_moved_as_ever(void **state)
{
	static const struct {
		size_t at, len;
	} cases[] = {
		{8 * PAGE, PAGE},	     /* beside it */
		{3 * PAGE + 512, PAGE},	     /* in both pieces */
		{7 * PAGE + 512, 1024},	     /* half of it behind the last */
		{0, PAGES * PAGE},
	};
	uint8_t data[PAGES * PAGE];
	struct vhd_err err;
	struct world w;

	(void)state;
	if (no_rings())
		skip();
	start(&w, VHD_ENGINE_URING);
	assert_int_equal(memory(&w, &err), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t at = cases[i].at, len = cases[i].len;

		qtest_fill(data, len, i, 1);
		memcpy(w.mem + at, data, len);
		assert_int_equal(move(&w, VHD_OP_WRITE, i, at, len, 0), 0);
		memset(w.mem + at, 0, len);
		assert_int_equal(move(&w, VHD_OP_READ, i, at, len, 0), 0);
		assert_memory_equal(w.mem + at, data, len);
		hide(&w, true);
		assert_int_equal(move(&w, VHD_OP_READ, i, at, len, 0),
				 -EFAULT);
		hide(&w, false);
	}
	stop(&w);
}

static void engines_without_use_for_it_say_so(void **state)
{
	static const enum vhd_engine engines[] = {VHD_ENGINE_AIO,
						  VHD_ENGINE_SYNC};
	struct vhd_err err;
	struct world w;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		start(&w, engines[i]);
		assert_int_equal(memory(&w, &err), -ENOTSUP);
		assert_int_equal(err.why, VHD_WHY_UNSUPPORTED);
		assert_int_equal(move(&w, VHD_OP_READ, 0, 0, PAGE, 0), 0);
		stop(&w);
	}
}

static void it_is_said_once_and_in_time(void **state)
{
	struct vhd_err err;
	struct iovec m[VHD_QUEUE_MEMORY_MAX + 1];
	struct world w;

	(void)state;
	if (no_rings())
		skip();
	start(&w, VHD_ENGINE_URING);
	for (unsigned i = 0; i <= VHD_QUEUE_MEMORY_MAX; i++)
		m[i] = (struct iovec){w.mem + i * 512, 512};
	assert_int_equal(vhd_queue_memory(w.q, m, 0, &err), -EINVAL);
	assert_int_equal(
		vhd_queue_memory(w.q, m, VHD_QUEUE_MEMORY_MAX + 1, &err),
		-EINVAL);
	m[1].iov_len = 0;
	assert_int_equal(vhd_queue_memory(w.q, m, 2, &err), -EINVAL);
	m[1].iov_len = 512;
	assert_int_equal(vhd_queue_memory(w.q, m, VHD_QUEUE_MEMORY_MAX, &err),
			 0);
	assert_int_equal(vhd_queue_memory(w.q, m, 1, &err), -EBUSY);
	stop(&w);
	start(&w, VHD_ENGINE_URING);
	assert_int_equal(move(&w, VHD_OP_READ, 0, 0, PAGE, 0), 0);
	assert_int_equal(memory(&w, &err), -EBUSY);
	stop(&w);
}

/* As somebody who may lock half of it, rings included; the exit status says
 * what happened.
 */
#define LOCK_BYTES (512u << 10)
static int with_a_limit(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	const struct rlimit limit = {LOCK_BYTES, LOCK_BYTES};
	struct iovec m = {.iov_len = 2 * LOCK_BYTES};
	struct vhd_err err;
	struct world w;
	int rc;

	m.iov_base = mmap(NULL, m.iov_len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.iov_base == MAP_FAILED || setrlimit(RLIMIT_MEMLOCK, &limit) ||
	    syscall(SYS_capset, &head, none))
		return 1;
	start(&w, VHD_ENGINE_URING);
	rc = vhd_queue_memory(w.q, &m, 1, &err);
	if (rc != -ENOMEM || err.why != VHD_WHY_NOMEM)
		return 2;
	if (move(&w, VHD_OP_WRITE, 0, 0, PAGE, 0) ||
	    move(&w, VHD_OP_READ, 0, 0, PAGE, 0))
		return 3;
	stop(&w);
	return 0;
}

static void more_than_may_be_locked_is_refused_and_the_queue_works(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	if (no_rings())
		skip();
	pid = fork();
	if (pid == 0)
		_exit(with_a_limit());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			registered_memory_is_moved_without_a_look_at_its_pages),
		cmocka_unit_test(what_lies_elsewhere_is_moved_as_ever),
		cmocka_unit_test(engines_without_use_for_it_say_so),
		cmocka_unit_test(it_is_said_once_and_in_time),
		cmocka_unit_test(
			more_than_may_be_locked_is_refused_and_the_queue_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
