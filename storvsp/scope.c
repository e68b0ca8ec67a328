/* SPDX-License-Identifier: BSD-2-Clause */
/* See scope.h. */
#include "scope.h"
#include "scsi/target.h"

bool storvsp_scope_has(const struct reset_scope *s,
		       const struct storvsp_disk *d)
{
	if (!s)
		return true;
	if (s->disk)
		return d == s->disk;
	switch (s->op) {
	case STORVSP_OP_RESET_LUN:
		return d->path == s->path && d->target == s->target &&
		       d->lun == s->lun;
	case STORVSP_OP_RESET_BUS:
		return d->path == s->path;
	default:
		return true;
	}
}

static bool equal(const struct reset_scope *a, const struct reset_scope *b)
{
	return a->op == b->op && a->path == b->path && a->target == b->target &&
	       a->lun == b->lun;
}

/* Of two different ones: everything. */
struct reset_scope storvsp_scope_join(const struct reset_scope *a,
				      const struct reset_scope *b)
{
	struct reset_scope both = *b;

	if (!equal(a, b))
		both.op = STORVSP_OP_RESET_ADAPTER;
	return both;
}
