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

/* For LLVMFuzzerCustomMutator, of which this is the interface: often a tweak,
 * else libFuzzer's own way.
 */
size_t fuzzimg_mutate(uint8_t *data, size_t size, size_t max_size,
		      unsigned seed);
/* Change some of the big-endian numbers in the image to what is close to them,
 * to each other or to the file's end: bytes changed at random hardly ever hit
 * where it matters.
 */
void fuzzimg_tweak(uint8_t *data, size_t size, uint64_t *rnd);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed);
/* Absent where AFL++ has its own mutators. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size,
					      size_t max_size);

#endif
