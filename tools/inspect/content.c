/* SPDX-License-Identifier: BSD-2-Clause */
/* Partitions and file systems, by libblkid. Whatever it says is foreign text
 * and foreign numbers: names are cleaned, ranges are checked against the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blkid/blkid.h>

#include "inspect.h"

#include "vhd/checked.h"

#define EDGE_HEAD_BYTES (UINT64_C(2) << 20)
#define EDGE_TAIL_BYTES (UINT64_C(1) << 20)
/* Behind a logical partition stands the record that names the next one; each
 * round finds at least one, or it is the last.
 */
#define ROUNDS_MAX 64

#define CHAIN_SECTOR_BYTES 65536u

static void keep(char *to, size_t n, const char *from)
{
	snprintf(to, n, "%s", from ? from : "");
	cli_text_clean(to);
}

static void value(blkid_probe pr, const char *name, char *to, size_t n)
{
	const char *data = NULL;

	if (blkid_probe_lookup_value(pr, name, &data, NULL) < 0)
		data = NULL;
	keep(to, n, data);
}

static blkid_probe probe_new(int fd, uint64_t off, uint64_t len, bool parts)
{
	blkid_probe pr = blkid_new_probe();

	if (!pr)
		return NULL;
	if (blkid_probe_set_device(pr, fd, (blkid_loff_t)off,
				   (blkid_loff_t)len) ||
	    blkid_probe_enable_superblocks(pr, 1) ||
	    blkid_probe_set_superblocks_flags(
		    pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
				BLKID_SUBLKS_UUID | BLKID_SUBLKS_VERSION) ||
	    blkid_probe_enable_partitions(pr, parts)) {
		blkid_free_probe(pr);
		return NULL;
	}
	return pr;
}

static void fs_keep(blkid_probe pr, int rc, struct inspect_fs *fs)
{
	*fs = (struct inspect_fs){ .ambiguous = rc == -2 };
	if (rc)
		return;
	value(pr, "TYPE", fs->type, sizeof(fs->type));
	value(pr, "VERSION", fs->version, sizeof(fs->version));
	value(pr, "LABEL", fs->label, sizeof(fs->label));
	value(pr, "UUID", fs->uuid, sizeof(fs->uuid));
}

static void part_keep(struct inspect_part *part, blkid_partition from,
		      uint64_t disk_bytes)
{
	const char *type = blkid_partition_get_type_string(from);
	blkid_loff_t start = blkid_partition_get_start(from);
	blkid_loff_t size = blkid_partition_get_size(from);

	memset(part, 0, sizeof(*part));
	part->number = blkid_partition_get_partno(from);
	part->past_end =
		start < 0 || size < 0 ||
		mul_ovf((uint64_t)start, VHD_SECTOR_BYTES, &part->off_bytes) ||
		mul_ovf((uint64_t)size, VHD_SECTOR_BYTES, &part->len_bytes) ||
		!range_ok(part->off_bytes, part->len_bytes, disk_bytes);
	if (type)
		keep(part->type, sizeof(part->type), type);
	else
		snprintf(part->type, sizeof(part->type), "0x%02x",
			 (unsigned)blkid_partition_get_type(from) & 0xff);
	keep(part->name, sizeof(part->name), blkid_partition_get_name(from));
	keep(part->uuid, sizeof(part->uuid), blkid_partition_get_uuid(from));
}

static void table_keep(struct inspect_content *c, blkid_probe pr,
		       uint64_t disk_bytes)
{
	blkid_partlist list = blkid_probe_get_partitions(pr);
	int n = list ? blkid_partlist_numof_partitions(list) : 0;

	c->part_count = c->part_more = 0;
	for (int i = 0; i < n; i++) {
		blkid_partition p = blkid_partlist_get_partition(list, i);

		if (!p)
			continue;
		if (c->part_count == INSPECT_PARTS_MAX)
			c->part_more++;
		else
			part_keep(&c->parts[c->part_count++], p, disk_bytes);
	}
}

/* One look at the whole disk. Returns 0, or -errno when libblkid failed. */
static int look(struct inspect_content *c, const struct inspect_view *view)
{
	blkid_probe pr = probe_new(view->fd, 0, view->size_bytes, true);
	int rc;

	if (!pr)
		return -ENOMEM;
	errno = 0;
	rc = blkid_do_safeprobe(pr);
	if (rc == -1) {
		rc = errno ? -errno : -EIO;
		blkid_free_probe(pr);
		return rc;
	}
	value(pr, "PTTYPE", c->table, sizeof(c->table));
	value(pr, "PTUUID", c->table_id, sizeof(c->table_id));
	fs_keep(pr, rc, &c->fs);
	if (c->table[0])
		table_keep(c, pr, view->size_bytes);
	blkid_free_probe(pr);
	return 0;
}

/* Bring the edges of a file system's range into view, and what its first
 * sector says its probe will want.
 */
static int want_fs(struct inspect_view *view, uint64_t off, uint64_t len,
		   struct vhd_err *err)
{
	struct inspect_range hints[INSPECT_HINTS_MAX];
	uint8_t sector[VHD_SECTOR_BYTES];
	uint64_t tail = len > EDGE_TAIL_BYTES ? len - EDGE_TAIL_BYTES : 0;
	unsigned n;
	int rc;

	rc = inspect_view_want(view, off,
			       len < EDGE_HEAD_BYTES ? len : EDGE_HEAD_BYTES,
			       err);
	if (!rc)
		rc = inspect_view_want(view, off + tail, len - tail, err);
	if (rc || !view->copied || len < sizeof(sector))
		return rc;
	rc = vhd_read(view->img, off, sector, sizeof(sector), err);
	n = rc ? 0 : inspect_hints(sector, hints);
	for (unsigned i = 0; i < n && !rc; i++)
		if (range_ok(hints[i].off_bytes, hints[i].len_bytes, len))
			rc = inspect_view_want(view, off + hints[i].off_bytes,
					       hints[i].len_bytes, err);
	return rc;
}

static int want_parts(struct inspect_content *c, struct inspect_view *view,
		      unsigned from, struct vhd_err *err)
{
	int rc = 0;

	for (unsigned i = from; i < c->part_count && !rc; i++) {
		const struct inspect_part *p = &c->parts[i];

		if (p->past_end)
			continue;
		rc = want_fs(view, p->off_bytes, p->len_bytes, err);
		if (!rc)
			rc = inspect_view_want(view,
					       p->off_bytes + p->len_bytes,
					       CHAIN_SECTOR_BYTES, err);
	}
	return rc;
}

static int part_probe(const struct inspect_view *view, struct inspect_part *p)
{
	blkid_probe pr;

	if (p->past_end || !p->len_bytes)
		return 0;
	pr = probe_new(view->fd, p->off_bytes, p->len_bytes, false);
	if (!pr)
		return -ENOMEM;
	fs_keep(pr, blkid_do_safeprobe(pr), &p->fs);
	blkid_free_probe(pr);
	return 0;
}

static int find(struct inspect_content *c, struct inspect_view *view)
{
	unsigned known = 0;
	int rc = want_fs(view, 0, view->size_bytes, &c->err);

	for (int round = 0; !rc && round < ROUNDS_MAX; round++) {
		rc = look(c, view);
		if (rc || c->part_count <= known)
			break;
		rc = want_parts(c, view, known, &c->err);
		known = c->part_count;
		if (!view->copied)
			break; /* all was in view from the start */
	}
	for (unsigned i = 0; !rc && i < c->part_count; i++)
		rc = part_probe(view, &c->parts[i]);
	return rc;
}

void inspect_content_find(struct inspect_content *content, struct vhd *img,
			  const char *path)
{
	struct inspect_view view;
	int rc;

	memset(content, 0, sizeof(*content));
	rc = inspect_view_open(&view, img, path, &content->err);
	if (rc)
		return;
	rc = find(content, &view);
	if (rc && !content->err.code)
		vhd_fail(&content->err, rc, VHD_WHY_SYSTEM, 0,
			 "libblkid cannot read the disk: %s", strerror(-rc));
	content->truncated = view.truncated;
	content->looked = !rc;
	inspect_view_close(&view);
}
