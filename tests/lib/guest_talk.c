/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversations of the user-space guest: contact, offers, GPADLs. Message
 * layouts are written out as offsets here, apart from hv/vmbus/wire.h.
 */
#include "guest_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADER_PFNS 26
#define BODY_PFNS   28

enum {
	MSG_OFFER = 1,
	MSG_RESCIND = 2,
	MSG_REQUEST_OFFERS = 3,
	MSG_ALL_OFFERS = 4,
	MSG_GPADL_HEADER = 8,
	MSG_GPADL_BODY = 9,
	MSG_GPADL_CREATED = 10,
	MSG_GPADL_TEARDOWN = 11,
	MSG_GPADL_TORNDOWN = 12,
	MSG_INITIATE_CONTACT = 14,
	MSG_VERSION_RESPONSE = 15,
	MSG_UNLOAD = 16,
	MSG_UNLOAD_RESPONSE = 17,
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void put(uint8_t *p, uint64_t v, size_t len)
{
	memcpy(p, &v, len);
}

/* ------------------------------------------------------------ messages -- */

uint64_t guest_post(struct guest *g, uint32_t connection_id, const void *msg,
		    size_t len)
{
	guest_start_control(g);
	return vmbus_post_message(g->bus, connection_id, 1, msg, len);
}

uint64_t guest_say(struct guest *g, const void *msg, size_t len)
{
	uint32_t id = g->connection_id ? g->connection_id : 1;

	return guest_post(g, id, msg, len);
}

void guest_insist(struct guest *g, const void *msg, size_t len)
{
	struct timespec nap = {.tv_nsec = 100000};

	while (guest_say(g, msg, len) != VMBUS_HV_SUCCESS) {
		if (g->opts.threaded)
			nanosleep(&nap, NULL);
		else
			guest_service(g);
	}
}

void guest_forget_offers(struct guest *g)
{
	while (g->offer_count > 0)
		free(g->offers[--g->offer_count]);
}

static void note(struct guest *g, const uint8_t *m)
{
	struct guest_offer *o;

	if (get32(m) == MSG_RESCIND) {
		for (size_t i = 0; i < g->offer_count; i++)
			if (g->offers[i]->relid == get32(m + 8))
				g->offers[i]->rescinded = true;
		return;
	}
	o = malloc(sizeof(*o));
	if (!o)
		guest_die("no memory");
	g->offers = guest_grow(g->offers, g->offer_count, &g->offer_room,
			       sizeof(g->offers[0]));
	g->offers[g->offer_count++] = o;
	*o = (struct guest_offer){
		.channel_flags = get16(m + 56),
		.mmio_mb = get16(m + 58),
		.sub_index = get16(m + 180),
		.relid = get32(m + 184),
		.dedicated = m[190] & 1,
		.connection_id = get32(m + 192),
	};
	memcpy(o->type.b, m + 8, 16);
	memcpy(o->instance.b, m + 24, 16);
	memcpy(o->user, m + 60, 120);
}

static bool is_notice(const struct guest_slot *s)
{
	return get32(s->data) == MSG_OFFER || get32(s->data) == MSG_RESCIND;
}

static bool find_message(struct guest *g, void *arg)
{
	uint32_t *vp = arg;

	for (*vp = 0; *vp < g->opts.vps; ++*vp)
		if (g->slot[*vp].busy)
			return true;
	return false;
}

/* Empty a slot; lock held. */
static size_t take_slot(struct guest *g, uint32_t vp, uint8_t *buf)
{
	struct guest_slot *s = &g->slot[vp];

	memcpy(buf, s->data, s->len);
	s->busy = false;
	if (s->pending)
		vmbus_kick(g->bus); /* the EOM */
	s->pending = false;
	return s->len;
}

/* Take one message, waiting for it; `notices`: only an offer or rescind, and
 * no waiting.
 */
static size_t take(struct guest *g, uint8_t *buf, uint32_t *vp, bool notices)
{
	size_t len = 0;
	bool any;

	if (!g->opts.threaded)
		guest_service(g);
	pthread_mutex_lock(&g->lock);
	if (g->opts.threaded && !notices && !g->deaf)
		any = guest_wait_locked(g, GUEST_WAIT_MS, find_message, vp);
	else
		any = find_message(g, vp);
	if (any && !g->deaf && (!notices || is_notice(&g->slot[*vp])))
		len = take_slot(g, *vp, buf);
	pthread_mutex_unlock(&g->lock);
	if (len >= 12 && (get32(buf) == MSG_OFFER || get32(buf) == MSG_RESCIND))
		note(g, buf);
	return len;
}

size_t guest_hear(struct guest *g, void *buf, uint32_t *vp)
{
	uint32_t ignored;

	return take(g, buf, vp ? vp : &ignored, false);
}

size_t guest_hear_type(struct guest *g, uint32_t type, void *buf)
{
	size_t len;

	do
		len = guest_hear(g, buf, NULL);
	while (len > 0 && get32(buf) != type);
	return len;
}

void guest_deafen(struct guest *g, bool deaf)
{
	pthread_mutex_lock(&g->lock);
	g->deaf = deaf;
	pthread_mutex_unlock(&g->lock);
}

void guest_refuse_bind(struct guest *g, bool refuse)
{
	pthread_mutex_lock(&g->lock);
	g->refuse_bind = refuse;
	pthread_mutex_unlock(&g->lock);
}

void guest_vp_off(struct guest *g, uint32_t vp, bool off)
{
	pthread_mutex_lock(&g->lock);
	g->off[vp] = off;
	if (off)
		g->slot[vp].busy = false;
	pthread_mutex_unlock(&g->lock);
	vmbus_kick(g->bus);
}

/* ------------------------------------------------------------- contact -- */

int guest_connect(struct guest *g, uint32_t version)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};

	put(m, MSG_INITIATE_CONTACT, 4);
	put(m + 8, version, 4);
	if (version >= 0x00050000)
		m[16] = VMBUS_SINT;
	g->connection_id = version >= 0x00050000 ? 4 : 1;
	guest_forget_offers(g);
	guest_insist(g, m, 40);
	if (guest_hear_type(g, MSG_VERSION_RESPONSE, m) < 16)
		return GUEST_NO_ANSWER;
	if (!m[8])
		return 0;
	g->version = version;
	if (version >= 0x00050000)
		g->connection_id = get32(m + 12);
	return 1;
}

int guest_request_offers(struct guest *g)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};

	put(m, MSG_REQUEST_OFFERS, 4);
	guest_insist(g, m, 8);
	if (!guest_hear_type(g, MSG_ALL_OFFERS, m))
		return GUEST_NO_ANSWER;
	return (int)g->offer_count;
}

void guest_start(struct guest *g)
{
	if (guest_connect(g, GUEST_VERSION_5_3) != 1)
		guest_die("the bus refuses version 5.3");
	if (guest_request_offers(g) < 0)
		guest_die("offers never end");
}

int guest_unload(struct guest *g)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};

	put(m, MSG_UNLOAD, 4);
	guest_insist(g, m, 8);
	guest_forget_offers(g);
	return guest_hear_type(g, MSG_UNLOAD_RESPONSE, m) ? 0 : GUEST_NO_ANSWER;
}

static const struct guest_offer *find_offer(struct guest *g,
					    const struct vmbus_guid *type,
					    uint16_t sub_index, unsigned n)
{
	for (size_t i = 0; i < g->offer_count; i++) {
		const struct guest_offer *o = g->offers[i];

		if (o->rescinded || o->sub_index != sub_index ||
		    (type && memcmp(&o->type, type, sizeof(*type)) != 0))
			continue;
		if (n-- == 0)
			return o;
	}
	return NULL;
}

const struct guest_offer *guest_offer_find(struct guest *g,
					   const struct vmbus_guid *type,
					   uint16_t sub_index, unsigned n)
{
	struct timespec nap = {.tv_nsec = 1000000};
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX];
	const struct guest_offer *o;
	uint32_t vp;

	for (int left_ms = GUEST_WAIT_MS; left_ms > 0; left_ms--) {
		while (take(g, m, &vp, true) > 0)
			;
		o = find_offer(g, type, sub_index, n);
		if (o || !g->opts.threaded)
			return o;
		nanosleep(&nap, NULL);
	}
	return NULL;
}

/* -------------------------------------------------------------- gpadls -- */

int64_t guest_gpadl_create(struct guest *g, uint32_t relid, uint32_t handle,
			   const uint64_t *gpas, unsigned pages)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};
	unsigned at = 0, n = pages < HEADER_PFNS ? pages : HEADER_PFNS;

	put(m, MSG_GPADL_HEADER, 4);
	put(m + 8, relid, 4);
	put(m + 12, handle, 4);
	put(m + 16, 8 + 8 * (uint64_t)pages, 2);
	put(m + 18, 1, 2);
	put(m + 20, (uint64_t)pages * HV_PAGE_BYTES, 4);
	for (; at < n; at++)
		put(m + 28 + 8 * at, gpas[at] / HV_PAGE_BYTES, 8);
	guest_insist(g, m, 28 + 8 * n);
	while (at < pages) {
		n = pages - at < BODY_PFNS ? pages - at : BODY_PFNS;
		memset(m, 0, sizeof(m));
		put(m, MSG_GPADL_BODY, 4);
		put(m + 12, handle, 4);
		for (unsigned i = 0; i < n; i++, at++)
			put(m + 16 + 8 * i, gpas[at] / HV_PAGE_BYTES, 8);
		guest_insist(g, m, 16 + 8 * n);
	}
	do {
		if (guest_hear_type(g, MSG_GPADL_CREATED, m) < 20)
			return GUEST_NO_ANSWER;
	} while (get32(m + 8) != relid || get32(m + 12) != handle);
	return get32(m + 16);
}

int guest_gpadl_teardown(struct guest *g, uint32_t relid, uint32_t handle)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};

	put(m, MSG_GPADL_TEARDOWN, 4);
	put(m + 8, relid, 4);
	put(m + 12, handle, 4);
	guest_insist(g, m, 16);
	do {
		if (guest_hear_type(g, MSG_GPADL_TORNDOWN, m) < 12)
			return GUEST_NO_ANSWER;
	} while (get32(m + 8) != handle);
	return 0;
}
