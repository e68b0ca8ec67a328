/* SPDX-License-Identifier: BSD-2-Clause */
/* Channel-management messages: a guest that posts anything in any order, does
 * or does not read its slot, while devices come, go, refuse and ask for
 * sub-channels. Actions of one byte and its operands; some build correct
 * messages from few bytes, so that deep states are reached.
 *
 * Beyond memory safety (and the fake partition's own checks: VPs and SINTs
 * that exist, bind and unbind in pairs): each device is opened and closed in
 * turn; answers have the length their type asks for; the log is bounded;
 * everything is closed and freed at the end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/bytes.h"
#include "tests/lib/fakedev.h"
#include "tests/lib/guest.h"

#define DEVICES	 3
#define CHANNELS 16 /* sub-channel indices that are told apart */

struct device {
	bool refuse;
	struct vmbus_channel *offered;
	struct vmbus_channel *open[CHANNELS + 1];
	unsigned subs;
};

struct world {
	struct guest *g;
	struct device dev[DEVICES];
	bool deaf;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* -------------------------------------------------------------- devices -- */

static struct vmbus_channel **place(struct device *d, struct vmbus_channel *ch)
{
	return &d->open[vmbus_channel_index(ch) % CHANNELS];
}

static int on_open(void *arg, struct vmbus_channel *ch, const uint8_t *user)
{
	struct device *d = arg;
	uint8_t sum = 0;

	for (unsigned i = 0; i < 120; i++)
		sum ^= user[i];
	if (d->refuse)
		return -12;
	if (vmbus_channel_index(ch) < CHANNELS) {
		check(!*place(d, ch));
		*place(d, ch) = ch;
	}
	vmbus_channel_set_data(ch, d + sum % 2);
	return 0;
}

static void on_close(void *arg, struct vmbus_channel *ch)
{
	struct device *d = arg;

	if (vmbus_channel_index(ch) < CHANNELS) {
		check(*place(d, ch) == ch);
		*place(d, ch) = NULL;
	}
	if (vmbus_channel_index(ch) == 0) {
		d->subs = 0; /* they were closed before */
		for (unsigned i = 1; i < CHANNELS; i++)
			check(!d->open[i]);
	}
}

static const struct vmbus_device_ops ops = {"fuzzed", on_open, on_close};

static void add_device(struct world *w, unsigned n)
{
	struct vmbus_offer offer = {
		.type = fakedev_type, .ops = &ops, .dev = &w->dev[n]};

	offer.instance.b[0] = (uint8_t)n;
	if (!w->dev[n].offered)
		check(vmbus_offer_add(guest_bus(w->g), &offer,
				      &w->dev[n].offered, NULL) == 0);
}

static struct vmbus_channel *some_open(struct world *w, unsigned n)
{
	return w->dev[n % DEVICES].open[n / DEVICES % 3];
}

/* What a device does with an open ring. */
static void use_ring(struct world *w, unsigned n)
{
	struct vmbus_channel *ch = some_open(w, n);
	struct vmbus_packet p;
	uint8_t buf[512];

	if (!ch)
		return;
	vmbus_recv_mask(ch);
	for (unsigned i = 0; i < 8; i++)
		if (vmbus_recv(ch, buf, sizeof(buf), &p) != 1)
			break;
	vmbus_recv_done(ch);
	(void)vmbus_recv_unmask(ch);
	(void)vmbus_send(ch, VMBUS_PACKET_COMPLETION, 0, n, buf, n);
	vmbus_send_done(ch);
	(void)vmbus_send_wait(ch, n * 64);
	check(vmbus_channel_vp(ch) < 2 || vmbus_channel_vp(ch) == 0xFFFFFFFF);
}

/* ------------------------------------------------------------- messages -- */

static void hear(struct world *w)
{
	static const uint8_t sizes[32] = {
		[1] = 196, [2] = 12,  [4] = 8,	[6] = 20,  [10] = 20,
		[12] = 12, [15] = 16, [17] = 8, [23] = 44, [24] = 16};
	uint8_t m[240];
	size_t len = guest_hear(w->g, m, NULL);

	if (len > 0)
		check(at32(m) < 32 && sizes[at32(m)] == len);
}

static void post(struct world *w, struct input *in, uint8_t *m, size_t len)
{
	static const uint32_t ids[4] = {4, 1, 1, 4};

	(void)guest_post(w->g, ids[take(in, 1) & 3], m, len);
}

/* Small numbers are likely ones. */
static uint32_t relid(struct input *in)
{
	uint32_t n = (uint32_t)take(in, 1);

	return n < 0xF0 ? n % 16 : (uint32_t)take(in, 4);
}

static void post_contact(struct world *w, struct input *in)
{
	static const uint32_t versions[8] = {0x50003, 0x20004, 0x30000,
					     0x40000, 0x40001, 0x50000,
					     0x50002, 0x60000};
	unsigned how = (unsigned)take(in, 1);
	uint8_t m[240] = {14};

	set32(m + 8, versions[how & 7]);
	set32(m + 12, how >> 3 & 1);
	if ((how & 7) == 0 || (how & 7) > 4)
		m[16] = 2;
	(void)guest_post(w->g, m[16] ? 4 : 1, m, 40);
	if (!(how & 16))
		return;
	memset(m, 0, sizeof(m));
	m[0] = 3;
	(void)guest_post(w->g, 1, m, 8);
}

static void post_gpadl(struct world *w, struct input *in)
{
	unsigned pages = (unsigned)take(in, 1) % 70;
	unsigned now = (unsigned)take(in, 1) % 27;
	unsigned wrong = (unsigned)take(in, 1);
	uint8_t m[240] = {8};

	set32(m + 8, relid(in));
	set32(m + 12, (uint32_t)take(in, 1) % 8);
	set16(m + 16, (uint16_t)(8 + 8 * pages));
	set16(m + 18, (uint16_t)(1 + wrong / 64));
	set32(m + 20, pages * 4096 + (wrong & 1 ? 4096 : 0));
	set32(m + 24, wrong & 2 ? 8 : 0);
	if (now > pages)
		now = pages;
	for (unsigned i = 0; i < now; i++)
		set64(m + 28 + 8 * i, 16 + i);
	if (wrong & 4)
		set64(m + 28, (1ull << 52) + 16);
	if (wrong & 8)
		set64(m + 28, 256);
	(void)guest_post(w->g, 4, m, 28 + 8 * now);
}

static void post_body(struct world *w, struct input *in)
{
	uint8_t m[240] = {9};
	unsigned n = (unsigned)take(in, 1) % 29;

	set32(m + 12, (uint32_t)take(in, 1) % 8);
	for (unsigned i = 0; i < n; i++)
		set64(m + 16 + 8 * i, 60 + i);
	(void)guest_post(w->g, 4, m, 16 + 8 * n);
}

static void post_open(struct world *w, struct input *in)
{
	uint8_t m[240] = {5};

	set32(m + 8, relid(in));
	set32(m + 16, (uint32_t)take(in, 1) % 8);
	set32(m + 20, (uint32_t)take(in, 1) % 3);
	set32(m + 24, (uint32_t)take(in, 1) % 40);
	(void)guest_post(w->g, 4, m, 148);
}

/* Messages of a type and two numbers. */
static void post_short(struct world *w, struct input *in)
{
	static const uint8_t types[8] = {7, 11, 13, 16, 22, 3, 21, 18};
	uint8_t m[240] = {types[take(in, 1) & 7]};

	set32(m + 8, relid(in));
	set32(m + 12, (uint32_t)take(in, 1) % 8);
	(void)guest_post(w->g, 4, m, 40);
}

static void post_raw(struct world *w, struct input *in)
{
	uint8_t m[256];
	size_t len = take(in, 1);

	for (size_t i = 0; i < len; i++)
		m[i] = (uint8_t)take(in, 1);
	post(w, in, m, len);
}

/* The guest writes into the pages that rings are made of. */
static void scribble(struct world *w, struct input *in)
{
	uint64_t gpa = (16 + take(in, 1) % 64) * 4096 + take(in, 1) * 4 % 128;

	set32(guest_ptr(w->g, gpa), (uint32_t)take(in, 4));
}

static void devices(struct world *w, struct input *in)
{
	unsigned how = (unsigned)take(in, 1), n = how % DEVICES;
	struct device *d = &w->dev[n];

	switch (how / DEVICES % 4) {
	case 0:
		add_device(w, n);
		break;
	case 1:
		if (d->offered)
			vmbus_rescind(d->offered);
		d->offered = NULL;
		for (unsigned i = 0; i < CHANNELS; i++)
			check(!d->open[i]);
		break;
	case 2:
		d->refuse = !d->refuse;
		break;
	default:
		if (d->open[0] && d->subs < 8) {
			d->subs += how % 4;
			(void)vmbus_offer_sub(d->open[0], (uint16_t)(how % 4));
		}
		break;
	}
}

static void act(struct world *w, struct input *in)
{
	switch (take(in, 1) % 16) {
	case 0:
		post_raw(w, in);
		break;
	case 1:
		post_contact(w, in);
		break;
	case 2:
		post_gpadl(w, in);
		break;
	case 3:
		post_body(w, in);
		break;
	case 4:
		post_open(w, in);
		break;
	case 5:
	case 6:
		post_short(w, in);
		break;
	case 7:
		w->deaf = !w->deaf;
		guest_deafen(w->g, w->deaf);
		break;
	case 8:
		guest_advance(w->g, (unsigned)take(in, 1) * 4);
		break;
	case 9:
		devices(w, in);
		break;
	case 10:
		use_ring(w, (unsigned)take(in, 1));
		break;
	case 11:
		scribble(w, in);
		break;
	case 12:
		guest_vp_off(w->g, 0, take(in, 1) & 1);
		break;
	case 13:
		if (take(in, 1) == 0)
			vmbus_reset(guest_bus(w->g));
		break;
	default:
		hear(w);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w = {0};

	w.g = guest_create(
		&(struct guest_opts){.vps = 2, .memory_bytes = 1 << 20});
	for (unsigned i = 0; i < DEVICES; i++)
		add_device(&w, i);
	while (in.left > 0)
		act(&w, &in);
	check(guest_log_lines(w.g) <= 64 + size * 9);
	guest_destroy(w.g);
	for (unsigned d = 0; d < DEVICES; d++)
		for (unsigned i = 0; i < CHANNELS; i++)
			check(!w.dev[d].open[i]);
	return 0;
}
