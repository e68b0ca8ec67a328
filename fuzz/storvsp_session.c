/* SPDX-License-Identifier: BSD-2-Clause */
/* The storage VSP and a hostile guest: any packets before, during and after
 * negotiation, well-formed SCSI with odd fields, resets, channels closed and
 * opened again, rings spoiled; disk operations finish late, short, with errors
 * or only once cancelled; the host takes disks away. Actions of one byte and
 * their operands.
 *
 * Beyond memory safety: each packet is answered once, in the right form and
 * size, or went down with its channel (tests/lib/vsc.c, on both sides); what
 * was not disturbed is answered completely in the end; the log is bounded; the
 * images can be opened again where no fault was injected.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"
#include "tests/lib/simengine.h"
#include "tests/lib/vsc.h"

#define DISKS	   3u
#define DISK_BYTES 65536u
#define SUBS	   2u
#define CHANNELS   (1u + SUBS)
#define ENGINES	   24u /* openings of a channel in one run */
#define PAGES	   8u  /* of data; the rest of the numbers are hostile */
#define WANTS	   VMBUS_PACKET_WANTS_COMPLETION

struct world {
	struct input in;
	struct vsc *v;
	struct vsc_channel *c[CHANNELS];
	bool spoiled[CHANNELS]; /* nothing is read from it any more */
	struct memfile *m[DISKS];
	struct vhd *img[DISKS];
	bool read_only[DISKS];
	unsigned disks;
	struct simengine *sim[ENGINES];
	unsigned engines;
	bool held;
	bool faulty; /* an error was injected: images may be poisoned */
	struct sim_fate next;
	uint64_t gpas[PAGES];
	unsigned log_lines;
	bool frozen; /* one of them is: nothing is taken from the guest */
	unsigned notices, notices_due; /* of disks taken away or frozen */
};

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static uint8_t byte(struct world *w)
{
	return (uint8_t)take(&w->in, 1);
}

/* ---------------------------------------------------------------- disks -- */

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct world *w = ctx;

	(void)io;
	*fate = w->next;
	w->next = (struct sim_fate){0};
}

static int make_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	struct world *w = arg;
	struct sim_opts o = {.decide = decide, .ctx = w};

	if (w->engines == ENGINES)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "enough");
	o.seed = w->engines;
	o.late_permille = 300;
	o.short_permille = 200;
	w->sim[w->engines] = simengine_create(&o);
	simengine_hold(w->sim[w->engines], w->held);
	return simengine_queue(w->sim[w->engines++], 8, out);
}

/* Bit 0: dynamic; bit 1: read-only. */
static void add_disk(struct world *w, uint8_t kind)
{
	struct vhd_create_opts o = {
		.format = kind & 1 ? VHD_FORMAT_DYNAMIC : VHD_FORMAT_FIXED,
		.size_bytes = DISK_BYTES,
		.block_size_bytes = kind & 1 ? 16384 : 0,
	};
	struct vhd_file f;
	unsigned i = w->disks;

	if (i == DISKS)
		return;
	w->m[i] = memfile_create();
	f = memfile_file(w->m[i]);
	check(vhd_create_file(&f, &o, &w->img[i], NULL) == 0, "create");
	w->read_only[i] = kind & 2;
	vsc_disk(w->v, w->img[i], 0, i & 1, (uint8_t)(i >> 1), kind & 2);
	w->disks++;
}

static void close_disks(struct world *w)
{
	struct vhd_open_opts o = {.format = VHD_FORMAT_AUTO};

	for (unsigned i = 0; i < w->disks; i++) {
		struct vhd_file f = memfile_file(w->m[i]);

		if (w->faulty) {
			vhd_abandon(w->img[i]);
		} else {
			check(!vhd_close(w->img[i], NULL), "close");
			check(!vhd_open_file(&f, &o, &w->img[i], NULL),
			      "open again");
			check(!vhd_close(w->img[i], NULL), "close again");
		}
		memfile_destroy(w->m[i]);
	}
}

/* ------------------------------------------------------------- packets --- */

static struct vsc_channel *channel(struct world *w, uint8_t n)
{
	n %= CHANNELS;
	return w->spoiled[n] ? NULL : w->c[n];
}

/* Up to four page numbers: data pages, or anything. A page of a ring as the
 * target of a read is a spoiled ring.
 */
static unsigned pages(struct world *w, uint64_t *gpas)
{
	uint8_t n = byte(w) % 5;

	for (unsigned i = 0; i < n; i++) {
		uint8_t which = byte(w);

		if (which < 0xF0)
			gpas[i] = w->gpas[which % PAGES];
		else
			gpas[i] = take(&w->in, 8) << 12 | 1ull << 40;
	}
	return n;
}

/* SCSI with a fitting CDB; every field may be odd. */
static void scsi(struct world *w, struct vsc_channel *c)
{
	static const uint8_t opcodes[] = {
		0x00, 0x03, 0x08, 0x0A, 0x12, 0x1A, 0x1B, 0x25, 0x28, 0x2A,
		0x35, 0x5A, 0x88, 0x8A, 0x91, 0x9E, 0xA0, 0xA8, 0xAA, 0x42,
	};
	uint8_t how = byte(w), n = byte(w);
	struct storvsp_packet_wire p;
	struct vsc_cmd cmd = {0};
	uint64_t gpas[4];
	struct guest_range r = {.gpas = gpas};

	cmd.cdb[0] = opcodes[n % sizeof(opcodes)];
	for (unsigned i = 1; i < 16 && n >= 32; i++)
		cmd.cdb[i] = byte(w);
	if (n < 32) { /* small addresses and counts in all forms */
		uint8_t lba = byte(w), count = byte(w) % 16;

		cmd.cdb[1] = how & 0x18;
		cmd.cdb[3] = cmd.cdb[0] < 0x20 ? lba : 0;
		cmd.cdb[4] = count;
		cmd.cdb[5] = lba;
		if (cmd.cdb[0] >= 0xA0)
			cmd.cdb[9] = count;
		else if (cmd.cdb[0] >= 0x80)
			cmd.cdb[13] = count, cmd.cdb[4] = cmd.cdb[5] = 0,
			cmd.cdb[9] = lba;
		else if (cmd.cdb[0] >= 0x20)
			cmd.cdb[8] = count, cmd.cdb[4] = 0;
		else
			cmd.cdb[5] = 0;
	}
	cmd.target = how & 1;
	cmd.lun = how >> 1 & 1;
	cmd.data_in = how >> 5;
	cmd.cdb_bytes = how & 4 ? byte(w) : 0;
	r.offset = (uint32_t)take(&w->in, 2) & 0xFFF;
	r.pages = pages(w, gpas);
	r.len = r.pages ? r.pages * 4096 - r.offset : 0;
	cmd.bytes = how & 0x80 ? (uint32_t)take(&w->in, 4) : r.len;
	vsc_packet(&cmd, &p);
	vsc_send(c, &p, sizeof(p), &r, r.pages ? 1 : 0);
}

/* READ or WRITE that is good in every respect. */
static void good_io(struct world *w, struct vsc_channel *c)
{
	uint8_t what = byte(w);
	struct vsc_buffer b = {.v = w->v, .pages = PAGES};
	struct vsc_cmd cmd;

	memcpy(b.gpas, w->gpas, sizeof(w->gpas));
	b.offset = (uint32_t)what << 2 & 0x3FC;
	cmd = vsc_rw(what & 1, what >> 2 & 1, byte(w) % 96, 1 + what % 32,
		     what & 0x40, &b);
	cmd.target = what >> 1 & 1;
	vsc_start(c, &cmd);
}

static size_t payload(struct world *w, uint8_t *bytes, size_t room)
{
	size_t n = byte(w) % (room + 1);

	for (size_t i = 0; i < n; i++)
		bytes[i] = byte(w);
	return n;
}

static void raw_inband(struct world *w, struct vsc_channel *c)
{
	static const uint16_t types[] = {6, 6, 6, 11, 7, 9, 0, 0xFFFF};
	uint8_t how = byte(w), bytes[80];
	uint16_t type = types[how & 7];
	uint64_t id = how >> 5;
	size_t n = payload(w, bytes, sizeof(bytes));

	if (guest_send(vsc_ring(c), type, how >> 3 & 1, id, bytes, n))
		return;
	if (how & 8 && type != 11)
		vsc_expect(c, id, (n + 7) / 8 * 8);
	else
		vsc_expect_none(c);
}

static void raw_gpa(struct world *w, struct vsc_channel *c)
{
	uint8_t count = byte(w) % 4, bytes[80];
	uint64_t gpas[3][4];
	struct guest_range r[3];
	size_t n;

	for (unsigned i = 0; i < count && i < 3; i++) {
		r[i].offset = (uint32_t)take(&w->in, 2);
		r[i].len = (uint32_t)take(&w->in, 3);
		r[i].gpas = gpas[i];
		r[i].pages = pages(w, gpas[i]);
	}
	n = payload(w, bytes, sizeof(bytes));
	if (!guest_send_gpa(vsc_ring(c), WANTS, count, r, count, bytes, n))
		vsc_expect(c, count, (n + 7) / 8 * 8);
}

/* Session operations and resets: any number, any order. */
static void operation(struct world *w, struct vsc_channel *c)
{
	struct storvsp_packet_wire p = {0};
	uint8_t op = byte(w) % 16;

	p.op = le32_put(op);
	if (op == STORVSP_OP_QUERY_PROTOCOL_VERSION) {
		static const uint16_t versions[] = {0x0602, 0x0600, 0x0501,
						    0x0402, 0x0200, 0x0601};

		p.u.version.version = le16_put(versions[byte(w) % 6]);
	} else if (op == STORVSP_OP_CREATE_SUB_CHANNELS) {
		p.u.subchannels = le16_put(byte(w));
	} else if (op >= STORVSP_OP_RESET_LUN && op <= STORVSP_OP_RESET_BUS) {
		uint8_t where = byte(w);

		p.u.request.path = where >> 7;
		p.u.request.target = where & 1;
		p.u.request.lun = where >> 1 & 1;
	}
	vsc_send(c, &p, byte(w) & 1 ? 48 : 64, NULL, 0);
}

/* ------------------------------------------------------------ channels --- */

static void receive(struct vsc_channel *c, unsigned max)
{
	struct vsc_answer a;

	while (max-- > 0 && vsc_try_recv(c, &a))
		;
}

static void drop_subs(struct world *w)
{
	for (unsigned i = 1; i < CHANNELS; i++) {
		if (w->c[i])
			vsc_drop(w->c[i]);
		w->c[i] = NULL;
		w->spoiled[i] = false;
	}
}

static void hold(struct world *w, bool held)
{
	w->held = held;
	for (unsigned i = 0; i < w->engines; i++)
		simengine_hold(w->sim[i], held);
}

/* What is in flight is cancelled before anything else can happen to it; but a
 * sync that has begun ends by itself, so nothing may be held back.
 */
static void close_channel(struct world *w, uint8_t n)
{
	n %= CHANNELS;
	if (!w->c[n])
		return;
	hold(w, false);
	vsc_close(w->c[n]);
	w->c[n] = NULL;
	w->spoiled[n] = false;
	/* they went with it */
	if (n == 0)
		drop_subs(w);
}

static void open_channel(struct world *w, uint8_t how)
{
	uint8_t n = how % CHANNELS;

	if (w->c[n] || !guest_offer_find(vsc_guest(w->v), NULL, n, 0))
		return;
	w->c[n] = vsc_open(w->v, n);
	if (w->c[n] && n == 0 && how & 0x80 && !w->held && !w->frozen)
		vsc_negotiate(w->c[0],
			      how & 0x40 ? STORVSP_VERSION_WIN7
					 : STORVSP_VERSION_WIN10,
			      NULL);
}

static void spoil(struct world *w, uint8_t n)
{
	static const uint8_t words[] = {0, 4, 8, 12, 64};
	struct vsc_channel *c = channel(w, n);
	uint8_t which = byte(w);
	uint32_t value = (uint32_t)take(&w->in, 4);
	uint64_t gpa;

	if (!c)
		return;
	gpa = which & 0x80 ? guest_in_ctrl(vsc_ring(c))
			   : guest_out_ctrl(vsc_ring(c));
	memcpy((uint8_t *)guest_ptr(vsc_guest(w->v), gpa) + words[which % 5],
	       &value, 4);
	w->spoiled[n % CHANNELS] = true;
	vsc_distrust(w->v);
	guest_signal(vsc_ring(c));
	vsc_pump(w->v);
}

static void inject(struct world *w, uint8_t how)
{
	static const int codes[] = {-EIO,   -ENOSPC, -EINTR,  -EAGAIN,
				    -EROFS, -EDQUOT, -ENOMEM, -ECANCELED};

	w->next = (struct sim_fate){0};
	if (how & 0x80)
		w->next.nothing = true;
	else if (how & 0x40)
		w->next.most_bytes = 1 + how % 64 * 100u;
	else
		w->next.code = codes[how % 8];
	w->faulty = true;
}

static void notice(void *arg, struct vhd *img)
{
	struct world *w = arg;

	check(img != NULL, "a notice of no image");
	check(w->notices++ < w->notices_due, "a notice too many");
}

/* Disks leave with what is in flight, or are held back for a while. */
static void host_takes(struct world *w, unsigned how,
		       struct storvsp_address at)
{
	const struct storvsp_notice n = {notice, w};
	struct storvsp *vsp = vsc_vsp(w->v);
	int rc = -1;

	w->notices_due++; /* it may come at once */
	if (how == 0)
		rc = storvsp_disk_remove(vsp, at, &n, NULL);
	else if (how == 1)
		rc = storvsp_disk_freeze(vsp, at, &n, NULL);
	else if (how == 2)
		storvsp_disk_hurry(vsp);
	else
		storvsp_disk_thaw(vsp);
	if (rc)
		w->notices_due--;
	if (how == 1 || how == 3)
		w->frozen = how == 1 && (w->frozen || rc == 0);
}

/* The host changes its mind about a disk. The clock stands still: what a
 * limit holds waits until that is lifted.
 */
static void host_wish(struct world *w, uint8_t how)
{
	static const struct storvsp_limits limits[] = {
		{0}, {.depth = 1}, {.iops = 300}, {.bps = 100000},
	};
	struct storvsp *vsp = vsc_vsp(w->v);
	uint8_t i = how % DISKS;
	const struct storvsp_address at = {0, i & 1, (uint8_t)(i >> 1)};

	if (how & 0x80)
		(void)storvsp_disk_limit(vsp, at, &limits[how >> 5 & 3], NULL);
	else if (how & 0x40)
		(void)storvsp_disk_on_error(vsp, at,
					    how & 0x20
						    ? STORVSP_ON_ERROR_PAUSE
						    : STORVSP_ON_ERROR_REPORT,
					    NULL);
	else if (how & 0x20)
		host_takes(w, how >> 3 & 3, at);
	else
		(void)storvsp_disk_resume(vsp, at, NULL);
}

static void let_go(struct world *w)
{
	host_takes(w, 3, (struct storvsp_address){0});
	host_takes(w, 2, (struct storvsp_address){0});
	for (uint8_t i = 0; i < DISKS; i++) {
		host_wish(w, 0x80 | i);
		host_wish(w, i);
	}
}

/* ------------------------------------------------------------- actions --- */

static void act(struct world *w)
{
	uint8_t op = byte(w);
	struct vsc_channel *c = channel(w, op >> 6);

	switch (op & 15) {
	case 0:
	case 1:
		if (c)
			scsi(w, c);
		break;
	case 2:
		if (c)
			good_io(w, c);
		break;
	case 3:
		if (c)
			raw_inband(w, c);
		break;
	case 4:
		if (c)
			raw_gpa(w, c);
		break;
	case 5:
	case 6:
		if (c)
			operation(w, c);
		break;
	case 7:
		if (c)
			receive(c, 1 + byte(w) % 32);
		break;
	case 8:
	case 9:
		vsc_pump(w->v);
		break;
	case 10:
		close_channel(w, op >> 6);
		break;
	case 11:
		open_channel(w, byte(w));
		break;
	case 12:
		hold(w, op & 0x10);
		break;
	case 13:
		if (op & 0x20)
			host_wish(w, byte(w));
		else
			inject(w, byte(w));
		break;
	case 14:
		add_disk(w, byte(w));
		break;
	default:
		spoil(w, op >> 6);
	}
}

/* Everything may finish now, and must; sub-channels only of a session that
 * has got so far.
 */
static void settle(struct world *w)
{
	unsigned left;

	hold(w, false);
	w->next = (struct sim_fate){0};
	for (unsigned round = 0; round < 1000; round++) {
		let_go(w);
		vsc_pump(w->v);
		left = 0;
		for (unsigned i = 0; i < CHANNELS; i++) {
			if (!w->c[i] || w->spoiled[i])
				continue;
			receive(w->c[i], UINT32_MAX);
			if (i == 0)
				left += vsc_outstanding(w->c[i]);
		}
		if (!left)
			return;
	}
}

static uint64_t stopped_clock(void *arg)
{
	(void)arg;
	return 0;
}

static void start(struct world *w)
{
	uint8_t shape = byte(w);
	struct vsc_opts o = {
		.vsp.max_subchannels = shape & 3 ? SUBS : 0,
		.vsp.depth = shape & 4 ? 2 : 60, /* 46 answers fill a ring */
		.vsp.max_transfer_bytes = shape & 8 ? 4096 : 32768,
		.vsp.queue_create = make_queue,
		.vsp.queue_arg = w,
		.vsp.now_ms = stopped_clock,
		.guest.memory_bytes = 1 << 20,
		.guest.scatter = shape & 16,
		.out_pages = shape & 32 ? 2 : 4,
		.in_pages = shape & 64 ? 2 : 4,
	};

	w->v = vsc_create(&o);
	guest_alloc(vsc_guest(w->v), PAGES, w->gpas);
	for (uint8_t n = byte(w) % (DISKS + 1); n > 0; n--)
		add_disk(w, byte(w));
	w->c[0] = vsc_open(w->v, 0);
	if (shape & 128)
		vsc_negotiate(w->c[0], STORVSP_VERSION_WIN10, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {.in = {data, size}};

	start(&w);
	while (w.in.left > 0)
		act(&w);
	settle(&w);
	if (w.c[0] && !w.spoiled[0])
		check(vsc_outstanding(w.c[0]) == 0, "unanswered");
	check(vsc_log_lines(w.v) <= 16, "log lines");
	for (unsigned i = CHANNELS; i-- > 0;)
		close_channel(&w, (uint8_t)i);
	vsc_destroy(w.v);
	for (unsigned i = 0; i < w.engines; i++) {
		check(simengine_in_flight(w.sim[i]) == 0, "in flight");
		simengine_destroy(w.sim[i]);
	}
	close_disks(&w);
	return 0;
}
