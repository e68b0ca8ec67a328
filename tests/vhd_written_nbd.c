/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/written.c on an NBD export: a child's bitmap whose writing meets a server
 * that is gone is not taken for written, and goes there with the next flush.
 */
#include <errno.h>
#include <pthread.h>

#include "tests/lib/childpair.h"
#include "tests/lib/nbdtest.h"
#include "tests/lib/oracle.h"

#define BYTES (4 * MIB)
#define BLOCK (2 * MIB)

/* The two ways to flush. */
enum way { BY_IMAGE, BY_QUEUE, WAYS };

struct child {
	struct fixture *f;
	struct memfile *base;
	struct vhd *img;
	struct vhd_queue *q; /* BY_QUEUE */
};

/* An empty child at the start of the export, over a parent in memory. */
static void child_open(struct child *c, struct fixture *f, enum way way)
{
	struct memfile *top = diff_empty(1, BYTES, BLOCK);
	uint8_t *bytes = malloc(BYTES), id[16];
	struct vhd_err e;

	assert_non_null(bytes);
	memset(bytes, OLD, BYTES);
	c->f = f;
	c->base = img_fixed(BYTES);
	assert_int_equal(memfile_poke(c->base, bytes, BYTES, 0), 0);
	free(bytes);
	diff_id(id, 0);
	img_set(c->base, BYTES, 512, IMG_F_ID, id, 16);
	memset(f->server.medium, 0x55, ROOM); /* of whoever had it before */
	memfile_peek(top, f->server.medium, memfile_len(top), 0);
	memcpy(f->server.cache, f->server.medium, ROOM);
	memfile_destroy(top);
	f->how.reconnect_ms = 1;
	open_export(f);
	c->img = open_on(f->file, true);
	f->open = false;
	assert_int_equal(vhd_chain_set_parent(
				 c->img, open_on(memfile_file(c->base), false),
				 &e),
			 0);
	c->q = way == BY_QUEUE ? qtest_queue(VHD_ENGINE_SYNC, 8) : NULL;
	if (c->q)
		qtest_attach(c->q, c->img);
}

static void child_close(struct child *c)
{
	if (c->q)
		vhd_queue_destroy(c->q);
	vhd_abandon(c->img); /* no closing that would write it */
	memfile_destroy(c->base);
}

static void child_put(struct child *c, uint64_t lba)
{
	uint8_t b[512];
	struct vhd_err e;

	memset(b, NEW, sizeof(b));
	assert_int_equal(c->q ? qtest_io(c->q, c->img, VHD_OP_WRITE, lba, b,
					 sizeof(b))
			      : vhd_write(c->img, lba * 512, b, sizeof(b), &e),
			 0);
}

static int child_flush(struct child *c)
{
	struct vhd_err e;

	return c->q ? qtest_flush(c->q, c->img) : vhd_flush(c->img, &e);
}

/* What a reader of its own finds on the server's medium. */
static void medium_has(const struct child *c, uint64_t lba, uint8_t byte)
{
	uint64_t len = memfile_len(c->base);
	uint8_t *base = malloc(len), got[512], want[512];
	struct oracle o[2];

	assert_non_null(base);
	memfile_peek(c->base, base, len, 0);
	if (!oracle_open(&o[0], c->f->server.medium, ROOM) ||
	    !oracle_check(&o[0]))
		fail_msg("%s", o[0].fault);
	assert_true(oracle_open(&o[1], base, len));
	memset(want, byte, sizeof(want));
	assert_true(oracle_chain(o, 2, lba, got));
	assert_memory_equal(got, want, sizeof(got));
	free(base);
}

static void server_dies_at(struct fixture *f, unsigned command)
{
	pthread_mutex_lock(&f->server.lock);
	f->server.die_at = f->server.commands + command;
	f->server.die_often = 1;
	f->server.refuse_dead = true;
	pthread_mutex_unlock(&f->server.lock);
}

/* Whether it had died. */
static bool server_comes_back(struct fixture *f)
{
	bool died;

	pthread_mutex_lock(&f->server.lock);
	died = !f->server.die_often;
	f->server.die_at = f->server.die_often = 0;
	f->server.refuse = false;
	pthread_mutex_unlock(&f->server.lock);
	return died;
}

/* A bit is published in a block that is there already. The server dies at the
 * n-th command of that; when it is back, the same flush is made again. Returns
 * whether it died.
 */
static bool flush_meets_a_death(struct fixture *f, enum way way, unsigned n)
{
	struct child c;
	bool died;
	int rc;

	child_open(&c, f, way);
	child_put(&c, 8);
	assert_int_equal(child_flush(&c), 0);
	child_put(&c, 9);
	server_dies_at(f, n);
	rc = child_flush(&c);
	died = server_comes_back(f);
	assert_int_equal(rc, died ? -ENOTCONN : 0);
	assert_false(vhd_poisoned(c.img));
	if (died) {
		medium_has(&c, 9, OLD);
		do
			rc = child_flush(&c);
		while (rc == -ENOTCONN);
		assert_int_equal(rc, 0);
	}
	medium_has(&c, 8, NEW);
	medium_has(&c, 9, NEW);
	medium_has(&c, 10, OLD);
	child_close(&c);
	return died;
}

static void a_bitmap_that_met_a_dead_server_is_written_again(void **state)
{
	struct fixture *f = *state;

	for (enum way way = 0; way < WAYS; way++) {
		unsigned n = 1;

		while (flush_meets_a_death(f, way, n))
			n++;
		assert_int_equal(n, 4); /* flush, bitmap, flush */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_bitmap_that_met_a_dead_server_is_written_again,
			nbdtest_set_up, nbdtest_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
