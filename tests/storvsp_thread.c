/* SPDX-License-Identifier: BSD-2-Clause */
/* The VSP with its threads, on real files and every engine: a guest with
 * several channels, each driven by a thread of its own, against flat models;
 * channels closed, reset and filled while others work.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "tests/lib/engines.h"
#include "tests/lib/qtest.h"
#include "tests/lib/random.h"
#include "tests/lib/vsc.h"

#define CHANNELS      4u
#define SHARE_SECTORS 4096u /* of the disk, per channel */
#define DISK_SECTORS  (CHANNELS * SHARE_SECTORS)
#define DEPTH	      16u
#define MAX_SECTORS   64u

static const enum vhd_engine engines[] = {
	VHD_ENGINE_URING,
	VHD_ENGINE_AIO,
	VHD_ENGINE_SYNC,
};

/* Asserts of cmocka belong to its own thread. */
static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

struct world {
	struct vsc *v;
	struct vsc_channel *c[CHANNELS];
	struct vhd *img;
	char *path;
	uint8_t *model;
};

static void start(struct world *w, enum vhd_engine engine, uint32_t depth,
		  unsigned ring_pages)
{
	const struct vsc_opts o = {
		.vsp.engine = engine,
		.vsp.poll_us = 50,
		.vsp.register_memory = engine == VHD_ENGINE_URING,
		.vsp.max_subchannels = CHANNELS - 1,
		.vsp.depth = depth,
		.guest.vps = CHANNELS,
		.guest.scatter = true,
		.threaded = true,
		.in_pages = ring_pages,
		.out_pages = ring_pages,
	};

	w->path = qtest_path();
	w->img =
		qtest_create(w->path, VHD_FORMAT_DYNAMIC,
			     (uint64_t)DISK_SECTORS * SECTOR, 512 << 10, false);
	w->model = calloc(DISK_SECTORS, SECTOR);
	w->v = vsc_create(&o);
	vsc_disk(w->v, w->img, 0, 0, 0, false);
	w->c[0] = vsc_open(w->v, 0);
	vsc_negotiate(w->c[0], STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(vsc_create_subs(w->c[0], CHANNELS - 1), 0);
	for (uint16_t i = 1; i < CHANNELS; i++)
		w->c[i] = vsc_open(w->v, i);
}

static void stop(struct world *w)
{
	vsc_destroy(w->v);
	qtest_close(w->img);
	unlink(w->path);
	free(w->path);
	free(w->model);
}

/* ------------------------------------------------- one driver a thread --- */

struct job {
	struct vsc_buffer b;
	uint64_t id; /* 0: free */
	bool write;
	uint32_t lba, n;
};

struct driver {
	struct world *w;
	struct vsc_channel *c;
	uint32_t base;
	uint64_t seed;
	unsigned requests;
	bool resets; /* aborted requests are to be expected */
	struct job job[DEPTH];
	unsigned generation;
	pthread_t thread;
};

static bool overlaps(const struct driver *d, uint32_t lba, uint32_t n)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (d->job[i].id && lba < d->job[i].lba + d->job[i].n &&
		    d->job[i].lba < lba + n)
			return true;
	return false;
}

static void submit(struct driver *d, struct job *j)
{
	uint8_t data[MAX_SECTORS * SECTOR];
	struct vsc_cmd cmd;

	j->n = 1 + (uint32_t)random_below(&d->seed, MAX_SECTORS);
	j->lba = d->base +
		 (uint32_t)random_below(&d->seed, SHARE_SECTORS - j->n + 1);
	j->write = random_below(&d->seed, 2);
	if (overlaps(d, j->lba, j->n))
		return;
	j->b.offset = (uint32_t)random_below(&d->seed, 1024) * 4;
	if (j->write) {
		qtest_fill(data, j->n * SECTOR, j->lba, ++d->generation);
		vsc_buffer_put(&j->b, data, j->n * SECTOR);
	}
	cmd = vsc_rw(j->write, 0, j->lba, j->n, random_below(&d->seed, 32) == 0,
		     &j->b);
	j->id = vsc_start(d->c, &cmd);
	must(j->id != 0, "the ring is full");
	d->requests--;
}

static void finish(struct driver *d, struct job *j, const struct vsc_answer *a)
{
	uint8_t data[MAX_SECTORS * SECTOR];
	uint8_t *model = d->w->model + (size_t)j->lba * SECTOR;

	j->id = 0;
	if (d->resets && vsc_status(a).srb == 0x82) {
		/* may have been written or not: make it known again */
		j->id = 0;
		if (j->write) {
			struct vsc_cmd cmd =
				vsc_rw(true, 0, j->lba, j->n, false, &j->b);

			j->id = vsc_start(d->c, &cmd);
			must(j->id != 0, "the ring is full");
		}
		return;
	}
	must(vsc_good(a), "a request failed");
	vsc_buffer_get(&j->b, data, j->n * SECTOR);
	if (j->write)
		memcpy(model, data, j->n * SECTOR);
	else
		must(!memcmp(model, data, j->n * SECTOR), "wrong data");
}

static struct job *job_of(struct driver *d, uint64_t id)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (d->job[i].id == id)
			return &d->job[i];
	return NULL;
}

static void *drive(void *arg)
{
	struct driver *d = arg;
	struct vsc_answer a;

	while (d->requests > 0 || vsc_outstanding(d->c) > 0) {
		for (unsigned i = 0; i < DEPTH && d->requests > 0; i++)
			if (!d->job[i].id)
				submit(d, &d->job[i]);
		if (!vsc_outstanding(d->c))
			continue;
		must(vsc_recv(d->c, &a), "no answer");
		do
			if (job_of(d, a.id))
				finish(d, job_of(d, a.id), &a);
		while (vsc_try_recv(d->c, &a));
		if (random_below(&d->seed, 50) == 0) {
			struct vsc_cmd flush = {.cdb = {0x35}, .data_in = 2};

			must(vsc_start(d->c, &flush) != 0, "full");
		}
	}
	return NULL;
}

static struct driver *drivers_start(struct world *w, unsigned requests,
				    uint64_t seed, bool resets)
{
	struct driver *d = calloc(CHANNELS, sizeof(*d));

	for (unsigned i = 0; i < CHANNELS; i++) {
		d[i].w = w;
		d[i].c = w->c[i];
		d[i].base = i * SHARE_SECTORS;
		d[i].seed = seed + i;
		d[i].requests = requests;
		d[i].resets = resets;
		for (unsigned j = 0; j < DEPTH; j++)
			vsc_buffer_init(w->v, &d[i].job[j].b,
					MAX_SECTORS * SECTOR / 4096 + 1);
	}
	for (unsigned i = 0; i < CHANNELS; i++)
		must(!pthread_create(&d[i].thread, NULL, drive, &d[i]),
		     "no thread");
	return d;
}

static void drivers_join(struct driver *d)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		pthread_join(d[i].thread, NULL);
	free(d);
}

/* With all channels closed: image and model must agree. */
static void compare(struct world *w)
{
	uint8_t data[64 * SECTOR];

	for (uint64_t off = 0; off < (uint64_t)DISK_SECTORS * SECTOR;
	     off += sizeof(data)) {
		assert_int_equal(
			vhd_read(w->img, off, data, sizeof(data), NULL), 0);
		assert_memory_equal(data, w->model + off, sizeof(data));
	}
}

/* Sub-channels first, as guests do. */
static void close_all(struct world *w)
{
	for (unsigned i = CHANNELS; i-- > 0;)
		vsc_close(w->c[i]);
}

static void four_channels_match_their_models_on_every_engine(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned e = 0; e < 3; e++) {
		struct world w;

		if (!engine_tried(engines[e]))
			continue;
		start(&w, engines[e], 0, 0);
		drivers_join(drivers_start(&w, 1500, seed, false));
		close_all(&w);
		compare(&w);
		stop(&w);
	}
}

/* Rings of one page and four slots: everything waits for everything. */
static void tiny_rings_and_few_slots_never_lose_a_wake_up(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned e = 0; e < 3; e++) {
		struct world w;

		if (!engine_tried(engines[e]))
			continue;
		start(&w, engines[e], 4, 3);
		drivers_join(drivers_start(&w, 800, seed, false));
		close_all(&w);
		compare(&w);
		stop(&w);
	}
}

static void one_request_at_a_time_never_loses_a_wake_up(void **state)
{
	struct world w;

	(void)state;
	start(&w, VHD_ENGINE_AUTO, 0, 0);
	for (unsigned i = 0; i < 5000; i++) {
		struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
		struct vsc_answer a;

		vsc_run(w.c[i % CHANNELS], &cmd, &a);
		assert_true(vsc_good(&a));
	}
	stop(&w);
}

/* Far more than the rings and slots hold, read late. */
static void flood_is_answered_completely_when_read_late(void **state)
{
	struct world w;

	(void)state;
	start(&w, VHD_ENGINE_AUTO, 32, 2);
	for (unsigned round = 0; round < 20; round++) {
		struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
		struct vsc_answer a;
		unsigned sent = 0;

		/* 46 answers fit; then the requests pile up until they do not
		 * fit either
		 */
		while (sent < 80 && vsc_start(w.c[0], &cmd))
			sent++;
		assert_true(sent > 40);
		while (vsc_outstanding(w.c[0]))
			assert_true(vsc_recv(w.c[0], &a));
	}
	stop(&w);
}

static void channels_close_and_reopen_in_the_middle_of_io(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned e = 0; e < 3; e++) {
		struct vsc_buffer b;
		struct world w;

		if (!engine_tried(engines[e]))
			continue;
		start(&w, engines[e], 0, 0);
		vsc_buffer_init(w.v, &b, 16);
		for (unsigned i = 0; i < 40; i++) {
			unsigned n = (unsigned)random_below(&seed, 60);

			for (unsigned k = 0; k < n; k++) {
				struct vsc_cmd cmd = vsc_rw(
					k % 2, 0,
					random_below(&seed, DISK_SECTORS - 32),
					32, k % 5 == 0, &b);

				vsc_start(w.c[0], &cmd);
			}
			/* the primary takes its sub-channels along */
			for (unsigned s = CHANNELS; s-- > 1;)
				if (w.c[s])
					vsc_close(w.c[s]);
			vsc_close(w.c[0]);
			w.c[0] = vsc_open(w.v, 0);
			vsc_negotiate(w.c[0], STORVSP_VERSION_WIN10, NULL);
			memset(w.c + 1, 0, sizeof(w.c) - sizeof(w.c[0]));
		}
		stop(&w);
	}
}

static void resets_under_load_end_every_request_once(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned e = 0; e < 3; e++) {
		struct vsc_channel *primary;
		struct driver *d;
		struct world w;

		if (!engine_tried(engines[e]))
			continue;
		start(&w, engines[e], 0, 0);
		/* channel 0 is for the resets */
		primary = w.c[0];
		d = calloc(CHANNELS, sizeof(*d));
		for (unsigned i = 1; i < CHANNELS; i++) {
			d[i].w = &w;
			d[i].c = w.c[i];
			d[i].base = i * SHARE_SECTORS;
			d[i].seed = seed + i;
			d[i].requests = 1000;
			d[i].resets = true;
			for (unsigned j = 0; j < DEPTH; j++)
				vsc_buffer_init(w.v, &d[i].job[j].b, 9);
		}
		for (unsigned i = 1; i < CHANNELS; i++)
			must(!pthread_create(&d[i].thread, NULL, drive, &d[i]),
			     "no thread");
		for (unsigned i = 0; i < 200; i++) {
			static const uint32_t ops[] = {
				STORVSP_OP_RESET_BUS, STORVSP_OP_RESET_LUN,
				STORVSP_OP_RESET_ADAPTER};

			assert_int_equal(vsc_op(primary, ops[i % 3], 64), 0);
		}
		for (unsigned i = 1; i < CHANNELS; i++)
			pthread_join(d[i].thread, NULL);
		free(d);
		close_all(&w);
		compare(&w);
		stop(&w);
	}
}

static void disk_added_under_load_appears_on_every_channel(void **state)
{
	uint64_t seed = random_seed();
	char *path = qtest_path();
	struct vhd *img =
		qtest_create(path, VHD_FORMAT_FIXED, 1 << 20, 0, false);
	struct driver *d;
	struct world w;

	(void)state;
	start(&w, VHD_ENGINE_AUTO, 0, 0);
	d = drivers_start(&w, 500, seed, false);
	vsc_disk(w.v, img, 0, 0, 7, false);
	drivers_join(d);
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct vsc_cmd cmd = {.lun = 7, .data_in = STORVSP_DATA_NONE};
		struct vsc_answer a;

		vsc_run(w.c[i], &cmd, &a);
		assert_true(vsc_good(&a));
	}
	while (vsc_unasked(w.c[0]) == 0) {
		struct vsc_answer a;

		vsc_try_recv(w.c[0], &a);
	}
	assert_int_equal(vsc_unasked_op(w.c[0]), STORVSP_OP_ENUMERATE_BUS);
	stop(&w);
	qtest_close(img);
	unlink(path);
	free(path);
}

static void post(void *arg, struct vhd *img)
{
	(void)img;
	sem_post(arg);
}

/* One disk comes and goes and grows, the other is frozen again and again, while
 * every channel works on that.
 */
static void disks_come_go_and_freeze_under_load(void **state)
{
	static const struct storvsp_address seven = {.lun = 7}, zero = {0};
	uint64_t seed = random_seed();
	char *path = qtest_path();
	struct vhd *img =
		qtest_create(path, VHD_FORMAT_DYNAMIC, 1 << 20, 0, false);
	struct storvsp_notice notice = {post, NULL};
	struct driver *d;
	struct world w;
	sem_t sem;

	(void)state;
	sem_init(&sem, 0, 0);
	notice.arg = &sem;
	start(&w, VHD_ENGINE_AUTO, 0, 0);
	d = drivers_start(&w, 1500, seed, false);
	for (unsigned i = 1; i <= 20; i++) {
		struct storvsp *vsp = vsc_vsp(w.v);

		vsc_disk(w.v, img, 0, 0, 7, false);
		assert_int_equal(storvsp_disk_freeze(vsp, zero, &notice, NULL),
				 0);
		sem_wait(&sem);
		storvsp_disk_thaw(vsp);
		assert_int_equal(
			storvsp_disk_freeze(vsp, seven, &notice, NULL), 0);
		sem_wait(&sem);
		assert_int_equal(vhd_grow(img, (1 + i) << 20, NULL), 0);
		storvsp_disk_thaw(vsp);
		assert_int_equal(
			storvsp_disk_remove(vsp, seven, &notice, NULL), 0);
		sem_wait(&sem);
	}
	drivers_join(d);
	close_all(&w);
	compare(&w);
	stop(&w);
	sem_destroy(&sem);
	qtest_close(img);
	unlink(path);
	free(path);
}

/* Statistics may be read at any time. */
static void statistics_can_be_read_under_load(void **state)
{
	uint64_t seed = random_seed(), last = 0;
	struct driver *d;
	struct world w;

	(void)state;
	start(&w, VHD_ENGINE_AUTO, 0, 0);
	d = drivers_start(&w, 300, seed, false);
	for (unsigned i = 0; i < 1000; i++) {
		struct storvsp_stats s;

		storvsp_get_stats(vsc_vsp(w.v), &s);
		assert_true(s.packets >= last);
		last = s.packets;
	}
	drivers_join(d);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			four_channels_match_their_models_on_every_engine),
		cmocka_unit_test(tiny_rings_and_few_slots_never_lose_a_wake_up),
		cmocka_unit_test(one_request_at_a_time_never_loses_a_wake_up),
		cmocka_unit_test(flood_is_answered_completely_when_read_late),
		cmocka_unit_test(channels_close_and_reopen_in_the_middle_of_io),
		cmocka_unit_test(resets_under_load_end_every_request_once),
		cmocka_unit_test(
			disk_added_under_load_appears_on_every_channel),
		cmocka_unit_test(disks_come_go_and_freeze_under_load),
		cmocka_unit_test(statistics_can_be_read_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
