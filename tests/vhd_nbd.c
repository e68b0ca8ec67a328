/* SPDX-License-Identifier: BSD-2-Clause */
/* Images on NBD exports, against a server inside the test (fakenbd.h): what a
 * queue and the metadata see of it, what a lost connection costs, and what a
 * hostile server gets.
 */
#include <errno.h>
#include <sys/eventfd.h>

#include "tests/lib/nbdtest.h"
#include "tests/lib/oracle.h"
#include "vhd/engine_nbd.h"
#include "vhd/file.h"
#include "vhd/nbd.h"
#include "vhd/nbd_int.h"

/* ------------------------------------------------------------ plain I/O -- */

static void bytes_written_are_read_back_and_a_flush_makes_them_durable(
	void **state)
{
	struct fixture *f = *state;
	uint8_t back[3000];

	open_export(f);
	write_at(f, 1000, 7, sizeof(back));
	assert_int_equal(vhd_file_read(&f->file, back, sizeof(back), 1000,
				       NULL), 0);
	for (size_t i = 0; i < sizeof(back); i++)
		assert_int_equal(back[i], 7);
	check_medium(f, 1000, 0, 1);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	check_medium(f, 1000, 7, sizeof(back));
}

static void an_export_ends_as_a_device_does(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	uint8_t buf[1024] = {0};
	uint64_t len;

	open_export(f);
	assert_int_equal(vhd_file_size(&f->file, &len, NULL), 0);
	assert_int_equal(len, ROOM);
	assert_int_equal(vhd_file_read(&f->file, buf, 1024, ROOM - 512, &err),
			 -EIO);
	assert_int_equal(err.why, VHD_WHY_SHORT_IO);
	assert_int_equal(vhd_file_write(&f->file, buf, 1024, ROOM - 512, &err),
			 -ENOSPC);
	assert_int_equal(err.why, VHD_WHY_NO_SPACE);
	assert_int_not_equal(vhd_file_truncate(&f->file, ROOM + 512, &err), 0);
}

static void a_queue_moves_scattered_buffers(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t data[8192], a[1000], b[3096], c[4096];
	struct iovec iov[] = {{a, sizeof(a)}, {NULL, 0}, {c, sizeof(c)},
			      {b, sizeof(b)}};
	struct vhd_req req = {.img = img, .op = VHD_OP_READ, .lba = 3,
			      .iov = iov, .iov_count = 4};

	qtest_attach(q, img);
	qtest_fill(data, sizeof(data), 3, 1);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 3, data, 8192), 0);
	assert_int_equal(qtest_run(q, &req), 0);
	assert_memory_equal(a, data, 1000);
	assert_memory_equal(c, data + 1000, 4096);
	assert_memory_equal(b, data + 5096, 3096);
	memset(f->server.cache, 0, ROOM);
	req.op = VHD_OP_WRITE;
	assert_int_equal(qtest_run(q, &req), 0);
	assert_memory_equal(f->server.cache + 3 * 512, data, 8192);
	vhd_queue_destroy(q);
	qtest_close(img);
}

static void one_queue_serves_a_file_and_an_export(void **state)
{
	static const enum vhd_engine engines[] = {
		VHD_ENGINE_URING, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};
	struct fixture *f = *state;
	struct vhd *remote = open_image(f, VHD_FORMAT_RAW);
	char *path = qtest_path();
	struct vhd *local = qtest_create(path, VHD_FORMAT_FIXED, 1 << 20, 0,
					 false);

	for (size_t e = 0; e < 3; e++) {
		struct vhd_queue *q;
		struct vhd_req req[64] = {0}, *done;
		uint8_t data[64][512];
		struct iovec iov[64];

		const struct vhd_queue_opts o = {.engine = engines[e],
						 .depth = 16};

		if (vhd_queue_create(&o, &q, NULL)) /* forbidden here */
			continue;
		qtest_attach(q, local);
		qtest_attach(q, remote);
		assert_int_equal(vhd_queue_engine(q), engines[e]);
		for (unsigned i = 0; i < 64; i++) {
			qtest_fill(data[i], 512, i, (unsigned)e);
			iov[i] = (struct iovec){data[i], 512};
			req[i].img = i % 2 ? local : remote;
			req[i].op = VHD_OP_WRITE;
			req[i].lba = i;
			req[i].iov = &iov[i];
			req[i].iov_count = 1;
			vhd_queue_submit(q, &req[i]);
		}
		for (unsigned i = 0; i < 64; i++) {
			done = qtest_next(q);
			assert_int_equal(done->result, 0);
		}
		for (unsigned i = 0; i < 64; i++) {
			assert_int_equal(qtest_io(q, req[i].img, VHD_OP_READ,
						  i, data[i], 512), 0);
			qtest_check(data[i], 512, i, (unsigned)e);
		}
		vhd_queue_destroy(q);
	}
	qtest_close(local);
	qtest_close(remote);
	unlink(path);
	free(path);
}

static void a_queue_waits_for_its_descriptor_beside_a_server(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	int fd = eventfd(1, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);
	uint8_t buf[512];
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.img = img, .op = VHD_OP_READ, .iov = &iov,
			      .iov_count = 1}, *done;

	qtest_attach(q, img);
	f->server.hold = true;
	vhd_queue_submit(q, &req);
	assert_int_equal(vhd_queue_wait(q, fd, -1), 0);
	assert_int_equal(vhd_queue_reap(q, &done, 1), 0);
	fakenbd_release(&f->server);
	while (!vhd_queue_reap(q, &done, 1))
		assert_int_equal(vhd_queue_wait(q, other, -1), 0);
	assert_ptr_equal(done, &req);
	close(fd);
	close(other);
	vhd_queue_destroy(q);
	qtest_close(img);
}

static void a_durable_write_is_one_command(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512] = {9};
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.img = img, .op = VHD_OP_WRITE, .lba = 5,
			      .flags = VHD_REQ_FUA, .iov = &iov,
			      .iov_count = 1};

	qtest_attach(q, img);
	assert_int_equal(qtest_run(q, &req), 0);
	assert_int_equal(f->server.fua, 1);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 0);
	check_medium(f, 5 * 512, 9, 1);
	vhd_queue_destroy(q);
	qtest_close(img);
}

static void a_durable_write_is_flushed_where_the_server_has_none(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512] = {9};
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.op = VHD_OP_WRITE, .lba = 5,
			      .flags = VHD_REQ_FUA, .iov = &iov,
			      .iov_count = 1};
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);

	f->server.flags &= (uint16_t)~FAKENBD_CAN_FUA;
	req.img = open_image(f, VHD_FORMAT_RAW);
	qtest_attach(q, req.img);
	assert_int_equal(qtest_run(q, &req), 0);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 1);
	check_medium(f, 5 * 512, 9, 1);
	vhd_queue_destroy(q);
	qtest_close(req.img);
}

static void zeros_are_asked_for_or_written(void **state)
{
	struct fixture *f = *state;

	for (int can = 1; can >= 0; can--) {
		struct vhd_req req = {.op = VHD_OP_ZERO, .lba = 8,
				      .sectors = 1000};
		struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
		unsigned asked = fakenbd_count(&f->server, FAKENBD_ZERO);

		if (!can)
			f->server.flags &= (uint16_t)~FAKENBD_CAN_ZERO;
		memset(f->server.cache, 1, ROOM);
		req.img = open_image(f, VHD_FORMAT_RAW);
		qtest_attach(q, req.img);
		assert_int_equal(qtest_run(q, &req), 0);
		assert_int_equal(fakenbd_count(&f->server, FAKENBD_ZERO),
				 asked + (unsigned)can);
		qtest_check_zero(f->server.cache + 8 * 512, 1000 * 512);
		assert_int_equal(f->server.cache[8 * 512 - 1], 1);
		assert_int_equal(f->server.cache[1008 * 512], 1);
		vhd_queue_destroy(q);
		qtest_close(req.img);
	}
}

static void an_error_of_the_server_is_the_request_s(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512] = {0};

	qtest_attach(q, img);
	f->server.fail_op = FAKENBD_WRITE;
	f->server.fail_at = 1;
	f->server.fail_error = 28; /* ENOSPC */
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512),
			 -ENOSPC);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512), 0);
	vhd_queue_destroy(q);
	qtest_close(img);
}

/* ------------------------------------------------------ a server that goes */

static void what_was_not_flushed_is_written_again_to_a_new_server(void **state)
{
	struct fixture *f = *state;

	open_export(f);
	write_at(f, 0, 1, 4096);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	write_at(f, 4096, 2, 4096);
	/* these overlap: the later one counts */
	write_at(f, 8192, 3, 4096);
	write_at(f, 8192 + 512, 4, 1024);
	write_at(f, 8192, 5, 512);
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	assert_int_equal(f->server.connections, 2);
	check_medium(f, 0, 1, 4096);
	check_medium(f, 4096, 2, 4096);
	check_medium(f, 8192, 5, 512);
	check_medium(f, 8192 + 512, 4, 1024);
	check_medium(f, 8192 + 1536, 3, 2560);
	/* 5 and then 4: what was durable was not written again */
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_WRITE), 9);
}

static void writes_that_overlap_are_made_again_one_after_the_other(void **state)
{
	struct fixture *f = *state;

	open_export(f);
	write_at(f, 0, 1, 4096);
	write_at(f, 8192, 2, 512);
	write_at(f, 512, 3, 1024);
	f->server.reorder = true;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	check_medium(f, 0, 1, 512);
	check_medium(f, 512, 3, 1024);
	check_medium(f, 1536, 1, 2560);
	check_medium(f, 8192, 2, 512);
}

static void zeros_are_made_again_too(void **state)
{
	struct fixture *f = *state;

	open_export(f);
	write_at(f, 0, 1, 8192);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	assert_int_equal(vhd_file_zero(&f->file, 4096, 4096, NULL), 0);
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	check_medium(f, 0, 1, 4096);
	check_medium(f, 4096, 0, 4096);
}

static void an_older_write_does_not_undo_a_durable_one(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512] = {1};
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.img = img, .op = VHD_OP_WRITE,
			      .flags = VHD_REQ_FUA, .iov = &iov,
			      .iov_count = 1};

	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512), 0);
	buf[0] = 2;
	assert_int_equal(qtest_run(q, &req), 0);
	fakenbd_kill(&f->server);
	assert_int_equal(qtest_flush(q, img), 0);
	check_medium(f, 0, 2, 1);
	vhd_queue_destroy(q);
	qtest_close(img);
}

static void a_read_sees_what_was_written_before_the_loss(void **state)
{
	struct fixture *f = *state;
	uint8_t back[512];

	open_export(f);
	write_at(f, 512, 6, 512);
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_read(&f->file, back, 512, 512, NULL), 0);
	assert_int_equal(back[0], 6);
	assert_int_equal(back[511], 6);
}

static void a_server_killed_at_any_command_loses_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned last = 0, n;

	for (n = 1; !last; n++) {
		uint8_t back[512];

		memset(f->server.medium, 0, ROOM);
		memset(f->server.cache, 0, ROOM);
		f->server.commands = f->server.connections = 0;
		f->server.die_at = n;
		f->server.die_often = 1;
		open_export(f);
		for (uint8_t i = 0; i < 12; i++) {
			write_at(f, 512u * (i % 5u), (uint8_t)(i + 1), 1024);
			if (i % 4 == 3)
				assert_int_equal(vhd_file_flush(&f->file,
								NULL), 0);
			assert_int_equal(vhd_file_read(&f->file, back, 512,
						       512u * (i % 5u), NULL),
					 0);
			assert_int_equal(back[0], i + 1);
		}
		if (f->server.die_often)
			last = n;
		vhd_file_close(&f->file);
		f->open = false;
		check_medium(f, 0, 11, 512);
		check_medium(f, 512, 12, 1024);
		check_medium(f, 1536, 9, 512);
		check_medium(f, 2048, 10, 1024);
		pthread_mutex_lock(&f->server.lock);
		while (f->server.alive)
			pthread_cond_wait(&f->server.changed,
					  &f->server.lock);
		pthread_mutex_unlock(&f->server.lock);
	}
	assert_in_range(last, 27, 29);
}

static void a_flush_that_fails_is_never_sent_again(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	uint8_t back[512];

	open_export(f);
	write_at(f, 0, 1, 512);
	f->server.fail_op = FAKENBD_FLUSH;
	f->server.fail_at = 1;
	f->server.fail_error = 5; /* EIO */
	assert_int_equal(vhd_file_flush(&f->file, &err), -EIO);
	assert_int_equal(err.why, VHD_WHY_IO);
	assert_int_equal(vhd_file_flush(&f->file, &err), -EIO);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 1);
	/* what is there can still be read */
	assert_int_equal(vhd_file_read(&f->file, back, 512, 0, NULL), 0);
}

static void a_write_refused_by_the_new_server_fails_the_next_flush(
	void **state)
{
	struct fixture *f = *state;

	open_export(f);
	write_at(f, 0, 1, 512);
	f->server.fail_op = FAKENBD_WRITE;
	f->server.fail_at = 2;
	f->server.fail_error = 5;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_flush(&f->file, NULL), -EIO);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 0);
}

static void requests_fail_when_the_time_is_over_and_later_ones_at_once(
	void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	uint8_t buf[512];

	f->how.reconnect_ms = 1;
	open_export(f);
	write_at(f, 0, 3, 512);
	f->server.refuse = true;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, &err),
			 -ENOTCONN);
	assert_int_equal(err.why, VHD_WHY_SERVER);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, &err),
			 -ENOTCONN);
}

static void a_server_that_is_back_late_gets_what_it_lost(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512];

	f->how.reconnect_ms = 1;
	open_export(f);
	write_at(f, 0, 3, 512);
	f->server.refuse = true;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL),
			 -ENOTCONN);
	pthread_mutex_lock(&f->server.lock);
	f->server.refuse = false;
	while (f->server.ops[FAKENBD_WRITE] < 2)
		pthread_cond_wait(&f->server.changed, &f->server.lock);
	pthread_mutex_unlock(&f->server.lock);
	assert_int_equal(vhd_file_flush(&f->file, NULL), 0);
	check_medium(f, 0, 3, 512);
}

static void a_flush_without_a_server_can_be_made_again(void **state)
{
	struct fixture *f = *state;
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512] = {4};
	struct vhd *img;

	f->how.reconnect_ms = 1;
	img = open_image(f, VHD_FORMAT_RAW);
	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512), 0);
	f->server.refuse = true;
	fakenbd_kill(&f->server);
	assert_int_equal(qtest_flush(q, img), -ENOTCONN);
	assert_int_equal(vhd_flush(img, NULL), -ENOTCONN);
	pthread_mutex_lock(&f->server.lock);
	f->server.refuse = false;
	while (f->server.ops[FAKENBD_WRITE] < 2)
		pthread_cond_wait(&f->server.changed, &f->server.lock);
	pthread_mutex_unlock(&f->server.lock);
	assert_int_equal(qtest_flush(q, img), 0);
	check_medium(f, 0, 4, 1);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512), 0);
	vhd_queue_destroy(q);
	qtest_close(img);
}

static void a_request_that_kills_every_server_ends(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	uint8_t buf[512];

	open_export(f);
	f->server.die_at = 1;
	f->server.die_often = 1000;
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, &err),
			 -ENOTCONN);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_READ), NBD_SENDS_MAX);
}

static void answers_without_sense_end_the_connection(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512];

	open_export(f);
	f->server.bad_magic = true;
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL),
			 -ENOTCONN);
}

static void a_request_waiting_for_a_server_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512];
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.img = img, .op = VHD_OP_READ, .iov = &iov,
			      .iov_count = 1};

	qtest_attach(q, img);
	f->server.refuse = true;
	fakenbd_kill(&f->server);
	vhd_queue_submit(q, &req);
	vhd_queue_kick(q);
	vhd_queue_cancel(q, &req);
	assert_ptr_equal(qtest_next(q), &req);
	assert_int_equal(req.result, -ECANCELED);
	vhd_queue_destroy(q);
	vhd_abandon(img);
}

static void a_queue_can_end_with_a_server_that_says_nothing(void **state)
{
	struct fixture *f = *state;
	struct vhd_file file;
	struct vhd_io io = {.op = VHD_IO_READ};
	struct vhd_err err = {0};
	uint8_t buf[512];
	struct iovec iov = {buf, 512};
	const struct vhd_engine_ops *ops;
	void *inner, *spare, *state_of;

	open_export(f);
	file = f->file;
	assert_int_equal(vhd_engine_sync.create(4, &inner, &err), 0);
	assert_int_equal(vhd_engine_nbd_prepare(&spare, &err), 0);
	assert_int_equal(vhd_engine_nbd_wrap(spare, &vhd_engine_sync, inner, 4,
					     &state_of, &err), 0);
	ops = &vhd_engine_nbd;
	io.file = &file;
	io.iov = &iov;
	io.iov_count = 1;
	f->server.hold = true;
	ops->prep(state_of, &io);
	assert_int_equal(ops->submit(state_of), 0);
	fakenbd_await(&f->server, FAKENBD_READ, 1);
	ops->destroy(state_of); /* returns, and `buf` is not written to */
	fakenbd_release(&f->server);
}

static void unflushed_writes_are_bounded_by_flushes_of_our_own(void **state)
{
	struct fixture *f = *state;

	open_export(f);
	for (unsigned i = 0; i < 3 * (NBD_KEEP_BYTES >> 20); i++)
		write_at(f, (uint64_t)(i % 8) << 20, (uint8_t)i, 1 << 20);
	assert_in_range(fakenbd_count(&f->server, FAKENBD_FLUSH), 3, 8);
}

/* Nobody asked for the flush that failed: the next one that somebody asks for
 * says so, and until then nothing waits for room that would never come.
 */
static void writes_go_on_when_a_flush_of_our_own_failed(void **state)
{
	struct fixture *f = *state;

	open_export(f);
	f->server.fail_op = FAKENBD_FLUSH;
	f->server.fail_at = 1;
	f->server.fail_error = 5;
	for (unsigned i = 0; i < 3 * (NBD_KEEP_BYTES >> 20); i++)
		write_at(f, (uint64_t)(i % 8) << 20, (uint8_t)i, 1 << 20);
	assert_int_equal(vhd_file_flush(&f->file, NULL), -EIO);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 1);
}

/* ------------------------------------------------------ a hostile server -- */

struct told {
	unsigned lines;
	char last[400];
};

static void note_line(void *arg, const char *line)
{
	struct told *t = arg;

	t->lines++;
	snprintf(t->last, sizeof(t->last), "%s", line);
}

static void an_export_that_shrank_is_not_used_again(void **state)
{
	struct fixture *f = *state;
	struct told told = {0};
	uint8_t buf[512];

	f->how.tell = note_line;
	f->how.tell_arg = &told;
	open_export(f);
	f->server.size_bytes = ROOM - 512;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL),
			 -ENOTCONN);
	assert_int_equal(vhd_file_write(&f->file, buf, 512, 0, NULL),
			 -ENOTCONN);
	assert_int_equal(f->server.commands, 0);
	vhd_file_close(&f->file);
	f->open = false;
	assert_int_equal(told.lines, 1);
	assert_string_equal(told.last,
			    "nbd://test: not used any more: the export has "
			    "shrunk");
}

static void an_export_that_lost_what_it_could_is_not_used_again(void **state)
{
	static const uint16_t flags[] = {FAKENBD_CAN_FLUSH, FAKENBD_CAN_FUA,
					 FAKENBD_CAN_ZERO, FAKENBD_READ_ONLY};
	struct fixture *f = *state;
	uint8_t buf[512];

	for (size_t i = 0; i < 4; i++) {
		open_export(f);
		f->server.flags ^= flags[i];
		fakenbd_kill(&f->server);
		assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL),
				 -ENOTCONN);
		vhd_file_close(&f->file);
		f->open = false;
		f->server.flags ^= flags[i];
	}
}

static void an_export_that_grew_is_what_it_was(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[512];
	uint64_t len;

	open_export(f);
	f->server.size_bytes = 2 * ROOM;
	fakenbd_kill(&f->server);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL), 0);
	assert_int_equal(vhd_file_size(&f->file, &len, NULL), 0);
	assert_int_equal(len, ROOM);
}

static void sizes_that_no_disk_has_are_refused(void **state)
{
	static const struct {
		uint64_t size;
		enum vhd_format format;
		enum vhd_why why;
	} cases[] = {
		{0, VHD_FORMAT_RAW, VHD_WHY_SIZE_ZERO},
		{0, VHD_FORMAT_AUTO, VHD_WHY_SIZE_ZERO},
		{511, VHD_FORMAT_DYNAMIC, VHD_WHY_TOO_SMALL},
		{513, VHD_FORMAT_RAW, VHD_WHY_SIZE_ALIGN},
		{INT64_MAX, VHD_FORMAT_RAW, VHD_WHY_SIZE_ALIGN},
		{1ull << 63, VHD_FORMAT_RAW, VHD_WHY_SERVER},
		{UINT64_MAX, VHD_FORMAT_RAW, VHD_WHY_SERVER},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct vhd_open_opts opts = {.format = cases[i].format};
		struct vhd_err err = {0};
		struct vhd *img = NULL;
		int rc;

		f->server.size_bytes = cases[i].size;
		rc = try_open(f, &err);
		if (!rc) {
			rc = vhd_open_file(&f->file, &opts, &img, &err);
			if (rc)
				vhd_file_close(&f->file);
			f->open = false;
		}
		assert_int_equal(rc ? err.why : VHD_WHY_NONE, cases[i].why);
		vhd_abandon(img);
	}
}

static void a_huge_export_is_a_huge_raw_disk(void **state)
{
	struct fixture *f = *state;
	struct vhd *img;

	f->server.size_bytes = INT64_MAX - 511;
	img = open_image(f, VHD_FORMAT_RAW);
	assert_int_equal(vhd_get_info(img)->size_bytes, INT64_MAX - 511);
	qtest_close(img);
}

static void an_export_to_be_read_is_not_opened_for_writing(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	struct vhd *img;

	f->server.flags |= FAKENBD_READ_ONLY;
	assert_int_equal(try_open(f, &err), -EROFS);
	assert_int_equal(err.why, VHD_WHY_READ_ONLY);
	f->how.writable = false;
	img = open_image(f, VHD_FORMAT_RAW);
	qtest_close(img);
}

static int refuse_thread(void *arg, struct vhd_err *err)
{
	(void)arg;
	return vhd_fail(err, -EPERM, VHD_WHY_SYSTEM, 0, "no");
}

static void a_thread_that_may_not_begin_keeps_it_from_opening(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};

	f->how.thread_begins = refuse_thread;
	assert_int_equal(try_open(f, &err), -EPERM);
	assert_string_equal(err.text, "no");
}

static void no_server_is_said_so(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};

	f->server.refuse = true;
	assert_int_not_equal(try_open(f, &err), 0);
	assert_int_equal(err.why, VHD_WHY_SERVER);
}

/* ------------------------------------------------- dynamic on an export -- */

static void a_dynamic_disk_grows_to_the_end_of_its_export(void **state)
{
	struct fixture *f = *state;
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t data[4096];
	struct vhd *img;
	struct oracle o;
	uint64_t lba;
	int rc = 0;

	lay_dynamic(f, 64u << 20);
	img = open_image(f, VHD_FORMAT_DYNAMIC);
	qtest_attach(q, img);
	for (lba = 0; !rc; lba += 1024) {
		qtest_fill(data, sizeof(data), lba, 1);
		rc = qtest_io(q, img, VHD_OP_WRITE, lba, data, sizeof(data));
	}
	assert_int_equal(rc, -ENOSPC);
	/* 8 MiB less header and table, in blocks of 512 KiB and a bitmap */
	assert_int_equal(lba / 1024 - 1, 15);
	vhd_queue_destroy(q);
	qtest_close(img);
	assert_true(oracle_open(&o, f->server.medium, ROOM));
	assert_true(o.footer_end_ok);
	assert_true(o.footer_copy_ok);
	assert_true(oracle_check(&o));
	for (uint64_t i = 0; i < 15; i++) {
		for (unsigned s = 0; s < 8; s++) {
			assert_true(oracle_sector(&o, i * 1024 + s, data));
			qtest_check(data, 512, i * 1024 + s, 1);
		}
		assert_true(oracle_sector(&o, i * 1024 + 8, data));
		qtest_check_zero(data, 512);
	}
	img = open_image(f, VHD_FORMAT_AUTO);
	assert_int_equal(vhd_get_info(img)->notes & VHD_NOTE_DIRTY, 0);
	qtest_close(img);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, nbdtest_set_up, nbdtest_tear_down)
/* The same on connections that another process makes. */
#define HANDED(name) \
	{#name "_handed_over", name, nbdtest_set_up_handed, \
	 nbdtest_tear_down, NULL}
#define BOTH(name) TEST(name), HANDED(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(bytes_written_are_read_back_and_a_flush_makes_them_durable),
		BOTH(an_export_ends_as_a_device_does),
		BOTH(a_queue_moves_scattered_buffers),
		BOTH(one_queue_serves_a_file_and_an_export),
		BOTH(a_queue_waits_for_its_descriptor_beside_a_server),
		BOTH(a_durable_write_is_one_command),
		BOTH(a_durable_write_is_flushed_where_the_server_has_none),
		BOTH(zeros_are_asked_for_or_written),
		BOTH(an_error_of_the_server_is_the_request_s),
		BOTH(what_was_not_flushed_is_written_again_to_a_new_server),
		BOTH(writes_that_overlap_are_made_again_one_after_the_other),
		BOTH(zeros_are_made_again_too),
		BOTH(an_older_write_does_not_undo_a_durable_one),
		BOTH(a_read_sees_what_was_written_before_the_loss),
		BOTH(a_server_killed_at_any_command_loses_nothing),
		BOTH(a_flush_that_fails_is_never_sent_again),
		BOTH(a_write_refused_by_the_new_server_fails_the_next_flush),
		BOTH(requests_fail_when_the_time_is_over_and_later_ones_at_once),
		BOTH(a_server_that_is_back_late_gets_what_it_lost),
		BOTH(a_flush_without_a_server_can_be_made_again),
		TEST(a_request_that_kills_every_server_ends),
		BOTH(answers_without_sense_end_the_connection),
		BOTH(a_request_waiting_for_a_server_can_be_cancelled),
		BOTH(a_queue_can_end_with_a_server_that_says_nothing),
		BOTH(unflushed_writes_are_bounded_by_flushes_of_our_own),
		BOTH(writes_go_on_when_a_flush_of_our_own_failed),
		BOTH(an_export_that_shrank_is_not_used_again),
		BOTH(an_export_that_lost_what_it_could_is_not_used_again),
		BOTH(an_export_that_grew_is_what_it_was),
		BOTH(sizes_that_no_disk_has_are_refused),
		BOTH(a_huge_export_is_a_huge_raw_disk),
		BOTH(an_export_to_be_read_is_not_opened_for_writing),
		BOTH(a_thread_that_may_not_begin_keeps_it_from_opening),
		BOTH(no_server_is_said_so),
		BOTH(a_dynamic_disk_grows_to_the_end_of_its_export),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
