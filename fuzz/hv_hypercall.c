/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls of a guest of any intent, whose input blocks lie anywhere in its
 * memory: with a hole in it, across pages, changed between two calls. There
 * are two guests of the same memory: one makes hypercalls; for the other the
 * block is taken apart here, after the TLFS, and given to its bus as a
 * message. Both must get the same statuses, answers and memory.
 *
 * An input is actions of one byte and their operands; `act` is the list.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "hv/hypercall.h"
#include "tests/lib/bytes.h"
#include "tests/lib/fakedev.h"
#include "tests/lib/guest.h"

#define LOW_BYTES  (256u << 10)
#define HIGH_BYTES (64u << 10)
#define HIGH_GPA   (4ull << 30)
#define PAYLOAD	   16u
#define POST	   0x5cu
#define SIGNAL	   0x5du
#define FAST	   (1ull << 16)

struct world {
	struct guest *g[2]; /* 0 makes hypercalls, 1 has messages posted */
	struct vmbus_channel *offered[2];
	unsigned opened[2];
};

/* -------------------------------------------------------------- device -- */

static int on_open(void *arg, struct vmbus_channel *ch, const uint8_t *user)
{
	unsigned *opened = arg;

	(void)ch;
	must((*opened)++ == 0);
	return user[0] == 0xff ? ((*opened)--, -12) : 0;
}

static void on_close(void *arg, struct vmbus_channel *ch)
{
	unsigned *opened = arg;

	(void)ch;
	must((*opened)-- == 1);
}

static const struct vmbus_device_ops ops = {"fuzzed", on_open, on_close};

/* ----------------------------------------------------- the other reader -- */

static bool byte_at(const struct world *w, uint64_t gpa, uint8_t *b)
{
	const uint8_t *p = guest_ptr(w->g[1], gpa);

	if (p)
		*b = *p;
	return p != NULL;
}

/* A block is read as far as its page goes, and all of that must be there. */
static uint64_t expected_post(struct world *w, uint64_t input, uint64_t gpa)
{
	uint64_t page_end = (gpa | 4095) + 1; /* may wrap to 0 */
	uint8_t b[256] = {0};
	size_t n = 0;

	if (input & FAST)
		return VMBUS_HV_INVALID_HYPERCALL_INPUT;
	if (gpa % 8 != 0 || page_end - gpa < PAYLOAD)
		return VMBUS_HV_INVALID_ALIGNMENT;
	for (; n < sizeof(b) && gpa + n != page_end; n++)
		if (!byte_at(w, gpa + n, &b[n]))
			return VMBUS_HV_INVALID_PARAMETER;
	if (at32(b + 12) > VMBUS_MESSAGE_BYTES_MAX || (b[11] & 0x80))
		return VMBUS_HV_INVALID_PARAMETER;
	if (PAYLOAD + at32(b + 12) > n)
		return VMBUS_HV_INVALID_ALIGNMENT;
	return vmbus_post_message(guest_bus(w->g[1]), at32(b) & 0xffffff,
				  at32(b + 8), b + PAYLOAD, at32(b + 12));
}

static uint64_t expected(struct world *w, uint64_t input, uint64_t gpa)
{
	switch (input & 0xffff) {
	case POST:
		return expected_post(w, input, gpa);
	case SIGNAL:
		return VMBUS_HV_INVALID_CONNECTION_ID;
	}
	return VMBUS_HV_INVALID_HYPERCALL_CODE;
}

static void call(struct world *w, uint64_t input, uint64_t gpa)
{
	uint64_t want = expected(w, input, gpa);

	must(hv_hypercall(guest_mem(w->g[0]), guest_bus(w->g[0]), input, gpa) ==
	     want);
}

/* ------------------------------------------------------------- actions -- */

static void store(struct world *w, uint64_t gpa, const void *src, size_t len)
{
	for (unsigned i = 0; i < 2; i++)
		(void)hv_gpa_write(guest_mem(w->g[i]), gpa, src, len);
}

/* Near the ends of pages and regions, which is where it matters. */
static uint64_t place(struct input *in)
{
	static const uint64_t ends[8] = {
		0x1000,
		0x2000,
		LOW_BYTES,
		HIGH_GPA,
		HIGH_GPA + 0x1000,
		HIGH_GPA + HIGH_BYTES,
		0,
		1ull << 63,
	};
	unsigned how = (unsigned)take(in, 1);

	if (how & 0x80)
		return take(in, 8);
	return ends[how & 7] - take(in, 1) * (how & 0x40 ? 1 : 8) +
	       (how & 0x20 ? 0 : 256);
}

/* A message the bus knows, from few bytes: contact, offers, GPADL, open... */
static size_t message(struct input *in, uint8_t *m)
{
	static const uint8_t types[16] = {14, 3,  8,  9,  5,  7, 11, 13,
					  16, 22, 21, 18, 14, 8, 5,  0};
	static const uint8_t sizes[16] = {40, 8,  28, 16, 148, 12, 16,	12,
					  8,  16, 40, 40, 40,  28, 148, 40};
	static const uint32_t versions[4] = {0x50003, 0x40001, 0x60000,
					     0x50000};
	unsigned how = (unsigned)take(in, 1), pages;
	size_t len = sizes[how & 15];

	m[0] = types[how & 15];
	set32(m + 8, (uint32_t)take(in, 1) % 4);
	switch (m[0]) {
	case 14:
		set32(m + 8, versions[how >> 4 & 3]);
		m[16] = 2;
		break;
	case 8:
		pages = (unsigned)take(in, 1) % 20;
		set32(m + 12, 1);
		set16(m + 16, (uint16_t)(8 + 8 * pages));
		set16(m + 18, 1);
		set32(m + 20, pages * 4096);
		for (unsigned i = 0; i < pages; i++)
			set64(m + 28 + 8 * i, 16 + i);
		len += 8 * pages;
		break;
	case 5:
		set32(m + 16, 1);
		set32(m + 24, (uint32_t)take(in, 1) % 20);
		m[28] = (uint8_t)take(in, 1);
		break;
	default:
		set32(m + 12, 1);
	}
	return len;
}

static void post(struct world *w, struct input *in, bool known)
{
	static const uint32_t ids[4] = {4, 1, 0xab000004, 7};
	unsigned how = (unsigned)take(in, 1);
	uint8_t b[256 + 64] = {0};
	uint64_t gpa = how & 0x10 ? place(in) : 0x3000;
	size_t len;

	set32(b, ids[how & 3]);
	set32(b + 8, how & 0x20 ? (uint32_t)take(in, 4) : 1);
	if (known) {
		len = message(in, b + PAYLOAD);
	} else {
		len = take(in, 1);
		for (size_t i = 0; i < len && i < 240; i++)
			b[PAYLOAD + i] = (uint8_t)take(in, 1);
	}
	set32(b + 12, how & 0x40 ? (uint32_t)take(in, 4) : (uint32_t)len);
	/* Block by block: its end may lie outside of memory. */
	for (size_t i = 0; i < 256; i += 8)
		store(w, gpa + i, b + i, 8);
	call(w, POST | (how & 0x80 ? take(in, 8) << 16 : 0), gpa);
}

static void scribble(struct world *w, struct input *in)
{
	uint64_t gpa = place(in), v = take(in, 8);

	store(w, gpa, &v, sizeof(v));
}

/* Both hear the same, or nothing. */
static void hear(struct world *w)
{
	uint8_t m[2][240] = {{0}};
	uint32_t vp[2] = {0};
	size_t len[2];

	for (unsigned i = 0; i < 2; i++)
		len[i] = guest_hear(w->g[i], m[i], &vp[i]);
	must(len[0] == len[1] && memcmp(m[0], m[1], len[0]) == 0);
	must(len[0] == 0 || vp[0] == vp[1]);
}

static void offer(struct world *w, bool there)
{
	struct vmbus_offer o = {.type = fakedev_type, .ops = &ops};

	for (unsigned i = 0; i < 2; i++) {
		o.dev = &w->opened[i];
		if (there && !w->offered[i]) {
			must(vmbus_offer_add(guest_bus(w->g[i]), &o,
					     &w->offered[i], NULL) == 0);
		} else if (!there && w->offered[i]) {
			vmbus_rescind(w->offered[i]);
			w->offered[i] = NULL;
			must(w->opened[i] == 0);
		}
	}
}

static void flood(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n * 4; i++)
		call(w, POST, 0x3000);
}

static void act(struct world *w, struct input *in)
{
	uint64_t word;

	switch (take(in, 1) % 8) {
	case 0:
		word = take(in, 8);
		call(w, word, place(in));
		break;
	case 1:
	case 2:
		post(w, in, true);
		break;
	case 3:
		post(w, in, false);
		break;
	case 4:
		scribble(w, in);
		break;
	case 5:
		call(w, POST + take(in, 1) % 2, place(in));
		break;
	case 6:
		word = take(in, 1);
		if (word < 8)
			offer(w, word & 1);
		else
			flood(w, (unsigned)word & 15);
		break;
	default:
		hear(w);
	}
}

static void same_memory(const struct world *w)
{
	must(memcmp(guest_ptr(w->g[0], 0), guest_ptr(w->g[1], 0), LOW_BYTES) ==
	     0);
	must(memcmp(guest_ptr(w->g[0], HIGH_GPA), guest_ptr(w->g[1], HIGH_GPA),
		    HIGH_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w = {0};

	for (unsigned i = 0; i < 2; i++)
		w.g[i] = guest_create(&(struct guest_opts){
			.memory_bytes = LOW_BYTES, .high_bytes = HIGH_BYTES});
	offer(&w, true);
	while (in.left > 0)
		act(&w, &in);
	hear(&w);
	same_memory(&w);
	must(w.opened[0] == w.opened[1]);
	must(guest_log_lines(w.g[0]) == guest_log_lines(w.g[1]));
	for (unsigned i = 0; i < 2; i++) {
		guest_destroy(w.g[i]);
		must(w.opened[i] == 0);
	}
	return 0;
}
