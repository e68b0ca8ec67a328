/* SPDX-License-Identifier: BSD-2-Clause */
/* Linux always sends one range, and at least 32 page numbers in older
 * versions: those behind the needed ones mean nothing and are not looked at.
 */
#include <errno.h>
#include <string.h>

#include "buffer.h"
#include "vhd/endian.h"

uint32_t storvsp_buffer_pages(uint32_t offset, uint32_t bytes)
{
	uint64_t end = (uint64_t)offset + bytes;

	return (uint32_t)((end + HV_PAGE_BYTES - 1) / HV_PAGE_BYTES);
}

int storvsp_buffer_init(struct buffer *b, const struct vmbus_packet *pkt,
			uint32_t bytes, uint32_t bytes_max)
{
	b->bytes = 0;
	b->pfn_count = 0;
	b->offset = 0;
	if (pkt->range_count > 1 || bytes > bytes_max)
		return -EINVAL;
	if (bytes == 0)
		return 0;
	if (pkt->range_count == 0 || bytes > pkt->range_len ||
	    pkt->range_offset >= HV_PAGE_BYTES)
		return -EINVAL;
	b->pfn_count = storvsp_buffer_pages(pkt->range_offset, bytes);
	if (b->pfn_count > pkt->pfn_count || b->pfn_count > b->pfns_max)
		return -EINVAL;
	for (uint32_t i = 0; i < b->pfn_count; i++) {
		le64 pfn;

		memcpy(&pfn, pkt->pfns + (size_t)i * sizeof(pfn), sizeof(pfn));
		b->pfns[i] = le64_get(pfn);
	}
	b->offset = pkt->range_offset;
	b->bytes = bytes;
	return 0;
}

int storvsp_buffer_iov(const struct buffer *b, const struct hv_mem *mem,
		       uint32_t bytes, struct iovec *iov, unsigned max)
{
	if (bytes > b->bytes)
		return -EINVAL;
	return hv_gpa_iov(mem, b->pfns, b->pfn_count, b->offset, bytes, iov,
			  max);
}

/* One page's share of the buffer. */
struct piece {
	uint64_t gpa;
	uint32_t bytes;
};

/* Piece of page `i`, of the first `bytes`, of which `done` lie before. False
 * for a page number no address space has.
 */
static bool piece_of(const struct buffer *b, uint32_t i, uint32_t bytes,
		     uint32_t done, struct piece *p)
{
	uint32_t offset = i == 0 ? b->offset : 0;

	if (b->pfns[i] > UINT64_MAX / HV_PAGE_BYTES)
		return false;
	p->gpa = b->pfns[i] * HV_PAGE_BYTES + offset;
	p->bytes = HV_PAGE_BYTES - offset;
	if (p->bytes > bytes - done)
		p->bytes = bytes - done;
	return true;
}

int storvsp_buffer_get(const struct buffer *b, const struct hv_mem *mem,
		       void *dst, uint32_t bytes)
{
	uint8_t *to = dst;
	struct piece p;

	if (bytes > b->bytes)
		return -EINVAL;
	for (uint32_t i = 0, done = 0; done < bytes; i++, done += p.bytes)
		if (!piece_of(b, i, bytes, done, &p) ||
		    hv_gpa_read(mem, p.gpa, to + done, p.bytes))
			return -EFAULT;
	return 0;
}

int storvsp_buffer_put(const struct buffer *b, const struct hv_mem *mem,
		       const void *src, uint32_t bytes)
{
	const uint8_t *from = src;
	struct piece p;
	uint32_t done = 0;

	if (bytes > b->bytes)
		return -EINVAL;
	for (uint32_t i = 0; done < bytes; i++, done += p.bytes)
		if (!piece_of(b, i, bytes, done, &p) ||
		    !hv_gpa_ok(mem, p.gpa, p.bytes))
			return -EFAULT;
	done = 0;
	for (uint32_t i = 0; done < bytes; i++, done += p.bytes)
		if (!piece_of(b, i, bytes, done, &p) ||
		    hv_gpa_write(mem, p.gpa, from + done, p.bytes))
			return -EFAULT;
	return 0;
}
