/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h with any registers, packets and memory, on disks that fail and discs
 * of any bytes. The disk's door is asked for nothing beyond its end and given
 * nothing but RAM; a call ends in bounded steps, with a status for the caller;
 * reads leave the disk's bytes where the registers say, and nothing elsewhere.
 *
 * An input is actions of one byte and their operands; `act` is the list.
 */
#include <errno.h>
#include <string.h>

#include "hv/int13.h"
#include "tests/lib/fuzzin.h"

#define RAM_BYTES   0x120000u /* more than real mode reaches */
#define DISC_BLOCKS 64u
#define CALLS_MAX   300u /* of the door, in one call */

struct world {
	struct hv_mem *mem;
	struct hv_int13 *h;
	uint8_t *ram;
	struct hv_disk disk[2], dvd;
	struct hv_int13_disks disks;
	struct hv_int13_regs r;
	uint8_t *disc; /* DISC_BLOCKS of 2048 bytes */
	int fail;      /* -errno of the door, after `fail_after` calls */
	unsigned fail_after;
	unsigned calls, writes, flushes;
	uint64_t bytes; /* moved by this call */
};

static int ask(struct world *w, const struct hv_disk *d, uint64_t lba,
	       const struct iovec *iov, unsigned count, uint64_t *bytes)
{
	*bytes = 0;
	must(count > 0 && count <= HV_DISK_IOV_MAX);
	must(++w->calls <= CALLS_MAX);
	for (unsigned i = 0; i < count; i++)
		*bytes += iov[i].iov_len;
	must(*bytes > 0 && *bytes % d->block_bytes == 0);
	if (lba >= d->blocks || *bytes / d->block_bytes > d->blocks - lba) {
		must(d->dvd); /* whose boot record says where */
		return -EINVAL;
	}
	return w->calls > w->fail_after ? w->fail : 0;
}

/* Runs of 64 bytes are the same on a disk. */
static uint8_t byte_at(const struct world *w, const struct hv_disk *d,
		       uint64_t lba, uint64_t off)
{
	uint64_t at = lba * d->block_bytes + off;

	if (d->dvd)
		return w->disc[at];
	return (uint8_t)(at / 64 + at / 512);
}

static void fill(const struct world *w, const struct hv_disk *d, uint64_t lba,
		 uint64_t off, const struct iovec *iov)
{
	uint8_t *to = iov->iov_base;

	for (size_t j = 0, n; j < iov->iov_len; j += n) {
		n = d->dvd ? 1 : 64 - (off + j) % 64;
		if (n > iov->iov_len - j)
			n = iov->iov_len - j;
		memset(to + j, byte_at(w, d, lba, off + j), n);
	}
}

static struct world *world; /* of the door: it has one argument, the disk */

static int door_read(void *arg, uint64_t lba, const struct iovec *iov,
		     unsigned count)
{
	struct hv_disk *d = arg;
	uint64_t bytes, off = 0;
	int ret = ask(world, d, lba, iov, count, &bytes);

	for (unsigned i = 0; i < count && ret == 0; i++) {
		fill(world, d, lba, off, &iov[i]);
		off += iov[i].iov_len;
	}
	world->bytes += ret == 0 ? bytes : 0;
	return ret;
}

static int door_write(void *arg, uint64_t lba, const struct iovec *iov,
		      unsigned count)
{
	struct hv_disk *d = arg;
	uint64_t bytes;
	volatile uint8_t seen;
	int ret;

	ret = ask(world, d, lba, iov, count, &bytes);
	for (unsigned i = 0; i < count; i++) /* all of it can be read */
		for (size_t j = 0; j < iov[i].iov_len; j += 64)
			seen = ((const uint8_t *)iov[i].iov_base)[j];
	(void)seen;
	world->writes++;
	return d->read_only ? -EROFS : ret;
}

static int door_flush(void *arg)
{
	(void)arg;
	world->flushes++;
	return 0;
}

static const struct hv_disk_ops ops = {door_read, door_write, door_flush};

/* What a read by packet must have left, where all of it went well. */
static void check_read(struct world *w, const struct hv_int13_regs *was,
		       const uint8_t packet[16])
{
	uint64_t lba = little(packet + 8, 8);
	uint64_t gpa = little(packet + 6, 2) * 16 + little(packet + 4, 2);
	uint32_t count = (uint32_t)little(packet + 2, 2);
	unsigned i = (was->dx & 0xff) - 0x80;

	if (i > 1 || little(packet + 4, 4) == 0xffffffff)
		return;
	must(count <= w->disk[i].blocks &&
	     lba <= w->disk[i].blocks - count);
	must(w->bytes == (uint64_t)count * w->disk[i].block_bytes);
	must(gpa + w->bytes <= RAM_BYTES);
	for (uint64_t n = 0; n < w->bytes; n += 509)
		/* but for the words that the call itself writes */
		if (gpa + n != 0x474 &&
		    (gpa + n < (uint64_t)was->ds * 16 + was->si ||
		     gpa + n >= (uint64_t)was->ds * 16 + was->si + 4))
			must(w->ram[gpa + n] == byte_at(w, &w->disk[i], lba,
							n));
}

static void exit_at(struct world *w, enum hv_int13_port port)
{
	const struct hv_int13_regs was = w->r;
	uint64_t at = (uint64_t)was.ds * 16 + was.si;
	enum hv_int13_result got;
	uint8_t packet[16];

	memcpy(packet, w->ram + at, sizeof(packet));
	w->calls = w->writes = w->flushes = 0;
	w->bytes = 0;
	got = hv_int13_exit(w->h, port, &w->r);
	must(w->r.ds == was.ds && w->r.es == was.es && w->r.si == was.si);
	if (port == HV_INT13_DVD && got == HV_INT13_OK) {
		w->fail_after = CALLS_MAX;
		must(hv_disc_boots(&w->dvd));
	}
	if (port != HV_INT13_CALL)
		return;
	if (got == HV_INT13_NOT_OURS) {
		must(memcmp(&was, &w->r, sizeof(was)) == 0 && w->calls == 0);
		return;
	}
	must((was.dx & 0x80) != 0);
	must(w->ram[0x474] == (got == HV_INT13_ERROR ? w->r.ax >> 8 : 0));
	if (got == HV_INT13_ERROR)
		must(w->r.ax >> 8 != 0);
	else if (w->writes)
		must(w->flushes == 1);
	if (got == HV_INT13_OK && was.ax >> 8 == 0x42)
		check_read(w, &was, packet);
}

static void poke(struct world *w, struct input *in, bool disc)
{
	uint64_t at = take(in, 3) % (disc ? DISC_BLOCKS * 2048u : RAM_BYTES);
	unsigned n = (unsigned)take(in, 1) % 40;
	uint8_t *to = disc ? w->disc : w->ram;
	uint64_t end = disc ? DISC_BLOCKS * 2048u : RAM_BYTES;

	for (unsigned i = 0; i < n && at + i < end; i++)
		to[at + i] = (uint8_t)take(in, 1);
}

static void set_register(struct world *w, struct input *in)
{
	uint16_t *const all[] = {&w->r.ax, &w->r.bx, &w->r.cx, &w->r.dx,
				 &w->r.si, &w->r.ds, &w->r.es};

	uint8_t which = (uint8_t)take(in, 1) % 7;

	*all[which] = (uint16_t)take(in, 2);
}

static void set_packet(struct world *w, struct input *in)
{
	uint64_t at = (uint64_t)w->r.ds * 16 + w->r.si;

	for (unsigned i = 0; i < 24; i++)
		w->ram[at + i] = (uint8_t)take(in, 1);
}

static void act(struct world *w, struct input *in)
{
	static const uint8_t ah[] = {0x02, 0x03, 0x08, 0x15, 0x41, 0x42,
				     0x43, 0x44, 0x48, 0x4b, 0x04, 0x01};

	switch (take(in, 1) % 11) {
	case 0:
	case 1:
		set_register(w, in);
		break;
	case 2:
		poke(w, in, false);
		break;
	case 3:
		poke(w, in, true);
		break;
	case 4:
		set_packet(w, in);
		break;
	case 5: /* a call that means something */
		w->r.ax = (uint16_t)(ah[take(in, 1) % sizeof(ah)] * 256u +
				     take(in, 1));
		w->r.dx = (uint16_t)((w->r.dx & 0xff00) |
				     (take(in, 1) % 4 == 3 ? 0xe0
							   : 0x80 + (w->r.bx & 1)));
		exit_at(w, HV_INT13_CALL);
		break;
	case 6:
		exit_at(w, HV_INT13_CALL);
		break;
	case 7:
		exit_at(w, HV_INT13_START);
		break;
	case 8:
		exit_at(w, HV_INT13_DVD);
		break;
	case 9:
		w->fail = -(int)(take(in, 1) % 130);
		w->fail_after = (unsigned)take(in, 1) % 4;
		break;
	default:
		w->disk[0].blocks += 7; /* it grew meanwhile */
		hv_int13_reset(w->h, &w->disks);
	}
}

/* A disc that boots, for inputs to spoil. */
static void master(struct world *w)
{
	uint8_t *record = w->disc + 17 * 2048, *catalogue = w->disc + 20 * 2048;

	memcpy(record, "\0CD001\1EL TORITO SPECIFICATION", 30);
	record[0x47] = 20;
	catalogue[0] = 1;
	catalogue[28] = 0xaa;
	catalogue[29] = 0x55;
	catalogue[30] = 0x55;
	catalogue[31] = 0xaa;
	catalogue[32] = 0x88;
	catalogue[38] = 4;
	catalogue[40] = 30;
}

static void begin(struct world *w)
{
	*w = (struct world){.fail_after = CALLS_MAX};
	world = w;
	w->ram = calloc(1, RAM_BYTES);
	w->disc = calloc(DISC_BLOCKS, 2048);
	must(w->ram && w->disc);
	master(w);
	w->disk[0] = (struct hv_disk){&ops, &w->disk[0], 1000, 512, false,
				      false, {0}};
	w->disk[1] = (struct hv_disk){&ops, &w->disk[1], 1ull << 50, 4096,
				      true, false, {0}};
	w->dvd = (struct hv_disk){&ops, &w->dvd, DISC_BLOCKS, 2048, true, true,
				  {0}};
	hv_int13_disks_add(&w->disks, &w->disk[0]);
	hv_int13_disks_add(&w->disks, &w->disk[1]);
	hv_int13_disks_add(&w->disks, &w->dvd);
	must(hv_mem_create(&w->mem) == 0);
	must(hv_mem_add(w->mem, 0, RAM_BYTES, w->ram) == 0);
	must(hv_int13_create(w->mem, &w->disks, &w->h) == 0);
	(void)hv_int13_exit(w->h, HV_INT13_START, &w->r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct hv_int13_stats stats;
	struct world w;

	begin(&w);
	for (unsigned n = 0; in.left > 0 && n < 100; n++)
		act(&w, &in);
	hv_int13_get_stats(w.h, &stats);
	must(stats.errors <= stats.calls);
	hv_int13_destroy(w.h);
	hv_mem_destroy(w.mem);
	free(w.ram);
	free(w.disc);
	return 0;
}
