/* SPDX-License-Identifier: BSD-2-Clause */
/* See crashstate.h. What is in flight is kept as two lists, of pieces and of
 * lengths, in the order of the record; a state is a choice for each piece and,
 * for each file, how many of its lengths have arrived.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/crashstate.h"
#include "tests/lib/random.h"

#define MEDIA_MAX  2u
#define LONG_BYTES (64u << 10)
#define PARTS	   128u

/* What becomes of a piece. */
enum fate { FATE_OLD, FATE_NEW, FATE_TORN };

struct piece {
	size_t event;
	uint64_t off, len;
};

/* A length of a file, and the pieces [first, last) that must be there with
 * it.
 */
struct length {
	size_t event;
	unsigned file;
	uint64_t was, len;
	size_t first, last;
};

struct flight {
	struct crashdisk *const *d;
	unsigned count;
	const struct crash_record *r;
	const struct crash_opts *o;
	crash_visit visit;
	void *ctx;
	uint64_t rnd;
	size_t point;

	struct piece *pieces;
	size_t piece_count, piece_room;
	struct length *lengths;
	size_t length_count, length_room;

	/* the choice */
	uint8_t *fate;
	size_t fate_room;
	size_t arrived[MEDIA_MAX];
	uint64_t between[MEDIA_MAX]; /* SIZE_LAG: this length; 0: none */
};

const uint8_t crash_garbage[CRASH_SECTOR] =
	"neither the old nor the new content of this sector\xff\x5a\xa5";

const char *crash_mode_name(enum crash_mode mode)
{
	static const char *const names[CRASH_MODES] = {
		"strict-512", "atomic-4K", "garbage-sector", "append-size-lag"};

	return names[mode];
}

static void *more(void *list, size_t *room, size_t count, size_t each)
{
	if (count < *room)
		return list;
	*room = *room ? *room * 2 : 64;
	list = realloc(list, *room * each);
	if (!list)
		abort();
	return list;
}

/* ----------------------------------------------------------- in flight -- */

static uint64_t unit_of(const struct flight *f, uint64_t len)
{
	if (len > LONG_BYTES)
		return (len / PARTS + 4095) & ~(uint64_t)4095;
	return f->o->mode == CRASH_ATOMIC_4K ? 4096 : CRASH_SECTOR;
}

static void length_add(struct flight *f, size_t event, uint64_t was,
		       uint64_t len, size_t first)
{
	f->lengths = more(f->lengths, &f->length_room, f->length_count,
			  sizeof(*f->lengths));
	f->lengths[f->length_count++] = (struct length){
		.event = event,
		.file = f->r->events[event].file,
		.was = was,
		.len = len,
		.first = first,
		.last = f->piece_count,
	};
}

/* A write that lengthens the file does so piece by piece. */
static void pieces_add(struct flight *f, size_t event)
{
	const struct crash_event *e = &f->r->events[event];
	uint64_t unit = unit_of(f, e->len), was = e->was_len;
	size_t first = f->piece_count;

	for (uint64_t at = 0, n; at < e->len; at += n) {
		uint64_t end;

		n = unit - (e->off + at) % unit;
		n = n < e->len - at ? n : e->len - at;
		end = e->off + at + n;
		f->pieces = more(f->pieces, &f->piece_room, f->piece_count,
				 sizeof(*f->pieces));
		f->pieces[f->piece_count++] =
			(struct piece){event, e->off + at, n};
		if (e->kind != CRASH_WRITE || end <= was)
			continue;
		length_add(f, event, was, end, first);
		was = end;
	}
}

static void take_off(struct flight *f, size_t event)
{
	const struct crash_event *e = &f->r->events[event];

	if (e->kind == CRASH_TRUNCATE)
		length_add(f, event, e->was_len, e->off, f->piece_count);
	else if (e->kind == CRASH_WRITE || e->kind == CRASH_ZERO)
		pieces_add(f, event);
}

static void carry_out(struct crashdisk *d, const struct crash_record *r,
		      const struct crash_event *e)
{
	if (e->kind == CRASH_WRITE) {
		crashdisk_poke(d, r->bytes + e->data, e->len, e->off);
		if (e->off + e->len > crashdisk_len(d))
			crashdisk_set_len(d, e->off + e->len);
	} else if (e->kind == CRASH_ZERO) {
		crashdisk_zero(d, e->len, e->off);
	} else if (e->kind == CRASH_TRUNCATE) {
		crashdisk_set_len(d, e->off);
	}
}

/* Pieces of this file that [off, off + len) meets are in flight no more; what
 * lengths point to goes along.
 */
static void drop_pieces(struct flight *f, unsigned file, uint64_t off,
			uint64_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->piece_count; i++) {
		const struct piece *p = &f->pieces[i];
		bool gone = f->r->events[p->event].file == file &&
			    p->off < off + len && off < p->off + p->len;

		for (size_t k = 0; k < f->length_count; k++) {
			if (f->lengths[k].first == i)
				f->lengths[k].first = kept;
			if (f->lengths[k].last == i + 1)
				f->lengths[k].last = kept + !gone;
		}
		if (!gone)
			f->pieces[kept++] = *p;
	}
	f->piece_count = kept;
}

static size_t last_flush(const struct flight *f, unsigned file, size_t until)
{
	while (until && !(f->r->events[until - 1].kind == CRASH_FLUSH &&
			  f->r->events[until - 1].file == file))
		until--;
	return until;
}

/* A flush: what is in flight of this file is there now. */
static void land(struct flight *f, unsigned file, size_t until)
{
	size_t kept = 0;

	for (size_t i = last_flush(f, file, until); i < until; i++)
		if (f->r->events[i].file == file)
			carry_out(f->d[file], f->r, &f->r->events[i]);
	for (size_t i = 0; i < f->length_count; i++)
		if (f->lengths[i].file != file)
			f->lengths[kept++] = f->lengths[i];
	f->length_count = kept;
	drop_pieces(f, file, 0, UINT64_MAX);
}

/* One write's own sync: the range as it is by now, and nothing else; with a
 * longer file all of it, because its length is needed to read it.
 */
static void land_range(struct flight *f, size_t event)
{
	const struct crash_event *own = &f->r->events[event];
	uint64_t end = own->off + own->len;

	if (end > crashdisk_len(f->d[own->file])) {
		land(f, own->file, event);
		return;
	}
	for (size_t i = last_flush(f, own->file, event); i < event; i++) {
		const struct crash_event *e = &f->r->events[i];
		uint64_t from = e->off > own->off ? e->off : own->off;
		uint64_t to = e->off + e->len < end ? e->off + e->len : end;

		if (e->file != own->file || from >= to)
			continue;
		if (e->kind == CRASH_WRITE)
			crashdisk_poke(f->d[own->file],
				       f->r->bytes + e->data + (from - e->off),
				       to - from, from);
		else if (e->kind == CRASH_ZERO)
			crashdisk_zero(f->d[own->file], to - from, from);
	}
	drop_pieces(f, own->file, own->off, own->len);
}

/* ------------------------------------------------------------ the state -- */

static void put_piece(struct flight *f, const struct piece *p, enum fate fate)
{
	const struct crash_event *e = &f->r->events[p->event];
	struct crashdisk *d = f->d[e->file];

	if (fate == FATE_TORN && e->kind == CRASH_WRITE)
		for (uint64_t at = 0; at < p->len; at += CRASH_SECTOR)
			crashdisk_poke(d, crash_garbage,
				       p->len - at < CRASH_SECTOR
					       ? p->len - at
					       : CRASH_SECTOR,
				       p->off + at);
	else if (fate != FATE_OLD && e->kind == CRASH_ZERO)
		crashdisk_zero(d, p->len, p->off);
	else if (fate == FATE_NEW)
		crashdisk_poke(d, f->r->bytes + e->data + (p->off - e->off),
			       p->len, p->off);
}

/* Pieces and truncations in their order; then the length decides. */
static void apply(struct flight *f)
{
	uint64_t end[MEDIA_MAX];
	size_t seen[MEDIA_MAX] = {0}, piece = 0, at = 0;

	for (unsigned i = 0; i < f->count; i++)
		end[i] = crashdisk_len(f->d[i]);
	while (piece < f->piece_count || at < f->length_count) {
		const struct length *l = &f->lengths[at];

		if (at == f->length_count ||
		    (piece < f->piece_count &&
		     f->pieces[piece].event <= l->event)) {
			put_piece(f, &f->pieces[piece],
				  (enum fate)f->fate[piece]);
			piece++;
			continue;
		}
		if (seen[l->file]++ < f->arrived[l->file]) {
			if (f->r->events[l->event].kind == CRASH_TRUNCATE &&
			    l->len < end[l->file])
				crashdisk_zero(f->d[l->file],
					       UINT64_MAX - l->len, l->len);
			end[l->file] = l->len;
		}
		at++;
	}
	for (unsigned i = 0; i < f->count; i++)
		crashdisk_set_len(f->d[i],
				  f->between[i] ? f->between[i] : end[i]);
}

static void note_torn(const struct flight *f, struct crash_state *s)
{
	for (size_t i = 0; i < f->piece_count; i++) {
		if (f->fate[i] != FATE_TORN || s->torn == CRASH_TORN_MAX ||
		    f->r->events[f->pieces[i].event].kind != CRASH_WRITE)
			continue;
		s->torn_off[s->torn] = f->pieces[i].off;
		s->torn_file[s->torn++] = f->r->events[f->pieces[i].event].file;
	}
}

/* With a length come the bytes that gave rise to it. */
static void lengths_hold(struct flight *f)
{
	size_t seen[MEDIA_MAX] = {0};

	for (size_t i = 0; i < f->length_count; i++) {
		const struct length *l = &f->lengths[i];

		if (seen[l->file]++ >= f->arrived[l->file])
			continue;
		for (size_t k = l->first; k < l->last; k++)
			if (f->fate[k] == FATE_OLD)
				f->fate[k] = (uint8_t)FATE_NEW;
	}
}

static int show(struct flight *f)
{
	struct crash_state s = {
		.point = f->point,
		.flying = (unsigned)(f->piece_count + f->length_count),
	};
	size_t now[MEDIA_MAX];
	int rc;

	lengths_hold(f);
	if (f->o->mode == CRASH_GARBAGE)
		note_torn(f, &s);
	for (unsigned i = 0; i < f->count; i++)
		now[i] = crashdisk_now(f->d[i]);
	apply(f);
	rc = f->visit(f->ctx, &s);
	for (unsigned i = 0; i < f->count; i++)
		crashdisk_back(f->d[i], now[i]);
	memset(f->between, 0, sizeof(f->between));
	return rc;
}

/* ---------------------------------------------------------- the choices -- */

static size_t lengths_of(const struct flight *f, unsigned file)
{
	size_t n = 0;

	for (size_t i = 0; i < f->length_count; i++)
		n += f->lengths[i].file == file;
	return n;
}

static void all_fates(struct flight *f, enum fate fate)
{
	memset(f->fate, (int)fate, f->piece_count);
}

static void all_arrived(struct flight *f, bool yes)
{
	for (unsigned i = 0; i < f->count; i++)
		f->arrived[i] = yes ? lengths_of(f, i) : 0;
}

/* A length that no call asked for: as far as a write's own bytes have come, or
 * anything on the way of a truncation upwards.
 */
static void some_between(struct flight *f)
{
	const struct crash_event *e;
	const struct length *l;
	uint64_t low;

	if (!f->length_count)
		return;
	l = &f->lengths[random_below(&f->rnd, f->length_count)];
	e = &f->r->events[l->event];
	low = l->was;
	if (e->kind == CRASH_WRITE && low < e->off)
		low = e->off + CRASH_SECTOR;
	/* The whole length of a write comes with all of its bytes only. */
	if (low + CRASH_SECTOR <= l->len)
		f->between[l->file] =
			low +
			random_below(&f->rnd, (l->len - low) / CRASH_SECTOR) *
				CRASH_SECTOR;
}

static enum fate any_fate(struct flight *f, unsigned new_permille)
{
	if (random_below(&f->rnd, 1000) >= new_permille)
		return FATE_OLD;
	return f->o->mode == CRASH_GARBAGE && random_below(&f->rnd, 3) == 0
		       ? FATE_TORN
		       : FATE_NEW;
}

/* One piece alone, one missing, all before one, or a share of them. */
static void some_fates(struct flight *f)
{
	static const unsigned shares[] = {500, 125, 875, 30, 970};
	uint64_t kind = random_below(&f->rnd, 4);
	size_t one = random_below(&f->rnd, f->piece_count);
	unsigned share = shares[random_below(&f->rnd, 5)];

	for (size_t i = 0; i < f->piece_count; i++) {
		if (kind == 0)
			f->fate[i] = i == one;
		else if (kind == 1)
			f->fate[i] = i != one;
		else if (kind == 2)
			f->fate[i] = i < one;
		else
			f->fate[i] = (uint8_t)any_fate(f, share);
	}
	if (f->o->mode == CRASH_GARBAGE && kind != 3)
		f->fate[one] = (uint8_t)FATE_TORN;
}

static void some_lengths(struct flight *f)
{
	for (unsigned i = 0; i < f->count; i++)
		f->arrived[i] = random_below(&f->rnd, lengths_of(f, i) + 1);
	if (f->o->mode == CRASH_SIZE_LAG)
		some_between(f);
}

static int sampled(struct flight *f)
{
	int rc = 0;

	for (unsigned k = 0; !rc && k < f->o->samples; k++) {
		if (k == 0 && f->o->mode == CRASH_SIZE_LAG)
			all_fates(f, FATE_NEW);
		else if (f->piece_count)
			some_fates(f);
		if (k < 2)
			all_arrived(f, k && f->o->mode != CRASH_SIZE_LAG);
		else
			some_lengths(f);
		rc = show(f);
	}
	return rc;
}

/* Count through all choices, the lengths of the files first. */
static bool next_choice(struct flight *f, unsigned fates)
{
	for (unsigned i = 0; i < f->count; i++) {
		if (f->arrived[i] < lengths_of(f, i)) {
			f->arrived[i]++;
			return true;
		}
		f->arrived[i] = 0;
	}
	for (size_t i = 0; i < f->piece_count; i++) {
		if (++f->fate[i] < fates)
			return true;
		f->fate[i] = (uint8_t)FATE_OLD;
	}
	return false;
}

static int exhaustive(struct flight *f)
{
	unsigned fates = f->o->mode == CRASH_GARBAGE ? 3 : 2;
	int rc;

	all_fates(f, FATE_OLD);
	all_arrived(f, false);
	do {
		/* what lengths_hold adds is for this state only */
		uint8_t fate[32];

		memcpy(fate, f->fate, f->piece_count);
		rc = show(f);
		memcpy(f->fate, fate, f->piece_count);
	} while (!rc && next_choice(f, fates));
	return rc;
}

/* Nothing of what is in flight, all of it, and more. */
static int at_point(struct flight *f)
{
	unsigned few = f->o->exhaustive < 32 ? f->o->exhaustive : 32;
	int rc;

	if (f->o->mode == CRASH_GARBAGE)
		few /= 2;
	while (f->fate_room <= f->piece_count)
		f->fate = more(f->fate, &f->fate_room, f->fate_room, 1);
	if (f->piece_count + f->length_count <= few &&
	    f->o->mode != CRASH_SIZE_LAG)
		return exhaustive(f);
	all_fates(f, FATE_OLD);
	all_arrived(f, false);
	rc = show(f);
	all_fates(f, FATE_NEW);
	all_arrived(f, true);
	if (!rc)
		rc = show(f);
	return rc ? rc : sampled(f);
}

int crash_states(struct crashdisk *const *d, unsigned count,
		 const struct crash_record *r, const struct crash_opts *o,
		 crash_visit visit, void *ctx)
{
	struct flight f = {
		.d = d,
		.count = count,
		.r = r,
		.o = o,
		.visit = visit,
		.ctx = ctx,
		.rnd = o->seed,
	};
	size_t then[MEDIA_MAX];
	int rc = 0;

	if (count > MEDIA_MAX)
		abort();
	for (unsigned i = 0; i < count; i++)
		then[i] = crashdisk_now(d[i]);
	for (size_t n = 0; !rc && n <= r->count; n++) {
		if (n && r->events[n - 1].kind == CRASH_FLUSH)
			land(&f, r->events[n - 1].file, n - 1);
		else if (n && r->events[n - 1].kind == CRASH_OWN_SYNC)
			land_range(&f, n - 1);
		else if (n)
			take_off(&f, n - 1);
		f.point = n;
		if (n >= o->from)
			rc = at_point(&f);
	}
	for (unsigned i = 0; i < count; i++)
		crashdisk_back(d[i], then[i]);
	free(f.pieces);
	free(f.lengths);
	free(f.fate);
	return rc;
}
