/* SPDX-License-Identifier: BSD-2-Clause */
/* Repair: see repair.h. The plan is made in full before anything is written,
 * so that a dry run and a repair tell the same, and a repair that finds no
 * safe way changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "filesys.h"
#include "repair.h"
#include "split.h"

static const char *const names[VHD_REPAIR_COUNT] = {
	[VHD_REPAIR_FOOTER_END] = "footer-end",
	[VHD_REPAIR_FOOTER_COPY] = "footer-copy",
	[VHD_REPAIR_FOOTER_CHECKSUM] = "footer-checksum",
	[VHD_REPAIR_FOOTER_MOVE] = "footer-move",
	[VHD_REPAIR_FOOTER_REBUILD] = "footer-rebuild",
	[VHD_REPAIR_GEOMETRY] = "geometry",
	[VHD_REPAIR_ID] = "id",
	[VHD_REPAIR_HEADER_CHECKSUM] = "header-checksum",
	[VHD_REPAIR_NEXT_OFFSET] = "next-offset",
	[VHD_REPAIR_BAT_CLEAR] = "bat-clear",
	[VHD_REPAIR_BAT_EXTRA] = "bat-extra",
	[VHD_REPAIR_RESIZE] = "resize",
	[VHD_REPAIR_BATMAP] = "batmap",
};

const char *vhd_repair_name(enum vhd_repair_code code)
{
	return (unsigned)code < VHD_REPAIR_COUNT ? names[code] : "unknown";
}

/* ------------------------------------------------------------ the plan -- */

static int plan(struct repair *r, struct vhd_err *err)
{
	const struct survey_opts so = {
		.format = r->opts->format,
		.prefer = r->opts->prefer,
		.size_bytes = r->opts->size_bytes,
	};
	int rc = survey_read(&r->s, r->file, &so, err);

	if (rc)
		return rc;
	r->result->old_file_bytes = r->s.file_bytes;
	r->result->new_file_bytes = r->s.file_bytes;
	rc = repair_choose_footer(r, err);
	if (!rc && r->s.blocked)
		rc = repair_header(r, err);
	if (!rc && r->s.blocked)
		rc = repair_bat(r, err);
	if (!rc && r->s.batmap)
		rc = repair_batmap(r, err);
	if (!rc)
		rc = repair_place_footer(r, err);
	if (!rc && r->stopped)
		rc = vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			      "the repair was ended; nothing was written");
	return rc;
}

/* ------------------------------------------------------------ the deed -- */

static int save(struct repair *r, const struct vhd_file *undo,
		struct vhd_err *err)
{
	struct undo_writer w;

	undo_begin(&w, r->file, r->s.file_bytes, undo);
	for (size_t i = 0; i < r->change_count; i++) {
		const struct repair_change *c = &r->changes[i];
		const struct undo_change u = {
			.off_bytes = c->off_bytes,
			.len_bytes = c->len_bytes,
			.now = c->now,
		};
		int rc = undo_add(&w, &u, err);

		if (rc)
			return rc;
	}
	return undo_end(&w, r->result->new_file_bytes, r->old_id,
			r->footer.unique_id, err);
}

static int carry_out(struct repair *r, struct vhd_err *err)
{
	for (int stage = 0; stage < REPAIR_STAGES; stage++) {
		bool any = false;
		int rc;

		for (size_t i = 0; i < r->change_count; i++) {
			const struct repair_change *c = &r->changes[i];

			if ((int)c->stage != stage)
				continue;
			any = true;
			rc = vhd_file_write(r->file, c->now, c->len_bytes,
					    c->off_bytes, err);
			if (rc)
				return rc;
		}
		rc = any ? vhd_file_flush(r->file, err) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

/* --------------------------------------------------------- from a path -- */

static int opts_check(const struct vhd_repair_opts *o, struct vhd_err *err)
{
	if (!o || o->format > VHD_FORMAT_DIFF || o->format == VHD_FORMAT_RAW ||
	    o->prefer > VHD_PREFER_COPY)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"only VHDs can be repaired: fixed, dynamic, "
				"differencing, or auto");
	return 0;
}

static int begin(struct repair **out, const struct vhd_file *f,
		 const struct vhd_repair_opts *opts,
		 struct vhd_repair_result *result, struct vhd_err *err)
{
	struct repair *r = calloc(1, sizeof(*r));

	if (!r)
		return vhd_fail_nomem(err, sizeof(*r), "a repair");
	memset(result, 0, sizeof(*result));
	r->opts = opts;
	r->result = result;
	r->file = f;
	*out = r;
	return plan(r, err);
}

static void end(struct repair *r)
{
	if (!r)
		return;
	free(r->changes);
	free(r->places);
	free(r);
}

int vhd_repair_file(const struct vhd_file *f, const struct vhd_file *undo,
		    const struct vhd_repair_opts *opts,
		    struct vhd_repair_result *result, struct vhd_err *err)
{
	struct vhd_repair_result unused;
	struct repair *r = NULL;
	int rc = opts_check(opts, err);

	if (!rc)
		rc = begin(&r, f, opts, result ? result : &unused, err);
	if (!rc && opts->write && r->change_count && undo)
		rc = save(r, undo, err);
	if (!rc && opts->write && r->change_count)
		rc = carry_out(r, err);
	end(r);
	return rc;
}

/* A new name is durable only when its directory is. */
static int sync_directory(const char *path, struct vhd_err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path,
				    slash == path ? 1 : (size_t)(slash - path))
			  : strdup(".");
	int fd, rc = 0;

	if (!dir)
		return vhd_fail_nomem(err, strlen(path), "a path");
	fd = vhd_open_retry(dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		rc = fd;
	/* Some file systems do not sync directories; they say EINVAL. */
	else if (fsync(fd) < 0 && errno != EINVAL)
		rc = -errno;
	if (rc)
		vhd_fail(err, rc, vhd_system_why(rc), 0,
			 "cannot make the undo file's name durable: %s",
			 vhd_errno_text(rc));
	if (fd >= 0)
		close(fd);
	free(dir);
	return rc;
}

/* Make the undo file. One that is not complete is taken away again. */
static int save_to(struct repair *r, const char *path, struct vhd_err *err)
{
	const struct vhd_file_open how = {
		.writable = true,
		.create = true,
		.exclusive = true,
	};
	struct vhd_file undo;
	int rc = vhd_file_open(path, &how, &undo, err);

	if (rc)
		return rc;
	rc = save(r, &undo, err);
	rc = vhd_file_close_after(&undo, rc, err);
	if (!rc)
		rc = sync_directory(path, err);
	if (rc) /* should this fail too: the first fault is told */
		(void)unlink(path);
	return rc;
}

int vhd_repair(const char *path, const struct vhd_repair_opts *opts,
	       struct vhd_repair_result *result, struct vhd_err *err)
{
	struct vhd_repair_result unused;
	struct vhd_file_open how = {0};
	struct repair *r = NULL;
	struct vhd_file f;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	how.writable = opts->write;
	rc = vhd_split_open(path, &how, &f, err);
	if (rc)
		return rc;
	if (vhd_split_parts(&f) > 1) {
		vhd_file_close(&f);
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, 0,
				"a split set is not repaired; salvage copies "
				"it to one file");
	}
	rc = begin(&r, &f, opts, result ? result : &unused, err);
	if (!rc && opts->write && r->change_count && opts->undo_path)
		rc = save_to(r, opts->undo_path, err);
	if (!rc && opts->write && r->change_count)
		rc = carry_out(r, err);
	end(r);
	return vhd_file_close_after(&f, rc, err);
}
