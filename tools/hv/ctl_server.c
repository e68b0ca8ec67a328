/* SPDX-License-Identifier: BSD-2-Clause */
/* The control server inside `hv run`: a thread of its own, so that no client,
 * however slow or hostile, keeps the guest or its bus from anything. Clients
 * are few, requests bounded; those about disks are carried out one at a time,
 * those that the guest has to answer are waited for beside one another. A
 * client that does not read its answer is not asked for more until it does; at
 * the console it loses output, and is told how much.
 *
 * One at the console types: who came last and did not come to watch only.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/cli/json.h"
#include "tools/sandbox/sandbox.h"

#define CLIENTS_MAX 8u
#define TIDY_MS	    500

struct client {
	int fd; /* -1: none */
	char *answer; /* that it has not taken yet, or NULL */
	size_t answer_bytes;
	struct ctl_call *call; /* that it waits for, or NULL */
	bool waits;	       /* for the end */
	bool holds;	       /* a freeze that ends with it */
	bool console;	       /* its packets are bytes */
	uint64_t at;	       /* of the console: what it has seen */
	uint64_t lost;	       /* ... and has lost since it was last told */
};

struct ctl_server {
	struct ctl_place place;
	int listen_fd, stop_fd, wake_fd;
	struct hv *hv;
	struct ctl_disks *disks;
	struct ctl_console *output;
	atomic_uint watchers; /* clients at the console */
	pthread_t thread;
	bool started;
	pthread_mutex_t begin_lock; /* guards the two, for `begun` */
	pthread_cond_t begun_cond;
	bool begun;
	int begin_result;
	struct vhd_err begin_err;
	/* the thread's own */
	struct client clients[CLIENTS_MAX];
	struct client *typist; /* or NULL */
	struct ctl_call *calls; /* all that are not done */
	char request[CTL_REQUEST_BYTES_MAX];
	struct ctl_request parsed;
	uint8_t chunk[CTL_CONSOLE_CHUNK];
};

/* -------------------------------------------------------------- clients -- */

static void call_keep(struct ctl_server *s, struct ctl_call *call)
{
	call->next = s->calls;
	s->calls = call;
}

/* Nobody waits for how it went; should it fail, the freeze has its limit. */
static void thaw(struct ctl_server *s)
{
	const struct ctl_request r = {.command = CTL_THAW};
	struct json_object *no = NULL;
	struct ctl_call *call = ctl_call_begin(s->hv, &r, s->wake_fd, &no);

	if (call)
		call_keep(s, call);
	json_object_put(no);
}

static void client_close(struct ctl_server *s, struct client *c)
{
	bool held = c->holds;

	(void)close(c->fd);
	free(c->answer);
	if (c->call && c->call->input)
		hv_ask_drop(&c->call->ask);
	if (c->console)
		atomic_fetch_sub(&s->watchers, 1);
	if (s->typist == c)
		s->typist = NULL;
	*c = (struct client){.fd = -1};
	if (held)
		thaw(s);
}

/* Root, or the user who runs the guest. */
static bool peer_ok(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0 &&
	       len == sizeof(u) && (u.uid == 0 || u.uid == geteuid());
}

/* Whether there was one to take. Where there is not, as no descriptor is left
 * for it, it stays in the queue.
 */
static bool accept_one(struct ctl_server *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return false;
	for (unsigned i = 0; i < CLIENTS_MAX && peer_ok(fd); i++) {
		if (s->clients[i].fd < 0) {
			s->clients[i] = (struct client){.fd = fd};
			return true;
		}
	}
	(void)close(fd);
	return true;
}

static void send_answer(struct ctl_server *s, struct client *c)
{
	int rc = ctl_send(c->fd, c->answer, c->answer_bytes, NULL, 0,
			  MSG_DONTWAIT);

	if (rc == -EAGAIN)
		return;
	free(c->answer);
	c->answer = NULL;
	if (rc)
		client_close(s, c);
}

static struct json_object *too_long(void)
{
	struct vhd_err err;

	(void)vhd_fail(&err, -EMSGSIZE, VHD_WHY_ARGUMENT, 0,
		       "the answer is longer than %u bytes: ask for less at "
		       "once", CTL_ANSWER_BYTES_MAX);
	return ctl_refusal(&err);
}

/* The text of the answer, or of one that says that it is too long. */
static void answer(struct ctl_server *s, struct client *c,
		   struct json_object *o)
{
	const char *text = cli_json_print(o, JSON_C_TO_STRING_PLAIN);

	if (text && strlen(text) > CTL_ANSWER_BYTES_MAX) {
		json_object_put(o);
		o = too_long();
		text = cli_json_print(o, JSON_C_TO_STRING_PLAIN);
	}
	if (text)
		c->answer = strdup(text);
	json_object_put(o);
	if (!c->answer) {
		client_close(s, c);
		return;
	}
	c->answer_bytes = strlen(c->answer);
	send_answer(s, c);
}

/* ------------------------------------------------------------ the guest -- */

/* A line of ours in the console's output. */
static int note(struct client *c, const char *line)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "\r\n[hv: %s]\r\n", line);

	return ctl_send(c->fd, text, (size_t)len, NULL, 0, MSG_DONTWAIT);
}

/* That something is missing is told before what follows it. */
static int note_lost(struct client *c)
{
	char line[80];
	int rc;

	if (!c->lost)
		return 0;
	snprintf(line, sizeof(line),
		 "%llu bytes of output lost: this console was too slow",
		 (unsigned long long)c->lost);
	rc = note(c, line);
	if (rc == 0)
		c->lost = 0;
	return rc;
}

static void console_begin(struct ctl_server *s, struct client *c,
			  const struct ctl_request *r)
{
	/* all that is written after the answer is seen */
	c->console = true;
	c->at = ctl_console_begin(s->output);
	atomic_fetch_add(&s->watchers, 1);
	answer(s, c, ctl_yes());
	if (c->fd < 0 || r->read_only)
		return;
	if (s->typist)
		(void)note(s->typist, "the keyboard is at another console now");
	s->typist = c;
}

/* What it typed, unless another one does the typing. */
static void console_input(struct ctl_server *s, struct client *c)
{
	int fds[CTL_FILES_MAX];
	unsigned count;
	ssize_t n = ctl_receive(c->fd, s->request, sizeof(s->request), fds,
				&count, MSG_DONTWAIT);

	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		client_close(s, c);
		return;
	}
	if (s->typist != c)
		return;
	c->call = ctl_call_input(s->hv, s->request, (size_t)n, s->wake_fd);
	if (c->call)
		call_keep(s, c->call);
	else
		(void)note(c, "what was typed is lost: hv is busy");
}

static void console_output(struct ctl_server *s, struct client *c)
{
	uint64_t at = c->at, lost;
	size_t n = ctl_console_get(s->output, &at, s->chunk, &lost);
	int rc;

	c->at = at;
	c->lost += lost;
	rc = note_lost(c);
	if (rc == 0 && n)
		rc = ctl_send(c->fd, s->chunk, n, NULL, 0, MSG_DONTWAIT);
	else
		n = 0;
	if (rc == 0)
		c->at += n;
	else if (rc != -EAGAIN)
		client_close(s, c);
}

void ctl_server_tap(struct ctl_server *s, const uint8_t *bytes, size_t len)
{
	if (!s)
		return;
	ctl_console_put(s->output, bytes, len);
	if (atomic_load(&s->watchers))
		(void)eventfd_write(s->wake_fd, 1);
}

static void call_begin(struct ctl_server *s, struct client *c,
		       const struct ctl_request *r)
{
	struct json_object *no = NULL;

	c->call = ctl_call_begin(s->hv, r, s->wake_fd, &no);
	if (c->call)
		call_keep(s, c->call);
	else
		answer(s, c, no);
}

static void finished(struct ctl_server *s, struct ctl_call *call)
{
	struct client *c = NULL;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0 && s->clients[i].call == call)
			c = &s->clients[i];
	if (c) {
		c->call = NULL;
		c->holds = c->holds || (call->hold && !call->ask.result);
		if (call->command == CTL_THAW && !call->ask.result)
			for (unsigned i = 0; i < CLIENTS_MAX; i++)
				s->clients[i].holds = false;
		c->waits = call->wait && !call->ask.result;
		if (!call->input)
			answer(s, c, ctl_call_answer(call));
	} else if (call->hold && !call->ask.result) {
		thaw(s); /* who wanted it frozen has gone */
	}
	ctl_call_free(call);
}

/* Those that are done. */
static void calls_collect(struct ctl_server *s)
{
	struct ctl_call **at = &s->calls;

	while (*at) {
		struct ctl_call *call = *at;

		if (!atomic_load(&call->done)) {
			at = &call->next;
			continue;
		}
		*at = call->next;
		finished(s, call);
		at = &s->calls; /* it may have begun another */
	}
}

/* ----------------------------------------------------------- requests ---- */

static void carry_out(struct ctl_server *s, struct client *c,
		      const struct ctl_request *r)
{
	if (r->command == CTL_KILL)
		hv_stop(s->hv);
	switch (r->command) {
	case CTL_KILL:
	case CTL_WAIT:
		c->waits = true;
		return;
	case CTL_CONSOLE:
		console_begin(s, c, r);
		return;
	default:
		call_begin(s, c, r);
	}
}

static void serve(struct ctl_server *s, struct client *c)
{
	int fds[CTL_FILES_MAX];
	struct ctl_request *r = &s->parsed;
	struct vhd_err err;
	unsigned count;
	bool good;
	ssize_t n = ctl_receive(c->fd, s->request, sizeof(s->request), fds,
				&count, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return;
	good = n > 0 &&
	       ctl_request_parse(s->request, (size_t)n, r, &err) == 0;
	if (good && r->command < CTL_INFO) {
		answer(s, c, ctl_disks_do(s->disks, r, fds, count));
		return;
	}
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
	if (n <= 0)
		client_close(s, c);
	else if (good)
		carry_out(s, c, r);
	else
		answer(s, c, ctl_refusal(&err));
}

/* ------------------------------------------------------------- the loop -- */

enum { WAIT_STOP, WAIT_WAKE, WAIT_LISTEN, WAIT_CLIENTS };

/* What of a client is listened for; nothing: only that it goes. */
static short wanted(struct ctl_server *s, const struct client *c)
{
	short events = 0;

	if (c->answer)
		return POLLOUT;
	if (c->console && ctl_console_behind(s->output, c->at))
		events |= POLLOUT;
	if (!c->call && !c->waits)
		events |= POLLIN;
	return events;
}

static void attend(struct ctl_server *s, struct client *c, short events)
{
	if (c->answer) {
		send_answer(s, c);
		return;
	}
	if (c->call || c->waits) {
		if (events & (POLLHUP | POLLERR)) {
			client_close(s, c);
			return;
		}
	} else if (events & (POLLIN | POLLHUP | POLLERR)) {
		if (c->console)
			console_input(s, c);
		else
			serve(s, c);
	}
	if (c->fd >= 0 && c->console && events & POLLOUT && !c->answer)
		console_output(s, c);
}

static void woken(struct ctl_server *s)
{
	eventfd_t n;

	(void)eventfd_read(s->wake_fd, &n);
	calls_collect(s);
}

static void loop(struct ctl_server *s)
{
	struct pollfd p[WAIT_CLIENTS + CLIENTS_MAX];
	bool listen = true; /* not right after it failed */

	for (;;) {
		int ms = ctl_disks_tidy(s->disks) || !listen ? TIDY_MS : -1;

		p[WAIT_STOP] = (struct pollfd){s->stop_fd, POLLIN, 0};
		p[WAIT_WAKE] = (struct pollfd){s->wake_fd, POLLIN, 0};
		p[WAIT_LISTEN] = (struct pollfd){
			listen ? s->listen_fd : -1, POLLIN, 0};
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			p[WAIT_CLIENTS + i] = (struct pollfd){
				s->clients[i].fd,
				wanted(s, &s->clients[i]), 0};
		if (poll(p, WAIT_CLIENTS + CLIENTS_MAX, ms) < 0)
			continue;
		if (p[WAIT_WAKE].revents || p[WAIT_STOP].revents)
			woken(s); /* who waited hears of the end, too */
		if (p[WAIT_STOP].revents)
			return;
		for (unsigned i = 0; i < CLIENTS_MAX; i++) {
			short events = p[WAIT_CLIENTS + i].revents;

			/* another one's end may have been its own */
			if (events && s->clients[i].fd == p[WAIT_CLIENTS + i].fd)
				attend(s, &s->clients[i], events);
		}
		listen = !p[WAIT_LISTEN].revents || accept_one(s);
	}
}

static void *run(void *arg)
{
	struct ctl_server *s = arg;
	int rc;

	(void)pthread_setname_np(pthread_self(), "ctl"); /* for people only */
	rc = sandbox_filter(SANDBOX_CTL, hv_prog, &s->begin_err);
	pthread_mutex_lock(&s->begin_lock);
	s->begin_result = rc;
	s->begun = true;
	pthread_cond_signal(&s->begun_cond);
	pthread_mutex_unlock(&s->begin_lock);
	if (rc == 0)
		loop(s);
	return NULL;
}

/* --------------------------------------------------------- coming, going - */

/* json-c takes a random number for its tables once, which no filter allows. */
static void warm_up(void)
{
	struct json_object *o = cli_json_object();

	cli_json_put(o, "ok", cli_json_bool(true));
	json_object_put(o);
}

int ctl_server_create(const char *name, struct hv *hv, struct hv_disks *disks,
		      struct hv_controllers *controllers,
		      struct ctl_server **out, struct vhd_err *err)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for the control socket");
	s->listen_fd = s->stop_fd = s->wake_fd = s->place.dir_fd = -1;
	s->hv = hv;
	atomic_init(&s->watchers, 0);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	pthread_mutex_init(&s->begin_lock, NULL);
	pthread_cond_init(&s->begun_cond, NULL);
	*out = s;
	warm_up();
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->disks = ctl_disks_create(disks, controllers);
	s->output = ctl_console_create();
	if (s->stop_fd < 0 || s->wake_fd < 0 || !s->disks || !s->output)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for the control socket");
	rc = ctl_place_find(name, true, &s->place, err);
	return rc ? rc : ctl_listen(&s->place, &s->listen_fd, err);
}

int ctl_server_dir_fd(const struct ctl_server *s)
{
	return s->place.dir_fd;
}

int ctl_server_start(struct ctl_server *s, struct vhd_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
				"no thread for the control socket");
	s->started = true;
	pthread_mutex_lock(&s->begin_lock);
	while (!s->begun)
		pthread_cond_wait(&s->begun_cond, &s->begin_lock);
	rc = s->begin_result;
	pthread_mutex_unlock(&s->begin_lock);
	if (rc)
		*err = s->begin_err;
	return rc;
}

void ctl_server_stop(struct ctl_server *s)
{
	if (!s)
		return;
	if (s->listen_fd >= 0) {
		(void)unlinkat(s->place.dir_fd, s->place.name, 0);
		/* a stale one is replaced where this fails */
	}
	if (s->started) {
		(void)eventfd_write(s->stop_fd, 1);
		pthread_join(s->thread, NULL);
		s->started = false;
	}
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0 && !s->clients[i].waits)
			client_close(s, &s->clients[i]);
	if (s->listen_fd >= 0)
		(void)close(s->listen_fd);
	s->listen_fd = -1;
}

int ctl_server_close_disks(struct ctl_server *s)
{
	int status = CLI_OK;

	if (s)
		status = ctl_disks_destroy(s->disks);
	if (s)
		s->disks = NULL;
	return status;
}

/* A packet as small as this fits into a socket that nothing was sent on. */
static void farewell(struct client *c, const char *how)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "{\"ok\":true,\"ended\":\"%s\"}",
			 how);

	/* write and not send: the filters of this thread know no sockets;
	 * where the client is gone nobody misses it
	 */
	if (c->waits && write(c->fd, text, (size_t)n) < 0)
		return;
}

void ctl_server_destroy(struct ctl_server *s, const char *how)
{
	if (!s)
		return;
	ctl_server_stop(s);
	(void)ctl_server_close_disks(s);
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0)
			continue;
		farewell(c, how);
		c->holds = false; /* there is no guest to thaw any more */
		c->call = NULL;
		client_close(s, c);
	}
	while (s->calls) {
		struct ctl_call *call = s->calls;

		s->calls = call->next;
		ctl_call_free(call);
	}
	ctl_console_destroy(s->output);
	ctl_place_close(&s->place);
	if (s->stop_fd >= 0)
		(void)close(s->stop_fd);
	if (s->wake_fd >= 0)
		(void)close(s->wake_fd);
	pthread_cond_destroy(&s->begun_cond);
	pthread_mutex_destroy(&s->begin_lock);
	free(s);
}
