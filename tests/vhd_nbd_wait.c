/* SPDX-License-Identifier: BSD-2-Clause */
/* Images on NBD exports: servers that say nothing, what is made again on a new
 * connection and what is not, and metadata that meets a server that is gone.
 */
#include <errno.h>
#include <pthread.h>

#include "tests/lib/nbdtest.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"

/* --------------------------------------------- a server that says nothing -- */

static void a_server_that_says_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct vhd_err err = {0};
	uint8_t buf[512] = {0};

	f->how.answer_ms = 1;
	f->how.reconnect_ms = 1;
	f->server.silent = 64;
	open_export(f);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, &err),
			 -ENOTCONN);
	assert_int_equal(err.why, VHD_WHY_SERVER);
	assert_int_equal(vhd_file_write(&f->file, buf, 512, 0, &err),
			 -ENOTCONN);
}

/* The time that a server has which answers at once: with others on its
 * processors it can be too short, and is longer in the next attempt.
 */
#define SOON_MS	     20u
#define SOON_LONGER  8u
#define SOON_MOST_MS 20000u

/* Two connections say nothing; false: the third took as long. */
static bool the_third_answers(struct fixture *f, unsigned answer_ms)
{
	unsigned before = fakenbd_connections(&f->server);
	uint8_t buf[1024];
	int rc;

	f->how.answer_ms = answer_ms;
	fakenbd_hush(&f->server, before + 2);
	open_export(f);
	memset(buf, 6, sizeof(buf));
	rc = vhd_file_write(&f->file, buf, sizeof(buf), 512, NULL);
	if (!rc) {
		assert_true(fakenbd_connections(&f->server) >= before + 3);
		rc = vhd_file_flush(&f->file, NULL);
	}
	if (!rc)
		return true;
	assert_int_equal(rc, -ENOTCONN);
	vhd_file_close(&f->file);
	f->open = false;
	return false;
}

static void the_next_connection_is_given_what_had_no_answer(void **state)
{
	struct fixture *f = *state;
	unsigned ms = SOON_MS;

	while (!the_third_answers(f, ms)) {
		ms *= SOON_LONGER;
		assert_true(ms < SOON_MOST_MS);
	}
	check_medium(f, 512, 6, 1024);
}

/* Each wait for a server of one that answers others in time is no silence. */
static void an_answer_starts_the_time_anew(void **state)
{
	struct fixture *f = *state;

	f->how.answer_ms = LIMIT_MS;
	open_export(f);
	for (unsigned i = 0; i < 100; i++)
		write_at(f, 512u * i, 1, 512);
	assert_int_equal(fakenbd_connections(&f->server), 1);
}

struct reader {
	struct fixture *f;
	int result;
};

static void *read_one(void *arg)
{
	struct reader *r = arg;
	uint8_t buf[512];

	r->result = vhd_file_read(&r->f->file, buf, 512, 0, NULL);
	return NULL;
}

static void who_waits_for_ever_can_be_hurried(void **state)
{
	struct fixture *f = *state;
	struct reader r = {.f = f};
	uint8_t buf[512];
	pthread_t thread;
	struct vhd *img;

	f->how.answer_ms = f->how.reconnect_ms = VHD_NBD_FOREVER;
	open_export(f);
	fakenbd_hush(&f->server, 64);
	if (pthread_create(&thread, NULL, read_one, &r))
		abort();
	fakenbd_await(&f->server, FAKENBD_READ, 1);
	vhd_nbd_hurry(vhd_nbd_of(&f->file), 1);
	pthread_join(thread, NULL);
	assert_int_equal(r.result, -ENOTCONN);
	/* and as it was */
	vhd_nbd_hurry(vhd_nbd_of(&f->file), VHD_NBD_FOREVER);
	fakenbd_hush(&f->server, 0);
	assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL), 0);
	vhd_file_close(&f->file);
	f->open = false;
	img = open_image(f, VHD_FORMAT_RAW);
	vhd_hurry(img, 1);
	qtest_close(img);
}

/* One that answers each request in time, but only just. */
static void an_opening_has_one_time_for_all_it_asks(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0, ms = 5 * SOON_MS;
	uint8_t buf[512];
	int rc;

	for (;; ms *= SOON_LONGER) {
		assert_true(ms < SOON_MOST_MS);
		f->how.open_ms = ms;
		f->how.connector_fd = nbdhand_start(&f->hand);
		if (!vhd_nbd_open("nbd://test", &f->how, &f->file, NULL))
			break;
	}
	f->open = true;
	fakenbd_slow(&f->server, ms / 5);
	while ((rc = vhd_file_read(&f->file, buf, 512, 0, NULL)) == 0 &&
	       n++ < 100)
		;
	assert_int_equal(rc, -ENOTCONN);
	assert_true(n < 10);
	fakenbd_slow(&f->server, SOON_MS);
	/* what is open has its times, and no end */
	vhd_nbd_hurry(vhd_nbd_of(&f->file), VHD_NBD_FOREVER);
	for (n = 0; n < 10; n++)
		assert_int_equal(vhd_file_read(&f->file, buf, 512, 0, NULL),
				 0);
}

/* A server that is gone, for those who would wait for ever. */
static void a_closing_that_is_hurried_ends(void **state)
{
	struct fixture *f = *state;
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512] = {1};
	struct vhd_err err = {0};
	struct vhd *img;

	f->how.answer_ms = f->how.reconnect_ms = VHD_NBD_FOREVER;
	img = open_image(f, VHD_FORMAT_RAW);
	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, buf, 512), 0);
	vhd_queue_destroy(q);
	f->server.refuse = true;
	fakenbd_kill(&f->server);
	vhd_hurry(img, 1);
	assert_int_equal(vhd_close(img, &err), -ENOTCONN);
}

static void a_request_a_silent_server_has_ends_when_it_is_cancelled_and_hurried(
	void **state)
{
	struct fixture *f = *state;
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t buf[512];
	struct iovec iov = {buf, 512};
	struct vhd_req req = {.op = VHD_OP_READ, .iov = &iov, .iov_count = 1};

	f->how.answer_ms = f->how.reconnect_ms = VHD_NBD_FOREVER;
	f->server.silent = 64;
	req.img = open_image(f, VHD_FORMAT_RAW);
	qtest_attach(q, req.img);
	vhd_queue_submit(q, &req);
	vhd_queue_kick(q);
	fakenbd_await(&f->server, FAKENBD_READ, 1);
	vhd_queue_cancel(q, &req);
	vhd_hurry(req.img, 1);
	assert_ptr_equal(qtest_next(q), &req);
	assert_int_equal(req.result, -ECANCELED);
	vhd_queue_destroy(q);
	vhd_abandon(req.img);
}

/* ------------------------------------------------------ what is made again -- */

static int durable_write(struct vhd_queue *q, struct vhd *img, uint64_t lba,
			 uint8_t byte, unsigned sectors)
{
	uint8_t buf[16 * 512];
	struct iovec iov = {buf, sectors * 512u};
	struct vhd_req req = {.img = img, .op = VHD_OP_WRITE, .lba = lba,
			      .flags = VHD_REQ_FUA, .iov = &iov,
			      .iov_count = 1};

	memset(buf, byte, sizeof(buf));
	return qtest_run(q, &req);
}

static void what_is_durable_is_not_written_over_by_what_was_before(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t old[16 * 512];

	memset(old, 1, sizeof(old));
	qtest_attach(q, img);
	assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0, old, sizeof(old)),
			 0);
	/* 2 in the middle, at the start and at the end; two touch */
	assert_int_equal(durable_write(q, img, 5, 2, 3), 0);
	assert_int_equal(durable_write(q, img, 8, 3, 1), 0);
	assert_int_equal(durable_write(q, img, 0, 2, 1), 0);
	assert_int_equal(durable_write(q, img, 15, 2, 4), 0);
	fakenbd_meet(&f->server);
	f->server.guarded_off = 5 * 512;
	f->server.guarded_bytes = 4 * 512;
	fakenbd_kill(&f->server);
	assert_int_equal(qtest_flush(q, img), 0);
	assert_int_equal(f->server.guarded_writes, 0);
	check_medium(f, 0, 2, 512);
	check_medium(f, 512, 1, 4 * 512);
	check_medium(f, 5 * 512, 2, 3 * 512);
	check_medium(f, 8 * 512, 3, 512);
	check_medium(f, 9 * 512, 1, 6 * 512);
	check_medium(f, 15 * 512, 2, 4 * 512);
	vhd_queue_destroy(q);
	qtest_close(img);
}

#define SPAN 64u /* sectors */

struct model {
	uint8_t now[SPAN];
	bool durable[SPAN];
};

static void model_write(struct model *m, unsigned at, unsigned n, uint8_t byte,
			bool durable)
{
	memset(m->now + at, byte, n);
	for (unsigned i = at; i < at + n; i++)
		m->durable[i] = durable;
}

/* Durable sectors that nothing was written to since, whatever was lost. */
static void check_durable(struct fixture *f, const struct model *m)
{
	uint8_t medium[SPAN], cache[SPAN];

	pthread_mutex_lock(&f->server.lock);
	for (unsigned i = 0; i < SPAN; i++) {
		medium[i] = f->server.medium[i * 512];
		cache[i] = f->server.cache[i * 512];
	}
	pthread_mutex_unlock(&f->server.lock);
	for (unsigned i = 0; i < SPAN; i++)
		if (m->durable[i]) {
			assert_int_equal(medium[i], m->now[i]);
			assert_int_equal(cache[i], m->now[i]);
		}
}

static void step(struct fixture *f, struct vhd_queue *q, struct vhd *img,
		 struct model *m, uint64_t r)
{
	unsigned at = (unsigned)(r >> 8) % (SPAN - 16);
	unsigned n = 1 + (unsigned)(r >> 16) % 15;
	uint8_t byte = (uint8_t)(1 + (r >> 24) % 250), buf[16 * 512];
	struct vhd_req zero = {.img = img, .op = VHD_OP_ZERO, .lba = at,
			       .sectors = n};

	memset(buf, byte, sizeof(buf));
	switch (r % 16) {
	case 0:
		fakenbd_kill(&f->server);
		break;
	case 1:
		assert_int_equal(qtest_flush(q, img), 0);
		memset(m->durable, 1, sizeof(m->durable));
		break;
	case 2:
	case 3:
		assert_int_equal(qtest_run(q, &zero), 0);
		model_write(m, at, n, 0, false);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		assert_int_equal(durable_write(q, img, at, byte, n), 0);
		model_write(m, at, n, byte, true);
		break;
	default:
		assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, at, buf,
					  n * 512), 0);
		model_write(m, at, n, byte, false);
	}
	check_durable(f, m);
}

static void random_losses_undo_nothing_that_is_durable(void **state)
{
	uint64_t seed = getenv("SEED") ? random_seed() : 1;
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	struct model m = {0};

	qtest_attach(q, img);
	while (fakenbd_connections(&f->server) < 40)
		step(f, q, img, &m, random_next(&seed));
	assert_int_equal(qtest_flush(q, img), 0);
	for (unsigned i = 0; i < SPAN; i++)
		check_medium(f, i * 512, m.now[i], 512);
	vhd_queue_destroy(q);
	qtest_close(img);
}

/* Its own flush said no: nothing that is to be durable is any more. */
static void a_durable_write_after_a_lost_flush_of_our_own_fails(void **state)
{
	struct fixture *f = *state;
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t *buf = calloc(1, 1 << 20);

	qtest_attach(q, img);
	fakenbd_meet(&f->server);
	f->server.fail_op = FAKENBD_FLUSH;
	f->server.fail_at = 1;
	f->server.fail_error = 5;
	fakenbd_meet(&f->server);
	for (unsigned i = 0; i < NBD_KEEP_BYTES >> 20; i++)
		assert_int_equal(qtest_io(q, img, VHD_OP_WRITE,
					  (uint64_t)(i % 8) << 11, buf,
					  1 << 20), 0);
	assert_int_equal(fakenbd_count(&f->server, FAKENBD_FLUSH), 1);
	assert_int_equal(durable_write(q, img, 0, 1, 1), -EIO);
	free(buf);
	vhd_queue_destroy(q);
	vhd_abandon(img);
}

/* ------------------------------------------------------------- metadata -- */

/* A server dies for good at the n-th command of a flush that publishes new
 * blocks; when it is back, the same flush is made again.
 */
static bool flush_meets_a_death(struct fixture *f, unsigned n)
{
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_SYNC, 8);
	uint8_t data[4096];
	struct vhd *img;
	struct oracle o;
	bool died;
	int rc;

	lay_dynamic(f, 64u << 20);
	f->how.reconnect_ms = 1;
	img = open_image(f, VHD_FORMAT_DYNAMIC);
	qtest_attach(q, img);
	for (unsigned b = 0; b < 3; b++) {
		qtest_fill(data, sizeof(data), b * 1024, 1);
		assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, b * 1024, data,
					  sizeof(data)), 0);
	}
	pthread_mutex_lock(&f->server.lock);
	f->server.die_at = f->server.commands + n;
	f->server.die_often = 1;
	f->server.refuse_dead = true;
	pthread_mutex_unlock(&f->server.lock);
	rc = qtest_flush(q, img);
	pthread_mutex_lock(&f->server.lock);
	died = !f->server.die_often;
	pthread_mutex_unlock(&f->server.lock);
	assert_int_equal(rc, died ? -ENOTCONN : 0);
	pthread_mutex_lock(&f->server.lock);
	f->server.die_at = f->server.die_often = 0;
	f->server.refuse = false;
	pthread_mutex_unlock(&f->server.lock);
	do
		rc = qtest_flush(q, img);
	while (rc == -ENOTCONN);
	assert_int_equal(rc, 0);
	vhd_queue_destroy(q);
	vhd_abandon(img); /* no closing that would write it */
	fakenbd_meet(&f->server);
	assert_true(oracle_open(&o, f->server.medium, ROOM));
	assert_true(oracle_check(&o));
	for (unsigned b = 0; b < 3; b++) {
		assert_true(oracle_sector(&o, b * 1024 + 7, data));
		qtest_check(data, 512, b * 1024 + 7, 1);
	}
	return died;
}

static void a_flush_that_meets_a_dead_server_can_be_made_again(void **state)
{
	struct fixture *f = *state;
	unsigned n = 1;

	while (flush_meets_a_death(f, n))
		n++;
	assert_int_equal(n, 4); /* flush, table, flush */
}

static void a_server_s_disk_leaves_registered_memory_to_the_others(void **state)
{
	struct fixture *f = *state;
	const struct vhd_queue_opts o = {.engine = VHD_ENGINE_URING,
					 .depth = 4};
	struct vhd *img = open_image(f, VHD_FORMAT_RAW);
	struct vhd_err err = {0};
	struct vhd_queue *q;
	struct iovec mem = {NULL, 4096};

	if (!vhd_queue_create(&o, &q, NULL)) {
		mem.iov_base = aligned_alloc(4096, 4096);
		qtest_attach(q, img);
		if (vhd_queue_memory(q, &mem, 1, &err))
			fail_msg("%s", err.text);
		assert_int_equal(qtest_io(q, img, VHD_OP_WRITE, 0,
					  mem.iov_base, 4096), 0);
		vhd_queue_destroy(q);
		free(mem.iov_base);
	}
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
		BOTH(a_server_that_says_nothing_is_given_up),
		BOTH(the_next_connection_is_given_what_had_no_answer),
		BOTH(an_answer_starts_the_time_anew),
		BOTH(who_waits_for_ever_can_be_hurried),
		HANDED(an_opening_has_one_time_for_all_it_asks),
		BOTH(a_closing_that_is_hurried_ends),
		BOTH(a_request_a_silent_server_has_ends_when_it_is_cancelled_and_hurried),
		BOTH(what_is_durable_is_not_written_over_by_what_was_before),
		BOTH(random_losses_undo_nothing_that_is_durable),
		BOTH(a_durable_write_after_a_lost_flush_of_our_own_fails),
		BOTH(a_flush_that_meets_a_dead_server_can_be_made_again),
		BOTH(a_server_s_disk_leaves_registered_memory_to_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
