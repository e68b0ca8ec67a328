/* SPDX-License-Identifier: BSD-2-Clause */
/* See drive.h. Facts of the rings from Linux drivers/hv/ring_buffer.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drive.h"

enum { IN = 0, OUT = 4, MASK = 8 };

#define PACKET_BYTES 352u /* 32 page numbers and 64 bytes of request */
#define TRAILER_BYTES 8u
#define WHOLE_BYTES (PACKET_BYTES + TRAILER_BYTES)
#define HEAD_BYTES (PACKET_BYTES - STORVSP_PACKET_BYTES)
#define PATIENCE_MS 20000

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "vsc: %s\n", what);
	abort();
}

static uint32_t *word(uint8_t *ctrl, unsigned at)
{
	return (uint32_t *)(void *)(ctrl + at);
}

static uint32_t load(uint8_t *ctrl, unsigned at)
{
	return __atomic_load_n(word(ctrl, at), __ATOMIC_ACQUIRE);
}

static void store(uint8_t *ctrl, unsigned at, uint32_t v)
{
	__atomic_store_n(word(ctrl, at), v, __ATOMIC_RELEASE);
}

static void full_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint8_t *adjacent(struct drive *d, uint64_t ctrl_gpa, uint32_t bytes)
{
	uint8_t *p = guest_ptr(vsc_guest(d->v), ctrl_gpa);

	must(guest_ptr(vsc_guest(d->v), ctrl_gpa + bytes) == p + bytes,
	     "the ring is scattered");
	return p;
}

void drive_init(struct drive *d)
{
	d->ring = vsc_ring(d->channel);
	d->out_bytes = d->in_bytes = guest_out_size(d->ring);
	d->out_ctrl = adjacent(d, guest_out_ctrl(d->ring), d->out_bytes);
	d->in_ctrl = adjacent(d, guest_in_ctrl(d->ring), d->in_bytes);
	d->out_at = load(d->out_ctrl, IN);
	must(d->out_bytes > d->depth * WHOLE_BYTES, "too deep for the ring");
	guest_alloc(vsc_guest(d->v), d->depth, d->gpa);
}

/* ----------------------------------------------------------------- ask --- */

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static uint32_t ring_copy(uint8_t *data, uint32_t size, uint32_t at,
			  const void *bytes, uint32_t n)
{
	uint32_t first = size - at < n ? size - at : n;

	memcpy(data + at, bytes, first);
	memcpy(data, (const uint8_t *)bytes + first, n - first);
	at += n;
	return at < size ? at : at - size;
}

static void cdb_fill(struct drive *d, uint8_t *cdb)
{
	/* the high half of a product: no division */
	uint64_t place = (uint64_t)((unsigned __int128)
				    random_next(&d->random) * d->places >> 64);
	be32 lba = be32_put((uint32_t)place * (DRIVE_IO_BYTES / 512));

	cdb[0] = d->write ? 0x2A : 0x28; /* WRITE(10), READ(10) */
	memcpy(cdb + 2, &lba, sizeof(lba));
	cdb[8] = DRIVE_IO_BYTES / 512;
}

static void packet_fill(struct drive *d, unsigned which, uint8_t *p)
{
	struct storvsp_packet_wire s = {
		.op = le32_put(STORVSP_OP_EXECUTE_SRB),
		.flags = le32_put(1),
	};
	struct storvsp_request_wire *q = &s.u.request;
	const uint16_t head[4] = {9, HEAD_BYTES / 8, PACKET_BYTES / 8, 1};
	const uint64_t id = which + 1, pfn = d->gpa[which] / HV_PAGE_BYTES;
	const uint32_t range[4] = {0, 1, DRIVE_IO_BYTES, 0};

	memset(p, 0, WHOLE_BYTES);
	memcpy(p, head, sizeof(head));
	memcpy(p + 8, &id, sizeof(id));
	memcpy(p + 16, range, sizeof(range));
	memcpy(p + 32, &pfn, sizeof(pfn));
	q->length = le16_put(52);
	q->lun = (uint8_t)d->next_lun;
	if (++d->next_lun == d->luns)
		d->next_lun = 0;
	q->cdb_length = 10;
	q->sense_length = 20;
	q->data_in = d->write ? STORVSP_DATA_OUT : STORVSP_DATA_IN;
	q->transfer_length = le32_put(DRIVE_IO_BYTES);
	cdb_fill(d, q->cdb_or_sense);
	memcpy(p + HEAD_BYTES, &s, sizeof(s));
}

static void show(struct drive *d, uint32_t old)
{
	store(d->out_ctrl, IN, d->out_at);
	full_fence(); /* with the host's, between unmask and its last look */
	if (load(d->out_ctrl, MASK) == 0 && load(d->out_ctrl, OUT) == old)
		guest_signal(d->ring);
}

static void put(struct drive *d, unsigned which)
{
	uint8_t p[WHOLE_BYTES];

	packet_fill(d, which, p);
	d->out_at = ring_copy(d->out_ctrl + HV_PAGE_BYTES, d->out_bytes,
			      d->out_at, p, WHOLE_BYTES);
}

/* Linux shows each packet as it is made. */
void drive_ask(struct drive *d, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t old = d->out_at;

		put(d, first + i);
		show(d, old);
	}
}

/* ---------------------------------------------------------------- take --- */

static void note(struct drive *d, const uint8_t *p, bool again)
{
	const struct storvsp_packet_wire *s =
		(const struct storvsp_packet_wire *)(const void *)(p + 16);
	uint64_t id;

	memcpy(&id, p + 8, sizeof(id));
	must(p[0] == 11 && id >= 1 && id <= d->depth, "no answer of ours");
	d->done++;
	if ((s->u.request.srb_status & 0x3F) != 1 ||
	    le32_get(s->u.request.transfer_length) != DRIVE_IO_BYTES)
		d->failed++;
	if (again)
		drive_ask(d, (unsigned)id - 1, 1);
}

unsigned drive_take(struct drive *d, bool again)
{
	uint32_t in = load(d->in_ctrl, IN), at = load(d->in_ctrl, OUT);
	unsigned n = 0;

	while (at != in) {
		const uint32_t bytes = 16 + STORVSP_PACKET_BYTES + 8;
		const uint8_t *data = d->in_ctrl + HV_PAGE_BYTES;
		uint8_t p[16 + STORVSP_PACKET_BYTES + 8];
		uint32_t first = d->in_bytes - at < bytes ? d->in_bytes - at
							  : bytes;

		memcpy(p, data + at, first);
		memcpy(p + first, data, bytes - first);
		at += bytes;
		if (at >= d->in_bytes)
			at -= d->in_bytes;
		note(d, p, again);
		n++;
	}
	if (n)
		store(d->in_ctrl, OUT, at);
	return n;
}

/* ----------------------------------------------------------------- run --- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool there(struct drive *d)
{
	return load(d->in_ctrl, IN) != load(d->in_ctrl, OUT);
}

static bool spin(struct drive *d)
{
	uint64_t start = now_ns();

	do {
		__builtin_ia32_pause();
		if (there(d))
			return true;
	} while (now_ns() - start < d->spin_ns);
	return false;
}

void drive_sleep(struct drive *d)
{
	store(d->in_ctrl, MASK, 0);
	full_fence(); /* with the host's, before it reads our mask */
	if (!there(d)) {
		d->sleeps++;
		must(guest_wait_interrupt(d->ring, PATIENCE_MS), "no answer");
	}
	store(d->in_ctrl, MASK, 1);
}

void drive_run(struct drive *d, uint64_t requests, const volatile bool *stop)
{
	unsigned out = d->depth;
	uint64_t end = d->done + requests;

	store(d->in_ctrl, MASK, 1);
	drive_ask(d, 0, d->depth);
	for (;;) {
		bool again = requests ? d->done < end : !*stop;
		unsigned n = drive_take(d, again);

		if (!again) {
			out -= n;
			if (out == 0)
				break;
		}
		if (n == 0 && !spin(d))
			drive_sleep(d);
	}
}
