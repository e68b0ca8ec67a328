/* SPDX-License-Identifier: BSD-2-Clause */
/* See vsc.h. Packet layouts come from storvsp/wire.h; the tests of the
 * session and of sense spell out bytes on their own.
 */
#include "vsc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDS 4096u /* hash of ids in flight */

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
	uint32_t unasked_op;
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
	for (unsigned i = 0; i < IDS; i++) {
		while (c->ids[i]) {
			struct issued *next = c->ids[i]->next;

			free(c->ids[i]);
			c->ids[i] = next;
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
		 size_t bytes, const struct guest_range *ranges,
		 uint32_t count)
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
	must((r->cdb_or_sense[0] & 0x7F) == 0x70, "not fixed-format sense");
	must((r->cdb_or_sense[2] & 0xF0) == 0, "sense flags set");
	must(r->cdb_or_sense[2] != 0, "a failure without a sense key");
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
			     pkt.payload_len == c->packet_bytes,
		     "a strange packet that nobody asked for");
		c->unasked++;
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

/* -------------------------------------------------------- negotiation ---- */

static bool offer_version(struct vsc_channel *c, uint16_t version,
			  size_t bytes)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_QUERY_PROTOCOL_VERSION),
		.flags = le32_put(1),
		.u.version.version = le16_put(version),
	};
	struct vsc_answer a;

	vsc_ask(c, &p, bytes, &a);
	if (le32_get(a.p.status) == 0)
		return true;
	must(le32_get(a.p.status) == STORVSP_STATUS_REVISION_MISMATCH,
	     "a version is refused strangely");
	return false;
}

static uint16_t agree(struct vsc_channel *c, uint16_t version, size_t bytes)
{
	static const uint16_t all[] = {0x0602, 0x0600, 0x0501, 0x0402, 0x0200};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] <= version && offer_version(c, all[i], bytes))
			return all[i];
	die("no version is accepted");
}

void vsc_negotiate(struct vsc_channel *c, uint16_t version,
		   struct vsc_properties *out)
{
	size_t bytes = version < STORVSP_VERSION_WIN8 ? 48 : 64;
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_QUERY_PROPERTIES),
		.flags = le32_put(1),
	};
	struct vsc_answer a;
	uint16_t agreed;

	c->packet_bytes = bytes;
	must(vsc_op(c, STORVSP_OP_BEGIN_INITIALIZATION, bytes) == 0, "begin");
	agreed = agree(c, version, bytes);
	vsc_ask(c, &p, bytes, &a);
	must(le32_get(a.p.status) == 0, "properties");
	if (out)
		*out = (struct vsc_properties){
			.version = agreed,
			.max_subchannels =
				le16_get(a.p.u.properties.max_subchannels),
			.flags = le32_get(a.p.u.properties.flags),
			.max_transfer_bytes =
				le32_get(a.p.u.properties.max_transfer_bytes),
		};
	must(vsc_op(c, STORVSP_OP_END_INITIALIZATION, bytes) == 0, "end");
}

uint32_t vsc_create_subs(struct vsc_channel *c, uint16_t count)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_CREATE_SUB_CHANNELS),
		.flags = le32_put(1),
		.u.subchannels = le16_put(count),
	};
	struct vsc_answer a;

	vsc_ask(c, &p, c->packet_bytes, &a);
	return le32_get(a.p.status);
}

/* --------------------------------------------------------------- SCSI ---- */

void vsc_buffer_init(struct vsc *v, struct vsc_buffer *b, unsigned pages)
{
	must(pages <= VSC_BUFFER_PAGES, "a buffer too large");
	b->v = v;
	b->pages = pages;
	b->offset = 0;
	guest_alloc(v->g, pages, b->gpas);
}

static void buffer_copy(const struct vsc_buffer *b, uint8_t *mine,
			size_t bytes, bool to_guest)
{
	size_t at = b->offset;

	while (bytes > 0) {
		size_t in_page = at % HV_PAGE_BYTES;
		size_t n = HV_PAGE_BYTES - in_page;
		uint8_t *p;

		must(at / HV_PAGE_BYTES < b->pages, "past the buffer");
		p = guest_ptr(b->v->g, b->gpas[at / HV_PAGE_BYTES]);
		if (n > bytes)
			n = bytes;
		if (to_guest)
			memcpy(p + in_page, mine, n);
		else
			memcpy(mine, p + in_page, n);
		mine += n;
		at += n;
		bytes -= n;
	}
}

void vsc_buffer_put(struct vsc_buffer *b, const void *src, size_t bytes)
{
	buffer_copy(b, (uint8_t *)(uintptr_t)src, bytes, true);
}

void vsc_buffer_get(const struct vsc_buffer *b, void *dst, size_t bytes)
{
	buffer_copy(b, dst, bytes, false);
}

/* By the top three bits of the opcode (SPC-3 4.3.4.1). */
static uint8_t cdb_bytes(uint8_t opcode)
{
	static const uint8_t group[8] = {6, 10, 10, 16, 16, 12, 10, 10};

	return group[opcode >> 5];
}

void vsc_packet(const struct vsc_cmd *cmd, struct storvsp_packet_wire *p)
{
	struct storvsp_request_wire *r = &p->u.request;

	memset(p, 0, sizeof(*p));
	p->op = le32_put(STORVSP_OP_EXECUTE_SRB);
	p->flags = le32_put(1);
	r->length = le16_put(STORVSP_REQUEST_BYTES);
	r->path = cmd->path;
	r->target = cmd->target;
	r->lun = cmd->lun;
	r->cdb_length = cmd->cdb_bytes ? cmd->cdb_bytes :
					 cdb_bytes(cmd->cdb[0]);
	r->sense_length = STORVSP_SENSE_BYTES;
	r->data_in = cmd->data_in;
	r->transfer_length = le32_put(cmd->bytes);
	memcpy(r->cdb_or_sense, cmd->cdb, sizeof(cmd->cdb));
	r->queue_tag = 0xFF;
	r->queue_action = 0x20;
	r->srb_flags = le32_put(0x8);
	r->timeout_s = le32_put(60);
}

uint64_t vsc_start(struct vsc_channel *c, const struct vsc_cmd *cmd)
{
	struct storvsp_packet_wire p;
	struct guest_range range;

	vsc_packet(cmd, &p);
	if (!cmd->buffer)
		return vsc_send(c, &p, c->packet_bytes, NULL, 0);
	range = (struct guest_range){
		.offset = cmd->buffer->offset,
		.len = cmd->bytes,
		.gpas = cmd->buffer->gpas,
		.pages = (cmd->buffer->offset + cmd->bytes + 4095) / 4096,
	};
	return vsc_send(c, &p, c->packet_bytes, &range, 1);
}

void vsc_run(struct vsc_channel *c, const struct vsc_cmd *cmd,
	     struct vsc_answer *out)
{
	uint64_t id = vsc_start(c, cmd);

	must(id, "the ring is full");
	vsc_wait(c, id, out);
}

struct vsc_cmd vsc_rw(bool write, uint8_t lun, uint64_t lba, uint32_t sectors,
		      bool fua, struct vsc_buffer *b)
{
	struct vsc_cmd cmd = {
		.lun = lun,
		.cdb = {write ? 0x8A : 0x88, fua ? 0x08 : 0},
		.data_in = write ? STORVSP_DATA_OUT : STORVSP_DATA_IN,
		.bytes = sectors * 512,
		.buffer = b,
	};
	be64 l = be64_put(lba);
	be32 n = be32_put(sectors);

	memcpy(cmd.cdb + 2, &l, 8);
	memcpy(cmd.cdb + 10, &n, 4);
	return cmd;
}

struct vsc_status vsc_status(const struct vsc_answer *a)
{
	const struct storvsp_request_wire *r = &a->p.u.request;
	struct vsc_status s = {.srb = r->srb_status, .scsi = r->scsi_status};

	if (r->srb_status & 0x80) {
		s.key = r->cdb_or_sense[2] & 0x0F;
		s.asc = r->cdb_or_sense[12];
		s.ascq = r->cdb_or_sense[13];
	}
	return s;
}

bool vsc_good(const struct vsc_answer *a)
{
	return le32_get(a->p.status) == 0 && a->p.u.request.srb_status == 1 &&
	       a->p.u.request.scsi_status == 0;
}
