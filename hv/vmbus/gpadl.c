/* SPDX-License-Identifier: BSD-2-Clause */
/* GPADLs: lists of guest pages that the guest names by a handle of its choice.
 * A header and as many bodies as it takes bring a buffer of ranges; when the
 * last word is there the whole is checked and only then exists.
 *
 * A handle is unique on its channel, and among all GPADLs still being built,
 * since a body names no channel. The buffer is a stream of 64-bit words; bytes
 * of a message behind its last whole word, or behind the last word wanted,
 * are padding.
 * Bounds: words per GPADL by its 16-bit length, GPADLs per channel, GPADLs
 * being built, words in all of them.
 * Sources: Linux drivers/hv/channel.c (vmbus_establish_gpadl); OpenVMM
 * vmbus_server gpadl and vmbus_channel gpadl code.
 */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

#include "vhd/checked.h"

#define WORD 8u

static void say_created(struct vmbus *bus, uint32_t relid, uint32_t handle,
			uint32_t status)
{
	struct vmbus_wire_gpadl_created m = {
		.hdr.type = le32_put(VMBUS_MSG_GPADL_CREATED),
		.relid = le32_put(relid),
		.handle = le32_put(handle),
		.status = le32_put(status),
	};

	vmbus_say(bus, &m, sizeof(m));
}

static void say_torndown(struct vmbus *bus, uint32_t handle)
{
	struct vmbus_wire_gpadl_torndown m = {
		.hdr.type = le32_put(VMBUS_MSG_GPADL_TORNDOWN),
		.handle = le32_put(handle),
	};

	vmbus_say(bus, &m, sizeof(m));
}

static struct vmbus_gpadl *find_any(const struct vmbus_channel *ch,
				    uint32_t handle)
{
	struct vmbus_gpadl *g = ch->gpadls;

	while (g && g->handle != handle)
		g = g->next;
	return g;
}

struct vmbus_gpadl *vmbus_gpadl_find(const struct vmbus_channel *ch,
				     uint32_t handle)
{
	struct vmbus_gpadl *g = find_any(ch, handle);

	return g && g->created ? g : NULL;
}

static struct vmbus_gpadl *find_building(const struct vmbus *bus,
					 uint32_t handle)
{
	for (unsigned i = 0; i < bus->building_count; i++)
		if (bus->building[i]->handle == handle)
			return bus->building[i];
	return NULL;
}

static void stop_building(struct vmbus *bus, const struct vmbus_gpadl *g)
{
	for (unsigned i = 0; i < bus->building_count; i++) {
		if (bus->building[i] != g)
			continue;
		bus->building[i] = bus->building[--bus->building_count];
		return;
	}
}

static void gpadl_free(struct vmbus_gpadl *g)
{
	struct vmbus_channel *ch = g->ch;
	struct vmbus_gpadl **at = &ch->gpadls;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	ch->gpadl_count--;
	ch->bus->gpadl_words -= g->words_want;
	stop_building(ch->bus, g);
	free(g);
}

void vmbus_gpadl_free_all(struct vmbus_channel *ch, bool only_created)
{
	struct vmbus_gpadl *next;

	for (struct vmbus_gpadl *g = ch->gpadls; g; g = next) {
		next = g->next;
		if (g->created || !only_created)
			gpadl_free(g);
	}
}

/* -------------------------------------------------------------- create -- */

/* Why the complete buffer describes no memory, or NULL. */
static const char *ranges_fault(const struct hv_mem *mem,
				const struct vmbus_gpadl *g)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < g->ranges; i++) {
		uint32_t count, offset;
		uint64_t pages, gpa;

		if (at == g->words_want)
			return "fewer ranges than announced";
		count = (uint32_t)g->words[at];
		offset = (uint32_t)(g->words[at] >> 32);
		at++;
		if (count == 0)
			return "a range of no bytes";
		if (offset >= HV_PAGE_BYTES)
			return "a range starts behind its first page";
		pages = ((uint64_t)offset + count + HV_PAGE_BYTES - 1) /
			HV_PAGE_BYTES;
		if (pages > g->words_want - at)
			return "fewer pages than a range needs";
		for (; pages > 0; pages--, at++)
			if (mul_ovf(g->words[at], HV_PAGE_BYTES, &gpa) ||
			    !hv_gpa_ok(mem, gpa, HV_PAGE_BYTES))
				return "a page is not RAM";
	}
	return at == g->words_want ? NULL : "more pages than the ranges need";
}

/* All words are there: the moment of truth. */
static void finish(struct vmbus *bus, struct vmbus_gpadl *g)
{
	const char *fault = ranges_fault(bus->opts.mem, g);
	uint32_t relid = g->ch->relid, handle = g->handle;

	if (g->ch->state == VMBUS_CH_REVOKED)
		fault = "the channel is rescinded";
	if (fault) {
		vmbus_log(bus, "refused GPADL 0x%x of channel %u: %s", handle,
			  relid, fault);
		gpadl_free(g);
		say_created(bus, relid, handle, VMBUS_STATUS_FAILED);
		return;
	}
	g->created = true;
	stop_building(bus, g);
	say_created(bus, relid, handle, VMBUS_STATUS_OK);
}

static void append(struct vmbus *bus, struct vmbus_gpadl *g,
		   const uint8_t *bytes, uint32_t len)
{
	uint32_t words = len / WORD;

	if (words > g->words_want - g->words_have)
		words = g->words_want - g->words_have;
	for (; words > 0; words--, bytes += WORD) {
		le64 v;

		memcpy(&v, bytes, sizeof(v));
		g->words[g->words_have++] = le64_get(v);
	}
	if (g->words_have == g->words_want)
		finish(bus, g);
}

/* Why a header cannot start a GPADL, or NULL. */
static const char *header_fault(const struct vmbus *bus,
				const struct vmbus_channel *ch, uint32_t handle,
				uint32_t bytes, uint32_t ranges)
{
	if (!ch)
		return "the channel is not offered";
	if (ch->state == VMBUS_CH_REVOKED)
		return "the channel is rescinded";
	if (find_any(ch, handle) || find_building(bus, handle))
		return "the handle is in use";
	if (ranges == 0)
		return "no ranges";
	/* A range is at least its header and one page. */
	if (bytes % WORD != 0 || bytes / (2 * WORD) < ranges)
		return "the length does not fit the ranges";
	if (ch->gpadl_count == VMBUS_GPADLS_PER_CHANNEL)
		return "too many on this channel";
	if (bus->building_count == VMBUS_GPADLS_BUILDING)
		return "too many unfinished";
	if (bytes / WORD > VMBUS_GPADL_PAGES_TOTAL - bus->gpadl_words)
		return "too many pages in all";
	return NULL;
}

static struct vmbus_gpadl *gpadl_new(struct vmbus_channel *ch, uint32_t handle,
				     uint32_t words, uint32_t ranges)
{
	struct vmbus *bus = ch->bus;
	struct vmbus_gpadl *g;

	g = malloc(sizeof(*g) + words * sizeof(g->words[0]));
	if (!g)
		return NULL;
	*g = (struct vmbus_gpadl){
		.next = ch->gpadls,
		.ch = ch,
		.handle = handle,
		.ranges = ranges,
		.words_want = words,
	};
	ch->gpadls = g;
	ch->gpadl_count++;
	bus->gpadl_words += words;
	bus->building[bus->building_count++] = g;
	return g;
}

void vmbus_on_gpadl_header(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_gpadl_header m;
	struct vmbus_gpadl *g = NULL;
	struct vmbus_channel *ch;
	uint32_t bytes, ranges;
	const char *fault;

	memcpy(&m, msg->data, sizeof(m));
	bytes = le16_get(m.range_buflen);
	ranges = le16_get(m.range_count);
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	fault = header_fault(bus, ch, le32_get(m.handle), bytes, ranges);
	if (!fault) {
		g = gpadl_new(ch, le32_get(m.handle), bytes / WORD, ranges);
		if (!g)
			fault = "out of memory";
	}
	if (!g) {
		vmbus_log(bus, "refused GPADL 0x%x of channel %u: %s",
			  le32_get(m.handle), le32_get(m.relid), fault);
		vmbus_refuse_gpadl(bus, msg);
		return;
	}
	append(bus, g, msg->data + sizeof(m), msg->len - (uint32_t)sizeof(m));
}

void vmbus_refuse_gpadl(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_gpadl_header m;

	memcpy(&m, msg->data, sizeof(m));
	say_created(bus, le32_get(m.relid), le32_get(m.handle),
		    VMBUS_STATUS_FAILED);
}

void vmbus_on_gpadl_body(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_gpadl_body m;
	struct vmbus_gpadl *g;

	memcpy(&m, msg->data, sizeof(m));
	g = find_building(bus, le32_get(m.handle));
	if (!g) {
		/* No answer is possible: a body names no channel. */
		vmbus_log(bus, "dropped GPADL_BODY of 0x%x: no header before",
			  le32_get(m.handle));
		return;
	}
	append(bus, g, msg->data + sizeof(m), msg->len - (uint32_t)sizeof(m));
}

/* ------------------------------------------------------------ teardown -- */

static bool handle_used_anywhere(const struct vmbus *bus, uint32_t handle)
{
	for (const struct vmbus_channel *ch = bus->channels; ch; ch = ch->next)
		if (find_any(ch, handle))
			return true;
	return false;
}

void vmbus_on_gpadl_teardown(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_gpadl_teardown m;
	const char *fault = NULL;
	struct vmbus_channel *ch;
	struct vmbus_gpadl *g;
	uint32_t handle;

	memcpy(&m, msg->data, sizeof(m));
	handle = le32_get(m.handle);
	ch = vmbus_channel_find(bus, le32_get(m.relid));
	g = ch ? find_any(ch, handle) : NULL;
	if (g && g == ch->ring_gpadl)
		fault = "it is the ring of an open channel";
	else if (g && !g->created)
		fault = "it is not complete";
	else if (!g && handle_used_anywhere(bus, handle))
		fault = "it belongs to another channel";
	if (fault) {
		vmbus_log(bus, "dropped GPADL_TEARDOWN of 0x%x, channel %u: %s",
			  handle, le32_get(m.relid), fault);
		return;
	}
	/* A handle nobody has: nothing of ours uses the pages, and the guest
	 * would wait for ever.
	 */
	if (g)
		gpadl_free(g);
	say_torndown(bus, handle);
}
