/* SPDX-License-Identifier: BSD-2-Clause */
/* Log-linear histograms: every time has its bucket, and percentiles are right
 * to an eighth.
 */
#include "storvsp/histogram.h"
#include "tests/lib/cm.h"
#include "tests/lib/random.h"

#define BUCKETS STORVSP_HISTOGRAM_BUCKETS

static void buckets_follow_each_other_without_a_gap(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BUCKETS; i++) {
		uint64_t floor = storvsp_histogram_floor_ns(i);

		assert_int_equal(histogram_bucket(floor), i);
		if (i > 0)
			assert_int_equal(histogram_bucket(floor - 1), i - 1);
	}
	/* 2^40 and more: the last one */
	assert_int_equal(histogram_bucket((1ull << 40) - 1), BUCKETS - 1);
	assert_int_equal(histogram_bucket(1ull << 40), BUCKETS - 1);
	assert_int_equal(histogram_bucket(UINT64_MAX), BUCKETS - 1);
}

static void a_bucket_is_an_eighth_wide_at_most(void **state)
{
	(void)state;
	for (unsigned i = HISTOGRAM_PARTS; i + 1 < BUCKETS; i++) {
		uint64_t floor = storvsp_histogram_floor_ns(i);
		uint64_t wide = storvsp_histogram_floor_ns(i + 1) - floor;

		assert_true(wide * HISTOGRAM_PARTS <= floor);
	}
}

static struct storvsp_histogram sum_of(const struct histogram *h)
{
	struct storvsp_histogram out = {0};

	histogram_sum(&out, h);
	return out;
}

static void nothing_counted_says_zero(void **state)
{
	const struct storvsp_histogram h = {0};

	(void)state;
	assert_int_equal(storvsp_histogram_count(&h), 0);
	assert_int_equal(storvsp_histogram_ns(&h, 0), 0);
	assert_int_equal(storvsp_histogram_ns(&h, 50000), 0);
	assert_int_equal(storvsp_histogram_ns(&h, 100000), 0);
}

static void one_value_is_every_percentile(void **state)
{
	static struct histogram h;
	struct storvsp_histogram s;

	(void)state;
	histogram_add(&h, 5);
	s = sum_of(&h);
	assert_int_equal(storvsp_histogram_ns(&s, 0), 5);
	assert_int_equal(storvsp_histogram_ns(&s, 1), 5);
	assert_int_equal(storvsp_histogram_ns(&s, 99999), 5);
	assert_int_equal(storvsp_histogram_ns(&s, 100000), 5);
}

static void near(const struct storvsp_histogram *h, unsigned per_100000,
		 uint64_t want)
{
	uint64_t got = storvsp_histogram_ns(h, per_100000);

	if (got > want + want / 8 || got + want / 8 < want)
		fail_msg("%u: %llu, not %llu", per_100000,
			 (unsigned long long)got, (unsigned long long)want);
}

static void percentiles_of_known_times_are_right(void **state)
{
	static struct histogram h;
	struct storvsp_histogram s;

	(void)state;
	for (uint64_t i = 1; i <= 100000; i++)
		histogram_add(&h, i * 1000);
	s = sum_of(&h);
	assert_int_equal(storvsp_histogram_count(&s), 100000);
	near(&s, 50000, 50000000);
	near(&s, 90000, 90000000);
	near(&s, 99000, 99000000);
	near(&s, 99900, 99900000);
	near(&s, 99990, 99990000);
	assert_int_equal(storvsp_histogram_ns(&s, 100000), 100000000);
	/* no percentile is longer than the longest */
	assert_true(storvsp_histogram_ns(&s, 99999) <= 100000000);
}

/* 9,999 fast ones and one slow: p99.99 is fast, the longest is not. */
static void one_slow_of_ten_thousand_is_behind_p99_99(void **state)
{
	static struct histogram h;
	struct storvsp_histogram s;

	(void)state;
	for (unsigned i = 0; i < 9999; i++)
		histogram_add(&h, 1000);
	histogram_add(&h, 1ull << 50);
	s = sum_of(&h);
	near(&s, 99990, 1000);
	assert_true(storvsp_histogram_ns(&s, 99991) == 1ull << 50);
	/* two of them: it is slow */
	histogram_add(&h, 1ull << 50);
	s = sum_of(&h);
	assert_true(storvsp_histogram_ns(&s, 99990) == 1ull << 50);
}

static void histograms_add_up(void **state)
{
	static struct histogram a, b;
	struct storvsp_histogram s = {0};
	uint64_t rnd = 1;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		histogram_add(&a, random_below(&rnd, 1u << 20));
		histogram_add(&b, random_below(&rnd, 1u << 30));
	}
	histogram_sum(&s, &a);
	histogram_sum(&s, &b);
	assert_int_equal(storvsp_histogram_count(&s), 2000);
	for (unsigned i = 0; i < BUCKETS; i++)
		assert_int_equal(s.n[i], a.n[i] + b.n[i]);
	assert_true(s.max_ns == a.max_ns || s.max_ns == b.max_ns);
	assert_true(s.max_ns >= a.max_ns && s.max_ns >= b.max_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_follow_each_other_without_a_gap),
		cmocka_unit_test(a_bucket_is_an_eighth_wide_at_most),
		cmocka_unit_test(nothing_counted_says_zero),
		cmocka_unit_test(one_value_is_every_percentile),
		cmocka_unit_test(percentiles_of_known_times_are_right),
		cmocka_unit_test(one_slow_of_ten_thousand_is_behind_p99_99),
		cmocka_unit_test(histograms_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
