/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports for programs, as json-c objects. Whoever makes one need not ask
 * whether there was memory for each of its parts: what could not be made is
 * remembered, nothing is added to it or lost with it, and cli_json_end prints
 * a whole report or none.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <json-c/json.h>

#include "cli.h"

/* The caller owns what these return; NULL where there is no memory. */
struct json_object *cli_json_object(void);
struct json_object *cli_json_array(void);
struct json_object *cli_json_number(uint64_t n);
struct json_object *cli_json_real(double n);
struct json_object *cli_json_bool(bool yes);
/* As it is; and foreign, with what is no UTF-8 replaced, NULL becoming null. */
struct json_object *cli_json_string(const char *text);
struct json_object *cli_json_text(const char *text);

/* Take `value`, which may be NULL: null. */
void cli_json_put(struct json_object *o, const char *key,
		  struct json_object *value);
void cli_json_add(struct json_object *array, struct json_object *value);

/* What an object has at `key`, borrowed; NULL: nothing. */
struct json_object *cli_json_get(struct json_object *o, const char *key);

/* 0 of what is no array: an answer may come from a guest's hv. */
size_t cli_json_count(const struct json_object *array);
/* A text of the array. */
const char *cli_json_at(struct json_object *array, size_t i);

/* Something could not be made since the program began. */
bool cli_json_lost(void);

/* As text, valid as long as the value; NULL where there is no memory. */
const char *cli_json_print(struct json_object *value, int flags);

/* A text with its quotes, or null, to standard output; where there is no memory
 * null, and the end tells.
 */
void cli_json_print_text(const char *text);

/* The end of a program: print `root`, unless it is NULL, take it, and see that
 * standard output has everything. Returns `status`, or CLI_IO after saying why
 * not.
 */
int cli_json_end(const char *prog, struct json_object *root, int status);

#endif
