/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocation of the bus fails once: the error is named, the guest has
 * its answer, nothing is lost, and afterwards all works. malloc, calloc and
 * eventfd are wrapped by the linker in this program only.
 */
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

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
int __real_eventfd(unsigned n, int flags);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
int __wrap_eventfd(unsigned n, int flags);

static int memory_left = -1; /* calls until one fails; -1: none does */
static int events_left = -1;

static bool due(int *left)
{
	if (*left < 0)
		return false;
	return (*left)-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return due(&memory_left) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return due(&memory_left) ? NULL : __real_calloc(n, size);
}

int __wrap_eventfd(unsigned n, int flags)
{
	if (!due(&events_left))
		return __real_eventfd(n, flags);
	errno = EMFILE;
	return -1;
}

static int setup(void **state)
{
	*state = guest_create(NULL);
	return 0;
}

static int teardown(void **state)
{
	guest_destroy(*state);
	return 0;
}

static void making_a_bus_or_memory_names_what_is_missing(void **state)
{
	struct vmbus_opts opts = {0};
	struct vmbus *bus = NULL;
	struct hv_mem *mem = NULL;
	struct vhd_err err = {0};

	(void)state;
	memory_left = 0;
	assert_int_equal(hv_mem_create(&mem), -ENOMEM);
	assert_null(mem);
	memory_left = 0;
	assert_int_equal(vmbus_create(&opts, &bus, &err), -ENOMEM);
	assert_int_equal(err.why, VHD_WHY_NOMEM);
	events_left = 0;
	assert_int_equal(vmbus_create(&opts, &bus, &err), -EMFILE);
	assert_int_equal(err.why, VHD_WHY_SYSTEM);
	assert_int_equal(err.code, -EMFILE);
	assert_null(bus);
}

static void an_offer_that_fails_takes_no_relid(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct vmbus_offer offer = fakedev_offer(&dev, 1);
	struct vmbus_channel *ch = NULL;
	struct vhd_err err = {0};

	for (unsigned i = 0; i < 3000; i++) { /* more than there are */
		memory_left = 0;
		assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &ch,
						 i ? NULL : &err),
				 -ENOMEM);
		events_left = 0;
		assert_int_equal(
			vmbus_offer_add(guest_bus(g), &offer, &ch, NULL),
			-EMFILE);
	}
	assert_int_equal(err.why, VHD_WHY_NOMEM);
	assert_null(ch);
	assert_int_equal(vmbus_offer_add(guest_bus(g), &offer, &ch, NULL), 0);
	guest_start(g);
	assert_int_equal(guest_offer_find(g, NULL, 0, 0)->relid, 1);
}

static void a_gpadl_without_memory_is_answered(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	uint64_t gpa = guest_alloc_page(g);
	uint8_t m[240] = {8}, a[240];

	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	set32(m + 8, 1);
	set32(m + 12, 5);
	set16(m + 16, 16);
	set16(m + 18, 1);
	set32(m + 20, 4096);
	set64(m + 28, gpa / 4096);
	memory_left = 0;
	assert_int_equal(guest_say(g, m, 36), 0);
	assert_int_equal(guest_hear(g, a, NULL), 20);
	assert_int_not_equal(at32(a + 16), 0);
	assert_int_equal(memory_left, -1);
	assert_int_equal(guest_gpadl_create(g, 1, 5, &gpa, 1), 0);
}

static void sub_channels_without_memory_give_their_relids_back(void **state)
{
	struct guest *g = *state;
	struct fakedev dev = {0};
	struct guest_channel *ch;

	fakedev_add(&dev, guest_bus(g), 1);
	guest_start(g);
	ch = guest_open(g, guest_offer_find(g, NULL, 0, 0), NULL, NULL);
	assert_non_null(ch);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 4), 0);
	memory_left = 1; /* the second of them */
	vmbus_service(guest_bus(g));
	assert_int_equal(vmbus_offer_sub(dev.open[0], 4), 0);
	events_left = 1;
	vmbus_service(guest_bus(g));
	assert_non_null(strstr(guest_log_last(g), "sub-channels"));
	assert_non_null(guest_offer_find(g, NULL, 2, 0));
	assert_null(guest_offer_find(g, NULL, 3, 0));
	/* three channels exist, 2044 relids are left */
	assert_int_equal(vmbus_offer_sub(dev.open[0], 2045), -ENOSPC);
	assert_int_equal(vmbus_offer_sub(dev.open[0], 2044), 0);
	vmbus_reset(guest_bus(g));
	guest_drop(ch);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(making_a_bus_or_memory_names_what_is_missing),
		T(an_offer_that_fails_takes_no_relid),
		T(a_gpadl_without_memory_is_answered),
		T(sub_channels_without_memory_give_their_relids_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
