/* SPDX-License-Identifier: BSD-2-Clause */
/* One packet to the storage VSP: any descriptor, any ranges, any payload, on a
 * channel that stands before, in or behind negotiation, or on a sub-channel.
 * Two disks, one of them read-only, of which each sector tells its number.
 *
 * Beyond memory safety: it is answered once, in the right form (vsc.c sees to
 * that); no answer is pending; guest memory that the packet does not name is
 * as it was; a good READ brought what the disk has, and nothing but a WRITE
 * changes the disk, there only sectors its CDB names; afterwards the channel
 * still serves, unless the ring was spoiled.
 *
 * An input:
 *   0      where: 0..4 steps of negotiation done, 5 a sub-channel, modulo 6;
 *          0x40 data pages lie one behind the other; 0x80 protocol 4.2
 *   1      descriptor: modulo 4: 0 in-band, 1 GPA direct, 2 raw bytes, 3 a
 *          well-formed request; 0x80 nobody wants a completion
 *   2      count of ranges, modulo 5
 *   then   per range: offset (2), length (3), pages (1), numbers (1 each);
 *          a number from 0xf8 on is no page of this guest
 *   rest   the payload, of 64 bytes at most; raw: the whole packet
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"
#include "tests/lib/simengine.h"
#include "tests/lib/vsc.h"

#define DISKS	   2u
#define SECTORS	   128u
#define MEMORY	   (512u << 10)
#define PAGES	   8u
#define RANGES_MAX 4u
#define LIST_MAX   8u
#define PAYLOAD	   64u
#define RAW_MAX	   256u
#define ENGINES	   4u
#define WANTS	   VMBUS_PACKET_WANTS_COMPLETION

struct world {
	struct input in;
	struct vsc *v;
	struct vsc_channel *c; /* the one under test */
	struct memfile *m[DISKS];
	struct vhd *img[DISKS];
	struct simengine *sim[ENGINES];
	unsigned engines;
	uint64_t gpas[PAGES];
	uint64_t lists[RANGES_MAX][LIST_MAX];
	struct guest_range r[RANGES_MAX];
	uint32_t ranges;
	uint8_t payload[PAYLOAD];
	size_t bytes;
};

static const uint16_t versions[] = {STORVSP_VERSION_WIN10,
				    STORVSP_VERSION_WIN7};

/* ---------------------------------------------------------------- disks -- */

static int make_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	struct world *w = arg;
	struct sim_opts o = {.seed = w->engines};

	(void)err;
	must(w->engines < ENGINES);
	w->sim[w->engines] = simengine_create(&o);
	return simengine_queue(w->sim[w->engines++], 4, out);
}

static void sector_fill(uint8_t *b, unsigned disk, uint64_t lba)
{
	memset(b, (int)(0x40 + disk), VHD_SECTOR_BYTES);
	b[0] = (uint8_t)lba;
	b[VHD_SECTOR_BYTES - 1] = (uint8_t)~lba;
}

/* Made once, as fuzzing is a matter of time. */
static const struct memfile *image(unsigned i, uint8_t (*sectors)[SECTORS]
						       [VHD_SECTOR_BYTES])
{
	static uint8_t bytes[DISKS][SECTORS][VHD_SECTOR_BYTES];
	static struct memfile *made[DISKS];
	struct vhd_create_opts o = {.format = VHD_FORMAT_FIXED,
				    .size_bytes = sizeof(bytes[0])};
	struct vhd_file f;
	struct vhd *img;

	if (!made[i]) {
		made[i] = memfile_create();
		must(made[i] != NULL);
		f = memfile_file(made[i]);
		must(vhd_create_file(&f, &o, &img, NULL) == 0);
		for (uint64_t lba = 0; lba < SECTORS; lba++)
			sector_fill(bytes[i][lba], i, lba);
		must(vhd_write(img, 0, bytes[i], sizeof(bytes[i]), NULL) == 0);
		must(vhd_close(img, NULL) == 0);
	}
	if (sectors)
		memcpy(sectors, bytes[i], sizeof(bytes[i]));
	return made[i];
}

static void make_disk(struct world *w, unsigned i)
{
	struct vhd_open_opts o = {.format = VHD_FORMAT_FIXED, .writable = true};
	struct vhd_file f;

	w->m[i] = memfile_clone(image(i, NULL));
	must(w->m[i] != NULL);
	f = memfile_file(w->m[i]);
	must(vhd_open_file(&f, &o, &w->img[i], NULL) == 0);
	vsc_disk(w->v, w->img[i], 0, 0, (uint8_t)i, i == 1);
}

/* What differs from the disk as it was made lies in [lba, lba + count). */
static void disk_kept(struct world *w, unsigned i, uint64_t lba,
		      uint64_t count)
{
	static uint8_t want[SECTORS][VHD_SECTOR_BYTES];
	static uint8_t got[SECTORS][VHD_SECTOR_BYTES];

	image(i, &want);
	memfile_peek(w->m[i], got, sizeof(got), 0);
	if (count)
		memcpy(got[lba], want[lba], count * VHD_SECTOR_BYTES);
	must(memcmp(want, got, sizeof(got)) == 0);
}

/* --------------------------------------------------------------- memory -- */

/* Where the packet allows the host to write. Rings and the bus's own pages
 * are not looked at.
 */
static bool named(const struct world *w, uint64_t gpa)
{
	for (uint32_t i = 0; i < w->ranges; i++) {
		uint64_t at = w->r[i].offset, end = at + w->r[i].len;

		for (unsigned p = 0; p < w->r[i].pages; p++) {
			uint64_t from = w->lists[i][p] + (p ? 0 : at);
			uint64_t to = w->lists[i][p] + 4096;

			if (end < (p + 1) * 4096ull)
				to = w->lists[i][p] + end - p * 4096ull;
			if (gpa >= from && gpa < to)
				return true;
		}
	}
	return false;
}

static void pages_fill(struct world *w)
{
	for (unsigned p = 0; p < PAGES; p++)
		memset(guest_ptr(vsc_guest(w->v), w->gpas[p]),
		       (int)(0xa0 + p), 4096);
}

static void pages_kept(struct world *w, bool none)
{
	for (unsigned p = 0; p < PAGES; p++) {
		const uint8_t *b = guest_ptr(vsc_guest(w->v), w->gpas[p]);

		if (b[0] == 0xa0 + p && memcmp(b, b + 1, 4095) == 0)
			continue;
		for (unsigned i = 0; i < 4096; i++)
			if (b[i] != 0xa0 + p)
				must(!none && named(w, w->gpas[p] + i));
	}
}

/* ------------------------------------------------------------ the packet -- */

static void take_ranges(struct world *w)
{
	w->ranges = (uint32_t)take(&w->in, 1) % (RANGES_MAX + 1);
	for (uint32_t i = 0; i < w->ranges; i++) {
		struct guest_range *r = &w->r[i];

		r->offset = (uint32_t)take(&w->in, 2);
		r->len = (uint32_t)take(&w->in, 3);
		r->pages = (unsigned)take(&w->in, 1) % (LIST_MAX + 1);
		r->gpas = w->lists[i];
		for (unsigned p = 0; p < r->pages; p++) {
			uint8_t n = (uint8_t)take(&w->in, 1);

			w->lists[i][p] = n < 0xf8
						 ? w->gpas[n % PAGES]
						 : (1ull << 40) * (n - 0xf7u);
		}
	}
}

static void take_payload(struct world *w)
{
	w->bytes = w->in.left < PAYLOAD ? w->in.left : PAYLOAD;
	if (w->bytes)
		memcpy(w->payload, w->in.at, w->bytes);
}

/* Whose fields fit each other: the CDB and what it asks for are the input's. */
static void well_formed(struct world *w)
{
	struct storvsp_packet_wire p = {0};
	struct storvsp_request_wire *q = &p.u.request;
	uint32_t len = 0;

	take_payload(w);
	for (uint32_t i = 0; i < w->ranges; i++)
		len += w->r[i].len;
	p.op = le32_put(STORVSP_OP_EXECUTE_SRB);
	p.flags = le32_put(1);
	q->length = le16_put(sizeof(*q));
	q->lun = w->payload[0] & 1;
	q->data_in = w->payload[0] >> 1 & 3;
	q->cdb_length = w->payload[0] & 8 ? w->payload[1] : 16;
	q->sense_length = STORVSP_SENSE_BYTES;
	q->transfer_length = le32_put(len);
	memcpy(q->cdb_or_sense, w->payload + 2, STORVSP_CDB_BYTES);
	memcpy(w->payload, &p, sizeof(p));
	w->bytes = vsc_packet_bytes(w->c);
}

/* Raw bytes as a whole packet: the length its descriptor tells is its own
 * business, so what comes back need not match.
 */
static void send_raw(struct world *w)
{
	uint8_t raw[RAW_MAX] = {0};
	size_t n = w->in.left < RAW_MAX ? w->in.left : RAW_MAX;

	if (n)
		memcpy(raw, w->in.at, n);
	vsc_distrust(w->v);
	must(guest_send_raw(vsc_ring(w->c), raw, (n + 7) / 8 * 8) <= 0);
}

/* Returns whether an answer of `id` is due. */
static bool send_packet(struct world *w, uint8_t how, uint64_t id)
{
	struct guest_channel *ch = vsc_ring(w->c);
	uint16_t flags = how & 0x80 ? 0 : WANTS;
	int rc;

	if (how % 4 == 2) {
		send_raw(w);
		return false;
	}
	if (how % 4 == 3)
		well_formed(w);
	else
		take_payload(w);
	if (how % 4 == 0) {
		w->ranges = 0;
		rc = guest_send(ch, 6, flags, id, w->payload, w->bytes);
	} else {
		rc = guest_send_gpa(ch, flags, id, w->r, w->ranges, w->payload,
				    w->bytes);
	}
	must(rc == 0);
	if (flags)
		vsc_expect(w->c, id, (w->bytes + 7) / 8 * 8);
	else
		vsc_expect_none(w->c);
	return flags != 0;
}

/* ------------------------------------------------------------ what it did -- */

static uint64_t big(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* What a READ or WRITE of any length asks for; false: it is neither. */
static bool cdb_range(const uint8_t *cdb, bool *write, uint64_t *lba,
		      uint64_t *n)
{
	*write = (cdb[0] & 7) == 2; /* 0A, 2A, 8A, AA against 08, 28, 88, A8 */
	switch (cdb[0]) {
	case 0x08:
	case 0x0a:
		*lba = big(cdb + 1, 3) & 0x1fffff;
		*n = cdb[4] ? cdb[4] : 256;
		return true;
	case 0x28:
	case 0x2a:
		*lba = big(cdb + 2, 4);
		*n = big(cdb + 7, 2);
		return true;
	case 0x88:
	case 0x8a:
		*lba = big(cdb + 2, 8);
		*n = big(cdb + 10, 4);
		return true;
	case 0xa8:
	case 0xaa:
		*lba = big(cdb + 2, 4);
		*n = big(cdb + 6, 4);
		return true;
	default:
		return false;
	}
}

/* The bytes of the ranges, one after the other: what arrived. */
static void read_arrived(struct world *w, unsigned disk, uint64_t lba,
			 uint64_t sectors)
{
	uint8_t want[VHD_SECTOR_BYTES];
	uint64_t at = 0, total = sectors * VHD_SECTOR_BYTES;

	for (uint32_t i = 0; i < w->ranges; i++) {
		for (uint32_t b = 0; b < w->r[i].len && at < total;
		     b++, at++) {
			uint64_t in = (uint64_t)w->r[i].offset + b;
			uint64_t gpa = w->lists[i][in / 4096] + in % 4096;
			const uint8_t *p = guest_ptr(vsc_guest(w->v), gpa);

			must(p != NULL);
			if (at % VHD_SECTOR_BYTES == 0)
				sector_fill(want, disk,
					    lba + at / VHD_SECTOR_BYTES);
			must(*p == want[at % VHD_SECTOR_BYTES]);
		}
	}
	must(at == total);
}

/* A page that is named twice gets bytes twice; which stay is not told. */
static bool pages_apart(const struct world *w)
{
	unsigned seen = 0;

	for (uint32_t i = 0; i < w->ranges; i++)
		for (unsigned p = 0; p < w->r[i].pages; p++)
			for (unsigned n = 0; n < PAGES; n++)
				if (w->lists[i][p] == w->gpas[n]) {
					if (seen >> n & 1)
						return false;
					seen |= 1u << n;
				}
	return true;
}

static void judge(struct world *w, const struct vsc_answer *a, bool ready)
{
	const struct storvsp_packet_wire *p = (const void *)w->payload;
	const struct storvsp_request_wire *q = &p->u.request;
	bool write = false, io, good;
	uint64_t lba = 0, n = 0;

	must(le32_get(a->p.op) == STORVSP_OP_COMPLETE_IO);
	io = le32_get(p->op) == STORVSP_OP_EXECUTE_SRB &&
	     w->bytes >= STORVSP_HEADER_BYTES;
	if (io)
		must(a->bytes < 16 || a->p.u.request.srb_status != 0);
	io = io && cdb_range(q->cdb_or_sense, &write, &lba, &n);
	good = ready && io && vsc_good(a);
	if (io && vsc_good(a) && n)
		must(ready && n <= SECTORS && lba <= SECTORS - n &&
		     q->lun < DISKS);
	if (good && !write && pages_apart(w))
		read_arrived(w, q->lun, lba, n);
	pages_kept(w, !ready || (io && write));
	disk_kept(w, 0, lba, good && write && q->lun == 0 ? n : 0);
	disk_kept(w, 1, 0, 0);
}

/* --------------------------------------------------------------- the run -- */

/* Linux's steps of negotiation; returns whether requests are served. */
static bool negotiate(struct world *w, unsigned steps, uint16_t version)
{
	static const uint32_t ops[] = {STORVSP_OP_BEGIN_INITIALIZATION,
				       STORVSP_OP_QUERY_PROTOCOL_VERSION,
				       STORVSP_OP_QUERY_PROPERTIES,
				       STORVSP_OP_END_INITIALIZATION};
	size_t bytes = version < STORVSP_VERSION_WIN8
			       ? STORVSP_PACKET_BYTES_V1
			       : STORVSP_PACKET_BYTES;

	vsc_set_packet_bytes(w->c, bytes);
	for (unsigned i = 0; i < steps && i < 4; i++) {
		struct storvsp_packet_wire p = {.op = le32_put(ops[i])};
		struct vsc_answer a;

		if (i == 1)
			p.u.version.version = le16_put(version);
		vsc_ask(w->c, &p, bytes, &a);
		must(le32_get(a.p.status) == STORVSP_STATUS_SUCCESS);
	}
	return steps >= 4;
}

/* Returns whether requests are served where the packet goes. */
static bool start(struct world *w, uint8_t where)
{
	unsigned step = (where & 0x3f) % 6;
	struct vsc_opts o = {
		.vsp.max_subchannels = step == 5,
		.vsp.depth = 4,
		.vsp.max_transfer_bytes = 16384,
		.vsp.queue_create = make_queue,
		.vsp.queue_arg = w,
		.guest.memory_bytes = MEMORY,
		.guest.scatter = !(where & 0x40),
		.out_pages = 2,
		.in_pages = 2,
	};
	bool ready;

	w->v = vsc_create(&o);
	guest_alloc(vsc_guest(w->v), PAGES, w->gpas);
	for (unsigned i = 0; i < DISKS; i++)
		make_disk(w, i);
	w->c = vsc_open(w->v, 0);
	must(w->c != NULL);
	ready = negotiate(w, step, versions[where >> 7]);
	/* there are none in protocol 4.2 */
	if (step == 5 && !(where & 0x80)) {
		must(vsc_create_subs(w->c, 1) == STORVSP_STATUS_SUCCESS);
		w->c = vsc_open(w->v, 1);
		must(w->c != NULL);
	}
	return ready;
}

/* Whatever it was, the next request gets its answer. */
static void still_serves(struct world *w)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	must(le32_get(a.p.op) == STORVSP_OP_COMPLETE_IO);
}

static void finish(struct world *w)
{
	vsc_destroy(w->v);
	for (unsigned i = 0; i < w->engines; i++) {
		must(simengine_in_flight(w->sim[i]) == 0);
		simengine_destroy(w->sim[i]);
	}
	for (unsigned i = 0; i < DISKS; i++) {
		must(vhd_close(w->img[i], NULL) == 0);
		memfile_destroy(w->m[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct vsc_answer a;
	uint8_t where, how;
	bool ready, due;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	where = (uint8_t)take(&w.in, 1);
	how = (uint8_t)take(&w.in, 1);
	ready = start(&w, where);
	pages_fill(&w);
	take_ranges(&w);
	due = send_packet(&w, how, 77);
	vsc_pump(w.v);
	if (due) {
		must(vsc_recv(w.c, &a) && a.id == 77);
		judge(&w, &a, ready);
	}
	if (how % 4 != 2)
		still_serves(&w);
	must(vsc_log_lines(w.v) <= 8);
	finish(&w);
	return 0;
}
