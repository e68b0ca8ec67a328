/* SPDX-License-Identifier: BSD-2-Clause */
/* What a reset is about: a disk, a bus, or all there is. */
#ifndef STORVSP_SCOPE_H
#define STORVSP_SCOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

struct storvsp_disk;

struct reset_scope {
	enum storvsp_op op; /* RESET_LUN, RESET_BUS or RESET_ADAPTER */
	uint8_t path, target, lun;
	const struct storvsp_disk *disk; /* or this one alone */
};

/* `s` NULL: everything is. */
bool storvsp_scope_has(const struct reset_scope *s,
		       const struct storvsp_disk *d);
/* One that takes in both. */
struct reset_scope storvsp_scope_join(const struct reset_scope *a,
				      const struct reset_scope *b);

#endif
