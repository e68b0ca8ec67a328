/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A as drivers poke it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "hv/chip/uart.h"

enum { DATA, IER, FCR, LCR, MCR, LSR, MSR, SCR };
#define IIR FCR
enum { MCR_ON = 0x0b }; /* DTR, RTS, OUT2: as drivers set it */

struct world {
	struct hv_uart u;
	uint8_t sent[64];
	unsigned sent_count;
	unsigned rises;
	bool line;
};

static void tx(void *arg, uint8_t byte)
{
	struct world *w = arg;

	w->sent[w->sent_count++ % sizeof(w->sent)] = byte;
}

static void irq(void *arg, bool level)
{
	struct world *w = arg;

	assert_true(level != w->line); /* only changes are told */
	w->rises += level;
	w->line = level;
}

static const struct hv_uart_ops ops = {.tx = tx, .irq = irq};

static void start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	hv_uart_init(&w->u, &ops, w);
}

/* FIFO on, trigger 8, receive interrupt on. */
static void listen(struct world *w)
{
	start(w);
	hv_uart_write(&w->u, FCR, 0x87);
	hv_uart_write(&w->u, MCR, MCR_ON);
	hv_uart_write(&w->u, IER, 0x05);
}

static void after_reset_nothing_is_pending(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	assert_int_equal(hv_uart_read(&w.u, LSR), 0x60);
	assert_int_equal(hv_uart_read(&w.u, IIR), 0x01);
	assert_int_equal(hv_uart_read(&w.u, MSR), 0xb0);
	assert_int_equal(hv_uart_read(&w.u, IER), 0);
	assert_false(w.line);
}

static void a_written_byte_is_sent_at_once(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, DATA, 'x');
	assert_int_equal(w.sent_count, 1);
	assert_int_equal(w.sent[0], 'x');
	assert_int_equal(hv_uart_read(&w.u, LSR), 0x60);
}

static void the_divisor_latch_hides_data_and_ier(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, LCR, 0x83);
	hv_uart_write(&w.u, DATA, 0x0c);
	hv_uart_write(&w.u, IER, 0x01);
	assert_int_equal(hv_uart_read(&w.u, DATA), 0x0c);
	assert_int_equal(hv_uart_read(&w.u, IER), 0x01);
	assert_int_equal(w.sent_count, 0);
	hv_uart_write(&w.u, LCR, 0x03);
	assert_int_equal(hv_uart_read(&w.u, IER), 0);
	assert_int_equal(hv_uart_read(&w.u, LCR), 0x03);
}

/* What Linux looks at to tell a 16550A from its richer relatives. */
static void it_is_a_16550a_and_no_more(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, IER, 0xff);
	assert_int_equal(hv_uart_read(&w.u, IER), 0x0f);
	hv_uart_write(&w.u, IER, 0);
	hv_uart_write(&w.u, FCR, 0x01);
	assert_int_equal(hv_uart_read(&w.u, IIR) >> 6, 3);
	hv_uart_write(&w.u, LCR, 0xbf); /* no EFR there */
	assert_int_not_equal(hv_uart_read(&w.u, IIR), 0);
	hv_uart_write(&w.u, LCR, 0x03);
	hv_uart_write(&w.u, FCR, 0x21); /* no 64-byte FIFO */
	assert_int_equal(hv_uart_read(&w.u, IIR) & 0x20, 0);
	hv_uart_write(&w.u, FCR, 0x00);
	assert_int_equal(hv_uart_read(&w.u, IIR) >> 6, 0);
	hv_uart_write(&w.u, SCR, 0x5a);
	assert_int_equal(hv_uart_read(&w.u, SCR), 0x5a);
}

static void loopback_returns_bytes_and_outputs(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, MCR, 0x1a); /* loop, OUT2, RTS */
	assert_int_equal(hv_uart_read(&w.u, MSR) & 0xf0, 0x90);
	hv_uart_write(&w.u, MCR, 0x15); /* loop, OUT1, DTR */
	assert_int_equal(hv_uart_read(&w.u, MSR) & 0xf0, 0x60);
	hv_uart_write(&w.u, DATA, 0xa5);
	assert_int_equal(w.sent_count, 0);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 1);
	assert_int_equal(hv_uart_read(&w.u, DATA), 0xa5);
	hv_uart_rx(&w.u, 'x'); /* the outside is not heard */
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 0);
	assert_false(w.line);
}

static void enabling_the_transmit_interrupt_raises_it(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, MCR, MCR_ON);
	hv_uart_write(&w.u, IER, 0x02);
	assert_true(w.line);
	assert_int_equal(hv_uart_read(&w.u, IIR), 0x02);
	assert_false(w.line); /* reading IIR took it back */
	assert_int_equal(hv_uart_read(&w.u, IIR), 0x01);
	hv_uart_write(&w.u, IER, 0x02); /* it was on: no new one */
	assert_false(w.line);
	hv_uart_write(&w.u, IER, 0);
	hv_uart_write(&w.u, IER, 0x02);
	assert_true(w.line);
}

/* The line is edge-triggered: without a fall in between, the interrupt after
 * the second byte would be lost.
 */
static void each_sent_byte_gives_an_edge(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, MCR, MCR_ON);
	hv_uart_write(&w.u, IER, 0x02);
	assert_int_equal(w.rises, 1);
	hv_uart_write(&w.u, DATA, 'a');
	assert_int_equal(w.rises, 2);
	hv_uart_write(&w.u, DATA, 'b');
	assert_int_equal(w.rises, 3);
	assert_true(w.line);
}

static void out2_gates_the_interrupt_line(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, IER, 0x02);
	assert_false(w.line);
	assert_int_equal(hv_uart_read(&w.u, IIR), 0x02); /* pending inside */
	hv_uart_write(&w.u, DATA, 'a');
	hv_uart_write(&w.u, MCR, MCR_ON);
	assert_true(w.line);
	hv_uart_write(&w.u, MCR, 0x03);
	assert_false(w.line);
}

static void received_bytes_come_in_order_and_interrupt(void **state)
{
	(void)state;
	struct world w;

	listen(&w);
	hv_uart_rx(&w.u, 'a');
	assert_true(w.line);
	assert_int_equal(hv_uart_read(&w.u, IIR), 0xcc); /* below trigger */
	for (unsigned i = 1; i < 8; i++)
		hv_uart_rx(&w.u, (uint8_t)('a' + i));
	assert_int_equal(hv_uart_read(&w.u, IIR), 0xc4); /* at it */
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 1);
		assert_int_equal(hv_uart_read(&w.u, DATA), 'a' + i);
	}
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 0);
	assert_false(w.line);
	assert_int_equal(hv_uart_read(&w.u, DATA), 0); /* empty */
}

static void there_is_room_for_sixteen_with_and_one_without_fifo(void **state)
{
	(void)state;
	struct world w;

	listen(&w);
	for (unsigned left = 16; left > 0; left--) {
		assert_int_equal(hv_uart_rx_room(&w.u), left);
		hv_uart_rx(&w.u, (uint8_t)left);
	}
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 2, 0);
	hv_uart_rx(&w.u, 0xee); /* the seventeenth is lost, and that told */
	assert_int_equal(hv_uart_read(&w.u, IIR), 0xc6);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 3, 3);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 3, 1);
	for (unsigned want = 16; want > 0; want--)
		assert_int_equal(hv_uart_read(&w.u, DATA), want);

	start(&w);
	hv_uart_write(&w.u, MCR, MCR_ON);
	hv_uart_write(&w.u, IER, 0x01);
	assert_int_equal(hv_uart_rx_room(&w.u), 1);
	hv_uart_rx(&w.u, 'a');
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
}

static void nobody_listens_before_a_byte_can_interrupt(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	hv_uart_write(&w.u, FCR, 0x07);
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	/* Linux sets all interrupt bits while it looks for the chip. */
	hv_uart_write(&w.u, IER, 0x0f);
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	hv_uart_write(&w.u, MCR, MCR_ON);
	assert_int_equal(hv_uart_rx_room(&w.u), 16);
}

/* A boot loader's menu takes keys; and what is typed while the kernel starts
 * is not lost to a driver that looks for its chip.
 */
static void firmware_polls_and_leaves_the_rest_to_the_driver(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_polled(&w.u);
	assert_int_equal(hv_uart_rx_room(&w.u), 1);
	hv_uart_write(&w.u, IER, 0x02); /* as SeaBIOS looks for it */
	hv_uart_write(&w.u, IER, 0);
	hv_uart_write(&w.u, FCR, 0x01);
	assert_int_equal(hv_uart_rx_room(&w.u), 16);
	hv_uart_rx(&w.u, 'k');
	assert_false(w.line);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 1);
	assert_int_equal(hv_uart_read(&w.u, DATA), 'k');
	hv_uart_rx(&w.u, 'a');
	hv_uart_rx(&w.u, 'b');
	hv_uart_write(&w.u, IER, 0x0f); /* as Linux does */
	hv_uart_write(&w.u, IER, 0);
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	hv_uart_write(&w.u, MCR, 0x1a);
	hv_uart_write(&w.u, MCR, 0);
	hv_uart_write(&w.u, FCR, 0x07);
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 0);
	assert_int_equal(hv_uart_read(&w.u, DATA), 0);
	hv_uart_write(&w.u, FCR, 0);
	hv_uart_write(&w.u, MCR, MCR_ON);
	hv_uart_write(&w.u, IER, 0x05); /* before the FIFO */
	assert_true(w.line);
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
	assert_int_equal(hv_uart_read(&w.u, DATA), 'a');
	hv_uart_write(&w.u, FCR, 0x01);
	assert_int_equal(hv_uart_rx_room(&w.u), 15);
	assert_int_equal(hv_uart_read(&w.u, DATA), 'b');
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 0);
	hv_uart_write(&w.u, IER, 0); /* nobody polls any more */
	assert_int_equal(hv_uart_rx_room(&w.u), 0);
}

static void enabling_the_fifo_keeps_what_was_received(void **state)
{
	(void)state;
	struct world w;

	start(&w);
	hv_uart_write(&w.u, MCR, MCR_ON);
	hv_uart_write(&w.u, IER, 0x01);
	hv_uart_rx(&w.u, 'a');
	hv_uart_write(&w.u, FCR, 0x01);
	assert_int_equal(hv_uart_read(&w.u, DATA), 'a');
}

static void clearing_the_fifo_drops_what_was_received(void **state)
{
	(void)state;
	struct world w;

	listen(&w);
	hv_uart_rx(&w.u, 'a');
	hv_uart_write(&w.u, FCR, 0x83); /* enable, clear receive */
	assert_int_equal(hv_uart_read(&w.u, LSR) & 1, 0);
	assert_false(w.line);
	hv_uart_rx(&w.u, 'b');
	hv_uart_write(&w.u, FCR, 0x85); /* clear transmit only */
	assert_int_equal(hv_uart_read(&w.u, DATA), 'b');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_reset_nothing_is_pending),
		cmocka_unit_test(a_written_byte_is_sent_at_once),
		cmocka_unit_test(the_divisor_latch_hides_data_and_ier),
		cmocka_unit_test(it_is_a_16550a_and_no_more),
		cmocka_unit_test(loopback_returns_bytes_and_outputs),
		cmocka_unit_test(enabling_the_transmit_interrupt_raises_it),
		cmocka_unit_test(each_sent_byte_gives_an_edge),
		cmocka_unit_test(out2_gates_the_interrupt_line),
		cmocka_unit_test(received_bytes_come_in_order_and_interrupt),
		cmocka_unit_test(
			there_is_room_for_sixteen_with_and_one_without_fifo),
		cmocka_unit_test(
			nobody_listens_before_a_byte_can_interrupt),
		cmocka_unit_test(
			firmware_polls_and_leaves_the_rest_to_the_driver),
		cmocka_unit_test(enabling_the_fifo_keeps_what_was_received),
		cmocka_unit_test(clearing_the_fifo_drops_what_was_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
