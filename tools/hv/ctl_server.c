/* SPDX-License-Identifier: BSD-2-Clause */
/* The control server inside `hv run`: a thread of its own, so that no client,
 * however slow or hostile, keeps the guest or its bus from anything. Clients
 * are few, requests bounded and carried out one at a time; a client that does
 * not read its answer is not asked for more until it does.
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
};

struct ctl_server {
	struct ctl_place place;
	int listen_fd, stop_fd;
	struct ctl_disks *disks;
	pthread_t thread;
	bool started;
	pthread_mutex_t begin_lock; /* guards the two, for `begun` */
	pthread_cond_t begun_cond;
	bool begun;
	int begin_result;
	struct vhd_err begin_err;
	/* the thread's own */
	struct client clients[CLIENTS_MAX];
	char request[CTL_REQUEST_BYTES_MAX];
};

/* -------------------------------------------------------------- clients -- */

static void client_close(struct client *c)
{
	(void)close(c->fd);
	free(c->answer);
	*c = (struct client){.fd = -1};
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
			s->clients[i].fd = fd;
			return true;
		}
	}
	(void)close(fd);
	return true;
}

static void send_answer(struct client *c)
{
	int rc = ctl_send(c->fd, c->answer, c->answer_bytes, NULL, 0,
			  MSG_DONTWAIT);

	if (rc == -EAGAIN)
		return;
	free(c->answer);
	c->answer = NULL;
	if (rc)
		client_close(c);
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
static void answer(struct client *c, struct json_object *o)
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
		client_close(c);
		return;
	}
	c->answer_bytes = strlen(c->answer);
	send_answer(c);
}

static void serve(struct ctl_server *s, struct client *c)
{
	int fds[CTL_FILES_MAX];
	struct ctl_request r;
	struct vhd_err err;
	unsigned count;
	ssize_t n = ctl_receive(c->fd, s->request, sizeof(s->request), fds,
				&count, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return;
	if (n > 0 && ctl_request_parse(s->request, (size_t)n, &r, &err) == 0) {
		answer(c, ctl_disks_do(s->disks, &r, fds, count));
		return;
	}
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
	if (n <= 0)
		client_close(c);
	else
		answer(c, ctl_refusal(&err));
}

/* ------------------------------------------------------------- the loop -- */

enum { WAIT_STOP, WAIT_LISTEN, WAIT_CLIENTS };

static void loop(struct ctl_server *s)
{
	struct pollfd p[WAIT_CLIENTS + CLIENTS_MAX];
	bool listen = true; /* not right after it failed */

	for (;;) {
		int ms = ctl_disks_tidy(s->disks) || !listen ? TIDY_MS : -1;

		p[WAIT_STOP] = (struct pollfd){s->stop_fd, POLLIN, 0};
		p[WAIT_LISTEN] = (struct pollfd){
			listen ? s->listen_fd : -1, POLLIN, 0};
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			p[WAIT_CLIENTS + i] = (struct pollfd){
				s->clients[i].fd,
				s->clients[i].answer ? POLLOUT : POLLIN, 0};
		if (poll(p, WAIT_CLIENTS + CLIENTS_MAX, ms) < 0)
			continue;
		if (p[WAIT_STOP].revents)
			return;
		for (unsigned i = 0; i < CLIENTS_MAX; i++) {
			struct client *c = &s->clients[i];

			if (!p[WAIT_CLIENTS + i].revents)
				continue;
			if (c->answer)
				send_answer(c);
			else
				serve(s, c);
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

int ctl_server_create(const char *name, struct hv_disks *disks,
		      struct hv_controllers *controllers,
		      struct ctl_server **out, struct vhd_err *err)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for the control socket");
	s->listen_fd = s->stop_fd = s->place.dir_fd = -1;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	pthread_mutex_init(&s->begin_lock, NULL);
	pthread_cond_init(&s->begun_cond, NULL);
	*out = s;
	warm_up();
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->disks = ctl_disks_create(disks, controllers);
	if (s->stop_fd < 0 || !s->disks)
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
		if (s->clients[i].fd >= 0)
			client_close(&s->clients[i]);
	if (s->listen_fd >= 0)
		(void)close(s->listen_fd);
	s->listen_fd = -1;
}

int ctl_server_destroy(struct ctl_server *s)
{
	int status;

	if (!s)
		return CLI_OK;
	ctl_server_stop(s);
	status = ctl_disks_destroy(s->disks);
	ctl_place_close(&s->place);
	if (s->stop_fd >= 0)
		(void)close(s->stop_fd);
	pthread_cond_destroy(&s->begun_cond);
	pthread_mutex_destroy(&s->begin_lock);
	free(s);
	return status;
}
