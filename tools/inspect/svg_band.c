/* SPDX-License-Identifier: BSD-2-Clause */
/* Bands of the SVG. A band is one path a state; neighbours of the same height
 * are one rectangle in it, so that a terabyte of nothing is a few bytes.
 */
#include <errno.h>
#include <stdlib.h>

#include "svg.h"

/* So that the smallest data is seen. */
#define VISIBLE 2.0
#define DOT 2 /* of the order plot */

const char *svg_layer_colour(uint32_t layer)
{
	static const char *const colours[] = {
		"#1f5fa8", "#e08a1e", "#3b9b6d", "#8d5ab5",
		"#c94f5d", "#2f9fb3", "#9a7b4f", "#6c7a89",
	};

	return colours[layer % (sizeof(colours) / sizeof(colours[0]))];
}

/* --------------------------------------------------------------- paths -- */

/* A path of rectangles, joined while they have the same top and height. */
struct path {
	FILE *out;
	const char *fill;
	const char *opacity; /* or NULL */
	bool open; /* something was drawn */
	double x, y, width, height;
};

static void path_flush(struct path *p)
{
	if (p->height <= 0)
		return;
	if (!p->open && p->opacity)
		fprintf(p->out,
			"<path fill=\"%s\" fill-opacity=\"%s\" d=\"",
			p->fill, p->opacity);
	else if (!p->open)
		fprintf(p->out, "<path fill=\"%s\" d=\"", p->fill);
	p->open = true;
	fprintf(p->out, "M%.2f %.1fh%.2fv%.1fh-%.2fz", p->x, p->y, p->width,
		p->height, p->width);
	p->height = 0;
}

static void path_add(struct path *p, double x, double y, double width,
		     double height)
{
	double gap = x - p->x - p->width;

	if (p->height == height && p->y == y && gap < 0.01) {
		p->width = x + width - p->x;
		return;
	}
	path_flush(p);
	p->x = x;
	p->y = y;
	p->width = width;
	p->height = height;
}

static void path_end(struct path *p)
{
	path_flush(p);
	if (p->open)
		fputs("\"/>\n", p->out);
}

/* --------------------------------------------------------------- stacks -- */

static double cell_x(const struct svg *s, uint32_t cell, double *width)
{
	double scale = SVG_PLOT_WIDTH / (double)s->a->size_bytes;
	uint64_t from = cell * s->g->cell_bytes;
	uint64_t to = from + s->g->cell_bytes;

	if (to > s->a->size_bytes)
		to = s->a->size_bytes;
	*width = (double)(to - from) * scale;
	return SVG_PLOT_X + (double)from * scale;
}

static uint64_t cell_len(const struct svg *s, uint32_t cell)
{
	uint64_t left = s->a->size_bytes - cell * s->g->cell_bytes;

	return left < s->g->cell_bytes ? left : s->g->cell_bytes;
}

/* Steps of a tenth, so that equal things look and compare equal. */
static double part_height(uint64_t bytes, uint64_t len, double height)
{
	double h = height * (double)bytes / (double)len;

	if (!bytes)
		return 0;
	if (h < VISIBLE)
		h = VISIBLE;
	return (double)(int)(h * 10 + 0.5) / 10;
}

/* Bottom and height of state `state` in the stack of a cell: layers from the
 * bottom, then zero, then what is lost. Holes are the ground.
 */
static double stack(const struct svg *s, uint32_t cell, uint32_t state,
		    double height, double *bottom)
{
	static const uint32_t order[] = {INSPECT_ZERO, INSPECT_LOST};
	uint64_t len = cell_len(s, cell);
	double at = 0, h = 0;

	for (uint32_t i = 0; i < s->a->layers + 2; i++) {
		uint32_t now = i < s->a->layers
				       ? i
				       : s->a->layers +
						 order[i - s->a->layers];

		h = part_height(inspect_seen(s->g, now, cell), len, height);
		if (at + h > height)
			h = height - at;
		if (now == state)
			break;
		at += h;
	}
	*bottom = at;
	return h;
}

static void state_path(const struct svg *s, uint32_t state, const char *fill,
		       double y, double height)
{
	struct path p = {.out = s->out, .fill = fill};

	for (uint32_t i = 0; i < s->g->cells; i++) {
		double bottom, width, x = cell_x(s, i, &width);
		double h;

		if (!inspect_seen(s->g, state, i))
			continue;
		h = stack(s, i, state, height, &bottom);
		if (h > 0)
			path_add(&p, x, y + height - bottom - h, width, h);
	}
	path_end(&p);
}

/* Hatching over data in partial blocks, from the bottom of the stack. */
static void partial_path(const struct svg *s, double y, double height)
{
	struct path p = {.out = s->out, .fill = "url(#partial)"};

	for (uint32_t i = 0; i < s->g->cells; i++) {
		double width, x = cell_x(s, i, &width);
		double h = part_height(s->g->partial[i], cell_len(s, i),
				       height);

		if (h > 0)
			path_add(&p, x, y + height - h, width, h);
	}
	path_end(&p);
}

static void ground(const struct svg *s, double y, double height)
{
	fprintf(s->out,
		"<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" "
		"fill=\"%s\"/>\n",
		SVG_PLOT_X, y, SVG_PLOT_WIDTH, height, SVG_HOLE_COLOUR);
}

static void frame(const struct svg *s, double y, double height)
{
	fprintf(s->out,
		"<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" "
		"class=\"frame\"/>\n",
		SVG_PLOT_X, y, SVG_PLOT_WIDTH, height);
}

void svg_band_disk(const struct svg *s, double y, double height)
{
	ground(s, y, height);
	for (uint32_t i = 0; i < s->a->layers; i++)
		state_path(s, i, svg_layer_colour(i), y, height);
	state_path(s, s->a->layers + INSPECT_ZERO, SVG_ZERO_COLOUR, y, height);
	state_path(s, s->a->layers + INSPECT_LOST, SVG_LOST_COLOUR, y, height);
	partial_path(s, y, height);
	frame(s, y, height);
}

/* -------------------------------------------------------------- layers -- */

enum part { PART_SEEN, PART_ZEROS, PART_COVERED };

/* Of a layer's data in a cell: what is seen, what of that is zeros, and what
 * the layers above cover, one on the other.
 */
static double layer_part(const struct svg *s, uint32_t layer, uint32_t cell,
			 enum part part, double height, double *bottom)
{
	size_t at = (size_t)layer * s->g->cells + cell;
	uint64_t len = cell_len(s, cell);
	double seen = part_height(inspect_seen(s->g, layer, cell), len, height);
	double zeros = part_height(s->g->zeros[at], len, height);
	double all = part_height(s->g->stored[at], len, height);

	*bottom = part == PART_SEEN    ? 0
		  : part == PART_ZEROS ? seen
				       : seen + zeros;
	return part == PART_SEEN    ? seen
	       : part == PART_ZEROS ? zeros
				    : all - seen - zeros;
}

static void layer_path(const struct svg *s, uint32_t layer, enum part part,
		       double y, double height)
{
	struct path p = {
		.out = s->out,
		.fill = part == PART_ZEROS ? SVG_ZERO_COLOUR
					   : svg_layer_colour(layer),
		.opacity = part == PART_COVERED ? SVG_COVERED_OPACITY : NULL,
	};

	for (uint32_t i = 0; i < s->g->cells; i++) {
		double bottom, width, x = cell_x(s, i, &width);
		double h = layer_part(s, layer, i, part, height, &bottom);

		if (bottom + h > height)
			h = height - bottom;
		if (h > 0.05)
			path_add(&p, x, y + height - bottom - h, width, h);
	}
	path_end(&p);
}

void svg_band_layer(const struct svg *s, uint32_t layer, double y,
		    double height)
{
	ground(s, y, height);
	layer_path(s, layer, PART_SEEN, y, height);
	layer_path(s, layer, PART_ZEROS, y, height);
	layer_path(s, layer, PART_COVERED, y, height);
	frame(s, y, height);
}

/* --------------------------------------------------------------- order -- */

struct dots {
	uint32_t columns;
	uint32_t rows;
	uint8_t *set;
};

static void dot_block(struct dots *d, const struct vhd_info *info,
		      uint32_t block, uint64_t off)
{
	uint64_t at = (uint64_t)block * info->block_size_bytes;
	double fx = (double)d->columns / (double)info->file_bytes;
	double len = (double)info->bitmap_bytes + info->block_size_bytes;
	uint32_t from = (uint32_t)((double)off * fx);
	uint32_t to = (uint32_t)(((double)off + len) * fx);
	uint32_t row = (uint32_t)((double)at / (double)info->size_bytes *
				  d->rows);

	if (row >= d->rows)
		row = d->rows - 1;
	if (to <= from)
		to = from + 1;
	for (uint32_t x = from; x < to && x < d->columns; x++)
		d->set[(size_t)row * d->columns + x] = 1;
}

static void put_dots(const struct svg *s, const struct dots *d, double y,
		     double height)
{
	struct path p = {.out = s->out, .fill = svg_layer_colour(0)};

	for (uint32_t row = 0; row < d->rows; row++)
		for (uint32_t x = 0; x < d->columns; x++)
			if (d->set[(size_t)row * d->columns + x])
				path_add(&p, SVG_PLOT_X + x * DOT,
					 y + height - (row + 1) * DOT, DOT,
					 DOT);
	path_end(&p);
}

int svg_band_order(const struct svg *s, double y, double height,
		   struct vhd_err *err)
{
	const struct vhd_info *info = s->r->info;
	struct dots d = {
		.columns = SVG_PLOT_WIDTH / DOT,
		.rows = (uint32_t)height / DOT,
	};
	uint64_t off;

	d.set = calloc((size_t)d.columns * d.rows, 1);
	if (!d.set)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	for (uint32_t b = 0; b < info->blocks; b++)
		if (!vhd_layer_block(s->r->img, 0, b, &off) && off)
			dot_block(&d, info, b, off);
	ground(s, y, height);
	put_dots(s, &d, y, height);
	frame(s, y, height);
	free(d.set);
	return 0;
}
