/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest can make the bus allocate: GPADLs up to the limit of all their
 * words together, and one more. Bound: 8 bytes a word, 1 KiB a GPADL.
 */
#include <errno.h>

#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"
#include "tests/lib/fakedev.h"
#include "tests/lib/guest.h"
#include "tests/lib/peak.h"
#include "tests/lib/proof.h"

#define WORDS_TOTAL (1u << 18)
#define WORDS_MOST  8191u /* what a 16-bit length can say */
#define GPADLS	    33u

/* A header of one range, never finished; whether it was taken. Nothing is
 * said of one that was.
 */
static bool begin(struct guest *g, uint32_t relid, uint32_t handle,
		  uint32_t words)
{
	uint8_t m[240] = {0}, a[240];

	set32(m, 8);
	set32(m + 8, relid);
	set32(m + 12, handle);
	set16(m + 16, (uint16_t)(8 * words));
	set16(m + 18, 1);
	set32(m + 20, (words - 1) * 4096);
	assert_int_equal(guest_say(g, m, 28), 0);
	return guest_hear(g, a, NULL) == 0;
}

static void gpadls_up_to_the_limit_of_their_words(void **state)
{
	size_t bound = WORDS_TOTAL * 8ull + GPADLS * 1024;
	struct fakedev dev[2];
	struct guest *g = guest_create(NULL);
	uint32_t left = WORDS_TOTAL;

	(void)state;
	for (uint8_t i = 0; i < 2; i++)
		fakedev_add(&dev[i], guest_bus(g), i);
	guest_start(g);
	peak_begin();
	for (uint32_t i = 0; i < 32; i++, left -= WORDS_MOST)
		assert_true(begin(g, 1, 100 + i, WORDS_MOST));
	assert_true(begin(g, 2, 200, left));
	assert_false(begin(g, 2, 201, 2));
	proof_figure("M4", peak_most <= bound, "GPADLs %zu of %zu bytes",
		     peak_most, bound);
	assert_true(peak_most <= bound);
	peak_begin();
	assert_false(begin(g, 2, 202, WORDS_MOST));
	proof_figure("M4", peak_most <= 4096, "GPADL + 1 %zu of 4096 bytes",
		     peak_most);
	assert_true(peak_most <= 4096);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpadls_up_to_the_limit_of_their_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
