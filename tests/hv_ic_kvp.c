/* SPDX-License-Identifier: BSD-2-Clause */
/* The integration services: values of the host's and the guest's, as Linux has
 * them in its files.
 */
#include <errno.h>

#include "tests/lib/cm.h"
#include "tests/lib/ictest.h"

/* ASCII as the guest has it, with its zero; how many bytes. */
static uint32_t wide(uint8_t *to, const char *text)
{
	uint32_t n = 0;

	do
		set16(to + n, (uint8_t)*text), n += 2;
	while (*text++);
	return n;
}

static void a_value_is_set_as_linux_reads_it(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "k\303\244se"); /* käse */
	strcpy(a.r.value, "\360\237\247\200"); /* one of two units */
	a.r.pool = HV_IC_POOL_EXTERNAL;
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	assert_int_equal(w->m[28], 1);
	assert_int_equal(w->m[29], 0);
	assert_int_equal(at32(w->m + 32), 1);  /* a text */
	assert_int_equal(at32(w->m + 36), 10); /* four units and a zero */
	assert_int_equal(at32(w->m + 40), 6);
	assert_memory_equal(w->m + 44, "k\0\344\0s\0e\0\0\0", 10);
	assert_memory_equal(w->m + 44 + 512, "\076\330\300\335\0\0", 6);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
}

static void a_value_is_read_and_one_that_is_missing_is_told(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "name");
	a.r.pool = HV_IC_POOL_GUEST;
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	assert_int_equal(w->m[28], 0);
	assert_int_equal(w->m[29], 1);
	set32(w->m + 40, wide(w->m + 44 + 512, "value"));
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
	assert_string_equal(a.r.value, "value");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	icguest_answer(w, HV_IC_KVP, 0x80070103);
	assert_int_equal(a.r.result, -ENOENT);
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	icguest_hear(w, HV_IC_KVP);
	assert_int_equal(w->m[28], 2);
	assert_int_equal(at32(w->m + 32), 10);
	assert_memory_equal(w->m + 36, "n\0a\0m\0e\0\0\0", 10);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_int_equal(a.r.result, 0);
}

static void a_pool_is_listed_to_its_end(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	a.r.pool = HV_IC_POOL_AUTO;
	for (a.r.index = 0; a.r.index < 3; a.r.index++) {
		ask(w, &a, HV_IC_OP_KVP_ENUMERATE);
		icguest_hear(w, HV_IC_KVP);
		assert_int_equal(w->m[28], 3);
		assert_int_equal(w->m[29], 2);
		assert_int_equal(at32(w->m + 32), a.r.index);
		set32(w->m + 36, 1);
		set32(w->m + 40, wide(w->m + 48, "OSName"));
		set32(w->m + 44, wide(w->m + 48 + 512, "Debian"));
		icguest_answer(w, HV_IC_KVP,
			       a.r.index == 2 ? 0x80070103 : 0);
		if (a.r.index == 2)
			break;
		assert_int_equal(a.r.result, 0);
		assert_string_equal(a.r.key, "OSName");
		assert_string_equal(a.r.value, "Debian");
	}
	assert_int_equal(a.r.result, -ENOENT);
}

static void numbers_are_shown_as_numbers(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	strcpy(a.r.key, "n");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	set32(w->m + 32, 4);
	set64(w->m + 44 + 512, UINT64_MAX);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_string_equal(a.r.value, "4294967295");
	ask(w, &a, HV_IC_OP_KVP_GET);
	icguest_hear(w, HV_IC_KVP);
	set32(w->m + 32, 8);
	set64(w->m + 44 + 512, UINT64_MAX);
	icguest_answer(w, HV_IC_KVP, 0);
	assert_string_equal(a.r.value, "18446744073709551615");
}

static void texts_have_their_limits(void **state)
{
	struct icguest *w = *state;
	static struct answered a;

	icguest_ready(w, HV_IC_KVP);
	a.r.pool = HV_IC_POOL_EXTERNAL;
	memset(a.r.key, 'k', 256);
	a.r.key[255] = '\0';
	memset(a.r.value, 'v', 1024);
	a.r.value[1023] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), 2);
	assert_int_equal(at32(w->m + 36), 512);
	assert_int_equal(at32(w->m + 40), 2048);
	icguest_answer(w, HV_IC_KVP, 0);
	a.r.value[1023] = 'v';
	a.r.value[1024] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(a.r.result, -EINVAL);
	a.r.value[0] = '\0';
	a.r.key[255] = 'k';
	a.r.key[256] = '\0';
	ask(w, &a, HV_IC_OP_KVP_SET);
	assert_int_equal(a.r.result, -EINVAL);
	a.r.key[0] = '\0';
	ask(w, &a, HV_IC_OP_KVP_GET);
	assert_int_equal(a.r.result, -EINVAL);
	strcpy(a.r.key, "\355\240\200"); /* half a pair */
	ask(w, &a, HV_IC_OP_KVP_DELETE);
	assert_int_equal(a.r.result, -EINVAL);
	assert_int_equal(icguest_hear(w, HV_IC_KVP), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IC_TEST(a_value_is_set_as_linux_reads_it),
		IC_TEST(a_value_is_read_and_one_that_is_missing_is_told),
		IC_TEST(a_pool_is_listed_to_its_end),
		IC_TEST(numbers_are_shown_as_numbers),
		IC_TEST(texts_have_their_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
