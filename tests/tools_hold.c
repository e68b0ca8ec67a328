/* SPDX-License-Identifier: BSD-2-Clause */
/* Hold a file open and locked as a program that writes to it does; for the
 * scripts of tests/. Says "held" and waits for the end of standard input.
 *
 * usage: tools_hold FILE [read|write [now]]
 *   read: as one that only reads it; now: look whether it can be had, and end
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char c;
	int fd;

	if (argc < 2 || argc > 4)
		return 2;
	if (argc > 2 && strcmp(argv[2], "read") == 0)
		lock.l_type = F_RDLCK;
	fd = open(argv[1], O_RDWR);
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		perror(argv[1]);
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (argc < 4 && read(0, &c, 1) > 0)
		;
	return 0;
}
