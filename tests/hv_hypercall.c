/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls by a guest of any intent, against the real bus. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/hypercall.h"
#include "hv/vmbus.h"

#define PAGES 4
#define POST 0x5cull
#define SIGNAL 0x5dull
#define CONNECTION 4 /* VMBus 5.0 and newer */

static uint8_t memory[PAGES * 4096] __attribute__((aligned(4096)));

struct world {
	struct hv_mem *mem;
	struct vmbus *bus;
};

static int post(void *host, uint32_t vp, uint8_t sint, const void *msg,
		size_t len)
{
	(void)host;
	(void)vp;
	(void)sint;
	(void)msg;
	(void)len;
	return -ENXIO;
}

static void signal_flag(void *host, uint32_t vp, uint8_t sint, uint16_t flag)
{
	(void)host;
	(void)vp;
	(void)sint;
	(void)flag;
}

static int bind(void *host, uint32_t id, int fd)
{
	(void)host;
	(void)id;
	(void)fd;
	return 0;
}

static void unbind(void *host, uint32_t id, int fd)
{
	(void)bind(host, id, fd);
}

static uint32_t vp_count(void *host)
{
	(void)host;
	return 1;
}

static const struct vmbus_host_ops ops = {post, signal_flag, bind, unbind,
					  vp_count};

static int set_up(void **state)
{
	static struct world w;
	struct vmbus_opts o = {.ops = &ops};

	memset(memory, 0, sizeof(memory));
	assert_int_equal(hv_mem_create(&w.mem), 0);
	assert_int_equal(hv_mem_add(w.mem, 0, sizeof(memory), memory), 0);
	o.mem = w.mem;
	assert_int_equal(vmbus_create(&o, &w.bus, NULL), 0);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	vmbus_destroy(w->bus);
	hv_mem_destroy(w->mem);
	return 0;
}

/* A message block at `gpa`: INITIATE_CONTACT for 5.3. */
static void block(uint64_t gpa, uint32_t connection, uint32_t type,
		  uint32_t size)
{
	const uint32_t words[] = {connection, 0, type, size, 14, 0, 0x50003};

	memcpy(memory + gpa, words, sizeof(words));
}

static uint64_t call(struct world *w, uint64_t input, uint64_t gpa)
{
	return hv_hypercall(w->mem, w->bus, input, gpa);
}

static void a_good_message_is_accepted(void **state)
{
	struct world *w = *state;

	block(0x1000, CONNECTION, 1, 40);
	assert_int_equal(call(w, POST, 0x1000), VMBUS_HV_SUCCESS);
}

static void unknown_calls_are_called_so(void **state)
{
	struct world *w = *state;

	for (uint64_t code = 0; code < 0x10000; code++) {
		if (code == POST || code == SIGNAL)
			continue;
		assert_int_equal(call(w, code, 0),
				 VMBUS_HV_INVALID_HYPERCALL_CODE);
	}
}

static void the_fast_form_of_a_message_is_refused(void **state)
{
	struct world *w = *state;

	block(0, CONNECTION, 1, 40);
	assert_int_equal(call(w, POST | 1ull << 16, 0),
			 VMBUS_HV_INVALID_HYPERCALL_INPUT);
}

static void a_block_is_aligned_and_inside_one_page(void **state)
{
	struct world *w = *state;

	for (uint64_t odd = 1; odd < 8; odd++)
		assert_int_equal(call(w, POST, 0x1000 + odd),
				 VMBUS_HV_INVALID_ALIGNMENT);
	/* It may end where its page ends, as far as its payload goes. */
	block(0x2000 - 16 - 40, CONNECTION, 1, 40);
	assert_int_equal(call(w, POST, 0x2000 - 16 - 40), VMBUS_HV_SUCCESS);
	block(0x2000 - 16 - 40, CONNECTION, 1, 41);
	assert_int_equal(call(w, POST, 0x2000 - 16 - 40),
			 VMBUS_HV_INVALID_ALIGNMENT);
	assert_int_equal(call(w, POST, 0x2000 - 8),
			 VMBUS_HV_INVALID_ALIGNMENT);
}

static void a_block_outside_memory_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(call(w, POST, sizeof(memory)),
			 VMBUS_HV_INVALID_PARAMETER);
	assert_int_equal(call(w, POST, UINT64_MAX & ~7ull),
			 VMBUS_HV_INVALID_ALIGNMENT);
	assert_int_equal(call(w, POST, 1ull << 63),
			 VMBUS_HV_INVALID_PARAMETER);
}

static void sizes_and_types_have_bounds(void **state)
{
	struct world *w = *state;

	block(0, CONNECTION, 1, 240);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_SUCCESS);
	block(0, CONNECTION, 1, 241);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_INVALID_PARAMETER);
	block(0, CONNECTION, 1, 0xffffffff);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_INVALID_PARAMETER);
	block(0, CONNECTION, 0x80000001, 40);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_INVALID_PARAMETER);
}

static void connections_are_24_bits_and_known(void **state)
{
	struct world *w = *state;

	block(0, 0xab000000 | CONNECTION, 1, 40);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_SUCCESS);
	block(0, 0x123456, 1, 40);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_INVALID_CONNECTION_ID);
	assert_int_equal(call(w, SIGNAL | 1ull << 16, 7),
			 VMBUS_HV_INVALID_CONNECTION_ID);
}

static void a_flood_is_pushed_back(void **state)
{
	struct world *w = *state;
	uint64_t status = VMBUS_HV_SUCCESS;
	unsigned n = 0;

	block(0, CONNECTION, 1, 8);
	memory[16] = 3; /* REQUESTOFFERS: a new contact would clear the queue */
	while (status == VMBUS_HV_SUCCESS && n++ < 1000000)
		status = call(w, POST, 0);
	assert_int_equal(status, VMBUS_HV_INSUFFICIENT_BUFFERS);
	(void)vmbus_service(w->bus);
	assert_int_equal(call(w, POST, 0), VMBUS_HV_SUCCESS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_good_message_is_accepted),
		T(unknown_calls_are_called_so),
		T(the_fast_form_of_a_message_is_refused),
		T(a_block_is_aligned_and_inside_one_page),
		T(a_block_outside_memory_is_refused),
		T(sizes_and_types_have_bounds),
		T(connections_are_24_bits_and_known),
		T(a_flood_is_pushed_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
