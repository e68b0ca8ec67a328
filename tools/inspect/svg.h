/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the SVG: bands are drawn by svg_band.c, the legend by
 * svg_legend.c, text by svg_text.c, everything around them by svg.c. Private to
 * tools/.
 */
#ifndef INSPECT_SVG_H
#define INSPECT_SVG_H

#include "picture.h"

/* The page, in its own units; 1 is a pixel at 1200 wide. */
#define SVG_WIDTH 1200
#define SVG_PLOT_X 210 /* where the disk begins */
#define SVG_PLOT_WIDTH 950

struct svg {
	FILE *out;
	const struct inspect_report *r;
	const struct inspect_alloc *a;
	const struct inspect_grid *g;
};

/* Escaped, and cut to `most` characters with a sign that it was. */
void svg_put(FILE *out, const char *text, size_t most);
/* A line of text, cleaned and escaped. */
__attribute__((format(printf, 5, 6))) void
svg_text(const struct svg *s, double x, double y, const char *class,
	 const char *fmt, ...);

/* At most so many characters, the middle left out where there are more: the end
 * of a name tells as much as its beginning. Returns `text` or `buf`.
 */
#define SVG_SHORT 512
const char *svg_shorten(const char *text, size_t most, char buf[SVG_SHORT]);

/* Totals of every state; returns where it ends. */
double svg_legend(const struct svg *s, double y);

/* Colours of a layer's data. */
const char *svg_layer_colour(uint32_t layer);

#define SVG_ZERO_COLOUR "#a8d5e5"
#define SVG_HOLE_COLOUR "#f1f4f7"
#define SVG_LOST_COLOUR "#e4c4c4"
#define SVG_COVERED_OPACITY ".25" /* of the layer's colour */

/* The composed disk: each column a stack of what it is made of. */
void svg_band_disk(const struct svg *s, double y, double height);
/* One layer: its data that is seen, over that which others cover. */
void svg_band_layer(const struct svg *s, uint32_t layer, double y,
		    double height);
/* Where the blocks of the image itself lie in its file: file offset to the
 * right, disk offset upwards.
 */
int svg_band_order(const struct svg *s, double y, double height,
		   struct vhd_err *err);

#endif
