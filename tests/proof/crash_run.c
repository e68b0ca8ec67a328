/* SPDX-License-Identifier: BSD-2-Clause */
/* A workload: recorded once, then every state of every mode visited, those
 * that are new judged, and some of them recovered from and cut again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"

#define EXEMPT_MAX 64u

/* ----------------------------------------------------------------- seen -- */

static void seen_grow(struct seen *s)
{
	struct seen more = {.room = s->room ? s->room * 2 : 4096};

	more.slot = calloc(more.room, sizeof(*more.slot));
	if (!more.slot)
		abort();
	for (size_t i = 0; i < s->room; i++)
		if (s->slot[i])
			seen_add(&more, s->slot[i]);
	free(s->slot);
	*s = more;
}

bool seen_add(struct seen *s, uint64_t hash)
{
	size_t at;

	if (s->count * 2 >= s->room)
		seen_grow(s);
	hash = hash ? hash : 1;
	for (at = hash & (s->room - 1); s->slot[at]; at = (at + 1) & (s->room - 1))
		if (s->slot[at] == hash)
			return false;
	s->slot[at] = hash;
	s->count++;
	return true;
}

void seen_free(struct seen *s)
{
	free(s->slot);
	*s = (struct seen){0};
}

/* ------------------------------------------------------------ recording -- */

void workload_name(const struct workload *w, char *buf, size_t n)
{
	snprintf(buf, n, "%s: %s%s%s", w->cls->name, w->ops[0]->name,
		 w->count > 1 ? "; " : "",
		 w->count > 1 ? w->ops[1]->name : "");
}

static void begin(struct env *e, const struct workload *w,
		  struct crash_record *rec, uint64_t seed)
{
	env_make(e, w->cls, seed);
	e->names = w->cls->format == VHD_FORMAT_DIFF;
	if (w->ops[0]->prepare)
		w->ops[0]->prepare(e, w->ops[0]);
	e->rec = rec;
	crashdisk_set_record(e->disk[0], rec);
}

static bool carry_out(struct env *e, const struct workload *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		if (i && (w->ops[i]->prepare ||
			  !w->ops[i]->fits(e, w->ops[i])))
			return false;
		env_op_begins(e, i);
		w->ops[i]->run(e, w->ops[i]);
		env_op_ends(e);
	}
	return true;
}

static void stop_recording(struct env *e)
{
	crashdisk_set_record(e->disk[0], NULL);
	crashdisk_set_record(e->disk[1], NULL);
	e->rec = NULL;
}

bool workload_fits(const struct workload *w)
{
	struct crash_record rec;
	struct env e;
	bool fits;

	env_make(&e, w->cls, 0);
	e.names = w->cls->format == VHD_FORMAT_DIFF;
	fits = w->ops[0]->fits(&e, w->ops[0]);
	env_free(&e);
	if (!fits || w->count == 1)
		return fits;
	crash_record_init(&rec);
	begin(&e, w, &rec, 0);
	fits = carry_out(&e, w);
	stop_recording(&e);
	env_free(&e);
	crash_record_fini(&rec);
	return fits;
}

/* ------------------------------------------------------------- visiting -- */

struct visitor {
	struct env *e;
	const struct workload *w;
	const struct run_opts *o;
	struct run_stats *s;
	const struct crash_record *rec;
	enum crash_mode mode;
	struct expect expect;
	size_t point;	/* that `expect` is of; SIZE_MAX: none */
	uint64_t key;
	struct seen checked; /* of this workload */
	uint64_t final;	     /* hash when all is done */
	unsigned depth2;     /* states cut again so far */
	bool inner;	     /* this is such a cut */
	/* GARBAGE: where metadata lies that exists once */
	struct vhd_range exempt[EXEMPT_MAX];
	unsigned exempt_count;
	const char *fault;
	char text[700];
};

static const struct op *op_of(const struct visitor *v)
{
	return v->w->ops[v->expect.op];
}

static uint64_t hash_of(const struct env *e)
{
	return crashdisk_hash(e->disk[0]) ^
	       crashdisk_hash(e->disk[1]) * 0x9fb21c651e98df25u;
}

static void exempt_add(struct visitor *v, uint64_t from, uint64_t to)
{
	if (v->exempt_count < EXEMPT_MAX)
		v->exempt[v->exempt_count++] =
			(struct vhd_range){from, to, ""};
}

/* The header, the table, and bitmaps that it leads to; the footer of a fixed
 * disk, wherever it is to be.
 */
static void find_exempt(struct visitor *v)
{
	const struct crashdisk *d = v->e->disk[0];
	struct oracle o;

	if (!crashdisk_len(d))
		return;
	if (v->e->block)
		exempt_add(v, IMG_HEADER, IMG_HEADER + 1024);
	else
		for (unsigned i = 0; i < v->expect.size_count; i++)
			exempt_add(v, v->expect.sizes[i],
				   v->expect.sizes[i] + 512);
	if (!oracle_open_by(&o, crashdisk_bytes(d), crashdisk_len(d),
			    ORACLE_COPY) ||
	    !o.dynamic)
		return;
	exempt_add(v, o.table, o.table + o.entries * 4ull);
	for (uint32_t b = 0; b < o.entries; b++) {
		uint64_t at = img_get32(o.bytes + o.table + b * 4ull) * 512ull;

		if (at != 0xffffffffull * 512)
			exempt_add(v, at, at + o.bitmap);
	}
}

static bool hits_exempt(const struct visitor *v, const struct crash_state *st)
{
	for (unsigned i = 0; i < st->torn; i++)
		for (unsigned k = 0; k < v->exempt_count; k++)
			if (!st->torn_file[i] &&
			    st->torn_off[i] < v->exempt[k].end_bytes &&
			    st->torn_off[i] + SECTOR > v->exempt[k].off_bytes)
				return true;
	/* more than were noted */
	return st->torn == CRASH_TORN_MAX;
}

static bool is_exempt(struct visitor *v, const struct crash_state *st)
{
	unsigned durable = v->exempt_count;
	bool yes;

	if (!st->torn)
		return false;
	find_exempt(v); /* what has just come to be leads there, too */
	yes = hits_exempt(v, st);
	v->exempt_count = durable;
	return yes;
}

static int stop_with(struct visitor *v, const struct crash_state *st,
		     const char *fault)
{
	char name[200];

	workload_name(v->w, name, sizeof(name));
	snprintf(v->text, sizeof(v->text), "%s: %s%s at event %zu of %zu: %s",
		 name, v->inner ? "cut while recovering, " : "",
		 crash_mode_name(v->mode), st->point, v->rec->count, fault);
	v->fault = v->text;
	return 1;
}

static void new_point(struct visitor *v, const struct crash_state *st)
{
	if (v->point == st->point)
		return;
	if (!v->inner &&
	    (v->point == SIZE_MAX || st->point == 0 ||
	     v->rec->events[st->point - 1].kind == CRASH_MARK))
		expect_at(&v->expect, &v->e->model, v->rec, st->point);
	v->key = expect_key(&v->expect);
	v->point = st->point;
	v->exempt_count = 0;
	if (v->mode == CRASH_GARBAGE)
		find_exempt(v);
	if (v->s && !v->inner && v->mode == CRASH_STRICT_512)
		v->s->points_hit++;
}

static int cut_again(struct visitor *v, const struct crash_state *st);

/* So much of what is wanted of each state as the disk's size leaves. */
static unsigned bounded(const struct visitor *v, unsigned samples)
{
	uint64_t most = v->o->bytes_most / v->e->model.max_size;

	return v->o->bytes_most && samples > most ? (unsigned)most : samples;
}

/* A state cut again is looked at some eight times as often. */
static unsigned depth2_most(const struct visitor *v)
{
	return bounded(v, v->o->depth2 * 8) / 8;
}

static bool wants_depth2(const struct visitor *v, const struct crash_state *st)
{
	return !v->inner && v->s && v->mode == CRASH_STRICT_512 &&
	       v->depth2 < depth2_most(v) && st->flying &&
	       !(op_of(v)->makes && !v->expect.done) &&
	       hash_of(v->e) % 7 == 0;
}

/* After operations that are durable when they return, nothing is open. */
static bool must_be_final(const struct visitor *v)
{
	for (unsigned i = 0; i < v->w->count; i++)
		if (!v->w->ops[i]->durable)
			return false;
	return !v->inner && v->expect.done &&
	       v->expect.op + 1 == v->w->count && v->rec->count == v->point;
}

static int visit(void *ctx, const struct crash_state *st)
{
	struct visitor *v = ctx;
	uint64_t hash = hash_of(v->e);
	struct verdict c = {
		.env = v->e,
		.expect = &v->expect,
		.state = st,
		.torn = st->torn,
		.inner = v->inner,
	};

	new_point(v, st);
	c.op = op_of(v);
	v->e->op = v->expect.op;
	if (v->s) {
		v->s->visited++;
		seen_add(v->inner ? &v->s->depth2 : &v->s->states, hash);
	}
	if (must_be_final(v) && hash != v->final)
		return stop_with(v, st, "it is done, and not durable");
	if (!seen_add(&v->checked, hash ^ v->key ^ (st->torn ? 0x77 : 0)))
		return 0;
	c.exempt = is_exempt(v, st);
	if (v->s)
		c.deep = v->o->deep_every &&
			 v->s->checked++ % v->o->deep_every == 0;
	else
		c.deep = v->checked.count % 4 == 0;
	v->fault = check_state(&c);
	if (v->fault)
		return stop_with(v, st, v->fault);
	if (v->s)
		v->s->deep += c.deep;
	return wants_depth2(v, st) ? cut_again(v, st) : 0;
}

/* The states of one way to recover, while it is under way. */
static int cut_recovery(struct visitor *v, const struct verdict *c,
			enum recovery how)
{
	const struct crash_opts co = {
		.mode = CRASH_STRICT_512,
		.exhaustive = 3,
		.samples = bounded(v, v->o->depth2_samples),
		.seed = v->o->seed + how,
	};
	size_t now = crashdisk_now(v->e->disk[0]);
	struct crash_record rec;
	struct visitor in = *v;
	const char *fault = NULL;
	bool applies;
	int rc = 0;

	crash_record_init(&rec);
	crashdisk_set_record(v->e->disk[0], &rec);
	applies = recover(c, how, &fault);
	crashdisk_set_record(v->e->disk[0], NULL);
	crashdisk_back(v->e->disk[0], now);
	in.inner = true;
	in.rec = &rec;
	in.point = SIZE_MAX;
	memset(&in.checked, 0, sizeof(in.checked));
	if (applies && !fault) {
		if (how == RECOVER_AGAIN && !c->op->steady)
			expect_widen(&in.expect, &v->e->model,
				     &v->e->info[v->e->op]);
		rc = crash_states(v->e->disk, 1, &rec, &co, visit, &in);
		if (how == RECOVER_AGAIN)
			expect_at(&v->expect, &v->e->model, v->rec, v->point);
	}
	if (rc) {
		memcpy(v->text, in.text, sizeof(v->text));
		v->fault = v->text;
	}
	seen_free(&in.checked);
	crash_record_fini(&rec);
	return rc;
}

static int cut_again(struct visitor *v, const struct crash_state *st)
{
	const struct verdict c = {
		.env = v->e,
		.expect = &v->expect,
		.op = op_of(v),
		.state = st,
	};
	int rc = 0;

	v->depth2++;
	for (int how = 0; !rc && how < RECOVERIES; how++)
		rc = cut_recovery(v, &c, (enum recovery)how);
	return rc;
}

/* -------------------------------------------------------------- workload -- */

static int mode_run(struct visitor *v, enum crash_mode mode, unsigned samples)
{
	unsigned few = v->w->cls->large ? 8 : 1;
	const struct crash_opts co = {
		.mode = mode,
		.exhaustive = v->o->exhaustive / (few > 1 ? 2 : 1),
		.samples = bounded(v, samples / few),
		.seed = v->o->seed * 4 + (unsigned)mode,
		.from = v->o->tail ? expect_begins(v->rec, v->w->count - 1) : 0,
	};

	v->mode = mode;
	v->point = SIZE_MAX;
	return crash_states(v->e->disk, 2, v->rec, &co, visit, v);
}

static const char *parents_check(const struct env *e)
{
	return layers_untouched(&e->low) && layers_untouched(&e->other) &&
			       layers_untouched(&e->up)
		       ? NULL
		       : "a parent was written to";
}

static const char *all_modes(struct visitor *v)
{
	static char kept[sizeof(v->text)];
	const char *fault;

	/* Garbage is one fault: not on top of what a process left that died. */
	for (int mode = 0; mode < CRASH_MODES && !v->fault; mode++)
		if (v->o->samples[mode] &&
		    (mode != CRASH_GARBAGE || v->w->count == 1 ||
		     v->w->ops[0]->durable))
			mode_run(v, (enum crash_mode)mode,
				 v->o->samples[mode]);
	fault = v->fault ? v->fault : parents_check(v->e);
	if (!fault)
		return NULL;
	snprintf(kept, sizeof(kept), "%s", fault);
	return kept;
}

/* Record it; the media are as before, the record holds what happened. */
static void record(struct visitor *v, struct env *e, struct crash_record *rec)
{
	size_t now[2];

	begin(e, v->w, rec, v->o->seed);
	for (unsigned i = 0; i < 2; i++)
		now[i] = crashdisk_now(e->disk[i]);
	carry_out(e, v->w);
	stop_recording(e);
	v->e = e;
	v->rec = rec;
	v->final = hash_of(e);
	for (unsigned i = 0; i < 2; i++)
		crashdisk_back(e->disk[i], now[i]);
	expect_init(&v->expect);
}

static void finish(struct visitor *v, struct env *e, struct crash_record *rec)
{
	expect_fini(&v->expect);
	seen_free(&v->checked);
	env_free(e);
	crash_record_fini(rec);
}

const char *workload_run(const struct workload *w, const struct run_opts *o,
			 struct run_stats *s)
{
	struct visitor v = {.w = w, .o = o, .s = s};
	struct crash_record rec;
	const char *fault;
	struct env e;

	crash_record_init(&rec);
	record(&v, &e, &rec);
	s->workloads++;
	s->points += rec.count + 1;
	s->flushes += (unsigned)rec.flushes;
	fault = all_modes(&v);
	finish(&v, &e, &rec);
	return fault;
}

int workload_lose(const struct workload *w, int lose,
		  void (*at_flush)(void *ctx, int number), void *ctx,
		  const struct crash_record **growing, const char **fault)
{
	static const struct run_opts few = {
		.seed = 1,
		.exhaustive = 7,
		.samples = {24, 0, 24, 8},
	};
	struct visitor v = {.w = w, .o = &few};
	struct crash_record rec;
	struct env e;
	int flushes;

	crash_record_init(&rec);
	rec.lose = lose;
	rec.at_flush = at_flush;
	rec.ctx = ctx;
	if (growing)
		*growing = &rec;
	record(&v, &e, &rec);
	flushes = rec.flushes;
	*fault = lose == CRASH_LOSE_NOTHING ? NULL : all_modes(&v);
	finish(&v, &e, &rec);
	return flushes;
}

/* --------------------------------------------------------------- export -- */

struct export {
	struct env *e;
	const char *vhd, *raw;
	uint64_t rnd;
};

static void save(const char *path, const uint8_t *bytes, uint64_t len)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f))
		broken("cannot write %s", path);
}

/* One state in so many. */
static int export_visit(void *ctx, const struct crash_state *st)
{
	struct export *x = ctx;
	const struct crashdisk *d = x->e->disk[0];
	struct oracle o;
	uint8_t *disk;

	if (!st->flying || random_below(&x->rnd, 20))
		return 0;
	env_close(env_use(x->e));
	if (!oracle_open(&o, crashdisk_bytes(d), crashdisk_len(d)))
		broken("exporting: %s", o.fault);
	disk = malloc(o.size);
	if (!disk)
		abort();
	env_content(x->e, disk, o.size);
	save(x->vhd, crashdisk_bytes(d), crashdisk_len(d));
	save(x->raw, disk, o.size);
	free(disk);
	return 1;
}

bool workload_export(const struct workload *w, uint64_t seed, const char *vhd,
		     const char *raw)
{
	const struct run_opts o = {.seed = seed};
	const struct crash_opts co = {.samples = 8, .seed = seed};
	struct visitor v = {.w = w, .o = &o};
	struct crash_record rec;
	struct env e;
	struct export x = {.e = &e, .vhd = vhd, .raw = raw, .rnd = seed};
	int found;

	crash_record_init(&rec);
	record(&v, &e, &rec);
	found = crash_states(e.disk, 2, &rec, &co, export_visit, &x);
	finish(&v, &e, &rec);
	return found;
}
