/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest asks: the commands of a scan, what a guest should not send,
 * and which kind comes next. Each kind says how it may end.
 */
#include "tests/proof/sim_ask.h"

#define WILD	   0x00FFFFFFFFFF000ull /* no RAM there */

/* -------------------------------------------------------- other commands -- */

static void ask_ready(struct sim *s, struct ask *a)
{
	(void)s;
	a->cmd.data_in = STORVSP_DATA_NONE;
	a->r->bytes = 0;
}

static void ask_inquiry(struct sim *s, struct ask *a)
{
	static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2};
	uint8_t page = pages[sim_below(s, 6)], len = (uint8_t)sim_below(s, 256);

	cdb(a, 0x12, 0, 0);
	if (sim_below(s, 2))
		cdb(a, 0x12, 1, page);
	a->cmd.cdb[4] = len;
	buffer(a, STORVSP_DATA_IN, len);
	if (sim_below(s, 8) == 0) {
		cdb(a, 0x12, 1, 0x42);
		a->r->rows = ROW(BAD_FIELD);
	}
}

static void ask_mode(struct sim *s, struct ask *a)
{
	static const uint8_t pages[] = {0x08, 0x0A, 0x1C, 0x3F};
	uint8_t page = pages[sim_below(s, 4)];

	page |= (uint8_t)(sim_below(s, 4) << 6);
	a->r->rows = page >> 6 == 3 ? ROW(NO_SAVED_PAGES) : ROW(GOOD);
	if (sim_below(s, 8) == 0) {
		page = 0x05;
		a->r->rows = ROW(BAD_FIELD);
	}
	if (sim_below(s, 2)) {
		cdb(a, 0x1A, 0, page);
		a->cmd.cdb[4] = 64;
	} else {
		cdb(a, 0x5A, 0, page);
		put16(a->cmd.cdb + 7, 64);
	}
	buffer(a, STORVSP_DATA_IN, 64);
}

static void ask_capacity(struct sim *s, struct ask *a)
{
	if (sim_below(s, 2)) {
		cdb(a, 0x25, 0, 0);
		buffer(a, STORVSP_DATA_IN, 8);
	} else {
		cdb(a, 0x9E, 0x10, 0);
		put32(a->cmd.cdb + 10, 32);
		buffer(a, STORVSP_DATA_IN, 32);
	}
	if (sim_below(s, 8) == 0) { /* an address without PMI */
		a->cmd.cdb[5] = 1;
		a->r->rows = ROW(BAD_FIELD);
	}
}

static void ask_luns(struct sim *s, struct ask *a)
{
	cdb(a, 0xA0, 0, (uint8_t)sim_below(s, 3));
	put32(a->cmd.cdb + 6, 512);
	buffer(a, STORVSP_DATA_IN, 512);
	a->cmd.target = (uint8_t)sim_below(s, 3);
}

static void ask_sense(struct sim *s, struct ask *a)
{
	(void)s;
	cdb(a, 0x03, 0, 0);
	a->cmd.cdb[4] = 18;
	buffer(a, STORVSP_DATA_IN, 18);
}

/* ----------------------------------------------- what should not be sent -- */

static void ask_absent(struct sim *s, struct ask *a)
{
	a->cmd.lun = (uint8_t)(9 + sim_below(s, 200));
	a->r->rows = ROW(NO_LUN);
	a->cmd.data_in = STORVSP_DATA_NONE;
	if (sim_below(s, 2))
		ask_capacity(s, a);
	a->r->rows = ROW(NO_LUN);
	if (sim_below(s, 3) == 0) {
		a->cmd = (struct vsc_cmd){.lun = a->cmd.lun};
		cdb(a, 0x12, 0, 0);
		a->cmd.cdb[4] = 36;
		buffer(a, STORVSP_DATA_IN, 36);
		a->r->rows = ROW(GOOD);
	}
}

static void ask_opcode(struct sim *s, struct ask *a)
{
	static const uint8_t codes[] = {0x01, 0x04, 0x39, 0x3B, 0x7F,
					0xB4, 0xC0, 0xFF, 0x9B, 0x44};

	cdb(a, codes[sim_below(s, 10)], 0, 0);
	a->cmd.data_in = STORVSP_DATA_NONE;
	a->r->rows = ROW(BAD_OPCODE);
}

/* A read with one thing wrong. */
static void ask_crooked(struct sim *s, struct ask *a)
{
	struct sim_req *r = a->r;

	sim_transfer(s, a, false);
	r->io = false;
	r->disk = NULL;
	r->sectors = 0;
	r->rows = ROW(BAD_FIELD);
	switch (sim_below(s, 9)) {
	case 0:
		a->cmd.cdb_bytes = (uint8_t)(sim_below(s, 2) ? 17 : 1);
		break;
	case 1:
		a->cmd.data_in = STORVSP_DATA_OUT;
		break;
	case 2:
		a->cmd.data_in = 3;
		break;
	case 3:
		a->claimed = a->cmd.bytes - 1;
		break;
	case 4:
		a->ranges = 2;
		break;
	case 5:
		a->ranges = 0;
		break;
	case 6:
		a->wild = true;
		break;
	case 7:
		a->cmd.bytes = SIM_TRANSFER + 512;
		a->claimed = a->cmd.bytes;
		break;
	default:
		sim_put_transfer(a, 3, false, (uint32_t)(a->d->size / 512), 1,
				 false);
		r->rows = ROW(LBA_RANGE);
	}
}

/* MODE SELECT of a list that cannot be. */
static void ask_select(struct sim *s, struct ask *a)
{
	static uint8_t list[4 + 20];
	uint32_t len = sizeof(list);

	memset(list, 0, sizeof(list));
	list[4] = 0x08;
	list[5] = 18;
	a->r->rows = ROW(BAD_PARAM);
	switch (sim_below(s, 3)) {
	case 0:
		list[8] = 1; /* a bit that cannot be changed */
		break;
	case 1:
		list[4] = 0x05; /* a page that is not there */
		break;
	default:
		len = sim_below(s, 2) ? 2 : 15;
		a->r->rows = ROW(PARAM_LENGTH);
	}
	cdb(a, 0x15, 0x10, 0);
	a->cmd.cdb[4] = (uint8_t)len;
	buffer(a, STORVSP_DATA_OUT, len);
	sim_buffer(s, a->r, list, len, true);
}

static void ask_session(struct sim *s, struct ask *a)
{
	static const uint32_t ops[] = {
		STORVSP_OP_BEGIN_INITIALIZATION, STORVSP_OP_END_INITIALIZATION,
		STORVSP_OP_QUERY_PROPERTIES, STORVSP_OP_ENUMERATE_BUS, 0, 99,
		STORVSP_OP_QUERY_PROTOCOL_VERSION};

	a->r->op_code = ops[sim_below(s, 7)];
	a->r->rows = ROW(REFUSED);
	if (sim_below(s, 4) == 0)
		a->payload = 8 * sim_below(s, 2);
}

static void ask_stub(struct sim *s, struct ask *a)
{
	a->payload = 16 + 8 * sim_below(s, 4);
	a->r->rows = ROW(REFUSED);
}

/* ----------------------------------------------------------------- kinds -- */

static const struct kind {
	void (*ask)(struct sim *s, struct ask *a);
	unsigned weight;
} kinds[] = {
	{sim_ask_write, 360},  {sim_ask_read, 310},    {sim_ask_flush, 70},
	{sim_ask_unmap, 25},   {sim_ask_same, 25},     {sim_ask_verify, 10},
	{sim_ask_cache, 10},   {sim_ask_status, 10},
	{ask_ready, 15},   {ask_inquiry, 25},  {ask_mode, 25},
	{ask_capacity, 15}, {ask_luns, 10},     {ask_sense, 10},
	{ask_absent, 10},  {ask_opcode, 15},   {ask_crooked, 35},
	{ask_session, 10}, {ask_stub, 5},    {ask_select, 5},
};

static const struct kind *draw_kind(struct sim *s)
{
	unsigned n = sim_below(s, 1000);
	const struct kind *k = kinds;

	while (n >= k->weight)
		n -= k++->weight;
	return k;
}

void sim_buffer(struct sim *s, const struct sim_req *r, void *bytes,
		uint32_t len, bool into)
{
	uint8_t *mine = bytes;
	uint32_t at = r->offset;

	while (len) {
		uint32_t in = at % HV_PAGE_BYTES, n = HV_PAGE_BYTES - in;
		uint8_t *p = guest_ptr(vsc_guest(s->v),
				       r->gpas[at / HV_PAGE_BYTES]);

		if (n > len)
			n = len;
		if (into)
			memcpy(p + in, mine, n);
		else
			memcpy(mine, p + in, n);
		mine += n;
		at += n;
		len -= n;
	}
}

static bool send(struct sim *s, struct ask *a, uint64_t id)
{
	struct sim_req *r = a->r;
	struct vsc_channel *c = s->channel[r->channel];
	size_t payload = a->payload || r->rows == ROW(REFUSED)
				 ? a->payload
				 : vsc_packet_bytes(c);
	struct storvsp_packet_wire p;
	uint64_t gpas[SIM_REQ_PAGES];
	struct guest_range range[2];

	vsc_packet(&a->cmd, &p);
	p.op = le32_put(r->op_code);
	if (r->rows == ROW(REFUSED) && r->op_code != STORVSP_OP_EXECUTE_SRB &&
	    !payload)
		payload = vsc_packet_bytes(c);
	memcpy(gpas, r->gpas, sizeof(gpas));
	if (a->wild)
		gpas[sim_below(s, (r->offset + a->claimed - 1) / 4096 + 1)] =
			WILD;
	range[0] = (struct guest_range){
		.offset = r->offset,
		.len = a->claimed,
		.gpas = gpas,
		.pages = (r->offset + a->claimed + 4095) / 4096,
	};
	if (range[0].pages > SIM_REQ_PAGES)
		range[0].pages = SIM_REQ_PAGES;
	range[1] = range[0];
	return vsc_send_as(c, id, &p, payload, range, a->ranges);
}

/* One is kept for resets. */
static struct sim_req *free_req(struct sim *s, unsigned *at, bool reset)
{
	for (*at = 0; *at < SIM_REQS - !reset; ++*at)
		if (!s->req[*at].busy)
			return &s->req[*at];
	return NULL;
}

static unsigned some_channel(struct sim *s)
{
	unsigned i = sim_below(s, SIM_CHANNELS);

	return s->channel[i] ? i : 0;
}

/* A slot for something new on any channel; NULL: none. */
static struct sim_req *begin(struct sim *s, uint64_t *id, bool reset)
{
	unsigned at;
	struct sim_req *r = free_req(s, &at, reset);

	if (!r)
		return NULL;
	s->now++;
	memset(r, 0, offsetof(struct sim_req, gpas));
	r->channel = some_channel(s);
	r->posted = s->now;
	r->rows = ROW(GOOD);
	r->bytes = UINT32_MAX;
	r->op_code = STORVSP_OP_EXECUTE_SRB;
	*id = ++s->serial * SIM_REQS + at;
	return r;
}

static bool names(const struct sim_req *reset, const struct sim_disk *d)
{
	if (reset->op_code == STORVSP_OP_RESET_ADAPTER)
		return true;
	if (d->path != reset->path)
		return false;
	return reset->op_code == STORVSP_OP_RESET_BUS ||
	       (d->target == reset->target && d->lun == reset->lun);
}

/* Two resets at once are one of everything to other channels. */
static bool may_abort(const struct sim *s, const struct sim_disk *d)
{
	unsigned resets = 0;
	bool named = false;

	for (unsigned i = 0; i < SIM_REQS; i++) {
		const struct sim_req *r = &s->req[i];

		if (!r->busy || !r->reset)
			continue;
		resets++;
		named = named || names(r, d);
	}
	return named || resets > 1;
}

static void say(struct sim *s, const struct sim_req *r, uint64_t id)
{
	sim_mix64(s, id << 8 | r->cdb[0]);
	sim_sums.posts++;
	if (s->trace)
		sim_say(s, "  post %llu on %u: op %u CDB %02x %u:%u:%u lba %u "
			"+%u number %u%s", (unsigned long long)id, r->channel,
			r->op_code, r->cdb[0], r->path, r->target, r->lun,
			r->lba, r->sectors, r->number,
			r->fua || r->cache_off ? " FUA" : "");
}

/* Writes under way may be judged before the switch or after it. */
static void begin_select(struct sim *s, const struct sim_req *select)
{
	select->disk->selecting = true;
	select->disk->cache = CACHE_UNKNOWN;
	for (unsigned i = 0; i < SIM_REQS; i++)
		if (s->req[i].busy && s->req[i].disk == select->disk)
			s->req[i].cache_off = false;
}

void sim_post(struct sim *s)
{
	uint64_t id;
	struct ask a = {.r = begin(s, &id, false)};
	struct sim_req *r = a.r;

	if (!r)
		return;
	do
		a.d = &s->disk[sim_below(s, s->disks)];
	while (!a.d->present);
	a.cmd.path = a.d->path;
	a.cmd.target = a.d->target;
	a.cmd.lun = a.d->lun;
	r->offset = sim_below(s, 2) ? 0 : sim_below(s, HV_PAGE_BYTES);
	draw_kind(s)->ask(s, &a);
	memcpy(r->cdb, a.cmd.cdb, 16);
	r->path = a.cmd.path;
	r->target = a.cmd.target;
	r->lun = a.cmd.lun;
	r->buffer_bytes = a.cmd.bytes;
	if (!send(s, &a, id))
		return; /* the ring is full */
	if (r->io && r->sectors && r->op != VHD_OP_READ)
		simmodel_write(r->disk->model, r->lba, r->sectors, r->number,
			       s->now);
	if (r->select)
		begin_select(s, r);
	r->aborts = r->io && may_abort(s, r->disk);
	r->busy = true;
	say(s, r, id);
}

void sim_post_reset(struct sim *s)
{
	static const uint32_t ops[] = {STORVSP_OP_RESET_LUN,
				       STORVSP_OP_RESET_BUS,
				       STORVSP_OP_RESET_ADAPTER};
	const struct sim_disk *d = &s->disk[sim_below(s, s->disks)];
	uint64_t id;
	struct ask a = {.r = begin(s, &id, true)};
	struct sim_req *r = a.r;

	if (!r)
		return;
	r->op_code = ops[sim_below(s, 3)];
	r->rows = ROW(DONE);
	r->reset = true;
	r->path = a.cmd.path = d->path;
	r->target = a.cmd.target = d->target;
	r->lun = a.cmd.lun = d->lun;
	if (!send(s, &a, id))
		return;
	r->busy = true;
	for (unsigned i = 0; i < SIM_REQS; i++)
		if (s->req[i].busy && s->req[i].io &&
		    may_abort(s, s->req[i].disk))
			s->req[i].aborts = true;
	say(s, r, id);
}
