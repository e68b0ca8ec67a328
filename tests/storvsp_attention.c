/* SPDX-License-Identifier: BSD-2-Clause */
/* Unit attentions: each once, in their order, by the right commands. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <cmocka.h>

#include "storvsp/scsi/attention.h"
#include "tests/lib/rounds.h"
#include "tests/lib/scsitask.h"

static bool is_attention(enum scsi_verdict v)
{
	return v >= SCSI_UA_FIRST && v <= SCSI_UA_LAST;
}

static void nothing_is_pending_at_first(void **state)
{
	struct storvsp_switches s = {0};

	(void)state;
	assert_int_equal(scsi_attention_take(&s), SCSI_GOOD);
}

static void each_kind_is_told_once_however_often_raised(void **state)
{
	(void)state;
	for (int k = SCSI_UA_FIRST; k <= SCSI_UA_LAST; k++) {
		struct storvsp_switches s = {0};

		for (unsigned i = 0; i < 3; i++)
			scsi_attention_raise(&s, (enum scsi_verdict)k);
		assert_int_equal(scsi_attention_take(&s), k);
		assert_int_equal(scsi_attention_take(&s), SCSI_GOOD);
	}
}

static void several_are_told_by_precedence_a_reset_first(void **state)
{
	struct storvsp_switches s = {0};

	(void)state;
	for (int k = SCSI_UA_LAST; k >= SCSI_UA_FIRST; k--)
		scsi_attention_raise(&s, (enum scsi_verdict)k);
	assert_int_equal(SCSI_UA_FIRST, SCSI_UA_RESET);
	for (int k = SCSI_UA_FIRST; k <= SCSI_UA_LAST; k++)
		assert_int_equal(scsi_attention_take(&s), k);
	assert_int_equal(scsi_attention_take(&s), SCSI_GOOD);
}

static void cleared_ones_are_not_told(void **state)
{
	struct storvsp_switches s = {0};

	(void)state;
	scsi_attention_raise(&s, SCSI_UA_CAPACITY);
	scsi_attention_raise(&s, SCSI_UA_RESET);
	scsi_attention_clear(&s);
	assert_int_equal(scsi_attention_take(&s), SCSI_GOOD);
}

/* Any opcode, known or not, but the four that let it wait. */
static void every_command_tells_but_four_that_let_it_wait(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		uint8_t cdb[16] = {(uint8_t)op};
		bool waits =
			op == 0x03 || op == 0x12 || op == 0x1A || op == 0xA0;
		struct task k;

		task_init(&k, 0, STORVSP_DATA_NONE);
		scsi_attention_raise(&k.switches, SCSI_UA_MODE);
		assert_int_equal(task_run(&k, 0, cdb, 16) == SCSI_UA_MODE,
				 !waits);
		/* REQUEST SENSE hands it over as data */
		assert_int_equal(task_run(&k, 0, (uint8_t[16]){0}, 16),
				 waits && op != 0x03 ? SCSI_UA_MODE
						     : SCSI_GOOD);
	}
}

static void command_that_tells_does_nothing_else(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 512, STORVSP_DATA_OUT);
	scsi_attention_raise(&k.switches, SCSI_UA_CAPACITY);
	assert_int_equal(RUN(&k, 0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0),
			 SCSI_UA_CAPACITY);
	assert_int_equal(k.t.io.bytes, 0);
	assert_int_equal(k.t.reply_bytes, 0);
	assert_int_equal(RUN(&k, 0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
}

static void absent_lun_has_none(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 36, STORVSP_DATA_IN);
	scsi_attention_raise(&k.switches, SCSI_UA_CAPACITY);
	assert_int_equal(RUN_ABSENT(&k, 0x00, 0, 0, 0, 0, 0), SCSI_NO_LUN);
	assert_int_equal(RUN_ABSENT(&k, 0x12, 0, 0, 0, 36, 0), SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_UA_CAPACITY);
}

static void request_sense_hands_them_over_one_by_one(void **state)
{
	static const uint8_t want[3][3] = {
		{6, 0x29, 0x00}, {6, 0x2A, 0x09}, {0, 0, 0}};
	struct task k;

	(void)state;
	task_init(&k, 18, STORVSP_DATA_IN);
	scsi_attention_raise(&k.switches, SCSI_UA_CAPACITY);
	scsi_attention_raise(&k.switches, SCSI_UA_RESET);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(RUN(&k, 0x03, 0, 0, 0, 18, 0), SCSI_GOOD);
		assert_int_equal(k.t.reply_bytes, 18);
		assert_int_equal(k.t.reply[2], want[i][0]);
		assert_int_equal(k.t.reply[12], want[i][1]);
		assert_int_equal(k.t.reply[13], want[i][2]);
	}
}

/* Refused for its own sake it tells nothing, and nothing is lost. */
static void refused_request_sense_keeps_it(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 18, STORVSP_DATA_IN);
	scsi_attention_raise(&k.switches, SCSI_UA_RESET);
	assert_int_equal(RUN(&k, 0x03, 0, 0, 0, 18, 0x04), SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0x00, 0, 0, 0, 0, 0), SCSI_UA_RESET);
}

static void told_capacity_is_the_new_one(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 8, STORVSP_DATA_IN);
	atomic_store(&k.switches.sectors, 0x2000);
	scsi_attention_raise(&k.switches, SCSI_UA_CAPACITY);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0),
			 SCSI_UA_CAPACITY);
	assert_int_equal(RUN(&k, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_get32(k.t.reply), 0x1FFF);
}

/* ------------------------------------------------------------ threads ---- */

#define ROUNDS 20000u

struct race {
	struct storvsp_switches s;
	atomic_bool done;
	_Atomic uint32_t told;
};

static void *taker(void *arg)
{
	struct race *r = arg;
	unsigned spins = 0;
	bool last = false;

	while (!last) {
		uint64_t before = atomic_load(&r->s.sectors);

		last = atomic_load(&r->done);
		while (is_attention(scsi_attention_take(&r->s)))
			atomic_fetch_add(&r->told, 1);
		rounds_spin(&spins);
		if (atomic_load(&r->s.sectors) < before)
			return NULL; /* told stays short */
	}
	return NULL;
}

/* Two channels take while a third thread raises and waits until it is told:
 * none is told twice, none is lost.
 */
static void raised_while_two_threads_take_each_is_told_once(void **state)
{
	uint64_t end = rounds_end_ns();
	struct race r = {0};
	uint32_t raised = 0;
	pthread_t t[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, taker, &r), 0);
	do {
		atomic_store(&r.s.sectors, ++raised);
		scsi_attention_raise(&r.s, SCSI_UA_CAPACITY);
		while (atomic_load(&r.told) < raised)
			sched_yield();
	} while (raised < ROUNDS && !rounds_over(end));
	atomic_store(&r.done, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	print_message("%u raised\n", raised);
	assert_int_equal(atomic_load(&r.told), raised);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_pending_at_first),
		cmocka_unit_test(each_kind_is_told_once_however_often_raised),
		cmocka_unit_test(several_are_told_by_precedence_a_reset_first),
		cmocka_unit_test(cleared_ones_are_not_told),
		cmocka_unit_test(every_command_tells_but_four_that_let_it_wait),
		cmocka_unit_test(command_that_tells_does_nothing_else),
		cmocka_unit_test(absent_lun_has_none),
		cmocka_unit_test(request_sense_hands_them_over_one_by_one),
		cmocka_unit_test(refused_request_sense_keeps_it),
		cmocka_unit_test(told_capacity_is_the_new_one),
		cmocka_unit_test(
			raised_while_two_threads_take_each_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
