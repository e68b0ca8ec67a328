/* SPDX-License-Identifier: BSD-2-Clause */
/* Images that leave as one sequence of bytes. Private to tools/. */
#ifndef CONVERT_SERIAL_H
#define CONVERT_SERIAL_H

#include "bytes.h"

/* Which blocks of a disk hold anything but zeros: what has to be known before
 * the first byte of a dynamic image. A sink that keeps nothing else.
 */
struct convert_survey {
	struct convert_sink sink;
	uint32_t block_bytes;
	uint8_t *used; /* a bit a block; owned */
};

int convert_survey_init(struct convert_survey *s, struct convert_job *job,
			uint64_t size_bytes, uint32_t block_bytes,
			struct vhd_err *err);
void convert_survey_fini(struct convert_survey *s);

#define CONVERT_META_BYTES 16384u

struct convert_serial {
	struct convert_sink sink;
	struct convert_bytes *bytes;
	struct vhd_create_opts create;
	struct vhd_stream *plan;  /* owned; NULL: the size is not known yet */
	uint64_t off_bytes;       /* in the image's file */
	uint64_t took_bytes;      /* of the piece at work */
	struct convert_io *first; /* pieces that wait */
	struct convert_io *last;
	uint8_t meta[CONVERT_META_BYTES];
};

/* Make an image of `create` into `bytes`, which is borrowed. `used`: for a
 * dynamic one, from a survey. A raw or fixed one may have size_bytes 0: it is
 * then told at the end.
 */
int convert_serial_init(struct convert_serial *s, struct convert_job *job,
			struct convert_bytes *bytes, const char *path,
			const struct vhd_create_opts *create,
			const uint8_t *used, struct vhd_err *err);

#endif
