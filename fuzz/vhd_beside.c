/* SPDX-License-Identifier: BSD-2-Clause */
/* Files beside an image that want to do harm: the parts of a split set, and
 * the undo file of a repair.
 *
 * A set that is taken reads as its parts do one behind the other, and opens
 * exactly as the whole file does; one that is refused is told why and leaves
 * the first part as it was; no part stays open. An undo that is refused writes
 * nothing; one that is done leaves the former length, and can be repeated.
 *
 * An input is an image as in tests/lib/fuzzimg.h, and:
 *   0      format to name (modulo 5)
 *   1      flags, below
 *   2..3   bytes of a part, in units of 64, at least 64
 *   4      which part is missing (0: none)
 *   5      which part has another length (0: none): longer by 7 bytes, or half
 *   6      name, of `names`
 *   7      undo: seed of what the image holds
 * With FLAG_UNDO the file is an undo file instead, its sums put right if
 * FUZZIMG_SEAL is set; the image has IMAGE_BYTES.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "tests/lib/random.h"
#include "vhd/image.h"
#include "vhd/split.h"
#include "vhd/undo.h"

#define FLAG_WRITABLE 0x01
#define FLAG_UNDO     0x02
#define FLAG_LONGER   0x08 /* the part of another length is longer */
#define FLAG_FORCE    0x10

#define PARTS_MAX      70u
#define FILE_BYTES_MAX (1u << 20)
#define IMAGE_BYTES    4096u

static const char *const names[] = {
	"disk.vhd", "DISK.VHD", "disk.v01", "disk.v63", "disk.img",
	"/a.v01/disk.vhd", ".vhd", "disk.v00", "disk.Vhd", "disk.v0x",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

/* ---------------------------------------------------------------- split -- */

struct set {
	struct memfile *part[PARTS_MAX];
	unsigned count;
	unsigned missing;
	unsigned open; /* handed out and not closed */
	bool upper;
};

/* A memfile is nobody's to close, so that closing is counted around it. */
struct opened {
	struct vhd_file file;
	struct set *s;
};

static ssize_t part_pread(void *state, void *buf, size_t len, uint64_t off)
{
	struct opened *o = state;

	return o->file.ops->pread(o->file.state, buf, len, off);
}

static int part_size(void *state, uint64_t *len)
{
	struct opened *o = state;

	return o->file.ops->size(o->file.state, len);
}

static int part_close(void *state)
{
	struct opened *o = state;

	must(o->s->open > 0);
	o->s->open--;
	free(o);
	return 0;
}

/* Nothing else may be asked of a part: a set is only read. */
static const struct vhd_file_ops part_ops = {
	.name = "part",
	.pread = part_pread,
	.size = part_size,
	.close = part_close,
};

static struct vhd_file part_open(struct set *s, unsigned i)
{
	struct opened *o = calloc(1, sizeof(*o));

	must(o != NULL);
	*o = (struct opened){.file = memfile_file(s->part[i]), .s = s};
	s->open++;
	return (struct vhd_file){
		.ops = &part_ops, .state = o, .fd = -1, .direct_fd = -1};
}

static int open_name(void *ctx, const char *name, struct vhd_file *out,
		     struct vhd_err *err)
{
	struct set *s = ctx;
	size_t n = strlen(name);
	unsigned i = 0;

	must(n > 4 && name[n - 4] == '.' && (name[n - 3] | 0x20) == 'v');
	if (name[n - 2] >= '0' && name[n - 2] <= '9')
		i = (unsigned)(name[n - 2] - '0') * 10 +
		    (unsigned)(name[n - 1] - '0');
	else
		must((name[n - 2] | 0x20) == 'h' && (name[n - 1] | 0x20) == 'd');
	if (i >= s->count || (i && i == s->missing))
		return vhd_fail(err, -ENOENT, VHD_WHY_IO, 0, "no such part");
	*out = part_open(s, i);
	return 0;
}

static void part_fill(struct set *s, const struct memfile *whole, uint64_t from,
		      uint64_t len)
{
	struct memfile *p = memfile_create();
	uint8_t b[VHD_SECTOR_BYTES];

	must(p != NULL);
	for (uint64_t at = 0; at < len; at += sizeof(b)) {
		size_t n = len - at < sizeof(b) ? (size_t)(len - at)
						: sizeof(b);

		memfile_peek(whole, b, n, from + at);
		must(memfile_poke(p, b, n, at) == 0);
	}
	s->part[s->count++] = p;
}

static void cut(struct set *s, const struct memfile *whole, const uint8_t *data)
{
	uint64_t len = memfile_len(whole), part = little(data + 2, 2) * 64;
	unsigned other = data[5] % PARTS_MAX;

	if (part < 64)
		part = 64;
	for (uint64_t at = 0; at < len && s->count < PARTS_MAX; at += part)
		part_fill(s, whole, at, len - at < part ? len - at : part);
	s->missing = data[4];
	if (!other || other >= s->count)
		return;
	len = memfile_len(s->part[other]);
	memfile_resize(s->part[other],
		       data[1] & FLAG_LONGER ? len + 7 : len / 2);
}

/* What the set must read as. */
static struct memfile *joined(const struct set *s, unsigned parts)
{
	struct memfile *m = memfile_create();
	uint64_t at = 0;

	must(m != NULL);
	for (unsigned i = 0; i < parts; i++) {
		uint64_t n = memfile_len(s->part[i]);
		uint8_t *b = malloc(n + 1);

		must(b != NULL);
		memfile_peek(s->part[i], b, n, 0);
		must(memfile_poke(m, b, n, at) == 0);
		free(b);
		at += n;
	}
	return m;
}

static void reads_as(const struct vhd_file *f, const struct memfile *want)
{
	uint64_t len = 0;
	uint8_t *a, *b;

	must(vhd_file_size(f, &len, NULL) == 0 && len == memfile_len(want));
	a = malloc(len + 1);
	b = malloc(len + 1);
	must(a && b);
	must(vhd_file_read(f, a, len, 0, NULL) == 0);
	memfile_peek(want, b, len, 0);
	must(memcmp(a, b, len) == 0);
	free(a);
	free(b);
}

/* Opening sees no difference between a set and the file it was. */
static void opens_as(struct vhd_file *f, struct memfile *want,
		     enum vhd_format format)
{
	struct vhd_open_opts o = {.format = format};
	struct vhd_file g = memfile_file(want);
	struct vhd *a = NULL, *b = NULL;
	struct vhd_err e, d;
	int rc = vhd_open_file(&g, &o, &a, &e);

	must(vhd_open_file(f, &o, &b, &d) == rc);
	if (rc) {
		must(e.why == d.why && e.at_bytes == d.at_bytes);
		vhd_file_close(f);
		return;
	}
	must(vhd_get_info(a)->size_bytes == vhd_get_info(b)->size_bytes);
	vhd_abandon(a);
	vhd_abandon(b);
}

static void split(const struct memfile *whole, const uint8_t *data)
{
	struct set s = {.count = 0};
	const struct vhd_split_dir dir = {.open = open_name, .ctx = &s};
	const char *name = names[data[6] % NAMES];
	struct memfile *want;
	struct vhd_file f;
	struct vhd_err e;
	unsigned parts;

	cut(&s, whole, data);
	if (s.count == 0)
		return;
	f = part_open(&s, 0);
	if (vhd_split_gather(&f, name, &dir, data[1] & FLAG_WRITABLE, &e)) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
		must(s.open == 1 && f.ops == &part_ops);
		vhd_file_close(&f);
	} else {
		parts = vhd_split_parts(&f);
		must(parts == s.open && parts <= VHD_SPLIT_PARTS_MAX);
		must(parts == 1 || !(data[1] & FLAG_WRITABLE));
		want = joined(&s, parts);
		reads_as(&f, want);
		opens_as(&f, want, (enum vhd_format)(data[0] % 5));
		memfile_destroy(want);
	}
	must(s.open == 0);
	for (unsigned i = 0; i < s.count; i++)
		memfile_destroy(s.part[i]);
}

/* ----------------------------------------------------------------- undo -- */

static void undo_seal(struct memfile *m)
{
	struct undo_header_wire h;
	uint64_t len = memfile_len(m);
	uint8_t *body;

	if (len < sizeof(h))
		return;
	memfile_peek(m, &h, sizeof(h), 0);
	memcpy(h.cookie, UNDO_COOKIE, sizeof(h.cookie));
	h.file_len = be64_put(len);
	body = malloc(len);
	must(body != NULL);
	memfile_peek(m, body, len - sizeof(h), sizeof(h));
	h.body_crc = be32_put(undo_crc(0, body, len - sizeof(h)));
	free(body);
	h.crc = be32_put(0);
	h.crc = be32_put(undo_crc(0, &h, sizeof(h)));
	must(memfile_poke(m, &h, sizeof(h), 0) == 0);
}

static void undo(struct memfile *record, const uint8_t *data)
{
	struct memfile *m = memfile_create(), *was;
	struct vhd_undo_result r, again;
	struct vhd_file f, u = memfile_file(record);
	uint8_t b[IMAGE_BYTES] = {0};
	struct vhd_err e;
	int rc;

	if (data[1] & FUZZIMG_SEAL)
		undo_seal(record);
	must(m != NULL);
	/* sectors are zero, or all of one byte */
	for (unsigned i = 0; i < IMAGE_BYTES / VHD_SECTOR_BYTES; i++)
		if (data[7] >> i & 1)
			memset(b + i * VHD_SECTOR_BYTES, (int)i,
			       VHD_SECTOR_BYTES);
	must(memfile_poke(m, b, sizeof(b), 0) == 0);
	was = memfile_clone(m);
	f = memfile_file(m);
	rc = vhd_undo_file(&f, &u, data[1] & FLAG_FORCE, &r, &e);
	if (rc) {
		must(rc == e.code && e.why != VHD_WHY_NONE && e.text[0]);
		must(memfile_equal(m, was));
	} else {
		must(memfile_len(m) == r.old_file_bytes);
		must(r.old_file_bytes <= IMAGE_BYTES);
		/* Records that overlap each other were never written by us. */
		rc = vhd_undo_file(&f, &u, true, &again, &e);
		must(rc == 0 && memfile_len(m) == r.old_file_bytes);
	}
	memfile_destroy(was);
	memfile_destroy(m);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	return fuzzimg_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfile *m;

	if (size < FUZZIMG_CONTROL_BYTES)
		return 0;
	if (data[1] & FLAG_UNDO) {
		uint8_t plain[65536 + FUZZIMG_CONTROL_BYTES];
		size_t n = size < sizeof(plain) ? size : sizeof(plain);

		/* the image's own seals are not meant */
		memcpy(plain, data, n);
		plain[1] &= (uint8_t)~FUZZIMG_SEAL;
		m = fuzzimg_make(plain, n, FILE_BYTES_MAX);
		undo(m, data);
	} else {
		m = fuzzimg_make(data, size, FILE_BYTES_MAX);
		split(m, data);
	}
	memfile_destroy(m);
	return 0;
}
