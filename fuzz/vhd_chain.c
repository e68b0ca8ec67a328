/* SPDX-License-Identifier: BSD-2-Clause */
/* Several images in a directory, whose locators, names and ids say what a
 * stranger wants them to: opened by path with all their parents, and used.
 * A chain that opens lies in the directory to its last layer, each image once
 * and each the one its child asks for; it reads as the independent reader
 * finds it; a write changes the child and no parent.
 *
 * Beside the directory lies an image with the id that the lowest child asks
 * for, and a symbolic link in the directory leads there: neither is to be
 * followed.
 *
 * An input:
 *   0      layers (2 bits), lowest one (2 bits): dynamic, fixed, raw
 *   1      flags, below
 *   2..5   seed of the content
 *   6..    edits: kind (5 bits) and image (3 bits), operands; `edit` is the
 *          list. Without any, each child names its parent in a locator.
 * Text in edits ends at a NUL; bytes from 0x80 on stand for `pieces`.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/oracle.h"
#include "vhd/locator.h"
#include "vhd/vhd.h"

#define FLAG_WRITABLE 0x01
#define FLAG_LARGER   0x02
#define FLAG_RAW      0x04
#define FLAG_NAMELESS 0x08 /* no locators but those of the edits */

#define CONTROL_BYTES 6u
#define IMAGES	      4u
#define DISK_BYTES    (64u << 10)
#define EDITS_MAX     24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *const pieces[] = {
	"0.vhd",
	"1.vhd",
	"2.vhd",
	"3.vhd",
	"link.vhd",
	"outside.vhd",
	"..\\",
	"../",
	".\\",
	"./",
	"\\",
	"/",
	"in/",
	"c:\\",
	"\\\\h\\s\\",
	"file://localhost/",
	"%2e%2e/",
	"%2f",
	"%00",
	"sub/",
	"/etc/passwd",
	"\xc3\xa9",
	"\xf0\x9f\x98\x80",
	"raw.img",
};

static char root[PATH_MAX], dir[PATH_MAX];

static const char *name(const char *what)
{
	static char path[PATH_MAX + 32];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, what);
	return path;
}

static const char *image_name(unsigned n)
{
	char file[16];

	(void)snprintf(file, sizeof(file), "%u.vhd", n);
	return name(file);
}

/* ----------------------------------------------------------- directory -- */

static void remove_all(void)
{
	for (unsigned i = 0; i < IMAGES; i++)
		(void)unlink(image_name(i));
	(void)unlink(name("link.vhd"));
	(void)unlink(name("../outside.vhd"));
	(void)rmdir(name("sub"));
	(void)rmdir(dir);
	(void)rmdir(root);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *tmp = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	char made[64];

	(void)argc;
	(void)argv;
	(void)snprintf(made, sizeof(made), "%s/vhd_chain.XXXXXX", tmp);
	must(mkdtemp(made) && realpath(made, root));
	must(snprintf(dir, sizeof(dir), "%.4000s/in", root) > 0);
	must(mkdir(dir, 0700) == 0 && mkdir(name("sub"), 0700) == 0);
	must(symlink("../outside.vhd", name("link.vhd")) == 0);
	must(atexit(remove_all) == 0);
	return 0;
}

static uint8_t *slurp(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *b;
	struct stat st;

	must(fd >= 0 && fstat(fd, &st) == 0);
	b = malloc((size_t)st.st_size + 1);
	must(b && read(fd, b, (size_t)st.st_size) == st.st_size);
	(void)close(fd);
	*len = (size_t)st.st_size;
	return b;
}

/* -------------------------------------------------------------- images -- */

struct world {
	unsigned layers; /* image n - 1 builds on n - 2 ... on 0 */
	bool fixed;	 /* image 0 */
	struct memfile *m[IMAGES];
};

static size_t text(struct input *in, char *out, size_t room)
{
	size_t at = 0;

	while (in->left > 0 && *in->at != 0) {
		uint8_t b = (uint8_t)take(in, 1);
		const char *p =
			pieces[b % (sizeof(pieces) / sizeof(pieces[0]))];
		size_t n = b < 0x80 ? 1 : strlen(p);

		if (n > room - at - 1)
			break;
		memcpy(out + at, b < 0x80 ? (const char *)&b : p, n);
		at += n;
	}
	(void)take(in, 1);
	out[at] = '\0';
	return at;
}

static void edit_locator(struct memfile *m, struct input *in)
{
	static const uint32_t platforms[8] = {VHD_LOCATOR_W2RU,
					      VHD_LOCATOR_W2KU,
					      VHD_LOCATOR_MACX,
					      VHD_LOCATOR_WI2R,
					      VHD_LOCATOR_WI2K,
					      VHD_LOCATOR_MAC,
					      0,
					      7};
	unsigned how = (unsigned)take(in, 1);
	uint32_t platform = platforms[how & 7];
	uint8_t wide[2048];
	char t[512];
	size_t n = text(in, t, sizeof(t));
	ssize_t len = -1;

	if (platform == VHD_LOCATOR_W2RU || platform == VHD_LOCATOR_W2KU)
		len = vhd_utf16_encode(t, VHD_UTF16_LE, wide, sizeof(wide));
	if (how & 0x40 || len < 0)
		diff_locator(m, how >> 3 & 7, platform, t, n);
	else
		diff_locator(m, how >> 3 & 7, platform, wide, (size_t)len);
}

/* The name is UTF-16, too. */
static void edit_name(struct memfile *m, struct input *in)
{
	uint8_t wide[512] = {0};
	char t[200];

	(void)text(in, t, sizeof(t));
	(void)vhd_utf16_encode(t, VHD_UTF16_BE, wide, sizeof(wide));
	img_set(m, IMG_HEADER, 1024, DIFF_H_NAME, wide, sizeof(wide));
}

static void footer_set(struct world *w, unsigned n, size_t field, const void *b,
		       size_t len)
{
	if (n == 0 && w->fixed)
		img_set(w->m[n], memfile_len(w->m[n]) - 512, 512, field, b,
			len);
	else
		img_footers(w->m[n], field, b, len);
}

static void edit_id(struct world *w, unsigned n, struct input *in, bool own)
{
	unsigned which = (unsigned)take(in, 1);
	uint8_t id[16] = {0};

	if (which != 0xff)
		diff_id(id, which % 5);
	if (own)
		footer_set(w, n, IMG_F_ID, id, sizeof(id));
	else
		diff_parent_id(w->m[n], id);
}

static void edit_size(struct world *w, unsigned n, struct input *in)
{
	uint8_t b[8];

	img_put64(b, (1 + take(in, 1)) * 512);
	footer_set(w, n, IMG_F_CURRENT_SIZE, b, sizeof(b));
}

static void edit(struct world *w, struct input *in)
{
	unsigned what = (unsigned)take(in, 1), n = what % w->layers;
	bool blocks = n > 0 || !w->fixed;
	uint8_t b;

	switch (what >> 3 & 7) {
	case 0:
	case 1:
		if (blocks)
			edit_locator(w->m[n], in);
		break;
	case 2:
		if (blocks)
			edit_name(w->m[n], in);
		break;
	case 3:
		edit_id(w, n, in, true);
		break;
	case 4:
		if (blocks)
			edit_id(w, n, in, false);
		break;
	case 5:
		edit_size(w, n, in);
		break;
	case 6: /* a byte of the table of locators */
		b = (uint8_t)take(in, 1);
		if (blocks)
			img_set(w->m[n], IMG_HEADER, 1024,
				IMG_H_LOCATOR + take(in, 1) % 192, &b, 1);
		break;
	default:
		b = (uint8_t)take(in, 1);
		if (blocks)
			footer_set(w, n, IMG_F_TYPE + 3, &b, 1);
	}
}

static void build(struct world *w, const uint8_t *data, struct input *in)
{
	static const uint32_t blocks[4] = {4096, 8192, 16384, 65536};
	static uint8_t model[DISK_BYTES];
	uint64_t rnd = data[2] | (uint64_t)data[3] << 8 |
		       (uint64_t)data[4] << 16 | 1ull << 32;
	char t[32];

	w->layers = 1 + (data[0] & 3);
	w->fixed = data[0] >> 2 & 1;
	for (unsigned n = 0; n < w->layers; n++) {
		uint32_t type = n	   ? IMG_TYPE_DIFF
				: w->fixed ? IMG_TYPE_FIXED
					   : IMG_TYPE_DYNAMIC;

		w->m[n] =
			diff_random(type, n, DISK_BYTES,
				    blocks[data[5] >> 2 * n & 3], model, &rnd);
		(void)snprintf(t, sizeof(t), ".\\%u.vhd", n - 1);
		if (n > 0 && !(data[1] & FLAG_NAMELESS))
			diff_locator_text(w->m[n], 0, VHD_LOCATOR_W2RU, t);
	}
	for (unsigned i = 0; i < EDITS_MAX && in->left > 0; i++)
		edit(w, in);
	diff_save(w->m[0], name("../outside.vhd"));
	for (unsigned n = 0; n < w->layers; n++)
		diff_save(w->m[n], image_name(n));
}

/* ---------------------------------------------------------------- using -- */

/* Each layer is a file of the directory, another one, and the right one. */
static void check_layers(const struct vhd *img)
{
	unsigned layers = vhd_get_info(img)->layers;
	static char real[IMAGES][PATH_MAX];
	struct vhd_layer l, up = {0};
	size_t n = strlen(dir);

	must(layers >= 1 && layers <= IMAGES);
	if (layers == 1) /* no chain: it has no paths to tell */
		return;
	for (unsigned i = 0; i < layers; i++, up = l) {
		must(vhd_layer(img, i, &l) == 0 && l.path);
		must(realpath(l.path, real[i]) != NULL);
		must(!strncmp(real[i], dir, n) && real[i][n] == '/');
		for (unsigned k = 0; k < i; k++)
			must(strcmp(real[i], real[k]) != 0);
		must(i == 0 ||
		     !memcmp(up.info->parent_id, l.info->unique_id, 16));
	}
	must(l.info->format != VHD_FORMAT_DIFF);
	must(vhd_layer(img, layers, &l) == -EINVAL);
}

/* All of it, as the independent reader has it. */
static void check_content(struct vhd *img, const char *path)
{
	unsigned layers = vhd_get_info(img)->layers;
	uint64_t bytes = vhd_get_info(img)->size_bytes;
	uint8_t *file[IMAGES], got[512], want[512];
	struct oracle chain[IMAGES];
	struct vhd_layer l;
	bool sound = true;
	size_t len;

	for (unsigned i = 0; i < layers; i++) {
		must(vhd_layer(img, i, &l) == 0);
		file[i] = slurp(layers > 1 ? l.path : path, &len);
		sound = sound && oracle_open(&chain[i], file[i], len);
		must(!sound || chain[i].size == l.info->size_bytes);
	}
	must(sound);
	for (uint64_t at = 0; at < bytes; at += 512) {
		must(oracle_chain(chain, layers, at / 512, want));
		must(vhd_read(img, at, got, sizeof(got), NULL) == 0);
		must(memcmp(got, want, sizeof(got)) == 0);
	}
	for (unsigned i = 0; i < layers; i++)
		free(file[i]);
}

static void write_some(struct vhd *img, uint64_t rnd)
{
	uint64_t sectors = vhd_get_info(img)->size_bytes / 512;
	uint8_t b[512];

	for (unsigned i = 0; i < 4; i++) {
		memset(b, (int)(i + 1), sizeof(b));
		must(vhd_write(img, (rnd * (i + 7)) % sectors * 512, b,
			       sizeof(b), NULL) == 0);
	}
}

static void use(struct world *w, const char *path,
		const struct vhd_open_opts *o, uint64_t rnd)
{
	size_t len;
	struct vhd *img = NULL;
	struct vhd_err e = {0};
	int rc = vhd_open(path, o, &img, &e);

	if (rc) {
		must(rc < 0 && rc == e.code && e.why != VHD_WHY_NONE &&
		     e.text[0]);
		return;
	}
	check_layers(img);
	check_content(img, path);
	if (o->writable) {
		write_some(img, rnd);
		must(vhd_flush(img, NULL) == 0);
		check_layers(img);
		check_content(img, path);
	}
	must(vhd_close(img, NULL) == 0);
	for (unsigned n = 0; n + 1 < w->layers; n++) {
		uint8_t *now = slurp(image_name(n), &len);
		uint8_t *was = malloc(len + 1);

		must(was && len == memfile_len(w->m[n]));
		memfile_peek(w->m[n], was, len, 0);
		must(memcmp(now, was, len) == 0);
		free(now);
		free(was);
	}
}

/* The text decoders, with no byte to spare: ends are found by ASan. */
static void decode(const uint8_t *data, size_t size, size_t cap)
{
	static const uint32_t platforms[] = {
		VHD_LOCATOR_W2RU, VHD_LOCATOR_W2KU, VHD_LOCATOR_MACX};
	char *out = malloc(cap);
	ssize_t n;

	must(out != NULL);
	for (int order = 0; order < 2; order++) {
		n = vhd_utf16_decode(data, size,
				     order ? VHD_UTF16_BE : VHD_UTF16_LE, out,
				     cap);
		must(n < (ssize_t)cap && (n < 0 || !out[n]));
	}
	for (int i = 0; i < 3; i++) {
		n = vhd_locator_path(platforms[i], data, size, out, cap);
		must(n < (ssize_t)cap && (n < 0 || !out[n]));
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data + CONTROL_BYTES, size - CONTROL_BYTES};
	struct vhd_open_opts o = {.parent_dir = dir};
	struct world w = {0};

	if (size < CONTROL_BYTES)
		return 0;
	decode(data + CONTROL_BYTES, size - CONTROL_BYTES,
	       1u + data[3] % 64);
	build(&w, data, &in);
	o.writable = data[1] & FLAG_WRITABLE;
	o.larger_child = data[1] & FLAG_LARGER;
	o.raw_parent = data[1] & FLAG_RAW;
	use(&w, image_name(w.layers - 1), &o, data[2] + 1u);
	for (unsigned n = 0; n < w.layers; n++) {
		(void)unlink(image_name(n));
		memfile_destroy(w.m[n]);
	}
	return 0;
}
