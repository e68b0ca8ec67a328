/* SPDX-License-Identifier: BSD-2-Clause */
/* A ring in memory of its own, whose words and bytes a test sets as a guest
 * could: one of 64 bytes, or larger over pages that are out of order.
 */
#ifndef TESTS_LIB_RINGWORLD_H
#define TESTS_LIB_RINGWORLD_H

#include <stdlib.h>
#include <string.h>

#include "cm.h"
#include "hv/vmbus/ring.h"
#include "hv/vmbus/wire.h"

#define PAGES 8
#define SMALL 64u

/* Page 0 is the control page; data pages are out of order. */
struct world {
	struct hv_mem *mem;
	uint8_t *ram;
	uint64_t pfns[PAGES - 1];
	struct vmbus_ring ring;
};

static inline int setup(void **state)
{
	static const uint64_t order[PAGES - 1] = {3, 1, 6, 2, 7, 5, 4};
	struct world *w = calloc(1, sizeof(*w));

	w->ram = aligned_alloc(4096, PAGES * 4096);
	memset(w->ram, 0, PAGES * 4096);
	memcpy(w->pfns, order, sizeof(order));
	assert_int_equal(hv_mem_create(&w->mem), 0);
	assert_int_equal(hv_mem_add(w->mem, 0, PAGES * 4096, w->ram), 0);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	hv_mem_destroy(w->mem);
	free(w->ram);
	free(w);
	return 0;
}

static inline void poke(struct world *w, unsigned off, uint32_t v)
{
	memcpy(w->ram + off, &v, sizeof(v));
}

static inline uint32_t peek(const struct world *w, unsigned off)
{
	uint32_t v;

	memcpy(&v, w->ram + off, sizeof(v));
	return v;
}

/* The small ring's data area. */
static inline uint8_t *data(struct world *w)
{
	return w->ram + w->pfns[0] * 4096;
}

static inline void indices(struct world *w, uint32_t in, uint32_t out)
{
	poke(w, VMBUS_RING_IN, in);
	poke(w, VMBUS_RING_OUT, out);
}

static inline int open_in(struct world *w, uint32_t size)
{
	return vmbus_ring_open_in(&w->ring, w->mem, 0, w->pfns, size);
}

static inline int open_out(struct world *w, uint32_t size)
{
	return vmbus_ring_open_out(&w->ring, w->mem, 0, w->pfns, size);
}

/* A byte of the small ring that tells where it came from. */
static inline uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + 3);
}

static inline void put_desc(struct world *w, uint32_t at, unsigned len8, unsigned off8)
{
	uint8_t d[16] = {9,
			 0,
			 (uint8_t)off8,
			 (uint8_t)(off8 >> 8),
			 (uint8_t)len8,
			 (uint8_t)(len8 >> 8),
			 1,
			 0};

	for (unsigned i = 0; i < SMALL; i++)
		data(w)[i] = pattern(i);
	for (unsigned i = 0; i < 8; i++)
		data(w)[(at + i) % SMALL] = d[i];
}

#define RING_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
