/* SPDX-License-Identifier: BSD-2-Clause */
/* PERSISTENT RESERVE OUT: what each service action makes of a disk's
 * reservations. The new state is kept where APTPL asks for that, and only then
 * in force and answered. RESERVE and RELEASE, the old way.
 *
 * Source: SPC-4 5.13 (persistent reservations), 6.16; SPC-2 5.5.1 (the two
 *   ways beside one another: a command of the one conflicts with the other).
 */
#include <string.h>

#include "reserve.h"
#include "table.h"

#define LIST_BYTES  24u
#define SPEC_I_PT   0x08
#define APTPL	    0x01
/* ALL_TG_PT changes nothing: there is one port. */
#define OLD_REFUSED 0x1F /* third party, extents */

enum action {
	REGISTER = 0,
	RESERVE = 1,
	RELEASE = 2,
	CLEAR = 3,
	PREEMPT = 4,
	PREEMPT_ABORT = 5,
	REGISTER_IGNORE = 6,
};

/* A command's arguments, decoded. */
struct order {
	enum action action;
	uint8_t scope, type;
	uint64_t key, new_key;
	bool kept;
};

/* What becomes of it all. */
struct outcome {
	struct storvsp_reservations now;
	bool kept;
	bool counts; /* PRGENERATION goes on */
};

/* Write exclusive, exclusive access; the same for registrants, for all of
 * them.
 */
static bool type_ok(uint8_t type)
{
	return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

static enum scsi_verdict registration(const struct storvsp_reserve *r,
				      const struct order *o,
				      struct outcome *out)
{
	uint64_t key = r->now.registered ? r->now.key : 0;

	if (o->action == REGISTER && o->key != key)
		return SCSI_RESERVED;
	out->counts = true;
	out->kept = o->kept;
	if (o->new_key == 0) { /* what is reserved goes with it */
		memset(&out->now, 0, sizeof(out->now));
		return SCSI_GOOD;
	}
	out->now.registered = true;
	out->now.key = o->new_key;
	return SCSI_GOOD;
}

static enum scsi_verdict reserve(const struct storvsp_reserve *r,
				 const struct order *o, struct outcome *out)
{
	if (o->scope != 0 || !type_ok(o->type))
		return SCSI_BAD_FIELD;
	if (r->now.type != 0 && r->now.type != o->type)
		return SCSI_RESERVED;
	out->now.type = o->type;
	return SCSI_GOOD;
}

static enum scsi_verdict release(const struct storvsp_reserve *r,
				 const struct order *o, struct outcome *out)
{
	if (r->now.type == 0)
		return SCSI_GOOD;
	if (o->scope != 0 || o->type != r->now.type)
		return SCSI_BAD_RELEASE;
	out->now.type = 0;
	return SCSI_GOOD;
}

static enum scsi_verdict clear(const struct storvsp_reserve *r,
			       const struct order *o, struct outcome *out)
{
	(void)r;
	(void)o;
	out->counts = true;
	memset(&out->now, 0, sizeof(out->now));
	return SCSI_GOOD;
}

/* The only one whose key could be named is the guest itself. It may take its
 * own reservation again as another type, and stays registered; without a
 * reservation its registration is what is removed. No command of another
 * nexus is there to be aborted.
 */
static enum scsi_verdict preempt(const struct storvsp_reserve *r,
				 const struct order *o, struct outcome *out)
{
	bool of_all = r->now.type == 7 || r->now.type == 8;

	if (o->new_key == 0 && !of_all)
		return SCSI_BAD_PARAM;
	if (o->new_key != 0 && o->new_key != r->now.key)
		return SCSI_RESERVED;
	if (r->now.type == 0 || (of_all && o->new_key != 0))
		return clear(r, o, out);
	if (o->scope != 0 || !type_ok(o->type))
		return SCSI_BAD_FIELD;
	out->counts = true;
	out->now.type = o->type;
	return SCSI_GOOD;
}

static const struct {
	enum scsi_verdict (*run)(const struct storvsp_reserve *r,
				 const struct order *o, struct outcome *out);
	bool by_key; /* only who is registered, with that key */
} orders[] = {
	[REGISTER] = {registration, false},
	[RESERVE] = {reserve, true},
	[RELEASE] = {release, true},
	[CLEAR] = {clear, true},
	[PREEMPT] = {preempt, true},
	[PREEMPT_ABORT] = {preempt, true},
	[REGISTER_IGNORE] = {registration, false},
};

static bool equal(const struct storvsp_reservations *a,
		  const struct storvsp_reservations *b)
{
	return a->registered == b->registered && a->key == b->key &&
	       a->type == b->type;
}

/* Durable where it has to be, else nothing has changed. */
static enum scsi_verdict put_in_force(struct storvsp_reserve *r,
				      const struct outcome *out)
{
	static const struct storvsp_reservations none;
	const struct storvsp_reservations *before = r->kept ? &r->now : &none;
	const struct storvsp_reservations *after = out->kept ? &out->now
							     : &none;

	if (!equal(before, after) && r->keep(r->keep_arg, after) < 0)
		return SCSI_TARGET_FAILURE;
	r->now = out->now;
	r->kept = out->kept;
	r->generation += out->counts;
	return SCSI_GOOD;
}

static enum scsi_verdict run(struct storvsp_reserve *r, const struct order *o)
{
	struct outcome out = {r->now, r->kept, false};
	enum scsi_verdict v;

	if (r->old_style)
		return SCSI_RESERVED;
	if (o->kept && !r->keep)
		return SCSI_BAD_PARAM;
	if (orders[o->action].by_key &&
	    (!r->now.registered || o->key != r->now.key))
		return SCSI_RESERVED;
	v = orders[o->action].run(r, o, &out);
	return v == SCSI_GOOD ? put_in_force(r, &out) : v;
}

enum scsi_verdict scsi_persistent_reserve_out(struct scsi_task *t)
{
	struct storvsp_reserve *r = &t->disk->switches->reserve;
	uint32_t list = scsi_get32(t->cdb + 5);
	struct order o = {.action = t->cdb[1] & 0x1F,
			  .scope = t->cdb[2] >> 4,
			  .type = t->cdb[2] & 0x0F};
	enum scsi_verdict v;

	if (list != LIST_BYTES)
		return SCSI_PARAM_LENGTH;
	if (t->param_bytes < LIST_BYTES)
		return SCSI_BAD_FIELD;
	if (t->param[20] & SPEC_I_PT)
		return SCSI_BAD_PARAM;
	o.key = scsi_get64(t->param);
	o.new_key = scsi_get64(t->param + 8);
	if (!orders[o.action].by_key)
		o.kept = t->param[20] & APTPL;
	pthread_mutex_lock(&r->lock);
	v = run(r, &o);
	pthread_mutex_unlock(&r->lock);
	return v;
}

/* ---------------------------------------------------------- the old way -- */

static enum scsi_verdict old_style(struct scsi_task *t, bool on)
{
	struct storvsp_reserve *r = &t->disk->switches->reserve;
	enum scsi_verdict v = SCSI_RESERVED;

	if (t->cdb[1] & OLD_REFUSED)
		return SCSI_BAD_FIELD;
	pthread_mutex_lock(&r->lock);
	if (!r->now.registered) {
		r->old_style = on;
		v = SCSI_GOOD;
	}
	pthread_mutex_unlock(&r->lock);
	return v;
}

enum scsi_verdict scsi_reserve(struct scsi_task *t)
{
	return old_style(t, true);
}

enum scsi_verdict scsi_release(struct scsi_task *t)
{
	return old_style(t, false);
}

/* ------------------------------------------------------------ the state -- */

void storvsp_reserve_init(struct storvsp_reserve *r,
			  const struct storvsp_disk_opts *opts)
{
	*r = (struct storvsp_reserve){
		.now = opts->reservations,
		.kept = opts->reservations.registered,
		.keep = opts->reservations_keep,
		.keep_arg = opts->reservations_arg,
	};
	pthread_mutex_init(&r->lock, NULL);
}

void storvsp_reserve_reset(struct storvsp_reserve *r)
{
	pthread_mutex_lock(&r->lock);
	r->old_style = false;
	pthread_mutex_unlock(&r->lock);
}
