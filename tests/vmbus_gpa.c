/* SPDX-License-Identifier: BSD-2-Clause */
/* The door to guest memory: regions, bounds, holes, iovecs. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hv/gpa.h"

#define PAGE 4096ull

/* RAM at [0, 4 pages) and [16, 18 pages) with a hole between, and two
 * regions that touch at page 32 but lie apart in our memory.
 */
struct world {
	struct hv_mem *mem;
	uint8_t *low, *mid, *a, *b;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->low = aligned_alloc(PAGE, 4 * PAGE);
	w->mid = aligned_alloc(PAGE, 2 * PAGE);
	w->b = aligned_alloc(PAGE, 4 * PAGE);
	w->a = w->b + 2 * PAGE; /* behind b, so that a..b is not linear */
	memset(w->low, 1, 4 * PAGE);
	memset(w->mid, 2, 2 * PAGE);
	memset(w->b, 3, 4 * PAGE);
	assert_int_equal(hv_mem_create(&w->mem), 0);
	/* out of order on purpose */
	assert_int_equal(hv_mem_add(w->mem, 16 * PAGE, 2 * PAGE, w->mid), 0);
	assert_int_equal(hv_mem_add(w->mem, 32 * PAGE, PAGE, w->b), 0);
	assert_int_equal(hv_mem_add(w->mem, 31 * PAGE, PAGE, w->a), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, 4 * PAGE, w->low), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	hv_mem_destroy(w->mem);
	free(w->low);
	free(w->mid);
	free(w->b);
	free(w);
	return 0;
}

static void regions_must_be_whole_pages_and_apart(void **state)
{
	struct world *w = *state;
	uint8_t *p = w->low;

	assert_int_equal(hv_mem_add(w->mem, 100 * PAGE + 1, PAGE, p), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 100 * PAGE, PAGE - 1, p), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 100 * PAGE, 0, p), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 100 * PAGE, PAGE, NULL), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 3 * PAGE, PAGE, p), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 15 * PAGE, 4 * PAGE, p), -EINVAL);
	assert_int_equal(hv_mem_add(w->mem, 0 - PAGE, 2 * PAGE, p), -EINVAL);
}

static void eight_regions_fit_and_a_ninth_does_not(void **state)
{
	struct world *w = *state;

	for (uint64_t i = 4; i < HV_MEM_REGIONS_MAX; i++)
		assert_int_equal(
			hv_mem_add(w->mem, (100 + 2 * i) * PAGE, PAGE, w->low),
			0);
	assert_int_equal(hv_mem_add(w->mem, 200 * PAGE, PAGE, w->low), -ENOSPC);
}

static void reads_and_writes_stop_at_the_last_byte(void **state)
{
	struct world *w = *state;
	uint8_t buf[16] = {0};

	assert_int_equal(hv_gpa_read(w->mem, 4 * PAGE - 16, buf, 16), 0);
	assert_int_equal(buf[15], 1);
	assert_int_equal(hv_gpa_read(w->mem, 4 * PAGE - 15, buf, 16), -EFAULT);
	assert_int_equal(hv_gpa_write(w->mem, 4 * PAGE - 15, buf, 16), -EFAULT);
	assert_int_equal(hv_gpa_read(w->mem, 4 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(hv_gpa_read(w->mem, 16 * PAGE - 1, buf, 1), -EFAULT);
	assert_int_equal(hv_gpa_read(w->mem, UINT64_MAX, buf, 1), -EFAULT);
	assert_int_equal(hv_gpa_read(w->mem, UINT64_MAX - 3, buf, 8), -EFAULT);
	assert_int_equal(hv_gpa_read(w->mem, UINT64_MAX, buf, 0), 0);
}

static void a_refused_write_moves_nothing(void **state)
{
	struct world *w = *state;
	uint8_t buf[32];

	memset(buf, 9, sizeof(buf));
	assert_int_equal(hv_gpa_write(w->mem, 4 * PAGE - 16, buf, 32), -EFAULT);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(w->low[4 * PAGE - 16 + i], 1);
	/* the end of the last region of adjacent ones */
	assert_int_equal(hv_gpa_write(w->mem, 33 * PAGE - 16, buf, 32),
			 -EFAULT);
	assert_int_equal(w->b[PAGE - 1], 3);
}

static void ranges_cross_regions_that_touch(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];

	for (unsigned i = 0; i < 64; i++)
		buf[i] = (uint8_t)i;
	assert_true(hv_gpa_ok(w->mem, 31 * PAGE, 2 * PAGE));
	assert_false(hv_gpa_ok(w->mem, 31 * PAGE, 2 * PAGE + 1));
	assert_int_equal(hv_gpa_write(w->mem, 32 * PAGE - 32, buf, 64), 0);
	assert_memory_equal(w->a + PAGE - 32, buf, 32);
	assert_memory_equal(w->b, buf + 32, 32);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(hv_gpa_read(w->mem, 32 * PAGE - 32, buf, 64), 0);
	assert_int_equal(buf[31], 31);
	assert_int_equal(buf[32], 32);
}

static void words_must_be_aligned_and_in_memory(void **state)
{
	struct world *w = *state;
	uint32_t v = 0;

	assert_int_equal(hv_gpa_store32(w->mem, PAGE, 0x04030201), 0);
	assert_memory_equal(w->low + PAGE, "\1\2\3\4", 4);
	assert_int_equal(hv_gpa_load32(w->mem, PAGE, &v), 0);
	assert_int_equal(v, 0x04030201);
	assert_int_equal(hv_gpa_or32(w->mem, PAGE, 0x80, &v), 0);
	assert_int_equal(v, 0x04030201);
	assert_int_equal(w->low[PAGE], 0x81);
	assert_int_equal(hv_gpa_load32(w->mem, PAGE + 2, &v), -EFAULT);
	assert_int_equal(hv_gpa_load32(w->mem, 4 * PAGE, &v), -EFAULT);
	assert_int_equal(hv_gpa_store32(w->mem, 4 * PAGE, 1), -EFAULT);
	assert_int_equal(hv_gpa_or32(w->mem, 4 * PAGE, 1, &v), -EFAULT);
}

static void neighbouring_pages_become_one_iovec(void **state)
{
	struct world *w = *state;
	const uint64_t pfns[] = {0, 1, 2, 16, 17, 3};
	struct iovec iov[6];

	assert_int_equal(
		hv_gpa_iov(w->mem, pfns, 6, 100, 6 * PAGE - 100, iov, 6), 3);
	assert_ptr_equal(iov[0].iov_base, w->low + 100);
	assert_int_equal(iov[0].iov_len, 3 * PAGE - 100);
	assert_ptr_equal(iov[1].iov_base, w->mid);
	assert_int_equal(iov[1].iov_len, 2 * PAGE);
	assert_ptr_equal(iov[2].iov_base, w->low + 3 * PAGE);
	assert_int_equal(iov[2].iov_len, PAGE);
}

static void regions_that_touch_in_the_guest_only_are_not_joined(void **state)
{
	struct world *w = *state;
	const uint64_t pfns[] = {31, 32};
	struct iovec iov[2];

	assert_int_equal(hv_gpa_iov(w->mem, pfns, 2, 0, 2 * PAGE, iov, 2), 2);
	assert_ptr_equal(iov[0].iov_base, w->a);
	assert_ptr_equal(iov[1].iov_base, w->b);
}

static void iovecs_know_the_limits_of_their_list(void **state)
{
	struct world *w = *state;
	const uint64_t far[] = {0, 2};
	const uint64_t out[] = {0, 5};
	const uint64_t huge[] = {UINT64_MAX / 4096 + 1};
	struct iovec iov[4];

	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 0, 2 * PAGE, iov, 2), 2);
	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 0, 2 * PAGE, iov, 1),
			 -E2BIG);
	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 0, 2 * PAGE + 1, iov, 4),
			 -EINVAL);
	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 4095, PAGE + 1, iov, 4), 2);
	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 4095, PAGE + 2, iov, 4),
			 -EINVAL);
	assert_int_equal(hv_gpa_iov(w->mem, far, 2, 4096, 1, iov, 4), -EINVAL);
	assert_int_equal(hv_gpa_iov(w->mem, out, 2, 0, PAGE + 1, iov, 4),
			 -EFAULT);
	assert_int_equal(hv_gpa_iov(w->mem, out, 2, 0, PAGE, iov, 4), 1);
	assert_int_equal(hv_gpa_iov(w->mem, huge, 1, 0, 1, iov, 4), -EFAULT);
	assert_int_equal(hv_gpa_iov(w->mem, far, 0, 0, 0, iov, 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(regions_must_be_whole_pages_and_apart),
		T(eight_regions_fit_and_a_ninth_does_not),
		T(reads_and_writes_stop_at_the_last_byte),
		T(a_refused_write_moves_nothing),
		T(ranges_cross_regions_that_touch),
		T(words_must_be_aligned_and_in_memory),
		T(neighbouring_pages_become_one_iovec),
		T(regions_that_touch_in_the_guest_only_are_not_joined),
		T(iovecs_know_the_limits_of_their_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
