/* SPDX-License-Identifier: BSD-2-Clause */
/* What is free, as it is said and as it is asked for; and why a file system's
 * word is not taken.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "freemap.h"

#include "vhd/checked.h"

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

void freemap_settle(struct freemap *map)
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

void freemap_fini(struct freemap *map)
{
	free(map->ranges);
	map->ranges = NULL;
	map->count = map->room = 0;
}
