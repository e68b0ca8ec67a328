/* SPDX-License-Identifier: BSD-2-Clause */
/* Split sets; see split.h. A set is a medium of its own over the files of its
 * parts, so that everything above reads it like one file. What the name
 * suggests must be borne out: no footer at the first part's end, one at the
 * last part's, sizes that fit, and the same disk at both ends.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "fail.h"
#include "format.h"
#include "split.h"

#define SUFFIX_LEN 4u /* ".vhd", ".v01" */

struct part {
	struct vhd_file file;
	uint64_t start_bytes;
	uint64_t len_bytes;
};

struct split {
	struct part part[VHD_SPLIT_PARTS_MAX];
	unsigned count;
	uint64_t len_bytes;
};

/* ---------------------------------------------------------- the medium -- */

static ssize_t split_pread(void *state, void *buf, size_t len, uint64_t off)
{
	const struct split *s = state;

	for (unsigned i = 0; i < s->count; i++) {
		const struct part *p = &s->part[i];
		uint64_t in = off - p->start_bytes;

		if (off < p->start_bytes || in >= p->len_bytes)
			continue;
		if (len > p->len_bytes - in)
			len = (size_t)(p->len_bytes - in);
		return p->file.ops->pread(p->file.state, buf, len, in);
	}
	return 0;
}

static ssize_t split_pwrite(void *state, const void *buf, size_t len,
			    uint64_t off)
{
	(void)state;
	(void)buf;
	(void)len;
	(void)off;
	return -EROFS;
}

static int split_flush(void *state)
{
	(void)state;
	return 0;
}

static int split_zero(void *state, uint64_t off, uint64_t len)
{
	(void)state;
	(void)off;
	(void)len;
	return -EROFS;
}

static int split_truncate(void *state, uint64_t len)
{
	(void)state;
	(void)len;
	return -EROFS;
}

static int split_size(void *state, uint64_t *len)
{
	*len = ((const struct split *)state)->len_bytes;
	return 0;
}

/* Parts other than the first; that one is whoever opened it. */
static void close_others(struct split *s)
{
	for (unsigned i = 1; i < s->count; i++)
		vhd_file_close(&s->part[i].file);
}

static int split_close(void *state)
{
	struct split *s = state;

	close_others(s);
	vhd_file_close(&s->part[0].file);
	free(s);
	return 0;
}

static const struct vhd_file_ops split_ops = {
	.name = "split",
	.pread = split_pread,
	.pwrite = split_pwrite,
	.flush = split_flush,
	.zero = split_zero,
	.truncate = split_truncate,
	.size = split_size,
	.close = split_close,
};

unsigned vhd_split_parts(const struct vhd_file *f)
{
	return f->ops == &split_ops ? ((const struct split *)f->state)->count
				    : 1;
}

/* ------------------------------------------------------------ footers -- */

/* The footer that ends at `end_bytes` of the file, of 512 bytes or, from
 * before Virtual PC 2004, 511. `*at_bytes` is where it begins.
 */
static int footer_at(const struct vhd_file *f, uint64_t end_bytes,
		     struct vhd_footer *ft, enum vhd_mark *mark,
		     uint64_t *at_bytes, struct vhd_err *err)
{
	struct vhd_footer_wire w;
	int rc;

	*mark = VHD_MARK_NONE;
	for (unsigned len = VHD_FOOTER_BYTES;
	     len >= VHD_FOOTER_511_BYTES && *mark == VHD_MARK_NONE; len--) {
		if (end_bytes < len)
			continue;
		memset(&w, 0, sizeof(w));
		*at_bytes = end_bytes - len;
		rc = vhd_file_read(f, &w, len, *at_bytes, err);
		if (rc)
			return rc;
		*mark = vhd_footer_mark(&w);
		vhd_footer_decode(&w, ft);
	}
	return 0;
}

/* At either end of one file: is it an image by itself? */
static int whole(const struct vhd_file *f, bool *yes, struct vhd_err *err)
{
	struct vhd_footer end, copy;
	enum vhd_mark mark, copy_mark = VHD_MARK_NONE;
	uint64_t len, at, copy_at;
	int rc = vhd_file_size(f, &len, err);

	*yes = false;
	if (!rc)
		rc = footer_at(f, len, &end, &mark, &at, err);
	if (rc || mark == VHD_MARK_NONE)
		return rc;
	if (end.type == VHD_WIRE_FIXED) {
		*yes = end.current_size_bytes == at;
		return 0;
	}
	rc = footer_at(f, VHD_FOOTER_BYTES, &copy, &copy_mark, &copy_at, err);
	*yes = copy_mark != VHD_MARK_NONE;
	return rc;
}

/* --------------------------------------------------------------- names -- */

/* What a name's suffix says: 0 the first part, 1.. a further one, -1 none. */
static int suffix_number(const char *name)
{
	size_t n = strlen(name);
	const char *s = name + n - SUFFIX_LEN;

	if (n <= SUFFIX_LEN || s[0] != '.' || (s[1] | 0x20) != 'v')
		return -1;
	if ((s[2] | 0x20) == 'h' && (s[3] | 0x20) == 'd')
		return 0;
	if (!isdigit((unsigned char)s[2]) || !isdigit((unsigned char)s[3]))
		return -1;
	return (s[2] - '0') * 10 + (s[3] - '0');
}

/* The same name with another suffix, upper case as `v` was. */
static void suffix_set(char *name, unsigned number, bool first)
{
	char *s = name + strlen(name) - SUFFIX_LEN;
	bool upper = s[1] == 'V';

	if (first) {
		memcpy(s, upper ? ".VHD" : ".vhd", SUFFIX_LEN);
		return;
	}
	s[2] = (char)('0' + number / 10);
	s[3] = (char)('0' + number % 10);
}

static const char *base(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

/* ------------------------------------------------------------- the set -- */

struct gather {
	const struct vhd_split_dir *dir;
	char *name; /* of the part at hand */
	struct split *s;
};

/* Open part `number`; `*there` is false where it does not exist. */
static int part_open(struct gather *g, unsigned number, struct vhd_file *f,
		     bool *there, struct vhd_err *err)
{
	struct vhd_err fault;
	int rc;

	suffix_set(g->name, number, number == 0);
	rc = g->dir->open(g->dir->ctx, g->name, f, &fault);
	*there = rc == 0;
	if (rc == -ENOENT)
		return 0;
	if (rc && err)
		*err = fault;
	return rc;
}

static int add(struct gather *g, const struct vhd_file *f, struct vhd_err *err)
{
	struct part *p = &g->s->part[g->s->count];
	int rc = vhd_file_size(f, &p->len_bytes, err);

	if (rc)
		return rc;
	p->file = *f;
	p->start_bytes = g->s->len_bytes;
	g->s->count++;
	if (add_ovf(g->s->len_bytes, p->len_bytes, &g->s->len_bytes))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
				"the parts of this split set are too large");
	return 0;
}

/* A part behind a gap: the numbers say that one is lost. */
static int gap_check(struct gather *g, unsigned missing, struct vhd_err *err)
{
	char lost[16];
	bool there = false;
	struct vhd_file f;
	int rc = 0;

	suffix_set(g->name, missing, false);
	memcpy(lost, g->name + strlen(g->name) - SUFFIX_LEN, SUFFIX_LEN + 1);
	for (unsigned n = missing + 1; n < VHD_SPLIT_PARTS_MAX && !rc && !there;
	     n++)
		rc = part_open(g, n, &f, &there, err);
	if (rc || !there)
		return rc;
	vhd_file_close(&f);
	return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
			"of this split set the part %s is missing, while "
			"%.60s is there",
			lost, base(g->name));
}

/* All further parts. Leaves count at 1 where there are none. */
static int parts_open(struct gather *g, struct vhd_err *err)
{
	for (unsigned n = 1; n <= VHD_SPLIT_PARTS_MAX; n++) {
		struct vhd_file f;
		bool there;
		int rc = part_open(g, n, &f, &there, err);

		if (!rc && !there)
			return gap_check(g, n, err);
		if (!rc && n == VHD_SPLIT_PARTS_MAX)
			rc = vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
				      "a split set has at most %u parts",
				      VHD_SPLIT_PARTS_MAX);
		else if (!rc)
			rc = add(g, &f, err);
		if (rc && there)
			vhd_file_close(&f);
		if (rc)
			return rc;
	}
	return 0;
}

/* All parts but the last are of one size. */
static int sizes_check(struct gather *g, struct vhd_err *err)
{
	const struct split *s = g->s;
	uint64_t first = s->part[0].len_bytes;

	for (unsigned i = 1; i < s->count; i++) {
		uint64_t len = s->part[i].len_bytes;

		if (len == first || (i == s->count - 1 && len && len < first))
			continue;
		suffix_set(g->name, i, false);
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
				"the part %.60s has %llu bytes, the first one "
				"%llu: it was cut, or is of another set",
				base(g->name), (unsigned long long)len,
				(unsigned long long)first);
	}
	return 0;
}

static int no_end(struct gather *g, struct vhd_err *err)
{
	suffix_set(g->name, g->s->count - 1, false);
	return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
			"the part %.60s does not end with a footer: it was "
			"cut, or parts behind it are missing",
			base(g->name));
}

/* The footer behind the last part must be that of the disk which begins in
 * the first.
 */
static int ends_check(struct gather *g, const struct vhd_file *set,
		      struct vhd_err *err)
{
	struct vhd_footer end, copy;
	enum vhd_mark mark, copy_mark;
	uint64_t at, copy_at;
	int rc = footer_at(set, g->s->len_bytes, &end, &mark, &at, err);

	if (!rc)
		rc = footer_at(set, VHD_FOOTER_BYTES, &copy, &copy_mark,
			       &copy_at, err);
	if (rc)
		return rc;
	if (mark == VHD_MARK_NONE)
		return no_end(g, err);
	if (end.type == VHD_WIRE_FIXED) {
		if (end.current_size_bytes == at)
			return 0;
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
				"%u parts have %llu bytes of a fixed disk of "
				"%llu: one is missing or of another size",
				g->s->count,
				(unsigned long long)at,
				(unsigned long long)end.current_size_bytes);
	}
	suffix_set(g->name, g->s->count - 1, false);
	if (copy_mark != VHD_MARK_NONE &&
	    memcmp(end.unique_id, copy.unique_id, sizeof(end.unique_id)))
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
				"the part %.60s is of another disk than the "
				"first one",
				base(g->name));
	return 0;
}

/* `f` is called NAME.vhd and is no image by itself. */
static int first_part(struct gather *g, struct vhd_file *f, bool writable,
		      struct vhd_err *err)
{
	struct vhd_file set;
	int rc;

	g->s = calloc(1, sizeof(*g->s));
	if (!g->s)
		return vhd_fail_nomem(err, sizeof(*g->s), "a split set");
	set = (struct vhd_file){
		.ops = &split_ops, .state = g->s, .fd = -1, .direct_fd = -1};
	rc = add(g, f, err);
	if (!rc)
		rc = parts_open(g, err);
	if (!rc && g->s->count > 1) {
		rc = sizes_check(g, err);
		if (!rc)
			rc = ends_check(g, &set, err);
		if (!rc && writable)
			rc = vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, 0,
				      "a split set of %u parts; open it "
				      "read-only",
				      g->s->count);
		if (!rc) {
			*f = set;
			return 0;
		}
	}
	close_others(g->s);
	free(g->s);
	return rc;
}

/* `f` is called NAME.v01 or so: a part, if NAME.vhd is the first of a set. */
static int further_part(struct gather *g, struct vhd_err *err)
{
	struct vhd_file first;
	bool there, is_whole = false;
	int rc = part_open(g, 0, &first, &there, err);

	if (rc || !there)
		return rc;
	rc = whole(&first, &is_whole, err);
	vhd_file_close(&first);
	if (rc || is_whole)
		return rc;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_SPLIT_SET, 0,
			"this is a part of a split set; open %.60s, its first "
			"one",
			base(g->name));
}

int vhd_split_gather(struct vhd_file *f, const char *name,
		     const struct vhd_split_dir *dir, bool writable,
		     struct vhd_err *err)
{
	struct gather g = {.dir = dir};
	int number = suffix_number(name);
	bool is_whole;
	int rc;

	if (number < 0)
		return 0;
	rc = whole(f, &is_whole, err);
	if (rc || is_whole)
		return rc;
	g.name = strdup(name);
	if (!g.name)
		return vhd_fail_nomem(err, strlen(name), "a name");
	rc = number ? further_part(&g, err) : first_part(&g, f, writable, err);
	free(g.name);
	return rc;
}

/* ------------------------------------------------------------- by path -- */

static int open_beside(void *ctx, const char *name, struct vhd_file *out,
		       struct vhd_err *err)
{
	const struct vhd_file_open *how = ctx;
	const struct vhd_file_open reading = {.no_lock = how->no_lock};

	return vhd_file_open(name, &reading, out, err);
}

int vhd_split_open(const char *path, const struct vhd_file_open *how,
		   struct vhd_file *out, struct vhd_err *err)
{
	const struct vhd_split_dir dir = {
		.open = open_beside,
		.ctx = (void *)(uintptr_t)how,
	};
	char *name;
	int rc = vhd_file_open(path, how, out, err);

	if (rc)
		return rc;
	/* The path may be a link, such as those below /proc/self/fd. A file
	 * that has no name any more has no other parts. Where the name cannot
	 * be learned, the parts are looked for beside the path as given.
	 */
	name = realpath(path, NULL);
	if (!name && errno == ENOENT)
		return 0;
	if (!name && errno != ENOMEM)
		name = strdup(path);
	rc = name ? vhd_split_gather(out, name, &dir, how->writable, err)
		  : vhd_fail_nomem(err, strlen(path), "a path");
	free(name);
	if (rc)
		vhd_file_close(out);
	return rc;
}
