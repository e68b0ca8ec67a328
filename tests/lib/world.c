/* SPDX-License-Identifier: BSD-2-Clause */
/* See world.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "tests/lib/world.h"
#include "vhd/locator.h"

#define KIB 1024u

/* -------------------------------------------------------------- telling -- */

void world_note(struct world *w, const char *fmt, ...)
{
	size_t at = strlen(w->trail);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->trail + at, sizeof(w->trail) - at, fmt, ap);
	va_end(ap);
}

void world_fail(const struct world *w, const char *fmt, ...)
{
	char text[400], dir[100] = "?";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!getcwd(dir, sizeof(dir));
	printf("SEED=%llu: %s\n  %s\n  in %s\n", (unsigned long long)w->seed,
	       text, w->trail, dir);
	fflush(stdout);
	_fail(__FILE__, __LINE__);
	abort(); /* not reached: the line above leaves the test */
}

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* --------------------------------------------------------------- chance -- */

uint64_t world_below(struct world *w, uint64_t n)
{
	return random_below(&w->rnd, n);
}

void world_id(struct world *w, uint8_t id[16])
{
	img_put64(id, random_next(&w->rnd));
	img_put64(id + 8, random_next(&w->rnd) | 1);
}

/* The kernel takes its time to end its own two. */
enum vhd_engine world_engine(struct world *w)
{
	switch (world_below(w, 16)) {
	case 0:
		return VHD_ENGINE_AIO;
	case 1:
		return VHD_ENGINE_AUTO;
	default:
		return VHD_ENGINE_SYNC;
	}
}

uint64_t world_size(struct world *w)
{
	switch (world_below(w, 8)) {
	case 0:
		return 512 * (1 + world_below(w, 16));
	case 1: /* whole blocks of many kinds */
		return 128 * KIB * (1 + world_below(w, 12));
	case 2: /* several of the usual blocks */
		return 512 * (1 + world_below(w, 10000));
	default:
		return 512 * (1 + world_below(w, 1500));
	}
}

uint32_t world_block(struct world *w, uint64_t size)
{
	/* Foreign ones are written out whole. */
	unsigned most = size < 600 * KIB ? 7 : 10;

	return 4096u << world_below(w, most);
}

/* --------------------------------------------------------------- layers -- */

void world_name(struct world *w, char path[24])
{
	snprintf(path, 24, "l%u.vhd", w->names++);
}

void world_resize(struct world_layer *l, uint64_t size)
{
	l->model = need(realloc(l->model, size));
	if (size > l->size)
		memset(l->model + l->size, 0, size - l->size);
	l->size = size;
}

struct world_layer *world_push(struct world *w, const char *path, uint64_t size)
{
	struct world_layer *l = &w->layer[w->count];
	const struct world_layer *below = w->count ? l - 1 : NULL;

	*l = (struct world_layer){.size = size};
	snprintf(l->path, sizeof(l->path), "%s", path);
	l->model = need(calloc(1, size));
	if (below)
		memcpy(l->model, below->model,
		       below->size < size ? below->size : size);
	w->count++;
	return l;
}

void world_pop(struct world *w, unsigned count)
{
	while (w->count > count) {
		struct world_layer *l = &w->layer[--w->count];

		(void)unlink(l->path); /* may be gone already */
		free(l->model);
	}
}

static void make_own(struct world *w)
{
	uint64_t size = world_size(w);
	struct vhd_create_opts o = {
		.format = world_below(w, 4) ? VHD_FORMAT_DYNAMIC
					    : VHD_FORMAT_FIXED,
		.size_bytes = size,
		.now_unix_s = 1700000000,
	};
	struct vhd *img;
	struct vhd_err e;
	char path[24];

	if (o.format == VHD_FORMAT_DYNAMIC)
		o.block_size_bytes = world_block(w, size);
	world_id(w, o.unique_id);
	world_name(w, path);
	world_push(w, path, size);
	world_note(w, "own %s %llu/%u", vhd_format_name(o.format),
		   (unsigned long long)size, o.block_size_bytes);
	if (vhd_create(path, &o, &img, &e) || vhd_close(img, &e))
		world_fail(w, "create: %s", e.text);
}

static void make_foreign(struct world *w)
{
	unsigned count = 1 + (unsigned)world_below(w, WORLD_LAYERS);
	uint64_t size = world_size(w);

	world_note(w, "foreign %llu", (unsigned long long)size);
	for (unsigned i = 0; i < count; i++) {
		uint32_t block = world_block(w, size);
		uint32_t type = i		    ? IMG_TYPE_DIFF
				: world_below(w, 3) ? IMG_TYPE_DYNAMIC
						    : IMG_TYPE_FIXED;
		struct world_layer *l;
		struct memfile *m;
		char path[24];

		world_name(w, path);
		l = world_push(w, path, size);
		m = diff_random(type, i, size, block, l->model, &w->rnd);
		if (i)
			diff_locator_text(m, 0, VHD_LOCATOR_W2RU, l[-1].path);
		diff_save(m, path);
		memfile_destroy(m);
		world_note(w, "/%u", type == IMG_TYPE_FIXED ? 0 : block);
	}
}

void world_make(struct world *w, uint64_t seed)
{
	*w = (struct world){.rnd = seed, .seed = seed};
	if (world_below(w, 3))
		make_foreign(w);
	else
		make_own(w);
}

void world_free(struct world *w)
{
	world_pop(w, 0);
}

struct vhd *world_open(struct world *w, unsigned i, bool writable)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = ".",
		.larger_child = true,
	};
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_open(w->layer[i].path, &o, &img, &e))
		world_fail(w, "layer %u does not open: %s", i, e.text);
	return img;
}

/* -------------------------------------------------------------- judging -- */

static uint8_t *slurp(const struct world *w, const char *path, uint64_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *b;
	long n;

	if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 ||
	    fseek(f, 0, SEEK_SET))
		world_fail(w, "cannot read %s", path);
	b = need(malloc((size_t)n + 1));
	if (fread(b, 1, (size_t)n, f) != (size_t)n)
		world_fail(w, "cannot read %s", path);
	fclose(f);
	*len = (uint64_t)n;
	return b;
}

static void judge_sectors(const struct world *w, unsigned i,
			  const struct oracle *chain)
{
	const struct world_layer *l = &w->layer[i];
	uint8_t got[512];

	if (chain->size != l->size)
		world_fail(w, "layer %u: the other reader sees %llu bytes", i,
			   (unsigned long long)chain->size);
	for (uint64_t lba = 0; lba < l->size / 512; lba++)
		if (!oracle_chain(chain, i + 1, lba, got) ||
		    memcmp(got, l->model + lba * 512, 512) != 0)
			world_fail(w,
				   "layer %u: sector %llu is different for "
				   "the other reader",
				   i, (unsigned long long)lba);
}

/* Layers `from` to `to`, and what is below them. */
static void judge_oracle(const struct world *w, unsigned from, unsigned to)
{
	struct oracle o[WORLD_LAYERS]; /* topmost first, at `to` */
	uint8_t *bytes[WORLD_LAYERS];
	uint64_t len;

	for (unsigned i = 0; i <= to; i++) {
		struct oracle *at = &o[to - i];

		bytes[i] = slurp(w, w->layer[i].path, &len);
		if (!oracle_open(at, bytes[i], len) || !oracle_check(at))
			world_fail(w, "layer %u: %s", i, at->fault);
	}
	for (unsigned i = from; i <= to; i++)
		if (!w->layer[i].stale)
			judge_sectors(w, i, &o[to - i]);
	for (unsigned i = 0; i <= to; i++)
		free(bytes[i]);
}

void world_judge_bytes(struct world *w, unsigned i)
{
	judge_oracle(w, i, i);
}

static void judge_library(struct world *w, unsigned i)
{
	const struct world_layer *l = &w->layer[i];
	struct vhd *img = world_open(w, i, false);
	uint8_t *b = need(malloc(l->size));
	struct vhd_err e;

	if (vhd_get_info(img)->layers != i + 1)
		world_fail(w, "layer %u builds on %u", i,
			   vhd_get_info(img)->layers);
	if (vhd_get_info(img)->size_bytes != l->size)
		world_fail(w, "layer %u has %llu bytes", i,
			   (unsigned long long)vhd_get_info(img)->size_bytes);
	if (vhd_read(img, 0, b, l->size, &e))
		world_fail(w, "layer %u: %s", i, e.text);
	for (uint64_t lba = 0; lba < l->size / 512 && !l->stale; lba++)
		if (memcmp(b + lba * 512, l->model + lba * 512, 512) != 0)
			world_fail(w, "layer %u: sector %llu is different", i,
				   (unsigned long long)lba);
	vhd_abandon(img);
	free(b);
}

static int tell_error(void *ctx, const struct vhd_finding *f)
{
	char *text = ctx;

	if (f->severity == VHD_SEVERITY_ERROR && !text[0])
		snprintf(text, sizeof(f->text), "%s", f->text);
	return 0;
}

static bool sizes_differ(const struct world *w, unsigned top)
{
	for (unsigned i = 0; i < top; i++)
		if (w->layer[i].size != w->layer[top].size)
			return true;
	return false;
}

static void judge_check(struct world *w, unsigned i)
{
	const struct world_layer *l = &w->layer[i];
	char text[sizeof(((struct vhd_finding *)0)->text)] = "";
	const struct vhd_check_opts o = {
		.data = true,
		/* a larger child is an error, which it is here by choice */
		.parent_dir = sizes_differ(w, i) ? NULL : ".",
		.found = tell_error,
		.ctx = text,
	};
	struct vhd_check_result r;
	struct vhd_err e;

	if (vhd_check(l->path, &o, &r, &e))
		world_fail(w, "layer %u cannot be checked: %s", i, e.text);
	if (r.severity_count[VHD_SEVERITY_ERROR])
		world_fail(w, "layer %u: check: %s", i, text);
}

void world_judge(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		judge_library(w, i);
		judge_check(w, i);
	}
	judge_oracle(w, 0, w->count - 1);
}
