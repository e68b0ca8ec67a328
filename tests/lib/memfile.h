/* SPDX-License-Identifier: BSD-2-Clause */
/* A medium in memory: vhd_file_ops over sparse pages, so that an image of
 * 2040 GiB costs only what was written. It outlives the image opened on it:
 * closing an image closes nothing here, and the bytes can be looked at or
 * opened again.
 *
 * `before` sees every operation first; what it returns other than 0 becomes
 * the operation's result and nothing else happens. It may be changed at any
 * time while no operation runs.
 * Thread: any number; one lock around each operation.
 */
#ifndef TESTS_LIB_MEMFILE_H
#define TESTS_LIB_MEMFILE_H

#include "vhd/file.h"

#define MEMFILE_BYTES_MAX (4ull << 40) /* beyond: -EFBIG */

enum memfile_op {
	MEMFILE_READ,
	MEMFILE_WRITE,
	MEMFILE_FLUSH,
	MEMFILE_ZERO,
	MEMFILE_TRUNCATE,
	MEMFILE_SIZE,
	MEMFILE_OPS,
};

struct memfile;

typedef int (*memfile_hook)(void *ctx, enum memfile_op op, uint64_t off,
			    uint64_t len);

/* NULL when out of memory. */
struct memfile *memfile_create(void);
void memfile_destroy(struct memfile *m); /* takes; may be NULL */
struct memfile *memfile_clone(const struct memfile *m);

/* The medium to hand to vhd_open_file; borrows `m`. */
struct vhd_file memfile_file(struct memfile *m);

void memfile_set_hook(struct memfile *m, memfile_hook before, void *ctx);
/* How many bytes a single read or write moves at most; 0: no bound. */
void memfile_set_chunk(struct memfile *m, size_t bytes);
/* `zero` answers -EOPNOTSUPP. */
void memfile_set_no_zero(struct memfile *m, bool on);

/* How often an operation was asked for. */
uint64_t memfile_count(const struct memfile *m, enum memfile_op op);

/* Direct access, past the hook and the counts. Reads past the end give
 * zeros; writes lengthen the file; -1 when out of memory.
 */
uint64_t memfile_len(const struct memfile *m);
void memfile_peek(const struct memfile *m, void *buf, size_t len, uint64_t off);
int memfile_poke(struct memfile *m, const void *buf, size_t len, uint64_t off);
void memfile_resize(struct memfile *m, uint64_t len);
bool memfile_equal(const struct memfile *a, const struct memfile *b);
/* Bytes of memory held for pages. */
uint64_t memfile_held(const struct memfile *m);

#endif
