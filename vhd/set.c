/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing fields of the footer that are nobody's data: id, flags, geometry,
 * creator, date; and the dynamic header's parent id. Every other byte stays as
 * it is, unknown ones too.
 *
 * Order: the copy at offset 0 first, a sync, then the trailing footer, a sync.
 * A crash leaves both old, both new, or one of each, each of which opens: the
 * trailing one is in force where both are sound, and a copy that was torn is
 * no more than a copy. The same command, given again, ends the work. A fixed
 * disk has one footer, which is one sector; so is the part of the dynamic
 * header that has the parent's id and the checksum, and it comes first.
 * Source: VHD specification 1.0, "Hard Disk Footer Format".
 */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "filesys.h"
#include "set.h"
#include "split.h"
#include "survey.h"

#define FIELDS_ALL ((VHD_SET_PARENT_ID << 1) - 1)

/* -------------------------------------------------------------- values -- */

static void values_of(const struct vhd_footer_wire *w, struct vhd_set_values *v)
{
	struct vhd_footer f;

	vhd_footer_decode(w, &f);
	memset(v, 0, sizeof(*v));
	memcpy(v->unique_id, f.unique_id, sizeof(v->unique_id));
	v->hidden = w->hidden;
	v->saved_state = f.saved_state;
	v->geometry = f.geometry;
	memcpy(v->creator.app, f.creator_app, sizeof(v->creator.app));
	v->creator.version = f.creator_version;
	memcpy(v->creator.os, f.creator_os, sizeof(v->creator.os));
	v->timestamp_s = f.timestamp_s;
}

static void parent_of(const struct survey *s, struct vhd_set_values *v)
{
	if (s->info.format == VHD_FORMAT_DIFF && s->header_read)
		memcpy(v->parent_id, s->header_wire.parent_id,
		       sizeof(v->parent_id));
}

static void take(struct vhd_footer_wire *w, uint32_t fields,
		 const struct vhd_set_values *v)
{
	if (fields & VHD_SET_ID)
		memcpy(w->unique_id, v->unique_id, sizeof(w->unique_id));
	if (fields & VHD_SET_HIDDEN)
		w->hidden = v->hidden;
	if (fields & VHD_SET_SAVED_STATE)
		w->saved_state = v->saved_state;
	if (fields & VHD_SET_GEOMETRY) {
		w->cylinders = be16_put(v->geometry.cylinders);
		w->heads = v->geometry.heads;
		w->sectors_per_track = v->geometry.sectors_per_track;
	}
	if (fields & VHD_SET_CREATOR) {
		memcpy(w->creator_app, v->creator.app, sizeof(w->creator_app));
		w->creator_version = be32_put(v->creator.version);
		memcpy(w->creator_os, v->creator.os, sizeof(w->creator_os));
	}
	if (fields & VHD_SET_TIMESTAMP)
		w->timestamp = be32_put(v->timestamp_s);
	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_footer_wire, checksum)));
}

static uint32_t differing(const struct vhd_set_values *a,
			  const struct vhd_set_values *b)
{
	uint32_t fields = 0;

	if (memcmp(a->unique_id, b->unique_id, sizeof(a->unique_id)) != 0)
		fields |= VHD_SET_ID;
	if (a->hidden != b->hidden)
		fields |= VHD_SET_HIDDEN;
	if (a->saved_state != b->saved_state)
		fields |= VHD_SET_SAVED_STATE;
	if (a->geometry.cylinders != b->geometry.cylinders ||
	    a->geometry.heads != b->geometry.heads ||
	    a->geometry.sectors_per_track != b->geometry.sectors_per_track)
		fields |= VHD_SET_GEOMETRY;
	if (memcmp(&a->creator, &b->creator, sizeof(a->creator)) != 0)
		fields |= VHD_SET_CREATOR;
	if (a->timestamp_s != b->timestamp_s)
		fields |= VHD_SET_TIMESTAMP;
	if (memcmp(a->parent_id, b->parent_id, sizeof(a->parent_id)) != 0)
		fields |= VHD_SET_PARENT_ID;
	return fields;
}

/* -------------------------------------------------------------- checks -- */

static int opts_check(const struct vhd_set_opts *o, struct vhd_err *err)
{
	const struct vhd_set_values *v;

	if (!o || o->format > VHD_FORMAT_DIFF || o->format == VHD_FORMAT_RAW ||
	    !o->fields || o->fields & ~FIELDS_ALL)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"nothing to set, or not in a VHD");
	v = &o->values;
	if ((o->fields & VHD_SET_ID &&
	     !vhd_any_nonzero(v->unique_id, sizeof(v->unique_id))) ||
	    (o->fields & VHD_SET_PARENT_ID &&
	     !vhd_any_nonzero(v->parent_id, sizeof(v->parent_id))))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"an id of zeros is none");
	if ((o->fields & VHD_SET_HIDDEN && v->hidden > 1) ||
	    (o->fields & VHD_SET_SAVED_STATE && v->saved_state > 1))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a flag is 0 or 1");
	if (o->fields & VHD_SET_GEOMETRY &&
	    (!v->geometry.cylinders || !v->geometry.heads ||
	     !v->geometry.sectors_per_track))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a geometry of nothing");
	return 0;
}

/* A disk that is its own parent opens no more. */
static int id_check(const struct vhd_set_result *r, struct vhd_err *err)
{
	if (r->format != VHD_FORMAT_DIFF ||
	    !(r->changed & (VHD_SET_ID | VHD_SET_PARENT_ID)) ||
	    memcmp(r->after.parent_id, r->after.unique_id, 16) != 0)
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"that would make it its own parent");
}

/* Only a sound header is sealed anew. */
static int header_check(const struct survey *s, struct vhd_err *err)
{
	if (s->info.format != VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"only a differencing disk has a parent");
	if (!s->header_read || !s->header.cookie_ok)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_COOKIE,
				s->header_at,
				"no dynamic header where the footer says");
	if (!s->header.checksum_ok)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_CHECKSUM,
				s->header_at,
				"the dynamic header is damaged; put that right "
				"first: vhd repair");
	return vhd_header_check(&s->header, s->header_at,
				s->end.f.current_size_bytes, s->limit_bytes,
				err);
}

/* The two may differ in what is set here: so a command that was cut off is
 * ended by giving it again. In nothing else.
 */
static bool alike_but_for_fields(const struct survey *s)
{
	struct vhd_footer_wire a = s->end.wire;
	struct vhd_set_values v;

	values_of(&s->copy.wire, &v);
	take(&a, FIELDS_ALL, &v); /* but the header's */
	a.checksum = s->copy.wire.checksum;
	return memcmp(&a, &s->copy.wire, sizeof(a)) == 0;
}

static int unsafe(uint64_t at, const char *what, struct vhd_err *err)
{
	return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, at,
			"%s; put that right first: vhd repair", what);
}

static int footers_check(const struct survey *s, struct vhd_err *err)
{
	if (s->verdict) {
		if (err)
			*err = s->verdict_err;
		return s->verdict;
	}
	if (s->info.format == VHD_FORMAT_RAW)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"a raw disk has no footer to change");
	if (s->info.faults) {
		if (err)
			*err = s->info.fault;
		return s->info.fault.code;
	}
	if (s->end_511)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT,
				s->end.at_bytes,
				"the footer has 511 bytes, as before Virtual "
				"PC 2004; convert the image");
	if (s->end.at_bytes % VHD_SECTOR_BYTES)
		return unsafe(s->end.at_bytes, "the footer is not on a sector",
			      err);
	if (s->end.mark != VHD_MARK_OK)
		return unsafe(s->end.at_bytes,
			      "the trailing footer is damaged or missing", err);
	if (s->blocked && s->copy.mark == VHD_MARK_OK &&
	    !alike_but_for_fields(s))
		return unsafe(0, "the two footers differ", err);
	return vhd_footer_check(&s->end.f, s->end.at_bytes, err);
}

/* --------------------------------------------------------------- write -- */

static int put(const struct vhd_file *f, const void *sector, uint64_t at,
	       struct vhd_set_result *r, struct vhd_err *err)
{
	int rc = vhd_file_write(f, sector, VHD_SECTOR_BYTES, at, err);

	if (!rc)
		rc = vhd_file_flush(f, err);
	if (!rc)
		r->written_bytes += VHD_SECTOR_BYTES;
	return rc;
}

/* Id and checksum are in the header's first sector. */
static int write_header(const struct vhd_file *f, const struct survey *s,
			struct vhd_set_result *r, struct vhd_err *err)
{
	struct vhd_header_wire w = s->header_wire;

	static_assert(offsetof(struct vhd_header_wire, parent_id) + 16 <=
			      VHD_SECTOR_BYTES,
		      "a header changes by one sector");
	memcpy(w.parent_id, r->after.parent_id, sizeof(w.parent_id));
	w.checksum = be32_put(vhd_wire_checksum(
		&w, sizeof(w), offsetof(struct vhd_header_wire, checksum)));
	return put(f, &w, s->header_at, r, err);
}

static int write_all(const struct vhd_file *f, const struct survey *s,
		     const struct vhd_footer_wire *w, struct vhd_set_result *r,
		     struct vhd_err *err)
{
	int rc = 0;

	if (r->changed & VHD_SET_PARENT_ID)
		rc = write_header(f, s, r, err);
	if (!rc && s->blocked && memcmp(w, &s->copy.wire, sizeof(*w)) != 0)
		rc = put(f, w, 0, r, err);
	if (!rc && memcmp(w, &s->end.wire, sizeof(*w)) != 0)
		rc = put(f, w, s->end.at_bytes, r, err);
	return rc;
}

static void plan(const struct survey *s, const struct vhd_set_opts *opts,
		 struct vhd_footer_wire *w, struct vhd_set_result *r)
{
	*w = s->end.wire;
	values_of(w, &r->before);
	parent_of(s, &r->before);
	take(w, opts->fields, &opts->values);
	values_of(w, &r->after);
	parent_of(s, &r->after);
	if (opts->fields & VHD_SET_PARENT_ID)
		memcpy(r->after.parent_id, opts->values.parent_id,
		       sizeof(r->after.parent_id));
	r->changed = differing(&r->before, &r->after);
	r->size_bytes = s->end.f.current_size_bytes;
	r->format = s->info.format;
}

int vhd_set_file(const struct vhd_file *f, const struct vhd_set_opts *opts,
		 struct vhd_set_result *result, struct vhd_err *err)
{
	struct vhd_footer_wire w;
	struct survey_opts so = {0};
	struct survey s;
	int rc = opts_check(opts, err);

	memset(result, 0, sizeof(*result));
	if (rc)
		return rc;
	so.format = opts->format;
	rc = survey_read(&s, f, &so, err);
	if (!rc)
		rc = footers_check(&s, err);
	if (!rc && opts->fields & VHD_SET_PARENT_ID)
		rc = header_check(&s, err);
	if (rc)
		return rc;
	plan(&s, opts, &w, result);
	rc = id_check(result, err);
	return rc || !opts->write ? rc : write_all(f, &s, &w, result, err);
}

int vhd_set(const char *path, const struct vhd_set_opts *opts,
	    struct vhd_set_result *result, struct vhd_err *err)
{
	struct vhd_file_open how = {0};
	struct vhd_set_result unused;
	struct vhd_file f;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	how.writable = opts->write;
	rc = vhd_split_open(path, &how, &f, err);
	if (rc)
		return rc;
	rc = vhd_set_file(&f, opts, result ? result : &unused, err);
	return vhd_file_close_after(&f, rc, err);
}
