/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs of `vhd`: one file each, one row each in vhd.c's table. They share
 * the words of their options and the way they end. Private to tools/.
 */
#ifndef VERB_H
#define VERB_H

#include <limits.h>

#include "tools/cli/cli.h"
#include "tools/cli/json.h"
#include "vhd/vhd.h"

/* Each runs one command line, of which argv[0] is not looked at, and returns
 * the exit code. `prog` is what lines to the user begin with.
 */
int verb_bench(const char *prog, int argc, char **argv);
int verb_check(const char *prog, int argc, char **argv);
int verb_compact(const char *prog, int argc, char **argv);
int verb_compare(const char *prog, int argc, char **argv);
int verb_create(const char *prog, int argc, char **argv);
int verb_diff(const char *prog, int argc, char **argv);
int verb_map(const char *prog, int argc, char **argv);
int verb_merge(const char *prog, int argc, char **argv);
int verb_rebase(const char *prog, int argc, char **argv);
int verb_repair(const char *prog, int argc, char **argv);
int verb_resize(const char *prog, int argc, char **argv);
int verb_set(const char *prog, int argc, char **argv);
int verb_snapshot(const char *prog, int argc, char **argv);
int verb_serve(const char *prog, int argc, char **argv);
int verb_unmount(const char *prog, int argc, char **argv);

/* --------------------------------------------------------------- words -- */

/* Words of an option's argument. Each returns CLI_OK, or CLI_USAGE after
 * saying what is allowed.
 */
int verb_format(const char *prog, const char *option, const char *text,
		bool raw, enum vhd_format *out);
int verb_target(const char *prog, const char *text, enum vhd_target *out);
int verb_size(const char *prog, const char *option, const char *text,
	      uint64_t *out);
/* --block-size: a power of two from 4 KiB to 256 MiB. */
int verb_block_size(const char *prog, const char *text, uint32_t *out);

/* A random id as Windows writes them: the version is in the high half of byte
 * 7.
 */
int verb_new_id(uint8_t id[16], struct vhd_err *err);

/* A path as it may be printed: on its line, and no escape sequences. Returns
 * `buf`, which holds VERB_SHOWN_BYTES.
 */
#define VERB_SHOWN_BYTES PATH_MAX
const char *verb_shown(const char *path, char *buf);

/* --------------------------------------------------------------- stop -- */

/* From here on SIGINT, SIGTERM and SIGHUP, where nobody ignores them, are only
 * noted; end by what was noted once nothing is left to be done.
 */
void verb_stop_watch(void);
bool verb_stopped(void);
void verb_stop_end(void);

/* ------------------------------------------------------------- parents -- */

/* Where the parents of differencing disks may be: the options --parent-dir
 * and --no-parent.
 */
struct verb_parents {
	const char *dir; /* as given, or NULL */
	bool none;
	char *own; /* of the last path asked about; owned */
};

/* For vhd_open_opts.parent_dir: valid until the next call or the end. */
const char *verb_parent_dir(struct verb_parents *p, const char *path);
void verb_parents_fini(struct verb_parents *p);
/* Both options given: CLI_USAGE, after saying so; else CLI_OK. */
int verb_parents_check(const char *prog, const struct verb_parents *p);

/* ---------------------------------------------------------------- JSON -- */

/* Text may be foreign; what is no UTF-8 is replaced. NULL becomes null. */
void verb_put_text(struct json_object *o, const char *key, const char *text);
void verb_put_number(struct json_object *o, const char *key, uint64_t n);
void verb_put_bool(struct json_object *o, const char *key, bool yes);
/* "0xC03A000A", or null for 0. */
void verb_put_hresult(struct json_object *o, uint32_t hresult);

#endif
