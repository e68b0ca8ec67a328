/* SPDX-License-Identifier: BSD-2-Clause */
/* Salvage: what a damaged image still gives, in the order of the disk, into a
 * new dynamic image; and a list of what it does not. Places are judged as in
 * a check. A read that fails is tried again in ever smaller pieces, so that
 * one bad sector costs one sector.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <isa-l/mem_routines.h>

#include "fail.h"
#include "salvage.h"
#include "split.h"
#include "survey.h"

#define CHUNK_BYTES	  (1u << 20)
#define SMALL_BYTES	  4096u
#define TABLE_CHUNK_BYTES 65536u

struct salvage {
	const struct vhd_salvage_opts *opts;
	struct vhd_salvage_result *result;
	struct survey s;
	struct vhd *dst;
	struct vhd *child;  /* owned; inspected, for its parents; or NULL */
	struct vhd *parent; /* the child's own */
	bool diff;
	uint32_t *bat;	 /* owned; by block, VHD_BAT_NONE for none */
	uint8_t *shared; /* owned; a bit a block: its place is disputed, or
			  * its entry could not be read */
	uint8_t *buf;	 /* owned; CHUNK_BYTES */
	uint8_t *map;	 /* owned; one bitmap */
	struct survey_hole hole;
	struct vhd_salvage_loss pending;
	bool stopped;
};

/* ------------------------------------------------------------- telling -- */

/* Tell what was gathered; see `lose`. */
static void tell_loss(struct salvage *v)
{
	struct vhd_salvage_loss loss = v->pending;

	v->pending.len_bytes = 0;
	if (loss.len_bytes && v->opts->lost && !v->stopped &&
	    v->opts->lost(v->opts->ctx, &loss))
		v->stopped = true;
}

/* Losses that follow each other are told as one. */
static void lose(struct salvage *v, uint64_t off, uint64_t len,
		 enum vhd_why why, bool doubtful)
{
	struct vhd_salvage_loss *p = &v->pending;

	if (!len)
		return;
	if (doubtful)
		v->result->doubtful_bytes += len;
	else
		v->result->lost_bytes += len;
	if (p->len_bytes && p->off_bytes + p->len_bytes == off &&
	    p->why == why && p->doubtful == doubtful) {
		p->len_bytes += len;
		return;
	}
	tell_loss(v);
	*p = (struct vhd_salvage_loss){off, len, why, doubtful};
}

static void progress(struct salvage *v, uint64_t pos)
{
	if (v->opts->progress && !v->stopped &&
	    v->opts->progress(v->opts->ctx, pos, v->s.size_bytes))
		v->stopped = true;
}

/* ------------------------------------------------------------- copying -- */

static int write_out(struct salvage *v, uint64_t off, size_t len,
		     struct vhd_err *err)
{
	if (!isal_zero_detect(v->buf, len))
		return 0;
	v->result->copied_bytes += len;
	return vhd_write(v->dst, off, v->buf, len, err);
}

static size_t min_size(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

static int copy(struct salvage *v, uint64_t at, uint64_t off, uint64_t len,
		size_t unit, struct vhd_err *err);

/* What cannot be read is tried in smaller units; a sector is lost. */
static int copy_again(struct salvage *v, uint64_t at, uint64_t off, size_t len,
		      size_t unit, const struct vhd_err *fault,
		      struct vhd_err *err)
{
	if (len > VHD_SECTOR_BYTES)
		return copy(v, at, off, len,
			    unit > SMALL_BYTES ? SMALL_BYTES : VHD_SECTOR_BYTES,
			    err);
	lose(v, off, len, fault->why, false);
	return 0;
}

/* Copy [at, at + len) of the file to `off` of the disk, at most `unit` bytes
 * at once.
 */
static int copy(struct salvage *v, uint64_t at, uint64_t off, uint64_t len,
		size_t unit, struct vhd_err *err)
{
	while (len && !v->stopped) {
		uint64_t data = survey_skip_hole(&v->s, &v->hole, at);
		size_t n = min_size(len, data > at ? data - at : unit);
		struct vhd_err fault;
		int rc = 0;

		if (data <= at) {
			rc = vhd_file_read(v->s.file, v->buf, n, at, &fault);
			rc = rc ? copy_again(v, at, off, n, unit, &fault, err)
				: write_out(v, off, n, err);
		}
		if (rc)
			return rc;
		at += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* Copy [off, off + len) of the parent's disk. What it does not give is tried
 * in sectors.
 */
static int copy_parent(struct salvage *v, uint64_t off, uint64_t len,
		       struct vhd_err *err)
{
	size_t unit = CHUNK_BYTES;

	while (len && !v->stopped) {
		uint64_t run = 0;
		struct vhd_err fault;
		bool data = false;
		int rc = salvage_parent_run(v->parent, off, min_size(len, unit),
					    &data, &run, &fault);
		size_t n = rc ? min_size(len, unit) : (size_t)run;

		if (!rc && data)
			rc = vhd_read(v->parent, off, v->buf, n, &fault);
		if (rc && n > VHD_SECTOR_BYTES) {
			unit = VHD_SECTOR_BYTES;
			continue;
		}
		if (rc) {
			lose(v, off, n, fault.why, false);
		} else if (data) {
			uint64_t before = v->result->copied_bytes;

			rc = write_out(v, off, n, err);
			if (rc)
				return rc;
			v->result->parent_bytes +=
				v->result->copied_bytes - before;
		}
		off += n;
		len -= n;
		if (off % CHUNK_BYTES == 0)
			unit = CHUNK_BYTES;
	}
	return 0;
}

/* What this image does not hold itself. */
static int copy_absent(struct salvage *v, uint64_t off, uint64_t len,
		       struct vhd_err *err)
{
	if (!v->diff)
		return 0;
	if (v->parent)
		return copy_parent(v, off, len, err);
	lose(v, off, len, VHD_WHY_NEEDS_PARENT, false);
	return 0;
}

/* The runs of a block that its bitmap calls valid. A bitmap that cannot be
 * read makes all of it doubtful.
 */
static int copy_runs(struct salvage *v, uint32_t block, uint64_t data_at,
		     uint64_t off, uint32_t sectors, struct vhd_err *err)
{
	struct vhd_err fault;
	bool full = true;
	int rc = survey_bitmap(&v->s, block, v->bat[block], v->map, &full,
			       &fault);

	if (rc) {
		full = true;
		lose(v, off, (uint64_t)sectors * VHD_SECTOR_BYTES, fault.why,
		     true);
	}
	if (full)
		return copy(v, data_at, off,
			    (uint64_t)sectors * VHD_SECTOR_BYTES, CHUNK_BYTES,
			    err);
	for (uint32_t in = 0; in < sectors;) {
		uint64_t skip = (uint64_t)in * VHD_SECTOR_BYTES;
		bool set;
		uint32_t n = vhd_bits_run(v->map, in, sectors, &set);

		rc = set ? copy(v, data_at + skip, off + skip,
				(uint64_t)n * VHD_SECTOR_BYTES, CHUNK_BYTES,
				err)
			 : copy_absent(v, off + skip,
				       (uint64_t)n * VHD_SECTOR_BYTES, err);
		if (rc)
			return rc;
		in += n;
	}
	return 0;
}

static int copy_block(struct salvage *v, uint32_t block, struct vhd_err *err)
{
	const struct survey *s = &v->s;
	uint64_t off = (uint64_t)block * s->header.block_size_bytes;
	uint64_t data_at =
		(uint64_t)v->bat[block] * VHD_SECTOR_BYTES + s->bitmap_bytes;
	uint32_t sectors = survey_block_sectors(s, block);
	uint64_t len = (uint64_t)sectors * VHD_SECTOR_BYTES;
	uint64_t there = len;

	switch (survey_judge(s, block, v->bat[block])) {
	case SURVEY_ENTRY_METADATA:
		lose(v, off, len, VHD_WHY_BAT_IN_METADATA, false);
		return 0;
	case SURVEY_ENTRY_PAST_END:
		lose(v, off, len, VHD_WHY_BAT_PAST_END, false);
		return 0;
	case SURVEY_ENTRY_CUT:
		there = (s->limit_bytes - data_at) & ~(uint64_t)511;
		if (there > len)
			there = len;
		break;
	case SURVEY_ENTRY_SHORT_LAST:
	case SURVEY_ENTRY_OK:
		break;
	}
	if (v->shared[block / 8] & 1u << block % 8)
		lose(v, off, there, VHD_WHY_BAT_OVERLAP, true);
	lose(v, off + there, len - there, VHD_WHY_BAT_PAST_END, false);
	return copy_runs(v, block, data_at, off,
			 (uint32_t)(there / VHD_SECTOR_BYTES), err);
}

/* ----------------------------------------------------------- the table -- */

/* A part of the table that cannot be read leaves its blocks unknown. */
static int read_table(struct salvage *v, uint32_t first, uint32_t count,
		      be32 *chunk, struct vhd_err *err)
{
	struct vhd_err fault;
	int rc = vhd_file_read(v->s.file, chunk, (size_t)count * 4,
			       survey_entry_at(&v->s, first), &fault);

	if (rc && count > VHD_BAT_SECTOR_ENTRIES) {
		for (uint32_t i = 0; i < count; i += VHD_BAT_SECTOR_ENTRIES) {
			uint32_t left = count - i;

			rc = read_table(v, first + i,
					left < VHD_BAT_SECTOR_ENTRIES
						? left
						: VHD_BAT_SECTOR_ENTRIES,
					chunk, err);
			if (rc)
				return rc;
		}
		return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t b = first + i;

		v->bat[b] = rc ? VHD_BAT_NONE : be32_get(chunk[i]);
		if (rc) /* not absent: unknown */
			v->shared[b / 8] |= (uint8_t)(1u << b % 8);
	}
	if (rc) {
		uint64_t block = v->s.header.block_size_bytes;
		uint64_t off = first * block, len = count * block;

		if (len > v->s.size_bytes - off)
			len = v->s.size_bytes - off;
		lose(v, off, len, fault.why, false);
	}
	return 0;
}

/* Blocks whose places touch may hold each other's content. */
static int find_shared(struct salvage *v, struct vhd_err *err)
{
	const struct survey *s = &v->s;
	struct survey_place *p = malloc(((size_t)s->blocks + 1) * sizeof(*p));
	uint32_t n = 0;

	if (!p)
		return vhd_fail_nomem(err, s->blocks * sizeof(*p),
				      "the block table");
	for (uint32_t b = 0; b < s->blocks; b++)
		if (v->bat[b] != VHD_BAT_NONE &&
		    survey_judge(s, b, v->bat[b]) < SURVEY_ENTRY_PAST_END)
			p[n++] = (struct survey_place){v->bat[b], b};
	survey_places_sort(p, n);
	for (uint32_t i = 1; i < n; i++) {
		if ((uint64_t)(p[i].sector - p[i - 1].sector) *
			    VHD_SECTOR_BYTES >=
		    s->stride_bytes)
			continue;
		v->shared[p[i].block / 8] |= (uint8_t)(1u << p[i].block % 8);
		v->shared[p[i - 1].block / 8] |=
			(uint8_t)(1u << p[i - 1].block % 8);
	}
	free(p);
	return 0;
}

static int load_table(struct salvage *v, struct vhd_err *err)
{
	const uint32_t step = TABLE_CHUNK_BYTES / 4;
	uint32_t blocks = v->s.blocks;
	be32 *chunk = malloc(TABLE_CHUNK_BYTES);
	int rc = 0;

	v->bat = malloc((size_t)blocks * sizeof(*v->bat) + 1);
	v->shared = calloc(1, (size_t)blocks / 8 + 1);
	v->map = malloc(v->s.bitmap_bytes);
	if (!chunk || !v->bat || !v->shared || !v->map)
		rc = vhd_fail_nomem(err, (uint64_t)blocks * 4,
				    "the block table");
	for (uint32_t b = 0; b < blocks && !rc; b += step)
		rc = read_table(v, b, blocks - b < step ? blocks - b : step,
				chunk, err);
	free(chunk);
	return rc ? rc : find_shared(v, err);
}

/* ------------------------------------------------------------ the disk -- */

static int copy_blocks(struct salvage *v, struct vhd_err *err)
{
	uint64_t block_bytes = v->s.header.block_size_bytes;
	int rc = load_table(v, err);

	for (uint32_t b = 0; b < v->s.blocks && !rc && !v->stopped; b++) {
		if (v->bat[b] != VHD_BAT_NONE)
			rc = copy_block(v, b, err);
		else if (!(v->shared[b / 8] & 1u << b % 8))
			rc = copy_absent(
				v, b * block_bytes,
				(uint64_t)survey_block_sectors(&v->s, b) *
					VHD_SECTOR_BYTES,
				err);
		progress(v, b * block_bytes);
	}
	if (rc)
		return rc;
	if (v->s.blocks * block_bytes < v->s.size_bytes)
		lose(v, v->s.blocks * block_bytes,
		     v->s.size_bytes - v->s.blocks * block_bytes,
		     VHD_WHY_TABLE_SHORT, false);
	return 0;
}

static int copy_fixed(struct salvage *v, struct vhd_err *err)
{
	uint64_t size = v->s.size_bytes, there = v->s.limit_bytes & ~511ull;

	if (there > size)
		there = size;
	for (uint64_t off = 0; off < there && !v->stopped; off += CHUNK_BYTES) {
		int rc = copy(v, off, off, min_size(there - off, CHUNK_BYTES),
			      CHUNK_BYTES, err);

		if (rc)
			return rc;
		progress(v, off);
	}
	lose(v, there, size - there, VHD_WHY_FIXED_LENGTH, false);
	return 0;
}

static void first_fault(void *ctx, const struct vhd_err *fault)
{
	struct vhd_err *first = ctx;

	if (first->why == VHD_WHY_NONE)
		*first = *fault;
}

/* Why the blocks cannot be found. */
static int no_table(const struct survey *s, struct vhd_err *err)
{
	struct vhd_err fault = {.why = VHD_WHY_NONE};

	if (!s->size_bytes)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ZERO, 0,
				"nothing tells the disk's size; give it");
	if (s->header_read && s->header.cookie_ok)
		(void)survey_header_faults(s, first_fault, &fault);
	if (fault.why == VHD_WHY_NONE)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_COOKIE,
				s->header_at,
				"the dynamic header is lost, and nothing else "
				"tells where the blocks are");
	if (err)
		*err = fault;
	return fault.code;
}

/* What kind of disk it is, and whether its data can be found. */
static int judge(struct salvage *v, struct vhd_err *err)
{
	struct survey *s = &v->s;

	v->diff = s->info.format == VHD_FORMAT_DIFF ||
		  (s->verdict && s->header_read && s->header.cookie_ok &&
		   vhd_any_nonzero(s->header.parent_id,
				   sizeof(s->header.parent_id)));
	if (v->diff && !v->opts->parent_dir && !v->opts->alone)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_NEEDS_PARENT, 0,
				"a differencing disk: most of its content is "
				"in a parent image");
	if (s->blocked)
		return s->table_ok ? 0 : no_table(s, err);
	if (!s->verdict && s->info.format == VHD_FORMAT_FIXED)
		return s->size_bytes ? 0 : no_table(s, err);
	if (s->verdict && s->verdict_err.why == VHD_WHY_NOT_VHD &&
	    v->opts->format == VHD_FORMAT_FIXED) {
		s->size_bytes = v->opts->size_bytes ? v->opts->size_bytes
						    : s->file_bytes & ~511ull;
		return s->size_bytes ? 0 : no_table(s, err);
	}
	if (!s->verdict)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"no VHD structure at either end; if this is a "
				"fixed disk that lost its footer, name it "
				"fixed");
	if (err)
		*err = s->verdict_err;
	return s->verdict;
}

static int prepare(struct salvage *v, const struct vhd_file *f,
		   struct vhd_err *err)
{
	const struct survey_opts so = {
		.format = v->opts->format,
		.size_bytes = v->opts->size_bytes,
	};
	int rc = survey_read(&v->s, f, &so, err);

	if (!rc)
		rc = judge(v, err);
	if (rc)
		return rc;
	v->result->size_bytes = v->s.size_bytes;
	v->buf = malloc(CHUNK_BYTES);
	return v->buf ? 0 : vhd_fail_nomem(err, CHUNK_BYTES, "a buffer");
}

static int transfer(struct salvage *v, struct vhd_err *err)
{
	int rc = v->s.blocked ? copy_blocks(v, err) : copy_fixed(v, err);

	tell_loss(v);
	if (!rc && v->stopped)
		rc = vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			      "the salvage was ended");
	if (!rc)
		return vhd_close(v->dst, err);
	vhd_abandon(v->dst);
	return rc;
}

static void release(struct salvage *v)
{
	vhd_abandon(v->child);
	free(v->bat);
	free(v->shared);
	free(v->buf);
	free(v->map);
}

static struct vhd_create_opts new_image(const struct salvage *v)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = v->s.size_bytes,
		.now_unix_s = v->opts->now_unix_s,
		.exclusive = !v->opts->replace,
	};

	memcpy(o.unique_id, v->opts->unique_id, sizeof(o.unique_id));
	return o;
}

int vhd_salvage_file(const struct vhd_file *f, const struct vhd_file *dst,
		     const struct vhd_salvage_opts *opts,
		     struct vhd_salvage_result *result, struct vhd_err *err)
{
	struct vhd_salvage_result unused;
	struct salvage v = {.opts = opts};
	struct vhd_create_opts create;
	int rc;

	v.result = result ? result : &unused;
	memset(v.result, 0, sizeof(*v.result));
	rc = prepare(&v, f, err);
	if (!rc && v.diff && !opts->alone)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      "parents are found by path only");
	create = new_image(&v);
	if (!rc)
		rc = vhd_create_file(dst, &create, &v.dst, err);
	if (!rc)
		rc = transfer(&v, err);
	release(&v);
	return rc;
}

/* The new image over a path; what this call made goes again on failure. */
static int to_path(struct salvage *v, const char *out_path, struct vhd_err *err)
{
	const struct vhd_create_opts create = new_image(v);
	int rc = vhd_create(out_path, &create, &v->dst, err);

	if (rc)
		return rc;
	rc = transfer(v, err);
	if (rc && !v->opts->replace)
		(void)unlink(out_path); /* the first fault is told */
	return rc;
}

int vhd_salvage(const char *path, const char *out_path,
		const struct vhd_salvage_opts *opts,
		struct vhd_salvage_result *result, struct vhd_err *err)
{
	struct vhd_salvage_result unused;
	struct salvage v = {.opts = opts};
	struct vhd_file_open how = {0};
	struct vhd_file f;
	int rc;

	v.result = result ? result : &unused;
	memset(v.result, 0, sizeof(*v.result));
	how.no_lock = opts->force_read;
	rc = vhd_split_open(path, &how, &f, err);
	if (rc)
		return rc;
	rc = prepare(&v, &f, err);
	if (!rc && v.diff && !opts->alone)
		rc = salvage_parents_open(path, opts, &v.child, err);
	if (v.child)
		v.parent = vhd_get_layer(v.child, 1);
	if (!rc)
		rc = to_path(&v, out_path, err);
	release(&v);
	vhd_file_close(&f);
	return rc;
}
