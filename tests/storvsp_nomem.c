/* SPDX-License-Identifier: BSD-2-Clause */
/* No memory is taken between a guest's packet and its answer once a channel
 * runs (goal M3): a million requests through ring, session, commands, queue
 * and image. In the libraries linked to this program the allocator's names are
 * others (Makefile, UNIT_COUNTED), and lead here; the guest's side is not
 * counted.
 */
#include <errno.h>

#include "tests/lib/plainvsp.h"
#include "tests/lib/proof.h"

#define REQUESTS 500000u /* vhd_queue_nomem has the other half */

static unsigned long allocations;

void *counted_malloc(size_t n);
void *counted_calloc(size_t count, size_t n);
void *counted_realloc(void *p, size_t n);
void *counted_aligned_alloc(size_t align, size_t n);
char *counted_strdup(const char *text);
char *counted_strndup(const char *text, size_t n);

void *counted_malloc(size_t n)
{
	allocations++;
	return malloc(n);
}

void *counted_calloc(size_t count, size_t n)
{
	allocations++;
	return calloc(count, n);
}

void *counted_realloc(void *p, size_t n)
{
	allocations++;
	return realloc(p, n);
}

void *counted_aligned_alloc(size_t align, size_t n)
{
	allocations++;
	return aligned_alloc(align, n);
}

char *counted_strdup(const char *text)
{
	allocations++;
	return strdup(text);
}

char *counted_strndup(const char *text, size_t n)
{
	allocations++;
	return strndup(text, n);
}

/* Reads, writes that make blocks, FUA, flushes, and what is refused. */
static void traffic(struct world *w, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		uint64_t lba = n * 1031ull % (SECTORS - 8);
		struct vsc_cmd cmd;
		struct vsc_answer a;
		bool refused = n % 64 == 7;

		cmd = vsc_rw(n % 3 == 0, 0, refused ? SECTORS : lba, 1 + n % 8,
			     n % 16 == 3, &w->b);
		if (n % 512 == 511)
			cmd = (struct vsc_cmd){.cdb = {0x35},
					       .data_in = STORVSP_DATA_NONE};
		vsc_run(w->c, &cmd, &a);
		assert_int_equal(vsc_good(&a), !refused || n % 512 == 511);
	}
}

static void a_running_channel_takes_no_memory(void **state)
{
	struct world w;
	unsigned long before;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	before = allocations;
	assert_true(before > 10); /* the counter is connected */
	traffic(&w, REQUESTS);
	proof_figure("M3", allocations == before,
		     "storvsp: %lu allocations in %u requests",
		     allocations - before, REQUESTS);
	assert_int_equal(allocations, before);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_channel_takes_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
