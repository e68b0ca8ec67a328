/* SPDX-License-Identifier: BSD-2-Clause */
/* Digests beside a copy: a sink that only looks. Each digest has a thread and
 * goes through the pieces in order at its own speed; a piece is given back
 * when all are through with it, so the slowest digest, not their sum, is what
 * a copy may have to wait for. What lies between pieces is zero, and is hashed
 * from a few zeros that stay in the processor's cache.
 *
 * Threads: the pieces are a ring. `head` moves under the lock in the copying
 * thread, each digest's `at` in its own; a piece's `left` under the lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <isa-l/crc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "digest.h"

#define PIECES 64u /* more than a copy has slots, and its end */
#define ZERO_BYTES (64u << 10)
#define DIGEST_BYTES_MAX 64u

/* ------------------------------------------------------------ algorithms -- */

static const struct algorithm {
	const char *name;
	const char *evp; /* libcrypto's name; NULL: CRC32C */
} algorithms[] = {
	{ "sha256", "SHA256" },	    { "sha1", "SHA1" },
	{ "sha224", "SHA224" },	    { "sha384", "SHA384" },
	{ "sha512", "SHA512" },	    { "md5", "MD5" },
	{ "sha3-256", "SHA3-256" }, { "blake2b", "BLAKE2b512" },
	{ "crc32c", NULL },
};

#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

struct piece {
	struct convert_io *io; /* NULL: the disk's end */
	uint64_t off_bytes;
	unsigned left;         /* digests that still want it */
};

struct hash {
	struct convert_digest *owner;
	const struct algorithm *algorithm;
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	uint32_t crc;
	bool failed;
	bool running; /* its thread is to be joined */
	pthread_t thread;
	uint64_t at;       /* next piece */
	uint64_t pos_bytes;
	uint8_t bytes[DIGEST_BYTES_MAX];
	unsigned len_bytes;
};

struct convert_digest {
	struct convert_sink sink;
	OSSL_LIB_CTX *library;
	struct hash hash[CONVERT_DIGESTS_MAX];
	unsigned count;
	int event_fd;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more;
	struct piece ring[PIECES];
	uint64_t head;        /* pieces handed over */
	uint64_t done;        /* ... that all are through with */
	bool stop;
	uint64_t back;        /* ... and given back; the copying thread's */
};

static const uint8_t zeros[ZERO_BYTES];

/* In a library context of our own: whether that could be made is told, while
 * libcrypto 3.0 uses its own even if it could not.
 */
static bool hash_start(struct hash *h)
{
	if (!h->algorithm->evp) {
		h->crc = 0xffffffff;
		return true;
	}
	if (!h->owner->library)
		h->owner->library = OSSL_LIB_CTX_new();
	if (!h->owner->library)
		return false;
	h->md = EVP_MD_fetch(h->owner->library, h->algorithm->evp, NULL);
	h->ctx = EVP_MD_CTX_new();
	return h->md && h->ctx && EVP_DigestInit_ex(h->ctx, h->md, NULL) == 1;
}

static void hash_add(struct hash *h, const void *bytes, size_t n)
{
	if (!h->algorithm->evp) {
		/* ISA-L takes an int and does not write to the buffer. */
		h->crc = crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)n,
				     h->crc);
		return;
	}
	if (EVP_DigestUpdate(h->ctx, bytes, n) != 1)
		h->failed = true;
}

static void hash_end(struct hash *h)
{
	if (h->algorithm->evp) {
		if (EVP_DigestFinal_ex(h->ctx, h->bytes, &h->len_bytes) != 1)
			h->failed = true;
		return;
	}
	h->len_bytes = 4;
	for (unsigned i = 0; i < 4; i++)
		h->bytes[i] = (uint8_t)(~h->crc >> (24 - 8 * i));
}

/* --------------------------------------------------------------- threads -- */

static bool stopped(struct convert_digest *d)
{
	bool stop;

	pthread_mutex_lock(&d->lock);
	stop = d->stop;
	pthread_mutex_unlock(&d->lock);
	return stop;
}

/* A disk may end in terabytes of zeros: somebody may lose patience. */
static void hash_zeros(struct hash *h, uint64_t to)
{
	for (unsigned n = 0; h->pos_bytes < to; n++) {
		uint64_t left = to - h->pos_bytes;
		size_t len = left < ZERO_BYTES ? left : ZERO_BYTES;

		if (n % 256 == 255 && stopped(h->owner))
			return;
		hash_add(h, zeros, len);
		h->pos_bytes += len;
	}
}

/* The next piece, or NULL: the end is asked for. */
static struct piece *piece_wait(struct hash *h)
{
	struct convert_digest *d = h->owner;
	struct piece *p;

	pthread_mutex_lock(&d->lock);
	while (h->at == d->head && !d->stop)
		pthread_cond_wait(&d->more, &d->lock);
	p = d->stop ? NULL : &d->ring[h->at % PIECES];
	pthread_mutex_unlock(&d->lock);
	return p;
}

/* Pieces are finished in the order of the ring: all take them so. */
static void piece_over(struct hash *h, struct piece *p)
{
	struct convert_digest *d = h->owner;
	bool last;

	h->at++;
	pthread_mutex_lock(&d->lock);
	last = --p->left == 0;
	if (last)
		d->done++;
	pthread_mutex_unlock(&d->lock);
	if (last)
		convert_wake(d->event_fd);
}

static void *hash_run(void *arg)
{
	struct hash *h = arg;
	struct piece *p;
	bool end = false;

	while (!end && (p = piece_wait(h))) {
		end = !p->io;
		hash_zeros(h, p->off_bytes);
		if (end) {
			hash_end(h);
		} else {
			hash_add(h, p->io->buf, p->io->len_bytes);
			h->pos_bytes += p->io->len_bytes;
		}
		piece_over(h, p);
	}
	return NULL;
}

/* ------------------------------------------------------------------ sink -- */

static struct convert_digest *digest_of(struct convert_sink *s)
{
	return (struct convert_digest *)s;
}

static void put(struct convert_digest *d, struct convert_io *io,
		uint64_t off_bytes)
{
	pthread_mutex_lock(&d->lock);
	d->ring[d->head++ % PIECES] =
		(struct piece){ io, off_bytes, d->count };
	pthread_cond_broadcast(&d->more);
	pthread_mutex_unlock(&d->lock);
}

static bool digest_room(struct convert_sink *s)
{
	/* One is kept for the end. */
	return digest_of(s)->head - digest_of(s)->back < PIECES - 1;
}

static void digest_write(struct convert_sink *s, struct convert_io *io)
{
	put(digest_of(s), io, io->off_bytes);
}

static void digest_turn(struct convert_sink *s)
{
	struct convert_digest *d = digest_of(s);
	uint64_t done, count;

	if (read(d->event_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&d->lock);
	done = d->done;
	pthread_mutex_unlock(&d->lock);
	while (d->back < done) {
		struct convert_io *io = d->ring[d->back++ % PIECES].io;

		if (io)
			io->done(io);
	}
}

static int digest_finish(struct convert_sink *s, uint64_t size_bytes,
			 struct vhd_err *err)
{
	struct convert_digest *d = digest_of(s);
	int rc = 0;

	put(d, NULL, size_bytes);
	while (!rc && d->back < d->head) {
		rc = convert_wait(s->job, err);
		if (!rc && convert_interrupted(s->job, err))
			rc = -EINTR;
		digest_turn(s);
	}
	for (unsigned i = 0; !rc && i < d->count; i++)
		if (d->hash[i].failed)
			rc = vhd_fail(err, -EIO, VHD_WHY_UNSUPPORTED, 0,
				      "libcrypto failed to compute %s",
				      d->hash[i].algorithm->name);
	return rc;
}

/* The threads look at pieces that are about to go. */
static void digest_drain(struct convert_sink *s)
{
	struct convert_digest *d = digest_of(s);

	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_broadcast(&d->more);
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < d->count; i++) {
		if (d->hash[i].running)
			pthread_join(d->hash[i].thread, NULL);
		d->hash[i].running = false;
	}
}

static const struct convert_sink_ops sink_ops = {
	.room = digest_room,
	.write = digest_write,
	.finish = digest_finish,
	.turn = digest_turn,
	.drain = digest_drain,
};

struct convert_sink *convert_digest_sink(struct convert_digest *d)
{
	return &d->sink;
}

/* --------------------------------------------------- opening and closing -- */

static int word_add(struct convert_digest *d, const char *word, size_t len,
		    struct vhd_err *err)
{
	struct hash *h = &d->hash[d->count];

	for (size_t i = 0; i < ALGORITHMS; i++) {
		if (strlen(algorithms[i].name) != len ||
		    strncmp(algorithms[i].name, word, len) != 0)
			continue;
		if (d->count == CONVERT_DIGESTS_MAX)
			return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
					"more than %u digests",
					CONVERT_DIGESTS_MAX);
		*h = (struct hash){ .owner = d, .algorithm = &algorithms[i] };
		d->count++;
		if (hash_start(h))
			return 0;
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"libcrypto here, or with this little memory, "
				"does not compute %s",
				algorithms[i].name);
	}
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"--digest %.*s: not one of sha256, sha1, sha224, "
			"sha384, sha512, md5, sha3-256, blake2b, crc32c",
			(int)(len < 40 ? len : 40), word);
}

static int words_add(struct convert_digest *d, const char *words,
		     struct vhd_err *err)
{
	for (;;) {
		size_t len = strcspn(words, ",");
		int rc = word_add(d, words, len, err);

		if (rc || !words[len])
			return rc;
		words += len + 1;
	}
}

static int threads_start(struct convert_digest *d, struct vhd_err *err)
{
	for (unsigned i = 0; i < d->count; i++) {
		int rc = pthread_create(&d->hash[i].thread, NULL, hash_run,
					&d->hash[i]);

		if (rc)
			return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
					"cannot start a thread: %s",
					strerror(rc));
		d->hash[i].running = true;
	}
	return 0;
}

void convert_digest_prepare(void)
{
	if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1)
		EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
}

int convert_digest_open(struct convert_digest **out, struct convert_job *job,
			const char *words, struct vhd_err *err)
{
	struct convert_digest *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	d->sink = (struct convert_sink){
		.ops = &sink_ops,
		.job = job,
		.path = job->src,
		.grain_bytes = 1,
		.whole = true,
	};
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->more, NULL);
	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = d->event_fd < 0 ? vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
					"cannot make an event: %s",
					strerror(errno))
			     : words_add(d, words, err);
	if (!rc)
		rc = convert_watch(job, d->event_fd, EPOLLIN, err);
	if (!rc)
		rc = threads_start(d, err);
	if (rc)
		convert_digest_close(d);
	else
		*out = d;
	return rc;
}

bool convert_digest_get(const struct convert_digest *d, unsigned i,
			const char **name, char *hex)
{
	const struct hash *h = &d->hash[i];

	if (i >= d->count)
		return false;
	*name = h->algorithm->name;
	for (unsigned b = 0; b < h->len_bytes; b++)
		sprintf(hex + 2 * b, "%02x", h->bytes[b]);
	return true;
}

void convert_digest_close(struct convert_digest *d)
{
	if (!d)
		return;
	digest_drain(&d->sink);
	for (unsigned i = 0; i < d->count; i++) {
		EVP_MD_CTX_free(d->hash[i].ctx);
		EVP_MD_free(d->hash[i].md);
	}
	OSSL_LIB_CTX_free(d->library);
	if (d->event_fd >= 0) {
		convert_unwatch(d->sink.job, d->event_fd);
		close(d->event_fd);
	}
	pthread_cond_destroy(&d->more);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
