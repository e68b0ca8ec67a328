/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes wrong below: in the engines, and where the library touches the
 * medium itself. Each fault notes which answers it may lead to.
 */
#include <errno.h>

#include "tests/proof/sim.h"

static struct sim_disk *disk_of(struct sim *s, const struct vhd_file *f)
{
	for (unsigned i = 0; i < s->disks; i++) {
		struct sim_disk *d = &s->disk[i];

		if (f->state == d->medium)
			return d;
		for (unsigned k = 0; k < d->below; k++)
			if (f->state == d->parent[k])
				return d;
	}
	sim_fail(s, "an operation on a file that is no disk's");
}

static enum sim_row row_for(int code, bool reading)
{
	switch (-code) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ROW_NO_SPACE;
	case ENOMEM:
		return ROW_RESOURCES;
	case EROFS:
		return ROW_WRITE_PROTECTED;
	default:
		return reading ? ROW_READ_ERROR : ROW_WRITE_ERROR;
	}
}

static void note(struct sim_disk *d, enum sim_row row)
{
	d->fault[row] = d->sim->now;
	sim_sums.faults++;
}

static void sync_failed(struct sim_disk *d)
{
	d->may_be_poisoned = true;
	if (!d->sync_failed)
		d->sync_failed = d->sim->now;
}

/* -------------------------------------------------------------- engines -- */

static const int read_codes[] = {EIO, EIO, ENOMEM, EINTR, EAGAIN};
static const int write_codes[] = {EIO,	 EIO,	ENOSPC, EDQUOT, EFBIG,
				  EROFS, ENOMEM, EINTR, EAGAIN};
static const int sync_codes[] = {EIO, ENOSPC, EDQUOT};
static const int zero_codes[] = {EIO,	 ENOSPC, EOPNOTSUPP, EINVAL,
				 EINTR, ENOMEM, EOPNOTSUPP};
#define PICK(s, codes)                                                         \
	(-(codes)[sim_below(s, sizeof(codes) / sizeof((codes)[0]))])

static void fail(struct sim *s, struct sim_disk *d, const struct vhd_io *io,
		 struct sim_fate *fate)
{
	bool reading = io->op == VHD_IO_READ;

	fate->code = io->op == VHD_IO_SYNC   ? PICK(s, sync_codes)
		     : io->op == VHD_IO_ZERO ? PICK(s, zero_codes)
		     : reading		     ? PICK(s, read_codes)
					     : PICK(s, write_codes);
	if ((fate->code == -EINTR && !io->dsync) || fate->code == -EAGAIN ||
	    fate->code == -EOPNOTSUPP || fate->code == -EINVAL)
		return; /* tried again, or done by writing */
	note(d, row_for(fate->code, reading));
	/* EFBIG is told before anything is written */
	if ((io->op == VHD_IO_SYNC || io->dsync) && fate->code != -EFBIG) {
		sync_failed(d);
		simdisk_lose(d->medium);
	}
}

/* Pieces of whole sectors only: that a sector is torn is not in the model. */
static void cut_short(struct sim *s, uint64_t len, struct sim_fate *fate)
{
	if (len > 512)
		fate->most_bytes =
			512 * (1 + sim_below(s, (uint32_t)(len / 512) - 1));
}

static uint64_t length_of(const struct vhd_io *io)
{
	uint64_t sum = 0;

	if (io->op == VHD_IO_ZERO)
		return io->zero_bytes;
	for (uint32_t i = 0; i < io->iov_count; i++)
		sum += io->iov[i].iov_len;
	return sum;
}

static void trouble(struct sim *s, struct sim_disk *d, const struct vhd_io *io,
		    struct sim_fate *fate)
{
	bool sync = io->op == VHD_IO_SYNC;
	uint32_t kind = sim_below(s, 4);

	if (kind == 0) {
		if (!sync && io->op != VHD_IO_ZERO)
			cut_short(s, length_of(io), fate);
	} else if (kind == 1 && !sync) {
		fate->nothing = true;
		note(d, row_for(-EIO, io->op == VHD_IO_READ));
		d->may_be_poisoned |= io->dsync;
	} else if (!sync || sim_chance(s, 250)) {
		/* a sync that fails ends the image: not too often */
		fail(s, d, io, fate);
	}
}

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	const struct sim_engine *e = ctx;
	struct sim *s = e->sim;
	struct sim_disk *d = disk_of(s, io->file);

	if (!s->calm && s->lost_permille && io->op != VHD_IO_SYNC &&
	    sim_chance(s, s->lost_permille))
		fate->lost = s->lost[e->channel] = true;
	else if (!s->calm && s->fault_permille &&
		 sim_chance(s, s->fault_permille))
		trouble(s, d, io, fate);
	if (s->trace)
		sim_say(s, "  io %d off %llu len %llu%s -> %d%s%s", io->op,
			(unsigned long long)io->off_bytes,
			(unsigned long long)length_of(io),
			io->dsync ? " dsync" : "", fate->code,
			fate->lost ? " lost" : "",
			fate->most_bytes || fate->nothing ? " short" : "");
	if (io->dsync && !fate->code && !fate->lost && !fate->nothing)
		simdisk_flush_only(d->medium, io->off_bytes,
				   fate->most_bytes ? fate->most_bytes
						    : length_of(io));
}

static void around(void *ctx, bool begins)
{
	const struct sim_engine *e = ctx;

	e->sim->in_engine = begins;
}

struct sim_opts sim_faults(struct sim *s, unsigned channel)
{
	s->lost[channel] = false;
	s->engine_of[channel] = (struct sim_engine){s, channel};
	return (struct sim_opts){
		.seed = random_next(&s->rnd),
		.decide = decide,
		.around = around,
		.forgetful = true,
		.ctx = &s->engine_of[channel],
	};
}

/* --------------------------------------------------------------- medium -- */

static int fail_medium(struct sim *s, struct sim_disk *d, enum memfile_op op)
{
	static const int grow_codes[] = {EIO, ENOSPC, EDQUOT, EFBIG};
	int code;

	if (op == MEMFILE_READ) {
		note(d, ROW_READ_ERROR);
		note(d, ROW_WRITE_ERROR);
		return -EIO;
	}
	if (op == MEMFILE_FLUSH) {
		code = PICK(s, sync_codes);
		note(d, row_for(code, false));
		sync_failed(d);
		return code;
	}
	if (op == MEMFILE_ZERO && sim_below(s, 2))
		return -EOPNOTSUPP;
	code = PICK(s, grow_codes);
	note(d, row_for(code, false));
	d->may_be_poisoned = true; /* where it publishes */
	return code;
}

int sim_medium_fault(void *disk, enum memfile_op op, size_t *most)
{
	struct sim_disk *d = disk;
	struct sim *s = d->sim;
	int code = 0;

	if (s->in_engine)
		return 0;
	if (s->calm || !s->fault_permille || op == MEMFILE_SIZE ||
	    !sim_chance(s, s->fault_permille))
		return 0;
	if ((op == MEMFILE_READ || op == MEMFILE_WRITE) && sim_below(s, 2)) {
		if (sim_below(s, 2))
			code = sim_below(s, 2) ? -EINTR : -EAGAIN;
		else if (*most > 512)
			*most = 512;
	} else {
		code = fail_medium(s, d, op);
	}
	if (s->trace)
		sim_say(s, "  medium op %d -> %d", op, code);
	return code;
}
