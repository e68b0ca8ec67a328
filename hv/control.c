/* SPDX-License-Identifier: BSD-2-Clause */
/* The control thread: VMBus messages, emptied message slots, and the console's
 * input, from machine to machine until the run has an end. It waits for nobody:
 * output has a thread of its own (console.c).
 *
 * poll(2) and not epoll: the console may be a file or /dev/null.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "part.h"

#define CHUNK_BYTES 4096u

struct control {
	struct hv *hv;
	int in_fd;	      /* -1: closed */
	uint8_t in[CHUNK_BYTES];
	size_t in_at, in_len; /* what the guest has not taken yet */
};

static void drain_eventfd(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

/* ------------------------------------------------------------- console -- */

static void push_input(struct control *c)
{
	c->in_at += hv_board_input(c->hv->board, c->in + c->in_at,
				   c->in_len - c->in_at);
	if (c->in_at == c->in_len)
		c->in_at = c->in_len = 0;
}

static void read_input(struct control *c)
{
	const struct hv_opts *o = &c->hv->opts;
	ssize_t n = read(c->in_fd, c->in, sizeof(c->in));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		/* End of input is no end of the guest. */
		c->in_fd = -1;
		return;
	}
	c->in_len = (size_t)n;
	if (o->console_filter)
		c->in_len = o->console_filter(o->console_arg, c->in, c->in_len);
	push_input(c);
}

/* ---------------------------------------------------------------- loop -- */

enum { WAIT_WAKE, WAIT_BUS, WAIT_ACK, WAIT_IN, WAIT_SOURCES,
       WAIT_COUNT = WAIT_SOURCES + HV_SOURCES_MAX };

static void poll_once(struct control *c, int timeout_ms,
		      struct pollfd p[WAIT_COUNT])
{
	struct hv *hv = c->hv;

	p[WAIT_WAKE] = (struct pollfd){.fd = hv->wake_fd, .events = POLLIN};
	p[WAIT_BUS] = (struct pollfd){.fd = vmbus_eventfd(hv->bus),
				      .events = POLLIN};
	p[WAIT_ACK] = (struct pollfd){.fd = hv->ack_wanted ? hv->ack_fd : -1,
				      .events = POLLIN};
	p[WAIT_IN] = (struct pollfd){.fd = c->in_len == 0 ? c->in_fd : -1,
				     .events = POLLIN};
	for (unsigned i = 0; i < hv->life.source_count; i++)
		p[WAIT_SOURCES + i] = (struct pollfd){
			.fd = hv->life.source[i]->fd, .events = POLLIN};
	if (poll(p, WAIT_SOURCES + hv->life.source_count, timeout_ms) < 0)
		for (int i = 0; i < WAIT_COUNT; i++)
			p[i].revents = 0;
}

/* Milliseconds until `due`; -1 for never. */
static int until(int64_t due)
{
	int64_t left;

	if (due < 0)
		return -1;
	left = due - hv_now_ms();
	return left < 0 ? 0 : (int)left;
}

/* The first of the moments that something waits for; -1: none. */
static int64_t first_due(const struct hv *hv, int64_t bus_due)
{
	int64_t due = bus_due;

	for (unsigned i = 0; i < hv->life.source_count; i++) {
		int64_t other = hv->life.source[i]->due_ms;

		if (other >= 0 && (due < 0 || other < due))
			due = other;
	}
	return due;
}

static void serve_sources(const struct hv *hv, const struct pollfd *p)
{
	for (unsigned i = 0; i < hv->life.source_count; i++) {
		struct hv_source *s = hv->life.source[i];

		if (p[i].revents || until(s->due_ms) == 0)
			s->serve(s);
	}
}

static void serve(struct control *c)
{
	struct hv *hv = c->hv;
	struct pollfd p[WAIT_COUNT];
	int64_t bus_due = 0;

	while (!hv_ended(hv)) {
		poll_once(c, until(first_due(hv, bus_due)), p);
		if (p[WAIT_WAKE].revents) {
			drain_eventfd(hv->wake_fd);
			hv_asks_serve(hv);
		}
		if (p[WAIT_ACK].revents) {
			drain_eventfd(hv->ack_fd);
			hv->ack_wanted = false;
			vmbus_kick(hv->bus);
			p[WAIT_BUS].revents = POLLIN;
		}
		if (p[WAIT_BUS].revents || until(bus_due) == 0) {
			int ms = vmbus_service(hv->bus);

			bus_due = ms < 0 ? -1 : hv_now_ms() + ms;
		}
		serve_sources(hv, p + WAIT_SOURCES);
		if (p[WAIT_IN].revents)
			read_input(c);
		else if (c->in_len > 0)
			push_input(c);
	}
}

void hv_control_run(struct hv *hv)
{
	struct control c = {
		.hv = hv,
		.in_fd = hv->opts.console_in_fd,
	};

	do {
		serve(&c);
		/* once for each machine, however soon it ended */
		hv_asks_serve(hv);
		hv_life_go_on(hv);
		hv_vcpus_halt(hv);
	} while (hv_restart(hv));
}
