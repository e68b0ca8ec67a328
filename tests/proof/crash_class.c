/* SPDX-License-Identifier: BSD-2-Clause */
/* The images that operations start from: each form, block size, alignment,
 * kind of bitmap, footer state and depth of chain that the library writes or
 * takes over from others. All tiny.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"
#include "vhd/create.h"

#define KIB	  1024u
#define OTHER_ID  50u
#define LARGE	  ((2048 + 32) * KIB)

void broken(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("crash harness: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* --------------------------------------------------------------- layers -- */

void layers_add(struct layers *l, struct memfile *m)
{
	uint64_t len = memfile_len(m);

	if (l->count == LAYERS_MAX)
		broken("too many layers");
	l->m[l->count] = m;
	l->len[l->count] = len;
	l->bytes[l->count] = need(malloc(len));
	memfile_peek(m, l->bytes[l->count++], len, 0);
}

static void layers_free(struct layers *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		memfile_destroy(l->m[i]);
		free(l->bytes[i]);
	}
	l->count = 0;
}

bool layers_untouched(const struct layers *l)
{
	static const enum memfile_op ops[] = {MEMFILE_WRITE, MEMFILE_ZERO,
					      MEMFILE_TRUNCATE, MEMFILE_FLUSH};

	for (unsigned i = 0; i < l->count; i++)
		for (unsigned k = 0; k < 4; k++)
			if (memfile_count(l->m[i], ops[k]))
				return false;
	return true;
}

struct vhd *layers_open(const struct layers *l)
{
	const struct vhd_open_opts o = {.parent_dir = ""};
	struct vhd *below = NULL;

	for (unsigned i = 0; i < l->count; i++) {
		struct vhd_file f = memfile_file(l->m[i]);
		struct vhd *img;
		struct vhd_err err;

		if (vhd_open_file(&f, &o, &img, &err) ||
		    (below && vhd_chain_set_parent(img, below, &err)))
			broken("layer %u: %s", i, err.text);
		below = img;
	}
	return below;
}

static bool layers_have(const struct layers *l, const uint8_t id[16])
{
	unsigned top = l->count - 1;

	return l->count && !memcmp(l->bytes[top] + l->len[top] - 512 + IMG_F_ID,
				   id, 16);
}

const struct layers *env_layers(const struct env *e, const uint8_t id[16])
{
	if (layers_have(&e->low, id))
		return &e->low;
	return layers_have(&e->other, id) ? &e->other : NULL;
}

/* -------------------------------------------------------------- opening -- */

int env_open(const struct env *e, struct vhd_file f, bool writable,
	     enum vhd_format format, struct vhd **out, struct vhd_err *err)
{
	const struct vhd_open_opts o = {
		.format = format,
		.writable = writable,
		.parent_dir = "",
	};
	const struct layers *low;
	struct vhd *img;
	int rc = vhd_open_file(&f, &o, &img, err);

	if (rc)
		return rc;
	if (vhd_get_info(img)->format == VHD_FORMAT_DIFF) {
		low = env_layers(e, vhd_get_info(img)->parent_id);
		if (!low)
			rc = vhd_fail(err, -ENOENT, VHD_WHY_PARENT_MISSING, 0,
				      "nobody has the parent's id");
		else
			rc = vhd_chain_set_parent(img, layers_open(low), err);
	}
	if (rc)
		vhd_abandon(img);
	else
		*out = img;
	return rc;
}

struct vhd *env_use(const struct env *e)
{
	struct vhd *img;
	struct vhd_err err;

	if (env_open(e, crashdisk_file(e->disk[0]), true, VHD_FORMAT_AUTO,
		     &img, &err))
		broken("%s does not open: %s", e->cls->name, err.text);
	return img;
}

void env_close(struct vhd *img)
{
	struct vhd_err err;

	if (vhd_close(img, &err))
		broken("closing: %s", err.text);
}

/* -------------------------------------------------- the independent look -- */

static bool look(const struct env *e, struct oracle *o)
{
	const struct crashdisk *d = e->disk[0];

	return crashdisk_len(d) &&
	       oracle_open_by(o, crashdisk_bytes(d), crashdisk_len(d),
			      ORACLE_COPY);
}

uint64_t env_sectors(const struct env *e)
{
	const struct model *m = &e->model;

	for (unsigned i = m->count; i-- > 0;)
		if (m->step[i].kind == STEP_SIZE)
			return m->step[i].size / SECTOR;
	return m->size / SECTOR;
}

bool env_block_used(const struct env *e, uint32_t block)
{
	struct oracle o;
	uint64_t end;

	if (!look(e, &o) || !o.dynamic)
		return true;
	return !oracle_absent(&o, (uint64_t)block * o.block / SECTOR, &end);
}

static unsigned chain_add(struct oracle *chain, unsigned n,
			  const struct layers *l)
{
	for (unsigned i = l ? l->count : 0; i-- > 0;)
		if (!oracle_open(&chain[n++], l->bytes[i], l->len[i]))
			broken("layer %u: %s", i, chain[n - 1].fault);
	return n;
}

void env_content_over(const struct env *e, const struct layers *low, bool up,
		      uint8_t *disk, uint64_t size)
{
	struct oracle chain[1 + 2 * LAYERS_MAX];
	const uint8_t *bytes = crashdisk_bytes(e->disk[0]);
	unsigned n = chain_add(chain, 0, up ? &e->up : NULL), own = n++;

	if (e->format == VHD_FORMAT_RAW) {
		memcpy(disk, bytes, size);
		return;
	}
	if (!look(e, &chain[own]))
		broken("%s: %s", e->cls->name, chain[own].fault);
	if (!low && chain[own].diff)
		low = env_layers(e, bytes + chain[own].header + 40);
	n = chain_add(chain, n, low);
	for (uint64_t k = 0; k < size / SECTOR; k++)
		if (!oracle_chain(chain, n, k, disk + k * SECTOR))
			broken("%s: no sector %llu", e->cls->name,
			       (unsigned long long)k);
}

/* Zeros behind its end. */
void layers_content(const struct layers *l, uint8_t *disk, uint64_t size)
{
	struct oracle chain[LAYERS_MAX];
	unsigned n = chain_add(chain, 0, l);

	for (uint64_t k = 0; k < size / SECTOR; k++)
		if (!oracle_chain(chain, n, k, disk + k * SECTOR))
			memset(disk + k * SECTOR, 0, SECTOR);
}

void env_content(const struct env *e, uint8_t *disk, uint64_t size)
{
	env_content_over(e, NULL, false, disk, size);
}

/* ---------------------------------------------------------- by ourselves -- */

static void fill(uint8_t *b, uint64_t lba, uint64_t count, uint64_t seed)
{
	for (uint64_t i = 0; i < count * SECTOR; i += 8) {
		uint64_t v = random_next(&seed) ^ lba;

		memcpy(b + i, &v, 8);
	}
}

static void put(struct vhd *img, uint64_t lba, uint64_t count, bool zeros)
{
	uint8_t *b = need(calloc(count, SECTOR));
	struct vhd_err err;

	if (!zeros)
		fill(b, lba, count, lba + 7);
	if (vhd_write(img, lba * SECTOR, b, count * SECTOR, &err))
		broken("preparing: %s", err.text);
	free(b);
}

/* Every other block, one of them zeros, and a sector of the second. */
static void put_half(struct vhd *img, const struct class *c)
{
	uint64_t per = c->block / SECTOR, sectors = c->size / SECTOR;

	for (uint64_t b = 0; b * per < sectors; b += 2) {
		uint64_t n = sectors - b * per;

		put(img, b * per, n < per ? n : per, b == 4);
	}
	if (sectors > per)
		put(img, per + per / 2, 1, false);
}

static struct vhd *created(const struct class *c, struct memfile *m,
			   bool batmap)
{
	static const struct vhd_creator tap = {"tap", 0x00010003, "\0\0\0"};
	struct vhd_create_opts o = {
		.format = c->format,
		.size_bytes = c->size,
		.block_size_bytes = c->block,
		.creator = batmap ? &tap : NULL,
		.batmap = batmap,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;
	struct vhd *img;

	diff_id(o.unique_id, 0);
	if (vhd_create_file(&f, &o, &img, &err))
		broken("creating %s: %s", c->name, err.text);
	return img;
}

static struct memfile *ours_empty(struct env *e, const struct class *c)
{
	struct memfile *m = memfile_create();

	(void)e;
	env_close(created(c, m, false));
	return m;
}

static struct memfile *ours_half(struct env *e, const struct class *c)
{
	struct memfile *m = memfile_create();
	struct vhd *img = created(c, m, false);

	(void)e;
	put_half(img, c);
	env_close(img);
	return m;
}

static struct memfile *tail_lost(struct env *e, const struct class *c)
{
	struct memfile *m = ours_half(e, c);

	memfile_resize(m, memfile_len(m) - 512);
	return m;
}

static struct memfile *copy_lost(struct env *e, const struct class *c)
{
	struct memfile *m = ours_half(e, c);

	if (memfile_poke(m, "\xee", 1, IMG_F_TIMESTAMP))
		abort();
	return m;
}

static struct memfile *left_open(struct env *e, const struct class *c)
{
	struct memfile *m = memfile_create();
	struct vhd *img = created(c, m, false);

	(void)e;
	put_half(img, c);
	if (vhd_flush(img, NULL))
		abort();
	vhd_abandon(img);
	return m;
}

/* blktap's, two blocks of which its map calls full. */
static struct memfile *batmap(struct env *e, const struct class *c)
{
	struct memfile *m = memfile_create();
	struct vhd *img = created(c, m, true);
	uint64_t at;
	uint8_t w[512];

	(void)e;
	put_half(img, c);
	at = vhd_get_info(img)->table_bytes +
	     (vhd_get_info(img)->table_entries * 4ull + 511) / 512 * 512;
	env_close(img);
	memfile_peek(m, w, 512, at);
	if (memcmp(w, "tdbatmap", 8) != 0)
		broken("no batmap");
	img_put32(w + 24, ~(uint32_t)0xa0);
	if (memfile_poke(m, w, 512, at) ||
	    memfile_poke(m, "\xa0", 1, img_get64(w + 8)))
		abort();
	return m;
}

static struct memfile *large_ours(struct env *e, const struct class *c)
{
	struct memfile *m = memfile_create();
	struct vhd *img = created(c, m, false);

	(void)e;
	put(img, 8, 4, false);
	put(img, 4090, 9, false);
	env_close(img);
	return m;
}

/* ------------------------------------------------------------- by others -- */

static struct memfile *fixed(struct env *e, const struct class *c)
{
	struct memfile *m = img_fixed(c->size);
	uint8_t *b = need(malloc(c->size));

	(void)e;
	fill(b, 0, c->size / SECTOR, 3);
	if (memfile_poke(m, b, c->size, 0))
		abort();
	free(b);
	return m;
}

static struct memfile *raw(struct env *e, const struct class *c)
{
	struct memfile *m = fixed(e, c);

	memfile_resize(m, c->size);
	return m;
}

/* Blocks in some order, densely; where a bit is 0 there is junk. */
static struct memfile *foreign(const struct class *c, uint8_t bits)
{
	static const uint32_t order[] = {3, 0, 2};
	struct memfile *m = img_bare(c->size, c->block, order, 3);
	uint8_t *b = need(malloc(c->block)), map[512];

	memset(map, bits, sizeof(map));
	for (unsigned k = 0; k < 3; k++) {
		uint64_t at = img_place(c->size, c->block, k);

		memset(b, 0, c->block);
		if (order[k] != 2 || bits != 0xff)
			fill(b, order[k], c->block / SECTOR, k + 11);
		if (memfile_poke(m, map, 512, at) ||
		    memfile_poke(m, b, c->block, at + 512))
			abort();
	}
	free(b);
	return m;
}

static struct memfile *dense(struct env *e, const struct class *c)
{
	(void)e;
	return foreign(c, 0xff);
}

static struct memfile *partial(struct env *e, const struct class *c)
{
	(void)e;
	return foreign(c, 0x3c);
}

/* ---------------------------------------------------------------- chains -- */

static void add_low(struct env *e, const struct class *c, uint32_t type,
		    uint64_t *rnd)
{
	uint8_t *unused = need(calloc(1, c->size));

	layers_add(&e->low, diff_random(type, e->low.count, c->size,
					c->parent_block, unused, rnd));
	free(unused);
}

static struct memfile *child_random(struct env *e, const struct class *c,
				    uint64_t *rnd)
{
	uint8_t *unused = need(calloc(1, c->size));
	struct memfile *m = diff_random(IMG_TYPE_DIFF, e->low.count, c->size,
					c->block, unused, rnd);

	free(unused);
	diff_locator_text(m, 0, 0x57327275, ".\\parent.vhd");
	return m;
}

static struct memfile *child_ours(struct env *e, const struct class *c)
{
	uint64_t rnd = 5, per = c->block / SECTOR;
	struct memfile *m;
	struct vhd_err err;
	struct vhd *img;

	add_low(e, c, IMG_TYPE_DYNAMIC, &rnd);
	m = diff_empty(1, c->size, c->block);
	diff_locator_text(m, 0, 0x57327275, ".\\parent.vhd");
	if (env_open(e, memfile_file(m), true, VHD_FORMAT_AUTO, &img, &err))
		broken("preparing: %s", err.text);
	put(img, 3, 5, false);
	put(img, per * 2, per, false);
	env_close(img);
	return m;
}

static struct memfile *child_deep(struct env *e, const struct class *c)
{
	uint64_t rnd = 8;

	add_low(e, c, IMG_TYPE_FIXED, &rnd);
	add_low(e, c, IMG_TYPE_DIFF, &rnd);
	return child_random(e, c, &rnd);
}

static struct memfile *child_of_fixed(struct env *e, const struct class *c)
{
	uint64_t rnd = 21;

	add_low(e, c, IMG_TYPE_FIXED, &rnd);
	return child_random(e, c, &rnd);
}

static struct memfile *child_large(struct env *e, const struct class *c)
{
	uint64_t rnd = 2;
	struct memfile *m;

	add_low(e, c, IMG_TYPE_DYNAMIC, &rnd);
	m = diff_empty(1, c->size, c->block);
	diff_locator_text(m, 0, 0x57327275, ".\\parent.vhd");
	return m;
}

/* No image: an empty file, or something else that is in the way. */
static struct memfile *nothing(struct env *e, const struct class *c)
{
	uint64_t rnd = 4;

	add_low(e, c, IMG_TYPE_DYNAMIC, &rnd);
	e->absent = true;
	return memfile_create();
}

static struct memfile *in_the_way(struct env *e, const struct class *c)
{
	static const struct class old = {"old", VHD_FORMAT_DYNAMIC,
					 40 * KIB, 16 * KIB, 0, 1, false,
					 NULL};

	memfile_destroy(nothing(e, c));
	return ours_half(e, &old);
}

const struct class classes[] = {
#define FORM(x) VHD_FORMAT_##x
	{"fixed", FORM(FIXED), 40 * KIB, 0, 0, 1, false, fixed},
	{"raw", FORM(RAW), 40 * KIB, 0, 0, 1, false, raw},
	{"dynamic 4K empty", FORM(DYNAMIC), 45 * KIB, 4096, 0, 1, false,
	 ours_empty},
	{"dynamic 4K", FORM(DYNAMIC), 45 * KIB, 4096, 0, 1, false, ours_half},
	{"dynamic 16K dense", FORM(DYNAMIC), 74 * KIB, 16384, 0, 1, false,
	 dense},
	{"dynamic 16K partial", FORM(DYNAMIC), 74 * KIB, 16384, 0, 1, false,
	 partial},
	{"dynamic 64K no tail", FORM(DYNAMIC), 180 * KIB, 65536, 0, 1, false,
	 tail_lost},
	{"dynamic 8K no copy", FORM(DYNAMIC), 50 * KIB, 8192, 0, 1, false,
	 copy_lost},
	{"dynamic 8K left open", FORM(DYNAMIC), 60 * KIB, 8192, 0, 1, false,
	 left_open},
	{"dynamic 16K batmap", FORM(DYNAMIC), 90 * KIB, 16384, 0, 1, false,
	 batmap},
	{"dynamic 4M", FORM(DYNAMIC), LARGE, 4096 * KIB, 0, 1, true,
	 large_ours},
	{"child 16K", FORM(DIFF), 74 * KIB, 16384, 4096, 2, false, child_ours},
	{"child 4K of child", FORM(DIFF), 33 * KIB, 4096, 8192, 3, false,
	 child_deep},
	{"child 64K of fixed", FORM(DIFF), 150 * KIB, 65536, 0, 2, false,
	 child_of_fixed},
	{"child 4M", FORM(DIFF), LARGE, 4096 * KIB, 65536, 2, true,
	 child_large},
	{"nothing", FORM(AUTO), 60 * KIB, 0, 8192, 0, false, nothing},
	{"other image", FORM(AUTO), 60 * KIB, 0, 8192, 0, false, in_the_way},
#undef FORM
};

const unsigned class_count = sizeof(classes) / sizeof(classes[0]);

/* -------------------------------------------------------------- the env -- */

static void add_relatives(struct env *e, const struct class *c)
{
	uint64_t rnd = 77;
	uint8_t *unused;

	if (e->absent || c->format == VHD_FORMAT_RAW)
		return;
	unused = need(calloc(1, c->size));
	/* Ids: the one under test has low.count, its child the next. */
	layers_add(&e->up, diff_random(IMG_TYPE_DIFF, e->low.count + 1, c->size,
				       8192, unused, &rnd));
	layers_add(&e->up, diff_random(IMG_TYPE_DIFF, e->low.count + 2, c->size,
				       4096, unused, &rnd));
	if (c->format == VHD_FORMAT_DIFF)
		layers_add(&e->other,
			   diff_random(c->large ? IMG_TYPE_DYNAMIC
						: IMG_TYPE_FIXED,
				       OTHER_ID, c->size, 65536, unused, &rnd));
	free(unused);
}

void env_make(struct env *e, const struct class *c, uint64_t seed)
{
	struct memfile *m;

	memset(e, 0, sizeof(*e));
	e->cls = c;
	e->seed = seed;
	model_init(&e->model);
	m = c->make(e, c);
	for (unsigned i = 0; i < 2; i++)
		e->disk[i] = crashdisk_create(i);
	crashdisk_load(e->disk[0], m);
	memfile_destroy(m);
	e->model.size = e->model.max_size = e->absent ? 0 : c->size;
	e->model.format = c->format;
	e->format = c->format;
	e->block = c->block;
	if (!e->absent)
		env_content(e, e->model.was, c->size);
	add_relatives(e, c);
}

void env_free(struct env *e)
{
	layers_free(&e->low);
	layers_free(&e->other);
	layers_free(&e->up);
	for (unsigned i = 0; i < 2; i++)
		crashdisk_destroy(e->disk[i]);
	model_fini(&e->model);
	for (unsigned i = 0; i < OPS_MAX; i++)
		free(e->info[i].chain);
}
