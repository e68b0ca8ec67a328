/* SPDX-License-Identifier: BSD-2-Clause */
/* A file system that wants to do harm, asked what is free of it: ext2, 3 or 4
 * by libext2fs through our I/O manager. What is called free lies inside the
 * file system; the disk is only read; a refusal says why.
 *
 * An input is an image as in tests/lib/fuzzimg.h, a raw disk of at most
 * DISK_MAX, and:
 *   2..3   sectors in front of the file system (modulo 64), behind it
 * Checksums of ext4 keep most changes out: most seeds are without.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "tools/verb/freemap.h"
#include "vhd/image.h"

#define DISK_MAX (4u << 20)

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	return fuzzimg_mutate(data, size, max_size, seed);
}

static void judge(const struct freemap_fs *fs)
{
	const struct freemap *map = fs->map;
	uint64_t end = fs->off_bytes + fs->len_bytes;

	for (size_t i = 0; i < map->count; i++) {
		const struct freemap_range *r = &map->ranges[i];

		must(r->off_bytes < r->end_bytes);
		must(r->off_bytes >= fs->off_bytes && r->end_bytes <= end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_open_opts o = {.format = VHD_FORMAT_RAW};
	struct freemap map = {0};
	struct freemap_fs fs = {.map = &map, .name = "a partition (ext4)"};
	struct memfile *m;
	struct vhd_file f;
	struct vhd_err e = {0};
	uint64_t disk;
	int rc;

	if (size < FUZZIMG_CONTROL_BYTES)
		return 0;
	m = fuzzimg_make(data, size, DISK_MAX);
	disk = memfile_len(m) / VHD_SECTOR_BYTES * VHD_SECTOR_BYTES;
	memfile_resize(m, disk);
	f = memfile_file(m);
	fs.off_bytes = data[2] % 64u * VHD_SECTOR_BYTES;
	fs.len_bytes = data[3] % 64u * VHD_SECTOR_BYTES;
	if (disk > fs.off_bytes + fs.len_bytes) {
		fs.len_bytes = disk - fs.off_bytes - fs.len_bytes;
		must(vhd_open_file(&f, &o, &fs.img, NULL) == 0);
		rc = freemap_ext(&fs, &e);
		must(rc == 0 || (rc == e.code && e.why != VHD_WHY_NONE &&
				 e.text[0]));
		judge(&fs);
		must(memfile_count(m, MEMFILE_WRITE) == 0);
		freemap_fini(&map);
		vhd_abandon(fs.img);
	}
	memfile_destroy(m);
	return 0;
}
