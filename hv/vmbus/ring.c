/* SPDX-License-Identifier: BSD-2-Clause */
/* Moving packets through a ring that the guest can scribble over at any time.
 *
 * Safety: the guest's index is loaded once per pass and must be a multiple of
 * 8, below the size and where a correct guest could have moved it; anything
 * else breaks the ring for good. A packet's descriptor is fetched once, then
 * its remaining bytes once; checks look at the copies. Trailers are written,
 * never read.
 *
 * Liveness: each side publishes its index, passes a full fence, and only then
 * looks at what the other side said about waiting. Store-load order is what
 * counts; x86 needs the fence, too. A signal too many does no harm.
 */
#include "ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "vhd/checked.h"
#include "wire.h"

#define UNIT	      8u /* lengths and indices count in these */
#define PACKET_HEADER ((uint32_t)sizeof(struct vmbus_wire_packet))
#define SMALL_BYTES   64u

static int broken(struct vmbus_ring *r, const char *why, uint32_t value)
{
	if (!r->broken) {
		r->broken = why;
		r->broken_value = value;
	}
	return -EBADMSG;
}

/* Bytes from index `from` forward to index `to`. */
static uint32_t distance(const struct vmbus_ring *r, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : r->size - from + to;
}

/* `by` is at most the size. */
static uint32_t advance(const struct vmbus_ring *r, uint32_t at, uint32_t by)
{
	return by >= r->size - at ? by - (r->size - at) : at + by;
}

static int load_word(struct vmbus_ring *r, enum vmbus_ring_word w,
		     uint32_t *val)
{
	if (hv_gpa_load32(r->mem, r->ctrl_gpa + w, val))
		return broken(r, "control page is not RAM", (uint32_t)w);
	return 0;
}

static void store_word(struct vmbus_ring *r, enum vmbus_ring_word w,
		       uint32_t val)
{
	if (hv_gpa_store32(r->mem, r->ctrl_gpa + w, val))
		broken(r, "control page is not RAM", (uint32_t)w);
}

static int load_index(struct vmbus_ring *r, enum vmbus_ring_word w,
		      uint32_t *val)
{
	int rc = load_word(r, w, val);

	if (rc)
		return rc;
	if (*val % UNIT != 0)
		return broken(r, "index is not a multiple of 8", *val);
	if (*val >= r->size)
		return broken(r, "index is past the end", *val);
	return 0;
}

/* ----------------------------------------------------------- data area -- */

/* The contiguous piece at `at`: its address and at most `len` bytes. */
static uint32_t piece(const struct vmbus_ring *r, uint32_t at, uint32_t len,
		      uint64_t *gpa)
{
	uint32_t in_page = at % HV_PAGE_BYTES;
	uint32_t n = HV_PAGE_BYTES - in_page;

	if (n > r->size - at)
		n = r->size - at;
	*gpa = r->pfns[at / HV_PAGE_BYTES] * HV_PAGE_BYTES + in_page;
	return n < len ? n : len;
}

static int data_read(struct vmbus_ring *r, uint32_t at, uint8_t *dst,
		     uint32_t len)
{
	while (len > 0) {
		uint64_t gpa;
		uint32_t n = piece(r, at, len, &gpa);

		if (hv_gpa_read(r->mem, gpa, dst, n))
			return broken(r, "data page is not RAM", at);
		at = advance(r, at, n);
		dst += n;
		len -= n;
	}
	return 0;
}

static int data_write(struct vmbus_ring *r, uint32_t *at, const void *src,
		      uint32_t len)
{
	const uint8_t *from = src;

	while (len > 0) {
		uint64_t gpa;
		uint32_t n = piece(r, *at, len, &gpa);

		if (hv_gpa_write(r->mem, gpa, from, n))
			return broken(r, "data page is not RAM", *at);
		*at = advance(r, *at, n);
		from += n;
		len -= n;
	}
	return 0;
}

/* ------------------------------------------------------------- opening -- */

static int adopt(struct vmbus_ring *r, const struct hv_mem *mem,
		 uint64_t ctrl_gpa, const uint64_t *pfns, uint32_t size,
		 enum vmbus_ring_word ours, enum vmbus_ring_word theirs)
{
	*r = (struct vmbus_ring){
		.mem = mem,
		.ctrl_gpa = ctrl_gpa,
		.pfns = pfns,
		.size = size,
	};
	/* The one time that our own index is read: a ring may be reopened
	 * with packets in it.
	 */
	if (load_index(r, ours, &r->cursor) || load_index(r, theirs, &r->peer))
		return -EINVAL;
	r->published = r->cursor;
	return 0;
}

int vmbus_ring_open_in(struct vmbus_ring *r, const struct hv_mem *mem,
		       uint64_t ctrl_gpa, const uint64_t *pfns, uint32_t size)
{
	int rc = adopt(r, mem, ctrl_gpa, pfns, size, VMBUS_RING_OUT,
		       VMBUS_RING_IN);

	if (rc)
		return rc;
	vmbus_ring_mask(r);
	return r->broken ? -EFAULT : 0;
}

int vmbus_ring_open_out(struct vmbus_ring *r, const struct hv_mem *mem,
			uint64_t ctrl_gpa, const uint64_t *pfns, uint32_t size)
{
	uint32_t old;
	int rc = adopt(r, mem, ctrl_gpa, pfns, size, VMBUS_RING_IN,
		       VMBUS_RING_OUT);

	if (rc)
		return rc;
	store_word(r, VMBUS_RING_PENDING, 0);
	if (hv_gpa_or32(mem, ctrl_gpa + VMBUS_RING_FEATURES,
			VMBUS_RING_FEATURE_PENDING, &old))
		return -EFAULT;
	return r->broken ? -EFAULT : 0;
}

/* ------------------------------------------------------------ incoming -- */

/* A new pass: take the guest's write index. It must not lie in what we have
 * consumed but not yet given back: a correct guest cannot write there.
 * The load acquires: pairs with the guest's release of the index after the
 * packet's bytes.
 */
static int load_write_index(struct vmbus_ring *r)
{
	uint32_t in;
	int rc = load_index(r, VMBUS_RING_IN, &in);

	if (rc)
		return rc;
	if (distance(r, r->published, in) <
	    distance(r, r->published, r->cursor))
		return broken(r, "write index moved backwards", in);
	r->peer = in;
	return 0;
}

int vmbus_ring_take(struct vmbus_ring *r, void *buf, size_t cap, uint32_t *len)
{
	struct vmbus_wire_packet desc;
	uint32_t avail, total, at = r->cursor;
	uint8_t *to = buf;

	if (r->broken)
		return -EBADMSG;
	if (r->cursor == r->peer && load_write_index(r))
		return -EBADMSG;
	avail = distance(r, r->cursor, r->peer);
	if (avail == 0)
		return 0;
	if (avail < PACKET_HEADER + VMBUS_TRAILER_BYTES)
		return broken(r, "fragment of a packet", avail);
	if (data_read(r, at, (uint8_t *)&desc, PACKET_HEADER))
		return -EBADMSG;
	if (le16_get(desc.offset8) < PACKET_HEADER / UNIT)
		return broken(r, "packet header too short",
			      le16_get(desc.offset8));
	if (le16_get(desc.length8) < le16_get(desc.offset8))
		return broken(r, "packet shorter than its header",
			      le16_get(desc.length8));
	total = le16_get(desc.length8) * UNIT;
	if (total + VMBUS_TRAILER_BYTES > avail)
		return broken(r, "packet longer than what is there", total);
	r->cursor = advance(r, at, total + VMBUS_TRAILER_BYTES);
	if (total > cap)
		return -EMSGSIZE;
	memcpy(to, &desc, PACKET_HEADER);
	if (data_read(r, advance(r, at, PACKET_HEADER), to + PACKET_HEADER,
		      total - PACKET_HEADER))
		return -EBADMSG;
	*len = total;
	return 1;
}

/* A blocked guest wants more than P free bytes (Linux); some ask for P or for
 * all there is. The signal goes out when the free space passes any of these
 * marks: too often at worst.
 */
static bool crossed(const struct vmbus_ring *r, uint32_t pending,
		    uint32_t free_before, uint32_t free_after)
{
	uint32_t mark = pending & ~(UNIT - 1);

	if (mark > r->size - UNIT)
		mark = r->size - UNIT;
	return pending != 0 && free_before <= pending && free_after >= mark;
}

bool vmbus_ring_take_done(struct vmbus_ring *r)
{
	uint32_t old = r->published;
	uint32_t pending, in;

	if (r->broken || r->cursor == old)
		return false;
	r->published = r->cursor;
	store_word(r, VMBUS_RING_OUT, r->cursor);
	/* Pairs with the guest's fence between writing pending_send_sz and
	 * looking at the read index again: one of us sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (load_word(r, VMBUS_RING_PENDING, &pending) || pending == 0)
		return false;
	if (load_index(r, VMBUS_RING_IN, &in))
		return false;
	return crossed(r, pending, r->size - distance(r, old, in),
		       r->size - distance(r, r->cursor, in));
}

void vmbus_ring_mask(struct vmbus_ring *r)
{
	/* No fence: a signal that slips through is spurious, no more. */
	store_word(r, VMBUS_RING_MASK, 1);
}

bool vmbus_ring_unmask(struct vmbus_ring *r)
{
	store_word(r, VMBUS_RING_MASK, 0);
	/* Pairs with the guest's fence between publishing its write index and
	 * reading the mask: either it signals or we see the packet here.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (r->broken)
		return true; /* the next take says so */
	if (r->cursor != r->peer)
		return true;
	return load_write_index(r) || r->cursor != r->peer;
}

/* ------------------------------------------------------------ outgoing -- */

/* Take the guest's read index. It can only have moved towards what we have
 * published, never back or beyond. The load acquires: pairs with the guest's
 * release of the index after it copied the packet out.
 */
static int load_read_index(struct vmbus_ring *r)
{
	uint32_t out;
	int rc = load_index(r, VMBUS_RING_OUT, &out);

	if (rc)
		return rc;
	if (distance(r, r->peer, out) > distance(r, r->peer, r->published))
		return broken(r, "read index outside what was sent", out);
	r->peer = out;
	return 0;
}

static uint32_t out_free(const struct vmbus_ring *r)
{
	return r->size - distance(r, r->peer, r->cursor);
}

int64_t vmbus_ring_space(struct vmbus_ring *r)
{
	if (r->broken || load_read_index(r))
		return -EBADMSG;
	return (int64_t)out_free(r) - UNIT;
}

int vmbus_ring_put(struct vmbus_ring *r, uint16_t type, uint16_t flags,
		   uint64_t trans_id, const void *payload, size_t len)
{
	/* zeros that round the payload up, then the trailer */
	uint8_t tail[UNIT + VMBUS_TRAILER_BYTES] = {0};
	uint8_t whole[PACKET_HEADER + SMALL_BYTES + sizeof(tail)];
	struct vmbus_wire_packet desc;
	uint32_t at = r->cursor, pad, total;
	le32 start = le32_put(r->cursor);

	if (r->broken)
		return -EBADMSG;
	if (len > UINT16_MAX * UNIT - PACKET_HEADER)
		return -EMSGSIZE;
	pad = (uint32_t)-len % UNIT;
	total = PACKET_HEADER + (uint32_t)len + pad;
	if (total + VMBUS_TRAILER_BYTES > r->size - UNIT)
		return -EMSGSIZE;
	if (total + VMBUS_TRAILER_BYTES >= out_free(r)) {
		if (load_read_index(r))
			return -EBADMSG;
		if (total + VMBUS_TRAILER_BYTES >= out_free(r))
			return -EAGAIN;
	}
	desc = (struct vmbus_wire_packet){
		.type = le16_put(type),
		.offset8 = le16_put((uint16_t)(PACKET_HEADER / UNIT)),
		.length8 = le16_put((uint16_t)(total / UNIT)),
		.flags = le16_put(flags),
		.trans_id = le64_put(trans_id),
	};
	memcpy(tail + pad + 4, &start, sizeof(start));
	if (len <= SMALL_BYTES) {
		/* every answer: as one piece */
		memcpy(whole, &desc, PACKET_HEADER);
		if (len > 0)
			memcpy(whole + PACKET_HEADER, payload, len);
		memcpy(whole + PACKET_HEADER + len, tail, sizeof(tail));
		if (data_write(r, &at, whole, total + VMBUS_TRAILER_BYTES))
			return -EBADMSG;
	} else if (data_write(r, &at, &desc, PACKET_HEADER) ||
		   data_write(r, &at, payload, (uint32_t)len) ||
		   data_write(r, &at, tail, pad + VMBUS_TRAILER_BYTES)) {
		return -EBADMSG;
	}
	r->cursor = at;
	return 0;
}

bool vmbus_ring_put_done(struct vmbus_ring *r)
{
	uint32_t old = r->published;
	uint32_t mask;

	if (r->broken || r->cursor == old)
		return false;
	r->published = r->cursor;
	store_word(r, VMBUS_RING_IN, r->cursor);
	/* Pairs with the guest's fence between clearing its mask (or moving
	 * its read index) and looking for more packets.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (load_word(r, VMBUS_RING_MASK, &mask) || load_read_index(r))
		return false;
	return mask == 0 && r->peer == old;
}

bool vmbus_ring_wait(struct vmbus_ring *r, uint32_t bytes)
{
	uint64_t need;

	if (bytes == 0 || r->broken) {
		store_word(r, VMBUS_RING_PENDING, 0);
		return true;
	}
	if (align_up_ovf(bytes, UNIT, &need) || need > r->size - UNIT)
		need = r->size - UNIT; /* all of it is the most there is */
	store_word(r, VMBUS_RING_PENDING, (uint32_t)need);
	/* Pairs with the guest's fence between publishing its read index and
	 * reading pending_send_sz.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (load_read_index(r) || out_free(r) > need) {
		store_word(r, VMBUS_RING_PENDING, 0);
		return true;
	}
	return false;
}
