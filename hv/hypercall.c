/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls. See hypercall.h. */
#include "hypercall.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "gpa.h"
#include "vhd/endian.h"
#include "vmbus.h"

enum {
	CODE_POST_MESSAGE = 0x5c,
	CODE_SIGNAL_EVENT = 0x5d,
};
#define CODE_MASK 0xffffu
#define FAST (1ull << 16)
#define CONNECTION_ID_MASK 0x00ffffffu
#define TYPE_HYPERVISOR 0x80000000u

struct post_message_wire {
	le32 connection_id;
	le32 reserved;
	le32 message_type;
	le32 payload_size;
	uint8_t payload[VMBUS_MESSAGE_BYTES_MAX];
};
static_assert(sizeof(struct post_message_wire) == 256, "HvPostMessage input");
static_assert(offsetof(struct post_message_wire, payload) == 16,
	      "HvPostMessage payload");

/* The block is copied once, as far as its page goes; what is checked and used
 * is the copy.
 */
static uint64_t post_message(const struct hv_mem *mem, struct vmbus *bus,
			     uint64_t input, uint64_t gpa)
{
	struct post_message_wire m = {0};
	uint64_t left = HV_PAGE_BYTES - gpa % HV_PAGE_BYTES;
	size_t n = left < sizeof(m) ? (size_t)left : sizeof(m);
	uint32_t size, type;

	if (input & FAST)
		return VMBUS_HV_INVALID_HYPERCALL_INPUT;
	if (gpa % 8 != 0 || n < offsetof(struct post_message_wire, payload))
		return VMBUS_HV_INVALID_ALIGNMENT;
	if (hv_gpa_read(mem, gpa, &m, n) < 0)
		return VMBUS_HV_INVALID_PARAMETER;
	size = le32_get(m.payload_size);
	type = le32_get(m.message_type);
	if (size > VMBUS_MESSAGE_BYTES_MAX || (type & TYPE_HYPERVISOR))
		return VMBUS_HV_INVALID_PARAMETER;
	if (offsetof(struct post_message_wire, payload) + size > n)
		return VMBUS_HV_INVALID_ALIGNMENT; /* it crosses the page */
	return vmbus_post_message(bus,
				  le32_get(m.connection_id) &
					  CONNECTION_ID_MASK,
				  type, m.payload, size);
}

uint64_t hv_hypercall(const struct hv_mem *mem, struct vmbus *bus,
		      uint64_t input, uint64_t param)
{
	switch (input & CODE_MASK) {
	case CODE_POST_MESSAGE:
		return post_message(mem, bus, input, param);
	case CODE_SIGNAL_EVENT:
		/* Bound connections never come here: KVM serves them. */
		return VMBUS_HV_INVALID_CONNECTION_ID;
	}
	return VMBUS_HV_INVALID_HYPERCALL_CODE;
}
