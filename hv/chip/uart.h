/* SPDX-License-Identifier: BSD-2-Clause */
/* A 16550A serial port as a state machine: no time, no file, no thread. The
 * line is infinitely fast: a byte written is gone at once, so the transmitter
 * is always empty and a transmit interrupt is due right after each write.
 *
 * Thread: its owner's; the callbacks run inside the calls below.
 * Source: National Semiconductor PC16550D data sheet.
 */
#ifndef HV_CHIP_UART_H
#define HV_CHIP_UART_H

#include <stdbool.h>
#include <stdint.h>

#define HV_UART_FIFO 16

struct hv_uart_ops {
	void (*tx)(void *arg, uint8_t byte);
	/* The interrupt line changed. */
	void (*irq)(void *arg, bool level);
};

struct hv_uart {
	const struct hv_uart_ops *ops;
	void *arg;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifo_on;
	uint8_t trigger;  /* bytes in the FIFO that raise an interrupt */
	bool overrun;
	bool thre;        /* transmit interrupt not yet acknowledged */
	bool line;        /* the interrupt line as last reported */
	uint8_t rx[HV_UART_FIFO];
	unsigned rx_first, rx_count;
	bool polled; /* firmware reads it, without interrupts */
	uint8_t held[HV_UART_FIFO]; /* what it left for the driver */
	unsigned held_count;
};

void hv_uart_init(struct hv_uart *u, const struct hv_uart_ops *ops, void *arg);

/* Firmware and boot loaders look for bytes and enable no interrupt: from now
 * on they are heard, until a driver comes.
 */
void hv_uart_polled(struct hv_uart *u);

/* `reg` is 0..7. */
uint8_t hv_uart_read(struct hv_uart *u, unsigned reg);
void hv_uart_write(struct hv_uart *u, unsigned reg, uint8_t val);

/* How many bytes may be received now without losing one; 0 as well while the
 * guest does not listen (no receive interrupt would reach it, and nobody polls).
 */
unsigned hv_uart_rx_room(const struct hv_uart *u);
void hv_uart_rx(struct hv_uart *u, uint8_t byte);

#endif
