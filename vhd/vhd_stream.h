/* SPDX-License-Identifier: BSD-2-Clause */
/* A new image as a sequence of bytes from the first to the last, for where
 * nothing can be written twice: pipes, compressed files. Byte for byte the
 * file that vhd_create makes when the blocks in use are written in order.
 * Part of vhd.h, which includes this; rules as there.
 */
#ifndef VHD_PUBLIC_STREAM_H
#define VHD_PUBLIC_STREAM_H

#include "vhd.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vhd_stream;

/* `used`: for DYNAMIC, bit b % 8 of byte b / 8 says that block b gets space,
 * whatever it holds; what else the disk holds must be zero. Not needed behind
 * the call. Memory: 4 bytes a block in use.
 * Errors: those of the same options in vhd_create; -ENOTSUP (UNSUPPORTED): one
 *   with a batmap; -EFBIG (NO_SPACE): the
 *   blocks would pass the format's reach.
 */
int vhd_stream_create(const struct vhd_create_opts *opts, const uint8_t *used,
		      struct vhd_stream **out, struct vhd_err *err);
void vhd_stream_destroy(struct vhd_stream *s);

/* The file's length. */
uint64_t vhd_stream_bytes(const struct vhd_stream *s);

enum vhd_stream_kind {
	VHD_STREAM_META, /* bytes that vhd_stream_meta gives */
	VHD_STREAM_DATA, /* bytes of the disk */
};

struct vhd_stream_run {
	enum vhd_stream_kind kind;
	uint64_t len_bytes;  /* 0: the file's end */
	uint64_t disk_bytes; /* DATA: where on the disk */
};

/* What the file has at `off_bytes`. The disk's parts come in order. */
void vhd_stream_at(const struct vhd_stream *s, uint64_t off_bytes,
		   struct vhd_stream_run *run);

/* Bytes of the file within a META run. */
void vhd_stream_meta(const struct vhd_stream *s, uint64_t off_bytes,
		     uint8_t *buf, size_t len_bytes);

#ifdef __cplusplus
}
#endif

#endif
