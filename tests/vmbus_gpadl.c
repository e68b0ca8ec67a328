/* SPDX-License-Identifier: BSD-2-Clause */
/* GPADLs: headers and bodies, shapes, bounds, teardown. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/fakedev.h"
#include "lib/guest.h"

#define RAM_PAGES 16384u /* 64 MiB */

struct world {
	struct guest *g;
	struct fakedev dev[8];
};

/* Eight devices, offered: relids 1 to 8. */
static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->g = guest_create(&(struct guest_opts){
		.memory_bytes = RAM_PAGES * 4096ull, .high_bytes = 1 << 20});
	for (uint8_t i = 0; i < 8; i++)
		fakedev_add(&w->dev[i], guest_bus(w->g), i);
	guest_start(w->g);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	guest_destroy(w->g);
	free(w);
	return 0;
}

/* A header for one range of `pages` pages (buffer length to match), with
 * `present` PFNs from 16 on. Returns its length.
 */
static size_t header(uint8_t *m, uint32_t relid, uint32_t handle,
		     uint32_t pages, uint32_t present)
{
	memset(m, 0, 240);
	set32(m, 8);
	set32(m + 8, relid);
	set32(m + 12, handle);
	set16(m + 16, (uint16_t)(8 + 8 * pages));
	set16(m + 18, 1);
	set32(m + 20, pages * 4096);
	for (uint32_t i = 0; i < present; i++)
		set64(m + 28 + 8 * i, 16 + i);
	return 28 + 8 * present;
}

static size_t body(uint8_t *m, uint32_t handle, uint32_t present, uint64_t pfn)
{
	memset(m, 0, 240);
	set32(m, 9);
	set32(m + 12, handle);
	for (uint32_t i = 0; i < present; i++)
		set64(m + 16 + 8 * i, pfn);
	return 16 + 8 * present;
}

/* Say it; status of the GPADL_CREATED that follows, -1 for silence. */
static int64_t say(struct guest *g, const uint8_t *m, size_t len)
{
	uint8_t a[240];

	assert_int_equal(guest_say(g, m, len), 0);
	if (guest_hear(g, a, NULL) == 0)
		return -1;
	assert_int_equal(at32(a), 10);
	return at32(a + 16);
}

static void created_has_20_bytes_and_torndown_12(void **state)
{
	static const uint8_t created[20] = {10, 0, 0, 0, 0,    0,    0,	   0,
					    1,	0, 0, 0, 0x10, 0x1E, 0x0E, 0};
	static const uint8_t torn[12] = {12, 0, 0,    0,    0,	  0,
					 0,  0, 0x10, 0x1E, 0x0E, 0};
	struct world *w = *state;
	uint8_t m[240], a[240];

	assert_int_equal(guest_say(w->g, m, header(m, 1, 0xE1E10, 4, 4)), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 20);
	assert_memory_equal(a, created, 20);
	memset(m, 0, sizeof(m));
	set32(m, 11);
	set32(m + 8, 1);
	set32(m + 12, 0xE1E10);
	assert_int_equal(guest_say(w->g, m, 16), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 12);
	assert_memory_equal(a, torn, 12);
}

static void bodies_complete_what_the_header_began(void **state)
{
	static const unsigned sizes[] = {1,  25, 26,  27,   53,	 54,
					 55, 64, 500, 2048, 8190};
	struct world *w = *state;
	uint64_t *gpas = calloc(8190, sizeof(*gpas));

	for (unsigned i = 0; i < 8190; i++)
		gpas[i] = (16 + i) * 4096ull;
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(guest_gpadl_create(w->g, 1, i, gpas, sizes[i]),
				 0);
		assert_int_equal(guest_gpadl_teardown(w->g, 1, i), 0);
	}
	free(gpas);
}

static void headers_with_impossible_numbers_fail(void **state)
{
	static const struct {
		uint16_t bytes, ranges;
		int64_t want; /* 0, 1: any failure, -1: still waiting */
	} rows[] = {
		{16, 1, 0},	 {8, 1, 1},	 {0, 1, 1},
		{15, 1, 1},	 {17, 1, 1},	 {20, 1, 1},
		{16, 0, 1},	 {0, 0, 1},	 {16, 2, 1},
		{16, 0xFFFF, 1}, {0xFFFF, 1, 1}, {0xFFF8, 0xFFFF, 1},
		{0xFFF8, 1, -1}, /* the most there can be */
		{24, 1, 1},	 /* a page too many */
	};
	struct world *w = *state;
	uint8_t m[240];

	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = header(m, 1, i, 1, 2);
		int64_t rc;

		set16(m + 16, rows[i].bytes);
		set16(m + 18, rows[i].ranges);
		rc = say(w->g, m, len);
		if ((rc > 0 ? 1 : rc) != rows[i].want)
			fail_msg("row %u: %lld", i, (long long)rc);
	}
}

static void ranges_must_describe_ram_exactly(void **state)
{
	static const struct {
		uint32_t count, offset;
		uint64_t pfn[3];
		unsigned pfns;
		bool ok;
	} rows[] = {
		{4096, 0, {16}, 1, true},
		{0, 0, {16}, 1, false},
		{0, 1, {16}, 1, false},
		{1, 0, {16}, 1, true},
		{1, 4095, {16}, 1, true},
		{2, 4095, {16}, 1, false},
		{2, 4095, {16, 17}, 2, true},
		{1, 4096, {16, 17}, 2, false},
		{4097, 0, {16}, 1, false},
		{4097, 0, {16, 3}, 2, true},
		{4096, 0, {16, 17}, 2, false},
		{12288, 0, {0, RAM_PAGES - 1, 5}, 3, true},
		{4096, 0, {RAM_PAGES}, 1, false},
		{8192, 0, {16, RAM_PAGES}, 2, false},
		{4096, 0, {1u << 20}, 1, true},		 /* at 4 GiB */
		{4096, 0, {(1u << 20) + 256}, 1, false}, /* behind it */
		{4096, 0, {(1u << 20) - 1}, 1, false},	 /* the hole */
		{4096, 0, {UINT64_MAX}, 1, false},
		{4096, 0, {1ull << 52}, 1, false}, /* wraps to 0 */
		{4096, 0, {(1ull << 52) + 16}, 1, false},
		{0xFFFFFFFF, 0, {16}, 1, false},
		{0xFFFFFFFF, 4095, {16}, 1, false},
		{0xFFFFFFFF, 0xFFFFFFFF, {16}, 1, false},
		{8192, 0, {16, 16}, 2, true}, /* twice the same: its affair */
	};
	struct world *w = *state;
	uint8_t m[240];

	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = header(m, 1, i, rows[i].pfns, rows[i].pfns);
		int64_t rc;

		set32(m + 20, rows[i].count);
		set32(m + 24, rows[i].offset);
		for (unsigned p = 0; p < rows[i].pfns; p++)
			set64(m + 28 + 8 * p, rows[i].pfn[p]);
		rc = say(w->g, m, len);
		if (rc < 0 || (rc == 0) != rows[i].ok)
			fail_msg("row %u: %lld", i, (long long)rc);
		if (rc == 0)
			guest_gpadl_teardown(w->g, 1, i);
	}
}

static void several_ranges_are_checked_one_by_one(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	header(m, 1, 1, 4, 1);
	set16(m + 18, 2);
	set32(m + 20, 4096);
	set32(m + 36, 8192); /* second range: two pages */
	set64(m + 44, 20);
	set64(m + 52, 21);
	assert_int_equal(say(w->g, m, 60), 0);
	set32(m + 12, 2);
	set64(m + 52, RAM_PAGES);
	assert_true(say(w->g, m, 60) > 0);
	set64(m + 52, 21);
	set32(m + 36, 4096); /* a page nobody needs */
	assert_true(say(w->g, m, 60) > 0);
	set32(m + 36, 8192);
	set32(m + 20, 0);
	assert_true(say(w->g, m, 60) > 0);
	/* a first range of nothing, and no page for it */
	header(m, 1, 3, 3, 0);
	set16(m + 18, 2);
	set32(m + 20, 0);
	set32(m + 28, 8192);
	set64(m + 36, 20);
	set64(m + 44, 21);
	assert_true(say(w->g, m, 52) > 0);
	set32(m + 24, 1); /* nor from an offset, with a page */
	set32(m + 28, 16);
	set32(m + 32, 0);
	assert_true(say(w->g, m, 52) > 0);
	/* the second has fewer words left than pages, if not in all */
	header(m, 1, 4, 4, 1);
	set16(m + 18, 2);
	set32(m + 20, 4096);
	set32(m + 36, 3 * 4096);
	set64(m + 44, 20);
	set64(m + 52, 21);
	assert_true(say(w->g, m, 60) > 0);
	header(m, 1, 2, 4, 1);
	set16(m + 18, 2);
	set32(m + 36, 8192);
	set64(m + 44, 20);
	set64(m + 52, 21);
	/* the second range is missing altogether */
	set32(m + 20, 4096 * 4);
	assert_true(say(w->g, m, 60) > 0);
}

static void short_headers_fail_when_they_name_a_handle(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	header(m, 1, 1, 1, 1);
	assert_int_equal(say(w->g, m, 15), -1);
	for (size_t len = 16; len < 28; len++)
		assert_true(say(w->g, m, len) > 0);
	assert_int_equal(say(w->g, m, 28), -1); /* its PFN is to come */
	assert_int_equal(say(w->g, m, body(m, 1, 1, 16)), 0);
}

static void unknown_channels_and_used_handles_fail(void **state)
{
	static const uint32_t relids[] = {0, 9, 2047, 2048, 0xFFFFFFFF};
	struct world *w = *state;
	uint8_t m[240];

	for (unsigned i = 0; i < 5; i++)
		assert_true(say(w->g, m, header(m, relids[i], 1, 1, 1)) > 0);
	assert_int_equal(say(w->g, m, header(m, 1, 1, 1, 1)), 0);
	assert_true(say(w->g, m, header(m, 1, 1, 1, 1)) > 0);
	/* another channel may use the same handle, once it is complete */
	assert_int_equal(say(w->g, m, header(m, 2, 1, 1, 1)), 0);
	assert_int_equal(say(w->g, m, header(m, 3, 7, 2, 1)), -1);
	assert_true(say(w->g, m, header(m, 4, 7, 1, 1)) > 0);
	assert_true(say(w->g, m, header(m, 3, 7, 1, 1)) > 0);
	/* and the one being built was not disturbed */
	assert_int_equal(say(w->g, m, body(m, 7, 1, 99)), 0);
	assert_int_equal(say(w->g, m, header(m, 4, 7, 1, 1)), 0);
}

static void bodies_without_a_header_are_dropped(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	assert_int_equal(say(w->g, m, body(m, 1, 1, 16)), -1);
	assert_int_equal(say(w->g, m, header(m, 1, 1, 1, 1)), 0);
	assert_int_equal(say(w->g, m, body(m, 1, 1, 16)), -1); /* complete */
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 1), 0);
	assert_int_equal(say(w->g, m, body(m, 1, 1, 16)), -1);
}

static void two_lists_may_be_built_at_a_time(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	assert_int_equal(say(w->g, m, header(m, 1, 1, 3, 1)), -1);
	assert_int_equal(say(w->g, m, header(m, 2, 2, 3, 1)), -1);
	assert_int_equal(say(w->g, m, body(m, 2, 1, 16)), -1);
	assert_int_equal(say(w->g, m, body(m, 1, 2, 16)), 0);
	assert_int_equal(say(w->g, m, body(m, 2, 1, 16)), 0);
}

static void padding_behind_the_words_is_no_part_of_the_list(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	/* firmware sends 240 bytes: 220 of buffer are 27 words and a half */
	header(m, 1, 1, 28, 26);
	memset(m + 236, 0xEE, 4);
	assert_int_equal(say(w->g, m, 240), -1);
	body(m, 1, 2, 20);
	memset(m + 32, 0xEE, 240 - 32);
	assert_int_equal(say(w->g, m, 240), 0);
	/* a body of less than a word adds nothing */
	assert_int_equal(say(w->g, m, header(m, 1, 2, 2, 1)), -1);
	assert_int_equal(say(w->g, m, body(m, 2, 0, 0)), -1);
	body(m, 2, 1, 20);
	assert_int_equal(say(w->g, m, 23), -1);
	assert_int_equal(say(w->g, m, 24), 0);
}

static void a_channel_has_32_lists(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(say(w->g, m, header(m, 1, i, 1, 1)), 0);
	assert_true(say(w->g, m, header(m, 1, 32, 1, 1)) > 0);
	assert_int_equal(say(w->g, m, header(m, 2, 32, 1, 1)), 0);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 5), 0);
	assert_int_equal(say(w->g, m, header(m, 1, 32, 1, 1)), 0);
}

static void sixty_four_lists_may_be_unfinished(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(say(w->g, m, header(m, 1 + i / 32, i, 2, 1)),
				 -1);
	assert_true(say(w->g, m, header(m, 3, 64, 2, 1)) > 0);
	assert_int_equal(say(w->g, m, body(m, 40, 1, 16)), 0);
	assert_int_equal(say(w->g, m, header(m, 3, 64, 2, 1)), -1);
	/* a new contact forgets them */
	guest_start(w->g);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(say(w->g, m, header(m, 1 + i / 32, i, 2, 1)),
				 -1);
}

/* It exists for bodies only: no ring can be opened on it. */
static void an_unfinished_list_cannot_be_opened(void **state)
{
	struct world *w = *state;
	uint8_t m[240] = {0}, a[240];

	assert_int_equal(say(w->g, m, header(m, 1, 7, 4, 1)), -1);
	memset(m, 0, sizeof(m));
	set32(m, 5);
	set32(m + 8, 1);
	set32(m + 16, 7);
	set32(m + 24, 2);
	assert_int_equal(guest_say(w->g, m, 148), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 20);
	assert_int_equal(at32(a), 6);
	assert_int_not_equal(at32(a + 16), 0);
}

static void all_lists_together_hold_a_gigabyte(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	/* 8191 words each: 32 of them leave 32 of 262144 words */
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(say(w->g, m, header(m, 1 + i / 8, i, 8190, 1)),
				 -1);
	assert_true(say(w->g, m, header(m, 8, 99, 32, 1)) > 0);
	assert_int_equal(say(w->g, m, header(m, 8, 99, 31, 1)), -1);
	assert_true(say(w->g, m, header(m, 8, 100, 1, 1)) > 0);
	guest_start(w->g);
	assert_int_equal(say(w->g, m, header(m, 8, 100, 8190, 1)), -1);
}

static void teardown_waits_for_the_ring_to_be_closed(void **state)
{
	struct world *w = *state;
	struct guest_channel *ch;

	ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0), NULL, NULL);
	assert_non_null(ch);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, guest_channel_gpadl(ch)),
			 GUEST_NO_ANSWER);
	assert_int_equal(guest_close(ch), 0);
}

static void teardown_of_what_is_not_there_is_true_already(void **state)
{
	struct world *w = *state;
	uint8_t m[240];

	assert_int_equal(guest_gpadl_teardown(w->g, 1, 1234), 0);
	assert_int_equal(say(w->g, m, header(m, 1, 1, 1, 1)), 0);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 1), 0);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 1), 0);
	/* not of another channel's, nor of one unfinished */
	assert_int_equal(say(w->g, m, header(m, 1, 1, 1, 1)), 0);
	assert_int_equal(guest_gpadl_teardown(w->g, 2, 1), GUEST_NO_ANSWER);
	assert_int_equal(guest_gpadl_teardown(w->g, 99, 1), GUEST_NO_ANSWER);
	assert_int_equal(say(w->g, m, header(m, 1, 2, 2, 1)), -1);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 2), GUEST_NO_ANSWER);
	assert_int_equal(say(w->g, m, body(m, 2, 1, 16)), 0);
	assert_int_equal(guest_gpadl_teardown(w->g, 1, 2), 0);
}

static void short_bodies_and_teardowns_are_dropped(void **state)
{
	struct world *w = *state;
	uint8_t m[240], a[240];

	assert_int_equal(say(w->g, m, header(m, 1, 1, 2, 1)), -1);
	body(m, 1, 1, 16);
	assert_int_equal(say(w->g, m, 15), -1);
	assert_int_equal(say(w->g, m, 24), 0);
	memset(m, 0, sizeof(m));
	set32(m, 11);
	set32(m + 8, 1);
	set32(m + 12, 1);
	assert_int_equal(guest_say(w->g, m, 15), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 0);
	assert_int_equal(guest_say(w->g, m, 16), 0);
	assert_int_equal(guest_hear(w->g, a, NULL), 12);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(created_has_20_bytes_and_torndown_12),
		T(bodies_complete_what_the_header_began),
		T(headers_with_impossible_numbers_fail),
		T(ranges_must_describe_ram_exactly),
		T(several_ranges_are_checked_one_by_one),
		T(short_headers_fail_when_they_name_a_handle),
		T(unknown_channels_and_used_handles_fail),
		T(bodies_without_a_header_are_dropped),
		T(two_lists_may_be_built_at_a_time),
		T(padding_behind_the_words_is_no_part_of_the_list),
		T(a_channel_has_32_lists),
		T(sixty_four_lists_may_be_unfinished),
		T(an_unfinished_list_cannot_be_opened),
		T(all_lists_together_hold_a_gigabyte),
		T(teardown_waits_for_the_ring_to_be_closed),
		T(teardown_of_what_is_not_there_is_true_already),
		T(short_bodies_and_teardowns_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
