/* SPDX-License-Identifier: BSD-2-Clause */
/* Data buffers: claims against page lists, pages against RAM. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "storvsp/buffer.h"
#include "vhd/endian.h"

#define PAGE	  4096u
#define PFNS	  8u
#define BYTES_MAX (7u * PAGE)

/* RAM: pages 16 to 23, backed so that neighbours are neighbours. */
struct world {
	struct hv_mem *mem;
	uint8_t ram[8 * PAGE] __attribute__((aligned(4096)));
	uint8_t list[1 + 8 * PFNS]; /* odd address: nothing is aligned */
	uint64_t pfns[PFNS];
	struct buffer b;
	struct vmbus_packet pkt;
};

static int setup(void **state)
{
	struct world *w = aligned_alloc(PAGE, sizeof(*w));

	memset(w, 0, sizeof(*w));
	hv_mem_create(&w->mem);
	hv_mem_add(w->mem, 16 * PAGE, sizeof(w->ram), w->ram);
	w->b.pfns = w->pfns;
	w->b.pfns_max = PFNS;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	hv_mem_destroy(w->mem);
	free(w);
	return 0;
}

static void set(struct world *w, unsigned i, uint64_t pfn)
{
	le64 v = le64_put(pfn);

	memcpy(w->list + 1 + 8 * i, &v, 8);
}

/* One range of `len` bytes at `offset`, with `count` pages from 16 on. */
static void range(struct world *w, uint32_t offset, uint32_t len,
		  uint32_t count)
{
	for (unsigned i = 0; i < PFNS; i++)
		set(w, i, 16 + i);
	w->pkt = (struct vmbus_packet){
		.type = VMBUS_PACKET_GPA_DIRECT,
		.range_count = 1,
		.range_len = len,
		.range_offset = offset,
		.pfns = w->list + 1,
		.pfn_count = count,
	};
}

static void claim_up_to_the_range_is_accepted(void **state)
{
	struct world *w = *state;

	range(w, 100, 5000, 2);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 5000, BYTES_MAX),
			 0);
	assert_int_equal(w->b.bytes, 5000);
	assert_int_equal(w->b.pfn_count, 2);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 5001, BYTES_MAX),
			 -EINVAL);
	assert_int_equal(w->b.bytes, 0);
	/* smaller is fine, too, and needs fewer pages */
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 10, BYTES_MAX), 0);
	assert_int_equal(w->b.pfn_count, 1);
}

static void surplus_page_numbers_are_not_looked_at(void **state)
{
	struct world *w = *state;

	range(w, 0, PAGE, PFNS);
	set(w, 1, UINT64_MAX);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, PAGE, BYTES_MAX),
			 0);
	assert_int_equal(w->b.pfn_count, 1);
}

static void impossible_claims_are_refused(void **state)
{
	struct world *w = *state;

	/* no range at all */
	range(w, 0, PAGE, 1);
	w->pkt.range_count = 0;
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 1, BYTES_MAX),
			 -EINVAL);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 0, BYTES_MAX), 0);
	/* more than one */
	range(w, 0, PAGE, 1);
	w->pkt.range_count = 2;
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 1, BYTES_MAX),
			 -EINVAL);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 0, BYTES_MAX),
			 -EINVAL);
	/* offset behind the first page */
	range(w, PAGE, 1, 2);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 1, BYTES_MAX),
			 -EINVAL);
	/* fewer pages than the claim touches */
	range(w, PAGE - 1, 2, 1);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 2, BYTES_MAX),
			 -EINVAL);
	/* an empty range */
	range(w, 0, 0, 1);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 1, BYTES_MAX),
			 -EINVAL);
}

static void transfer_limit_holds_at_n_and_n_plus_1(void **state)
{
	struct world *w = *state;

	range(w, PAGE - 1, UINT32_MAX, PFNS);
	assert_int_equal(
		storvsp_buffer_init(&w->b, &w->pkt, BYTES_MAX, BYTES_MAX), 0);
	assert_int_equal(w->b.pfn_count, PFNS);
	assert_int_equal(
		storvsp_buffer_init(&w->b, &w->pkt, BYTES_MAX + 1, BYTES_MAX),
		-EINVAL);
	assert_int_equal(
		storvsp_buffer_init(&w->b, &w->pkt, UINT32_MAX, BYTES_MAX),
		-EINVAL);
}

static void pages_are_counted_without_overflow(void **state)
{
	(void)state;
	assert_int_equal(storvsp_buffer_pages(0, 1), 1);
	assert_int_equal(storvsp_buffer_pages(0, PAGE), 1);
	assert_int_equal(storvsp_buffer_pages(1, PAGE), 2);
	assert_int_equal(storvsp_buffer_pages(PAGE - 1, 1), 1);
	assert_int_equal(storvsp_buffer_pages(PAGE - 1, 2), 2);
	assert_int_equal(storvsp_buffer_pages(PAGE - 1, UINT32_MAX), 0x100001);
}

static void iovecs_cover_exactly_the_bytes_asked(void **state)
{
	struct world *w = *state;
	struct iovec iov[PFNS];

	range(w, 4, 3 * PAGE, 4);
	set(w, 1, 20);
	assert_int_equal(
		storvsp_buffer_init(&w->b, &w->pkt, 3 * PAGE, BYTES_MAX), 0);
	assert_int_equal(storvsp_buffer_iov(&w->b, w->mem, PAGE, iov, PFNS), 2);
	assert_ptr_equal(iov[0].iov_base, w->ram + 4);
	assert_int_equal(iov[0].iov_len, PAGE - 4);
	assert_ptr_equal(iov[1].iov_base, w->ram + 4 * PAGE);
	assert_int_equal(iov[1].iov_len, 4);
	assert_int_equal(
		storvsp_buffer_iov(&w->b, w->mem, 3 * PAGE + 1, iov, PFNS),
		-EINVAL);
}

/* Below, above, and numbers whose address wraps around. */
static void pages_outside_ram_are_refused_and_nothing_is_written(void **state)
{
	static const uint64_t bad[] = {
		0,	    15, 24, 1ull << 40, 1ull << 52, (1ull << 52) + 17,
		UINT64_MAX,
	};
	struct world *w = *state;
	uint8_t data[2 * PAGE];
	struct iovec iov[PFNS];

	memset(data, 0x55, sizeof(data));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		range(w, 0, 2 * PAGE, 2);
		set(w, 1, bad[i]);
		assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 2 * PAGE,
						     BYTES_MAX),
				 0);
		assert_int_equal(
			storvsp_buffer_iov(&w->b, w->mem, 2 * PAGE, iov, PFNS),
			-EFAULT);
		assert_int_equal(
			storvsp_buffer_put(&w->b, w->mem, data, PAGE + 1),
			-EFAULT);
		assert_int_equal(
			storvsp_buffer_get(&w->b, w->mem, data, PAGE + 1),
			-EFAULT);
		assert_int_equal(storvsp_buffer_get(&w->b, w->mem, data, PAGE),
				 0);
		memset(data, 0x55, sizeof(data));
		for (unsigned j = 0; j < sizeof(w->ram); j++)
			assert_int_equal(w->ram[j], 0);
		/* what is not needed may be anything */
		assert_int_equal(
			storvsp_buffer_iov(&w->b, w->mem, PAGE, iov, PFNS), 1);
	}
}

static void last_byte_of_ram_can_be_reached(void **state)
{
	struct world *w = *state;

	range(w, PAGE - 1, 1, 1);
	set(w, 0, 23);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 1, BYTES_MAX), 0);
	assert_int_equal(storvsp_buffer_put(&w->b, w->mem, "\x77", 1), 0);
	assert_int_equal(w->ram[8 * PAGE - 1], 0x77);
}

static void small_answers_go_to_the_front_across_pages(void **state)
{
	struct world *w = *state;
	uint8_t data[10] = "abcdefghi";

	range(w, PAGE - 3, 100, 2);
	set(w, 0, 20);
	set(w, 1, 18);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, 100, BYTES_MAX),
			 0);
	assert_int_equal(storvsp_buffer_put(&w->b, w->mem, data, 9), 0);
	assert_memory_equal(w->ram + 5 * PAGE - 3, "abc", 3);
	assert_memory_equal(w->ram + 2 * PAGE, "defghi\0\0", 8);
	assert_int_equal(w->ram[5 * PAGE], 0);
	assert_int_equal(storvsp_buffer_put(&w->b, w->mem, data, 0), 0);
}

/* The owner of a smaller list of pages is not written past it, and nobody
 * moves more than was claimed.
 */
static void no_more_than_the_list_and_the_claim_is_used(void **state)
{
	struct world *w = *state;
	uint8_t data[2 * PAGE] = {0};

	range(w, 0, 2 * PAGE, 2);
	w->b.pfns_max = 1;
	assert_int_equal(
		storvsp_buffer_init(&w->b, &w->pkt, PAGE + 1, BYTES_MAX),
		-EINVAL);
	assert_int_equal(w->b.bytes, 0);
	assert_int_equal(storvsp_buffer_init(&w->b, &w->pkt, PAGE, BYTES_MAX),
			 0);
	assert_int_equal(storvsp_buffer_get(&w->b, w->mem, data, PAGE + 1),
			 -EINVAL);
	assert_int_equal(storvsp_buffer_put(&w->b, w->mem, data, PAGE + 1),
			 -EINVAL);
	assert_int_equal(storvsp_buffer_get(&w->b, w->mem, data, PAGE), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(claim_up_to_the_range_is_accepted),
		T(surplus_page_numbers_are_not_looked_at),
		T(impossible_claims_are_refused),
		T(transfer_limit_holds_at_n_and_n_plus_1),
		T(pages_are_counted_without_overflow),
		T(iovecs_cover_exactly_the_bytes_asked),
		T(pages_outside_ram_are_refused_and_nothing_is_written),
		T(last_byte_of_ram_can_be_reached),
		T(small_answers_go_to_the_front_across_pages),
		T(no_more_than_the_list_and_the_claim_is_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
