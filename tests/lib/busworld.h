/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of four processors and a bus with one device, for tests of channels:
 * opened by the simulated guest, or by messages spelled out.
 */
#ifndef TESTS_LIB_BUSWORLD_H
#define TESTS_LIB_BUSWORLD_H

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"
#include "tests/lib/fakedev.h"
#include "tests/lib/guest.h"

struct world {
	struct guest *g;
	struct fakedev dev;
};

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->g = guest_create(&(struct guest_opts){
		.vps = 4, .scatter = true, .memory_bytes = 96u << 20});
	fakedev_add(&w->dev, guest_bus(w->g), 1);
	guest_start(w->g);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	guest_destroy(w->g);
	free(w);
	return 0;
}

static inline struct guest_channel *open_ch(struct world *w, uint32_t vp)
{
	struct guest_channel *ch;

	ch = guest_open(w->g, guest_offer_find(w->g, NULL, 0, 0),
			&(struct guest_open_opts){
				.out_pages = 3, .in_pages = 4, .vp = vp},
			NULL);
	assert_non_null(ch);
	return ch;
}

static inline bool readable(struct vmbus_channel *ch)
{
	struct pollfd fd = {.fd = vmbus_channel_eventfd(ch), .events = POLLIN};
	uint64_t n;

	if (poll(&fd, 1, 0) <= 0)
		return false;
	assert_int_equal(read(fd.fd, &n, sizeof(n)), sizeof(n));
	return true;
}

/* A GPADL of `pages` pages under `handle`; their GPAs, zeroed. */
static inline void gpadl(struct world *w, uint32_t handle, unsigned pages,
		  uint64_t *gpas)
{
	guest_alloc(w->g, pages, gpas);
	assert_int_equal(guest_gpadl_create(w->g, 1, handle, gpas, pages), 0);
}

static inline size_t open_msg(uint8_t *m, uint32_t handle, uint32_t split)
{
	memset(m, 0, 240);
	set32(m, 5);
	set32(m + 8, 1);
	set32(m + 12, 0xCAFE);
	set32(m + 16, handle);
	set32(m + 24, split);
	for (unsigned i = 0; i < 120; i++)
		m[28 + i] = (uint8_t)(200 - i);
	return 148;
}

/* Status of the OPENCHANNEL_RESULT, -1: silence. */
static inline int64_t say(struct world *w, const uint8_t *m, size_t len)
{
	uint8_t a[240];

	assert_int_equal(guest_say(w->g, m, len), 0);
	if (guest_hear(w->g, a, NULL) == 0)
		return -1;
	assert_int_equal(at32(a), 6);
	assert_int_equal(at32(a + 12), 0xCAFE);
	return at32(a + 16);
}

#endif
