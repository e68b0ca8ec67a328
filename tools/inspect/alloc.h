/* SPDX-License-Identifier: BSD-2-Clause */
/* Which bytes of a disk come from where: the numbers behind the report's
 * contributions and both pictures. Private to tools/.
 *
 * The disk is seen as composed of its layers; each byte has one state: data of
 * one layer, zero although a file has the space, hole, or in a parent that is
 * not open. A grid counts the states in equal cells from the disk's start to
 * its end; several grids are filled in one pass.
 */
#ifndef INSPECT_ALLOC_H
#define INSPECT_ALLOC_H

#include "extent.h"
#include "inspect.h"

/* States of a byte: the layer's number, or one of these behind the layers. */
enum inspect_rest {
	INSPECT_ZERO,
	INSPECT_HOLE,
	INSPECT_LOST, /* in a parent that is not open */
	INSPECT_RESTS,
};

#define INSPECT_GRIDS 2

struct inspect_grid {
	uint64_t cell_bytes; /* the last cell may be shorter */
	uint32_t cells;
	uint64_t *seen;      /* [state][cell]: of the composed disk */
	uint64_t *partial;   /* [cell]: data seen in partial blocks */
	uint64_t *stored;    /* [layer][cell]: data in that file, seen or not */
	uint64_t *zeros;     /* [layer][cell]: of it, seen, found to be zeros */
};

struct inspect_share {
	uint64_t seen_bytes;   /* of the composed disk: this layer's data */
	uint64_t seen_zero_bytes; /* of these, found to hold only zeros */
	uint64_t stored_bytes; /* its data, seen or covered */
	uint64_t unset_bytes;  /* space in its blocks that holds no data */
	uint32_t blocks;       /* with a place; 0 for raw and fixed */
	uint32_t partial;      /* of these, with data in a part only */
};

struct inspect_alloc {
	uint32_t layers;
	uint64_t size_bytes;
	bool bitmaps; /* were read; else each block counts as all data */
	bool zeros;   /* data was read to find zeros in it */
	uint64_t rest_bytes[INSPECT_RESTS];
	uint64_t partial_bytes; /* of data seen, in partial blocks */
	struct inspect_share *share; /* a layer */
	unsigned grids;
	struct inspect_grid grid[INSPECT_GRIDS];
};

struct inspect_alloc_opts {
	bool bitmaps; /* read them however many there are */
	bool zeros;
	bool quiet;   /* no progress */
	unsigned grids;
	uint64_t cell_bytes[INSPECT_GRIDS];
};

/* More blocks than this in a chain: their bitmaps are read only on request,
 * for each may cost a disk access.
 */
#define INSPECT_BITMAPS_MAX 32768u

/* Count. The result is released by inspect_alloc_free, also after failure. */
int inspect_alloc_count(struct inspect_alloc *a, struct vhd *img,
			const struct inspect_alloc_opts *opts,
			struct vhd_err *err);
void inspect_alloc_free(struct inspect_alloc *a);

static inline uint64_t inspect_seen(const struct inspect_grid *g,
				    uint32_t state, uint32_t cell)
{
	return g->seen[(size_t)state * g->cells + cell];
}

/* Data of all layers that is not known to be zero. */
uint64_t inspect_data_bytes(const struct inspect_alloc *a);

#endif
