/* SPDX-License-Identifier: BSD-2-Clause */
/* See freemap.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "freemap.h"

static const struct {
	const char *type; /* libblkid's word */
	int (*ask)(const struct freemap_fs *fs, struct vhd_err *err);
} known[] = {
	{"ext2", freemap_ext}, {"ext3", freemap_ext},  {"ext4", freemap_ext},
	{"xfs", freemap_xfs},  {"ntfs", freemap_ntfs}, {"vfat", freemap_fat},
};

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
		freemap_settle(map);
	return rc;
}
