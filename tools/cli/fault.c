/* SPDX-License-Identifier: BSD-2-Clause */
/* Failures as people and programs see them: one line on stderr, one exit
 * code, one stable word a reason, and what to do about it. One table holds
 * all four views, indexed by the library's reasons.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

struct fault {
	const char *name;
	enum cli_exit exit;
	const char *advice; /* "" where the text says all there is */
};

static const char damaged[] = "restore a good copy";
static const char misnamed[] = "restore a good copy, or name another type";

static const struct fault faults[VHD_WHY_COUNT] = {
	[VHD_WHY_NONE] = { "none", CLI_IO, "" },
	[VHD_WHY_ARGUMENT] = { "argument", CLI_USAGE, "choose another" },
	[VHD_WHY_NOMEM] = { "no-memory", CLI_IO, "free some memory" },
	[VHD_WHY_SYSTEM] = { "system", CLI_IO, "" },
	[VHD_WHY_IO] = { "io", CLI_IO, "check the disk it is on" },
	[VHD_WHY_SHORT_IO] = { "short-io", CLI_REFUSED,
			       "the file was cut short; restore a good copy" },
	[VHD_WHY_NO_SPACE] = { "no-space", CLI_IO,
			       "free some space or choose another place" },
	[VHD_WHY_LOCKED] = { "locked", CLI_REFUSED, "" }, /* text has it */
	[VHD_WHY_NOT_FILE] = { "not-a-file", CLI_REFUSED,
			       "name an image file" },
	[VHD_WHY_READ_ONLY] = { "read-only", CLI_REFUSED, "" },
	[VHD_WHY_POISONED] = { "poisoned", CLI_IO, "check the disk it is on" },
	[VHD_WHY_RANGE] = { "range", CLI_REFUSED, "" },
	[VHD_WHY_UNSUPPORTED] = { "unsupported", CLI_REFUSED, "" },
	[VHD_WHY_CANCELLED] = { "cancelled", CLI_IO, "run it again" },
	[VHD_WHY_SERVER] = { "server", CLI_REFUSED,
			     "check the server and the URI" },

	[VHD_WHY_TOO_SMALL] = { "too-small", CLI_REFUSED, misnamed },
	[VHD_WHY_NOT_VHD] = { "not-vhd", CLI_REFUSED, misnamed },
	[VHD_WHY_IS_VHDX] = { "vhdx", CLI_REFUSED, "" },
	[VHD_WHY_POISON_COOKIE] = { "poison-cookie", CLI_REFUSED, "" },
	[VHD_WHY_FOOTER_CHECKSUM] = { "footer-checksum", CLI_REFUSED, damaged },
	[VHD_WHY_FOOTER_VERSION] = { "footer-version", CLI_REFUSED, damaged },
	[VHD_WHY_FOOTER_TYPE] = { "footer-type", CLI_REFUSED, damaged },
	[VHD_WHY_SIZE_ZERO] = { "size-zero", CLI_REFUSED,
				"there is no disk in it" },
	[VHD_WHY_SIZE_ALIGN] = { "size-align", CLI_REFUSED, "" }, /* text */
	[VHD_WHY_SIZE_LIMIT] = { "size-limit", CLI_REFUSED,
				 "choose a type that reaches as far" },
	[VHD_WHY_FIXED_LENGTH] = { "fixed-length", CLI_REFUSED, damaged },
	[VHD_WHY_TYPE_MISMATCH] = { "type-mismatch", CLI_REFUSED,
				    "name the type it is" },
	[VHD_WHY_DATA_OFFSET] = { "data-offset", CLI_REFUSED, damaged },
	[VHD_WHY_HEADER_COOKIE] = { "header-cookie", CLI_REFUSED, damaged },
	[VHD_WHY_HEADER_CHECKSUM] = { "header-checksum", CLI_REFUSED, damaged },
	[VHD_WHY_HEADER_VERSION] = { "header-version", CLI_REFUSED, damaged },
	[VHD_WHY_BLOCK_SIZE] = { "block-size", CLI_REFUSED, damaged },
	[VHD_WHY_TABLE_OFFSET] = { "table-offset", CLI_REFUSED, damaged },
	[VHD_WHY_TABLE_ENTRIES] = { "table-entries", CLI_REFUSED, damaged },
	[VHD_WHY_TABLE_SHORT] = { "table-short", CLI_REFUSED, damaged },
	[VHD_WHY_TABLE_PAST_END] = { "table-past-end", CLI_REFUSED, damaged },
	[VHD_WHY_BAT_IN_METADATA] = { "bat-in-metadata", CLI_REFUSED, damaged },
	[VHD_WHY_BAT_PAST_END] = { "bat-past-end", CLI_REFUSED, damaged },
	[VHD_WHY_BAT_DUPLICATE] = { "bat-duplicate", CLI_REFUSED, damaged },
	[VHD_WHY_BAT_OVERLAP] = { "bat-overlap", CLI_REFUSED, damaged },
	[VHD_WHY_NEEDS_PARENT] = { "needs-parent", CLI_REFUSED,
				   "let its parents be looked for" },
	[VHD_WHY_READ_ONLY_LAYOUT] = { "read-only-layout", CLI_REFUSED,
				       "or convert it to a new image" },
	[VHD_WHY_UNDO_FILE] = { "undo-file", CLI_REFUSED,
				"name the file that --undo made" },
	[VHD_WHY_UNDO_MISMATCH] = { "undo-mismatch", CLI_REFUSED,
				    "--force applies it nevertheless" },

	[VHD_WHY_PARENT_MISSING] = { "parent-missing", CLI_REFUSED,
				     "put it there, or name a directory above "
				     "both with --parent-dir" },
	[VHD_WHY_PARENT_ID] = { "parent-id", CLI_REFUSED,
				"put the parent it was made on there" },
	[VHD_WHY_PARENT_SIZE] = { "parent-size", CLI_REFUSED,
				  "--larger-child allows a larger child, no "
				  "smaller one; or restore a good copy of the "
				  "parent" },
	[VHD_WHY_CHAIN_CYCLE] = { "chain-cycle", CLI_REFUSED, damaged },
	[VHD_WHY_LOOKS_LIKE_VHD] = { "looks-like-vhd", CLI_REFUSED,
				     "--force does it nevertheless" },
	[VHD_WHY_CHAIN_DEPTH] = { "chain-depth", CLI_REFUSED,
				  "merge some of its layers first" },
	[VHD_WHY_SAVED_STATE] = { "saved-state", CLI_REFUSED,
				  "resume and shut down the machine first" },
	[VHD_WHY_SHRINK] = { "shrink", CLI_REFUSED, "--shrink allows it" },
	[VHD_WHY_DATA_BEHIND] = { "data-behind", CLI_REFUSED,
				  "--force gives it up" },
	[VHD_WHY_PARENT_RAW] = { "parent-raw", CLI_REFUSED,
				 "--raw-parent allows it" },
	[VHD_WHY_SPLIT_SET] = { "split-set", CLI_REFUSED, "" }, /* text */
	[VHD_WHY_PACKED] = { "packed", CLI_REFUSED, damaged },

	[VHD_WHY_KERNEL_FORMAT] = { "kernel-format", CLI_REFUSED,
				    "name a bzImage such as /boot/vmlinuz" },
	[VHD_WHY_KERNEL_OLD] = { "kernel-old", CLI_REFUSED,
				 "use a newer kernel" },
	[VHD_WHY_KERNEL_FIT] = { "kernel-fit", CLI_REFUSED,
				 "give the guest more memory" },
};

/* What the caller asked for, not what a file says: nothing is damaged. */
static const struct {
	enum vhd_why why;
	const char *advice;
} asked_faults[] = {
	{ VHD_WHY_SIZE_ZERO, "choose a size" },
	{ VHD_WHY_SIZE_ALIGN, "choose whole sectors" },
	{ VHD_WHY_BLOCK_SIZE, "choose another block size" },
	{ VHD_WHY_TABLE_ENTRIES, "choose a larger block size" },
};

/* The library cuts a path in its texts after this many bytes. */
#define TEXT_PATH_MAX 80

static const struct fault unknown = { "unknown", CLI_IO, "" };

/* System calls fail for the caller's reasons or for the machine's. */
static const struct system_fault {
	int code;
	enum cli_exit exit;
	const char *advice;
} system_faults[] = {
	{ ENOENT, CLI_REFUSED, "check the name" },
	{ ENOTDIR, CLI_REFUSED, "check the name" },
	{ ENAMETOOLONG, CLI_REFUSED, "use a shorter name" },
	{ ELOOP, CLI_REFUSED, "check the symbolic links" },
	{ EISDIR, CLI_REFUSED, "name an image file" },
	{ EEXIST, CLI_REFUSED,
	  "use --force to replace it, or choose another name" },
	{ EACCES, CLI_REFUSED, "check its permissions" },
	{ EPERM, CLI_REFUSED, "check its permissions" },
	{ EROFS, CLI_REFUSED, "choose another place" },
	{ ETXTBSY, CLI_REFUSED, "it is a program that runs" },
	{ EBUSY, CLI_REFUSED, "end the program that uses it first" },
	{ ENODEV, CLI_REFUSED, "name an image file" },
	{ ENXIO, CLI_REFUSED, "name an image file" },
	{ ENOSPC, CLI_IO, "free some space or choose another place" },
	{ EDQUOT, CLI_IO, "free some space or choose another place" },
	{ EFBIG, CLI_IO, "raise the file size limit or choose another place" },
	{ ENOMEM, CLI_IO, "free some memory" },
	{ EMFILE, CLI_IO, "raise the limit of open files" },
	{ ENFILE, CLI_IO, "close some files" },
	{ EIO, CLI_IO, "check the disk it is on" },
};

static const struct fault *fault_of(enum vhd_why why)
{
	if ((unsigned)why < VHD_WHY_COUNT && faults[why].name)
		return &faults[why];
	return &unknown;
}

/* The errno is the better witness where the reason is no more than "the
 * system said so", or a full disk of either kind.
 */
static const struct system_fault *system_of(const struct vhd_err *err)
{
	bool file_limit = err->why == VHD_WHY_NO_SPACE && err->code == -EFBIG;

	if (err->why != VHD_WHY_SYSTEM && !file_limit)
		return NULL;
	for (size_t i = 0; i < sizeof(system_faults) / sizeof(system_faults[0]);
	     i++)
		if (system_faults[i].code == -err->code)
			return &system_faults[i];
	return NULL;
}

static const char *asked_of(const struct vhd_err *err)
{
	if (err->code != -EINVAL)
		return NULL;
	for (size_t i = 0; i < sizeof(asked_faults) / sizeof(asked_faults[0]);
	     i++)
		if (asked_faults[i].why == err->why)
			return asked_faults[i].advice;
	return NULL;
}

const char *cli_why_name(enum vhd_why why)
{
	return fault_of(why)->name;
}

const char *cli_advice(const struct vhd_err *err)
{
	const struct system_fault *s = system_of(err);
	const char *asked = asked_of(err);

	if (asked)
		return asked;
	return s ? s->advice : fault_of(err->why)->advice;
}

int cli_exit_code(const struct vhd_err *err)
{
	const struct system_fault *s = system_of(err);

	return (int)(s ? s->exit : fault_of(err->why)->exit);
}

/* The path as a word of the text, not as a part of another. */
static char *path_in(char *text, const char *path)
{
	size_t len = strlen(path);

	for (char *at = text; (at = strstr(at, path)); at++)
		if ((at == text || at[-1] == ' ') &&
		    (!at[len] || strchr(" :;,", at[len])))
			return at;
	return NULL;
}

void cli_strip_path(struct vhd_err *err, const char *path)
{
	char known[TEXT_PATH_MAX + 1];
	char *at, *after;

	snprintf(known, sizeof(known), "%s", path);
	at = *known ? path_in(err->text, known) : NULL;
	if (!at)
		return;
	after = at + strlen(known);
	if (*after == ' ')
		after++;
	else if (at > err->text && at[-1] == ' ')
		at--;
	memmove(at, after, strlen(after) + 1);
}

void cli_tell(const char *fmt, ...)
{
	char line[2 * PATH_MAX];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	n = strlen(line);
	if (n && line[n - 1] == '\n')
		line[n - 1] = '\0';
	cli_text_clean(line);
	fprintf(stderr, "%s\n", line);
}

int cli_fail(const char *prog, const char *path, const struct vhd_err *fault)
{
	struct vhd_err stripped = *fault;
	const struct vhd_err *err = &stripped;
	const char *advice = cli_advice(err);

	char shown[PATH_MAX];

	fprintf(stderr, "%s: ", prog);
	if (path) {
		/* A name can hold anything: it stays on its line, as text. */
		snprintf(shown, sizeof(shown), "%s", path);
		cli_text_clean(shown);
		fprintf(stderr, "%s: ", shown);
		cli_strip_path(&stripped, path);
	}
	cli_text_clean(stripped.text);
	fputs(err->text, stderr);
	/* Most texts name the offset among their own words. */
	if (err->at_bytes && !strstr(err->text, "offset"))
		fprintf(stderr, " (at offset %" PRIu64 ")", err->at_bytes);
	fprintf(stderr, "%s%s\n", *advice ? ": " : "", advice);
	return cli_exit_code(err);
}

int cli_usage(const char *prog, const char *fmt, ...)
{
	char text[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_tell("%s: %s: see %s --help\n", prog, text, prog);
	return CLI_USAGE;
}
