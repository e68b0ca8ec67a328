/* SPDX-License-Identifier: BSD-2-Clause */
/* The images of a fuzz corpus as files, for tests/proof/corpus_peers.sh.
 *
 * usage: corpus_image OUTDIR SEED...
 *
 * A seed is an input as in tests/lib/fuzzimg.h, or one of fuzz/vhd_merge.c, if
 * its folder is called so, with two of them. Those that the library opens
 * as a VHD are written to OUTDIR/NAME.vhd, once each, and what it reads of
 * disks of at most CONTENT_MAX to OUTDIR/NAME.raw; both are sparse. One line
 * for each: NAME FORMAT SIZE CHS-SIZE FACT..., facts being words for what is
 * odd about it. The last line counts seeds and those left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fuzzimg.h"
#include "vhd/image.h"

#define SEED_MAX    (1u << 20)
#define CONTENT_MAX (16ull << 20)
#define FILE_BYTES  (64ull << 20) /* larger ones are left out */
#define CHUNK	    65536u
#define SEEDS_MAX   4096u

static const char *outdir;

/* ---------------------------------------------------------------- files -- */

static FILE *create(const char *name, const char *suffix)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%s", outdir, name, suffix);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

static void put(FILE *f, const uint8_t *b, size_t n, uint64_t off)
{
	bool zero = true;

	for (size_t i = 0; i < n && zero; i++)
		zero = b[i] == 0;
	if (zero)
		return;
	must(fseeko(f, (off_t)off, SEEK_SET) == 0 && fwrite(b, 1, n, f) == n);
}

static void finish(FILE *f, uint64_t len)
{
	must(fflush(f) == 0 && ftruncate(fileno(f), (off_t)len) == 0);
	must(fclose(f) == 0);
}

static void write_image(const char *name, struct memfile *m)
{
	FILE *f = create(name, "vhd");
	uint64_t len = memfile_len(m);
	static uint8_t b[CHUNK];

	for (uint64_t at = 0; at < len; at += CHUNK) {
		size_t n = len - at < CHUNK ? (size_t)(len - at) : CHUNK;

		memfile_peek(m, b, n, at);
		put(f, b, n, at);
	}
	finish(f, len);
}

static bool write_content(const char *name, struct vhd *img)
{
	uint64_t size = vhd_get_info(img)->size_bytes;
	static uint8_t b[CHUNK];
	FILE *f;

	if (size > CONTENT_MAX || vhd_get_info(img)->format == VHD_FORMAT_DIFF)
		return false;
	f = create(name, "raw");
	for (uint64_t at = 0; at < size; at += CHUNK) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;

		must(vhd_read(img, at, b, n, NULL) == 0);
		put(f, b, n, at);
	}
	finish(f, size);
	return true;
}

/* ---------------------------------------------------------------- facts -- */

static const struct {
	uint32_t note;
	const char *word;
} notes[] = {
	{VHD_NOTE_FOOTER_511, "footer-511"},
	{VHD_NOTE_FORGED_START, "forged-start"},
	{VHD_NOTE_NEXT_OFFSET, "next-offset"},
	{VHD_NOTE_TABLE_LONG, "table-long"},
	{VHD_NOTE_SAVED_STATE, "saved-state"},
	{VHD_NOTE_UNKNOWN_FEATURES, "features"},
	{VHD_NOTE_BATMAP, "batmap"},
	{VHD_NOTE_LAST_BLOCK_SHORT, "last-block-short"},
	{VHD_NOTE_FOOTERS_DIFFER, "footers-differ"},
	{VHD_NOTE_RESIZE_CUT, "resize-cut"},
	{VHD_NOTE_TABLE_EXTRA, "table-extra"},
	{VHD_NOTE_HIDDEN, "hidden"},
};

static const char *const footers[] = {"absent", "ok", "missing", "checksum",
				      "differs"};

/* A block whose bitmap has a 0: part of it reads as zero. */
static bool partial(struct vhd *img)
{
	struct vhd_run r;

	for (uint64_t lba = 0, i = 0; lba < img->sectors && i < 100000;
	     lba += r.sectors, i++) {
		if (vhd_map(img, lba, img->sectors - lba, &r, NULL))
			return false;
		if (r.kind == VHD_RUN_ZERO)
			return true;
	}
	return false;
}

static void tell(const char *name, struct vhd *img, uint64_t len, bool content)
{
	const struct vhd_info *info = vhd_get_info(img);

	printf("%s %s %" PRIu64 " %" PRIu64, name, vhd_format_name(info->format),
	       info->size_bytes, vhd_chs_reader_bytes(info));
	printf(" end-%s copy-%s", footers[info->footer_end],
	       footers[info->footer_copy]);
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
		if (info->notes & notes[i].note)
			printf(" %s", notes[i].word);
	if (vhd_chs_reader_bytes(info) != info->size_bytes)
		printf(" chs");
	if (info->geometry_bytes < info->size_bytes)
		printf(" geometry-small");
	if (info->geometry_bytes > info->size_bytes)
		printf(" geometry-large");
	if (!info->geometry_bytes)
		printf(" geometry-zero");
	if (!content)
		printf(" size-only");
	if (info->original_size_bytes != info->size_bytes)
		printf(" resized");
	if (info->format != VHD_FORMAT_FIXED) {
		printf(" block-%" PRIu32, info->block_size_bytes);
		if (partial(img))
			printf(" partial");
		if (info->header_bytes != 512)
			printf(" header-moved");
		if (info->table_bytes + 4ull * info->table_entries > len)
			printf(" table-cut");
	}
	if (len % VHD_SECTOR_BYTES)
		printf(" odd-length");
	if (info->version != 0x10000)
		printf(" version");
	printf("\n");
}

/* ---------------------------------------------------------------- seeds -- */

static uint64_t seen[SEEDS_MAX];
static unsigned seen_count;

/* FNV-1a over length and bytes: the control bytes make no other image. */
static bool again(struct memfile *m)
{
	uint64_t h = 0xcbf29ce484222325u ^ memfile_len(m);
	uint64_t len = memfile_len(m);
	static uint8_t b[CHUNK];

	for (uint64_t at = 0; at < len; at += CHUNK) {
		size_t n = len - at < CHUNK ? (size_t)(len - at) : CHUNK;

		memfile_peek(m, b, n, at);
		for (size_t i = 0; i < n; i++)
			h = (h ^ b[i]) * 0x100000001b3u;
	}
	for (unsigned i = 0; i < seen_count; i++)
		if (seen[i] == h)
			return true;
	must(seen_count < SEEDS_MAX);
	seen[seen_count++] = h;
	return false;
}

enum verdict {
	TAKEN,
	REPEATED,
	REFUSED,
	LARGE,
	VERDICTS,
};

static enum verdict one(const char *name, const uint8_t *data, size_t size)
{
	struct vhd_open_opts o = {.format = VHD_FORMAT_AUTO, .parent_dir = ""};
	struct memfile *m = fuzzimg_make(data, size, MEMFILE_BYTES_MAX / 2);
	struct vhd_file f = memfile_file(m);
	enum verdict v = REFUSED;
	struct vhd *img = NULL;

	if (memfile_len(m) > FILE_BYTES) {
		v = LARGE;
	} else if (vhd_open_file(&f, &o, &img, NULL) == 0 &&
	    vhd_get_info(img)->format != VHD_FORMAT_RAW) {
		v = again(m) ? REPEATED : TAKEN;
		if (v == TAKEN) {
			write_image(name, m);
			tell(name, img, memfile_len(m),
			     write_content(name, img));
		}
	}
	vhd_abandon(img);
	memfile_destroy(m);
	return v;
}

/* The child and the target of a merge. */
static void two(const char *name, const uint8_t *data, size_t size,
		unsigned *count)
{
	char part[512];
	size_t n = size < 4 ? 0 : (size_t)little(data, 3);

	if (n < FUZZIMG_CONTROL_BYTES || n + 4 + FUZZIMG_CONTROL_BYTES > size)
		return;
	snprintf(part, sizeof(part), "%s-child", name);
	count[one(part, data + 4, n)]++;
	snprintf(part, sizeof(part), "%s-target", name);
	count[one(part, data + 4 + n, size - 4 - n)]++;
}

int main(int argc, char **argv)
{
	unsigned count[VERDICTS] = {0};
	static uint8_t data[SEED_MAX];

	if (argc < 3) {
		fprintf(stderr, "usage: corpus_image OUTDIR SEED...\n");
		return 2;
	}
	outdir = argv[1];
	for (int i = 2; i < argc; i++) {
		const char *slash = strrchr(argv[i], '/'), *name;
		FILE *f = fopen(argv[i], "r");
		size_t n;

		if (!f) {
			perror(argv[i]);
			return 1;
		}
		n = fread(data, 1, sizeof(data), f);
		fclose(f);
		name = slash ? slash + 1 : argv[i];
		if (strstr(argv[i], "/vhd_merge/"))
			two(name, data, n, count);
		else if (n >= FUZZIMG_CONTROL_BYTES)
			count[one(name, data, n)]++;
	}
	printf("# %d seeds, %u repeated, %u refused, %u files of more than "
	       "64 MiB\n",
	       argc - 2, count[REPEATED], count[REFUSED], count[LARGE]);
	return 0;
}
