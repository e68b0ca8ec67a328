/* SPDX-License-Identifier: BSD-2-Clause */
/* The connector of nbdhand.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nbdhand.h"
#include "vhd/vhd.h"

static void must(int yes)
{
	if (!yes)
		abort();
}

static void *listen_on(void *arg)
{
	struct nbdhand *h = arg;
	int fd;

	while ((fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (fakenbd_serve(h->server, fd) < 0)
			close(fd);
	return NULL;
}

void nbdhand_init(struct nbdhand *h, struct fakenbd *server)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	memset(h, 0, sizeof(*h));
	h->server = server;
	strcpy(h->dir, "/tmp/nbdhand.XXXXXX");
	must(mkdtemp(h->dir) != NULL);
	snprintf(h->path, sizeof(h->path), "%s/socket", h->dir);
	snprintf(h->uri, sizeof(h->uri), "nbd+unix:///?socket=%s", h->path);
	strcpy(a.sun_path, h->path);
	h->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(h->listen_fd >= 0 &&
	     bind(h->listen_fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	     listen(h->listen_fd, 8) == 0 &&
	     pthread_create(&h->listener, NULL, listen_on, h) == 0);
}

struct start {
	struct nbdhand *h;
	unsigned i;
};

static void *connect_for(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	must(vhd_nbd_connector(s.h->fd[s.i], s.h->uri, NULL) == 0);
	return NULL;
}

int nbdhand_start(struct nbdhand *h)
{
	struct start *s = malloc(sizeof(*s));
	unsigned i = h->connectors++;
	int fds[2];

	must(s && i < NBDHAND_MAX &&
	     socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	*s = (struct start){h, i};
	h->fd[i] = fds[1];
	must(pthread_create(&h->connector[i], NULL, connect_for, s) == 0);
	return fds[0];
}

void nbdhand_fini(struct nbdhand *h)
{
	for (unsigned i = 0; i < h->connectors; i++) {
		pthread_join(h->connector[i], NULL);
		close(h->fd[i]);
	}
	(void)shutdown(h->listen_fd, SHUT_RDWR);
	pthread_join(h->listener, NULL);
	close(h->listen_fd);
	(void)unlink(h->path);
	(void)rmdir(h->dir);
}
