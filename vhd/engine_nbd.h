/* SPDX-License-Identifier: BSD-2-Clause */
/* A second engine around a queue's own, for images on NBD exports. Private to
 * vhd/; see engine_nbd.c.
 */
#ifndef VHD_ENGINE_NBD_H
#define VHD_ENGINE_NBD_H

#include "engine.h"

/* Its `create` is not used: it is put around an engine that is there, which
 * belongs to it from then on. On failure the caller still has that.
 */
extern const struct vhd_engine_ops vhd_engine_nbd;

/* The descriptors that it needs, which may be made long before. */
int vhd_engine_nbd_prepare(void **spare, struct vhd_err *err);
void vhd_engine_nbd_discard(void *spare); /* may be NULL */
/* Where the queue waits for `wake_fd`, so that the engine can do so later. A
 * system call only where it is another one than before.
 */
int vhd_engine_nbd_watch(void *spare, int wake_fd);
/* Takes `spare` unless it fails. */
int vhd_engine_nbd_wrap(void *spare, const struct vhd_engine_ops *inner,
			void *inner_state, uint32_t depth, void **state,
			struct vhd_err *err);
/* What it is around. */
const struct vhd_engine_ops *vhd_engine_nbd_inner(void *state,
						  void **inner_state);
/* Put it around another one; the caller has the former one again. */
void vhd_engine_nbd_rewrap(void *state, const struct vhd_engine_ops *inner,
			   void *inner_state);

#endif
