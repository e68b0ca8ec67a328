/* SPDX-License-Identifier: BSD-2-Clause */
/* What hv tells the person in front of it, line by line, from any thread. While
 * a guest runs the lines go through a queue and a thread of their own: a
 * terminal that was stopped must not keep a processor, a disk's thread or the
 * one that serves hv ctl waiting. Lines that find no room are counted, and the
 * next one that does says how many.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hv.h"
#include "hv/outlet.h"
#include "tools/sandbox/sandbox.h"

#define QUEUE_BYTES 16384u
#define LINE_BYTES  400u
#define STILL_MS    1000u
#define ALL_MS	    2000u

static struct {
	struct hv_outlet *outlet;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t given;
	bool open; /* lines go through the queue */
	size_t first, count;
	char bytes[QUEUE_BYTES];
	unsigned left_out; /* lines */
} says = {.lock = PTHREAD_MUTEX_INITIALIZER,
	  .given = PTHREAD_COND_INITIALIZER};

static size_t take(void *unused, uint8_t *to, size_t cap)
{
	size_t n;

	(void)unused;
	pthread_mutex_lock(&says.lock);
	while (says.count == 0 && says.open)
		pthread_cond_wait(&says.given, &says.lock);
	n = says.count < cap ? says.count : cap;
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)says.bytes[(says.first + i) % QUEUE_BYTES];
	says.first = (says.first + n) % QUEUE_BYTES;
	says.count -= n;
	pthread_mutex_unlock(&says.lock);
	return n;
}

static void put(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		says.bytes[(says.first + says.count++) % QUEUE_BYTES] = text[i];
	pthread_cond_signal(&says.given);
}

/* With the lock: whole lines or nothing. */
static void queue(const char *line, const char *end)
{
	char text[LINE_BYTES + 64];
	int n;

	if (says.left_out)
		n = snprintf(text, sizeof(text),
			     "%s: %.320s (%u lines before this one left "
			     "out)%s\n", hv_prog, line, says.left_out, end);
	else
		n = snprintf(text, sizeof(text), "%s: %.400s%s\n", hv_prog,
			     line, end);
	if (n < 0)
		return;
	if ((size_t)n > QUEUE_BYTES - says.count) {
		says.left_out++;
		return;
	}
	says.left_out = 0;
	put(text, (size_t)n);
}

void hv_say_line(void *unused, const char *line)
{
	const char *end = hv_terminal_is_raw() ? "\r" : "";
	bool open;

	(void)unused;
	pthread_mutex_lock(&says.lock);
	open = says.open;
	if (open)
		queue(line, end);
	pthread_mutex_unlock(&says.lock);
	if (!open)
		fprintf(stderr, "%s: %s%s\n", hv_prog, line, end);
}

/* With the lock. */
static void queue_text(const char *text, size_t len, bool raw)
{
	if (2 * len > QUEUE_BYTES - says.count) {
		says.left_out++;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' && raw)
			put("\r", 1);
		put(text + i, 1);
	}
}

void hv_say_text(const char *text, size_t len)
{
	const bool raw = hv_terminal_is_raw();
	bool open;

	pthread_mutex_lock(&says.lock);
	open = says.open;
	if (open)
		queue_text(text, len, raw);
	pthread_mutex_unlock(&says.lock);
	for (size_t i = 0; i < len && !open; i++) {
		if (text[i] == '\n' && raw)
			fputc('\r', stderr);
		fputc(text[i], stderr);
	}
}

void hv_escape_show_help(void)
{
	hv_say_line(NULL, "Ctrl-A x      stop the guest and end");
	hv_say_line(NULL, "Ctrl-A Ctrl-A send Ctrl-A to the guest");
	hv_say_line(NULL, "Ctrl-A h      this help");
}

static int begins(void *unused, struct vhd_err *err)
{
	(void)unused;
	return sandbox_filter(SANDBOX_OUTPUT, hv_prog, err);
}

int hv_say_create(bool filtered, struct vhd_err *err)
{
	const struct hv_outlet_opts o = {
		.fd = STDERR_FILENO,
		.name = "messages",
		.take = take,
		.begins = filtered ? begins : NULL,
	};

	return hv_outlet_create(&o, &says.outlet, err);
}

int hv_say_begin(struct vhd_err *err)
{
	int rc;

	says.open = true; /* nobody else is there yet */
	rc = hv_outlet_begin(says.outlet, err);
	if (rc)
		says.open = false;
	return rc;
}

void hv_say_end(void)
{
	pthread_mutex_lock(&says.lock);
	says.open = false;
	pthread_cond_signal(&says.given);
	pthread_mutex_unlock(&says.lock);
	/* where it is given up there is nobody to tell it to */
	(void)hv_outlet_end(says.outlet, STILL_MS, ALL_MS);
	says.outlet = NULL;
}
