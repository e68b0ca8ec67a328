/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk behind a guest's rings: a storage driver in user space talks to the
 * whole VSP, whose queue works on the recorded medium. What the guest was told
 * to be safe, by the end of a SYNCHRONIZE CACHE or of a write with FUA, must be
 * there after the power is cut; what it was not told, may be.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/simengine.h"
#include "tests/lib/vsc.h"
#include "tests/proof/crash.h"

#define ENGINES_MAX 4u
#define FLYING_MAX  16u

/* A command that the guest has sent. */
struct sent {
	uint64_t id; /* 0: free */
	int step;    /* of a write; -1: it synchronizes */
	bool fua;
	uint64_t covers; /* SYNCHRONIZE CACHE: steps that had ended before */
};

struct machine {
	struct env *e;
	struct vhd *img;
	struct sim_opts how;
	struct simengine *sim[ENGINES_MAX];
	unsigned engines;
	struct vsc *v;
	struct vsc_channel *c;
	struct sent sent[FLYING_MAX];
	uint64_t ended; /* steps, a bit each */
};

/* -------------------------------------------------------------- machine -- */

static int make_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	struct machine *m = arg;

	(void)err;
	if (m->engines == ENGINES_MAX)
		abort();
	m->sim[m->engines] = simengine_create(&m->how);
	return simengine_queue(m->sim[m->engines++], 32, out);
}

static void start(struct machine *m, struct env *e, unsigned late_permille)
{
	struct vsc_opts o = {0};

	memset(m, 0, sizeof(*m));
	m->e = e;
	m->how = (struct sim_opts){.seed = e->seed,
				   .late_permille = late_permille,
				   .decide = env_decide,
				   .ctx = e};
	m->img = env_use(e);
	o.vsp.queue_create = make_queue;
	o.vsp.queue_arg = m;
	o.guest.memory_bytes = 4u << 20;
	o.in_pages = o.out_pages = 4;
	m->v = vsc_create(&o);
	vsc_disk(m->v, m->img, 0, 0, 0, false);
	m->c = vsc_open(m->v, 0);
	vsc_negotiate(m->c, STORVSP_VERSION_WIN10, NULL);
}

static void stop(struct machine *m)
{
	vsc_destroy(m->v);
	for (unsigned i = 0; i < m->engines; i++)
		simengine_destroy(m->sim[i]);
	env_close(m->img);
	env_durable(m->e);
}

/* ------------------------------------------------------------- commands -- */

static struct sent *note(struct machine *m, uint64_t id, int step, bool fua)
{
	for (unsigned i = 0; i < FLYING_MAX; i++) {
		if (m->sent[i].id)
			continue;
		m->sent[i] = (struct sent){id, step, fua, m->ended};
		return &m->sent[i];
	}
	abort();
}

static void send(struct machine *m, const struct vsc_cmd *cmd, int step,
		 bool fua)
{
	uint64_t id = vsc_start(m->c, cmd);

	if (!id)
		broken("the ring is full");
	note(m, id, step, fua);
}

static void send_write(struct machine *m, struct extent x, bool fua)
{
	struct vsc_buffer b;
	struct vsc_cmd cmd;
	int step;

	vsc_buffer_init(m->v, &b, (unsigned)(x.count + 7) / 8);
	step = env_write(m->e, x.lba, x.count);
	vsc_buffer_put(&b, m->e->model.step[step].data, x.count * SECTOR);
	cmd = vsc_rw(true, 0, x.lba, (uint32_t)x.count, fua, &b);
	send(m, &cmd, step, fua);
}

/* 10 or 16 bytes; all of the disk. */
static void send_sync(struct machine *m, bool longer)
{
	const struct vsc_cmd cmd = {
		.cdb = {longer ? 0x91 : 0x35},
		.data_in = STORVSP_DATA_NONE,
	};

	send(m, &cmd, -1, false);
}

static void send_unmap(struct machine *m, struct extent x)
{
	struct vsc_cmd cmd = {
		.cdb = {0x42},
		.data_in = STORVSP_DATA_OUT,
		.bytes = 24,
	};
	uint8_t list[24] = {0, 22, 0, 16};
	struct vsc_buffer b;

	vsc_buffer_init(m->v, &b, 1);
	img_put64(list + 8, x.lba);
	img_put32(list + 16, (uint32_t)x.count);
	vsc_buffer_put(&b, list, sizeof(list));
	cmd.cdb[8] = sizeof(list);
	cmd.buffer = &b;
	send(m, &cmd, env_zero(m->e, x.lba, x.count), false);
}

/* Zeros by WRITE SAME (16), which hides a parent's sectors, too. */
static void send_same(struct machine *m, struct extent x)
{
	static const uint8_t zeros[SECTOR];
	struct vsc_cmd cmd = {
		.cdb = {0x93, 0x08},
		.data_in = STORVSP_DATA_OUT,
		.bytes = SECTOR,
	};
	struct vsc_buffer b;

	vsc_buffer_init(m->v, &b, 1);
	vsc_buffer_put(&b, zeros, sizeof(zeros));
	img_put64(cmd.cdb + 2, x.lba);
	img_put32(cmd.cdb + 10, (uint32_t)x.count);
	cmd.buffer = &b;
	send(m, &cmd, env_zero(m->e, x.lba, x.count), false);
}

/* ------------------------------------------------------------- answers -- */

static void durable_all(struct machine *m, uint64_t steps)
{
	for (unsigned i = 0; i < m->e->model.count; i++)
		if (steps >> i & 1)
			env_durable_one(m->e, (int)i);
}

/* The guest may rely on it from here. */
static void take(struct machine *m, const struct vsc_answer *a)
{
	struct sent *s = NULL;

	for (unsigned i = 0; i < FLYING_MAX; i++)
		if (m->sent[i].id == a->id)
			s = &m->sent[i];
	if (!s || !vsc_good(a))
		broken("a command fails: sense %u", vsc_status(a).key);
	if (s->step < 0)
		durable_all(m, s->covers);
	else
		m->ended |= 1ull << s->step;
	if (s->fua)
		env_durable_one(m->e, s->step);
	s->id = 0;
}

static void take_some(struct machine *m, unsigned count)
{
	struct vsc_answer a;

	while (count-- && vsc_outstanding(m->c))
		if (vsc_recv(m->c, &a))
			take(m, &a);
}

static void take_all(struct machine *m)
{
	for (int i = 0; vsc_outstanding(m->c); i++) {
		if (i == 10000)
			broken("an answer is missing");
		take_some(m, 1);
	}
}

/* ----------------------------------------------------------- operations -- */

enum { FUA_NO, FUA_YES };

static void write_run(struct env *e, const struct op *o)
{
	struct machine m;
	struct extent x;

	start(&m, e, 0);
	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	send_write(&m, x, o->c);
	take_all(&m);
	if (!o->c) {
		send_sync(&m, o->a & 1);
		take_all(&m);
	}
	stop(&m);
}

/* The second flush comes while writes are still going on, and covers none of
 * them.
 */
static void mixed_run(struct env *e, const struct op *o)
{
	uint64_t each = env_sectors(e) / 6;
	struct machine m;

	start(&m, e, 700);
	for (unsigned i = 0; i < 3; i++)
		send_write(&m, (struct extent){i * each, 1 + i}, i == 1);
	take_some(&m, 2);
	send_sync(&m, o->a);
	for (unsigned i = 3; i < 6; i++)
		send_write(&m, (struct extent){i * each, 1 + i % 3}, i == 5);
	take_some(&m, 2);
	send_sync(&m, !o->a);
	take_all(&m);
	stop(&m);
}

static bool mixed_fits(const struct env *e, const struct op *o)
{
	(void)o;
	return !e->absent;
}

static bool unmap_fits(const struct env *e, const struct op *o)
{
	return (e->format == VHD_FORMAT_DYNAMIC ||
		e->format == VHD_FORMAT_DIFF) &&
	       extent_fits(e, o);
}

/* c: by WRITE SAME. */
static void unmap_run(struct env *e, const struct op *o)
{
	struct machine m;
	struct extent x;

	start(&m, e, 0);
	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	if (o->c)
		send_same(&m, x);
	else
		send_unmap(&m, x);
	take_all(&m);
	if (!o->c) {
		extent_as_read(e, m.img, x);
		m.ended |= 1ull << (e->model.count - 1);
	}
	send_sync(&m, false);
	take_all(&m);
	stop(&m);
}

static const struct op ops[] = {
#define GUEST(what, place, kind)                                              \
	{.name = "guest: " what ", SYNCHRONIZE CACHE", .fits = extent_fits,   \
	 .run = write_run, .a = place, .b = kind, .c = FUA_NO,                \
	 .durable = true},                                                    \
	{.name = "guest: " what ", FUA", .fits = extent_fits,                 \
	 .run = write_run, .a = place, .b = kind, .c = FUA_YES,               \
	 .durable = true}
#define UNMAP(what, place, kind)                                              \
	{.name = "guest: UNMAP " what, .fits = unmap_fits, .run = unmap_run,  \
	 .a = place, .b = kind, .durable = true},                             \
	{.name = "guest: WRITE SAME " what, .fits = unmap_fits,               \
	 .run = unmap_run, .a = place, .b = kind, .c = 1, .durable = true}
	GUEST("WRITE part of a new block", AT_NEW, PART),
	GUEST("WRITE part of an old block", AT_OLD, PART),
	GUEST("WRITE parts of two blocks", AT_ACROSS, PART),
	GUEST("WRITE the last block", AT_LAST, WHOLE),
	{.name = "guest: WRITE all over", .fits = mixed_fits,
	 .run = mixed_run, .a = 0, .durable = true},
	{.name = "guest: WRITE all over, otherwise", .fits = mixed_fits,
	 .run = mixed_run, .a = 1, .durable = true},
	UNMAP("part of an old block", AT_OLD, PART),
	UNMAP("parts of two blocks", AT_ACROSS, PART),
	UNMAP("an old block", AT_OLD, WHOLE),
#undef GUEST
#undef UNMAP
};

const struct op_table guest_ops = {ops, sizeof(ops) / sizeof(ops[0])};
