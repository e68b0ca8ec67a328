/* SPDX-License-Identifier: BSD-2-Clause */
/* What every engine owes the queue, asked of each of the three: the rules of
 * vhd/engine.h, on a real file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"
#include "vhd/engine.h"

#define DEPTH 8u
#define FILE_BYTES (64u << 10)

struct fixture {
	const struct vhd_engine_ops *ops;
	void *state;
	char *path;
	struct vhd_file file;
	uint8_t data[FILE_BYTES];
};

static int set_up(void **state)
{
	const struct vhd_engine_ops *ops = *state;
	struct vhd_file_open how = {.writable = true, .create = true};
	struct fixture *f = calloc(1, sizeof(*f));
	struct vhd_err err = {0};

	if (!f)
		return -1;
	f->ops = ops;
	f->path = qtest_path();
	qtest_fill(f->data, sizeof(f->data), 0, 1);
	if (vhd_file_open(f->path, &how, &f->file, &err) ||
	    vhd_file_write(&f->file, f->data, sizeof(f->data), 0, &err) ||
	    ops->create(DEPTH, &f->state, &err) ||
	    ops->attach(f->state, &f->file, 0, &err)) {
		print_error("%s\n", err.text);
		return -1;
	}
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	f->ops->detach(f->state, &f->file, 0);
	f->ops->destroy(f->state);
	vhd_file_close(&f->file);
	unlink(f->path);
	free(f->path);
	free(f);
	return 0;
}

static struct vhd_io io_of(struct fixture *f, enum vhd_io_op op, uint64_t off,
			   const struct iovec *iov, uint32_t count)
{
	return (struct vhd_io){.op = op, .file = &f->file, .off_bytes = off,
			       .iov = iov, .iov_count = count,
			       .res = -12345};
}

static struct vhd_io *reap_one(struct fixture *f)
{
	struct vhd_io *io = NULL;

	for (int i = 0; i < 1000 && !io; i++) {
		assert_int_equal(f->ops->wait(f->state, -1, 5000), 0);
		io = f->ops->reap(f->state);
	}
	assert_non_null(io);
	return io;
}

/* One operation from prep to reap; its result. */
static int64_t run(struct fixture *f, struct vhd_io *io)
{
	struct vhd_io *got;

	f->ops->prep(f->state, io);
	assert_int_equal(f->ops->submit(f->state), 0);
	got = reap_one(f);
	assert_ptr_equal(got, io);
	assert_null(got->next);
	assert_null(f->ops->reap(f->state));
	return io->res;
}

static void one_buffer_is_read_from_its_offset(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1000];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 4099, &iov, 1);

	assert_int_equal(run(f, &io), 1000);
	assert_memory_equal(buf, f->data + 4099, sizeof(buf));
}

static void several_buffers_are_filled_in_order(void **state)
{
	struct fixture *f = *state;
	uint8_t a[100], b[1], c[3000];
	struct iovec iov[] = {{a, 100}, {b, 1}, {NULL, 0}, {c, 3000}};
	struct vhd_io io = io_of(f, VHD_IO_READ, 512, iov, 4);

	assert_int_equal(run(f, &io), 3101);
	assert_memory_equal(a, f->data + 512, 100);
	assert_memory_equal(b, f->data + 612, 1);
	assert_memory_equal(c, f->data + 613, 3000);
}

static void writes_land_where_they_belong(void **state)
{
	struct fixture *f = *state;
	uint8_t a[512], b[1024], back[4096];
	struct iovec one = {a, sizeof(a)};
	struct iovec two[] = {{a, sizeof(a)}, {b, sizeof(b)}};
	struct vhd_io io = io_of(f, VHD_IO_WRITE, 512, &one, 1);

	memset(a, 0xaa, sizeof(a));
	memset(b, 0xbb, sizeof(b));
	assert_int_equal(run(f, &io), 512);
	io = io_of(f, VHD_IO_WRITE, 2048, two, 2);
	assert_int_equal(run(f, &io), 1536);
	assert_int_equal(vhd_file_read(&f->file, back, 4096, 0, NULL), 0);
	assert_memory_equal(back, f->data, 512);
	assert_memory_equal(back + 512, a, 512);
	assert_memory_equal(back + 1024, f->data + 1024, 1024);
	assert_memory_equal(back + 2048, a, 512);
	assert_memory_equal(back + 2560, b, 1024);
	assert_memory_equal(back + 3584, f->data + 3584, 512);
}

static void a_durable_write_and_a_sync_succeed(void **state)
{
	struct fixture *f = *state;
	uint8_t a[512] = {1};
	struct iovec iov = {a, sizeof(a)};
	struct vhd_io io = io_of(f, VHD_IO_WRITE, 0, &iov, 1);
	uint8_t back[512];

	io.dsync = true;
	assert_int_equal(run(f, &io), 512);
	io = io_of(f, VHD_IO_SYNC, 0, NULL, 0);
	assert_int_equal(run(f, &io), 0);
	assert_int_equal(vhd_file_read(&f->file, back, 512, 0, NULL), 0);
	assert_memory_equal(a, back, 512);
}

static void a_read_across_the_end_is_short_and_behind_it_empty(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1024];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, FILE_BYTES - 100, &iov, 1);

	assert_int_equal(run(f, &io), 100);
	io = io_of(f, VHD_IO_READ, FILE_BYTES, &iov, 1);
	assert_int_equal(run(f, &io), 0);
}

static void a_failure_comes_back_as_its_errno(void **state)
{
	struct fixture *f = *state;
	struct vhd_file_open how = {.no_lock = true};
	struct vhd_file reader;
	uint8_t buf[512] = {0};
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io;

	assert_int_equal(vhd_file_open(f->path, &how, &reader, NULL), 0);
	assert_int_equal(f->ops->attach(f->state, &reader, 1, NULL), 0);
	io = io_of(f, VHD_IO_WRITE, 0, &iov, 1);
	io.file = &reader;
	io.file_slot = 1;
	assert_int_equal(run(f, &io), -EBADF);
	f->ops->detach(f->state, &reader, 1);
	vhd_file_close(&reader);
}

static void a_full_batch_comes_back_each_once(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[DEPTH][512];
	struct iovec iov[DEPTH];
	struct vhd_io ios[DEPTH];
	unsigned seen[DEPTH] = {0}, got = 0;

	for (unsigned round = 0; round < 50; round++) {
		got = 0;
		for (unsigned i = 0; i < DEPTH; i++) {
			iov[i] = (struct iovec){buf[i], 512};
			ios[i] = io_of(f, VHD_IO_READ, 512 * (i + round),
				       &iov[i], 1);
			f->ops->prep(f->state, &ios[i]);
		}
		while (got < DEPTH) {
			struct vhd_io *next;

			for (struct vhd_io *io = reap_one(f); io; io = next) {
				next = io->next;
				seen[io - ios]++;
				got++;
			}
		}
		for (unsigned i = 0; i < DEPTH; i++) {
			assert_int_equal(seen[i], round + 1);
			assert_int_equal(ios[i].res, 512);
			assert_memory_equal(buf[i],
					    f->data + 512 * (i + round), 512);
		}
	}
	assert_null(f->ops->reap(f->state));
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void an_idle_wait_ends_with_its_time(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	int64_t start = now_ms();

	assert_int_equal(f->ops->wait(f->state, fd, 20), 0);
	assert_in_range(now_ms() - start, 15, QTEST_LATE_MS);
	/* The end of the watch on `fd` may end a wait early, once. */
	start = now_ms();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f->ops->wait(f->state, -1, 20), 0);
		assert_null(f->ops->reap(f->state));
	}
	assert_in_range(now_ms() - start, 15, QTEST_LATE_MS);
	start = now_ms();
	assert_int_equal(f->ops->wait(f->state, fd, 0), 0);
	assert_in_range(now_ms() - start, 0, QTEST_LATE_MS);
	/* The poll may still be armed: it must not outlive its file. */
	assert_int_equal(f->ops->wait(f->state, -1, 0), 0);
	close(fd);
}

/* Waits until the descriptor is seen or the time is over; true if in time. */
static bool wakes(struct fixture *f, int fd)
{
	int64_t start = now_ms();

	/* Early returns are allowed: an old poll request ending. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(f->ops->wait(f->state, fd, QTEST_LONG_MS), 0);
	assert_null(f->ops->reap(f->state));
	return now_ms() - start < QTEST_LATE_MS;
}

static void a_readable_descriptor_ends_the_wait_again_and_again(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t n = 1;

	assert_int_equal(f->ops->wait(f->state, fd, 0), 0);
	for (int i = 0; i < 3; i++) {
		/* level-triggered: it stays readable */
		assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
		assert_true(wakes(f, fd));
		assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
		n = 1;
	}
	assert_int_equal(f->ops->wait(f->state, -1, 0), 0);
	close(fd);
}

static void another_descriptor_may_be_given_each_time(void **state)
{
	struct fixture *f = *state;
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
	uint64_t n = 1;
	int64_t start;

	assert_int_equal(f->ops->wait(f->state, a, 0), 0);
	assert_int_equal(f->ops->wait(f->state, b, 0), 0);
	assert_int_equal(write(b, &n, sizeof(n)), sizeof(n));
	assert_true(wakes(f, b));
	assert_int_equal(read(b, &n, sizeof(n)), sizeof(n));
	/* `a` is readable, but it is `b` that is waited for. */
	n = 1;
	assert_int_equal(write(a, &n, sizeof(n)), sizeof(n));
	start = now_ms();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f->ops->wait(f->state, b, 20), 0);
		assert_null(f->ops->reap(f->state));
	}
	assert_in_range(now_ms() - start, 15, QTEST_LATE_MS);
	assert_true(wakes(f, a));
	assert_int_equal(f->ops->wait(f->state, -1, 0), 0);
	close(a);
	close(b);
}

static void a_finished_operation_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint8_t buf[512];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 0, &iov, 1);
	int64_t start = now_ms();
	struct vhd_io *got = NULL;

	f->ops->prep(f->state, &io);
	while (!got) {
		assert_int_equal(f->ops->wait(f->state, fd, QTEST_LONG_MS), 0);
		got = f->ops->reap(f->state);
	}
	assert_ptr_equal(got, &io);
	assert_in_range(now_ms() - start, 0, QTEST_LATE_MS);
	assert_int_equal(f->ops->wait(f->state, -1, 0), 0);
	close(fd);
}

static void a_cancelled_operation_still_comes_back_once(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[2][512];
	struct iovec iov[2] = {{buf[0], 512}, {buf[1], 512}};
	struct vhd_io a = io_of(f, VHD_IO_READ, 0, &iov[0], 1);
	struct vhd_io b = io_of(f, VHD_IO_READ, 512, &iov[1], 1);
	unsigned seen[2] = {0};

	f->ops->prep(f->state, &a);
	f->ops->prep(f->state, &b);
	f->ops->cancel(f->state, &a);
	while (seen[0] + seen[1] < 2) {
		struct vhd_io *next;

		for (struct vhd_io *io = reap_one(f); io; io = next) {
			next = io->next;
			seen[io == &b]++;
		}
	}
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 1);
	assert_true(a.res == 512 || a.res == -ECANCELED);
	assert_int_equal(b.res, 512);
	assert_memory_equal(buf[1], f->data + 512, 512);
	assert_int_equal(f->ops->wait(f->state, -1, 0), 0);
	assert_null(f->ops->reap(f->state));
}

static void *use_elsewhere(void *arg)
{
	struct fixture *f = arg;
	uint8_t buf[512];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 512, &iov, 1);

	assert_int_equal(run(f, &io), 512);
	assert_memory_equal(buf, f->data + 512, 512);
	return NULL;
}

static void one_thread_may_make_it_and_another_use_it(void **state)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, use_elsewhere, *state), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
}

static void a_detached_and_closed_file_can_be_locked_at_once(void **state)
{
	struct fixture *f = *state;
	struct vhd_file_open how = {.writable = true};
	struct vhd_file again;
	struct vhd_err err = {0};
	uint8_t buf[512];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 0, &iov, 1);

	assert_int_equal(run(f, &io), 512);
	f->ops->detach(f->state, &f->file, 0);
	vhd_file_close(&f->file);
	if (vhd_file_open(f->path, &how, &again, &err))
		fail_msg("%s", err.text);
	f->file = again;
	assert_int_equal(f->ops->attach(f->state, &f->file, 0, NULL), 0);
	io = io_of(f, VHD_IO_READ, 512, &iov, 1);
	assert_int_equal(run(f, &io), 512);
	assert_memory_equal(buf, f->data + 512, 512);
}

static void the_last_slot_serves_a_file(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 512, &iov, 1);

	io.file_slot = VHD_QUEUE_IMAGES_MAX - 1;
	assert_int_equal(f->ops->attach(f->state, &f->file,
					VHD_QUEUE_IMAGES_MAX - 1, NULL), 0);
	assert_int_equal(run(f, &io), 512);
	f->ops->detach(f->state, &f->file, VHD_QUEUE_IMAGES_MAX - 1);
}

static void only_sync_serves_a_medium_without_descriptor(void **state)
{
	struct fixture *f = *state;
	struct memfile *m = memfile_create();
	struct vhd_file file = memfile_file(m);
	struct vhd_err err = {0};
	uint8_t buf[512];
	struct iovec iov = {buf, sizeof(buf)};
	struct vhd_io io = io_of(f, VHD_IO_READ, 0, &iov, 1);
	int rc = f->ops->attach(f->state, &file, 1, &err);

	if (f->ops->id != VHD_ENGINE_SYNC) {
		assert_refused(rc, &err, ENOTSUP, VHD_WHY_UNSUPPORTED);
	} else {
		assert_int_equal(rc, 0);
		assert_int_equal(memfile_poke(m, f->data, 4096, 0), 0);
		io.file = &file;
		io.file_slot = 1;
		assert_int_equal(run(f, &io), 512);
		assert_memory_equal(buf, f->data, 512);
		f->ops->detach(f->state, &file, 1);
	}
	memfile_destroy(m);
}

#define EACH(test)                                                             \
	{"uring: " #test, test, set_up, tear_down, (void *)&vhd_engine_uring}, \
	{"aio: " #test, test, set_up, tear_down, (void *)&vhd_engine_aio},     \
	{"sync: " #test, test, set_up, tear_down, (void *)&vhd_engine_sync}

int main(void)
{
	struct CMUnitTest tests[] = {
		EACH(one_buffer_is_read_from_its_offset),
		EACH(several_buffers_are_filled_in_order),
		EACH(writes_land_where_they_belong),
		EACH(a_durable_write_and_a_sync_succeed),
		EACH(a_read_across_the_end_is_short_and_behind_it_empty),
		EACH(a_failure_comes_back_as_its_errno),
		EACH(a_full_batch_comes_back_each_once),
		EACH(an_idle_wait_ends_with_its_time),
		EACH(a_readable_descriptor_ends_the_wait_again_and_again),
		EACH(another_descriptor_may_be_given_each_time),
		EACH(a_finished_operation_ends_the_wait),
		EACH(a_cancelled_operation_still_comes_back_once),
		EACH(one_thread_may_make_it_and_another_use_it),
		EACH(a_detached_and_closed_file_can_be_locked_at_once),
		EACH(the_last_slot_serves_a_file),
		EACH(only_sync_serves_a_medium_without_descriptor),
	};

	return engines_run_group_tests(tests, NULL, NULL);
}
