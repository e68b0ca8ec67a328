/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that leave in order through one descriptor, as they are or as gzip.
 * Private to tools/.
 */
#ifndef CONVERT_BYTES_H
#define CONVERT_BYTES_H

#include "convert.h"

struct convert_bytes;

/* Write to `fd`, which is borrowed, in threads of their own; `path` is blamed.
 * `level`: of gzip, 1 to 9; 0: bytes as they are.
 */
int convert_bytes_open(struct convert_bytes **out, struct convert_job *job,
		       int fd, const char *path, int level,
		       struct vhd_err *err);
/* Take some of these; returns how many. Short of all: wait until the job's
 * wait ends and try again.
 */
size_t convert_bytes_put(struct convert_bytes *b, const void *bytes,
			 size_t len);
/* The same of zeros; long runs cost next to nothing. */
uint64_t convert_bytes_zeros(struct convert_bytes *b, uint64_t len);
/* That was all: wait until it is written. */
int convert_bytes_end(struct convert_bytes *b, struct vhd_err *err);
/* Note in the job what failed. */
void convert_bytes_turn(struct convert_bytes *b);
/* Stop, whatever is left. Takes `b`, which may be NULL. */
void convert_bytes_close(struct convert_bytes *b);

/* -------------------------------------------------------- gzip, in parts -- */

/* What one part takes, and at most becomes. */
#define CONVERT_PART_BYTES (256u << 10)
#define CONVERT_DICT_BYTES (32u << 10)
#define CONVERT_PACKED_BYTES (CONVERT_PART_BYTES + (8u << 10))

/* One thread's compressor. */
struct convert_deflate;
struct convert_deflate *convert_deflate_open(int level);
void convert_deflate_close(struct convert_deflate *d);
/* Compress a part so that it can stand behind any other: `dict` is what
 * stands in front of it, or its end. Returns the length in `out`, which has
 * CONVERT_PACKED_BYTES; 0: zlib failed.
 */
size_t convert_deflate_part(struct convert_deflate *d, const uint8_t *dict,
			    size_t dict_len, const uint8_t *in, size_t len,
			    uint8_t *out);
/* CRC-32 of a part, and of one part behind another. */
uint32_t convert_crc(const uint8_t *bytes, size_t len);
uint32_t convert_crc_join(uint32_t a, uint32_t b, uint64_t b_len);
uint32_t convert_crc_zeros(uint64_t len);

#define CONVERT_GZIP_HEAD_BYTES 10u
#define CONVERT_GZIP_TAIL_BYTES 10u
void convert_gzip_head(uint8_t out[CONVERT_GZIP_HEAD_BYTES], int level);
/* What ends the last part, and the member. */
void convert_gzip_tail(uint8_t out[CONVERT_GZIP_TAIL_BYTES], uint32_t crc,
		       uint64_t len);

#endif
