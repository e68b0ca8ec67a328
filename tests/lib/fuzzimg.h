/* SPDX-License-Identifier: BSD-2-Clause */
/* An image out of a fuzzer's input, which is a sparse file:
 *   0      the target's own
 *   1      flags; FUZZIMG_SEAL is one, the others are the target's own
 *   2..7   the target's own
 *   8..15  length of the file, little-endian
 *   16..   pieces: offset (6 bytes), length (2 bytes), bytes
 * Checksums would keep a fuzzer at the door, so FUZZIMG_SEAL puts right those
 * of the footers and of the dynamic header the trailing footer points to.
 * Seeds come from real images: build/tests/cross_vhd seed IMAGE FLAGS OUTPUT.
 */
#ifndef TESTS_FUZZIMG_H
#define TESTS_FUZZIMG_H

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"

#define FUZZIMG_SEAL	      0x04
#define FUZZIMG_CONTROL_BYTES 16u

/* The file; its length is taken modulo `max_bytes`. `size` is at least
 * FUZZIMG_CONTROL_BYTES.
 */
struct memfile *fuzzimg_make(const uint8_t *data, size_t size,
			     uint64_t max_bytes);

#endif
