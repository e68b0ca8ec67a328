/* SPDX-License-Identifier: BSD-2-Clause */
/* Integers as they lie on disk and on a ring: structs of bytes, so that they
 * can be neither added nor compared by accident and carry no padding. Reading
 * one is a copy and, where need be, a swap: of bytes put together by hand the
 * compiler makes a load only where they are still in memory.
 * Floor header: no state, open to every module.
 */
#ifndef VHD_ENDIAN_H
#define VHD_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} be16;
typedef struct {
	uint8_t b[4];
} be32;
typedef struct {
	uint8_t b[8];
} be64;
typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

static inline uint16_t be16_get(be16 v)
{
	uint16_t n;

	memcpy(&n, v.b, sizeof(n));
	return be16toh(n);
}

static inline be16 be16_put(uint16_t n)
{
	return (be16){{(uint8_t)(n >> 8), (uint8_t)n}};
}

static inline uint32_t be32_get(be32 v)
{
	uint32_t n;

	memcpy(&n, v.b, sizeof(n));
	return be32toh(n);
}

static inline be32 be32_put(uint32_t n)
{
	return (be32){{(uint8_t)(n >> 24), (uint8_t)(n >> 16),
		       (uint8_t)(n >> 8), (uint8_t)n}};
}

static inline uint64_t be64_get(be64 v)
{
	uint64_t n;

	memcpy(&n, v.b, sizeof(n));
	return be64toh(n);
}

static inline be64 be64_put(uint64_t n)
{
	be32 hi = be32_put((uint32_t)(n >> 32));
	be32 lo = be32_put((uint32_t)n);

	return (be64){{hi.b[0], hi.b[1], hi.b[2], hi.b[3], lo.b[0], lo.b[1],
		       lo.b[2], lo.b[3]}};
}

static inline uint16_t le16_get(le16 v)
{
	uint16_t n;

	memcpy(&n, v.b, sizeof(n));
	return le16toh(n);
}

static inline le16 le16_put(uint16_t n)
{
	return (le16){{(uint8_t)n, (uint8_t)(n >> 8)}};
}

static inline uint32_t le32_get(le32 v)
{
	uint32_t n;

	memcpy(&n, v.b, sizeof(n));
	return le32toh(n);
}

static inline le32 le32_put(uint32_t n)
{
	return (le32){{(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
		       (uint8_t)(n >> 24)}};
}

static inline uint64_t le64_get(le64 v)
{
	uint64_t n;

	memcpy(&n, v.b, sizeof(n));
	return le64toh(n);
}

static inline le64 le64_put(uint64_t n)
{
	le32 lo = le32_put((uint32_t)n);
	le32 hi = le32_put((uint32_t)(n >> 32));

	return (le64){{lo.b[0], lo.b[1], lo.b[2], lo.b[3], hi.b[0], hi.b[1],
		       hi.b[2], hi.b[3]}};
}

#endif
