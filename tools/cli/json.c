/* SPDX-License-Identifier: BSD-2-Clause */
/* See json.h. json-c says that memory is missing by NULL, which is its null as
 * well, and aborts where something is added to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static bool lost;

static struct json_object *kept(struct json_object *made)
{
	if (!made)
		lost = true;
	return made;
}

struct json_object *cli_json_object(void)
{
	return kept(json_object_new_object());
}

struct json_object *cli_json_array(void)
{
	return kept(json_object_new_array());
}

struct json_object *cli_json_number(uint64_t n)
{
	return kept(json_object_new_uint64(n));
}

struct json_object *cli_json_real(double n)
{
	return kept(json_object_new_double(n));
}

struct json_object *cli_json_bool(bool yes)
{
	return kept(json_object_new_boolean(yes));
}

struct json_object *cli_json_string(const char *text)
{
	return kept(json_object_new_string(text));
}

struct json_object *cli_json_text(const char *text)
{
	struct json_object *value = NULL;
	char *clean;

	if (!text)
		return NULL;
	clean = strdup(text);
	if (clean) {
		cli_text_clean(clean);
		value = json_object_new_string(clean);
	}
	free(clean);
	return kept(value);
}

void cli_json_put(struct json_object *o, const char *key,
		  struct json_object *value)
{
	if (o && !json_object_object_add(o, key, value))
		return;
	lost = true;
	json_object_put(value);
}

void cli_json_add(struct json_object *array, struct json_object *value)
{
	if (array && !json_object_array_add(array, value))
		return;
	lost = true;
	json_object_put(value);
}

size_t cli_json_count(const struct json_object *array)
{
	return json_object_is_type(array, json_type_array)
		       ? json_object_array_length(array)
		       : 0;
}

struct json_object *cli_json_get(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	(void)json_object_object_get_ex(o, key, &v);
	return v;
}

const char *cli_json_at(struct json_object *array, size_t i)
{
	const char *text = json_object_get_string(
		json_object_array_get_idx(array, i));

	return text ? text : "";
}

bool cli_json_lost(void)
{
	return lost;
}

/* Where json-c has no memory for some of a text it leaves that out. */
static bool is_whole(struct json_object *value, const char *text)
{
	struct json_object *back = text ? json_tokener_parse(text) : NULL;
	bool whole = text && json_object_equal(value, back);

	json_object_put(back);
	return whole;
}

const char *cli_json_print(struct json_object *value, int flags)
{
	const char *text;

	if (lost)
		return NULL;
	text = json_object_to_json_string_ext(value, flags);
	if (is_whole(value, text))
		return text;
	lost = true;
	return NULL;
}

void cli_json_print_text(const char *text)
{
	struct json_object *o = text ? cli_json_string(text) : NULL;
	const char *quoted =
		o ? cli_json_print(o, JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;

	fputs(quoted ? quoted : "null", stdout);
	json_object_put(o);
}

int cli_json_end(const char *prog, struct json_object *root, int status)
{
	const int flags = JSON_C_TO_STRING_PRETTY |
			  JSON_C_TO_STRING_NOSLASHESCAPE;
	const char *text = root ? cli_json_print(root, flags) : NULL;

	if (text)
		puts(text);
	json_object_put(root);
	if (lost) {
		/* unless something was said already */
		if (status < CLI_REFUSED)
			cli_tell("%s: out of memory: free some memory\n", prog);
		return CLI_IO;
	}
	if (fflush(stdout) || ferror(stdout)) {
		cli_tell("%s: standard output: %s\n", prog, strerror(errno));
		return CLI_IO;
	}
	return status;
}
