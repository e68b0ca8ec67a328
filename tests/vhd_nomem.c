/* SPDX-License-Identifier: BSD-2-Clause */
/* The n-th allocation fails, for every n: each call says -ENOMEM and leaves
 * things as they were, or does without. Linked with --wrap, so that only this
 * program's calls are counted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/alloc.h"

#define MIB  (1u << 20)
#define SIZE (4 * MIB)

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);

static bool armed;
static bool failed;
static unsigned countdown;
static bool forever;

static bool refuse(void)
{
	if (!armed)
		return false;
	if (countdown) {
		countdown--;
		return false;
	}
	if (failed && !forever)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
	return refuse() ? NULL : __real_calloc(count, n);
}

static void arm(unsigned nth, bool for_good)
{
	countdown = nth;
	forever = for_good;
	failed = false;
	armed = true;
}

/* A partial block, a whole one, two holes. */
static struct memfile *mixed(void)
{
	static const uint32_t order[] = {1, 0};
	struct memfile *m = img_dynamic(SIZE, MIB, order, 2);
	uint8_t map[256] = {0};

	assert_int_equal(
		memfile_poke(m, map, sizeof(map), img_place(SIZE, MIB, 0)), 0);
	return m;
}

/* A session with something of everything; the medium's own allocations count
 * like the library's.
 */
static int use(struct memfile *m, struct vhd_err *e)
{
	static uint8_t buf[512];
	struct vhd *img = NULL;
	struct vhd_run r;
	int rc = img_open(m, VHD_FORMAT_AUTO, true, &img, e);

	if (rc)
		return rc;
	rc = vhd_map(img, 2048, 1, &r, e);
	if (!rc)
		rc = vhd_read(img, 0, buf, 512, e);
	if (!rc)
		rc = vhd_map_write(img, 2048, 1, &r, e);
	if (!rc)
		rc = vhd_write(img, 3 * MIB, buf, 512, e);
	if (rc)
		vhd_abandon(img);
	else
		rc = vhd_close(img, e);
	return rc;
}

static void any_allocation_of_a_session_may_fail(void **state)
{
	(void)state;
	for (int for_good = 0; for_good < 2; for_good++) {
		unsigned n = 0, refused = 0;

		do {
			struct memfile *m = mixed();
			struct vhd_err e = {0};
			int rc;

			arm(n++, for_good);
			rc = use(m, &e);
			armed = false;
			if (rc) {
				assert_refused(rc, &e, ENOMEM, VHD_WHY_NOMEM);
				refused++;
			}
			/* and then all is well */
			assert_int_equal(use(m, &e), 0);
			memfile_destroy(m);
		} while (failed);
		assert_true(refused >= 8);
	}
}

static void any_allocation_of_a_creation_may_fail(void **state)
{
	(void)state;
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = SIZE,
	};
	unsigned n = 0, refused = 0;

	do {
		struct memfile *m = memfile_create();
		struct vhd_file f = memfile_file(m);
		struct vhd_err e = {0};
		struct vhd *img;
		uint8_t one = 1;
		int rc;

		assert_int_equal(memfile_poke(m, &one, 1, 0), 0);
		arm(n++, false);
		rc = vhd_create_file(&f, &o, &img, &e);
		armed = false;
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			refused += e.why == VHD_WHY_NOMEM;
		} else {
			vhd_abandon(img);
		}
		memfile_destroy(m);
	} while (failed);
	assert_true(refused >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_allocation_of_a_session_may_fail),
		cmocka_unit_test(any_allocation_of_a_creation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
