/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs share: exit codes, the one-line error, sizes, options,
 * identifiers and times, progress. Private to tools/.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vhd/err.h"

/* ---------------------------------------------------------- exit codes -- */

enum cli_exit {
	CLI_OK = 0,
	CLI_DIFFERENT = 1, /* findings, or contents that differ */
	CLI_USAGE = 2,     /* the command line makes no sense */
	CLI_REFUSED = 3,   /* the input, or the place asked for, is no good */
	CLI_IO = 4,        /* the machine failed: I/O, space, memory */
};

/* ------------------------------------------------------------- streams -- */

/* What is opened later must not become a standard stream. What takes the place
 * of a closed one, here and in programs that are run from here, cannot be read
 * or written. To be called first. False: nothing could be opened; errno says
 * why.
 */
bool cli_streams_hold(void);

/* -------------------------------------------------------------- errors -- */

/* Print the one line of a failure on stderr, "PROG: PATH: what (at offset N):
 * what to do", and return its exit code. `path` may be NULL.
 */
int cli_fail(const char *prog, const char *path, const struct vhd_err *err);

/* Take `path` out of the text, for lines that begin with it anyway:
 * "cannot open PATH: why" becomes "cannot open: why".
 */
void cli_strip_path(struct vhd_err *err, const char *path);

/* One line to standard error; `fmt` ends with a line feed. Names in it come
 * from the user or from an image: what would steer a terminal is shown as '?'.
 */
__attribute__((format(printf, 1, 2))) void cli_tell(const char *fmt, ...);

/* The same for a command line that makes no sense; returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage(const char *prog,
						    const char *fmt, ...);

/* A stable word for a reason ("bat-duplicate"), for programs. */
const char *cli_why_name(enum vhd_why why);

/* What a person can do about it, or "". */
const char *cli_advice(const struct vhd_err *err);
int cli_exit_code(const struct vhd_err *err);

/* --------------------------------------------------------------- sizes -- */

/* Read a size as people type it: decimal digits and an optional unit of
 * K M G T (or KiB MiB GiB TiB, either case), all powers of 1024. "KB" and its
 * like mean different things to different people and are refused.
 * Errors: -EINVAL when it is not a size, -ERANGE when it does not fit; then
 * `*bytes` is untouched.
 */
int cli_size_parse(const char *text, uint64_t *bytes);

/* Decimal digits and nothing else, from `min` to `max`. -EINVAL: it is no such
 * number; then `*n` is untouched.
 */
int cli_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *n);

/* A size as people read it: "512 bytes", "127 MiB", "1.5 GiB". One decimal,
 * rounded to nearest, only where the size is not a whole number of units.
 * Returns `buf`, which CLI_SIZE_TEXT bytes always suffice for.
 */
#define CLI_SIZE_TEXT 32
const char *cli_size_text(uint64_t bytes, char *buf, size_t n);

/* ------------------------------------------------------------- options -- */

/* One option. The table ends with an entry whose name is NULL; the same table
 * parses the command line and prints --help. `--help`, `--version` and
 * `--sandbox` are understood without being listed.
 */
struct cli_option {
	const char *name; /* long name without the dashes */
	int id;           /* returned by cli_options_next; above 0. A value
			   * below 127 is also its one-letter form */
	const char *arg;  /* name of its argument for the help, or NULL */
	const char *help; /* one line, or several parted by '\n' */
};

/* Options that only say yes, no or a text: where that goes. The table ends
 * with an entry whose id is 0.
 */
enum cli_set_kind { CLI_SET_TRUE, CLI_SET_FALSE, CLI_SET_TEXT };

struct cli_set {
	int id;
	enum cli_set_kind kind;
	size_t at; /* of a bool or a const char *, in cli_options.into */
};

/* No other types compile. */
#define CLI_AT_(type, field, of)                                              \
	_Generic(((type *)0)->field, of: offsetof(type, field))
#define CLI_SETS(type, field)	CLI_SET_TRUE, CLI_AT_(type, field, bool)
#define CLI_CLEARS(type, field) CLI_SET_FALSE, CLI_AT_(type, field, bool)
#define CLI_TAKES(type, field)	CLI_SET_TEXT, CLI_AT_(type, field, const char *)

struct cli_options {
	const char *prog;
	const char *usage; /* synopsis lines, each without the program name */
	const char *about; /* one sentence */
	const struct cli_option *table;
	const struct cli_set *sets; /* may be NULL, as may what follows */
	/* All others: CLI_OK, or the exit code to end with. */
	int (*apply)(void *into, int id, const char *value);
	void *into;
	int argc;
	char **argv;       /* argv[0] is skipped; operands move to the end */
	/* results */
	const char *value; /* argument of the option just returned */
	int first_operand; /* valid once cli_options_next returned 0 */
};

/* The next option's id; 0 after the last one; -1 when the program should end
 * with `*status`: help was printed, or a bad option was reported.
 */
int cli_options_next(struct cli_options *o, int *status);
/* All of them, by `sets` and `apply`: -1 to go on with the operands, or the
 * exit code to end with.
 */
int cli_options_all(struct cli_options *o);

/* What --sandbox said, or else the variable VHD_SANDBOX; ON by default (OFF
 * where built with a sanitizer, which calls the system behind the program's
 * back). Every program takes the option.
 */
enum cli_sandbox {
	CLI_SANDBOX_ON,          /* or refuse to run */
	CLI_SANDBOX_BEST_EFFORT, /* as far as this kernel can; says what not */
	CLI_SANDBOX_OFF,
};

enum cli_sandbox cli_sandbox_mode(void);
const char *cli_sandbox_word(void); /* as --sandbox takes it */
/* CLI_OK, or CLI_USAGE after saying which words there are: what the option
 * says; the variable.
 */
int cli_sandbox_set(const char *prog, const char *text);
int cli_sandbox_check(const char *prog);

/* ------------------------------------------------------------- parents -- */

/* Where a program looks for an image's parents unless it is told: in and
 * below the image's own directory, symbolic links to the image followed. The
 * caller frees it; NULL: the image cannot be found, or there is no memory.
 */
char *cli_parent_dir(const char *path);

/* ------------------------------------------------ identifiers and time -- */

#define CLI_ID_TEXT 40

/* 16 bytes as Windows spells them (first three groups little-endian), as
 * RFC 4122 does, and as plain hex. `buf` holds CLI_ID_TEXT bytes.
 */
const char *cli_id_windows(const uint8_t id[16], char *buf);
const char *cli_id_rfc4122(const uint8_t id[16], char *buf);
const char *cli_id_hex(const uint8_t id[16], char *buf);

/* The other way: with dashes as Windows spells them (with or without braces),
 * 32 digits without dashes as bytes. -EINVAL; then `id` is untouched.
 */
int cli_id_parse(const char *text, uint8_t id[16]);

/* "2024-11-13T17:17:10Z", or the date alone. Errors: -EINVAL; -ERANGE where 32
 * bits since 2000 do not reach.
 */
int cli_time_parse(const char *text, uint32_t *since_2000_s);

/* Seconds since 2000-01-01 UTC as "2024-11-13T17:17:10Z". */
#define CLI_TIME_TEXT 32
const char *cli_time_text(uint32_t since_2000_s, char *buf);

/* -------------------------------------------------------- foreign text -- */

/* Replace, in place, everything that is not printable UTF-8 by '?'. */
void cli_text_clean(char *text);

/* UTF-16 big-endian, up to a NUL or `src_bytes`, as clean UTF-8 cut to fit
 * `n`, which is at least 5. Halves of pairs become '?'.
 */
const char *cli_text_utf16be(const uint8_t *src, size_t src_bytes, char *buf,
			     size_t n);

/* A text that is written like a file. `text` has `len` bytes and a NUL, or is
 * NULL where nothing was written; it is valid once the stream is closed, and
 * the caller frees it.
 */
struct cli_text_stream {
	char *text;
	size_t len;
	size_t room;
};

/* NULL: no memory. The stream borrows `s`. */
FILE *cli_text_stream_open(struct cli_text_stream *s);
/* False: something is missing for want of memory. */
bool cli_text_stream_close(FILE *f);

/* ---------------------------------------------------------------- rate -- */

/* A limit on bytes a second; none where it is 0. */
struct cli_rate {
	uint64_t bytes_per_s;
	int64_t tokens; /* below 1: wait */
	int64_t at_ms;
};

void cli_rate_start(struct cli_rate *r, uint64_t bytes_per_s, int64_t now_ms);
/* 0: the next bytes may pass, however many; else how long to wait before
 * asking again.
 */
int64_t cli_rate_wait_ms(struct cli_rate *r, int64_t now_ms);
/* Bytes that passed. */
void cli_rate_take(struct cli_rate *r, uint64_t bytes);

/* ------------------------------------------------------------ progress -- */

/* One line on a terminal, rewritten a few times a second; silent where stderr
 * is not a terminal. `pos` of `total` decides the percentage, with `from` the
 * time left, `moved` bytes the rate.
 */
struct cli_progress {
	bool on;
	const char *what;
	uint64_t from;  /* where this run began; 0 unless set after starting */
	uint64_t total; /* UINT64_MAX: not known */
	int64_t start_ms;
	int64_t shown_ms;
};

void cli_progress_start(struct cli_progress *p, const char *what,
			uint64_t total, bool quiet);
void cli_progress_show(struct cli_progress *p, uint64_t pos, uint64_t moved);
/* Wipe the line. Safe to call twice. */
void cli_progress_end(struct cli_progress *p);

/* The line's text without control characters; what progress shows. */
void cli_progress_line(char *buf, size_t n, const struct cli_progress *p,
		       uint64_t pos, uint64_t moved, int64_t elapsed_ms);

int64_t cli_now_ms(void);

#endif
