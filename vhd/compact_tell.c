/* SPDX-License-Identifier: BSD-2-Clause */
/* How far compacting has come, for the caller, who may end it. */
#include <errno.h>

#include "compact_int.h"
#include "fail.h"

int compact_tell(const struct compact *c, uint64_t pos, uint64_t total,
		 struct vhd_err *err)
{
	uint64_t unit = c->img->blocked ? c->img->info.block_size_bytes : 1;

	if (!c->opts->progress ||
	    !c->opts->progress(c->opts->ctx, pos * unit, total * unit))
		return 0;
	return vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			"ended early; the image is whole, and running it "
			"again goes on");
}
