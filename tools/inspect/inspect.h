/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd-inspect. Private to tools/.
 *
 *   view     the disk's content as a file descriptor that libblkid can read
 *   hints    where libblkid will look, for disks too large to hand over whole
 *   content  partitions and file systems, found by libblkid
 *   alloc    which bytes come from where (alloc.h)
 *   words    readers, states and notes, for people and for programs
 *   text     the report for people
 *   chain    its rows about the layers of a chain
 *   json     the report for programs
 *   map, svg the pictures (picture.h)
 */
#ifndef INSPECT_H
#define INSPECT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tools/cli/json.h"

#include "tools/cli/cli.h"
#include "vhd/vhd.h"

/* ---------------------------------------------------------------- hints -- */

struct inspect_range {
	uint64_t off_bytes;
	uint64_t len_bytes;
};

#define INSPECT_HINTS_MAX 4

/* Places outside the first and last mebibytes that a file system's probe goes
 * to, judged by its first sector: an NTFS's file table, a FAT's root
 * directory, BitLocker's metadata. Relative to the file system's start; not
 * checked against its size. Returns how many.
 */
unsigned inspect_hints(const uint8_t sector[512],
		       struct inspect_range hints[INSPECT_HINTS_MAX]);

/* ----------------------------------------------------------------- view -- */

/* The disk as a file. A raw or fixed image is its own file; for the others a
 * sparse one in memory receives the parts asked for, up to a bound.
 */
struct inspect_view {
	struct vhd *img;
	uint64_t size_bytes;
	int fd;
	bool copied;         /* the fd is ours and must be filled */
	bool whole;          /* all there is has been copied */
	uint64_t left_bytes; /* how much may still be copied */
	bool truncated;      /* the bound was met */
};

int inspect_view_open(struct inspect_view *view, struct vhd *img,
		      const char *path, struct vhd_err *err);
void inspect_view_close(struct inspect_view *view);

/* Have the given part of the disk in the file, as far as the disk goes. */
int inspect_view_want(struct inspect_view *view, uint64_t off_bytes,
		      uint64_t len_bytes, struct vhd_err *err);

/* -------------------------------------------------------------- content -- */

#define INSPECT_PARTS_MAX 256
#define INSPECT_NAME 96

struct inspect_fs {
	char type[32];   /* "" when none was found */
	char version[32];
	char label[INSPECT_NAME];
	char uuid[INSPECT_NAME];
	bool ambiguous;  /* traces of more than one */
};

struct inspect_part {
	int number;
	uint64_t off_bytes;
	uint64_t len_bytes;
	char type[INSPECT_NAME]; /* GUID, or hex of the type byte */
	char name[INSPECT_NAME];
	char uuid[INSPECT_NAME];
	bool past_end;           /* does not fit the disk */
	struct inspect_fs fs;
};

struct inspect_content {
	bool looked;         /* false: not possible, see `err` */
	char table[16];      /* "gpt", "dos", ...; "" when there is none */
	char table_id[INSPECT_NAME];
	struct inspect_fs fs; /* on the disk itself, without a table */
	unsigned part_count;
	unsigned part_more;  /* found, but more than are kept */
	bool truncated;      /* not all places could be looked at */
	struct vhd_err err;
	struct inspect_part parts[INSPECT_PARTS_MAX];
};

/* Never fails as a whole: what could not be found out is told in `content`. */
void inspect_content_find(struct inspect_content *content, struct vhd *img,
			  const char *path);

/* --------------------------------------------------------------- report -- */

struct inspect_alloc;

struct inspect_report {
	const char *path;
	struct stat st;
	struct vhd *img;          /* NULL: nothing can be shown */
	const struct vhd_info *info;
	struct vhd_err fault;     /* why it is refused; NONE: it is not */
	struct inspect_content *content; /* NULL: not looked at */
	const struct inspect_alloc *alloc; /* NULL: not counted */
	const char *parent_dir;   /* where parents were looked for, or NULL */
	char *parent_dir_own;     /* to be freed */
};

/* words.c */
const char *inspect_footer_word(enum vhd_footer_state state);
const char *inspect_note_name(enum vhd_note note);
bool inspect_is_vhd(const struct vhd_info *info);
bool inspect_has_blocks(const struct vhd_info *info);
/* Programs that trust the geometry and so show another size; "" for none. */
const char *inspect_chs_readers(const struct vhd_info *info);
/* What a partition's type means, or NULL. */
const char *inspect_part_type(const char *table, const char *type);

#define INSPECT_LABEL_COLUMNS 15
/* row.c: one row of the report for people. */
__attribute__((format(printf, 3, 4))) void
inspect_row(FILE *out, const char *label, const char *fmt, ...);
void inspect_chain_rows(FILE *out, const struct inspect_report *r);
struct json_object *inspect_chain_json(const struct inspect_report *r);
struct json_object *inspect_alloc_json(const struct inspect_alloc *a);
struct json_object *inspect_id_json(const uint8_t id[16]);
struct json_object *inspect_blocks_json(const struct vhd_info *info);
/* Whether it is a differencing disk with all its parents, or without one. */
bool inspect_chain_whole(const struct inspect_report *r);
bool inspect_chain_broken(const struct inspect_report *r);

void inspect_text(const struct inspect_report *r, FILE *out);
struct json_object *inspect_json(const struct inspect_report *r);

#endif
