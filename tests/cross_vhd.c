/* SPDX-License-Identifier: BSD-2-Clause */
/* The library at the end of a shell's arm, for tests/cross_vhd.sh: images made
 * and changed by it are compared with what other programs read, and theirs
 * with what it reads.
 *
 *   make FORMAT SIZE BLOCK SEED FILE   create, write at random, close
 *   change FILE FORMAT SEED            the same to an existing image
 *   die FILE FORMAT SEED               the same, flushed, then no close
 *   dump FILE FORMAT OUT               the disk's bytes, sparse
 *   info FILE                          a few facts, one a line
 *   why FILE FORMAT ro|rw              how an open ends
 *   seed FILE FLAGS OUT                FILE as an input of fuzz/vhd_open.c
 *   flat OUT FILE PARENT...            what the chain holds, sparse: read by
 *                                      tests/lib/oracle.c, not by the library
 *
 * SEED alone decides what is written where, so the same seed on a raw file is
 * the model of the others.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "vhd/vhd.h"

#define WRITES	      80
#define WRITE_SECTORS 700u
#define DUMP_BYTES    (1u << 20)

static int fault(const char *what, const struct vhd_err *e)
{
	fprintf(stderr, "%s: %s (why %d, at %" PRIu64 ")\n", what, e->text,
		(int)e->why, e->at_bytes);
	return 1;
}

static enum vhd_format format_of(const char *name)
{
	for (enum vhd_format f = VHD_FORMAT_AUTO; f <= VHD_FORMAT_DIFF; f++)
		if (strcmp(name, vhd_format_name(f)) == 0)
			return f;
	fprintf(stderr, "no format %s\n", name);
	exit(2);
}

static int scribble(struct vhd *img, uint64_t rnd, struct vhd_err *e)
{
	static uint8_t buf[WRITE_SECTORS * 512];
	uint64_t sectors = vhd_get_info(img)->size_bytes / 512;

	for (int i = 0; i < WRITES; i++) {
		uint64_t at = random_below(&rnd, sectors);
		uint64_t n = 1 + random_below(&rnd, WRITE_SECTORS);
		int rc;

		if (i == 0)
			at = 0;
		if (i == 1)
			at = sectors - 1;
		if (n > sectors - at)
			n = sectors - at;
		for (size_t k = 0; k < n * 512; k += 8) {
			uint64_t v = random_next(&rnd);

			memcpy(buf + k, &v, 8);
		}
		rc = vhd_write(img, at * 512, buf, n * 512, e);
		if (!rc && i % 16 == 15)
			rc = vhd_flush(img, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int cmd_make(char **a)
{
	struct vhd_create_opts o = {
		.format = format_of(a[0]),
		.size_bytes = strtoull(a[1], NULL, 0),
		.block_size_bytes = (uint32_t)strtoul(a[2], NULL, 0),
		.unique_id = {1, 2, 3, 4, 5, 6, 7, 0x48, 9},
		.now_unix_s = 1700000000,
	};
	struct vhd_err e;
	struct vhd *img;

	if (vhd_create(a[4], &o, &img, &e))
		return fault("create", &e);
	if (scribble(img, strtoull(a[3], NULL, 0), &e)) {
		vhd_abandon(img);
		return fault("write", &e);
	}
	return vhd_close(img, &e) ? fault("close", &e) : 0;
}

static int change(char **a, bool die)
{
	struct vhd_open_opts o = {
		.writable = true,
		.format = format_of(a[1]),
		.parent_dir = ".", /* of a child, which is then below it */
		.larger_child = true,
	};
	struct vhd_err e;
	struct vhd *img;

	if (vhd_open(a[0], &o, &img, &e))
		return fault("open", &e);
	if (scribble(img, strtoull(a[2], NULL, 0), &e) || vhd_flush(img, &e)) {
		vhd_abandon(img);
		return fault("write", &e);
	}
	if (die)
		_exit(0);
	return vhd_close(img, &e) ? fault("close", &e) : 0;
}

static int cmd_change(char **a)
{
	return change(a, false);
}

static int cmd_die(char **a)
{
	return change(a, true);
}

/* Copy what is data; what is not stays a hole of the output. */
static int dump(struct vhd *img, FILE *out, struct vhd_err *e)
{
	static uint8_t buf[DUMP_BYTES];
	uint64_t size = vhd_get_info(img)->size_bytes;
	uint64_t off = 0;

	while (off < size) {
		uint64_t left = (size - off) / 512;
		struct vhd_run r;
		size_t n;

		if (vhd_map(img, off / 512, left, &r, e))
			return -1;
		if (r.kind != VHD_RUN_FILE) {
			off += r.sectors * 512;
			continue;
		}
		n = r.sectors * 512 < DUMP_BYTES ? (size_t)r.sectors * 512
						 : DUMP_BYTES;
		if (vhd_read(img, off, buf, n, e))
			return -1;
		if (fseeko(out, (off_t)off, SEEK_SET) ||
		    fwrite(buf, 1, n, out) != n) {
			vhd_fail(e, -errno, VHD_WHY_IO, off, "output");
			return -1;
		}
		off += n;
	}
	if (fflush(out) || ftruncate(fileno(out), (off_t)size)) {
		vhd_fail(e, -errno, VHD_WHY_IO, size, "output");
		return -1;
	}
	return 0;
}

static int cmd_dump(char **a)
{
	struct vhd_open_opts o = {.format = format_of(a[1])};
	struct vhd_err e;
	struct vhd *img;
	FILE *out = fopen(a[2], "w");
	int rc;

	if (!out) {
		perror(a[2]);
		return 1;
	}
	if (vhd_open(a[0], &o, &img, &e)) {
		fclose(out);
		return fault("open", &e);
	}
	rc = dump(img, out, &e) ? fault("dump", &e) : 0;
	vhd_abandon(img);
	return fclose(out) ? 1 : rc;
}

static int cmd_info(char **a)
{
	struct vhd_open_opts o = {.inspect = true};
	const struct vhd_info *i;
	struct vhd_err e;
	struct vhd *img;

	if (vhd_open(a[0], &o, &img, &e))
		return fault("open", &e);
	i = vhd_get_info(img);
	printf("format %s\nsize %" PRIu64 "\nchs %" PRIu64 "\nnotes %u\n"
	       "used %u\naligned %u\nfault %d\ncreator %s\n",
	       vhd_format_name(i->format), i->size_bytes,
	       vhd_chs_reader_bytes(i), i->notes, i->blocks_used,
	       i->blocks_aligned, (int)i->fault.why,
	       vhd_creator_name(i->creator_app, i->creator_version)
		       ? vhd_creator_name(i->creator_app, i->creator_version)
		       : "-");
	vhd_abandon(img);
	return 0;
}

static int cmd_why(char **a)
{
	struct vhd_open_opts o = {
		.format = format_of(a[1]),
		.writable = strcmp(a[2], "rw") == 0,
	};
	struct vhd_err e = {0};
	struct vhd *img;

	if (vhd_open(a[0], &o, &img, &e)) {
		printf("%d\n", (int)e.why);
		return 0;
	}
	vhd_abandon(img);
	printf("0\n");
	return 0;
}

static void put_little(uint8_t *p, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* Each run of sectors that are not all zero becomes a piece. */
static int seed_pieces(FILE *in, FILE *out)
{
	static uint8_t piece[8 + 32768];
	uint64_t off = 0, start = 0;
	size_t have = 0, n;

	do {
		uint8_t *sector = piece + 8 + have;
		bool zero = true;

		n = fread(sector, 1, 512, in);
		for (size_t i = 0; i < n; i++)
			zero &= sector[i] == 0;
		if (!zero && have == 0)
			start = off;
		if (!zero)
			have += n;
		if (have && (zero || have == 32768)) {
			put_little(piece, 6, start);
			put_little(piece + 6, 2, have);
			if (fwrite(piece, 1, have + 8, out) != have + 8)
				return 1;
			have = 0;
		}
		off += n;
	} while (n);
	return ferror(in) ? 1 : 0;
}

static int cmd_seed(char **a)
{
	FILE *in = fopen(a[0], "r"), *out = fopen(a[2], "w");
	uint8_t control[16] = {0};
	int rc = 1;

	control[1] = (uint8_t)strtoul(a[1], NULL, 0);
	if (in && out && fseeko(in, 0, SEEK_END) == 0) {
		put_little(control + 8, 8, (uint64_t)ftello(in));
		rewind(in);
		rc = fwrite(control, 1, 16, out) != 16 || seed_pieces(in, out);
	}
	if (rc)
		perror("seed");
	if (in)
		fclose(in);
	if (out && fclose(out))
		rc = 1;
	return rc;
}

#define FLAT_LAYERS_MAX 16

/* Open and mapped until the program ends. */
struct flat {
	struct oracle layer[FLAT_LAYERS_MAX]; /* child first */
	int fd[FLAT_LAYERS_MAX];
	unsigned layers;
};

static int flat_load(struct flat *f, const char *path)
{
	struct oracle *o = &f->layer[f->layers];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t len = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	const uint8_t *b;

	if (len <= 0)
		return -1;
	b = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (b == MAP_FAILED)
		return -1;
	f->fd[f->layers++] = fd;
	if (oracle_open(o, b, (uint64_t)len) && oracle_check(o))
		return 0;
	fprintf(stderr, "%s: %s\n", path, o->fault);
	return -1;
}

/* The first sector from here on that is in no hole of a layer: of its blocks,
 * or of the file of one without blocks.
 */
static uint64_t flat_skip(const struct flat *f, uint64_t lba)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < f->layers; i++) {
		const struct oracle *o = &f->layer[i];
		uint64_t end;

		if (!oracle_absent(o, lba, &end)) {
			off_t at = o->dynamic ? 0
					      : lseek(f->fd[i],
						      (off_t)(lba * 512),
						      SEEK_DATA);

			end = at > 0 ? (uint64_t)at / 512 : lba;
		}
		if (end <= lba)
			return lba;
		if (end < next)
			next = end;
	}
	return next;
}

static int flat_write(const struct flat *f, int out)
{
	static const uint8_t zero[512];
	uint64_t sectors = f->layer->size / 512, lba = 0;
	uint8_t b[512];

	while (lba < sectors) {
		uint64_t next = flat_skip(f, lba);

		if (next > lba) {
			lba = next;
			continue;
		}
		if (!oracle_chain(f->layer, f->layers, lba, b))
			return -1;
		if (memcmp(b, zero, 512) &&
		    pwrite(out, b, 512, (off_t)(lba * 512)) != 512)
			return -1;
		lba++;
	}
	return ftruncate(out, (off_t)f->layer->size);
}

static int cmd_flat(int count, char **a)
{
	static struct flat f;
	int out, rc;

	if (count < 2 || count - 1 > FLAT_LAYERS_MAX)
		return 2;
	for (int i = 1; i < count; i++)
		if (flat_load(&f, a[i]))
			return 1;
	if (f.layer[f.layers - 1].diff) {
		fprintf(stderr, "%s: needs its parent\n", a[count - 1]);
		return 1;
	}
	out = open(a[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	rc = out < 0 ? -1 : flat_write(&f, out);
	if (rc)
		perror(a[0]);
	if (out >= 0 && close(out))
		rc = -1;
	return rc ? 1 : 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(char **a);
} commands[] = {
	{"make", 5, cmd_make}, {"change", 3, cmd_change}, {"die", 3, cmd_die},
	{"dump", 3, cmd_dump}, {"info", 1, cmd_info},	  {"why", 3, cmd_why},
	{"seed", 3, cmd_seed},
};

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "flat") == 0)
		return cmd_flat(argc - 2, argv + 2);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == commands[i].args + 2 &&
		    strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argv + 2);
	fprintf(stderr, "see the head of tests/cross_vhd.c\n");
	return 2;
}
