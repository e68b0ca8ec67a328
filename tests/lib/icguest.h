/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's side of the integration services, for tests: rings of a simulated
 * guest, messages spelled out byte by byte, a clock that the test moves. Knows
 * nothing of hv/ic/wire.h: offsets are those of the guest's headers.
 */
#ifndef TESTS_LIB_ICGUEST_H
#define TESTS_LIB_ICGUEST_H

#include <string.h>

#include "hv/ic.h"
#include "tests/lib/bytes.h"
#include "tests/lib/guest.h"

#define ICGUEST_PACKET 16384u
#define ICGUEST_HEADER 28u

struct icguest {
	struct guest *g;
	struct hv_ic *ic;
	struct guest_channel *ch[HV_IC_SERVICES];
	uint64_t now_ms;
	unsigned samples; /* asked for */
	bool time_at_once;
	unsigned lines;
	char line[240];
	/* the message read last */
	uint8_t m[ICGUEST_PACKET];
	uint32_t len;
	uint64_t id;
};

static inline uint64_t icguest_now(void *arg)
{
	const struct icguest *w = arg;

	return w->now_ms;
}

static inline void icguest_sample(void *arg)
{
	struct icguest *w = arg;

	w->samples++;
	if (w->time_at_once)
		hv_ic_time(w->ic, 1000 + w->samples, 77);
}

static inline void icguest_line(void *arg, const char *line)
{
	struct icguest *w = arg;

	w->lines++;
	strncpy(w->line, line, sizeof(w->line) - 1);
}

static inline void icguest_create(struct icguest *w)
{
	struct hv_ic_opts o = {
		.now_ms = icguest_now,
		.sample = icguest_sample,
		.log = icguest_line,
		.arg = w,
	};

	memset(w, 0, sizeof(*w));
	w->now_ms = 1000000;
	w->time_at_once = true;
	w->g = guest_create(&(struct guest_opts){.vps = 2, .scatter = true});
	o.bus = guest_bus(w->g);
	if (hv_ic_create(&o, &w->ic, NULL))
		abort();
	guest_start(w->g);
}

static inline void icguest_destroy(struct icguest *w)
{
	for (unsigned s = 0; s < HV_IC_SERVICES; s++)
		if (w->ch[s])
			guest_drop(w->ch[s]);
	guest_destroy(w->g);
	hv_ic_destroy(w->ic);
}

/* The types in the order of enum hv_ic_service. */
static inline struct vmbus_guid icguest_type(enum hv_ic_service s)
{
	static const char *const ids[HV_IC_SERVICES] = {
		"0e0b6031-5213-4934-818b-38d90ced39db",
		"9527e630-d0ae-497b-adce-e80ab0175caf",
		"57164f39-9115-4e78-ab55-382f3bd5422d",
		"a9a0f4e7-5a45-4d96-b827-8a841e8c03e6",
		"35fa2e29-ea23-4236-96ae-3a6ebacba440",
	};
	struct vmbus_guid id;

	if (vmbus_guid_parse(ids[s], &id))
		abort();
	return id;
}

static inline void icguest_serve(struct icguest *w)
{
	guest_service(w->g);
	for (unsigned s = 0; s < HV_IC_SERVICES; s++)
		hv_ic_serve(w->ic, (enum hv_ic_service)s);
}

static inline void icguest_open(struct icguest *w, enum hv_ic_service s)
{
	struct vmbus_guid id = icguest_type(s);
	const struct guest_offer *o = guest_offer_find(w->g, &id, 0, 0);

	if (!o)
		abort();
	w->ch[s] = guest_open(w->g, o,
			      &(struct guest_open_opts){.out_pages = 4,
							.in_pages = 4},
			      NULL);
	if (!w->ch[s])
		abort();
	icguest_serve(w);
}

static inline void icguest_close(struct icguest *w, enum hv_ic_service s)
{
	if (w->ch[s])
		guest_close(w->ch[s]);
	w->ch[s] = NULL;
}

/* The next message of the host's: its type, or -1. */
static inline int icguest_hear(struct icguest *w, enum hv_ic_service s)
{
	struct guest_packet p;

	if (guest_recv(w->ch[s], w->m, sizeof(w->m), &p) != 1)
		return -1;
	w->len = p.payload_len;
	w->id = p.trans_id;
	return at16(w->m + 12);
}

static inline void icguest_send(struct icguest *w, enum hv_ic_service s)
{
	(void)guest_send(w->ch[s], 6, 0, w->id, w->m, w->len);
	icguest_serve(w);
}

/* Send back what was read last, as an answer with this status. */
static inline void icguest_answer(struct icguest *w, enum hv_ic_service s,
				  uint32_t status)
{
	set32(w->m + 20, status);
	w->m[25] = 1 | 4;
	icguest_send(w, s);
}

/* As Linux answers a negotiation, with these versions. */
static inline void icguest_agree(struct icguest *w, enum hv_ic_service s,
				 uint32_t framework, uint32_t message)
{
	uint8_t *body = w->m + ICGUEST_HEADER;

	set16(body, framework || message);
	set16(body + 2, framework || message);
	set16(body + 8, (uint16_t)(framework >> 16));
	set16(body + 10, (uint16_t)framework);
	set16(body + 12, (uint16_t)(message >> 16));
	set16(body + 14, (uint16_t)message);
	set16(w->m + 18, 16);
	icguest_answer(w, s, 0);
}

/* Open it and agree on what Linux 6.1 prefers. */
static inline void icguest_ready(struct icguest *w, enum hv_ic_service s)
{
	static const uint32_t versions[HV_IC_SERVICES] = {
		0x30002, 0x40000, 0x30000, 0x40000, 0x50000};

	icguest_open(w, s);
	if (icguest_hear(w, s) != 0)
		abort();
	icguest_agree(w, s, 0x30000, versions[s]);
}

/* Move the clock and let what is due happen. */
static inline int icguest_pass(struct icguest *w, uint64_t ms)
{
	w->now_ms += ms;
	return hv_ic_tick(w->ic);
}

#endif
