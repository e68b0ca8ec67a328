/* SPDX-License-Identifier: BSD-2-Clause */
/* The hostile kernel's good side: messages, rings and a SCSI channel as a
 * driver has them. See kernel.h.
 */
#include "kernel.h"

#define OUT_CTRL RING
#define OUT_DATA (RING + PAGE)
#define IN_CTRL	 (RING + RING_PAGES * PAGE)
#define IN_DATA	 (IN_CTRL + PAGE)
#define SLOT	 (MESSAGE_PAGE + 2 * 256)
#define PATIENCE 60 /* seconds; all here is slow where it is nested */

static uint32_t relid, connection_id, handle = 0x1000, next_id = 1;
static uint32_t out_at, in_at;

/* ----------------------------------------------------------- messages ---- */

uint64_t post(uint32_t connection, const void *msg, uint32_t len)
{
	uint32_t head[4] = {connection, 0, 1, len};

	memcpy((void *)INPUT_PAGE, head, sizeof(head));
	memcpy((void *)(INPUT_PAGE + 16), msg, len);
	return hypercall(CALL_POST, INPUT_PAGE, 0) & 0xffff;
}

static void insist(uint32_t connection, const void *msg, uint32_t len)
{
	unsigned start = seconds();

	while (post(connection, msg, len) != 0)
		if (seconds() - start > PATIENCE)
			die("a good message is not taken");
}

static bool take_message(void *buf)
{
	if (*word(SLOT) == 0)
		return false;
	memcpy(buf, (const void *)(SLOT + 16), 240);
	*word(SLOT) = 0;
	(void)write_msr(MSR_EOM, 0);
	return true;
}

bool hear(uint32_t type, void *buf)
{
	unsigned start = seconds();

	for (unsigned n = 1;; n++) {
		uint32_t got;

		if (take_message(buf)) {
			memcpy(&got, buf, sizeof(got));
			if (type == 0 || got == type)
				return true;
		}
		if (n % 20000 == 0 && seconds() - start > PATIENCE)
			return false;
		__asm__ volatile("pause");
	}
}

void drain_messages(void)
{
	uint8_t buf[240];

	for (unsigned n = 0; n < 2000; n++)
		if (!take_message(buf))
			__asm__ volatile("pause");
}

/* -------------------------------------------------------------- rings ---- */

static uint32_t put(uint32_t at, const void *src, uint32_t len)
{
	const uint8_t *from = src;

	for (uint32_t i = 0; i < len; i++)
		*(volatile uint8_t *)(OUT_DATA + (at + i) % RING_BYTES) =
			from[i];
	return (at + len) % RING_BYTES;
}

static uint32_t get(uint32_t at, void *dst, uint32_t len)
{
	uint8_t *to = dst;

	for (uint32_t i = 0; i < len; i++)
		to[i] = *(volatile uint8_t *)(IN_DATA + (at + i) % RING_BYTES);
	return (at + len) % RING_BYTES;
}

bool send_packet(uint16_t type, uint16_t flags, uint64_t id, uint32_t range_len,
		 uint32_t range_offset, const uint64_t *pfns, unsigned count,
		 const void *payload, uint32_t len)
{
	const uint32_t range[4] = {0, 1, range_len, range_offset};
	const uint64_t zero = 0;
	uint32_t head = 16 + (count ? 16 + 8 * count : 0);
	uint32_t pad = (8 - len % 8) % 8, total = head + len + pad;
	uint64_t desc = type | (uint64_t)(head / 8) << 16 |
			(uint64_t)(total / 8) << 32 | (uint64_t)flags << 48;
	uint32_t out = *word(OUT_CTRL + VMBUS_RING_OUT) % RING_BYTES;
	uint32_t used = (out_at + RING_BYTES - out) % RING_BYTES;

	if (total + 8 >= RING_BYTES - used)
		return false;
	out_at = put(out_at, &desc, 8);
	out_at = put(out_at, &id, 8);
	if (count) {
		out_at = put(out_at, range, 16);
		out_at = put(out_at, pfns, 8 * count);
	}
	out_at = put(out_at, payload, len);
	out_at = put(out_at, &zero, pad);
	out_at = put(out_at, &zero, 8);
	__asm__ volatile("mfence" : : : "memory");
	*word(OUT_CTRL + VMBUS_RING_IN) = out_at;
	return true;
}

void ring_signal(void)
{
	__asm__ volatile("mfence" : : : "memory");
	(void)hypercall(CALL_SIGNAL | CALL_FAST, connection_id, 0);
}

bool receive(uint64_t *id, struct storvsp_packet_wire *p)
{
	uint32_t in = *word(IN_CTRL + VMBUS_RING_IN), len;
	uint64_t desc, skip;

	if (in == in_at)
		return false;
	if (in % 8 || in >= RING_BYTES)
		die("the host's write index is impossible");
	skip = in_at;
	in_at = get(in_at, &desc, 8);
	in_at = get(in_at, id, 8);
	len = (uint32_t)(desc >> 32 & 0xffff) * 8 - 16;
	if ((desc >> 16 & 0xffff) != 2 || len > 64)
		die("the host's packet is impossible");
	memset(p, 0, sizeof(*p));
	(void)get(in_at, p, len);
	in_at = (uint32_t)(skip + 16 + len + 8) % RING_BYTES;
	__asm__ volatile("mfence" : : : "memory");
	*word(IN_CTRL + VMBUS_RING_OUT) = in_at;
	return true;
}

bool wait_answer(uint64_t id, struct storvsp_packet_wire *p)
{
	unsigned start = seconds();
	uint64_t got;

	for (unsigned n = 1;; n++) {
		if (receive(&got, p) && got == id)
			return true;
		if (n % 20000 == 0 && seconds() - start > PATIENCE)
			return false;
		__asm__ volatile("pause");
	}
}

/* ------------------------------------------------------------- channel --- */

static const char *contact(void)
{
	struct vmbus_wire_initiate_contact m = {
		.hdr.type = le32_put(VMBUS_MSG_INITIATE_CONTACT),
		.version = le32_put(0x50003),
		.target_sint = 2,
	};
	struct vmbus_wire_header request = {
		.type = le32_put(VMBUS_MSG_REQUESTOFFERS),
	};
	struct vmbus_wire_version_response *answer;
	struct vmbus_wire_offer *offer;
	uint8_t buf[240];

	drain_messages();
	insist(4, &m, sizeof(m));
	/* answers to contacts that an act has sent may come before ours */
	do {
		if (!hear(VMBUS_MSG_VERSION_RESPONSE, buf))
			return "no answer to the contact";
		answer = (struct vmbus_wire_version_response *)buf;
	} while (!answer->supported);
	insist(1, &request, sizeof(request));
	if (!hear(VMBUS_MSG_OFFERCHANNEL, buf))
		return "no offer";
	offer = (struct vmbus_wire_offer *)buf;
	relid = le32_get(offer->relid);
	connection_id = le32_get(offer->connection_id);
	if (!hear(VMBUS_MSG_ALLOFFERS_DELIVERED, buf))
		return "no end of the offers";
	return NULL;
}

static const char *rings(void)
{
	struct {
		struct vmbus_wire_gpadl_header h;
		uint8_t range[8 + 8 * 2 * RING_PAGES];
	} m = {.h = {
		       .hdr.type = le32_put(VMBUS_MSG_GPADL_HEADER),
		       .relid = le32_put(relid),
		       .handle = le32_put(++handle),
		       .range_buflen = le16_put(8 + 8 * 2 * RING_PAGES),
		       .range_count = le16_put(1),
	       }};
	struct vmbus_wire_open open = {
		.hdr.type = le32_put(VMBUS_MSG_OPENCHANNEL),
		.relid = le32_put(relid),
		.gpadl = le32_put(handle),
		.downstream_page = le32_put(RING_PAGES),
	};
	uint32_t bytes = 2 * RING_PAGES * PAGE;
	uint8_t buf[240];

	memset((void *)RING, 0, bytes);
	out_at = in_at = 0;
	memcpy(m.range, &bytes, 4);
	for (uint64_t i = 0; i < 2 * RING_PAGES; i++) {
		uint64_t pfn = RING / PAGE + i;

		memcpy(m.range + 8 + 8 * i, &pfn, 8);
	}
	insist(1, &m, sizeof(m));
	if (!hear(VMBUS_MSG_GPADL_CREATED, buf) || *(uint32_t *)(buf + 16))
		return "no list of pages";
	insist(1, &open, sizeof(open));
	if (!hear(VMBUS_MSG_OPENCHANNEL_RESULT, buf))
		return "no answer to the open";
	if (*(uint32_t *)(buf + 16) == 0)
		return NULL;
	/* what a write that came late would have left here */
	say("\n");
	for (uint32_t at = 0; at < 16; at += 4) {
		say_number("hostile: out ", *word(OUT_CTRL + at));
		say_number("hostile: in ", *word(IN_CTRL + at));
	}
	return "the channel does not open";
}

static bool ask(struct storvsp_packet_wire *p, const uint64_t *pfn,
		uint32_t bytes)
{
	uint64_t id = next_id++;

	if (!send_packet(pfn ? 9 : 6, 1, id, bytes, 0, pfn, pfn ? 1 : 0, p,
			 sizeof(*p)))
		return false;
	ring_signal();
	return wait_answer(id, p) && le32_get(p->status) == 0;
}

const char *channel_open(void)
{
	static const uint8_t ops[] = {STORVSP_OP_BEGIN_INITIALIZATION,
				      STORVSP_OP_QUERY_PROTOCOL_VERSION,
				      STORVSP_OP_QUERY_PROPERTIES,
				      STORVSP_OP_END_INITIALIZATION};
	const char *fault = contact();

	if (!fault)
		fault = rings();
	for (unsigned i = 0; i < 4 && !fault; i++) {
		struct storvsp_packet_wire p = {.op = le32_put(ops[i]),
						.flags = le32_put(1)};

		if (ops[i] == STORVSP_OP_QUERY_PROTOCOL_VERSION)
			p.u.version.version = le16_put(STORVSP_VERSION_WIN10);
		if (!ask(&p, NULL, 0))
			fault = "no session";
	}
	return fault;
}

void rw_packet(bool write, uint32_t lba, struct storvsp_packet_wire *p)
{
	memset(p, 0, sizeof(*p));
	p->op = le32_put(STORVSP_OP_EXECUTE_SRB);
	p->flags = le32_put(1);
	p->u.request.lun = write;
	p->u.request.cdb_length = 10;
	p->u.request.data_in = write ? STORVSP_DATA_OUT : STORVSP_DATA_IN;
	p->u.request.transfer_length = le32_put(PAGE);
	p->u.request.cdb_or_sense[0] = write ? 0x2a : 0x28;
	p->u.request.cdb_or_sense[2] = (uint8_t)(lba >> 24);
	p->u.request.cdb_or_sense[3] = (uint8_t)(lba >> 16);
	p->u.request.cdb_or_sense[4] = (uint8_t)(lba >> 8);
	p->u.request.cdb_or_sense[5] = (uint8_t)lba;
	p->u.request.cdb_or_sense[8] = 8;
}

void healthy(void)
{
	const uint64_t pfn = DATA / PAGE;
	struct storvsp_packet_wire p;
	const char *fault;

	machine_good();
	fault = channel_open();
	if (!fault) {
		memset((void *)DATA, 0xee, PAGE);
		rw_packet(false, 0, &p);
		if (!ask(&p, &pfn, PAGE) || p.u.request.srb_status != 1)
			fault = "the disk cannot be read";
		for (uint64_t i = 0; i < PAGE && !fault; i += 8)
			if (*(volatile uint64_t *)(DATA + i) !=
			    0x0a656c6974736f68) /* "hostile\n" */
				fault = "the disk reads as something else";
	}
	if (fault)
		die(fault);
}
