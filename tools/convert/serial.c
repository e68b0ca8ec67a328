/* SPDX-License-Identifier: BSD-2-Clause */
/* The sink of a stream: the library tells what the file has where, and the
 * disk's pieces come in the order in which it has them. What lies between the
 * pieces is zero, and costs little where it is compressed.
 *
 * A dynamic image says at its beginning which blocks it has, so the disk is
 * read twice: once to find that out. Data that turns up in a block that had
 * none is an error: SRC was changed in between.
 */
#include <errno.h>
#include <stdlib.h>

#include "serial.h"

/* ---------------------------------------------------------------- survey -- */

static void survey_write(struct convert_sink *sink, struct convert_io *io)
{
	struct convert_survey *s = (struct convert_survey *)sink;
	uint64_t b = io->off_bytes / s->block_bytes;
	uint64_t last = (io->off_bytes + io->len_bytes - 1) / s->block_bytes;

	for (; b <= last; b++)
		s->used[b / 8] |= (uint8_t)(1u << b % 8);
	io->done(io);
}

static const struct convert_sink_ops survey_ops = { .write = survey_write };

int convert_survey_init(struct convert_survey *s, struct convert_job *job,
			uint64_t size_bytes, uint32_t block_bytes,
			struct vhd_err *err)
{
	*s = (struct convert_survey){
		.sink = {
			.ops = &survey_ops,
			.job = job,
			.path = job->dst,
			.grain_bytes = CONVERT_GRAIN_BYTES,
		},
		.block_bytes = block_bytes,
		.used = calloc(1, size_bytes / block_bytes / 8 + 1),
	};
	if (s->used)
		return 0;
	return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
}

void convert_survey_fini(struct convert_survey *s)
{
	free(s->used);
	s->used = NULL;
}

/* ---------------------------------------------------------------- stream -- */

static struct convert_serial *serial_of(struct convert_sink *s)
{
	return (struct convert_serial *)s;
}

/* Until the size is known all that comes is the disk. */
static void where(const struct convert_serial *s, struct vhd_stream_run *run)
{
	if (s->plan)
		vhd_stream_at(s->plan, s->off_bytes, run);
	else
		*run = (struct vhd_stream_run){
			.kind = VHD_STREAM_DATA,
			.len_bytes = UINT64_MAX - s->off_bytes,
			.disk_bytes = s->off_bytes,
		};
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Each of these sends some of what is due; false: there was no room for all
 * that it tried.
 */
static bool send_meta(struct convert_serial *s, uint64_t len)
{
	size_t n = (size_t)min_u64(len, sizeof(s->meta)), took;

	vhd_stream_meta(s->plan, s->off_bytes, s->meta, n);
	took = convert_bytes_put(s->bytes, s->meta, n);
	s->off_bytes += took;
	return took == n;
}

static bool send_zeros(struct convert_serial *s, uint64_t len)
{
	uint64_t took = convert_bytes_zeros(s->bytes, len);

	s->off_bytes += took;
	return took == len;
}

static bool send_piece(struct convert_serial *s, const struct convert_io *io,
		       const struct vhd_stream_run *run)
{
	uint64_t in = run->disk_bytes - io->off_bytes;
	size_t n = (size_t)min_u64(run->len_bytes, io->len_bytes - in);
	size_t took = convert_bytes_put(s->bytes, io->buf + in, n);

	s->off_bytes += took;
	s->took_bytes += took;
	return took == n;
}

/* Go on up to the end of a piece, or with none to that of the file. False:
 * there is no room.
 */
static bool advance(struct convert_serial *s, const struct convert_io *io)
{
	uint64_t from = io ? io->off_bytes : UINT64_MAX;
	uint64_t to = io ? from + io->len_bytes : UINT64_MAX;
	struct vhd_stream_run run;
	bool room = true;

	while (room) {
		where(s, &run);
		if (!run.len_bytes ||
		    (run.kind == VHD_STREAM_DATA && run.disk_bytes >= to))
			return true;
		if (run.kind == VHD_STREAM_META)
			room = send_meta(s, run.len_bytes);
		else if (run.disk_bytes < from)
			room = send_zeros(s, min_u64(run.len_bytes,
						     from - run.disk_bytes));
		else
			room = send_piece(s, io, &run);
	}
	return false;
}

static void go_on(struct convert_serial *s)
{
	while (s->first && advance(s, s->first)) {
		struct convert_io *io = s->first;

		s->first = io->next_;
		if (s->took_bytes != io->len_bytes)
			io->result = convert_fault(
				s->sink.job, s->sink.path, -EIO, VHD_WHY_IO,
				"SRC was changed between its two readings, at "
				"disk offset %llu",
				(unsigned long long)io->off_bytes);
		s->took_bytes = 0;
		io->done(io);
	}
}

static bool serial_room(struct convert_sink *s)
{
	return !serial_of(s)->first;
}

static void serial_write(struct convert_sink *sink, struct convert_io *io)
{
	struct convert_serial *s = serial_of(sink);

	io->next_ = NULL;
	if (s->first)
		s->last->next_ = io;
	else
		s->first = io;
	s->last = io;
	go_on(s);
}

static void serial_turn(struct convert_sink *s)
{
	convert_bytes_turn(serial_of(s)->bytes);
	go_on(serial_of(s));
}

static int serial_finish(struct convert_sink *sink, uint64_t size_bytes,
			 struct vhd_err *err)
{
	struct convert_serial *s = serial_of(sink);
	int rc = 0;

	if (!s->plan) {
		s->create.size_bytes = size_bytes;
		rc = vhd_stream_create(&s->create, NULL, &s->plan, err);
	}
	while (!rc && !advance(s, NULL)) {
		rc = convert_wait(sink->job, err);
		if (!rc && convert_interrupted(sink->job, err))
			rc = -EINTR;
		convert_bytes_turn(s->bytes);
		if (!rc)
			rc = convert_faulted(sink->job, err);
	}
	return rc ? rc : convert_bytes_end(s->bytes, err);
}

static void serial_drain(struct convert_sink *sink)
{
	struct convert_serial *s = serial_of(sink);

	for (struct convert_io *io; (io = s->first);) {
		s->first = io->next_;
		io->result = -ECANCELED;
		io->done(io);
	}
}

static void serial_close(struct convert_sink *s)
{
	vhd_stream_destroy(serial_of(s)->plan);
	serial_of(s)->plan = NULL;
}

static const struct convert_sink_ops serial_ops = {
	.room = serial_room,
	.write = serial_write,
	.finish = serial_finish,
	.turn = serial_turn,
	.drain = serial_drain,
	.close = serial_close,
};

int convert_serial_init(struct convert_serial *s, struct convert_job *job,
			struct convert_bytes *bytes, const char *path,
			const struct vhd_create_opts *create,
			const uint8_t *used, struct vhd_err *err)
{
	*s = (struct convert_serial){
		.sink = {
			.ops = &serial_ops,
			.job = job,
			.path = path,
			.grain_bytes = CONVERT_GRAIN_BYTES,
		},
		.bytes = bytes,
		.create = *create,
	};
	if (!create->size_bytes)
		return 0;
	return vhd_stream_create(create, used, &s->plan, err);
}
