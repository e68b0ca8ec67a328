/* SPDX-License-Identifier: BSD-2-Clause */
/* Undo files: see undo.h for the format.
 *
 * Going back looks before it writes: the whole undo file is verified, then
 * every place of the image must hold either what the repair put there or what
 * was there before (a repair or an undo that was cut off leaves a mixture of
 * the two). So an undo can be repeated, and an image that was used since is
 * not spoilt.
 */
#include <errno.h>
#include <string.h>

#include <isa-l/crc.h>

#include "checked.h"
#include "fail.h"
#include "filesys.h"
#include "undo.h"
#include "wire.h"

uint32_t undo_crc(uint32_t crc, const void *bytes, size_t len)
{
	/* ISA-L only reads; its prototype lacks the const. */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)len, ~crc);
}

/* ------------------------------------------------------------- writing -- */

void undo_begin(struct undo_writer *w, const struct vhd_file *image,
		uint64_t image_len, const struct vhd_file *undo)
{
	*w = (struct undo_writer){
		.image = image,
		.undo = undo,
		.image_len = image_len,
		.len_bytes = UNDO_HEADER_BYTES,
	};
}

static int append(struct undo_writer *w, const void *bytes, size_t len,
		  struct vhd_err *err)
{
	int rc = vhd_file_write(w->undo, bytes, len, w->len_bytes, err);

	w->body_crc = undo_crc(w->body_crc, bytes, len);
	w->len_bytes += len;
	return rc;
}

int undo_add(struct undo_writer *w, const struct undo_change *c,
	     struct vhd_err *err)
{
	struct undo_record_wire r;
	uint8_t old[VHD_SECTOR_BYTES];
	uint32_t len = c->len_bytes;
	int rc;

	if (c->off_bytes >= w->image_len)
		return 0; /* the length alone brings that back */
	if (len > w->image_len - c->off_bytes)
		len = (uint32_t)(w->image_len - c->off_bytes);
	rc = vhd_file_read(w->image, old, len, c->off_bytes, err);
	if (rc)
		return rc;
	r.off = be64_put(c->off_bytes);
	r.len = be32_put(len);
	r.new_crc = be32_put(undo_crc(0, c->now, len));
	rc = append(w, &r, sizeof(r), err);
	if (!rc)
		rc = append(w, old, len, err);
	w->records++;
	return rc;
}

static uint32_t header_crc(const struct undo_header_wire *h)
{
	struct undo_header_wire copy = *h;

	copy.crc = be32_put(0);
	return undo_crc(0, &copy, sizeof(copy));
}

int undo_end(struct undo_writer *w, uint64_t new_len, const uint8_t old_id[16],
	     const uint8_t new_id[16], struct vhd_err *err)
{
	struct undo_header_wire h = {
		.version = be32_put(UNDO_VERSION),
		.old_len = be64_put(w->image_len),
		.new_len = be64_put(new_len),
		.records = be64_put(w->records),
		.file_len = be64_put(w->len_bytes),
		.body_crc = be32_put(w->body_crc),
	};
	int rc = vhd_file_flush(w->undo, err);

	if (rc)
		return rc;
	memcpy(h.cookie, UNDO_COOKIE, sizeof(h.cookie));
	memcpy(h.old_id, old_id, sizeof(h.old_id));
	memcpy(h.new_id, new_id, sizeof(h.new_id));
	h.crc = be32_put(header_crc(&h));
	rc = vhd_file_write(w->undo, &h, sizeof(h), 0, err);
	return rc ? rc : vhd_file_flush(w->undo, err);
}

/* ------------------------------------------------------------- reading -- */

struct undo_reader {
	const struct vhd_file *image;
	const struct vhd_file *undo;
	uint64_t image_len;
	uint64_t old_len;
	uint64_t new_len;
	uint64_t records;
	uint64_t file_len;
	struct undo_header_wire header;
};

struct undo_record {
	uint64_t off_bytes;
	uint32_t len_bytes;
	uint32_t new_crc;
	uint8_t old[VHD_SECTOR_BYTES];
};

__attribute__((format(printf, 3, 4))) static int bad_undo(struct vhd_err *err,
							  uint64_t at,
							  const char *fmt, ...)
{
	char text[120];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNDO_FILE, at,
			"the undo file %s", text);
}

static int read_header(struct undo_reader *r, struct vhd_err *err)
{
	struct undo_header_wire *h = &r->header;
	uint64_t len;
	int rc = vhd_file_size(r->undo, &len, err);

	if (rc)
		return rc;
	if (len < sizeof(*h))
		return bad_undo(err, 0, "is too short to be one");
	rc = vhd_file_read(r->undo, h, sizeof(*h), 0, err);
	if (rc)
		return rc;
	if (memcmp(h->cookie, UNDO_COOKIE, sizeof(h->cookie)) != 0)
		return bad_undo(err, 0,
				"is not one, or was not finished: the "
				"image was not touched");
	if (header_crc(h) != be32_get(h->crc))
		return bad_undo(err, 12, "has a damaged header");
	if (be32_get(h->version) >> 16 != UNDO_VERSION >> 16)
		return bad_undo(err, 8, "has version %u.%u; 1 is known",
				be32_get(h->version) >> 16,
				be32_get(h->version) & 0xffff);
	r->old_len = be64_get(h->old_len);
	r->new_len = be64_get(h->new_len);
	r->records = be64_get(h->records);
	r->file_len = be64_get(h->file_len);
	if (r->file_len != len)
		return bad_undo(err, 40, "should have %llu bytes and has %llu",
				(unsigned long long)r->file_len,
				(unsigned long long)len);
	if (r->new_len < r->old_len)
		return bad_undo(err, 24, "tells of a shorter image");
	return 0;
}

static int read_record(const struct undo_reader *r, uint64_t *at,
		       struct undo_record *rec, uint32_t *crc,
		       struct vhd_err *err)
{
	struct undo_record_wire w;
	uint64_t end;
	int rc;

	if (!range_ok(*at, sizeof(w), r->file_len))
		return bad_undo(err, *at, "ends inside a record");
	rc = vhd_file_read(r->undo, &w, sizeof(w), *at, err);
	if (rc)
		return rc;
	rec->off_bytes = be64_get(w.off);
	rec->len_bytes = be32_get(w.len);
	rec->new_crc = be32_get(w.new_crc);
	if (!rec->len_bytes || rec->len_bytes > VHD_SECTOR_BYTES ||
	    add_ovf(rec->off_bytes, rec->len_bytes, &end) || end > r->old_len ||
	    !range_ok(*at + sizeof(w), rec->len_bytes, r->file_len))
		return bad_undo(err, *at, "has an impossible record");
	rc = vhd_file_read(r->undo, rec->old, rec->len_bytes, *at + sizeof(w),
			   err);
	if (rc)
		return rc;
	*crc = undo_crc(*crc, &w, sizeof(w));
	*crc = undo_crc(*crc, rec->old, rec->len_bytes);
	*at += sizeof(w) + rec->len_bytes;
	return 0;
}

enum undo_state {
	UNDO_STATE_OLD,
	UNDO_STATE_NEW,
	UNDO_STATE_OTHER,
};

static int state_of(const struct undo_reader *r, const struct undo_record *rec,
		    enum undo_state *state, struct vhd_err *err)
{
	uint8_t now[VHD_SECTOR_BYTES];
	int rc = vhd_file_read(r->image, now, rec->len_bytes, rec->off_bytes,
			       err);

	if (rc)
		return rc;
	if (memcmp(now, rec->old, rec->len_bytes) == 0)
		*state = UNDO_STATE_OLD;
	else if (undo_crc(0, now, rec->len_bytes) == rec->new_crc)
		*state = UNDO_STATE_NEW;
	else
		*state = UNDO_STATE_OTHER;
	return 0;
}

static int changed_since(struct vhd_err *err, uint64_t at)
{
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNDO_MISMATCH, at,
			"the image is not the one this undo file belongs to, "
			"or was changed since the repair (at offset %llu)",
			(unsigned long long)at);
}

/* One walk over all records: verify the file, look at the image, or write. */
enum undo_pass {
	UNDO_PASS_VERIFY,
	UNDO_PASS_COMPARE,
	UNDO_PASS_RESTORE,
};

static int visit(const struct undo_reader *r, const struct undo_record *rec,
		 enum undo_pass pass, struct vhd_undo_result *result,
		 struct vhd_err *err)
{
	enum undo_state state;
	int rc;

	if (pass == UNDO_PASS_VERIFY)
		return 0;
	rc = state_of(r, rec, &state, err);
	if (rc)
		return rc;
	if (pass == UNDO_PASS_COMPARE)
		return state == UNDO_STATE_OTHER
			       ? changed_since(err, rec->off_bytes)
			       : 0;
	if (state == UNDO_STATE_OLD)
		return 0;
	result->restored_bytes += rec->len_bytes;
	return vhd_file_write(r->image, rec->old, rec->len_bytes,
			      rec->off_bytes, err);
}

static int walk(const struct undo_reader *r, enum undo_pass pass,
		struct vhd_undo_result *result, struct vhd_err *err)
{
	uint64_t at = UNDO_HEADER_BYTES;
	struct undo_record rec;
	uint32_t crc = 0;

	for (uint64_t i = 0; i < r->records; i++) {
		int rc = read_record(r, &at, &rec, &crc, err);

		if (!rc)
			rc = visit(r, &rec, pass, result, err);
		if (rc)
			return rc;
	}
	if (at != r->file_len || crc != be32_get(r->header.body_crc))
		return bad_undo(err, 80, "has damaged records");
	return 0;
}

/* Where a repair only made the file longer there is nothing to compare but
 * the footer's id: it must be the one before or after.
 */
static int id_check(const struct undo_reader *r, uint64_t at,
		    struct vhd_err *err)
{
	struct vhd_footer_wire w;
	int rc;

	if (!range_ok(at, sizeof(w), r->image_len))
		return 0;
	rc = vhd_file_read(r->image, &w, sizeof(w), at, err);
	if (rc || memcmp(w.cookie, VHD_COOKIE_FOOTER, sizeof(w.cookie)) != 0)
		return rc;
	if (memcmp(w.unique_id, r->header.old_id, 16) == 0 ||
	    memcmp(w.unique_id, r->header.new_id, 16) == 0)
		return 0;
	return changed_since(err,
			     at + offsetof(struct vhd_footer_wire, unique_id));
}

static int image_check(const struct undo_reader *r, bool force,
		       struct vhd_undo_result *result, struct vhd_err *err)
{
	/* Shorter than before: bytes are gone that nobody kept. */
	if (r->image_len < r->old_len)
		return changed_since(err, r->image_len);
	if (force)
		return 0;
	if (r->image_len > r->new_len)
		return changed_since(err, r->new_len);
	if (!r->records && r->image_len >= VHD_FOOTER_BYTES)
		return id_check(r, r->image_len - VHD_FOOTER_BYTES, err);
	return walk(r, UNDO_PASS_COMPARE, result, err);
}

static int restore(const struct undo_reader *r, struct vhd_undo_result *result,
		   struct vhd_err *err)
{
	int rc = walk(r, UNDO_PASS_RESTORE, result, err);

	if (!rc)
		rc = vhd_file_flush(r->image, err);
	if (rc || r->image_len == r->old_len)
		return rc;
	rc = vhd_file_truncate(r->image, r->old_len, err);
	return rc ? rc : vhd_file_flush(r->image, err);
}

int vhd_undo_file(const struct vhd_file *image, const struct vhd_file *undo,
		  bool force, struct vhd_undo_result *result,
		  struct vhd_err *err)
{
	struct undo_reader r = {.image = image, .undo = undo};
	struct vhd_undo_result unused;
	int rc;

	if (!result)
		result = &unused;
	memset(result, 0, sizeof(*result));
	rc = vhd_file_size(image, &r.image_len, err);
	if (!rc)
		rc = read_header(&r, err);
	if (!rc)
		rc = walk(&r, UNDO_PASS_VERIFY, result, err);
	if (!rc)
		rc = image_check(&r, force, result, err);
	if (rc)
		return rc;
	result->records = r.records;
	result->old_file_bytes = r.old_len;
	return restore(&r, result, err);
}

int vhd_undo(const char *path, const char *undo_path, bool force,
	     struct vhd_undo_result *result, struct vhd_err *err)
{
	const struct vhd_file_open for_image = {.writable = true};
	const struct vhd_file_open for_undo = {0};
	struct vhd_file image, undo;
	int rc = vhd_file_open(undo_path, &for_undo, &undo, err);

	if (rc)
		return rc;
	rc = vhd_file_open(path, &for_image, &image, err);
	if (!rc) {
		rc = vhd_undo_file(&image, &undo, force, result, err);
		rc = vhd_file_close_after(&image, rc, err);
	}
	vhd_file_close(&undo);
	return rc;
}
