/* SPDX-License-Identifier: BSD-2-Clause */
/* The CMOS clock, power and reset, and the ports they are behind. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/board.h"
#include "hv/chip/cmos.h"
#include "hv/chip/pm.h"

/* ---------------------------------------------------------------- cmos -- */

static uint8_t cmos_at(struct hv_cmos *c, uint8_t reg, int64_t now)
{
	hv_cmos_select(c, reg);
	return hv_cmos_read(c, now);
}

static void the_clock_shows_utc_in_bcd(void **state)
{
	(void)state;
	struct hv_cmos c;
	const int64_t t = 951782399; /* Mon 2000-02-28 23:59:59 UTC */

	hv_cmos_init(&c);
	assert_int_equal(cmos_at(&c, 0x0a, t), 0x26); /* no update */
	assert_int_equal(cmos_at(&c, 0x00, t), 0x59);
	assert_int_equal(cmos_at(&c, 0x02, t), 0x59);
	assert_int_equal(cmos_at(&c, 0x04, t), 0x23);
	assert_int_equal(cmos_at(&c, 0x06, t), 0x02);
	assert_int_equal(cmos_at(&c, 0x07, t), 0x28);
	assert_int_equal(cmos_at(&c, 0x08, t), 0x02);
	assert_int_equal(cmos_at(&c, 0x09, t), 0x00);
	assert_int_equal(cmos_at(&c, 0x32, t), 0x20);
	assert_int_equal(cmos_at(&c, 0x0b, t), 0x02); /* 24 hours, BCD */
	assert_int_equal(cmos_at(&c, 0x0d, t), 0x80); /* valid */
	/* 2000 was a leap year: the next day is the 29th. */
	assert_int_equal(cmos_at(&c, 0x0a, t + 1), 0x26);
	assert_int_equal(cmos_at(&c, 0x07, t + 1), 0x29);
}

static void a_second_that_passes_does_not_tear_the_time(void **state)
{
	(void)state;
	struct hv_cmos c;
	const int64_t t = 1735689599; /* 2024-12-31 23:59:59 */

	hv_cmos_init(&c);
	(void)cmos_at(&c, 0x0a, t);
	assert_int_equal(cmos_at(&c, 0x00, t), 0x59);
	assert_int_equal(cmos_at(&c, 0x09, t + 1), 0x24);
	(void)cmos_at(&c, 0x0a, t + 1);
	assert_int_equal(cmos_at(&c, 0x00, t + 1), 0x00);
	assert_int_equal(cmos_at(&c, 0x09, t + 1), 0x25);
}

static void a_guest_that_never_checks_for_updates_gets_the_time(void **state)
{
	(void)state;
	struct hv_cmos c;

	hv_cmos_init(&c);
	assert_int_equal(cmos_at(&c, 0x00, 5), 0x05);
	assert_int_equal(cmos_at(&c, 0x00, 7), 0x07);
	assert_int_equal(cmos_at(&c, 0x00, 3), 0x03); /* stepped back */
}

static void the_nmi_bit_of_the_index_is_ignored(void **state)
{
	(void)state;
	struct hv_cmos c;

	hv_cmos_init(&c);
	assert_int_equal(cmos_at(&c, 0x8d, 0), 0x80);
	assert_int_equal(cmos_at(&c, 0x10, 0), 0); /* no floppy */
}

/* --------------------------------------------------------------- power -- */

static void sleep_type_five_with_enable_switches_off(void **state)
{
	(void)state;
	struct hv_pm pm;

	hv_pm_init(&pm);
	assert_int_equal(hv_pm_control_read(&pm, 0) & 1, 1); /* ACPI mode */
	assert_int_equal(hv_pm_control_write(&pm, 1, 5 << 2), HV_PM_NONE);
	assert_int_equal(hv_pm_control_write(&pm, 1, 4 << 2 | 0x20),
			 HV_PM_NONE);
	assert_int_equal(hv_pm_control_write(&pm, 0, 0x20), HV_PM_NONE);
	assert_int_equal(hv_pm_control_read(&pm, 0) & 1, 1);
	assert_int_equal(hv_pm_control_write(&pm, 1, 5 << 2 | 0x20), HV_PM_OFF);
	assert_int_equal(hv_pm_control_read(&pm, 1), 5 << 2); /* SLP_EN: 0 */
}

static void reset_is_an_edge_of_bit_two(void **state)
{
	(void)state;
	struct hv_pm pm;

	hv_pm_init(&pm);
	assert_int_equal(hv_pm_reset_write(&pm, 0x02), HV_PM_NONE);
	assert_int_equal(hv_pm_reset_read(&pm), 0x02);
	assert_int_equal(hv_pm_reset_write(&pm, 0x06), HV_PM_RESET);
	assert_int_equal(hv_pm_reset_write(&pm, 0x06), HV_PM_NONE);
	assert_int_equal(hv_pm_kbd_write(0xfe), HV_PM_RESET);
	assert_int_equal(hv_pm_kbd_write(0xff), HV_PM_NONE);
	assert_int_equal(hv_pm_kbd_write(0xae), HV_PM_NONE);
}

static void event_status_clears_by_ones_and_enable_keeps(void **state)
{
	(void)state;
	struct hv_pm pm;

	hv_pm_init(&pm);
	hv_pm_event_write(&pm, 2, 0x20);
	hv_pm_event_write(&pm, 3, 0x01);
	assert_int_equal(hv_pm_event_read(&pm, 2), 0x20);
	assert_int_equal(hv_pm_event_read(&pm, 3), 0x01);
	hv_pm_event_write(&pm, 0, 0xff);
	assert_int_equal(hv_pm_event_read(&pm, 0), 0);
}

/* --------------------------------------------------------------- board -- */

struct world {
	struct hv_board *b;
	enum hv_pm_request power;
	unsigned irqs, wakes;
};

static void on_irq(void *arg, unsigned line, bool level)
{
	struct world *w = arg;

	assert_int_equal(line, 4);
	w->irqs += level;
}

static void on_power(void *arg, enum hv_pm_request what)
{
	struct world *w = arg;

	w->power = what;
}

static void on_wake(void *arg)
{
	struct world *w = arg;

	w->wakes++;
}

static int64_t now(void *arg)
{
	(void)arg;
	return 59;
}

static const struct hv_board_ops board_ops = {on_irq, on_power, on_wake, now};

static int set_up(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	assert_int_equal(hv_board_create(&board_ops, &w, &w.b), 0);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	hv_board_destroy(w->b);
	return 0;
}

static uint32_t in(struct world *w, uint16_t port, unsigned size)
{
	uint8_t d[4] = {0};

	hv_board_in(w->b, port, size, 1, d);
	return (uint32_t)d[0] | (uint32_t)d[1] << 8 | (uint32_t)d[2] << 16 |
	       (uint32_t)d[3] << 24;
}

static void out(struct world *w, uint16_t port, unsigned size, uint32_t val)
{
	const uint8_t d[4] = {(uint8_t)val, (uint8_t)(val >> 8),
			      (uint8_t)(val >> 16), (uint8_t)(val >> 24)};

	hv_board_out(w->b, port, size, 1, d);
}

static void ports_without_a_chip_read_ones(void **state)
{
	struct world *w = *state;

	assert_int_equal(in(w, 0x2f8, 1), 0xff);
	assert_int_equal(in(w, 0x60, 1), 0xff);
	assert_int_equal(in(w, 0x64, 1), 0xff);
	assert_int_equal(in(w, 0xcfc, 4), 0xffffffff);
	assert_int_equal(in(w, 0xffff, 1), 0xff);
	assert_int_equal(in(w, 0xffff, 4), 0xffffffff);
	out(w, 0xcf8, 4, 0x80000000);
	assert_int_equal(in(w, 0xcf8, 4), 0xffffffff);
}

static void every_port_and_width_is_safe(void **state)
{
	struct world *w = *state;

	for (uint32_t port = 0; port < 0x10000; port++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			(void)in(w, (uint16_t)port, size);
			if (port != 0x3f8) /* would wait for its reader */
				out(w, (uint16_t)port, size, 0);
		}
	}
	assert_int_equal(w->power, HV_PM_NONE);
}

static void a_dword_to_pci_is_no_reset(void **state)
{
	struct world *w = *state;

	out(w, 0xcf8, 4, 0xffffffff);
	out(w, 0xcf9, 4, 0xffffffff);
	assert_int_equal(w->power, HV_PM_NONE);
	out(w, 0xcf9, 1, 0x06);
	assert_int_equal(w->power, HV_PM_RESET);
}

static void a_word_to_pm1_control_switches_off(void **state)
{
	struct world *w = *state;

	assert_int_equal(in(w, 0x604, 2), 0x0001);
	out(w, 0x604, 2, 5u << 10 | 1u << 13);
	assert_int_equal(w->power, HV_PM_OFF);
	/* No access reaches over a range's end. */
	assert_int_equal(in(w, 0x605, 2), 0xffff);
	assert_int_equal(in(w, 0x602, 4), 0xffffffff);
}

static void the_clock_is_behind_its_ports(void **state)
{
	struct world *w = *state;

	out(w, 0x70, 1, 0x00);
	assert_int_equal(in(w, 0x71, 1), 0x59);
	assert_int_equal(in(w, 0x70, 1), 0xff);
}

static void a_string_write_comes_out_in_one_piece(void **state)
{
	struct world *w = *state;
	uint8_t buf[32];

	hv_board_out(w->b, 0x3f8, 1, 5, (const uint8_t *)"hello");
	assert_int_equal(w->wakes, 0); /* that is for input */
	assert_true(hv_board_has_output(w->b));
	assert_int_equal(hv_board_output(w->b, buf, 2), 2);
	assert_int_equal(hv_board_output(w->b, buf + 2, 30), 3);
	assert_memory_equal(buf, "hello", 5);
	assert_false(hv_board_has_output(w->b));
}

static void input_is_taken_as_far_as_there_is_room(void **state)
{
	struct world *w = *state;
	const uint8_t text[20] = "abcdefghijklmnopqrst";

	assert_int_equal(hv_board_input(w->b, text, 20), 0);
	assert_int_equal(w->wakes, 0);
	out(w, 0x3fa, 1, 0x01);
	out(w, 0x3fc, 1, 0x0b);
	out(w, 0x3f9, 1, 0x01);
	assert_int_equal(w->wakes, 1); /* now the guest listens */
	assert_int_equal(hv_board_input(w->b, text, 20), 16);
	assert_true(w->irqs > 0);
	assert_int_equal(in(w, 0x3f8, 1), 'a');
	assert_int_equal(w->wakes, 2); /* room again */
	assert_int_equal(hv_board_input(w->b, text + 16, 4), 1);
	for (unsigned i = 1; i <= 16; i++)
		assert_int_equal(in(w, 0x3f8, 1), text[i]);
}

/* Two have input for the guest: its own console, and who is attached. */
static void input_that_waits_is_remembered_whoever_comes_next(void **state)
{
	struct world *w = *state;

	assert_int_equal(hv_board_input(w->b, (const uint8_t *)"a", 1), 0);
	assert_int_equal(hv_board_input(w->b, (const uint8_t *)"", 0), 0);
	out(w, 0x3fc, 1, 0x0b);
	out(w, 0x3f9, 1, 0x01);
	assert_int_equal(w->wakes, 1); /* for the first one */
}

struct writer {
	struct hv_board *b;
	size_t total;
};

static void *write_much(void *arg)
{
	struct writer *w = arg;
	uint8_t page[4096];

	for (size_t i = 0; i < w->total; i += sizeof(page)) {
		for (size_t j = 0; j < sizeof(page); j++)
			page[j] = (uint8_t)((i + j) % 251);
		hv_board_out(w->b, 0x3f8, 1, sizeof(page), page);
	}
	return NULL;
}

static void output_waits_for_its_reader_and_nothing_is_lost(void **state)
{
	struct world *w = *state;
	struct writer writer = {w->b, 64 * 4096};
	uint8_t buf[1000];
	size_t got = 0;
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, write_much, &writer), 0);
	while (got < writer.total) {
		size_t n = hv_board_output(w->b, buf, sizeof(buf));

		for (size_t i = 0; i < n; i++)
			assert_int_equal(buf[i], (got + i) % 251);
		got += n;
	}
	pthread_join(t, NULL);
	assert_false(hv_board_has_output(w->b));
}

static void *write_pages(void *arg)
{
	struct writer *w = arg;
	static const uint8_t page[4096];

	for (size_t i = 0; i < w->total; i += sizeof(page))
		hv_board_out(w->b, 0x3f8, 1, sizeof(page), page);
	return NULL;
}

/* Four pages fit. */
static void a_writer_in_a_hurry_loses_what_nobody_takes(void **state)
{
	struct world *w = *state;
	struct writer writer = {w->b, 6 * 4096};
	struct hv_board_output o;
	uint8_t buf[4096];
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, write_pages, &writer), 0);
	hv_board_hurry(w->b, 1);
	pthread_join(t, NULL); /* would hang */
	hv_board_output_state(w->b, &o);
	assert_int_equal(o.left, 4 * 4096);
	assert_int_equal(o.lost, 2 * 4096);
	assert_true(o.held_ms > 0);
	/* what is taken makes it hope again */
	assert_int_equal(hv_board_output(w->b, buf, sizeof(buf)), 4096);
	hv_board_output_state(w->b, &o);
	assert_int_equal(o.held_ms, 0);
	writer.total = 4096;
	(void)write_pages(&writer);
	hv_board_output_state(w->b, &o);
	assert_int_equal(o.left, 4 * 4096);
	assert_int_equal(o.lost, 2 * 4096);
	/* the next machine is in no hurry, and knows nothing of the last */
	hv_board_reset(w->b);
	hv_board_output_state(w->b, &o);
	assert_int_equal(o.left, 4 * 4096);
	assert_int_equal(o.held_ms, 0);
}

struct looker {
	struct hv_board *b;
	sem_t looked;
	unsigned times;
};

static void look(void *arg)
{
	struct looker *l = arg;

	assert_true(hv_board_has_output(l->b)); /* takes the lock */
	l->times++;
	sem_post(&l->looked);
}

/* Before it sleeps, and whenever it is stirred; without the lock. */
static void a_writer_that_waits_looks_around_when_it_is_stirred(void **state)
{
	struct world *w = *state;
	struct writer writer = {w->b, 5 * 4096};
	struct looker l = {.b = w->b};
	pthread_t t;

	sem_init(&l.looked, 0, 0);
	hv_board_on_wait(w->b, look, &l);
	assert_int_equal(pthread_create(&t, NULL, write_pages, &writer), 0);
	sem_wait(&l.looked);
	for (unsigned i = 0; i < 3; i++) {
		hv_board_stir(w->b);
		sem_wait(&l.looked);
	}
	hv_board_stop(w->b);
	pthread_join(t, NULL);
	assert_true(l.times >= 4);
}

static void *take_all(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[100];
	size_t n;

	while ((n = hv_board_output_wait(w->b, buf, sizeof(buf))) > 0)
		w->total += n;
	return NULL;
}

static void a_reader_waits_until_output_has_ended_and_gets_it_all(void **state)
{
	struct world *w = *state;
	struct writer reader = {w->b, 0}, writer = {w->b, 8 * 4096};
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, take_all, &reader), 0);
	(void)write_pages(&writer);
	hv_board_output_end(w->b);
	pthread_join(t, NULL);
	assert_int_equal(reader.total, 8 * 4096);
}

static void stopping_lets_a_waiting_writer_go(void **state)
{
	struct world *w = *state;
	struct writer writer = {w->b, 64 * 4096};
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, write_much, &writer), 0);
	hv_board_stop(w->b);
	pthread_join(t, NULL); /* would hang */
}

/* ------------------------------------------------------- chips added --- */

struct seen {
	unsigned calls, off, size;
	uint32_t count;
	uint8_t bytes[8];
};

static void added_in(void *arg, unsigned off, unsigned size, uint32_t count,
		     uint8_t *data)
{
	*(struct seen *)arg = (struct seen){1, off, size, count, {0}};
	memset(data, 0x5a, (size_t)size * count);
}

static void added_out(void *arg, unsigned off, unsigned size, uint32_t count,
		      const uint8_t *data)
{
	*(struct seen *)arg = (struct seen){1, off, size, count, {0}};
	memcpy(((struct seen *)arg)->bytes, data, (size_t)size * count);
}

static void an_added_chip_gets_whole_accesses_of_its_widths(void **state)
{
	static const struct hv_port_range range = {
		.first = 0xcf8,
		.count = 8,
		.widths = 1 | 4,
		.in = added_in,
		.out = added_out,
	};
	static const struct hv_port_range deaf = {.first = 0x100, .count = 1,
						  .widths = 1};
	struct seen seen = {0};
	uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct world *w = *state;

	assert_int_equal(hv_board_add(w->b, &range, &seen), 0);
	assert_int_equal(hv_board_add(w->b, &deaf, &seen), 0);
	hv_board_out(w->b, 0xcf8, 4, 2, data);
	assert_int_equal(seen.off, 0);
	assert_int_equal(seen.count, 2);
	assert_memory_equal(seen.bytes, data, 8);
	seen = (struct seen){0};
	hv_board_in(w->b, 0xcfe, 1, 1, data);
	assert_int_equal(seen.off, 6);
	assert_int_equal(data[0], 0x5a);
	/* of no width of its, across its end, or the board's own port */
	seen = (struct seen){0};
	hv_board_in(w->b, 0xcf8, 2, 1, data);
	assert_int_equal(data[0] & data[1], 0xff);
	hv_board_in(w->b, 0xcfd, 4, 1, data);
	assert_int_equal(data[0] & data[3], 0xff);
	hv_board_out(w->b, HV_PORT_RESET, 1, 1, (uint8_t[]){0});
	hv_board_in(w->b, 0x100, 1, 1, data);
	assert_int_equal(data[0], 0xff);
	hv_board_out(w->b, 0x100, 1, 1, data);
	assert_int_equal(seen.calls, 0);
	for (unsigned i = 2; i < HV_BOARD_RANGES_MAX; i++)
		assert_int_equal(hv_board_add(w->b, &range, &seen), 0);
	assert_int_equal(hv_board_add(w->b, &range, &seen), -ENOSPC);
}

int main(void)
{
#define BOARD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_shows_utc_in_bcd),
		cmocka_unit_test(a_second_that_passes_does_not_tear_the_time),
		cmocka_unit_test(
			a_guest_that_never_checks_for_updates_gets_the_time),
		cmocka_unit_test(the_nmi_bit_of_the_index_is_ignored),
		cmocka_unit_test(sleep_type_five_with_enable_switches_off),
		cmocka_unit_test(reset_is_an_edge_of_bit_two),
		cmocka_unit_test(event_status_clears_by_ones_and_enable_keeps),
		BOARD(ports_without_a_chip_read_ones),
		BOARD(every_port_and_width_is_safe),
		BOARD(a_dword_to_pci_is_no_reset),
		BOARD(a_word_to_pm1_control_switches_off),
		BOARD(the_clock_is_behind_its_ports),
		BOARD(a_string_write_comes_out_in_one_piece),
		BOARD(input_is_taken_as_far_as_there_is_room),
		BOARD(input_that_waits_is_remembered_whoever_comes_next),
		BOARD(output_waits_for_its_reader_and_nothing_is_lost),
		BOARD(stopping_lets_a_waiting_writer_go),
		BOARD(a_writer_in_a_hurry_loses_what_nobody_takes),
		BOARD(a_writer_that_waits_looks_around_when_it_is_stirred),
		BOARD(a_reader_waits_until_output_has_ended_and_gets_it_all),
		BOARD(an_added_chip_gets_whole_accesses_of_its_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
