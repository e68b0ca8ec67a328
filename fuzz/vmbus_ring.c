/* SPDX-License-Identifier: BSD-2-Clause */
/* Ring packets: a guest that writes control words and data as it likes while
 * the host receives and sends. The input's first byte chooses the size of the
 * data area and whether the guest is honest on the host's outgoing ring; then
 * follow actions of one byte and its operands.
 *
 * Beyond memory safety it checks: indices the host publishes are multiples of
 * 8 inside the ring; packets and their parts lie inside the buffer; a ring
 * once broken stays broken; packets to an honest guest arrive whole and in
 * order; nothing outside the rings' pages is written.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hv/vmbus/ring.h"
#include "hv/vmbus/wire.h"
#include "tests/lib/fuzzin.h"

#define PAGES 16u
#define GUARD 0xA7
#define QUEUE 512

static uint8_t ram[PAGES * 4096] __attribute__((aligned(4096)));
static uint8_t rx[8192];

struct world {
	struct hv_mem *mem;
	struct vmbus_ring in, out;
	uint64_t in_pfns[4], out_pfns[4];
	uint32_t size;
	bool honest; /* the guest reads the outgoing ring properly */
	bool in_broken, out_broken;
	uint32_t queue[QUEUE]; /* lengths of packets sent, honest only */
	unsigned first, count, unpublished;
};

/* Pages: 1 control of in, 2..5 its data; 7 control of out, 8..11 its data;
 * the others are guards.
 */
#define IN_CTRL	 1u
#define OUT_CTRL 7u

/* All numbers here have 4 bytes at most. */
static uint32_t take32(struct input *in, unsigned bytes)
{
	return (uint32_t)take(in, bytes);
}

static uint32_t *word(unsigned page, unsigned off)
{
	return (uint32_t *)(void *)(ram + page * 4096 + off);
}

/* ------------------------------------------------------- honest guest ---- */

static uint8_t out_byte(const struct world *w, uint32_t at)
{
	at %= w->size;
	return ram[w->out_pfns[at / 4096] * 4096 + at % 4096];
}

static uint32_t out_word(const struct world *w, uint32_t at)
{
	return (uint32_t)out_byte(w, at) | (uint32_t)out_byte(w, at + 1) << 8 |
	       (uint32_t)out_byte(w, at + 2) << 16 |
	       (uint32_t)out_byte(w, at + 3) << 24;
}

static void honest_read(struct world *w)
{
	uint32_t out = *word(OUT_CTRL, VMBUS_RING_OUT);
	uint32_t in = *word(OUT_CTRL, VMBUS_RING_IN), len, total;

	if (in == out) {
		must(w->count == w->unpublished);
		return;
	}
	must(w->count > w->unpublished);
	len = w->queue[w->first];
	w->first = (w->first + 1) % QUEUE;
	w->count--;
	total = 16 + (len + 7) / 8 * 8;
	must(out_word(w, out) == (2u << 16 | VMBUS_PACKET_COMPLETION));
	must((out_word(w, out + 4) & 0xffff) == total / 8);
	must(out_word(w, out + 8) == len);
	for (uint32_t i = 0; i < total - 16; i++)
		must(out_byte(w, out + 16 + i) ==
		      (i < len ? (uint8_t)(len + i) : 0));
	must(out_word(w, out + total) == 0);
	must(out_word(w, out + total + 4) == out);
	*word(OUT_CTRL, VMBUS_RING_OUT) = (out + total + 8) % w->size;
}

/* -------------------------------------------------------------- actions -- */

static void check_packet(const struct vmbus_packet *p, uint32_t len)
{
	must(p->payload >= rx && p->payload_len <= len &&
	      p->payload + p->payload_len == rx + len);
	if (p->range_count == 0)
		return;
	must(p->type == VMBUS_PACKET_GPA_DIRECT);
	must(p->pfns >= rx && p->pfns + 8ull * p->pfn_count <= p->payload);
	must(p->range_offset < 4096);
	must(((uint64_t)p->range_offset + p->range_len + 4095) / 4096 <=
	      p->pfn_count);
}

static void receive(struct world *w, struct input *in)
{
	size_t cap = take32(in, 1) * 32u;
	uint32_t len = 0, from = w->in.cursor, there;
	struct vmbus_packet p;
	int rc = vmbus_ring_take(&w->in, rx, cap, &len);

	must(!w->in_broken || rc == -EBADMSG);
	if (rc == -EBADMSG) {
		w->in_broken = true;
		return;
	}
	there = (w->in.peer + w->size - from) % w->size;
	must((w->in.peer + w->size - w->in.cursor) % w->size <= there);
	if (rc != 1)
		return;
	must(len + 8 <= there);
	must(len >= 16 && len <= cap && len % 8 == 0);
	vmbus_packet_parse(rx, len, &p);
	check_packet(&p, len);
}

static void send_one(struct world *w, struct input *in)
{
	uint32_t len = take32(in, 2), free_now;
	uint8_t payload[6000];
	int rc;

	/* often as much as there is room for, or a little more or less */
	free_now = (w->out.peer + w->size - w->out.cursor - 8) % w->size;
	if ((len & 0x8000) && free_now >= 16 && free_now < sizeof(payload))
		len = free_now - 16 - (len & 31);
	if (len >= sizeof(payload))
		len %= sizeof(payload);

	for (uint32_t i = 0; i < len; i++)
		payload[i] = (uint8_t)(len + i);
	if (w->honest && w->count == QUEUE)
		return;
	rc = vmbus_ring_put(&w->out, VMBUS_PACKET_COMPLETION, 0, len, payload,
			    len);
	must(!w->out_broken || rc == -EBADMSG);
	must(!w->honest || rc != -EBADMSG);
	w->out_broken |= rc == -EBADMSG;
	if (rc == 0 && w->honest) {
		w->queue[(w->first + w->count++) % QUEUE] = len;
		w->unpublished++;
	}
}

/* An index that is nearly right, or anything. */
static uint32_t some_index(const struct world *w, struct input *in)
{
	uint32_t how = take32(in, 1);

	if (how < 128)
		return how * 8;
	if (how < 144)
		return w->size + (how - 136) * 8;
	return take32(in, 4);
}

static void scribble(struct world *w, struct input *in, bool ctrl)
{
	static const uint16_t words[] = {0, 4, 8, 12, 64, 68, 16, 2};
	unsigned page = IN_CTRL;

	if (ctrl) {
		unsigned how = take32(in, 1), off = words[how & 7];
		uint32_t v = some_index(w, in);

		if (!w->honest && (how & 8))
			page = OUT_CTRL;
		memcpy(ram + page * 4096 + off, &v, sizeof(v));
		return;
	}
	uint32_t at = take32(in, 2) % w->size;
	unsigned n = take32(in, 1) % 64;

	while (n-- > 0 && in->left > 0) {
		ram[w->in_pfns[at / 4096] * 4096 + at % 4096] =
			(uint8_t)take32(in, 1);
		at = (at + 1) % w->size;
	}
}

/* A well-formed descriptor where the guest would write next. */
static void produce(struct world *w, struct input *in)
{
	uint32_t at = *word(IN_CTRL, VMBUS_RING_IN);
	unsigned type = take32(in, 1) & 1 ? VMBUS_PACKET_GPA_DIRECT : 6;
	unsigned off8 = 2 + take32(in, 1) % 8, len8 = off8 + take32(in, 1) % 32;
	uint8_t d[32] = {(uint8_t)type, 0, (uint8_t)off8, 0, (uint8_t)len8};

	if (at >= w->size || at % 8)
		return;
	d[20] = (uint8_t)(take32(in, 1) % 3);
	d[24] = (uint8_t)take32(in, 1);
	d[25] = (uint8_t)(take32(in, 1) & 0x3f);
	for (unsigned i = 0; i < sizeof(d); i++) {
		uint32_t b = (at + i) % w->size;

		ram[w->in_pfns[b / 4096] * 4096 + b % 4096] = d[i];
	}
	*word(IN_CTRL, VMBUS_RING_IN) = (at + len8 * 8 + 8) % w->size;
}

/* An honest guest is signalled exactly when its ring was empty. */
static void publish(struct world *w)
{
	bool want = w->out.cursor != w->out.published &&
		    *word(OUT_CTRL, VMBUS_RING_MASK) == 0 &&
		    *word(OUT_CTRL, VMBUS_RING_OUT) == w->out.published;
	bool told = vmbus_ring_put_done(&w->out);

	must(!w->honest || told == want);
	w->unpublished = 0;
}

static void act(struct world *w, struct input *in)
{
	switch (take32(in, 1) % 12) {
	case 0:
	case 1:
		receive(w, in);
		break;
	case 2:
		vmbus_ring_take_done(&w->in);
		break;
	case 3:
		vmbus_ring_mask(&w->in);
		break;
	case 4:
		vmbus_ring_unmask(&w->in);
		break;
	case 5:
		send_one(w, in);
		break;
	case 6:
		publish(w);
		break;
	case 7:
		vmbus_ring_wait(&w->out, take32(in, 4));
		break;
	case 8:
		must(vmbus_ring_space(&w->out) <= (int64_t)w->size - 8);
		break;
	case 9:
		scribble(w, in, true);
		break;
	case 10:
		scribble(w, in, false);
		break;
	default:
		if (w->honest)
			honest_read(w);
		produce(w, in);
		break;
	}
}

static void check_world(const struct world *w)
{
	must(w->in.cursor < w->size && w->in.cursor % 8 == 0);
	must(w->in.peer < w->size && w->in.peer % 8 == 0);
	must(w->out.cursor < w->size && w->out.cursor % 8 == 0);
	must(w->out.peer < w->size && w->out.peer % 8 == 0);
	must(!w->honest || !w->out.broken);
}

static void check_guards(void)
{
	static const unsigned guards[] = {0, 6, 12, 13, 14, 15};

	for (unsigned g = 0; g < sizeof(guards) / sizeof(guards[0]); g++) {
		const uint8_t *page = ram + guards[g] * 4096;

		/* all bytes equal the first */
		must(page[0] == GUARD && !memcmp(page, page + 1, 4095));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t sizes[8] = {64,	 4096, 8192, 16384,
					  12288, 4160, 128,  4096 * 3 + 8};
	struct input in = {data, size};
	struct world w = {.in_pfns = {4, 2, 5, 3}, .out_pfns = {8, 11, 9, 10}};
	unsigned how = take32(&in, 1);

	w.size = sizes[how & 7];
	w.honest = how & 8;
	memset(ram, 0, sizeof(ram));
	memset(ram, GUARD, 4096);
	memset(ram + 6 * 4096, GUARD, 4096);
	memset(ram + 12 * 4096, GUARD, 4 * 4096);
	if (how & 16) {
		*word(IN_CTRL, VMBUS_RING_IN) = take32(&in, 2);
		*word(IN_CTRL, VMBUS_RING_OUT) = take32(&in, 2);
	}
	if (how & 32) {
		*word(OUT_CTRL, VMBUS_RING_IN) = take32(&in, 2) & ~7u;
		*word(OUT_CTRL, VMBUS_RING_OUT) =
			*word(OUT_CTRL, VMBUS_RING_IN);
	}
	must(hv_mem_create(&w.mem) == 0);
	must(hv_mem_add(w.mem, 0, sizeof(ram), ram) == 0);
	if (vmbus_ring_open_in(&w.in, w.mem, IN_CTRL * 4096, w.in_pfns,
			       w.size) == 0 &&
	    vmbus_ring_open_out(&w.out, w.mem, OUT_CTRL * 4096, w.out_pfns,
				w.size) == 0) {
		while (in.left > 0) {
			act(&w, &in);
			check_world(&w);
		}
	}
	check_guards();
	hv_mem_destroy(w.mem);
	return 0;
}
