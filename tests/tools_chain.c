/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests/tools.sh: a random chain of COUNT images, l0.vhd the lowest, each
 * naming the one before it, and what its top must read as in flat.raw.
 *
 * usage: chain COUNT BYTES SEED [TOPBYTES]   (a top larger than the rest)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"

#define W2RU 0x57327275u

int main(int argc, char **argv)
{
	bool ok = argc == 4 || argc == 5;
	unsigned count = ok ? (unsigned)atoi(argv[1]) : 0;
	uint64_t size = ok ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t rnd = ok ? strtoull(argv[3], NULL, 0) : 0;
	uint64_t top = argc == 5 ? strtoull(argv[4], NULL, 0) : size;
	uint8_t *model = calloc(1, top > size ? top : size + 1);
	char name[32];
	int fd;

	if (!count || !size || !model)
		return 2;
	for (unsigned i = 0; i < count; i++) {
		uint32_t block = 4096u << random_below(&rnd, 10);
		uint32_t type = i			? IMG_TYPE_DIFF
				: random_below(&rnd, 2) ? IMG_TYPE_FIXED
							: IMG_TYPE_DYNAMIC;
		struct memfile *m =
			diff_random(type, i, i + 1 < count ? size : top, block,
				    model, &rnd);

		snprintf(name, sizeof(name), ".\\l%u.vhd", i - 1);
		if (i)
			diff_locator_text(m, 0, W2RU, name);
		snprintf(name, sizeof(name), "l%u.vhd", i);
		diff_save(m, name);
		memfile_destroy(m);
	}
	fd = open("flat.raw", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, model, top) != (ssize_t)top || close(fd))
		return 1;
	free(model);
	return 0;
}
