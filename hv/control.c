/* SPDX-License-Identifier: BSD-2-Clause */
/* The control thread: VMBus messages, emptied message slots, and the console's
 * bytes in both directions, from machine to machine until the run has an end.
 *
 * poll(2) and not epoll: the console may be a file or /dev/null.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "part.h"

/* At most what a pipe takes at once when it says that it takes something. */
#define CHUNK_BYTES 4096u
#define DRAIN_MS 1000

struct control {
	struct hv *hv;
	int in_fd, out_fd;    /* -1: closed or broken */
	uint8_t in[CHUNK_BYTES];
	size_t in_at, in_len; /* what the guest has not taken yet */
	uint8_t out[CHUNK_BYTES];
	size_t out_at, out_len;
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

/* Fetch what the guest wrote unless older output still waits. */
static bool have_output(struct control *c)
{
	const struct hv_opts *o = &c->hv->opts;

	if (c->out_at == c->out_len) {
		c->out_at = 0;
		c->out_len = hv_board_output(c->hv->board, c->out,
					     sizeof(c->out));
		if (c->out_len > 0 && o->console_tap)
			o->console_tap(o->console_arg, c->out, c->out_len);
	}
	return c->out_len > 0;
}

static void write_output(struct control *c)
{
	ssize_t n;

	if (c->out_fd < 0) {
		c->out_at = c->out_len;
		return;
	}
	n = write(c->out_fd, c->out + c->out_at, c->out_len - c->out_at);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		hv_say(c->hv, "console: cannot write: %s; output is lost from "
		       "here on", strerror(errno));
		c->out_fd = -1;
		return;
	}
	c->out_at += (size_t)n;
}

/* ---------------------------------------------------------------- loop -- */

enum { WAIT_WAKE, WAIT_BUS, WAIT_ACK, WAIT_IN, WAIT_OUT, WAIT_SOURCES,
       WAIT_COUNT = WAIT_SOURCES + HV_SOURCES_MAX };

static void poll_once(struct control *c, int timeout_ms,
		      struct pollfd p[WAIT_COUNT])
{
	struct hv *hv = c->hv;
	bool output = have_output(c);

	p[WAIT_WAKE] = (struct pollfd){.fd = hv->wake_fd, .events = POLLIN};
	p[WAIT_BUS] = (struct pollfd){.fd = vmbus_eventfd(hv->bus),
				      .events = POLLIN};
	p[WAIT_ACK] = (struct pollfd){.fd = hv->ack_wanted ? hv->ack_fd : -1,
				      .events = POLLIN};
	p[WAIT_IN] = (struct pollfd){.fd = c->in_len == 0 ? c->in_fd : -1,
				     .events = POLLIN};
	p[WAIT_OUT] = (struct pollfd){.fd = output ? c->out_fd : -1,
				      .events = POLLOUT};
	for (unsigned i = 0; i < hv->life.source_count; i++)
		p[WAIT_SOURCES + i] = (struct pollfd){
			.fd = hv->life.source[i]->fd, .events = POLLIN};
	if (poll(p, WAIT_SOURCES + hv->life.source_count, timeout_ms) < 0)
		for (int i = 0; i < WAIT_COUNT; i++)
			p[i].revents = 0;
	/* A broken or closed console takes everything. */
	if (output && (c->out_fd < 0 || p[WAIT_OUT].revents))
		write_output(c);
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

/* What the guest wrote before its end still goes out, if somebody takes it. */
static void drain(struct control *c)
{
	int64_t due = hv_now_ms() + DRAIN_MS;

	while (have_output(c) && c->out_fd >= 0 && until(due) > 0) {
		struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};

		if (poll(&p, 1, until(due)) > 0)
			write_output(c);
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
		.out_fd = hv->opts.console_out_fd,
	};

	do {
		serve(&c);
		/* once for each machine, however soon it ended */
		hv_asks_serve(hv);
		hv_life_go_on(hv);
		hv_vcpus_halt(hv);
		drain(&c);
	} while (hv_restart(hv));
}
