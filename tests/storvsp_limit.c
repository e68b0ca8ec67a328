/* SPDX-License-Identifier: BSD-2-Clause */
/* Token buckets: how much passes in how much time, to the request. */
#include "storvsp/limit.h"
#include "tests/lib/cm.h"
#include "tests/lib/random.h"

#include <errno.h>

#define MS 1000000ull
#define S  (1000 * MS)

/* Let pass what can at `now_ns`, of `bytes` each; how many. */
static unsigned burst_of(struct limit *l, uint64_t bytes, uint64_t now_ns)
{
	unsigned n = 0;

	while (limit_due_ns(l) <= now_ns && n < 1000000) {
		limit_charge(l, bytes, now_ns);
		n++;
	}
	return n;
}

static struct limit limit_of(struct storvsp_limits limits)
{
	struct limit l = {0};

	assert_int_equal(limit_check(&limits, NULL), 0);
	limit_set(&l, &limits, 1 * S);
	return l;
}

static void without_limits_nothing_is_asked(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){.depth = 5});

	(void)state;
	assert_false(limit_on(&l));
	assert_int_equal(limit_due_ns(&l), 0);
}

static void a_burst_passes_and_not_one_more(void **state)
{
	struct limit l = limit_of(
		(struct storvsp_limits){.iops = 100, .iops_burst = 7});

	(void)state;
	assert_true(limit_on(&l));
	assert_int_equal(burst_of(&l, 4096, 1 * S), 7);
	/* the next is earned after a hundredth of a second, not before */
	assert_int_equal(limit_due_ns(&l), 1 * S + 1);
	assert_int_equal(burst_of(&l, 4096, 1 * S + 1), 1);
	assert_int_equal(burst_of(&l, 4096, 1 * S + 10 * MS), 0);
	assert_int_equal(burst_of(&l, 4096, 1 * S + 10 * MS + 1), 1);
	/* and a long rest earns the burst, no more */
	assert_int_equal(burst_of(&l, 4096, 900 * S), 7);
}

static void without_a_burst_a_tenth_of_a_second_passes_at_once(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){.iops = 500});

	(void)state;
	assert_int_equal(burst_of(&l, 0, 1 * S), 50);
}

static void a_burst_is_a_hundredth_of_a_second_at_least(void **state)
{
	struct limit l = limit_of(
		(struct storvsp_limits){.iops = 10000, .iops_burst = 1});

	(void)state;
	assert_int_equal(burst_of(&l, 0, 1 * S), 100);
}

/* 8 KiB is one, a byte more is two; nothing is one. */
static void requests_are_counted_by_8_kib(void **state)
{
	static const struct {
		uint64_t bytes;
		unsigned count;
	} rows[] = {{0, 1},	       {512, 1},	 {8192, 1},
		    {8192 + 512, 2}, {16384, 2}, {64 << 10, 8},
		    {2 << 20, 256}};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct limit l =
			limit_of((struct storvsp_limits){.iops = 1000});
		uint64_t begin = 1 * S;

		limit_charge(&l, rows[i].bytes, begin);
		/* how long the next request after the burst would wait */
		assert_int_equal(l.ios.full / LIMIT_TICKS_PER_NS,
				 begin + rows[i].count * MS);
	}
}

static void a_request_larger_than_the_burst_passes_and_is_paid_for(
	void **state)
{
	struct limit l = limit_of((struct storvsp_limits){
		.bps = 1 << 20, .bps_burst = 64 << 10});

	(void)state;
	assert_int_equal(burst_of(&l, 2 << 20, 1 * S), 1);
	/* two seconds' worth, less what a burst allows ahead */
	assert_int_equal(limit_due_ns(&l), 3 * S - S / 16 + 1);
	assert_int_equal(burst_of(&l, 512, 2 * S + 900 * MS), 0);
	assert_true(burst_of(&l, 512, 3 * S) > 0);
}

/* What moves nothing costs no bandwidth. */
static void bytes_limit_bytes_only(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){.bps = 4096});

	(void)state;
	assert_int_equal(burst_of(&l, 0, 1 * S), 1000000);
}

static void the_tighter_of_two_limits_holds(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){
		.iops = 100, .bps = 100 * 512});
	struct limit m = limit_of((struct storvsp_limits){
		.iops = 100, .bps = 1 << 30});

	(void)state;
	assert_int_equal(burst_of(&l, 1024, 1 * S), 5);
	assert_int_equal(burst_of(&m, 1024, 1 * S), 10);
}

/* Over a long time the rate is met to a thousandth and never exceeded,
 * however irregularly it is asked.
 */
static void the_rate_is_met_over_a_long_time(void **state)
{
	static const uint64_t rates[] = {1, 7, 333, 5000, 123456, 3000000};
	uint64_t rnd = 5;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		uint64_t rate = rates[i], end = 1 * S, sum = 0;
		struct limit l =
			limit_of((struct storvsp_limits){.iops = rate});
		uint64_t now = end;

		end += rate < 100 ? 1000 * S : 300000 * S / rate;
		sum = burst_of(&l, 0, now); /* the first burst is a gift */
		sum = 0;
		while (now < end) {
			now += random_below(&rnd, 90 * MS);
			sum += burst_of(&l, 0, now);
		}
		assert_true(sum <= rate * (now - 1 * S) / S + 1);
		assert_true(sum + 2 >= rate * (now - 1 * S) / S * 999 / 1000);
	}
}

static void new_limits_begin_full(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){.iops = 1});
	const struct storvsp_limits faster = {.iops = 1000};

	(void)state;
	limit_charge(&l, 80 << 20, 1 * S); /* hours of debt */
	assert_true(limit_due_ns(&l) > 1000 * S);
	limit_set(&l, &faster, 2 * S);
	assert_int_equal(burst_of(&l, 0, 2 * S), 100);
	limit_set(&l, &(struct storvsp_limits){0}, 2 * S);
	assert_false(limit_on(&l));
}

static void limits_end_at_their_bounds(void **state)
{
	static const struct {
		struct storvsp_limits l;
		int code;
	} rows[] = {
		{{.iops = STORVSP_IOPS_MAX}, 0},
		{{.iops = STORVSP_IOPS_MAX + 1}, -EINVAL},
		{{.bps = STORVSP_BPS_MAX}, 0},
		{{.bps = STORVSP_BPS_MAX + 1}, -EINVAL},
		{{.iops = 1, .iops_burst = STORVSP_IOPS_MAX}, 0},
		{{.iops = 1, .iops_burst = STORVSP_IOPS_MAX + 1}, -EINVAL},
		{{.bps = 1, .bps_burst = STORVSP_BPS_MAX + 1}, -EINVAL},
		{{.iops_burst = 1}, -EINVAL},
		{{.iops = 5, .bps_burst = 1}, -EINVAL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_err err = {0};

		assert_int_equal(limit_check(&rows[i].l, &err), rows[i].code);
		assert_int_equal(err.why,
				 rows[i].code ? VHD_WHY_ARGUMENT : 0);
	}
}

/* The largest of all does not overflow. */
static void the_slowest_byte_rate_and_the_largest_request_fit(void **state)
{
	struct limit l = limit_of((struct storvsp_limits){
		.iops = 1, .bps = 1, .bps_burst = 1});

	(void)state;
	limit_charge(&l, 4190208, 1 * S);
	assert_true(limit_due_ns(&l) > 4190000 * S);
	assert_true(limit_due_ns(&l) < 4191000 * S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_nothing_is_asked),
		cmocka_unit_test(a_burst_passes_and_not_one_more),
		cmocka_unit_test(
			without_a_burst_a_tenth_of_a_second_passes_at_once),
		cmocka_unit_test(a_burst_is_a_hundredth_of_a_second_at_least),
		cmocka_unit_test(requests_are_counted_by_8_kib),
		cmocka_unit_test(
			a_request_larger_than_the_burst_passes_and_is_paid_for),
		cmocka_unit_test(bytes_limit_bytes_only),
		cmocka_unit_test(the_tighter_of_two_limits_holds),
		cmocka_unit_test(the_rate_is_met_over_a_long_time),
		cmocka_unit_test(new_limits_begin_full),
		cmocka_unit_test(limits_end_at_their_bounds),
		cmocka_unit_test(
			the_slowest_byte_rate_and_the_largest_request_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
