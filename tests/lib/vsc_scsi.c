/* SPDX-License-Identifier: BSD-2-Clause */
/* What the simulated driver says: negotiation and SCSI requests. Layouts come
 * from storvsp/wire.h; the tests of the session and of sense spell out bytes
 * on their own.
 */
#include "vsc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "vsc: %s\n", what);
	abort();
}

/* -------------------------------------------------------- negotiation ---- */

static bool offer_version(struct vsc_channel *c, uint16_t version, size_t bytes)
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
	must(false, "no version is accepted");
	return 0;
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

	vsc_set_packet_bytes(c, bytes);
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

	vsc_ask(c, &p, vsc_packet_bytes(c), &a);
	return le32_get(a.p.status);
}

/* --------------------------------------------------------------- SCSI ---- */

void vsc_buffer_init(struct vsc *v, struct vsc_buffer *b, unsigned pages)
{
	must(pages <= VSC_BUFFER_PAGES, "a buffer too large");
	b->v = v;
	b->pages = pages;
	b->offset = 0;
	guest_alloc(vsc_guest(v), pages, b->gpas);
}

static void buffer_copy(const struct vsc_buffer *b, uint8_t *mine, size_t bytes,
			bool to_guest)
{
	size_t at = b->offset;

	while (bytes > 0) {
		size_t in_page = at % HV_PAGE_BYTES;
		size_t n = HV_PAGE_BYTES - in_page;
		uint8_t *p;

		must(at / HV_PAGE_BYTES < b->pages, "past the buffer");
		p = guest_ptr(vsc_guest(b->v), b->gpas[at / HV_PAGE_BYTES]);
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
	r->cdb_length =
		cmd->cdb_bytes ? cmd->cdb_bytes : cdb_bytes(cmd->cdb[0]);
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
		return vsc_send(c, &p, vsc_packet_bytes(c), NULL, 0);
	range = (struct guest_range){
		.offset = cmd->buffer->offset,
		.len = cmd->bytes,
		.gpas = cmd->buffer->gpas,
		.pages = (cmd->buffer->offset + cmd->bytes + 4095) / 4096,
	};
	return vsc_send(c, &p, vsc_packet_bytes(c), &range, 1);
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

	if (r->srb_status & 0x80 && (r->cdb_or_sense[0] & 0x7E) == 0x72) {
		s.key = r->cdb_or_sense[1] & 0x0F;
		s.asc = r->cdb_or_sense[2];
		s.ascq = r->cdb_or_sense[3];
	} else if (r->srb_status & 0x80) {
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
