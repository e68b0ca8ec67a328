/* SPDX-License-Identifier: BSD-2-Clause */
/* An NBD client for tests/serve.sh, by libnbd.
 *
 * usage: client parallel URI SEED MODEL
 *            several connections write, zero, trim and read the disk at the
 *            same time, each its own cells of 4 KiB, which lie between those
 *            of the others; MODEL becomes what the disk must hold then
 *        client hold URI MARK...
 *            write each MARK, a letter and how: fua, flush or plain, into the
 *            MiB of its number from 1 on; say "written" and stay connected
 *            until standard input ends
 *        client refused URI OFFSET COUNT
 *            write there and print the errno's name
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libnbd.h>

#include "tests/lib/random.h"

#define CONNECTIONS 6u
#define ROUNDS	    700u
#define CELL	    4096u
#define MIB	    (1u << 20)

static struct {
	const char *uri;
	uint64_t seed;
	uint64_t size;
	uint8_t *model;
} all;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, nbd_get_error());
	exit(1);
}

static struct nbd_handle *connected(const char *uri)
{
	struct nbd_handle *nbd = nbd_create();

	if (!nbd || nbd_set_strict_mode(nbd, 0) ||
	    nbd_connect_uri(nbd, uri))
		die("connect");
	return nbd;
}

/* One request within a cell of this connection's. */
static void act(struct nbd_handle *nbd, unsigned self, uint64_t *rnd)
{
	uint64_t cells = all.size / CELL / CONNECTIONS;
	uint64_t cell = random_below(rnd, cells) * CONNECTIONS + self;
	uint32_t from = (uint32_t)random_below(rnd, CELL / 512) * 512;
	uint32_t room = (CELL - from) / 512;
	uint32_t len = 512 * (1 + (uint32_t)random_below(rnd, room));
	uint64_t off = cell * CELL + from;
	uint32_t fua = random_below(rnd, 30) || nbd_can_fua(nbd) != 1
			       ? 0
			       : LIBNBD_CMD_FLAG_FUA;
	uint8_t *at = all.model + off, got[CELL];
	int rc = 0;

	switch (random_below(rnd, 6)) {
	case 0:
	case 1:
		memset(at, (int)random_below(rnd, 256), len);
		rc = nbd_pwrite(nbd, at, len, off, fua);
		break;
	case 2:
		if (nbd_can_zero(nbd) != 1)
			break;
		memset(at, 0, len);
		rc = nbd_zero(nbd, len, off,
			      fua | (random_below(rnd, 2)
					     ? LIBNBD_CMD_FLAG_NO_HOLE
					     : 0));
		break;
	case 3:
		if (random_below(rnd, 20) == 0)
			rc = nbd_flush(nbd, 0);
		break;
	default:
		rc = nbd_pread(nbd, got, len, off, 0);
		if (!rc && memcmp(got, at, len)) {
			fprintf(stderr,
				"client: other bytes at %" PRIu64 "+%u\n", off,
				len);
			exit(1);
		}
	}
	if (rc)
		die("request");
}

static void *work(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg;
	struct nbd_handle *nbd = connected(all.uri);
	uint64_t rnd = all.seed + self;

	for (unsigned i = 0; i < ROUNDS; i++)
		act(nbd, self, &rnd);
	if (nbd_flush(nbd, 0) || nbd_shutdown(nbd, 0))
		die("end");
	nbd_close(nbd);
	return NULL;
}

static void read_all(struct nbd_handle *nbd)
{
	for (uint64_t at = 0; at < all.size; at += MIB) {
		size_t n = all.size - at < MIB ? all.size - at : MIB;

		if (nbd_pread(nbd, all.model + at, n, at, 0))
			die("read");
	}
}

static int parallel(const char *uri, const char *seed, const char *path)
{
	struct nbd_handle *nbd = connected(uri);
	pthread_t threads[CONNECTIONS];
	int fd;

	all.uri = uri;
	all.seed = strtoull(seed, NULL, 0);
	all.size = (uint64_t)nbd_get_size(nbd);
	all.model = malloc(all.size);
	if (!all.model)
		return 1;
	read_all(nbd);
	nbd_close(nbd);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (pthread_create(&threads[i], NULL, work,
				   (void *)(uintptr_t)i))
			return 1;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, all.model, all.size) != (ssize_t)all.size ||
	    close(fd)) {
		perror(path);
		return 1;
	}
	free(all.model);
	return 0;
}

static int hold(const char *uri, char **marks, int count)
{
	struct nbd_handle *nbd = connected(uri);
	static uint8_t b[MIB];
	char c;

	for (int i = 0; i < count; i++) {
		bool fua = !strcmp(marks[i] + 1, "fua");

		memset(b, marks[i][0], sizeof(b));
		if (nbd_pwrite(nbd, b, sizeof(b), (uint64_t)(i + 1) * MIB,
			       fua ? LIBNBD_CMD_FLAG_FUA : 0))
			die("write");
		if (!strcmp(marks[i] + 1, "flush") && nbd_flush(nbd, 0))
			die("flush");
	}
	puts("written");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	nbd_close(nbd);
	return 0;
}

static int refused(const char *uri, const char *off, const char *count)
{
	struct nbd_handle *nbd = connected(uri);
	size_t n = strtoull(count, NULL, 0);
	uint8_t *b = calloc(1, n);

	if (!b)
		return 1;
	if (!nbd_pwrite(nbd, b, n, strtoull(off, NULL, 0), 0))
		puts("nothing");
	else
		puts(strerrorname_np(nbd_get_errno()));
	free(b);
	nbd_close(nbd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "parallel"))
		return parallel(argv[2], argv[3], argv[4]);
	if (argc >= 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv + 3, argc - 3);
	if (argc == 5 && !strcmp(argv[1], "refused"))
		return refused(argv[2], argv[3], argv[4]);
	return 2;
}
