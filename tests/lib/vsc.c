/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels, packets and their accounting: see vsc.h. */
#include "vsc.h"
#include "tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDS 512u /* hash of ids in flight */

struct issued {
	struct issued *next;
	uint64_t id;
	size_t bytes; /* of the answer */
};

struct vsc_channel {
	struct vsc *v;
	struct guest_channel *ring;
	struct issued *ids[IDS];
	uint64_t next_id;
	uint64_t issued, answered, none;
	unsigned outstanding;
	unsigned unasked;
	uint32_t unasked_op, unasked_bytes;
	size_t packet_bytes;
	uint16_t index;
};

struct vsc {
	struct guest *g;
	struct storvsp *vsp;
	struct vsc_opts opts;
	struct vsc_channel *open[VSC_CHANNELS_MAX];
	/* of channels gone */
	uint64_t issued, answered, none, lost;
	bool distrusted;
	unsigned log_lines;
	char log_last[256];
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "vsc: %s\n", what);
	abort();
}

static void must(bool ok, const char *what)
{
	if (!ok)
		die(what);
}

/* --------------------------------------------------------------- life ---- */

/* Any thread of the VSP. */
static void log_line(void *arg, const char *line)
{
	struct vsc *v = arg;

	__atomic_add_fetch(&v->log_lines, 1, __ATOMIC_RELAXED);
	if (v->opts.vsp.manual)
		snprintf(v->log_last, sizeof(v->log_last), "%s", line);
}

struct vsc *vsc_create(const struct vsc_opts *opts)
{
	struct vsc *v = calloc(1, sizeof(*v));

	must(v, "no memory");
	if (opts)
		v->opts = *opts;
	v->opts.vsp.manual = !v->opts.threaded;
	if (!v->opts.vsp.log) {
		v->opts.vsp.log = log_line;
		v->opts.vsp.log_arg = v;
	}
	memset(v->opts.vsp.instance.b, 0x5C, 16);
	v->g = guest_create(&v->opts.guest);
	must(!storvsp_create(&v->opts.vsp, &v->vsp, NULL), "no controller");
	must(!storvsp_offer(v->vsp, guest_bus(v->g), NULL), "no offer");
	guest_start(v->g);
	return v;
}

/* Both sides have counted; with everything closed the sums must agree. */
static void check_sums(struct vsc *v)
{
	struct storvsp_stats s;

	storvsp_get_stats(v->vsp, &s);
	must(s.packets == s.completions + s.refused + s.cancelled,
	     "the VSP lost a packet");
	tally_add(TALLY_GUESTS, 1);
	tally_add(TALLY_ISSUED, s.packets);
	tally_add(TALLY_COMPLETED, s.completions);
	tally_add(TALLY_CANCELLED, s.cancelled);
	tally_add(TALLY_REFUSED, s.refused);
	if (v->distrusted)
		return;
	must(v->issued == v->answered + v->lost, "the VSC lost a packet");
	must(s.packets <= v->issued + v->none, "packets from nowhere");
	must(s.completions >= v->answered, "answers from nowhere");
	must(s.completions - v->answered <= v->lost, "an answer too many");
}

void vsc_destroy(struct vsc *v)
{
	for (unsigned i = VSC_CHANNELS_MAX; i-- > 0;)
		if (v->open[i])
			vsc_close(v->open[i]);
	guest_unload(v->g);
	check_sums(v);
	guest_destroy(v->g);
	storvsp_destroy(v->vsp);
	free(v);
}

struct guest *vsc_guest(struct vsc *v)
{
	return v->g;
}

struct storvsp *vsc_vsp(struct vsc *v)
{
	return v->vsp;
}

unsigned vsc_log_lines(const struct vsc *v)
{
	return __atomic_load_n(&v->log_lines, __ATOMIC_RELAXED);
}

const char *vsc_log_last(const struct vsc *v)
{
	return v->log_last;
}

void vsc_disk(struct vsc *v, struct vhd *img, uint8_t path, uint8_t target,
	      uint8_t lun, bool read_only)
{
	struct storvsp_disk_opts o = {
		.path = path,
		.target = target,
		.lun = lun,
		.read_only = read_only,
	};
	struct vhd_err err = {0};

	for (unsigned i = 0; i < 16; i++)
		o.unique_id[i] = (uint8_t)(0x10 + i);
	if (storvsp_disk_add(v->vsp, &o, img, &err))
		die(err.text);
}

/* ----------------------------------------------------------- channels ---- */

static const struct guest_offer *wait_offer(struct vsc *v, uint16_t index)
{
	const struct guest_offer *o;
	struct timespec nap = {.tv_nsec = 1000000};

	for (unsigned ms = 0; ms < VSC_WAIT_MS; ms++) {
		vsc_pump(v);
		o = guest_offer_find(v->g, NULL, index, 0);
		if (o || !v->opts.threaded)
			return o;
		nanosleep(&nap, NULL);
	}
	return NULL;
}

struct vsc_channel *vsc_open(struct vsc *v, uint16_t index)
{
	const struct guest_open_opts o = {
		.out_pages = v->opts.out_pages,
		.in_pages = v->opts.in_pages,
		.vp = index % (v->opts.guest.vps ? v->opts.guest.vps : 1),
	};
	const struct guest_offer *offer = wait_offer(v, index);
	struct vsc_channel *c = calloc(1, sizeof(*c));

	must(c, "no memory");
	must(offer, "no such channel on offer");
	must(index < VSC_CHANNELS_MAX && !v->open[index], "already open");
	c->v = v;
	c->index = index;
	c->packet_bytes = STORVSP_PACKET_BYTES;
	c->next_id = ((uint64_t)index << 32) + 1;
	c->ring = guest_open(v->g, offer, &o, NULL);
	if (!c->ring) {
		free(c);
		return NULL;
	}
	v->open[index] = c;
	return c;
}

static void forget(struct vsc_channel *c)
{
	struct vsc *v = c->v;

	v->issued += c->issued;
	v->answered += c->answered;
	v->none += c->none;
	v->lost += c->outstanding;
	for (unsigned i = 0; c->outstanding && i < IDS; i++) {
		while (c->ids[i]) {
			struct issued *next = c->ids[i]->next;

			free(c->ids[i]);
			c->ids[i] = next;
			c->outstanding--;
		}
	}
	v->open[c->index] = NULL;
	free(c);
}

void vsc_close(struct vsc_channel *c)
{
	must(guest_close(c->ring) == 0, "the bus does not close a channel");
	forget(c);
}

void vsc_drop(struct vsc_channel *c)
{
	guest_drop(c->ring);
	forget(c);
}

struct guest_channel *vsc_ring(struct vsc_channel *c)
{
	return c->ring;
}

unsigned vsc_outstanding(const struct vsc_channel *c)
{
	return c->outstanding;
}

uint64_t vsc_issued(const struct vsc_channel *c)
{
	return c->issued;
}

unsigned vsc_unasked(const struct vsc_channel *c)
{
	return c->unasked;
}

uint32_t vsc_unasked_op(const struct vsc_channel *c)
{
	return c->unasked_op;
}

uint32_t vsc_unasked_bytes(const struct vsc_channel *c)
{
	return c->unasked_bytes;
}

size_t vsc_packet_bytes(const struct vsc_channel *c)
{
	return c->packet_bytes;
}

void vsc_set_packet_bytes(struct vsc_channel *c, size_t bytes)
{
	c->packet_bytes = bytes;
}

/* ------------------------------------------------------------ packets ---- */

void vsc_expect(struct vsc_channel *c, uint64_t id, size_t bytes)
{
	struct issued *i = calloc(1, sizeof(*i));

	must(i, "no memory");
	i->id = id;
	/* the rule, written down a second time */
	i->bytes = bytes > 64 ? 64 : bytes <= 16 ? 16 : (bytes + 7) / 8 * 8;
	i->next = c->ids[id % IDS];
	c->ids[id % IDS] = i;
	c->issued++;
	c->outstanding++;
}

void vsc_expect_none(struct vsc_channel *c)
{
	c->none++;
}

void vsc_distrust(struct vsc *v)
{
	v->distrusted = true;
}

/* An answer came: it must be to a packet that waits for one. With an id used
 * twice either will do.
 */
static void settle(struct vsc_channel *c, uint64_t id, size_t bytes)
{
	struct issued **p = &c->ids[id % IDS], *i;

	while (*p && ((*p)->id != id || (*p)->bytes != bytes))
		p = &(*p)->next;
	i = *p;
	must(i, "an answer that nobody waits for, or of the wrong size");
	*p = i->next;
	free(i);
	c->answered++;
	c->outstanding--;
}

bool vsc_send_as(struct vsc_channel *c, uint64_t id, const void *payload,
		 size_t bytes, const struct guest_range *ranges, uint32_t count)
{
	int rc;

	/* written down first: the answer may come before send returns */
	vsc_expect(c, id, bytes);
	if (count)
		rc = guest_send_gpa(c->ring, VMBUS_PACKET_WANTS_COMPLETION, id,
				    ranges, count, payload, bytes);
	else
		rc = guest_send(c->ring, VMBUS_PACKET_INBAND,
				VMBUS_PACKET_WANTS_COMPLETION, id, payload,
				bytes);
	if (rc == 0)
		return true;
	settle(c, id, c->ids[id % IDS]->bytes);
	c->issued--;
	c->answered--;
	return false;
}

uint64_t vsc_send(struct vsc_channel *c, const void *payload, size_t bytes,
		  const struct guest_range *ranges, uint32_t count)
{
	uint64_t id = c->next_id;

	if (!vsc_send_as(c, id, payload, bytes, ranges, count))
		return 0;
	c->next_id++;
	return id;
}

void vsc_pump(struct vsc *v)
{
	guest_service(v->g);
	if (v->opts.threaded)
		return;
	while (storvsp_poll(v->vsp) > 0)
		guest_service(v->g);
}

/* Of either format. */
static void check_sense(const uint8_t *s)
{
	bool descriptors = s[0] == 0x72;
	uint8_t key = s[descriptors ? 1 : 2];

	must(descriptors || (s[0] & 0x7F) == 0x70, "no sense");
	must(!descriptors || s[7] == 0 || s[7] == 12, "sense too long");
	must((key & 0xF0) == 0, "sense flags set");
	must(key != 0, "a failure without a sense key");
}

/* What a completion must look like whatever was asked. */
static void check_form(const struct vsc_answer *a)
{
	const struct storvsp_request_wire *r = &a->p.u.request;

	must(a->bytes >= 16 && a->bytes <= 64, "an answer of impossible size");
	must(le32_get(a->p.op) == STORVSP_OP_COMPLETE_IO, "not a COMPLETE_IO");
	must(le32_get(a->p.flags) == 0, "an answer with flags");
	if (a->bytes < 48 || r->scsi_status != 0x02)
		return;
	/* CHECK CONDITION: autosense, never frozen, never without a key */
	must((r->srb_status & 0xC0) == 0x80, "no autosense, or frozen");
	must(le32_get(r->transfer_length) == 0, "a failure moved bytes");
	check_sense(r->cdb_or_sense);
}

bool vsc_try_recv(struct vsc_channel *c, struct vsc_answer *out)
{
	uint8_t buf[256] = {0};
	struct guest_packet pkt;

	for (;;) {
		int rc = guest_recv(c->ring, buf, sizeof(buf), &pkt);

		must(rc == 0 || rc == 1, "the host broke the ring");
		if (rc == 0)
			return false;
		must(pkt.payload_len <= 64, "a packet too large for Linux");
		if (pkt.type == VMBUS_PACKET_COMPLETION)
			break;
		must(pkt.type == VMBUS_PACKET_INBAND && pkt.flags == 0 &&
			     pkt.trans_id == 0 &&
			     (pkt.payload_len == 48 || pkt.payload_len == 64),
		     "a strange packet that nobody asked for");
		c->unasked++;
		c->unasked_bytes = pkt.payload_len;
		memcpy(&c->unasked_op, buf, 4);
	}
	memset(out, 0, sizeof(*out));
	out->id = pkt.trans_id;
	out->bytes = pkt.payload_len;
	memcpy(&out->p, buf, pkt.payload_len);
	settle(c, out->id, out->bytes);
	check_form(out);
	return true;
}

bool vsc_recv(struct vsc_channel *c, struct vsc_answer *out)
{
	while (!vsc_try_recv(c, out)) {
		if (!c->v->opts.threaded) {
			vsc_pump(c->v);
			return vsc_try_recv(c, out);
		}
		if (!guest_wait_interrupt(c->ring, VSC_WAIT_MS))
			return vsc_try_recv(c, out);
	}
	return true;
}

void vsc_wait(struct vsc_channel *c, uint64_t id, struct vsc_answer *out)
{
	do
		must(vsc_recv(c, out), "no answer");
	while (out->id != id);
}

void vsc_ask(struct vsc_channel *c, const void *payload, size_t bytes,
	     struct vsc_answer *out)
{
	uint64_t id = vsc_send(c, payload, bytes, NULL, 0);

	must(id, "the ring is full");
	vsc_wait(c, id, out);
}

uint32_t vsc_op(struct vsc_channel *c, uint32_t op, size_t bytes)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(op),
		.flags = le32_put(1),
	};
	struct vsc_answer a;

	vsc_ask(c, &p, bytes, &a);
	return le32_get(a.p.status);
}
