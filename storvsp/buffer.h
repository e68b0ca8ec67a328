/* SPDX-License-Identifier: BSD-2-Clause */
/* A request's data buffer: pages of guest memory named by the GPA list of its
 * packet. The list was copied out of the ring; the pages are only ever
 * reached through the door (hv/gpa.h).
 */
#ifndef STORVSP_BUFFER_H
#define STORVSP_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "hv/gpa.h"
#include "hv/vmbus.h"

struct buffer {
	uint64_t *pfns; /* room for `pfns_max`, the channel's */
	uint32_t pfns_max;
	uint32_t pfn_count; /* needed, and present */
	uint32_t offset;    /* into the first page */
	uint32_t bytes;	    /* what the request says it moves at most */
};

/* Pages that `bytes` touch when they start `offset` into the first. */
uint32_t storvsp_buffer_pages(uint32_t offset, uint32_t bytes);

/* Take the buffer of a packet whose request claims `bytes`. -EINVAL where
 * the claim and the list do not fit together. Not checked against RAM yet.
 */
int storvsp_buffer_init(struct buffer *b, const struct vmbus_packet *pkt,
			uint32_t bytes, uint32_t bytes_max);

/* The first `bytes` as iovecs, all of them RAM: count or -errno. */
int storvsp_buffer_iov(const struct buffer *b, const struct hv_mem *mem,
		       uint32_t bytes, struct iovec *iov, unsigned max);

/* Copy from the front of the buffer, once; all or nothing. -EFAULT. */
int storvsp_buffer_get(const struct buffer *b, const struct hv_mem *mem,
		       void *dst, uint32_t bytes);

/* Copy to the front of the buffer; all or nothing. -EFAULT. */
int storvsp_buffer_put(const struct buffer *b, const struct hv_mem *mem,
		       const void *src, uint32_t bytes);

#endif
