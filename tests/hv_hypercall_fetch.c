/* SPDX-License-Identifier: BSD-2-Clause */
/* The input block of HvPostMessage is fetched once, and a guest that changes
 * any byte of it right after that changes nothing. Linked with the door that
 * counts and flips (tests/lib/gpa_watch.h).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/hypercall.h"
#include "tests/lib/bytes.h"
#include "tests/lib/gpa_watch.h"
#include "tests/lib/guest.h"
#include "tests/lib/proof.h"

#define POST  0x5cull
#define BLOCK 256u
#define GPA   0x8000ull

/* INITIATE_CONTACT 5.3 on its connection. */
static void block(struct guest *g)
{
	uint8_t *b = guest_ptr(g, GPA);

	memset(b, 0, BLOCK);
	set32(b, 4);
	set32(b + 8, 1);
	set32(b + 12, 40);
	set32(b + 16, 14);
	set32(b + 24, GUEST_VERSION_5_3);
	b[32] = 2;
}

static void each_byte_of_a_message_may_change_after_its_fetch(void **state)
{
	struct guest *g = guest_create(NULL);
	unsigned flipped = 0;

	(void)state;
	for (uint32_t b = 0; b < BLOCK; b++) {
		const uint8_t *p = guest_ptr(g, GPA + b);
		uint8_t before, answer[240];

		gpa_watch_clear();
		block(g);
		gpa_watch(GPA, BLOCK);
		gpa_watch_flip(GPA + b, 0xFF);
		before = *p;
		assert_int_equal(
			hv_hypercall(guest_mem(g), guest_bus(g), POST, GPA), 0);
		assert_int_equal(gpa_watch_max(NULL), 1);
		assert_int_equal(gpa_watch_touched(), BLOCK);
		flipped += (*p ^ before) == 0xFF;
		/* the bus has got what was there first: it says yes */
		assert_int_equal(guest_hear(g, answer, NULL), 16);
		assert_int_equal(at32(answer), 15);
		assert_int_equal(answer[8], 1);
	}
	gpa_watch_clear();
	guest_destroy(g);
	proof_figure("G3", flipped == BLOCK,
		     "%u of %u bytes of a hypercall's input", flipped, BLOCK);
	assert_int_equal(flipped, BLOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			each_byte_of_a_message_may_change_after_its_fetch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
