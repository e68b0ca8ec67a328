/* SPDX-License-Identifier: BSD-2-Clause */
/* Run a fuzz target over the files of folders, without libFuzzer: a corpus as
 * a test that any compiler builds.
 *
 * usage: replay_TARGET FOLDER...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/tally.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *folder, const char *name)
{
	char path[4096];
	uint8_t *data = NULL;
	long len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (!f || fseek(f, 0, SEEK_END) || (len = ftell(f)) < 0 ||
	    fseek(f, 0, SEEK_SET) || !(data = malloc((size_t)len + 1)) ||
	    fread(data, 1, (size_t)len, f) != (size_t)len) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)len);
	free(data);
	tally_add(TALLY_INPUTS, 1);
}

int main(int argc, char **argv)
{
	unsigned long n = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		const struct dirent *e;

		if (!d) {
			perror(argv[i]);
			return 1;
		}
		while ((e = readdir(d))) {
			if (e->d_name[0] == '.')
				continue;
			run_file(argv[i], e->d_name);
			n++;
		}
		closedir(d);
	}
	printf("%lu inputs\n", n);
	return n == 0;
}
