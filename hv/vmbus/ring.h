/* SPDX-License-Identifier: BSD-2-Clause */
/* One direction of a channel's ring, from the host's side: whole packets in
 * and out of a circular data area in guest memory. Private to hv/vmbus.
 *
 * Invariants: `cursor` and `published` are ours and never re-read from the
 *   guest; `peer` was loaded and checked once per pass; indices are multiples
 *   of 8 below `size`; equal indices mean empty, so a ring is never filled.
 * Thread: one owner per ring. Sheet of rules: Linux drivers/hv/ring_buffer.c,
 *   OpenVMM vmbus_ring.
 */
#ifndef HV_VMBUS_RING_H
#define HV_VMBUS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/gpa.h"
#include "hv/vmbus.h"

struct vmbus_ring {
	const struct hv_mem *mem;
	uint64_t ctrl_gpa;     /* control page */
	const uint64_t *pfns;  /* data pages, as many as `size` needs */
	uint32_t size;	       /* of the data area; multiple of 8 */
	uint32_t cursor;       /* our index with what is not yet public */
	uint32_t published;    /* our index as the guest can see it */
	uint32_t peer;	       /* the guest's index as last checked */
	const char *broken;    /* why the ring is unusable, or NULL */
	uint32_t broken_value; /* the offending number */
};

/* Adopt the ring as the guest left it. Incoming: signals from the guest are
 * masked. Outgoing: the guest learns that we use pending_send_sz.
 * -EINVAL when an index is impossible, -EFAULT.
 */
int vmbus_ring_open_in(struct vmbus_ring *r, const struct hv_mem *mem,
		       uint64_t ctrl_gpa, const uint64_t *pfns, uint32_t size);
int vmbus_ring_open_out(struct vmbus_ring *r, const struct hv_mem *mem,
			uint64_t ctrl_gpa, const uint64_t *pfns, uint32_t size);

/* Incoming. take: 1 with *len bytes from the descriptor on (trailer left
 * out), 0, -EMSGSIZE (skipped), -EBADMSG. Every byte is fetched once.
 * take_done: true when the guest waits for space and must be signalled.
 */
int vmbus_ring_take(struct vmbus_ring *r, void *buf, size_t cap, uint32_t *len);
bool vmbus_ring_take_done(struct vmbus_ring *r);
void vmbus_ring_mask(struct vmbus_ring *r);
bool vmbus_ring_unmask(struct vmbus_ring *r);

/* Outgoing. space: bytes for whole packets, trailer included, or -EBADMSG.
 * put: 0, -EAGAIN, -EMSGSIZE (no ring of this size could hold it), -EBADMSG.
 * put_done: true when the guest must be signalled.
 * wait: true when `bytes` are free already.
 */
int64_t vmbus_ring_space(struct vmbus_ring *r);
int vmbus_ring_put(struct vmbus_ring *r, uint16_t type, uint16_t flags,
		   uint64_t trans_id, const void *payload, size_t len);
bool vmbus_ring_put_done(struct vmbus_ring *r);
bool vmbus_ring_wait(struct vmbus_ring *r, uint32_t bytes);

/* Fill `out` from a packet that vmbus_ring_take delivered; type 0 when its
 * header contradicts itself. `out` points into `buf`.
 */
void vmbus_packet_parse(const uint8_t *buf, uint32_t len,
			struct vmbus_packet *out);

#endif
