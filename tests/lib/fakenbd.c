/* SPDX-License-Identifier: BSD-2-Clause */
/* The server of fakenbd.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fakenbd.h"
#include "vhd/endian.h"

#define GREETING      0x4e42444d41474943ull /* NBDMAGIC */
#define OLD_MAGIC     0x00420281861253ull
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC   0x67446698u
#define CMD_FUA	      1u

struct greeting {
	be64 magic, old, size;
	be16 global, flags;
	uint8_t zero[124];
};

struct request {
	be32 magic;
	be16 flags, op;
	uint8_t handle[8];
	be64 off;
	be32 len;
};

struct reply {
	be32 magic, error;
	uint8_t handle[8];
};

struct connection {
	struct fakenbd *s;
	int fd;
	unsigned number;
};

static bool take(int fd, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = recv(fd, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool give(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static void lose_cache(struct fakenbd *s)
{
	memcpy(s->cache, s->medium, s->room_bytes);
	for (unsigned i = 0; i < s->connections; i++)
		if (s->fd[i] >= 0)
			(void)shutdown(s->fd[i], SHUT_RDWR);
}

/* Under the lock: what becomes of this command. False: the server is dead. */
static bool fate(struct fakenbd *s, unsigned op, uint32_t *error)
{
	s->commands++;
	s->ops[op]++;
	pthread_cond_broadcast(&s->changed);
	*error = op == s->fail_op && s->fail_at && s->ops[op] == s->fail_at
			 ? s->fail_error
			 : 0;
	if (!s->die_at || s->commands < s->die_at || !s->die_often)
		return true;
	s->die_often--;
	s->refuse |= s->refuse_dead;
	lose_cache(s);
	return false;
}

static void perform(struct fakenbd *s, unsigned op, bool fua, uint64_t off,
		    uint32_t len, uint8_t *data)
{
	if ((op == FAKENBD_WRITE || op == FAKENBD_ZERO) &&
	    off < s->guarded_off + s->guarded_bytes &&
	    s->guarded_off < off + len)
		s->guarded_writes++;
	if (op == FAKENBD_READ)
		memcpy(data, s->cache + off, len);
	else if (op == FAKENBD_WRITE)
		memcpy(s->cache + off, data, len);
	else if (op == FAKENBD_ZERO)
		memset(s->cache + off, 0, len);
	else if (op == FAKENBD_FLUSH)
		memcpy(s->medium, s->cache, s->room_bytes);
	if (!fua)
		return;
	s->fua++;
	memcpy(s->medium + off, s->cache + off, len);
}

static bool serve_one(struct connection *c);

/* If another command is there, or comes at once, it goes first. */
static bool let_pass(struct connection *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return !c->s->reorder || poll(&p, 1, 20) <= 0 || serve_one(c);
}

/* One command; false: the end of the connection. */
static bool serve_one(struct connection *c)
{
	struct fakenbd *s = c->s;
	struct request q;
	struct reply r = {.magic = be32_put(REPLY_MAGIC)};
	uint8_t *data = NULL;
	uint32_t len, error = 0;
	unsigned op, slow_ms;
	bool ok, silent = false;

	if (!take(c->fd, &q, sizeof(q)))
		return false;
	op = be16_get(q.op);
	len = be32_get(q.len);
	if (op >= FAKENBD_OPS || op == FAKENBD_DISC ||
	    be64_get(q.off) + len > s->room_bytes)
		return false;
	if (op == FAKENBD_READ || op == FAKENBD_WRITE)
		data = malloc(len);
	ok = op != FAKENBD_WRITE ||
	     (take(c->fd, data, len) && let_pass(c));
	pthread_mutex_lock(&s->lock);
	ok = ok && fate(s, op, &error);
	silent = c->number < s->silent;
	slow_ms = s->slow_ms;
	if (ok && !error && !silent)
		perform(s, op, be16_get(q.flags) & CMD_FUA, be64_get(q.off),
			len, data);
	while (ok && s->hold)
		pthread_cond_wait(&s->changed, &s->lock);
	if (ok && s->bad_magic)
		r.magic = be32_put(1);
	pthread_mutex_unlock(&s->lock);
	if (ok && silent) {
		free(data);
		return true;
	}
	if (slow_ms)
		(void)poll(NULL, 0, (int)slow_ms);
	if (ok) {
		r.error = be32_put(error);
		memcpy(r.handle, q.handle, sizeof(r.handle));
		ok = give(c->fd, &r, sizeof(r));
	}
	if (ok && op == FAKENBD_READ && !error)
		ok = give(c->fd, data, len);
	free(data);
	return ok;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	struct fakenbd *s = c->s;
	struct greeting g = {
		.magic = be64_put(GREETING),
		.old = be64_put(OLD_MAGIC),
		.size = be64_put(s->size_bytes),
		.flags = be16_put(s->flags),
	};
	bool ok = give(c->fd, &g, sizeof(g));

	while (ok)
		ok = serve_one(c);
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->connections; i++)
		if (s->fd[i] == c->fd)
			s->fd[i] = -1;
	close(c->fd);
	s->alive--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	free(c);
	return NULL;
}

int fakenbd_serve(struct fakenbd *s, int fd)
{
	struct connection *c;
	pthread_t thread;
	int rc = -ECONNREFUSED;

	pthread_mutex_lock(&s->lock);
	if (!s->refuse && s->connections < 64) {
		c = malloc(sizeof(*c));
		*c = (struct connection){s, fd, s->connections};
		s->fd[s->connections++] = fd;
		s->alive++;
		if (pthread_create(&thread, NULL, serve, c))
			abort();
		pthread_detach(thread);
		rc = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int fakenbd_connect(void *server)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	if (fakenbd_serve(server, fds[0]) == 0)
		return fds[1];
	close(fds[0]);
	close(fds[1]);
	return -ECONNREFUSED;
}

void fakenbd_kill(struct fakenbd *s)
{
	pthread_mutex_lock(&s->lock);
	lose_cache(s);
	pthread_mutex_unlock(&s->lock);
}

void fakenbd_slow(struct fakenbd *s, unsigned ms)
{
	pthread_mutex_lock(&s->lock);
	s->slow_ms = ms;
	pthread_mutex_unlock(&s->lock);
}

void fakenbd_release(struct fakenbd *s)
{
	pthread_mutex_lock(&s->lock);
	s->hold = false;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void fakenbd_meet(struct fakenbd *s)
{
	pthread_mutex_lock(&s->lock);
	pthread_mutex_unlock(&s->lock);
}

unsigned fakenbd_connections(struct fakenbd *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->connections;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void fakenbd_hush(struct fakenbd *s, unsigned silent)
{
	pthread_mutex_lock(&s->lock);
	s->silent = silent;
	pthread_mutex_unlock(&s->lock);
}

unsigned fakenbd_count(struct fakenbd *s, unsigned op)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->ops[op];
	pthread_mutex_unlock(&s->lock);
	return n;
}

void fakenbd_await(struct fakenbd *s, unsigned op, unsigned count)
{
	pthread_mutex_lock(&s->lock);
	while (s->ops[op] < count)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void fakenbd_init(struct fakenbd *s, uint64_t room_bytes)
{
	*s = (struct fakenbd){
		.size_bytes = room_bytes,
		.room_bytes = room_bytes,
		.flags = FAKENBD_HAS_FLAGS | FAKENBD_CAN_FLUSH |
			 FAKENBD_CAN_FUA | FAKENBD_CAN_ZERO,
		.medium = calloc(1, room_bytes),
		.cache = calloc(1, room_bytes),
	};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
}

void fakenbd_fini(struct fakenbd *s)
{
	pthread_mutex_lock(&s->lock);
	s->refuse = true; /* a test that failed may have left one */
	s->hold = false;
	pthread_cond_broadcast(&s->changed);
	lose_cache(s);
	while (s->alive)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s->medium);
	free(s->cache);
}
