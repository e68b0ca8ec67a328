/* SPDX-License-Identifier: BSD-2-Clause */
/* 16550A. See uart.h. */
#include "uart.h"

#include <string.h>

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR,
       REG_SCR };

enum {
	IER_RX = 0x01,
	IER_TX = 0x02,
	IER_LINE = 0x04,
	IER_BITS = 0x0f, /* a 16550A has no others; drivers test for that */

	IIR_NONE = 0x01,
	IIR_TX = 0x02,
	IIR_RX = 0x04,
	IIR_LINE = 0x06,
	IIR_RX_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,

	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08, /* on a PC: the gate of the interrupt line */
	MCR_LOOP = 0x10,
	MCR_BITS = 0x1f,

	LSR_DATA = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_TX_EMPTY = 0x60,

	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

void hv_uart_init(struct hv_uart *u, const struct hv_uart_ops *ops, void *arg)
{
	memset(u, 0, sizeof(*u));
	u->ops = ops;
	u->arg = arg;
	u->dll = 1; /* 115200 */
	u->trigger = 1;
}

static unsigned capacity(const struct hv_uart *u)
{
	return u->fifo_on ? HV_UART_FIFO : 1;
}

/* The cause of highest priority. Bytes below the trigger level count as timed
 * out at once: there is no clock here, and waiting would only add delay.
 */
static uint8_t cause(const struct hv_uart *u)
{
	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx_count > 0)
		return u->rx_count >= u->trigger ? IIR_RX : IIR_RX_TIMEOUT;
	if ((u->ier & IER_TX) && u->thre)
		return IIR_TX;
	return IIR_NONE;
}

static bool gate_open(const struct hv_uart *u)
{
	return (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
}

static void update_line(struct hv_uart *u)
{
	bool level = gate_open(u) && cause(u) != IIR_NONE;

	if (level != u->line) {
		u->line = level;
		u->ops->irq(u->arg, level);
	}
}

void hv_uart_polled(struct hv_uart *u)
{
	u->polled = true;
}

static bool listening(const struct hv_uart *u)
{
	/* In loopback the outside is not heard. Before a driver listens, a
	 * byte would be lost when it clears the FIFO: the line waits until a
	 * received byte can interrupt, which takes OUT2 as well. Linux sets
	 * all interrupt bits for a moment when it looks for the chip.
	 */
	return (u->mcr & (MCR_LOOP | MCR_OUT2)) == MCR_OUT2 &&
	       (u->ier & IER_RX);
}

unsigned hv_uart_rx_room(const struct hv_uart *u)
{
	if (!listening(u) && (!u->polled || (u->mcr & MCR_LOOP)))
		return 0;
	if (u->held_count > 0) /* first */
		return 0;
	return u->rx_count < capacity(u) ? capacity(u) - u->rx_count : 0;
}

static void receive(struct hv_uart *u, uint8_t byte)
{
	if (u->rx_count >= capacity(u)) {
		u->overrun = true;
		return;
	}
	u->rx[(u->rx_first + u->rx_count) % HV_UART_FIFO] = byte;
	u->rx_count++;
}

void hv_uart_rx(struct hv_uart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOP)
		return;
	receive(u, byte);
	update_line(u);
}

static uint8_t read_data(struct hv_uart *u)
{
	uint8_t byte;

	if (u->rx_count == 0)
		return 0;
	byte = u->rx[u->rx_first];
	u->rx_first = (u->rx_first + 1) % HV_UART_FIFO;
	u->rx_count--;
	return byte;
}

/* Firmware tries the transmit interrupt and no loopback; a driver looks for the
 * chip by both that and the receive interrupt, and then throws away what is in
 * it. What came after the boot loader's last look is for the driver: it is held
 * until that listens.
 */
static void tell_driver(struct hv_uart *u)
{
	if (u->polled && ((u->ier & IER_RX) || (u->mcr & MCR_LOOP))) {
		u->polled = false;
		while (u->rx_count > 0)
			u->held[u->held_count++] = read_data(u);
	}
	while (u->held_count > 0 && listening(u) && u->rx_count < capacity(u)) {
		receive(u, u->held[0]);
		memmove(u->held, u->held + 1, --u->held_count);
	}
}

static uint8_t read_iir(struct hv_uart *u)
{
	uint8_t id = cause(u);

	if (id == IIR_TX)
		u->thre = false;
	return id | (u->fifo_on ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct hv_uart *u)
{
	uint8_t v = LSR_TX_EMPTY;

	if (u->rx_count > 0)
		v |= LSR_DATA;
	if (u->overrun)
		v |= LSR_OVERRUN;
	u->overrun = false;
	return v;
}

/* The far end is always there; in loopback, our own outputs come back. */
static uint8_t read_msr(const struct hv_uart *u)
{
	uint8_t v = 0;

	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (u->mcr & MCR_RTS)
		v |= MSR_CTS;
	if (u->mcr & MCR_DTR)
		v |= MSR_DSR;
	if (u->mcr & MCR_OUT1)
		v |= MSR_RI;
	if (u->mcr & MCR_OUT2)
		v |= MSR_DCD;
	return v;
}

uint8_t hv_uart_read(struct hv_uart *u, unsigned reg)
{
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t v = 0xff;

	switch (reg) {
	case REG_DATA:
		v = dlab ? u->dll : read_data(u);
		break;
	case REG_IER:
		v = dlab ? u->dlm : u->ier;
		break;
	case REG_IIR_FCR:
		v = read_iir(u);
		break;
	case REG_LCR:
		v = u->lcr;
		break;
	case REG_MCR:
		v = u->mcr;
		break;
	case REG_LSR:
		v = read_lsr(u);
		break;
	case REG_MSR:
		v = read_msr(u);
		break;
	case REG_SCR:
		v = u->scr;
		break;
	}
	tell_driver(u);
	update_line(u);
	return v;
}

/* The byte leaves at once. Its interrupt is first taken back, then raised
 * again: the line is edge-triggered and the guest waits for an edge.
 */
static void write_data(struct hv_uart *u, uint8_t val)
{
	u->thre = false;
	update_line(u);
	if (u->mcr & MCR_LOOP)
		receive(u, val);
	else
		u->ops->tx(u->arg, val);
	u->thre = true;
}

static void write_ier(struct hv_uart *u, uint8_t val)
{
	/* Enabling the transmit interrupt on an empty transmitter raises it. */
	if ((val & IER_TX) && !(u->ier & IER_TX))
		u->thre = true;
	u->ier = val & IER_BITS;
}

static void write_fcr(struct hv_uart *u, uint8_t val)
{
	static const uint8_t triggers[] = {1, 4, 8, 14};
	bool on = val & FCR_ENABLE;

	/* A driver enables receiving before the FIFO (Linux): what came in
	 * between stays.
	 */
	if ((!on && u->fifo_on) || (val & FCR_CLEAR_RX))
		u->rx_count = 0;
	u->fifo_on = on;
	u->trigger = on ? triggers[val >> 6] : 1;
}

void hv_uart_write(struct hv_uart *u, unsigned reg, uint8_t val)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			u->dll = val;
		else
			write_data(u, val);
		break;
	case REG_IER:
		if (dlab)
			u->dlm = val;
		else
			write_ier(u, val);
		break;
	case REG_IIR_FCR:
		write_fcr(u, val);
		break;
	case REG_LCR:
		u->lcr = val;
		break;
	case REG_MCR:
		u->mcr = val & MCR_BITS;
		break;
	case REG_SCR:
		u->scr = val;
		break;
	}
	tell_driver(u);
	update_line(u);
}
