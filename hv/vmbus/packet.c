/* SPDX-License-Identifier: BSD-2-Clause */
/* The shape of a packet that has been copied out of a ring: where its payload
 * and its GPA list are, and whether its header agrees with itself. Works on
 * the private copy only.
 * Source: Linux include/linux/hyperv.h (vmpacket_descriptor,
 * vmdata_gpa_direct); OpenVMM vmbus_ring.
 */
#include "ring.h"

#include <string.h>

#include "vhd/checked.h"
#include "wire.h"

#define PFN_BYTES 8u

/* Check every range of the list in [at, end); the first is what devices use.
 * Bounded by the header's length, at most 512 KiB.
 */
static bool ranges_ok(const uint8_t *buf, uint32_t at, uint32_t end,
		      uint32_t count, struct vmbus_packet *out)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct vmbus_wire_range range;
		uint64_t pages;

		if (end - at < sizeof(range))
			return false;
		memcpy(&range, buf + at, sizeof(range));
		at += (uint32_t)sizeof(range);
		if (le32_get(range.byte_offset) >= HV_PAGE_BYTES)
			return false;
		if (add_ovf(total, le32_get(range.byte_count), &total) ||
		    total > UINT32_MAX)
			return false;
		pages = ((uint64_t)le32_get(range.byte_offset) +
			 le32_get(range.byte_count) + HV_PAGE_BYTES - 1) /
			HV_PAGE_BYTES;
		if (pages > (end - at) / PFN_BYTES)
			return false;
		if (i == 0) {
			out->range_len = le32_get(range.byte_count);
			out->range_offset = le32_get(range.byte_offset);
			out->pfns = buf + at;
			/* Linux leaves room behind a single range. */
			out->pfn_count = count == 1 ? (end - at) / PFN_BYTES
						    : (uint32_t)pages;
		}
		at += (uint32_t)pages * PFN_BYTES;
	}
	return true;
}

static bool gpa_direct_ok(const uint8_t *buf, uint32_t header_len,
			  struct vmbus_packet *out)
{
	uint32_t at = sizeof(struct vmbus_wire_packet);
	struct vmbus_wire_gpa_direct extra;

	if (header_len < at + sizeof(extra))
		return false;
	memcpy(&extra, buf + at, sizeof(extra));
	at += (uint32_t)sizeof(extra);
	out->range_count = le32_get(extra.range_count);
	if (out->range_count == 0)
		return false;
	return ranges_ok(buf, at, header_len, out->range_count, out);
}

void vmbus_packet_parse(const uint8_t *buf, uint32_t len,
			struct vmbus_packet *out)
{
	struct vmbus_wire_packet desc;
	uint32_t header_len;

	memcpy(&desc, buf, sizeof(desc));
	header_len = le16_get(desc.offset8) * 8u;
	*out = (struct vmbus_packet){
		.type = le16_get(desc.type),
		.flags = le16_get(desc.flags),
		.trans_id = le64_get(desc.trans_id),
		.payload = buf + header_len,
		.payload_len = len - header_len,
	};
	if (out->type != VMBUS_PACKET_GPA_DIRECT)
		return;
	if (!gpa_direct_ok(buf, header_len, out)) {
		out->type = 0;
		out->range_count = 0;
		out->range_len = 0;
		out->range_offset = 0;
		out->pfns = NULL;
		out->pfn_count = 0;
	}
}
