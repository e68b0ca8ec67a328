/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of `vhd merge`. Private to tools/.
 *
 *   merge.c     the command line, the merge, what is told of it
 *   merge_others.c   what else builds on the images that change
 */
#ifndef VERB_MERGE_H
#define VERB_MERGE_H

#include <json-c/json.h>

#include "vhd/vhd.h"

/* Add to the array `found` the paths of differencing disks that build on one
 * of `layers` (`count` of them, the target last), are none of these, and lie
 * in a directory that one of these is in. The topmost one counts only if it
 * `goes`: what builds on it keeps its content otherwise.
 * Errors: a directory that cannot be read, or no memory.
 */
int merge_others_find(const struct vhd_layer *layers, unsigned count, bool goes,
		      struct json_object *found, struct vhd_err *err);

#endif
