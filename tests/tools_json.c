/* SPDX-License-Identifier: BSD-2-Clause */
/* Print one value of a JSON document on standard input; for tests/tools.sh.
 *
 * usage: tools_json PATH       PATH such as images.0.blocks.used
 *
 * Exit status 1: no such thing; 2: not JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

static struct json_object *step(struct json_object *o, const char *name)
{
	if (json_object_is_type(o, json_type_array))
		return json_object_array_get_idx(o, strtoul(name, NULL, 10));
	if (!json_object_is_type(o, json_type_object))
		return NULL;
	return json_object_object_get(o, name);
}

int main(int argc, char **argv)
{
	struct json_object *root, *o;
	char path[256], *save = NULL;

	if (argc != 2)
		return 2;
	root = json_object_from_fd(0);
	if (!root)
		return 2;
	snprintf(path, sizeof(path), "%s", argv[1]);
	o = root;
	for (char *name = strtok_r(path, ".", &save); name && o;
	     name = strtok_r(NULL, ".", &save))
		o = step(o, name);
	if (o)
		puts(json_object_get_string(o));
	json_object_put(root);
	return o ? 0 : 1;
}
