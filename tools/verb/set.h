/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of vhd set. Private to tools/. */
#ifndef VERB_SET_H
#define VERB_SET_H

#include <stdint.h>

/* Tell each differencing disk in the directory of the image at `path`, that
 * asks for the id and whose parent is this file, or cannot be found. Those
 * elsewhere are beyond knowing; what cannot be read is passed over.
 */
void set_children_find(const char *path, const uint8_t id[16],
		       void (*found)(void *ctx, const char *path), void *ctx);

#endif
