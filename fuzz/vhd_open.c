/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening an image that wants to do harm, and using it: mapped, read, written
 * to, closed and opened again. What an accepted image gives must lie inside
 * its file, and what was written to it must be there afterwards.
 *
 * An input is a sparse file: control, length, pieces.
 *   0      format to name (modulo 5)
 *   1      flags, below
 *   2..7   seed of the reads and writes
 *   8..15  length of the file, little-endian
 *   16..   pieces: offset (6 bytes), length (2 bytes), bytes
 * Checksums would keep a fuzzer at the door, so a flag puts right those of
 * the footers and of the dynamic header the trailing footer points to.
 * Seeds come from real images: build/tests/cross_vhd seed IMAGE FLAGS OUTPUT.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/memfile.h"
#include "tests/lib/random.h"
#include "vhd/checked.h"
#include "vhd/format.h"

#define FLAG_WRITABLE 0x01
#define FLAG_INSPECT  0x02
#define FLAG_SEAL     0x04
#define FLAG_NO_ZERO  0x08 /* the medium cannot zero */
#define FLAG_SHORT    0x10 /* it moves 100 bytes at a time */

#define CONTROL_BYTES 16u
#define RUNS_MAX      4096u /* looked at of one map */
#define READS	      24u
#define WRITES	      12u
#define SECTORS_MAX   80u /* of one transfer */
#define WITNESSES     (3 * WRITES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t little(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static void seal(struct memfile *m, uint64_t at, size_t len, size_t field)
{
	uint8_t b[1024];
	be32 sum;

	if (!range_ok(at, len, memfile_len(m)))
		return;
	memfile_peek(m, b, len, at);
	sum = be32_put(vhd_wire_checksum(b, len, field));
	must(memfile_poke(m, &sum, 4, at + field) == 0);
}

static void seal_all(struct memfile *m)
{
	uint64_t end = memfile_len(m);
	struct vhd_footer_wire w;

	if (end < VHD_FOOTER_BYTES)
		return;
	end -= VHD_FOOTER_BYTES;
	memfile_peek(m, &w, sizeof(w), end);
	seal(m, be64_get(w.data_offset), VHD_HEADER_BYTES,
	     offsetof(struct vhd_header_wire, checksum));
	seal(m, 0, VHD_FOOTER_BYTES,
	     offsetof(struct vhd_footer_wire, checksum));
	seal(m, end, VHD_FOOTER_BYTES,
	     offsetof(struct vhd_footer_wire, checksum));
}

static struct memfile *build(const uint8_t *data, size_t size)
{
	struct memfile *m = memfile_create();
	uint64_t len = little(data + 8, 8) % (MEMFILE_BYTES_MAX / 2);
	size_t at = CONTROL_BYTES;

	must(m != NULL);
	while (size - at >= 8) {
		uint64_t off = little(data + at, 6);
		size_t n = (size_t)little(data + at + 6, 2);

		at += 8;
		if (n > size - at)
			n = size - at;
		if (off < len && n > len - off)
			n = (size_t)(len - off);
		if (off < len && n)
			must(memfile_poke(m, data + at, n, off) == 0);
		at += n;
	}
	memfile_resize(m, len);
	if (data[1] & FLAG_SEAL)
		seal_all(m);
	memfile_set_no_zero(m, data[1] & FLAG_NO_ZERO);
	memfile_set_chunk(m, data[1] & FLAG_SHORT ? 100 : 0);
	return m;
}

/* Every run makes progress, and data is inside the file. */
static void map_all(struct vhd *img, const struct memfile *m, bool sound)
{
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
		must(!sound || r.kind != VHD_RUN_PARENT);
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

static void use_writable(struct memfile *m, struct vhd *img, uint64_t rnd)
{
	struct vhd_open_opts again = {.format = vhd_get_info(img)->format};
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
	must((vhd_get_info(img)->notes & ~harmless) == 0);
	map_all(img, m, true);
	compare(img, w);
	hear_witnesses(img, w, seen);
	vhd_abandon(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_open_opts o = {0};
	struct memfile *m;
	struct vhd_file f;
	struct vhd *img;
	struct vhd_err e;
	uint64_t rnd;

	if (size < CONTROL_BYTES)
		return 0;
	o.format = (enum vhd_format)(data[0] % 5);
	o.writable = data[1] & FLAG_WRITABLE;
	o.inspect = (data[1] & FLAG_INSPECT) && !o.writable;
	rnd = little(data + 2, 6);
	m = build(data, size);
	f = memfile_file(m);
	if (vhd_open_file(&f, &o, &img, &e)) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
	} else {
		map_all(img, m, !o.inspect);
		read_some(img, rnd, !o.inspect);
		if (o.writable)
			use_writable(m, img, rnd);
		else
			must(vhd_close(img, NULL) == 0);
	}
	memfile_destroy(m);
	return 0;
}
