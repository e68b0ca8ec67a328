/* SPDX-License-Identifier: BSD-2-Clause */
/* Reservations: each order in each state against a model written from the
 * standard's tables, what is told of them, what is kept and when.
 */
#include <errno.h>

#include "tests/lib/plainvsp.h"
#include "tests/lib/scsitask.h"

enum {
	REGISTER,
	RESERVE,
	RELEASE,
	CLEAR,
	PREEMPT,
	PREEMPT_ABORT,
	IGNORE,
};

static const uint8_t types[] = {1, 3, 5, 6, 7, 8};

#define TYPES (sizeof(types) / sizeof(types[0]))

/* One PERSISTENT RESERVE OUT. */
static enum scsi_verdict out(struct task *k, uint8_t action, uint8_t scope_type,
			     uint64_t key, uint64_t new_key, uint8_t flags)
{
	uint8_t cdb[10] = {0x5F, action, scope_type, [8] = 24};

	memset(k->t.param, 0, 24);
	scsi_put64(k->t.param, key);
	scsi_put64(k->t.param + 8, new_key);
	k->t.param[20] = flags;
	k->t.param_bytes = 24;
	k->t.buffer_bytes = 24;
	k->t.data_in = STORVSP_DATA_OUT;
	k->luns = (struct storvsp_luns){0};
	assert_int_equal(storvsp_luns_add(&k->luns, &k->disk), 0);
	return task_run(k, 0, cdb, 10);
}

static uint32_t in(struct task *k, uint8_t action)
{
	uint8_t cdb[10] = {0x5E, action, [8] = 255};

	k->t.buffer_bytes = 255;
	k->t.data_in = STORVSP_DATA_IN;
	k->luns = (struct storvsp_luns){0};
	assert_int_equal(storvsp_luns_add(&k->luns, &k->disk), 0);
	assert_int_equal(task_run(k, 0, cdb, 10), SCSI_GOOD);
	assert_true(k->t.reply_bytes >= 8);
	return k->t.reply_bytes;
}

/* --------------------------------------------------------------- model -- */

/* What SPC-4 tables say of the one nexus there is. */
struct model {
	bool registered;
	uint64_t key;
	uint8_t type;
	uint32_t generation;
};

static bool known(uint8_t type)
{
	for (unsigned i = 0; i < TYPES; i++)
		if (types[i] == type)
			return true;
	return false;
}

static void forget(struct model *m)
{
	m->registered = false;
	m->key = 0;
	m->type = 0;
	m->generation++;
}

static enum scsi_verdict model_register(struct model *m, bool ignore,
					uint64_t key, uint64_t new_key)
{
	if (!ignore && key != m->key)
		return SCSI_RESERVED;
	if (new_key == 0) {
		forget(m);
		return SCSI_GOOD;
	}
	m->registered = true;
	m->key = new_key;
	m->generation++;
	return SCSI_GOOD;
}

static enum scsi_verdict model_preempt(struct model *m, uint8_t scope_type,
				       uint64_t new_key)
{
	bool all = m->type >= 7;

	if (new_key == 0 && !all)
		return SCSI_BAD_PARAM;
	if (new_key && new_key != m->key)
		return SCSI_RESERVED;
	if (m->type == 0 || (all && new_key)) {
		forget(m);
		return SCSI_GOOD;
	}
	if (!known(scope_type))
		return SCSI_BAD_FIELD;
	m->type = scope_type;
	m->generation++;
	return SCSI_GOOD;
}

static enum scsi_verdict model(struct model *m, uint8_t action,
			       uint8_t scope_type, uint64_t key,
			       uint64_t new_key)
{
	if (action == REGISTER || action == IGNORE)
		return model_register(m, action == IGNORE, key, new_key);
	if (!m->registered || key != m->key)
		return SCSI_RESERVED;
	switch (action) {
	case RESERVE:
		if (!known(scope_type))
			return SCSI_BAD_FIELD;
		if (m->type && m->type != scope_type)
			return SCSI_RESERVED;
		m->type = scope_type;
		return SCSI_GOOD;
	case RELEASE:
		if (m->type && m->type != scope_type)
			return SCSI_BAD_RELEASE;
		m->type = 0;
		return SCSI_GOOD;
	case CLEAR:
		forget(m);
		return SCSI_GOOD;
	default:
		return model_preempt(m, scope_type, new_key);
	}
}

static void check_told(struct task *k, const struct model *m)
{
	uint32_t n = in(k, 0);

	assert_int_equal(scsi_get32(k->t.reply), m->generation);
	assert_int_equal(n, m->registered ? 16 : 8);
	if (m->registered)
		assert_int_equal(scsi_get64(k->t.reply + 8), m->key);
	n = in(k, 1);
	assert_int_equal(n, m->type ? 24 : 8);
	assert_int_equal(scsi_get32(k->t.reply + 4), n - 8);
	if (m->type) {
		assert_int_equal(k->t.reply[8 + 13], m->type);
		assert_int_equal(scsi_get64(k->t.reply + 8),
				 m->type >= 7 ? 0 : m->key);
	}
}

/* States: nothing; registered; reserved in each way. Orders: all, with each
 * type and scope, keys that are 0, the guest's, another's.
 */
static void every_order_in_every_state_does_what_the_model_says(void **state)
{
	static const uint64_t some[] = {0, 7, 8};

	(void)state;
	for (unsigned i = 0; i < (2 + TYPES) * 7 * 256 * 9; i++) {
		unsigned s = i / (7 * 256 * 9);
		uint8_t action = (uint8_t)(i / (256 * 9) % 7);
		uint8_t scope_type = (uint8_t)(i / 9);
		uint64_t key = some[i % 3], new_key = some[i / 3 % 3];
		struct model m = {0};
		struct task k;

		/* of the types that are none a few will do */
		if (i / 9 % 256 > 0x18)
			continue;
		task_init(&k, 0, STORVSP_DATA_OUT);
		if (s > 0)
			assert_int_equal(out(&k, IGNORE, 0, 0, 7, 0),
					 model(&m, IGNORE, 0, 0, 7));
		if (s > 1)
			assert_int_equal(out(&k, RESERVE, types[s - 2], 7, 0, 0),
					 model(&m, RESERVE, types[s - 2], 7,
					       0));
		assert_int_equal(out(&k, action, scope_type, key, new_key, 0),
				 model(&m, action, scope_type, key, new_key));
		check_told(&k, &m);
	}
}

/* ---------------------------------------------------------------- told -- */

static void full_status_and_capabilities_are_byte_exact(void **state)
{
	static const uint8_t want[56] = {
		[3] = 1,    [7] = 48,	[15] = 7,   [8 + 12] = 1,
		[8 + 13] = 5, [8 + 19] = 1, [8 + 23] = 24, [8 + 24] = 0x0F};
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_OUT);
	assert_int_equal(in(&k, 3), 8);
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_GOOD);
	assert_int_equal(in(&k, 3), 56);
	assert_int_equal(k.t.reply[20], 0); /* holds nothing */
	assert_int_equal(out(&k, RESERVE, 5, 7, 0, 0), SCSI_GOOD);
	assert_int_equal(in(&k, 3), 56);
	assert_memory_equal(k.t.reply, want, 56);
	assert_int_equal(in(&k, 2), 8);
	assert_memory_equal(k.t.reply, "\0\x08\x04\x80\xea\x01\0\0", 8);
}

static void every_allocation_length_cuts_without_error(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 255, STORVSP_DATA_OUT);
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_GOOD);
	assert_int_equal(out(&k, RESERVE, 1, 7, 0, 0), SCSI_GOOD);
	k.t.data_in = STORVSP_DATA_IN;
	for (unsigned i = 0; i < 4 * 64; i++) {
		static const uint8_t all[] = {16, 24, 8, 56};
		uint8_t n = (uint8_t)(i / 4);

		k.t.buffer_bytes = i % 3 ? 255 : n;
		assert_int_equal(RUN(&k, 0x5E, (uint8_t)(i % 4), 0, 0, 0, 0, 0,
				     0, n, 0),
				 SCSI_GOOD);
		assert_int_equal(scsi_reply_sent(&k.t),
				 n < all[i % 4] ? n : all[i % 4]);
	}
}

/* ---------------------------------------------------------------- kept -- */

struct keeper {
	unsigned calls;
	int result;
	struct storvsp_reservations last;
};

static int keep(void *arg, const struct storvsp_reservations *r)
{
	struct keeper *p = arg;

	p->calls++;
	if (p->result == 0)
		p->last = *r;
	return p->result;
}

static void keeping(struct task *k, struct keeper *p)
{
	task_init(k, 0, STORVSP_DATA_OUT);
	*p = (struct keeper){0};
	storvsp_reserve_init(&k->switches.reserve,
			     &(struct storvsp_disk_opts){
				     .reservations_keep = keep,
				     .reservations_arg = p});
}

static void what_is_to_outlive_the_power_is_kept_first(void **state)
{
	struct keeper p;
	struct task k;

	(void)state;
	keeping(&k, &p);
	/* without APTPL nothing is */
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_GOOD);
	assert_int_equal(out(&k, RESERVE, 3, 7, 0, 0), SCSI_GOOD);
	assert_int_equal(p.calls, 0);
	assert_int_equal(in(&k, 2), 8);
	assert_memory_equal(k.t.reply + 2, "\x05\x80", 2); /* PTPL_C */
	/* the next registration decides, for the reservation, too */
	assert_int_equal(out(&k, REGISTER, 0, 7, 8, 1), SCSI_GOOD);
	assert_int_equal(p.calls, 1);
	assert_true(p.last.registered && p.last.key == 8 && p.last.type == 3);
	assert_int_equal(in(&k, 2), 8);
	assert_memory_equal(k.t.reply + 2, "\x05\x81", 2); /* PTPL_A */
	assert_int_equal(out(&k, RELEASE, 3, 8, 0, 0), SCSI_GOOD);
	assert_int_equal(p.last.type, 0);
	/* what changes nothing costs nothing */
	assert_int_equal(out(&k, RELEASE, 3, 8, 0, 0), SCSI_GOOD);
	assert_int_equal(p.calls, 2);
	/* another key */
	assert_int_equal(out(&k, REGISTER, 0, 8, 9, 1), SCSI_GOOD);
	assert_int_equal(out(&k, REGISTER, 0, 9, 8, 1), SCSI_GOOD);
	assert_int_equal(p.calls, 4);
	assert_int_equal(p.last.key, 8);
	p.calls = 2;
	/* and no longer */
	assert_int_equal(out(&k, REGISTER, 0, 8, 8, 0), SCSI_GOOD);
	assert_int_equal(p.calls, 3);
	assert_false(p.last.registered);
	assert_int_equal(out(&k, CLEAR, 0, 8, 0, 0), SCSI_GOOD);
	assert_int_equal(p.calls, 3);
}

static void what_cannot_be_kept_has_not_happened(void **state)
{
	struct keeper p;
	struct task k;

	(void)state;
	keeping(&k, &p);
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 1), SCSI_GOOD);
	p.result = -EIO;
	assert_int_equal(out(&k, RESERVE, 1, 7, 0, 0), SCSI_TARGET_FAILURE);
	assert_int_equal(in(&k, 1), 8);
	assert_int_equal(out(&k, REGISTER, 0, 7, 0, 0), SCSI_TARGET_FAILURE);
	assert_int_equal(in(&k, 0), 16);
	assert_int_equal(scsi_get32(k.t.reply), 1);
	p.result = 0;
	assert_int_equal(out(&k, RESERVE, 1, 7, 0, 0), SCSI_GOOD);
	assert_int_equal(p.last.type, 1);
}

static void aptpl_without_a_place_to_keep_is_refused(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_OUT);
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 1), SCSI_BAD_PARAM);
	assert_int_equal(out(&k, IGNORE, 0, 0, 7, 1), SCSI_BAD_PARAM);
	assert_int_equal(in(&k, 0), 8);
	/* of orders other than to register the flag is not looked at */
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_GOOD);
	assert_int_equal(out(&k, RESERVE, 1, 7, 0, 1), SCSI_GOOD);
	/* SPEC_I_PT; ALL_TG_PT changes nothing */
	assert_int_equal(out(&k, REGISTER, 0, 7, 8, 8), SCSI_BAD_PARAM);
	assert_int_equal(out(&k, REGISTER, 0, 7, 8, 4), SCSI_GOOD);
}

static void what_was_kept_is_in_force_after_a_restart(void **state)
{
	struct keeper p;
	struct task k;

	(void)state;
	keeping(&k, &p);
	storvsp_reserve_init(&k.switches.reserve,
			     &(struct storvsp_disk_opts){
				     .reservations = {true, 9, 6},
				     .reservations_keep = keep,
				     .reservations_arg = &p});
	assert_int_equal(in(&k, 1), 24);
	assert_int_equal(scsi_get32(k.t.reply), 0); /* the count starts anew */
	assert_int_equal(k.t.reply[21], 6);
	assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_RESERVED);
	assert_int_equal(out(&k, CLEAR, 0, 9, 0, 0), SCSI_GOOD);
	assert_int_equal(p.calls, 1);
	assert_false(p.last.registered);
}

/* -------------------------------------------------------------- the old -- */

static void old_and_persistent_ones_keep_each_other_out(void **state)
{
	static const uint8_t forms[][10] = {{0x16}, {0x56}};
	struct task k;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t release[10] = {(uint8_t)(forms[i][0] + 1)};

		task_init(&k, 0, STORVSP_DATA_NONE);
		assert_int_equal(task_run(&k, 0, forms[i], 10), SCSI_GOOD);
		assert_int_equal(task_run(&k, 0, forms[i], 10), SCSI_GOOD);
		assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_RESERVED);
		k.t.data_in = STORVSP_DATA_IN;
		for (uint8_t action = 0; action < 4; action++)
			assert_int_equal(RUN(&k, 0x5E, action, 0, 0, 0, 0, 0, 0,
					     8, 0),
					 SCSI_RESERVED);
		k.t.data_in = STORVSP_DATA_NONE;
		assert_int_equal(task_run(&k, 0, release, 10), SCSI_GOOD);
		assert_int_equal(out(&k, REGISTER, 0, 0, 7, 0), SCSI_GOOD);
		k.t.data_in = STORVSP_DATA_NONE;
		assert_int_equal(task_run(&k, 0, forms[i], 10), SCSI_RESERVED);
		assert_int_equal(task_run(&k, 0, release, 10), SCSI_RESERVED);
	}
}

static void run_plain(struct world *w, uint8_t op, uint8_t want)
{
	struct vsc_cmd cmd = {.cdb = {op}, .data_in = STORVSP_DATA_NONE};
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	assert_int_equal(a.p.u.request.scsi_status, want);
}

static uint8_t register_key(struct world *w, uint64_t key)
{
	struct vsc_cmd cmd = {
		.cdb = {0x5F, 0, [8] = 24},
		.data_in = STORVSP_DATA_OUT,
		.bytes = 24,
		.buffer = &w->b,
	};
	uint8_t list[24] = {0};
	struct vsc_answer a;

	scsi_put64(list + 8, key);
	vsc_buffer_put(&w->b, list, 24);
	vsc_run(w->c, &cmd, &a);
	return a.p.u.request.scsi_status;
}

static void a_conflict_is_status_18_and_resets_end_old_reservations(void **st)
{
	struct storvsp_packet_wire reset = {
		.op = le32_put(STORVSP_OP_RESET_BUS), .flags = le32_put(1)};
	struct vsc_answer a;
	struct world w;

	(void)st;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	run_plain(&w, 0x16, 0);
	assert_int_equal(register_key(&w, 7), 0x18);
	vsc_ask(w.c, &reset, sizeof(reset), &a);
	assert_int_equal(register_key(&w, 7), 0);
	vsc_ask(w.c, &reset, sizeof(reset), &a);
	run_plain(&w, 0x16, 0x18); /* persistent ones stay */
	/* a key of 0 is not the one that is registered */
	assert_int_equal(register_key(&w, 8), 0x18);
	/* and of a guest that starts anew */
	vsc_close(w.c);
	w.c = vsc_open(w.v, 0);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	run_plain(&w, 0x16, 0x18);
	stop(&w);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_order_in_every_state_does_what_the_model_says),
		T(full_status_and_capabilities_are_byte_exact),
		T(every_allocation_length_cuts_without_error),
		T(what_is_to_outlive_the_power_is_kept_first),
		T(what_cannot_be_kept_has_not_happened),
		T(aptpl_without_a_place_to_keep_is_refused),
		T(what_was_kept_is_in_force_after_a_restart),
		T(old_and_persistent_ones_keep_each_other_out),
		T(a_conflict_is_status_18_and_resets_end_old_reservations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
