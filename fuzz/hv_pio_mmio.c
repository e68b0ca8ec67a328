/* SPDX-License-Identifier: BSD-2-Clause */
/* Port accesses of any width, count and order, while the console's other end
 * types, takes output, stops, the clock goes forth and back, and the machine is
 * reset, with firmware that polls the console or without. Each answer
 * is compared with a model after the data sheets (PC16550D, MC146818A, ACPI
 * 4.8.3): bytes in and out of the console, every register but the interrupt
 * cause's number, the interrupt line, who asked for power off or reset.
 * Addresses of memory that is not RAM need no target: nothing is behind them,
 * they read as ones (hv/vcpu.c).
 *
 * An input is actions of one byte and their operands; `act` is the list.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/fuzzin.h"
#include "hv/board.h"
#include "hv/chip/cmos.h"

#define ACCESS_MAX 4096u /* bytes of one access, as KVM hands them over */
#define OUTPUT_MAX (4 * ACCESS_MAX)
#define TIME_MAX   253402300799 /* year 9999 */

struct model {
	/* the serial port */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifo, overrun, thre;
	uint8_t rx[16], held[16];
	unsigned rx_count, held_count;
	bool polled; /* by firmware; what it leaves is held for the driver */
	/* the clock: 0 or a moment that reads must show */
	uint8_t index, shutdown, base_kib;
	/* power */
	uint8_t event[4], control[2], reset;
	enum hv_pm_request asked; /* by this access, last */
	unsigned asked_count;
};

struct world {
	struct hv_board *board;
	struct model m;
	int64_t now_s, latched_s;
	bool line, stopped;
	bool hurried, ended; /* nobody waits for the console; it has its end */
	uint64_t lost;
	unsigned waits;
	enum hv_pm_request power;
	unsigned power_count, wakes;
	uint8_t out[OUTPUT_MAX]; /* written, not yet taken */
	size_t out_count;
};

/* ----------------------------------------------------------- the machine -- */

static void on_irq(void *arg, unsigned line, bool level)
{
	struct world *w = arg;

	must(line == HV_IRQ_COM1 && level != w->line);
	w->line = level;
}

static void on_power(void *arg, enum hv_pm_request what)
{
	struct world *w = arg;

	must(what == HV_PM_OFF || what == HV_PM_RESET);
	w->power = what;
	w->power_count++;
}

static void on_wake(void *arg)
{
	struct world *w = arg;

	w->wakes++;
}

static int64_t on_now(void *arg)
{
	struct world *w = arg;

	return w->now_s;
}

/* Only where it does not wait for long: else nobody would take its output. */
static void on_wait(void *arg)
{
	struct world *w = arg;

	must(w->hurried);
	if (w->waits++ % 2)
		hv_board_stir(w->board);
}

static const struct hv_board_ops ops = {on_irq, on_power, on_wake, on_now};

/* ------------------------------------------------- model: serial port ---- */

static unsigned fifo_room(const struct model *m)
{
	unsigned cap = m->fifo ? 16 : 1;

	return m->rx_count < cap ? cap - m->rx_count : 0;
}

static bool line_due(const struct model *m)
{
	if ((m->mcr & 0x18) != 0x08) /* OUT2 opens the gate, loopback shuts */
		return false;
	return ((m->ier & 4) && m->overrun) ||
	       ((m->ier & 1) && m->rx_count > 0) || ((m->ier & 2) && m->thre);
}

static bool listens(const struct model *m)
{
	return (m->mcr & 0x18) == 0x08 && (m->ier & 1);
}

/* After each access: a driver that looks for the chip has it from firmware. */
static void com_settle(struct model *m)
{
	if (m->polled && ((m->ier & 1) || (m->mcr & 0x10))) {
		m->polled = false;
		memcpy(m->held, m->rx, m->rx_count);
		m->held_count = m->rx_count;
		m->rx_count = 0;
	}
	while (m->held_count > 0 && listens(m) && fifo_room(m) > 0) {
		m->rx[m->rx_count++] = m->held[0];
		memmove(m->held, m->held + 1, --m->held_count);
	}
}

static void com_data_out(struct world *w, uint8_t v)
{
	struct model *m = &w->m;

	if (!(m->mcr & 0x10)) {
		if (w->out_count < OUTPUT_MAX)
			w->out[w->out_count++] = v;
		else
			w->lost++;
	} else if (fifo_room(m) == 0) {
		m->overrun = true;
	} else {
		m->rx[m->rx_count++] = v;
	}
	m->thre = true;
}

static void com_out(struct world *w, unsigned reg, uint8_t v)
{
	struct model *m = &w->m;
	bool dlab = m->lcr & 0x80;

	if (reg == 0 && dlab) {
		m->dll = v;
	} else if (reg == 0) {
		com_data_out(w, v);
	} else if (reg == 1 && dlab) {
		m->dlm = v;
	} else if (reg == 1) {
		m->thre |= (v & 2) && !(m->ier & 2);
		m->ier = v & 0x0f;
	} else if (reg == 2) {
		if ((v & 2) || (m->fifo && !(v & 1)))
			m->rx_count = 0;
		m->fifo = v & 1;
	} else if (reg == 3) {
		m->lcr = v;
	} else if (reg == 4) {
		m->mcr = v & 0x1f;
	} else if (reg == 7) {
		m->scr = v;
	}
}

static uint8_t com_data_in(struct model *m)
{
	uint8_t v = m->rx[0];

	if (m->rx_count == 0)
		return 0;
	m->rx_count--;
	memmove(m->rx, m->rx + 1, m->rx_count);
	return v;
}

/* Which cause of several it names is the FIFO's trigger level's business. */
static void com_iir_in(struct model *m, uint8_t got)
{
	uint8_t id = got & 0x0f;

	must((got & 0xf0) == (m->fifo ? 0xc0 : 0));
	if ((m->ier & 4) && m->overrun) {
		must(id == 0x06);
	} else if ((m->ier & 1) && m->rx_count > 0) {
		must(id == 0x04 || id == 0x0c);
	} else if ((m->ier & 2) && m->thre) {
		must(id == 0x02);
		m->thre = false;
	} else {
		must(id == 0x01);
	}
}

static uint8_t com_status_in(struct model *m, unsigned reg)
{
	uint8_t v;

	if (reg == 5) {
		v = (uint8_t)(0x60 | (m->rx_count > 0) | m->overrun << 1);
		m->overrun = false;
		return v;
	}
	if (!(m->mcr & 0x10))
		return 0xb0;
	return (uint8_t)((m->mcr & 2) << 3 | (m->mcr & 1) << 5 |
			 (m->mcr & 4) << 4 | (m->mcr & 8) << 4);
}

static void com_in(struct model *m, unsigned reg, uint8_t got)
{
	bool dlab = m->lcr & 0x80;
	const uint8_t plain[8] = {
		m->dll, dlab ? m->dlm : m->ier, 0, m->lcr, m->mcr, 0, 0,
		m->scr};

	if (reg == 2)
		com_iir_in(m, got);
	else if (reg == 0 && !dlab)
		must(got == com_data_in(m));
	else if (reg == 5 || reg == 6)
		must(got == com_status_in(m, reg));
	else
		must(got == plain[reg]);
}

/* ------------------------------------------------ model: clock, power ---- */

static unsigned from_bcd(uint8_t v)
{
	must((v & 0x0f) < 10 && v >> 4 < 10);
	return (v >> 4) * 10u + (v & 0x0f);
}

/* A part of the time is that of the moment when register A was read, or of
 * the first part read since; as long as that is no more than a second ago.
 */
static void cmos_in(struct world *w, uint8_t got)
{
	static const uint8_t fixed[4] = {0x26, 0x02, 0x00, 0x80};
	uint8_t i = w->m.index;
	struct tm tm;
	time_t t;

	if (i >= 0x0a && i <= 0x0d) {
		must(got == fixed[i - 0x0a]);
		if (i == 0x0a)
			w->latched_s = w->now_s;
		return;
	}
	if (i == 0x0f) {
		must(got == w->m.shutdown);
		return;
	}
	if (i != 0x32 && (i > 9 || i == 1 || i == 3 || i == 5)) {
		must(got == (i == HV_CMOS_BASE_KIB ? w->m.base_kib : 0));
		return;
	}
	if (w->latched_s < 0 || w->now_s < w->latched_s ||
	    w->now_s - w->latched_s > 1)
		w->latched_s = w->now_s;
	t = (time_t)w->latched_s;
	must(gmtime_r(&t, &tm) != NULL);
	must(from_bcd(got) == (unsigned)(i == 0	  ? tm.tm_sec
					 : i == 2 ? tm.tm_min
					 : i == 4 ? tm.tm_hour
					 : i == 6 ? tm.tm_wday + 1
					 : i == 7 ? tm.tm_mday
					 : i == 8 ? tm.tm_mon + 1
					 : i == 9 ? tm.tm_year % 100
						  : (tm.tm_year + 1900) / 100));
}

static void ask(struct model *m, enum hv_pm_request what)
{
	m->asked = what;
	m->asked_count++;
}

static void pm_out(struct model *m, unsigned port, uint8_t v)
{
	if (port < 0x602) {
		m->event[port - 0x600] &= (uint8_t)~v;
	} else if (port < 0x604) {
		m->event[port - 0x600] = v;
	} else if (port == 0x604) {
		m->control[0] = v | 1;
	} else {
		m->control[1] = v & 0xdf;
		if ((v & 0x3c) == (0x20 | 5 << 2))
			ask(m, HV_PM_OFF);
	}
}

/* --------------------------------------------------- model: all ports ---- */

/* Whether anything answers there at all, to an access of that width. */
static bool answers(unsigned port, unsigned size, bool reading)
{
	if (port >= 0x600 && port + size <= 0x604)
		return true;
	if (port >= 0x604 && port + size <= 0x606)
		return true;
	if (size != 1)
		return false;
	if ((port >= 0x3f8 && port < 0x400) || port == 0x70 || port == 0x71 ||
	    port == 0xcf9)
		return true;
	return reading ? port == 0x92 : port == 0x64;
}

static void byte_in(struct world *w, unsigned port, uint8_t got)
{
	struct model *m = &w->m;

	if (port >= 0x3f8 && port < 0x400) {
		com_in(m, port - 0x3f8, got);
		com_settle(m);
	} else if (port == 0x70)
		must(got == 0xff);
	else if (port == 0x71)
		cmos_in(w, got);
	else if (port == 0xcf9)
		must(got == m->reset);
	else if (port == 0x92)
		must(got == 2);
	else if (port < 0x604)
		must(got == m->event[port - 0x600]);
	else
		must(got == m->control[port - 0x604]);
}

static void byte_out(struct world *w, unsigned port, uint8_t v)
{
	struct model *m = &w->m;

	if (port >= 0x3f8 && port < 0x400) {
		com_out(w, port - 0x3f8, v);
		com_settle(m);
	} else if (port == 0x70) {
		m->index = v & 0x7f;
	} else if (port == 0x71) {
		if (m->index == 0x0f)
			m->shutdown = v;
	} else if (port == 0xcf9) {
		if ((v & 4) && !(m->reset & 4))
			ask(m, HV_PM_RESET);
		m->reset = v;
	} else if (port == 0x64) {
		if ((v & 0xf0) == 0xf0 && !(v & 1))
			ask(m, HV_PM_RESET);
	} else if (port >= 0x600) {
		pm_out(m, port, v);
	}
}

/* ------------------------------------------------------------- actions -- */

static void drain(struct world *w, size_t cap)
{
	static uint8_t got[OUTPUT_MAX];
	size_t n = hv_board_output(w->board, got, cap);

	must(n == (cap < w->out_count ? cap : w->out_count));
	must(memcmp(got, w->out, n) == 0);
	w->out_count -= n;
	memmove(w->out, w->out + n, w->out_count);
	must(hv_board_has_output(w->board) == (w->out_count > 0));
}

/* As the console's own thread takes it, which would wait for more. */
static void drain_waiting(struct world *w)
{
	uint8_t got[1000];
	size_t n;

	if (w->out_count == 0 && !w->ended)
		return;
	n = hv_board_output_wait(w->board, got, sizeof(got));
	must(n == (w->out_count < sizeof(got) ? w->out_count : sizeof(got)));
	must(memcmp(got, w->out, n) == 0);
	w->out_count -= n;
	memmove(w->out, w->out + n, w->out_count);
}

static void console_check(struct world *w)
{
	struct hv_board_output o;

	hv_board_output_state(w->board, &o);
	must(o.lost == w->lost && o.left == w->out_count);
	must(o.held_ms == 0 || w->hurried);
}

static void io_in(struct world *w, unsigned port, unsigned size, uint32_t count)
{
	static uint8_t got[ACCESS_MAX + 1];
	size_t n = (size_t)size * count;

	got[n] = 0x5a;
	hv_board_in(w->board, (uint16_t)port, size, count, got);
	must(got[n] == 0x5a);
	for (size_t i = 0; i < n; i++) {
		if (answers(port, size, true))
			byte_in(w, port + (unsigned)(i % size), got[i]);
		else
			must(got[i] == 0xff);
	}
}

/* The console takes what it must, or this thread would wait for it. */
static void io_out(struct world *w, struct input *in, unsigned port,
		   unsigned size, uint32_t count)
{
	static uint8_t bytes[ACCESS_MAX];
	size_t n = (size_t)size * count, own = in->left < n ? in->left : n;
	unsigned before = w->power_count;

	memset(bytes, 0xa5, n);
	if (own > 64)
		own = 64;
	for (size_t i = 0; i < own; i++)
		bytes[i] = (uint8_t)take(in, 1);
	if (!w->stopped && !w->hurried && OUTPUT_MAX - w->out_count < n)
		drain(w, OUTPUT_MAX);
	w->m.asked_count = 0;
	hv_board_out(w->board, (uint16_t)port, size, count, bytes);
	if (answers(port, size, false))
		for (size_t i = 0; i < n; i++)
			byte_out(w, port + (unsigned)(i % size), bytes[i]);
	must(w->power_count - before == w->m.asked_count);
	must(w->m.asked_count == 0 || w->power == w->m.asked);
}

/* What is typed is taken as far as the guest listens. */
static void type(struct world *w, struct input *in)
{
	struct model *m = &w->m;
	unsigned n = (unsigned)take(in, 1) % 40;
	bool hears = listens(m) || (m->polled && !(m->mcr & 0x10));
	unsigned room = hears && m->held_count == 0 ? fifo_room(m) : 0;
	uint8_t bytes[40];

	for (unsigned i = 0; i < n; i++)
		bytes[i] = (uint8_t)take(in, 1);
	must(hv_board_input(w->board, bytes, n) == (n < room ? n : room));
	for (unsigned i = 0; i < n && i < room; i++)
		m->rx[m->rx_count++] = bytes[i];
}

/* The next machine: the console's output stays. */
static void reset(struct world *w)
{
	hv_board_reset(w->board);
	w->m = (struct model){.dll = 1, .control[0] = 1};
	w->latched_s = -1;
	w->line = w->stopped = w->hurried = false;
}

static void clock_set(struct world *w, struct input *in)
{
	uint64_t how = take(in, 1);

	if (how < 8)
		w->now_s += (int64_t)how - 2;
	else
		w->now_s = (int64_t)(take(in, 5) % (TIME_MAX + 1));
	if (w->now_s < 0 || w->now_s > TIME_MAX)
		w->now_s = 0;
}

static void access_any(struct world *w, struct input *in, bool out)
{
	static const uint16_t known[16] = {
		0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff,
		0x70,  0x71,  0x600, 0x602, 0x604, 0xcf9, 0x64,	 0x92};
	unsigned how = (unsigned)take(in, 1), port = known[how & 15];
	unsigned size = 1u << (how >> 4 & 3) % 3;
	uint32_t count = 1;

	if (how & 0x40)
		port = how & 0x20 ? (unsigned)take(in, 2)
				  : port + (unsigned)take(in, 1) % 4;
	if (how & 0x80)
		count = 1 + (uint32_t)take(in, 2) % (ACCESS_MAX / size);
	if (out)
		io_out(w, in, port & 0xffff, size, count);
	else
		io_in(w, port & 0xffff, size, count);
}

static void other(struct world *w, unsigned what)
{
	switch (what) {
	case 0xffff:
		hv_board_stop(w->board);
		w->stopped = true;
		break;
	case 0xfffe:
		reset(w);
		break;
	case 0xfffd: /* only a machine that has not run is told so */
		reset(w);
		hv_board_console_polled(w->board);
		w->m.polled = true;
		break;
	case 0xfffc:
		if (w->hurried)
			hv_board_hurry_no_more(w->board);
		else
			hv_board_hurry(w->board, 0);
		w->hurried = !w->hurried;
		break;
	case 0xfffb:
		drain_waiting(w);
		break;
	case 0xfffa:
		hv_board_output_end(w->board);
		w->ended = true;
		break;
	case 0xfff9:
		hv_board_stir(w->board);
		break;
	default:
		drain(w, what % (OUTPUT_MAX + 1));
	}
}

static void act(struct world *w, struct input *in)
{
	uint64_t what = take(in, 1) % 8;

	switch (what) {
	case 0:
	case 1:
		access_any(w, in, false);
		break;
	case 2:
	case 3:
	case 4:
		access_any(w, in, true);
		break;
	case 5:
		type(w, in);
		break;
	case 6:
		clock_set(w, in);
		break;
	default:
		other(w, (unsigned)take(in, 2));
	}
	must(w->line == line_due(&w->m));
	console_check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.latched_s = -1;
	w.m.dll = 1;
	w.m.control[0] = 1;
	w.m.base_kib = 0x80;
	must(hv_board_create(&ops, &w, &w.board) == 0);
	hv_board_cmos_set(w.board, HV_CMOS_BASE_KIB, 0x80);
	hv_board_on_wait(w.board, on_wait, &w);
	while (in.left > 0)
		act(&w, &in);
	drain(&w, OUTPUT_MAX);
	hv_board_destroy(w.board);
	return 0;
}
