/* SPDX-License-Identifier: BSD-2-Clause */
/* The one door to guest memory. Guest memory has no pointers in our code, only
 * guest physical addresses (GPA); each access is checked against the regions
 * of RAM. Control structures are fetched once into a copy; only data buffers
 * become iovecs, and only for the kernel to fill or drain.
 *
 * Nothing of KVM here: storvsp/ and hv/vmbus/ run over plain memory in tests,
 * which may replace gpa.c at link time by a counting or flipping door.
 *
 * Thread: regions are set up before any other use; accesses from any thread.
 * Errors: -EFAULT where a byte of the range is not RAM; then nothing moved.
 */
#ifndef HV_GPA_H
#define HV_GPA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define HV_PAGE_BYTES	   4096u
#define HV_MEM_REGIONS_MAX 8

struct hv_mem;

int hv_mem_create(struct hv_mem **out);
void hv_mem_destroy(struct hv_mem *mem); /* does not unmap the regions */

/* Add [gpa, gpa + len) backed by `host`; page-aligned, not overlapping.
 * Borrows `host` for the life of `mem`. -EINVAL, -ENOSPC.
 */
int hv_mem_add(struct hv_mem *mem, uint64_t gpa, uint64_t len, void *host);

/* Where its regions lie in this process, for who prepares them as a whole (the
 * kernel's I/O); `out` has HV_MEM_REGIONS_MAX places. Returns how many.
 */
unsigned hv_mem_backing(const struct hv_mem *mem, struct iovec *out);

/* Copy in and out. Whole range or nothing. */
int hv_gpa_read(const struct hv_mem *mem, uint64_t gpa, void *dst, size_t len);
int hv_gpa_write(const struct hv_mem *mem, uint64_t gpa, const void *src,
		 size_t len);

/* Aligned 32-bit words shared with a running guest, little-endian values.
 * load: acquire; store: release; or, cmpxchg, fetch: sequentially consistent.
 */
int hv_gpa_load32(const struct hv_mem *mem, uint64_t gpa, uint32_t *val);
int hv_gpa_store32(const struct hv_mem *mem, uint64_t gpa, uint32_t val);
/* *old receives the value before. */
int hv_gpa_or32(const struct hv_mem *mem, uint64_t gpa, uint32_t bits,
		uint32_t *old);

/* Whether every byte of the range is RAM. */
bool hv_gpa_ok(const struct hv_mem *mem, uint64_t gpa, uint64_t len);

/* Turn a page list into iovecs: `len` bytes starting `offset` (< 4096) into
 * the first page. Neighbouring pages that are adjacent in our address space
 * are joined. Returns the number of iovecs, -EFAULT, -EINVAL (list too short,
 * offset too large), or -E2BIG where `max` does not suffice.
 */
int hv_gpa_iov(const struct hv_mem *mem, const uint64_t *pfns, size_t pfn_count,
	       uint32_t offset, uint64_t len, struct iovec *iov, unsigned max);

#endif
