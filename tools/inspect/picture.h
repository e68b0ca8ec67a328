/* SPDX-License-Identifier: BSD-2-Clause */
/* The two pictures of an allocation, and the words both use. Private to
 * tools/.
 */
#ifndef INSPECT_PICTURE_H
#define INSPECT_PICTURE_H

#include "alloc.h"

/* --------------------------------------------------------------- words -- */

#define INSPECT_LAYER_NAME 128

/* The last component of a layer's path. */
const char *inspect_layer_name(const struct inspect_report *r, unsigned layer,
			       char buf[INSPECT_LAYER_NAME]);
/* "1 ext4 \"root\"": number, file system, else name or type, label. */
const char *inspect_part_label(const struct inspect_content *c,
			       const struct inspect_part *p, char *buf,
			       size_t n);
/* An MBR's container of logical partitions. */
bool inspect_part_extended(const struct inspect_content *c,
			   const struct inspect_part *p);

/* ------------------------------------------------------------ terminal -- */

struct inspect_style {
	unsigned columns;
	bool utf8;
	bool colour;
};

/* Bytes a cell, so that the disk fits some rows of the given width. */
uint64_t inspect_map_cell(uint64_t size_bytes, unsigned columns);

void inspect_map(const struct inspect_report *r, const struct inspect_alloc *a,
		 const struct inspect_grid *g,
		 const struct inspect_style *style, FILE *out);

/* ----------------------------------------------------------------- SVG -- */

uint64_t inspect_svg_cell(uint64_t size_bytes);

/* Draw into a file that appears under its name when it is complete. One that
 * exists is replaced only if it is an SVG itself.
 * Errors: -EEXIST (UNSUPPORTED) it is not; those of writing.
 */
int inspect_svg(const struct inspect_report *r, const struct inspect_alloc *a,
		const struct inspect_grid *g, const char *path,
		struct vhd_err *err);

#endif
