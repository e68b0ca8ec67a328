/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening an image that wants to do harm, and using it: mapped, read, written
 * to, closed and opened again. What an accepted image gives must lie inside
 * its file, and what was written to it must be there afterwards.
 *
 * An input is an image as in tests/lib/fuzzimg.h, and:
 *   0      format to name (modulo 5)
 *   1      flags, below
 *   2..7   seed of the reads and writes
 * With FLAG_FOLLOW a differencing disk gets a parent that fits it, so that it
 * is read and written to through a chain, and its locators are read for names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "tests/lib/random.h"
#include "vhd/checked.h"
#include "vhd/image.h"

#define FLAG_WRITABLE 0x01
#define FLAG_INSPECT  0x02
#define FLAG_NO_ZERO  0x08 /* the medium cannot zero */
#define FLAG_SHORT    0x10 /* it moves 100 bytes at a time */
#define FLAG_FOLLOW   0x20 /* a parent is given to a child */

#define RUNS_MAX      4096u /* looked at of one map */
#define READS	      24u
#define WRITES	      12u
#define SECTORS_MAX   80u /* of one transfer */
#define WITNESSES     (3 * WRITES)
#define PARENT_MAX    (64ull << 20) /* size of a disk that gets a parent */
#define NAMES_MAX     64u

static struct memfile *build(const uint8_t *data, size_t size)
{
	struct memfile *m = fuzzimg_make(data, size, MEMFILE_BYTES_MAX / 2);

	memfile_set_no_zero(m, data[1] & FLAG_NO_ZERO);
	memfile_set_chunk(m, data[1] & FLAG_SHORT ? 100 : 0);
	return m;
}

/* ---------------------------------------------------------- parents -- */

/* A dynamic disk with the id the child asks for, each sector of its first
 * blocks telling its number.
 */
static struct memfile *parent_make(const struct vhd_info *child)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_DYNAMIC,
		.size_bytes = child->size_bytes,
		.block_size_bytes = 64u << 10,
	};
	struct memfile *p = memfile_create();
	struct vhd_file f;
	struct vhd *img = NULL;
	uint8_t b[VHD_SECTOR_BYTES];

	must(p != NULL);
	f = memfile_file(p);
	memcpy(o.unique_id, child->parent_id, sizeof(o.unique_id));
	must(vhd_create_file(&f, &o, &img, NULL) == 0);
	for (uint64_t lba = 0; lba < 64; lba++) {
		uint64_t at = lba * 31 * VHD_SECTOR_BYTES;

		memset(b, (int)lba | 0x80, sizeof(b));
		if (at < child->size_bytes)
			must(vhd_write(img, at, b, sizeof(b), NULL) == 0);
	}
	must(vhd_close(img, NULL) == 0);
	return p;
}

/* Link it; false where the child is its own parent. Takes nothing. */
static bool parent_give(struct vhd *child, struct memfile *p)
{
	struct vhd_open_opts o = {0};
	struct vhd_file f = memfile_file(p);
	struct vhd *img = NULL;
	struct vhd_err e;

	must(vhd_open_file(&f, &o, &img, NULL) == 0);
	if (vhd_chain_set_parent(child, img, &e) == 0)
		return true;
	must(e.why == VHD_WHY_CHAIN_CYCLE);
	vhd_abandon(img);
	return false;
}

/* Hostile names: each a path that leads nowhere by itself. */
static void names_read(const struct vhd *img)
{
	char text[1024];
	unsigned i = 0;
	int rc;

	while ((rc = vhd_parent_path(img, i, text, sizeof(text))) >= 0) {
		must(rc > 0 && text[rc] == '\0' && strlen(text) == (size_t)rc);
		must(text[0] != '/' && strcmp(text, "..") != 0);
		must(++i < NAMES_MAX);
	}
	must(rc == -ENOENT || rc == -ENAMETOOLONG || rc == -EIO);
}

/* Every run makes progress, and data is inside the file. */
static void map_all(struct vhd *img, const struct memfile *m, bool sound)
{
	bool child = vhd_get_info(img)->format == VHD_FORMAT_DIFF;
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;
	uint64_t lba = 0;
	struct vhd_run r;
	struct vhd_err e;

	must(sectors >= 1);
	for (unsigned i = 0; i < RUNS_MAX && lba < sectors; i++) {
		if (vhd_map(img, lba, sectors - lba, &r, &e)) {
			must(!sound);
			return;
		}
		must(r.sectors >= 1 && r.sectors <= sectors - lba);
		if (sound && r.kind == VHD_RUN_FILE)
			must(range_ok(r.off_bytes, r.sectors * VHD_SECTOR_BYTES,
				      memfile_len(m)));
		must(!sound || child || r.kind != VHD_RUN_PARENT);
		lba += r.sectors;
	}
	must(vhd_map(img, sectors, 1, &r, &e) < 0);
}

static uint64_t pick(uint64_t *rnd, uint64_t sectors, uint64_t *count)
{
	uint64_t lba;

	switch (random_below(rnd, 4)) {
	case 0:
		lba = 0;
		break;
	case 1:
		lba = sectors - 1;
		break;
	default:
		lba = random_below(rnd, sectors);
	}
	*count = 1 + random_below(rnd, random_below(rnd, 2) ? 3 : SECTORS_MAX);
	if (*count > sectors - lba)
		*count = sectors - lba;
	return lba;
}

static void read_some(struct vhd *img, uint64_t rnd, bool sound)
{
	static uint8_t buf[SECTORS_MAX * VHD_SECTOR_BYTES];
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;

	for (unsigned i = 0; i < READS; i++) {
		uint64_t n, lba = pick(&rnd, sectors, &n);
		int rc = vhd_read(img, lba * VHD_SECTOR_BYTES, buf,
				  (size_t)n * VHD_SECTOR_BYTES, NULL);

		must(rc == 0 || !sound);
	}
}

struct written {
	uint64_t lba;
	uint64_t count; /* 0: not planned */
	uint8_t value;	/* 0: failed */
};

/* A sector near a write, as it was before: it must stay so. */
struct witness {
	uint64_t lba;
	uint8_t bytes[VHD_SECTOR_BYTES];
};

static void plan_writes(const struct vhd *img, uint64_t *rnd, struct written *w)
{
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;

	uint64_t n = 1 + random_below(rnd, WRITES);

	memset(w, 0, WRITES * sizeof(*w));
	for (unsigned i = 0; i < n; i++) {
		w[i].lba = pick(rnd, sectors, &w[i].count);
		w[i].value = (uint8_t)(i + 1);
	}
}

static void write_planned(struct vhd *img, struct written *w)
{
	static uint8_t buf[SECTORS_MAX * VHD_SECTOR_BYTES];
	struct vhd_err e;

	for (unsigned i = 0; i < WRITES && w[i].count; i++) {
		memset(buf, w[i].value, sizeof(buf));
		if (vhd_write(img, w[i].lba * VHD_SECTOR_BYTES, buf,
			      (size_t)w[i].count * VHD_SECTOR_BYTES, &e)) {
			must(e.why == VHD_WHY_NO_SPACE);
			/* some of it may be there: nothing is known of it */
			w[i].value = 0;
		}
		if (i % 4 == 3)
			must(vhd_flush(img, &e) == 0);
	}
}

/* Was `lba` written, or perhaps, by an entry from `first` on? */
static bool covered(const struct written *w, unsigned first, uint64_t lba)
{
	for (unsigned k = first; k < WRITES; k++)
		if (lba >= w[k].lba && lba < w[k].lba + w[k].count)
			return true;
	return false;
}

static void compare(struct vhd *img, const struct written *w)
{
	for (unsigned i = 0; i < WRITES; i++) {
		for (uint64_t s = 0; w[i].value && s < w[i].count; s++) {
			uint8_t got[VHD_SECTOR_BYTES];
			uint64_t lba = w[i].lba + s;

			if (covered(w, i + 1, lba))
				continue;
			must(vhd_read(img, lba * VHD_SECTOR_BYTES, got,
				      sizeof(got), NULL) == 0);
			must(got[0] == w[i].value &&
			     memcmp(got, got + 1, sizeof(got) - 1) == 0);
		}
	}
}

static void call_witnesses(struct vhd *img, const struct written *w,
			   struct witness *seen, uint64_t *rnd)
{
	uint64_t sectors = vhd_get_info(img)->size_bytes / VHD_SECTOR_BYTES;

	for (unsigned i = 0; i < WITNESSES; i++) {
		const struct written *near = &w[i / 3];

		if (i % 3 == 0)
			seen[i].lba = near->lba ? near->lba - 1 : 0;
		else if (i % 3 == 1)
			seen[i].lba = near->lba + near->count;
		else
			seen[i].lba = near->lba + random_below(rnd, 4096);
		seen[i].lba %= sectors;
		must(vhd_read(img, seen[i].lba * VHD_SECTOR_BYTES,
			      seen[i].bytes, VHD_SECTOR_BYTES, NULL) == 0);
	}
}

static void hear_witnesses(struct vhd *img, const struct written *w,
			   const struct witness *seen)
{
	for (unsigned i = 0; i < WITNESSES; i++) {
		uint8_t got[VHD_SECTOR_BYTES];

		if (covered(w, 0, seen[i].lba))
			continue;
		must(vhd_read(img, seen[i].lba * VHD_SECTOR_BYTES, got,
			      sizeof(got), NULL) == 0);
		must(memcmp(got, seen[i].bytes, sizeof(got)) == 0);
	}
}

static void use_writable(struct memfile *m, struct memfile *parent,
			 struct vhd *img, uint64_t rnd)
{
	struct vhd_open_opts again = {
		.format = vhd_get_info(img)->format,
		.parent_dir = parent ? "" : NULL,
	};
	struct vhd_file f = memfile_file(m);
	uint32_t harmless = ~(uint32_t)VHD_NOTE_DIRTY;
	static struct witness seen[WITNESSES];
	struct written w[WRITES];

	plan_writes(img, &rnd, w);
	call_witnesses(img, w, seen, &rnd);
	write_planned(img, w);
	compare(img, w);
	hear_witnesses(img, w, seen);
	must(vhd_close(img, NULL) == 0);
	must(vhd_open_file(&f, &again, &img, NULL) == 0);
	must(!parent || parent_give(img, parent));
	must((vhd_get_info(img)->notes & ~harmless) == 0);
	map_all(img, m, true);
	compare(img, w);
	hear_witnesses(img, w, seen);
	vhd_abandon(img);
}

/* An image that opened. `sound`: it may be used for anything. */
static void use(struct memfile *m, struct vhd *img, uint64_t rnd, bool sound)
{
	const struct vhd_info *info = vhd_get_info(img);
	struct memfile *parent = NULL, *before = NULL;
	bool writable = vhd_is_writable(img);

	if (info->format == VHD_FORMAT_DIFF) {
		names_read(img);
		if (sound && info->size_bytes <= PARENT_MAX)
			parent = parent_make(info);
		if (parent && !parent_give(img, parent)) {
			memfile_destroy(parent);
			parent = NULL;
		}
		sound = sound && parent;
		writable = writable && parent;
		before = parent ? memfile_clone(parent) : NULL;
	}
	map_all(img, m, sound);
	read_some(img, rnd, sound);
	if (writable)
		use_writable(m, parent, img, rnd);
	else
		must(vhd_close(img, NULL) == 0);
	must(!before || memfile_equal(before, parent));
	memfile_destroy(before);
	memfile_destroy(parent);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	return fuzzimg_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_open_opts o = {0};
	struct memfile *m;
	struct vhd_file f;
	struct vhd *img;
	struct vhd_err e;
	uint64_t rnd;

	if (size < FUZZIMG_CONTROL_BYTES)
		return 0;
	o.format = (enum vhd_format)(data[0] % 5);
	o.writable = data[1] & FLAG_WRITABLE;
	o.inspect = (data[1] & FLAG_INSPECT) && !o.writable;
	o.parent_dir = data[1] & FLAG_FOLLOW ? "" : NULL;
	rnd = little(data + 2, 6);
	m = build(data, size);
	f = memfile_file(m);
	if (vhd_open_file(&f, &o, &img, &e)) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
	} else {
		use(m, img, rnd, !o.inspect);
	}
	memfile_destroy(m);
	return 0;
}
