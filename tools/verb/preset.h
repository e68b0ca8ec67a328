/* SPDX-License-Identifier: BSD-2-Clause */
/* What products want of a new image: vhd create --for. Private to tools/. */
#ifndef VERB_PRESET_H
#define VERB_PRESET_H

#include "vhd/vhd.h"

struct verb_preset {
	enum vhd_format format; /* where the user names none */
	bool format_only;	/* ... and may not name another */
	uint64_t size_min_bytes;
	uint64_t size_max_bytes;
	uint64_t size_unit_bytes;  /* sizes are rounded up to whole ones */
	bool size_chs;		   /* ... to a size that geometry tells */
	uint32_t block_size_bytes; /* the only one it takes, or 0 for any */
	const struct vhd_creator *creator; /* NULL: the library's */
	bool batmap;                       /* of a dynamic image */
};

/* NULL where the product wants nothing special. */
const struct verb_preset *verb_preset(enum vhd_target target);

/* The size to make for the one asked for, rounded up as the preset says.
 * Returns false where it is beyond what the product takes.
 */
bool verb_preset_size(const struct verb_preset *p, uint64_t asked_bytes,
		      uint64_t *bytes);

#endif
