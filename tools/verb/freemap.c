/* SPDX-License-Identifier: BSD-2-Clause */
/* See freemap.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "freemap.h"

#include "vhd/checked.h"

static const struct {
	const char *type; /* libblkid's word */
	int (*ask)(const struct freemap_fs *fs, struct vhd_err *err);
} known[] = {
	{"ext2", freemap_ext}, {"ext3", freemap_ext},  {"ext4", freemap_ext},
	{"xfs", freemap_xfs},  {"ntfs", freemap_ntfs}, {"vfat", freemap_fat},
};

int freemap_refuse(const struct freemap_fs *fs, struct vhd_err *err,
		   const char *fmt, ...)
{
	char what[120];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0, "%s %s",
			fs->name, what);
}

int freemap_add(const struct freemap_fs *fs, uint64_t off_bytes,
		uint64_t len_bytes, struct vhd_err *err)
{
	struct freemap *map = fs->map;
	uint64_t off = fs->off_bytes + off_bytes;

	if (!len_bytes)
		return 0;
	if (!range_ok(off_bytes, len_bytes, fs->len_bytes))
		return freemap_refuse(fs, err,
				      "says that something outside of it is "
				      "free");
	if (map->count && map->ranges[map->count - 1].end_bytes == off) {
		map->ranges[map->count - 1].end_bytes += len_bytes;
		return 0;
	}
	if (map->count == map->room) {
		size_t room = map->room ? map->room * 2 : 1024;
		void *more = realloc(map->ranges, room * sizeof(*map->ranges));

		if (!more)
			return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
					"out of memory: free space");
		map->ranges = more;
		map->room = room;
	}
	map->ranges[map->count++] =
		(struct freemap_range){off, off + len_bytes};
	return 0;
}

static int range_order(const void *a, const void *b)
{
	const struct freemap_range *x = a, *y = b;

	return x->off_bytes < y->off_bytes ? -1 : x->off_bytes > y->off_bytes;
}

/* Sort, and join what touches. */
static void settle(struct freemap *map)
{
	size_t n = 0;

	if (map->count)
		qsort(map->ranges, map->count, sizeof(*map->ranges),
		      range_order);
	for (size_t i = 0; i < map->count; i++) {
		struct freemap_range r = map->ranges[i];

		if (n && r.off_bytes <= map->ranges[n - 1].end_bytes) {
			if (r.end_bytes > map->ranges[n - 1].end_bytes)
				map->ranges[n - 1].end_bytes = r.end_bytes;
			continue;
		}
		map->ranges[n++] = r;
	}
	map->count = n;
	map->bytes = 0;
	for (size_t i = 0; i < n; i++)
		map->bytes +=
			map->ranges[i].end_bytes - map->ranges[i].off_bytes;
}

bool freemap_has(const struct freemap *map, uint64_t off_bytes,
		 uint64_t len_bytes)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct freemap_range *r = &map->ranges[mid];

		if (off_bytes < r->off_bytes)
			high = mid;
		else if (off_bytes >= r->end_bytes)
			low = mid + 1;
		else
			return len_bytes <= r->end_bytes - off_bytes;
	}
	return false;
}

/* What has no known program stays used. */
static int ask(struct freemap_fs *fs, const char *type, struct vhd_err *err)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		int rc;

		if (strcmp(known[i].type, type) != 0)
			continue;
		rc = known[i].ask(fs, err);
		if (!rc)
			fs->map->asked++;
		return rc;
	}
	fs->map->unknown++;
	return 0;
}

static int ask_part(struct freemap *map, struct vhd *img,
		    const struct inspect_part *p, struct vhd_err *err)
{
	struct freemap_fs fs = {
		.img = img,
		.off_bytes = p->off_bytes,
		.len_bytes = p->len_bytes,
		.map = map,
	};

	if (p->past_end || !p->len_bytes)
		return 0;
	snprintf(fs.name, sizeof(fs.name), "partition %d (%s)", p->number,
		 p->fs.type);
	return ask(&fs, p->fs.ambiguous ? "" : p->fs.type, err);
}

/* A logical partition lies inside an extended one, and two that overlap in any
 * other way make both their claims worthless.
 */
static int apart(const struct inspect_content *c, struct vhd_err *err)
{
	for (unsigned i = 0; i < c->part_count; i++)
		for (unsigned k = 0; k < i; k++) {
			const struct inspect_part *a = &c->parts[i];
			const struct inspect_part *b = &c->parts[k];

			if (a->fs.type[0] && b->fs.type[0] &&
			    a->off_bytes < b->off_bytes + b->len_bytes &&
			    b->off_bytes < a->off_bytes + a->len_bytes)
				return vhd_fail(err, -EUCLEAN,
						VHD_WHY_UNSUPPORTED, 0,
						"partitions %d and %d overlap",
						b->number, a->number);
		}
	return 0;
}

static int ask_all(struct freemap *map, struct vhd *img,
		   const struct inspect_content *c, struct vhd_err *err)
{
	struct freemap_fs whole = {
		.img = img,
		.len_bytes = vhd_get_info(img)->size_bytes,
		.map = map,
	};
	int rc;

	if (!c->looked) {
		*err = c->err;
		return c->err.code ? c->err.code : -EIO;
	}
	if (!c->table[0]) {
		snprintf(whole.name, sizeof(whole.name), "the disk (%s)",
			 c->fs.type);
		return ask(&whole, c->fs.ambiguous ? "" : c->fs.type, err);
	}
	rc = apart(c, err);
	for (unsigned i = 0; i < c->part_count && !rc; i++)
		rc = ask_part(map, img, &c->parts[i], err);
	return rc;
}

int freemap_find(struct freemap *map, struct vhd *img, const char *path,
		 struct vhd_err *err)
{
	struct inspect_content *c = malloc(sizeof(*c));
	int rc;

	memset(map, 0, sizeof(*map));
	if (!c)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory: partitions");
	inspect_content_find(c, img, path);
	rc = ask_all(map, img, c, err);
	free(c);
	if (!rc && !map->asked)
		rc = vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			      "no file system on it whose free space could be "
			      "asked for (ext2, ext3, ext4, XFS, NTFS, FAT)");
	if (rc)
		freemap_fini(map);
	else
		settle(map);
	return rc;
}

void freemap_fini(struct freemap *map)
{
	free(map->ranges);
	map->ranges = NULL;
	map->count = map->room = 0;
}
