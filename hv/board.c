/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports, chips and console queues. See board.h. */
#include "board.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "chip/cmos.h"
#include "chip/uart.h"
#include "clock.h"

/* What one I/O exit can carry: KVM hands string instructions over by pages. */
#define PIO_MAX 4096u

/* Console output not yet taken. */
#define OUTPUT_BYTES (4 * PIO_MAX)

struct added {
	const struct hv_port_range *range;
	void *arg;
};

struct hv_board {
	const struct hv_board_ops *ops;
	void *arg;
	struct added added[HV_BOARD_RANGES_MAX];
	unsigned added_count;
	void (*waits)(void *arg); /* see hv_board_on_wait */
	void *waits_arg;
	pthread_mutex_t lock; /* everything below */
	pthread_cond_t given; /* there is output, or it has ended */
	pthread_cond_t taken; /* output was taken, or whoever waits shall look
			       * around; monotonic */
	unsigned stirs;	      /* how often they were told to */
	bool stopping;
	bool ended;   /* hv_board_output_end */
	bool hurried; /* nobody waits longer than patience_ms ... */
	unsigned patience_ms;
	int64_t hurried_ms; /* ... counted from then on */
	bool dropping;	 /* ... and it is over: what does not fit is lost */
	int64_t held_ms; /* since when somebody waits; 0: nobody */
	uint64_t lost;	 /* bytes of output */
	bool input_waits;
	struct hv_uart uart;
	struct hv_cmos cmos;
	struct hv_pm pm;
	size_t out_first, out_count;
	uint8_t out[OUTPUT_BYTES];
};

/* ------------------------------------------------------ chip functions -- */

static void uart_tx(void *arg, uint8_t byte)
{
	struct hv_board *b = arg;

	if (b->out_count == OUTPUT_BYTES) {
		b->lost++; /* nobody waited for room, or not any longer */
		return;
	}
	b->out[(b->out_first + b->out_count++) % OUTPUT_BYTES] = byte;
	if (b->out_count == 1)
		pthread_cond_signal(&b->given);
}

static void uart_irq(void *arg, bool level)
{
	struct hv_board *b = arg;

	b->ops->irq(b->arg, HV_IRQ_COM1, level);
}

static const struct hv_uart_ops uart_ops = {.tx = uart_tx, .irq = uart_irq};

static uint8_t com1_in(struct hv_board *b, unsigned off)
{
	uint8_t v = hv_uart_read(&b->uart, off);

	if (b->input_waits && hv_uart_rx_room(&b->uart) > 0) {
		b->input_waits = false;
		b->ops->wake(b->arg);
	}
	return v;
}

static void com1_out(struct hv_board *b, unsigned off, uint8_t val)
{
	hv_uart_write(&b->uart, off, val);
	if (b->input_waits && hv_uart_rx_room(&b->uart) > 0) {
		b->input_waits = false;
		b->ops->wake(b->arg);
	}
}

static uint8_t cmos_in(struct hv_board *b, unsigned off)
{
	if (off == 0)
		return 0xff; /* the index register cannot be read */
	return hv_cmos_read(&b->cmos, b->ops->now_s(b->arg));
}

static void cmos_out(struct hv_board *b, unsigned off, uint8_t val)
{
	if (off == 0)
		hv_cmos_select(&b->cmos, val);
	else
		hv_cmos_write(&b->cmos, val);
}

static void power(struct hv_board *b, enum hv_pm_request what)
{
	if (what != HV_PM_NONE)
		b->ops->power(b->arg, what);
}

static uint8_t pm_event_in(struct hv_board *b, unsigned off)
{
	return hv_pm_event_read(&b->pm, off);
}

static void pm_event_out(struct hv_board *b, unsigned off, uint8_t val)
{
	hv_pm_event_write(&b->pm, off, val);
}

static uint8_t pm_control_in(struct hv_board *b, unsigned off)
{
	return hv_pm_control_read(&b->pm, off);
}

static void pm_control_out(struct hv_board *b, unsigned off, uint8_t val)
{
	power(b, hv_pm_control_write(&b->pm, off, val));
}

static uint8_t reset_in(struct hv_board *b, unsigned off)
{
	(void)off;
	return hv_pm_reset_read(&b->pm);
}

static void reset_out(struct hv_board *b, unsigned off, uint8_t val)
{
	(void)off;
	power(b, hv_pm_reset_write(&b->pm, val));
}

/* No keyboard controller: status reads as ones, which drivers take for
 * "absent". Its reset pulse works all the same, as on every PC.
 */
static void kbd_out(struct hv_board *b, unsigned off, uint8_t val)
{
	(void)off;
	power(b, hv_pm_kbd_write(val));
}

/* A20 is on and stays on. */
static uint8_t port_a_in(struct hv_board *b, unsigned off)
{
	(void)b;
	(void)off;
	return 0x02;
}

/* ---------------------------------------------------------- port table -- */

#define WIDTH_BYTE 1u
#define WIDTH_ALL (1u | 2u | 4u)

/* Chips are byte-wide: a wider access is cut into bytes where the range allows
 * that width. Where it does not, nothing answers: a dword access to 0xcf8 is
 * PCI's, not the reset register's.
 */
static const struct port_range {
	uint16_t first, count;
	unsigned widths;
	uint8_t (*in)(struct hv_board *b, unsigned off);
	void (*out)(struct hv_board *b, unsigned off, uint8_t val);
} ranges[] = {
	{HV_PORT_COM1, 8, WIDTH_BYTE, com1_in, com1_out},
	{HV_PORT_CMOS, 2, WIDTH_BYTE, cmos_in, cmos_out},
	{HV_PORT_PM1_EVENT, HV_PM1_EVENT_BYTES, WIDTH_ALL, pm_event_in,
	 pm_event_out},
	{HV_PORT_PM1_CONTROL, HV_PM1_CONTROL_BYTES, WIDTH_ALL, pm_control_in,
	 pm_control_out},
	{HV_PORT_RESET, 1, WIDTH_BYTE, reset_in, reset_out},
	{HV_PORT_KBD, 1, WIDTH_BYTE, NULL, kbd_out},
	{HV_PORT_A, 1, WIDTH_BYTE, port_a_in, NULL},
};

/* The range that holds the whole access, or NULL. */
static const struct port_range *find(uint16_t port, unsigned size)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		const struct port_range *r = &ranges[i];

		if (port >= r->first && port + size <= r->first + r->count)
			return (r->widths & size) ? r : NULL;
	}
	return NULL;
}

static const struct added *find_added(const struct hv_board *b, uint16_t port,
				      unsigned size)
{
	for (unsigned i = 0; i < b->added_count; i++) {
		const struct hv_port_range *r = b->added[i].range;

		if (port >= r->first && port + size <= r->first + r->count &&
		    (r->widths & size))
			return &b->added[i];
	}
	return NULL;
}

int hv_board_add(struct hv_board *b, const struct hv_port_range *range,
		 void *arg)
{
	if (b->added_count == HV_BOARD_RANGES_MAX)
		return -ENOSPC;
	b->added[b->added_count++] = (struct added){range, arg};
	return 0;
}

void hv_board_cmos_set(struct hv_board *b, unsigned index, uint8_t val)
{
	pthread_mutex_lock(&b->lock);
	hv_cmos_set(&b->cmos, index, val);
	pthread_mutex_unlock(&b->lock);
}

static void in_added(struct hv_board *b, uint16_t port, unsigned size,
		     uint32_t count, uint8_t *data)
{
	const struct added *a = find_added(b, port, size);

	if (a && a->range->in)
		a->range->in(a->arg, (unsigned)port - a->range->first, size,
			     count, data);
	else
		memset(data, 0xff, (size_t)size * count);
}

static void out_added(struct hv_board *b, uint16_t port, unsigned size,
		      uint32_t count, const uint8_t *data)
{
	const struct added *a = find_added(b, port, size);

	if (a && a->range->out)
		a->range->out(a->arg, (unsigned)port - a->range->first, size,
			      count, data);
}

void hv_board_in(struct hv_board *b, uint16_t port, unsigned size,
		 uint32_t count, uint8_t *data)
{
	const struct port_range *r = find(port, size);
	size_t n = (size_t)size * count;

	if (!r || !r->in) {
		in_added(b, port, size, count, data);
		return;
	}
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < n; i++) {
		unsigned off = (unsigned)(port - r->first + i % size);

		data[i] = r->in(b, off);
	}
	pthread_mutex_unlock(&b->lock);
}

static bool has_room(const struct hv_board *b, size_t n)
{
	return OUTPUT_BYTES - b->out_count >= (n < PIO_MAX ? n : PIO_MAX);
}

/* Until output is taken or somebody stirs; at most as long as it may be. */
static void wait_once(struct hv_board *b)
{
	int64_t since = b->held_ms > b->hurried_ms ? b->held_ms
						   : b->hurried_ms;
	int64_t due = since + b->patience_ms;
	const struct timespec t = hv_at_ms(due);

	if (!b->hurried)
		pthread_cond_wait(&b->taken, &b->lock);
	else if (hv_now_ms() >= due)
		b->dropping = true;
	else
		(void)pthread_cond_timedwait(&b->taken, &b->lock, &t);
}

/* The console takes all of it, or this vCPU waits; without the lock. */
static void wait_for_room(struct hv_board *b, size_t n)
{
	while (!b->stopping && !b->dropping && !has_room(b, n)) {
		unsigned seen = b->stirs;

		if (b->waits) {
			pthread_mutex_unlock(&b->lock);
			b->waits(b->waits_arg);
			pthread_mutex_lock(&b->lock);
		}
		if (b->stirs != seen || b->stopping || has_room(b, n))
			continue;
		if (!b->held_ms)
			b->held_ms = hv_now_ms();
		wait_once(b);
	}
}

void hv_board_out(struct hv_board *b, uint16_t port, unsigned size,
		  uint32_t count, const uint8_t *data)
{
	const struct port_range *r = find(port, size);
	size_t n = (size_t)size * count;

	if (!r || !r->out) {
		out_added(b, port, size, count, data);
		return;
	}
	pthread_mutex_lock(&b->lock);
	if (port == HV_PORT_COM1)
		wait_for_room(b, n);
	for (size_t i = 0; i < n; i++) {
		unsigned off = (unsigned)(port - r->first + i % size);

		r->out(b, off, data[i]);
	}
	pthread_mutex_unlock(&b->lock);
}

/* ------------------------------------------------------------- console -- */

static size_t take(struct hv_board *b, uint8_t *buf, size_t cap)
{
	size_t n = b->out_count < cap ? b->out_count : cap;

	for (size_t i = 0; i < n; i++)
		buf[i] = b->out[(b->out_first + i) % OUTPUT_BYTES];
	b->out_first = (b->out_first + n) % OUTPUT_BYTES;
	b->out_count -= n;
	if (n > 0) {
		b->held_ms = 0;
		b->dropping = false;
		pthread_cond_broadcast(&b->taken);
	}
	return n;
}

size_t hv_board_output(struct hv_board *b, uint8_t *buf, size_t cap)
{
	size_t n;

	pthread_mutex_lock(&b->lock);
	n = take(b, buf, cap);
	pthread_mutex_unlock(&b->lock);
	return n;
}

size_t hv_board_output_wait(struct hv_board *b, uint8_t *buf, size_t cap)
{
	size_t n;

	pthread_mutex_lock(&b->lock);
	while (b->out_count == 0 && !b->ended)
		pthread_cond_wait(&b->given, &b->lock);
	n = take(b, buf, cap);
	pthread_mutex_unlock(&b->lock);
	return n;
}

void hv_board_output_end(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	b->ended = true;
	pthread_cond_broadcast(&b->given);
	pthread_mutex_unlock(&b->lock);
}

void hv_board_output_state(struct hv_board *b, struct hv_board_output *out)
{
	pthread_mutex_lock(&b->lock);
	*out = (struct hv_board_output){
		.held_ms = b->held_ms ? (uint64_t)(hv_now_ms() - b->held_ms) : 0,
		.lost = b->lost,
		.left = b->out_count,
	};
	pthread_mutex_unlock(&b->lock);
}

void hv_board_on_wait(struct hv_board *b, void (*waits)(void *arg), void *arg)
{
	b->waits = waits;
	b->waits_arg = arg;
}

void hv_board_stir(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	b->stirs++;
	pthread_cond_broadcast(&b->taken);
	pthread_mutex_unlock(&b->lock);
}

void hv_board_hurry(struct hv_board *b, unsigned patience_ms)
{
	pthread_mutex_lock(&b->lock);
	b->hurried = true;
	b->hurried_ms = hv_now_ms();
	b->patience_ms = patience_ms;
	pthread_cond_broadcast(&b->taken);
	pthread_mutex_unlock(&b->lock);
}

void hv_board_hurry_no_more(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	if (b->dropping)
		b->held_ms = 0; /* who waited has gone on */
	b->hurried = b->dropping = false;
	pthread_mutex_unlock(&b->lock);
}

bool hv_board_has_output(struct hv_board *b)
{
	bool yes;

	pthread_mutex_lock(&b->lock);
	yes = b->out_count > 0;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

size_t hv_board_input(struct hv_board *b, const uint8_t *buf, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&b->lock);
	while (n < len && hv_uart_rx_room(&b->uart) > 0)
		hv_uart_rx(&b->uart, buf[n++]);
	/* also for who came before */
	b->input_waits |= n < len;
	pthread_mutex_unlock(&b->lock);
	return n;
}

void hv_board_console_polled(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	hv_uart_polled(&b->uart);
	pthread_mutex_unlock(&b->lock);
}

void hv_board_stop(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->taken);
	pthread_mutex_unlock(&b->lock);
}

static void chips_init(struct hv_board *b)
{
	hv_uart_init(&b->uart, &uart_ops, b);
	hv_cmos_init(&b->cmos);
	hv_pm_init(&b->pm);
}

void hv_board_reset(struct hv_board *b)
{
	pthread_mutex_lock(&b->lock);
	b->stopping = b->hurried = b->dropping = false;
	b->held_ms = 0;
	chips_init(b);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < b->added_count; i++)
		if (b->added[i].range->reset)
			b->added[i].range->reset(b->added[i].arg);
}

static int conds_init(struct hv_board *b)
{
	pthread_condattr_t attr;
	bool ok = pthread_condattr_init(&attr) == 0;

	if (!ok)
		return -ENOMEM;
	ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
	     pthread_cond_init(&b->taken, &attr) == 0;
	(void)pthread_condattr_destroy(&attr);
	if (ok && pthread_cond_init(&b->given, NULL) != 0) {
		pthread_cond_destroy(&b->taken);
		ok = false;
	}
	return ok ? 0 : -ENOMEM;
}

int hv_board_create(const struct hv_board_ops *ops, void *arg,
		    struct hv_board **out)
{
	struct hv_board *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->ops = ops;
	b->arg = arg;
	if (pthread_mutex_init(&b->lock, NULL) != 0) {
		free(b);
		return -ENOMEM;
	}
	if (conds_init(b) < 0) {
		pthread_mutex_destroy(&b->lock);
		free(b);
		return -ENOMEM;
	}
	chips_init(b);
	*out = b;
	return 0;
}

void hv_board_destroy(struct hv_board *b)
{
	if (!b)
		return;
	pthread_cond_destroy(&b->given);
	pthread_cond_destroy(&b->taken);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
