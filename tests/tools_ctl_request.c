/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: a request as text, and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tools/hv/ctl.h"

static int parse(const char *text, struct ctl_request *r)
{
	struct vhd_err err;

	return ctl_request_parse(text, strlen(text), r, &err);
}

static void every_request_is_the_same_written_and_read_again(void **state)
{
	static const char *const texts[] = {
		"{\"command\":\"list\"}",
		"{\"command\":\"add\",\"controller\":3,\"lun\":63,\"name\":"
		"\"/a/b.vhd\",\"read-only\":true,\"format\":\"raw\",\"direct\":"
		"false,\"pr\":true,\"unmap\":\"on\",\"sector\":4096,\"physical\":4096,\"reconnect\":0,\"answer\":4294967295}",
		"{\"command\":\"remove\",\"controller\":0,\"lun\":1,\"now\":"
		"true}",
		"{\"command\":\"resize\",\"controller\":0,\"lun\":1,\"by\":"
		"false,\"size\":4611686018427387904}",
		"{\"command\":\"resume\",\"controller\":0,\"lun\":0}",
		"{\"command\":\"limit\",\"controller\":0,\"lun\":0,\"iops\":"
		"500,\"depth\":0,\"on-error\":\"pause\"}",
		"{\"command\":\"stats\",\"controller\":1,\"lun\":2}",
		"{\"command\":\"info\"}",
		"{\"command\":\"shutdown\",\"force\":true,\"wait\":false}",
		"{\"command\":\"reboot\",\"force\":false}",
		"{\"command\":\"kill\"}",
		"{\"command\":\"pause\"}",
		"{\"command\":\"continue\"}",
		"{\"command\":\"time\"}",
		"{\"command\":\"freeze\",\"limit\":900,\"hold\":true}",
		"{\"command\":\"thaw\"}",
		"{\"command\":\"kvp-get\",\"pool\":\"guest\",\"key\":\"a\"}",
		"{\"command\":\"kvp-set\",\"pool\":\"external\",\"key\":"
		"\"\\n\",\"value\":\"\"}",
		"{\"command\":\"kvp-delete\",\"pool\":\"auto\",\"key\":\"b\"}",
		"{\"command\":\"kvp-enumerate\",\"pool\":\"auto-internal\","
		"\"index\":4294967295}",
		"{\"command\":\"console\",\"read-only\":true}",
		"{\"command\":\"wait\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *o;
		struct ctl_request r;

		if (parse(texts[i], &r))
			fail_msg("%s", texts[i]);
		o = ctl_request_json(&r);
		assert_string_equal(json_object_to_json_string_ext(
					    o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE),
				    texts[i]);
		json_object_put(o);
	}
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"nonsense",
		"{\"command\":\"list\"}{}",
		"{\"command\":\"list\",\"lun\":0}",
		"{\"command\":\"fly\"}",
		"{\"command\":1}",
		"{\"command\":\"remove\"}",
		"{\"command\":\"remove\",\"lun\":64}",
		"{\"command\":\"remove\",\"lun\":-1}",
		"{\"command\":\"remove\",\"lun\":1.5}",
		"{\"command\":\"remove\",\"lun\":\"1\"}",
		"{\"command\":\"remove\",\"lun\":1,\"controller\":8}",
		"{\"command\":\"remove\",\"lun\":1,\"now\":1}",
		"{\"command\":\"remove\",\"lun\":1,\"size\":1}",
		"{\"command\":\"resize\",\"lun\":1,\"size\":-1}",
		"{\"command\":\"resize\",\"lun\":1,\"size\":99999999999999999999}",
		"{\"command\":\"add\",\"lun\":1}",
		"{\"command\":\"add\",\"name\":\"\"}",
		"{\"command\":\"add\",\"name\":\"a\\u0000b\"}",
		"{\"command\":\"add\",\"name\":\"a\",\"format\":\"qcow2\"}",
		"{\"command\":\"limit\",\"lun\":1,\"iops\":10000001}",
		"{\"command\":\"limit\",\"lun\":1,\"on-error\":\"panic\"}",
		"{\"command\":[[[[[[[[]]]]]]]]}",
		"{\"command\":\"info\",\"lun\":0}",
		"{\"command\":\"pause\",\"force\":true}",
		"{\"command\":\"freeze\",\"limit\":901}",
		"{\"command\":\"freeze\",\"limit\":-1}",
		"{\"command\":\"kvp-get\"}",
		"{\"command\":\"kvp-get\",\"key\":\"\"}",
		"{\"command\":\"kvp-get\",\"key\":\"a\",\"pool\":\"mine\"}",
		"{\"command\":\"kvp-get\",\"key\":\"a\",\"value\":\"b\"}",
		"{\"command\":\"kvp-set\",\"key\":\"a\\u0000b\"}",
		"{\"command\":\"kvp-enumerate\",\"index\":4294967296}",
		"{\"command\":\"shutdown\",\"force\":1}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ctl_request r;

		if (parse(texts[i], &r) != -EINVAL)
			fail_msg("%s", texts[i]);
	}
}

static void a_key_is_as_long_as_can_be_and_no_longer(void **state)
{
	char text[2 * HV_IC_KEY_BYTES];
	struct ctl_request r;

	(void)state;
	snprintf(text, sizeof(text),
		 "{\"command\":\"kvp-get\",\"key\":\"%0*d\"}",
		 (int)HV_IC_KEY_BYTES - 1, 7);
	assert_int_equal(parse(text, &r), 0);
	assert_int_equal(strlen(r.key), HV_IC_KEY_BYTES - 1);
	snprintf(text, sizeof(text),
		 "{\"command\":\"kvp-get\",\"key\":\"%0*d\"}",
		 (int)HV_IC_KEY_BYTES, 7);
	assert_int_equal(parse(text, &r), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_request_is_the_same_written_and_read_again),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_key_is_as_long_as_can_be_and_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
