/* SPDX-License-Identifier: BSD-2-Clause */
/* What two parents differ in, written into their child. The child reads the
 * same before, while and after: it only comes to hold what it read from below
 * anyway, so this may end at any moment and be done again.
 *
 * Only what the child lacks is looked at, and of that nothing is read where
 * both sides have holes or one and the same place of one file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "rebase.h"

#define CHUNK_SECTORS 2048u

/* One side: where a run of it lives. */
struct side {
	struct vhd *chain;
	struct vhd *layer;
	struct vhd_run run;
	uint8_t *buf;
};

struct copy {
	struct vhd *child;
	struct side old, new;
	/* of the last two layers that were compared */
	const struct vhd *same[2];
	bool is_same;
	const struct vhd_rebase_opts *opts;
	struct vhd_rebase_result *r;
};

/* Behind its end a parent reads as zero. */
static int look(struct side *s, uint64_t lba, uint64_t sectors,
		struct vhd_err *err)
{
	uint64_t have = s->chain->sectors;

	s->layer = s->chain;
	s->run = (struct vhd_run){VHD_RUN_HOLE, 0, sectors};
	if (lba >= have)
		return 0;
	if (sectors > have - lba)
		sectors = have - lba;
	return vhd_resolve(s->chain, lba, sectors, &s->layer, &s->run, err);
}

static bool same_file(struct copy *c)
{
	const struct vhd *a = c->old.layer, *b = c->new.layer;
	struct stat x, y;

	if (c->same[0] == a && c->same[1] == b)
		return c->is_same;
	c->same[0] = a;
	c->same[1] = b;
	c->is_same = a->file.fd >= 0 && b->file.fd >= 0 &&
		     fstat(a->file.fd, &x) == 0 && fstat(b->file.fd, &y) == 0 &&
		     x.st_dev == y.st_dev && x.st_ino == y.st_ino;
	return c->is_same;
}

/* Known to be the same without reading. */
static bool alike(struct copy *c)
{
	bool a = c->old.run.kind == VHD_RUN_FILE;
	bool b = c->new.run.kind == VHD_RUN_FILE;

	if (!a && !b)
		return true;
	return a && b && c->old.run.off_bytes == c->new.run.off_bytes &&
	       same_file(c);
}

static int fetch(struct side *s, uint64_t skip, uint32_t n, struct vhd_err *err)
{
	size_t len = (size_t)n * VHD_SECTOR_BYTES;

	if (s->run.kind == VHD_RUN_FILE)
		return vhd_file_read(&s->layer->file, s->buf, len,
				     s->run.off_bytes + skip * VHD_SECTOR_BYTES,
				     err);
	memset(s->buf, 0, len);
	return 0;
}

static bool differs(const struct copy *c, uint32_t sector)
{
	size_t at = (size_t)sector * VHD_SECTOR_BYTES;

	return memcmp(c->old.buf + at, c->new.buf + at, VHD_SECTOR_BYTES) != 0;
}

/* Write each run of sectors in which the buffers differ. */
static int settle(struct copy *c, uint64_t lba, uint32_t n, struct vhd_err *err)
{
	for (uint32_t i = 0; i < n;) {
		uint32_t run = 0;
		uint64_t bytes;
		int rc = 0;

		while (i + run < n && differs(c, i + run))
			run++;
		bytes = (uint64_t)run * VHD_SECTOR_BYTES;
		c->r->differing_bytes += bytes;
		if (run && !c->opts->dry_run)
			rc = vhd_write(c->child, (lba + i) * VHD_SECTOR_BYTES,
				       c->old.buf +
					       (size_t)i * VHD_SECTOR_BYTES,
				       (size_t)bytes, err);
		if (rc)
			return rc;
		i += run ? run : 1;
	}
	return 0;
}

static int tell(const struct copy *c, uint64_t lba, struct vhd_err *err)
{
	if (!c->opts->progress ||
	    !c->opts->progress(c->opts->ctx, lba * VHD_SECTOR_BYTES,
			       c->r->differing_bytes))
		return 0;
	return vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			"stopped; the image stays on its parent");
}

/* A stretch in which both sides are one run each. */
static int compare_run(struct copy *c, uint64_t lba, uint64_t sectors,
		       struct vhd_err *err)
{
	for (uint64_t done = 0; done < sectors;) {
		uint64_t left = sectors - done;
		uint32_t n = left < CHUNK_SECTORS ? (uint32_t)left
						  : CHUNK_SECTORS;
		int rc = fetch(&c->old, done, n, err);

		if (!rc)
			rc = fetch(&c->new, done, n, err);
		if (!rc)
			rc = settle(c, lba + done, n, err);
		if (!rc)
			rc = tell(c, lba + done + n, err);
		if (rc)
			return rc;
		done += n;
	}
	return 0;
}

/* A stretch that the child lacks. */
static int compare_stretch(struct copy *c, uint64_t lba, uint64_t sectors,
			   struct vhd_err *err)
{
	for (uint64_t end = lba + sectors, n; lba < end; lba += n) {
		int rc = look(&c->old, lba, end - lba, err);

		if (!rc)
			rc = look(&c->new, lba, c->old.run.sectors, err);
		if (rc)
			return rc;
		n = c->new.run.sectors;
		if (alike(c))
			rc = tell(c, lba + n, err);
		else
			rc = compare_run(c, lba, n, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int walk(struct copy *c, struct vhd_err *err)
{
	struct vhd_run run;
	int rc = 0;

	for (uint64_t lba = 0; !rc && lba < c->child->sectors;
	     lba += run.sectors) {
		rc = vhd_map(c->child, lba, c->child->sectors - lba, &run, err);
		if (rc || run.kind != VHD_RUN_PARENT)
			continue;
		c->r->lacking_bytes += run.sectors * VHD_SECTOR_BYTES;
		rc = compare_stretch(c, lba, run.sectors, err);
	}
	return rc;
}

int rebase_copy(struct vhd *child, struct vhd *parent,
		const struct vhd_rebase_opts *opts,
		struct vhd_rebase_result *r, struct vhd_err *err)
{
	const size_t bytes = (size_t)CHUNK_SECTORS * VHD_SECTOR_BYTES;
	struct copy c = {
		.child = child,
		.old = {.chain = child->parent},
		.new = {.chain = parent},
		.opts = opts,
		.r = r,
	};
	int rc;

	c.old.buf = malloc(bytes);
	c.new.buf = malloc(bytes);
	if (c.old.buf && c.new.buf)
		rc = walk(&c, err);
	else
		rc = vhd_fail_nomem(err, 2 * bytes, "buffers");
	free(c.old.buf);
	free(c.new.buf);
	return rc;
}
