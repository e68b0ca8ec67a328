/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting who holds which bytes: see alloc.h. First each layer by
 * itself, which tells the partial blocks; then the composed disk. Data is read
 * only to find zeros, and only on request.
 */
#include <errno.h>
#include <stdlib.h>

#include <isa-l/mem_routines.h>

#include "alloc.h"

#define ZERO_GRAIN_BYTES 4096u
#define READ_BYTES (1u << 20)
#define SHOW_BLOCKS 1024u /* between looks at the clock */

struct counting {
	struct inspect_alloc *a;
	struct extents x;
	uint64_t *partial[VHD_CHAIN_MAX]; /* a bit a block */
	uint8_t *buf;                     /* zeros only */
	struct cli_progress progress;
	bool quiet;
	uint64_t read_bytes;
};

/* --------------------------------------------------------------- grids -- */

static int grid_init(struct inspect_grid *g, const struct inspect_alloc *a,
		     uint64_t cell_bytes, struct vhd_err *err)
{
	size_t cells = (size_t)((a->size_bytes + cell_bytes - 1) / cell_bytes);

	g->cell_bytes = cell_bytes;
	g->cells = (uint32_t)cells;
	g->seen = calloc((a->layers + INSPECT_RESTS) * cells,
			 sizeof(*g->seen));
	g->stored = calloc(a->layers * cells, sizeof(*g->stored));
	g->zeros = calloc(a->layers * cells, sizeof(*g->zeros));
	g->partial = calloc(cells, sizeof(*g->partial));
	if (g->seen && g->stored && g->zeros && g->partial)
		return 0;
	return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
}

static void add(const struct inspect_grid *g, uint64_t *row, uint64_t at,
		uint64_t len)
{
	uint64_t cell = at / g->cell_bytes;

	while (len) {
		uint64_t room = (cell + 1) * g->cell_bytes - at;
		uint64_t n = len < room ? len : room;

		row[cell++] += n;
		at += n;
		len -= n;
	}
}

static void add_seen(struct inspect_alloc *a, uint32_t state, uint64_t at,
		     uint64_t len)
{
	for (unsigned i = 0; i < a->grids; i++) {
		struct inspect_grid *g = &a->grid[i];

		add(g, g->seen + (size_t)state * g->cells, at, len);
	}
}

static void add_stored(struct inspect_alloc *a, unsigned layer, uint64_t at,
		       uint64_t len)
{
	/* A parent may be larger than the disk that is looked at. */
	if (at >= a->size_bytes)
		return;
	if (len > a->size_bytes - at)
		len = a->size_bytes - at;
	for (unsigned i = 0; i < a->grids; i++) {
		struct inspect_grid *g = &a->grid[i];

		add(g, g->stored + (size_t)layer * g->cells, at, len);
	}
}

/* ----------------------------------------------------- layer by layer -- */

/* Data in the block that begins at `at`, and where the look went on to. */
static int count_block(struct counting *c, unsigned i, uint64_t at,
		       uint64_t end, uint64_t *data, struct vhd_err *err)
{
	struct extent e;

	*data = 0;
	for (; at < end; at += e.len_bytes) {
		int rc = extents_layer_at(&c->x, i, at, &e, err);

		if (rc)
			return rc;
		if (e.len_bytes > end - at)
			e.len_bytes = end - at;
		if (e.kind != EXTENT_DATA)
			continue;
		*data += e.len_bytes;
		add_stored(c->a, i, at, e.len_bytes);
	}
	return 0;
}

static int count_blocks(struct counting *c, unsigned i,
			const struct vhd_info *info, struct vhd_err *err)
{
	struct inspect_share *s = &c->a->share[i];

	c->partial[i] = calloc(info->blocks / 64 + 1, sizeof(uint64_t));
	if (!c->partial[i])
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	for (uint32_t b = 0; b < info->blocks; b++) {
		uint64_t at = (uint64_t)b * info->block_size_bytes;
		uint64_t end = at + info->block_size_bytes, off, data;
		int rc;

		if (b % SHOW_BLOCKS == 0)
			cli_progress_show(&c->progress, at, at);
		if (vhd_layer_block(c->x.img, i, b, &off) || !off)
			continue;
		if (end > info->size_bytes)
			end = info->size_bytes;
		rc = count_block(c, i, at, end, &data, err);
		if (rc)
			return rc;
		s->blocks++;
		s->stored_bytes += data;
		s->unset_bytes += end - at - data;
		if (data == end - at)
			continue;
		s->partial++;
		c->partial[i][b / 64] |= 1ull << (b % 64);
	}
	return 0;
}

/* A raw or fixed layer: what its file has no hole for. */
static int count_flat(struct counting *c, unsigned i,
		      const struct vhd_info *info, struct vhd_err *err)
{
	struct inspect_share *s = &c->a->share[i];
	struct extent e;

	for (uint64_t at = 0; at < info->size_bytes; at += e.len_bytes) {
		int rc = extents_layer_at(&c->x, i, at, &e, err);

		if (rc)
			return rc;
		if (e.kind != EXTENT_DATA)
			continue;
		s->stored_bytes += e.len_bytes;
		add_stored(c->a, i, at, e.len_bytes);
	}
	return 0;
}

static int count_layers(struct counting *c, struct vhd_err *err)
{
	for (unsigned i = 0; i < c->a->layers; i++) {
		struct vhd_layer layer;
		int rc;

		if (vhd_layer(c->x.img, i, &layer))
			break;
		cli_progress_end(&c->progress);
		cli_progress_start(&c->progress, "looking at blocks",
				   layer.info->size_bytes, c->quiet);
		rc = inspect_has_blocks(layer.info)
			     ? count_blocks(c, i, layer.info, err)
			     : count_flat(c, i, layer.info, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* --------------------------------------------------- the composed disk -- */

static bool in_partial(const struct counting *c, const struct extent *e)
{
	struct vhd_layer layer;
	uint64_t block;

	if (!c->partial[e->layer] || vhd_layer(c->x.img, e->layer, &layer))
		return false;
	block = e->start_bytes / layer.info->block_size_bytes;
	return c->partial[e->layer][block / 64] >> (block % 64) & 1;
}

static void take_data(struct counting *c, const struct extent *e, uint64_t at,
		      uint64_t len, bool zero)
{
	struct inspect_alloc *a = c->a;

	if (zero) {
		a->share[e->layer].seen_zero_bytes += len;
		a->rest_bytes[INSPECT_ZERO] += len;
		for (unsigned i = 0; i < a->grids; i++) {
			struct inspect_grid *g = &a->grid[i];

			add(g, g->zeros + (size_t)e->layer * g->cells, at,
			    len);
		}
	}
	add_seen(a, zero ? a->layers + INSPECT_ZERO : e->layer, at, len);
}

/* Read an extent to part what is only zeros from the rest. */
static int read_data(struct counting *c, const struct extent *e,
		     struct vhd_err *err)
{
	uint64_t at = e->start_bytes, end = at + e->len_bytes;

	while (at < end) {
		size_t n = end - at < READ_BYTES ? (size_t)(end - at)
						 : READ_BYTES;
		int rc = vhd_read(c->x.img, at, c->buf, n, err);

		if (rc)
			return rc;
		for (size_t in = 0, part; in < n; in += part) {
			part = ZERO_GRAIN_BYTES -
			       (size_t)((at + in) % ZERO_GRAIN_BYTES);
			if (part > n - in)
				part = n - in;
			take_data(c, e, at + in, part,
				  !isal_zero_detect(c->buf + in, part));
		}
		at += n;
		c->read_bytes += n;
		cli_progress_show(&c->progress, at, c->read_bytes);
	}
	return 0;
}

static int count_data(struct counting *c, const struct extent *e,
		      struct vhd_err *err)
{
	struct inspect_alloc *a = c->a;

	a->share[e->layer].seen_bytes += e->len_bytes;
	if (in_partial(c, e)) {
		a->partial_bytes += e->len_bytes;
		for (unsigned i = 0; i < a->grids; i++)
			add(&a->grid[i], a->grid[i].partial, e->start_bytes,
			    e->len_bytes);
	}
	if (c->buf)
		return read_data(c, e, err);
	take_data(c, e, e->start_bytes, e->len_bytes, false);
	return 0;
}

static int count_disk(struct counting *c, struct vhd_err *err)
{
	static const enum inspect_rest rests[] = {
		[EXTENT_ZERO] = INSPECT_ZERO,
		[EXTENT_HOLE] = INSPECT_HOLE,
		[EXTENT_PARENT] = INSPECT_LOST,
	};
	struct inspect_alloc *a = c->a;
	struct extent e;

	for (uint64_t at = 0; at < a->size_bytes; at += e.len_bytes) {
		int rc = extents_at(&c->x, at, &e, err);

		if (!rc && e.kind == EXTENT_DATA)
			rc = count_data(c, &e, err);
		if (rc)
			return rc;
		if (e.kind == EXTENT_DATA)
			continue;
		a->rest_bytes[rests[e.kind]] += e.len_bytes;
		add_seen(a, a->layers + rests[e.kind], at, e.len_bytes);
	}
	return 0;
}

/* ----------------------------------------------------------------- all -- */

static uint64_t blocks_used(struct vhd *img)
{
	struct vhd_layer layer;
	uint64_t sum = 0;

	for (unsigned i = 0; !vhd_layer(img, i, &layer); i++)
		sum += layer.info->blocks_used;
	return sum;
}

static int prepare(struct counting *c, const struct inspect_alloc_opts *opts,
		   struct vhd_err *err)
{
	struct inspect_alloc *a = c->a;
	int rc = 0;

	a->share = calloc(a->layers, sizeof(*a->share));
	if (opts->zeros)
		c->buf = malloc(READ_BYTES);
	if (!a->share || (opts->zeros && !c->buf))
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	while (!rc && a->grids < opts->grids) {
		rc = grid_init(&a->grid[a->grids], a,
			       opts->cell_bytes[a->grids], err);
		a->grids++;
	}
	return rc;
}

int inspect_alloc_count(struct inspect_alloc *a, struct vhd *img,
			const struct inspect_alloc_opts *opts,
			struct vhd_err *err)
{
	const struct vhd_info *info = vhd_get_info(img);
	struct counting *c = calloc(1, sizeof(*c));
	int rc;

	*a = (struct inspect_alloc){
		.layers = info->layers,
		.size_bytes = info->size_bytes,
		.zeros = opts->zeros,
		.bitmaps = opts->bitmaps ||
			   blocks_used(img) <= INSPECT_BITMAPS_MAX,
	};
	if (!c)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	c->a = a;
	extents_init(&c->x, img);
	c->x.blocks_only = !a->bitmaps;
	c->quiet = opts->quiet;
	rc = prepare(c, opts, err);
	if (!rc)
		rc = count_layers(c, err);
	cli_progress_end(&c->progress);
	cli_progress_start(&c->progress, "looking for zeros", info->size_bytes,
			   opts->quiet || !opts->zeros);
	if (!rc)
		rc = count_disk(c, err);
	cli_progress_end(&c->progress);
	for (unsigned i = 0; i < VHD_CHAIN_MAX; i++)
		free(c->partial[i]);
	free(c->buf);
	free(c);
	return rc;
}

void inspect_alloc_free(struct inspect_alloc *a)
{
	for (unsigned i = 0; i < a->grids; i++) {
		free(a->grid[i].seen);
		free(a->grid[i].stored);
		free(a->grid[i].zeros);
		free(a->grid[i].partial);
	}
	free(a->share);
	*a = (struct inspect_alloc){0};
}

uint64_t inspect_data_bytes(const struct inspect_alloc *a)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < a->layers; i++)
		sum += a->share[i].seen_bytes - a->share[i].seen_zero_bytes;
	return sum;
}
