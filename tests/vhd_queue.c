/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk queue as its callers see it, on each engine and real files. What
 * depends on the order and the faults of operations is in vhd_queue_sim.c.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>

#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"

#define BLOCK (64u << 10)
#define DISK (4u << 20)
#define SECTORS (DISK / SECTOR)
#define BLOCK_SECTORS (BLOCK / SECTOR)

struct fixture {
	char *path;
	struct vhd *img;
	struct vhd_queue *q;
	enum vhd_engine engine;
	uint8_t buf[8 * BLOCK];
};

static int set_up_depth(void **state, uint32_t depth)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->engine = *(const enum vhd_engine *)*state;
	f->path = qtest_path();
	f->img = qtest_create(f->path, VHD_FORMAT_DYNAMIC, DISK, BLOCK, false);
	f->q = qtest_queue(f->engine, depth);
	qtest_attach(f->q, f->img);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_depth(state, 16);
}

static int set_up_one(void **state)
{
	return set_up_depth(state, 1);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vhd_queue_in_flight(f->q), 0);
	vhd_queue_detach(f->q, f->img);
	vhd_queue_destroy(f->q);
	qtest_close(f->img);
	unlink(f->path);
	free(f->path);
	free(f);
	return 0;
}

static void write_gen(struct fixture *f, uint64_t lba, size_t len, unsigned gen)
{
	qtest_fill(f->buf, len, lba, gen);
	assert_int_equal(qtest_io(f->q, f->img, VHD_OP_WRITE, lba, f->buf,
				  len), 0);
}

static void read_check(struct fixture *f, uint64_t lba, size_t len,
		       unsigned gen)
{
	memset(f->buf, 0x55, len);
	assert_int_equal(qtest_io(f->q, f->img, VHD_OP_READ, lba, f->buf, len),
			 0);
	qtest_check(f->buf, len, lba, gen);
}

/* -------------------------------------------------------------- moving -- */

static void the_engine_is_the_one_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vhd_queue_engine(f->q), f->engine);
}

static void what_was_never_written_reads_as_zero(void **state)
{
	struct fixture *f = *state;

	memset(f->buf, 0x55, sizeof(f->buf));
	assert_int_equal(qtest_io(f->q, f->img, VHD_OP_READ, 3, f->buf,
				  3 * BLOCK), 0);
	qtest_check_zero(f->buf, 3 * BLOCK);
}

static void a_write_across_blocks_reads_back(void **state)
{
	struct fixture *f = *state;

	write_gen(f, BLOCK_SECTORS - 1, 3 * BLOCK, 1);
	read_check(f, BLOCK_SECTORS - 1, 3 * BLOCK, 1);
	read_check(f, 2 * BLOCK_SECTORS, SECTOR, 1);
}

static void a_read_mixes_data_and_holes(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = f->buf;

	write_gen(f, BLOCK_SECTORS, BLOCK, 1);
	write_gen(f, 3 * BLOCK_SECTORS, SECTOR, 2);
	memset(f->buf, 0x55, sizeof(f->buf));
	assert_int_equal(qtest_io(f->q, f->img, VHD_OP_READ, 0, f->buf,
				  5 * BLOCK), 0);
	qtest_check_zero(p, BLOCK);
	qtest_check(p + BLOCK, BLOCK, BLOCK_SECTORS, 1);
	qtest_check_zero(p + 2 * BLOCK, BLOCK);
	qtest_check(p + 3 * BLOCK, SECTOR, 3 * BLOCK_SECTORS, 2);
	qtest_check_zero(p + 3 * BLOCK + SECTOR, 2 * BLOCK - SECTOR);
}

static void the_last_sector_is_reached_and_no_further(void **state)
{
	struct fixture *f = *state;

	write_gen(f, SECTORS - 1, SECTOR, 1);
	read_check(f, SECTORS - 1, SECTOR, 1);
	assert_int_equal(qtest_io(f->q, f->img, VHD_OP_READ, SECTORS, f->buf,
				  0), 0);
}

/* Cut `len` bytes at `p` into buffers as `step` says, 0 included. */
static uint32_t cut(struct iovec *iov, uint8_t *p, size_t len,
		    const size_t *steps, unsigned step_count)
{
	uint32_t n = 0;

	for (size_t at = 0; at < len; n++) {
		size_t step = steps[n % step_count];

		if (step > len - at)
			step = len - at;
		iov[n] = (struct iovec){p + at, step};
		at += step;
	}
	return n;
}

static void move_cut(struct fixture *f, enum vhd_op op, size_t len,
		     const size_t *steps, unsigned step_count)
{
	static struct iovec iov[4 * BLOCK];
	struct vhd_req req = {
		.img = f->img, .op = op, .lba = BLOCK_SECTORS - 5, .iov = iov};

	req.iov_count = cut(iov, f->buf, len, steps, step_count);
	assert_int_equal(qtest_run(f->q, &req), 0);
}

static void buffers_of_any_shape_move_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	static const size_t shapes[][4] = {
		{512, 512, 512, 512},    /* edges on buffers */
		{4096, 4096, 4096, 4096},
		{100, 0, 1, 411},        /* edges inside */
		{0, 70000, 3, 0},
		{1, 1, 1, 1},            /* far more than one call takes */
		{13, 0, 0, 8191},
	};

	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const size_t len = 2 * BLOCK + SECTOR;

		qtest_fill(f->buf, len, BLOCK_SECTORS - 5, 10 + i);
		move_cut(f, VHD_OP_WRITE, len, shapes[i], 4);
		memset(f->buf, 0x55, len);
		f->buf[len] = 0x77;
		move_cut(f, VHD_OP_READ, len, shapes[5 - i], 4);
		qtest_check(f->buf, len, BLOCK_SECTORS - 5, 10 + i);
		assert_int_equal(f->buf[len], 0x77);
	}
}

static void holes_are_zeroed_in_buffers_of_any_shape(void **state)
{
	struct fixture *f = *state;
	static const size_t shape[] = {100, 0, 1, 411};
	const size_t len = 2 * BLOCK + SECTOR;

	memset(f->buf, 0x55, sizeof(f->buf));
	move_cut(f, VHD_OP_READ, len, shape, 4);
	qtest_check_zero(f->buf, len);
	assert_int_equal(f->buf[len], 0x55);
}

static void more_requests_than_slots_all_end(void **state)
{
	struct fixture *f = *state;
	static struct vhd_req reqs[100];
	static struct iovec iov[100];
	unsigned left = 100;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t lba = i * 77;

		qtest_fill(f->buf + i * SECTOR, SECTOR, lba, 1);
		iov[i] = (struct iovec){f->buf + i * SECTOR, SECTOR};
		reqs[i] = (struct vhd_req){.img = f->img, .op = VHD_OP_WRITE,
					   .lba = lba, .iov = &iov[i],
					   .iov_count = 1};
		vhd_queue_submit(f->q, &reqs[i]);
		assert_int_equal(vhd_queue_in_flight(f->q), i + 1);
	}
	while (left) {
		struct vhd_req *req = qtest_next(f->q);

		assert_int_equal(req->result, 0);
		assert_true(req >= reqs && req < reqs + 100);
		req->result = 1; /* a second time would show */
		assert_int_equal(vhd_queue_in_flight(f->q), --left);
	}
	for (unsigned i = 0; i < 100; i++)
		read_check(f, i * 77, SECTOR, 1);
}

/* -------------------------------------------------------------- refusing -- */

static void refused(struct fixture *f, struct vhd_req req, int code,
		    enum vhd_why why)
{
	assert_int_equal(qtest_run(f->q, &req), -code);
	assert_int_equal(req.why, why);
}

static void senseless_requests_end_with_their_reason(void **state)
{
	struct fixture *f = *state;
	struct iovec one = {f->buf, SECTOR}, odd = {f->buf, SECTOR + 1};
	struct iovec huge[2] = {{f->buf, SIZE_MAX - 511}, {f->buf, SECTOR}};
	struct vhd_req good = {.img = f->img, .op = VHD_OP_READ, .iov = &one,
			       .iov_count = 1};
	struct vhd_req req = good;

	assert_int_equal(qtest_run(f->q, &req), 0);
	req = good;
	req.img = NULL;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req.img = (struct vhd *)f; /* never attached */
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req = good;
	req.op = (enum vhd_op)3;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req = good;
	req.flags = 2;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req = good;
	req.iov = &odd;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req = good;
	req.iov = NULL;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	req = good;
	req.iov = huge;
	req.iov_count = 2;
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
}

static void requests_past_the_end_are_out_of_range(void **state)
{
	struct fixture *f = *state;
	struct iovec two = {f->buf, 2 * SECTOR};
	struct vhd_req good = {.img = f->img, .op = VHD_OP_WRITE, .iov = &two,
			       .iov_count = 1, .lba = SECTORS - 2};
	struct vhd_req req = good;

	assert_int_equal(qtest_run(f->q, &req), 0);
	req = good;
	req.lba = SECTORS - 1;
	refused(f, req, EINVAL, VHD_WHY_RANGE);
	req.lba = SECTORS;
	refused(f, req, EINVAL, VHD_WHY_RANGE);
	req.lba = UINT64_MAX;
	refused(f, req, EINVAL, VHD_WHY_RANGE);
	two.iov_len = SIZE_MAX - 511;
	req.lba = 0;
	refused(f, req, EINVAL, VHD_WHY_RANGE);
	req = good;
	req.lba = SECTORS + 1;
	req.iov_count = 0;
	refused(f, req, EINVAL, VHD_WHY_RANGE);
}

static void a_reader_may_read_and_flush_but_not_write(void **state)
{
	struct fixture *f = *state;
	struct vhd_open_opts opts = {.format = VHD_FORMAT_DYNAMIC};
	struct vhd_err err = {0};
	struct iovec one = {f->buf, SECTOR};
	struct vhd_req req = {.op = VHD_OP_WRITE, .iov = &one, .iov_count = 1};

	write_gen(f, 9, SECTOR, 1);
	vhd_queue_detach(f->q, f->img);
	qtest_close(f->img);
	if (vhd_open(f->path, &opts, &f->img, &err))
		fail_msg("%s", err.text);
	qtest_attach(f->q, f->img);
	read_check(f, 9, SECTOR, 1);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	req.img = f->img;
	refused(f, req, EROFS, VHD_WHY_READ_ONLY);
	req.flags = VHD_REQ_FUA;
	refused(f, req, EROFS, VHD_WHY_READ_ONLY);
}

static void an_image_is_attached_once_and_gone_when_detached(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	struct iovec one = {f->buf, SECTOR};
	struct vhd_req req = {.img = f->img, .op = VHD_OP_READ, .iov = &one,
			      .iov_count = 1};

	assert_refused(vhd_queue_attach(f->q, f->img, &err), &err, EEXIST,
		       VHD_WHY_ARGUMENT);
	vhd_queue_detach(f->q, f->img);
	refused(f, req, EINVAL, VHD_WHY_ARGUMENT);
	vhd_queue_detach(f->q, f->img);
	qtest_attach(f->q, f->img);
	assert_int_equal(qtest_run(f->q, &req), 0);
}

static void a_queue_serves_so_many_images_and_not_one_more(void **state)
{
	struct fixture *f = *state;
	static struct vhd *imgs[VHD_QUEUE_IMAGES_MAX];
	static char *paths[VHD_QUEUE_IMAGES_MAX];
	const unsigned n = VHD_QUEUE_IMAGES_MAX;
	struct vhd_err err = {0};

	for (unsigned i = 0; i < n; i++) {
		paths[i] = qtest_path();
		imgs[i] = qtest_create(paths[i], VHD_FORMAT_FIXED, BLOCK, 0,
				       false);
		if (i < n - 1)
			qtest_attach(f->q, imgs[i]);
	}
	assert_refused(vhd_queue_attach(f->q, imgs[n - 1], &err), &err, ENOSPC,
		       VHD_WHY_ARGUMENT);
	vhd_queue_detach(f->q, imgs[7]);
	qtest_attach(f->q, imgs[n - 1]);
	for (unsigned i = 0; i < n; i++) {
		if (i == 7)
			continue;
		qtest_fill(f->buf, SECTOR, i, i);
		assert_int_equal(qtest_io(f->q, imgs[i], VHD_OP_WRITE, 3,
					  f->buf, SECTOR), 0);
	}
	for (unsigned i = 0; i < n; i++) {
		vhd_queue_detach(f->q, imgs[i]);
		if (i != 7) {
			assert_int_equal(vhd_read(imgs[i], 3 * SECTOR, f->buf,
						  SECTOR, NULL), 0);
			qtest_check(f->buf, SECTOR, i, i);
		}
		qtest_close(imgs[i]);
		unlink(paths[i]);
		free(paths[i]);
	}
}

static void a_queue_is_so_deep_and_not_one_more(void **state)
{
	struct fixture *f = *state;
	struct vhd_queue_opts opts = {.engine = f->engine,
				      .depth = VHD_QUEUE_DEPTH_MAX + 1};
	struct vhd_queue *q = NULL;
	struct vhd_err err = {0};

	assert_refused(vhd_queue_create(&opts, &q, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_null(q);
	vhd_queue_destroy(qtest_queue(f->engine, VHD_QUEUE_DEPTH_MAX));
}

/* ------------------------------------------------------ durable, early -- */

static void flush_and_fua_succeed_on_new_and_old_blocks(void **state)
{
	struct fixture *f = *state;
	struct iovec iov = {f->buf, 2 * BLOCK};

	for (unsigned gen = 1; gen <= 3; gen++) {
		struct vhd_req req = {
			.img = f->img, .op = VHD_OP_WRITE, .iov = &iov,
			.iov_count = 1, .flags = VHD_REQ_FUA,
			.lba = BLOCK_SECTORS / 2};

		qtest_fill(f->buf, 2 * BLOCK, req.lba, gen);
		assert_int_equal(qtest_run(f->q, &req), 0);
		read_check(f, req.lba, 2 * BLOCK, gen);
		assert_int_equal(qtest_flush(f->q, f->img), 0);
	}
}

static void a_waiting_request_can_be_cancelled(void **state)
{
	struct fixture *f = *state; /* one slot */
	struct iovec iov[2] = {{f->buf, SECTOR}, {f->buf + SECTOR, SECTOR}};
	struct vhd_req reqs[2];
	struct vhd_req *got;

	qtest_fill(f->buf, SECTOR, 0, 1);
	write_gen(f, 0, SECTOR, 1);
	memset(f->buf, 0x55, 2 * SECTOR);
	for (unsigned i = 0; i < 2; i++) {
		reqs[i] = (struct vhd_req){.img = f->img, .op = VHD_OP_READ,
					   .iov = &iov[i], .iov_count = 1};
		vhd_queue_submit(f->q, &reqs[i]);
	}
	vhd_queue_cancel(f->q, &reqs[1]);
	vhd_queue_cancel(f->q, &reqs[1]);
	got = qtest_next(f->q);
	assert_ptr_equal(got, &reqs[1]);
	assert_int_equal(got->result, -ECANCELED);
	assert_int_equal(got->why, VHD_WHY_CANCELLED);
	got = qtest_next(f->q);
	assert_ptr_equal(got, &reqs[0]);
	assert_int_equal(got->result, 0);
	qtest_check(f->buf, SECTOR, 0, 1);
	assert_int_equal(f->buf[SECTOR], 0x55);
}

static void cancelling_what_has_finished_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = {.img = f->img, .op = VHD_OP_READ, .iov = &iov,
			      .iov_count = 1};

	vhd_queue_submit(f->q, &req); /* a hole: over at once */
	vhd_queue_cancel(f->q, &req);
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, 0);
}

static void a_flush_not_yet_begun_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct vhd_req req = {.img = f->img, .op = VHD_OP_FLUSH};

	vhd_queue_submit(f->q, &req);
	vhd_queue_cancel(f->q, &req);
	/* Nothing of the image is in flight now, so it may go, and come. */
	assert_ptr_equal(qtest_next(f->q), &req);
	assert_int_equal(req.result, -ECANCELED);
	vhd_queue_detach(f->q, f->img);
	vhd_queue_kick(f->q);
	qtest_attach(f->q, f->img);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
}

/* --------------------------------------------------------------- waiting -- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void waiting_for_nothing_returns(void **state)
{
	struct fixture *f = *state;
	int64_t start = now_ms();

	assert_int_equal(vhd_queue_wait(f->q, -1, -1), 0);
	assert_int_equal(vhd_queue_wait(f->q, -1, 0), 0);
	assert_in_range(now_ms() - start, 0, QTEST_LATE_MS);
	start = now_ms();
	assert_int_equal(vhd_queue_wait(f->q, -1, 20), 0);
	assert_in_range(now_ms() - start, 15, QTEST_LATE_MS);
}

static void a_wait_ends_by_a_request_or_the_descriptor(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(1, EFD_CLOEXEC);
	struct iovec iov = {f->buf, SECTOR};
	struct vhd_req req = {.img = f->img, .op = VHD_OP_WRITE, .iov = &iov,
			      .iov_count = 1};
	struct vhd_req *got = NULL;
	int64_t start = now_ms();
	uint64_t n;

	assert_int_equal(vhd_queue_wait(f->q, fd, QTEST_LONG_MS), 0);
	assert_int_equal(vhd_queue_reap(f->q, &got, 1), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	vhd_queue_submit(f->q, &req);
	while (!vhd_queue_reap(f->q, &got, 1))
		assert_int_equal(vhd_queue_wait(f->q, fd, QTEST_LONG_MS), 0);
	assert_ptr_equal(got, &req);
	assert_in_range(now_ms() - start, 0, QTEST_LATE_MS);
	assert_int_equal(vhd_queue_wait(f->q, -1, 0), 0);
	close(fd);
}

static void a_finished_request_keeps_a_wait_from_blocking(void **state)
{
	struct fixture *f = *state;
	struct vhd_req bad = {.img = NULL, .op = VHD_OP_FLUSH};
	struct vhd_req *got = NULL;
	int64_t start = now_ms();

	vhd_queue_submit(f->q, &bad);
	assert_int_equal(vhd_queue_wait(f->q, -1, QTEST_LONG_MS), 0);
	assert_in_range(now_ms() - start, 0, QTEST_LATE_MS);
	assert_int_equal(vhd_queue_reap(f->q, &got, 0), 0);
	assert_int_equal(vhd_queue_reap(f->q, &got, 1), 1);
	assert_ptr_equal(got, &bad);
}

static const enum vhd_engine engine_ids[] = {
	VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};

#define ON(engine, n, test, up)                                                \
	{engine ": " #test, test, up, tear_down, (void *)&engine_ids[n]}
#define EACH_UP(test, up)                                                      \
	ON("uring", 0, test, up), ON("aio", 1, test, up),                      \
	ON("sync", 2, test, up)
#define EACH(test) EACH_UP(test, set_up)

int main(void)
{
	struct CMUnitTest tests[] = {
		EACH(the_engine_is_the_one_asked_for),
		EACH(what_was_never_written_reads_as_zero),
		EACH(a_write_across_blocks_reads_back),
		EACH_UP(a_write_across_blocks_reads_back, set_up_one),
		EACH(a_read_mixes_data_and_holes),
		EACH_UP(a_read_mixes_data_and_holes, set_up_one),
		EACH(the_last_sector_is_reached_and_no_further),
		EACH(buffers_of_any_shape_move_the_same_bytes),
		EACH_UP(buffers_of_any_shape_move_the_same_bytes, set_up_one),
		EACH(holes_are_zeroed_in_buffers_of_any_shape),
		EACH(more_requests_than_slots_all_end),
		EACH(senseless_requests_end_with_their_reason),
		EACH(requests_past_the_end_are_out_of_range),
		EACH(a_reader_may_read_and_flush_but_not_write),
		EACH(an_image_is_attached_once_and_gone_when_detached),
		EACH(a_queue_serves_so_many_images_and_not_one_more),
		EACH(a_queue_is_so_deep_and_not_one_more),
		EACH(flush_and_fua_succeed_on_new_and_old_blocks),
		EACH_UP(a_waiting_request_can_be_cancelled, set_up_one),
		EACH(cancelling_what_has_finished_changes_nothing),
		EACH(a_flush_not_yet_begun_can_be_cancelled),
		EACH(waiting_for_nothing_returns),
		EACH(a_wait_ends_by_a_request_or_the_descriptor),
		EACH(a_finished_request_keeps_a_wait_from_blocking),
	};

	return engines_run_group_tests(tests, NULL, NULL);
}
