/* SPDX-License-Identifier: BSD-2-Clause */
/* A connector (vhd_nbd_connector) in a thread, for the server of fakenbd.h,
 * which listens on a socket with a name for it.
 */
#ifndef TESTS_LIB_NBDHAND_H
#define TESTS_LIB_NBDHAND_H

#include "tests/lib/fakenbd.h"

#define NBDHAND_MAX 256

struct nbdhand {
	struct fakenbd *server;
	char dir[32], path[48], uri[96];
	int listen_fd;
	pthread_t listener;
	pthread_t connector[NBDHAND_MAX];
	unsigned connectors;
	int fd[NBDHAND_MAX]; /* of these */
};

void nbdhand_init(struct nbdhand *h, struct fakenbd *server);
/* The end for vhd_open_fds, of one connector more. */
int nbdhand_start(struct nbdhand *h);
/* After all of these ends were closed. */
void nbdhand_fini(struct nbdhand *h);

#endif
