/* SPDX-License-Identifier: BSD-2-Clause */
/* A small medium in memory that can lose its power. Besides what reads see it
 * keeps what is safe, and of each sector every content that was written since
 * the last flush: a power cut leaves any one of those, of each sector and of
 * the length apart, which is any subset in any order.
 *
 * A flush that fails makes nothing safe, and never later: what it should have
 * covered is decided by the dice there and then, as the kernel tells a lost
 * write only once.
 * Thread: one.
 */
#ifndef TESTS_LIB_SIMDISK_H
#define TESTS_LIB_SIMDISK_H

#include "tests/lib/memfile.h"

#define SIMDISK_BYTES (512u << 10) /* beyond: -EFBIG */

struct simdisk;

/* Asked before each operation: 0, or the errno that it fails with, untouched.
 * `most` may be lowered: a read or write then moves only so many bytes.
 */
typedef int (*simdisk_hook)(void *ctx, enum memfile_op op, size_t *most);

struct simdisk *simdisk_create(void);
void simdisk_destroy(struct simdisk *d);
struct vhd_file simdisk_file(struct simdisk *d);
void simdisk_set_hook(struct simdisk *d, simdisk_hook hook, void *ctx);

/* Other content, all of it safe; `seed` is for the dice. */
void simdisk_load(struct simdisk *d, const struct memfile *m, uint64_t seed);
void simdisk_clear(struct simdisk *d, uint64_t seed);
/* The next flush makes only this range safe: RWF_DSYNC promises no more. */
void simdisk_flush_only(struct simdisk *d, uint64_t off, uint64_t len);

/* A flush has failed elsewhere. */
void simdisk_lose(struct simdisk *d);

/* The power fails. What is left is what reads see from now on, and safe. */
void simdisk_cut(struct simdisk *d);
/* While dead, everything succeeds and nothing happens. */
void simdisk_dead(struct simdisk *d, bool dead);

const uint8_t *simdisk_bytes(const struct simdisk *d);
uint64_t simdisk_len(const struct simdisk *d);
/* Sectors whose content a power cut would decide. */
size_t simdisk_unsafe(const struct simdisk *d);

#endif
