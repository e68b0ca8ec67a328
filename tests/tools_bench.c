/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/verb/bench_run.c: times are counted right, and requests as asked for. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/lib/random.h"
#include "tools/verb/bench.h"

#define DISK_BYTES (8u << 20)

static void parts_of_known_times_are_right(void **state)
{
	struct bench_times *t = calloc(1, sizeof(*t));

	(void)state;
	assert_int_equal(bench_times_part(t, 500), 0);
	for (uint64_t ns = 1; ns <= 1000; ns++)
		bench_times_add(t, ns * 1000);
	assert_int_equal(t->count, 1000);
	assert_int_equal(t->sum_ns, 500500000);
	assert_int_equal(t->min_ns, 1000);
	assert_int_equal(t->max_ns, 1000000);
	assert_in_range(bench_times_part(t, 500), 492000, 508000);
	assert_in_range(bench_times_part(t, 900), 886000, 914000);
	assert_in_range(bench_times_part(t, 990), 975000, 1000000);
	assert_in_range(bench_times_part(t, 1), 1000, 1016);
	assert_in_range(bench_times_part(t, 1000), 985000, 1000000);
	free(t);
}

/* However long it was, one time alone is known to a part in 64. */
static void any_time_is_known_to_a_part_in_64(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct bench_times t;
		uint64_t ns = random_next(&rnd) >> random_below(&rnd, 64);
		uint64_t part;

		memset(&t, 0, sizeof(t));
		if (ns >> 62)
			ns = UINT64_MAX >> 2;
		bench_times_add(&t, 0);
		bench_times_add(&t, ns);
		bench_times_add(&t, UINT64_MAX >> 2);
		part = bench_times_part(&t, 500);
		if (ns < 64)
			assert_int_equal(part, ns);
		else
			assert_in_range(part, ns - ns / 64, ns + ns / 64);
	}
}

static struct vhd *image(char path[], bool write)
{
	struct vhd_create_opts how = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = DISK_BYTES,
		.unique_id = {1},
	};
	struct vhd_open_opts open = {.writable = write};
	struct vhd *img;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vhd_create(path, &how, &img, NULL), 0);
	assert_int_equal(vhd_close(img, NULL), 0);
	assert_int_equal(vhd_open(path, &open, &img, NULL), 0);
	return img;
}

static void as_many_requests_are_made_as_asked_for(void **state)
{
	static const enum vhd_engine engines[] = {
		VHD_ENGINE_AUTO, VHD_ENGINE_AIO, VHD_ENGINE_SYNC};
	char path[] = "/tmp/tools_bench.XXXXXX";
	struct vhd *img = image(path, true);
	struct bench_result *r = calloc(1, sizeof(*r));
	volatile sig_atomic_t stop = 0;
	struct vhd_err e;

	(void)state;
	for (unsigned i = 0; i < 24; i++) {
		struct bench_opts o = {
			.engine = engines[i % 3],
			.depth = i & 8 ? 7 : 1,
			.size_bytes = i & 4 ? 512 : 12288,
			.write = i >= 12,
			.sequential = i & 2,
			.count = 500,
			.flush_interval = i >= 16 ? 10 : 0,
			.seed = i,
		};
		int rc = bench_run(img, &o, &stop, r, &e);

		if (rc == -ENOSYS || rc == -EPERM) /* no such engine here */
			continue;
		assert_int_equal(rc, 0);
		assert_int_equal(r->times.count, 500);
		assert_in_range(r->flushes, i >= 16 ? 49 : 0,
				i >= 16 ? 50 : 0);
		assert_int_equal(r->flush_times.count, r->flushes);
		assert_true(r->elapsed_ns >= r->times.max_ns);
	}
	free(r);
	assert_int_equal(vhd_close(img, NULL), 0);
	unlink(path);
}

static void a_failed_request_ends_it_with_its_reason(void **state)
{
	const struct bench_opts o = {
		.depth = 4,
		.size_bytes = 4096,
		.write = true, /* to an image that is only read */
		.count = 100,
	};
	char path[] = "/tmp/tools_bench.XXXXXX";
	struct vhd *img = image(path, false);
	struct bench_result *r = calloc(1, sizeof(*r));
	volatile sig_atomic_t stop = 0;
	struct vhd_err e;

	(void)state;
	assert_int_equal(bench_run(img, &o, &stop, r, &e), -EROFS);
	assert_int_equal(e.why, VHD_WHY_READ_ONLY);
	free(r);
	vhd_abandon(img);
	unlink(path);
}

static void asked_to_stop_it_stops(void **state)
{
	const struct bench_opts o = {
		.depth = 4,
		.size_bytes = 4096,
		.time_ms = 3600000,
	};
	char path[] = "/tmp/tools_bench.XXXXXX";
	struct vhd *img = image(path, false);
	struct bench_result *r = calloc(1, sizeof(*r));
	volatile sig_atomic_t stop = 1;
	struct vhd_err e;

	(void)state;
	assert_int_equal(bench_run(img, &o, &stop, r, &e), 0);
	assert_int_equal(r->times.count, 0);
	free(r);
	vhd_abandon(img);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_known_times_are_right),
		cmocka_unit_test(any_time_is_known_to_a_part_in_64),
		cmocka_unit_test(as_many_requests_are_made_as_asked_for),
		cmocka_unit_test(a_failed_request_ends_it_with_its_reason),
		cmocka_unit_test(asked_to_stop_it_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
