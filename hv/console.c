/* SPDX-License-Identifier: BSD-2-Clause */
/* The console's way out: what the guest writes goes to a descriptor, by a thread
 * of its own, in order and without loss. While that descriptor takes nothing,
 * the board fills up and then holds the processor that writes: the guest's
 * serial port stands still, and nothing else of the guest. It is let go when the
 * run ends, and not held for long once the guest was asked to end.
 */
#include <string.h>

#include "outlet.h"
#include "part.h"

/* For what is left in the end: as long as some of it goes out. */
#define STILL_MS 1000u
#define ALL_MS	 5000u

static unsigned patience_ms(const struct hv *hv)
{
	return hv->opts.console_ms ? hv->opts.console_ms : STILL_MS;
}

static size_t take(void *arg, uint8_t *to, size_t cap)
{
	struct hv *hv = arg;
	const struct hv_opts *o = &hv->opts;
	size_t n = hv_board_output_wait(hv->board, to, cap);

	if (n > 0 && o->console_tap)
		o->console_tap(o->console_arg, to, n);
	return n;
}

static void broken(void *arg, int code)
{
	hv_say(arg, "console: cannot write: %s; output is lost from here on",
	       strerror(code));
}

static int begins(void *arg, struct vhd_err *err)
{
	const struct hv *hv = arg;
	const struct hv_opts *o = &hv->opts;

	return o->thread_begins
		       ? o->thread_begins(o->thread_arg, HV_THREAD_CONSOLE, err)
		       : 0;
}

int hv_console_create(struct hv *hv, struct vhd_err *err)
{
	const struct hv_outlet_opts o = {
		.fd = hv->opts.console_out_fd,
		.name = "console",
		.take = take,
		.broken = broken,
		.begins = begins,
		.arg = hv,
	};

	hv_board_on_wait(hv->board, hv_stand_here, hv);
	return hv_outlet_create(&o, &hv->life.console, err);
}

int hv_console_begin(struct hv *hv, struct vhd_err *err)
{
	return hv_outlet_begin(hv->life.console, err);
}

void hv_console_hurry(struct hv *hv)
{
	hv_board_hurry(hv->board, patience_ms(hv));
}

void hv_console_say_lost(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	struct hv_board_output o;

	hv_board_output_state(hv->board, &o);
	if (o.lost > l->told_lost)
		hv_say(hv, "console: nobody took its output in time: %llu "
			   "bytes are lost",
		       (unsigned long long)(o.lost - l->told_lost));
	l->told_lost = o.lost;
}

void hv_console_end(struct hv *hv)
{
	struct hv_life *l = &hv->life;
	struct hv_board_output o;

	if (!l->console)
		return;
	hv_board_output_end(hv->board);
	if (hv_outlet_end(l->console, patience_ms(hv), ALL_MS)) {
		hv_console_say_lost(hv);
	} else {
		uint64_t lost;

		hv_board_output_state(hv->board, &o);
		lost = o.lost - l->told_lost + o.left;
		hv_say(hv, "console: nobody takes its output: %llu bytes and "
			   "what was on its way are lost",
		       (unsigned long long)lost);
	}
	l->console = NULL;
}
