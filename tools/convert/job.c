/* SPDX-License-Identifier: BSD-2-Clause */
/* What the long steps of a conversion share: signals, buffers, waiting, and
 * failed requests as errors.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "convert.h"

#define REAP_MAX 32u
/* How often progress is shown while nothing finishes. */
#define WAIT_MS 200

bool convert_interrupted(struct convert_job *job, struct vhd_err *err)
{
	struct signalfd_siginfo si;

	if (job->signal_fd < 0 ||
	    read(job->signal_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return false;
	job->signal = (int)si.ssi_signo;
	job->blame = job->dst;
	vhd_fail(err, -EINTR, VHD_WHY_CANCELLED, 0,
		 job->resume ? "interrupted by %s%s, what is done is kept"
			     : "interrupted by %s%s, nothing was kept",
		 sigabbrev_np(job->signal) ? "SIG" : "a signal",
		 sigabbrev_np(job->signal) ? sigabbrev_np(job->signal) : "");
	return true;
}

void *convert_buffers(size_t count, size_t each_bytes, struct vhd_err *err)
{
	void *p = mmap(NULL, count * each_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			 "out of memory: %zu bytes for buffers",
			 count * each_bytes);
		return NULL;
	}
	/* Advice only. */
	(void)madvise(p, count * each_bytes, MADV_HUGEPAGE);
	return p;
}

void convert_buffers_free(void *buffers, size_t count, size_t each_bytes)
{
	if (buffers)
		(void)munmap(buffers, count * each_bytes);
}

int convert_job_init(struct convert_job *job, enum vhd_engine engine,
		     struct vhd_err *err)
{
	const struct vhd_queue_opts opts = { .engine = engine };
	int rc;

	job->queue = NULL;
	job->wake_fd = epoll_create1(EPOLL_CLOEXEC);
	if (job->wake_fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot watch for events: %s",
				strerror(errno));
	rc = job->signal_fd < 0 ? 0
				: convert_watch(job, job->signal_fd, EPOLLIN,
						err);
	return rc ? rc : vhd_queue_create(&opts, &job->queue, err);
}

void convert_job_fini(struct convert_job *job)
{
	vhd_queue_destroy(job->queue);
	if (job->wake_fd >= 0)
		close(job->wake_fd);
	job->queue = NULL;
	job->wake_fd = -1;
}

int convert_watch(struct convert_job *job, int fd, uint32_t events,
		  struct vhd_err *err)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	if (epoll_ctl(job->wake_fd, EPOLL_CTL_MOD, fd, &e) == 0 ||
	    (errno == ENOENT &&
	     epoll_ctl(job->wake_fd, EPOLL_CTL_ADD, fd, &e) == 0))
		return 0;
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"cannot watch for events: %s", strerror(errno));
}

void convert_unwatch(struct convert_job *job, int fd)
{
	/* What is not watched needs no more. */
	(void)epoll_ctl(job->wake_fd, EPOLL_CTL_DEL, fd, NULL);
}

#define WAKE_TRIES 100

void convert_wake(int event_fd)
{
	const uint64_t one = 1;

	/* Full means that it is readable, which is all it is for. Anything
	 * else must not leave somebody waiting.
	 */
	for (unsigned i = 0; i < WAKE_TRIES; i++)
		if (write(event_fd, &one, sizeof(one)) > 0 || errno == EAGAIN)
			return;
}

int convert_fault(struct convert_job *job, const char *path, int code,
		  enum vhd_why why, const char *fmt, ...)
{
	va_list ap;

	if (job->fault.code)
		return code;
	job->fault = (struct vhd_err){ .code = code, .why = why };
	job->fault_path = path;
	va_start(ap, fmt);
	vsnprintf(job->fault.text, sizeof(job->fault.text), fmt, ap);
	va_end(ap);
	return code;
}

int convert_faulted(struct convert_job *job, struct vhd_err *err)
{
	if (!job->fault.code)
		return 0;
	*err = job->fault;
	job->blame = job->fault_path;
	return err->code;
}

void convert_submit(struct convert_job *job, struct vhd *img, enum vhd_op op,
		    const char *path, struct convert_io *io)
{
	io->path_ = path;
	io->iov_ = (struct iovec){ io->buf, io->len_bytes };
	io->req_ = (struct vhd_req){
		.img = img,
		.op = op,
		.lba = io->off_bytes / VHD_SECTOR_BYTES,
		.iov = &io->iov_,
		.iov_count = 1,
		.user = io,
	};
	vhd_queue_submit(job->queue, &io->req_);
}

static void fault_of(struct convert_job *job, const struct convert_io *io)
{
	static const char *const verb[] = {
		[VHD_OP_READ] = "read",
		[VHD_OP_WRITE] = "write",
		[VHD_OP_FLUSH] = "sync",
	};

	convert_fault(job, io->path_, io->req_.result, io->req_.why,
		      "cannot %s at disk offset %llu: %s", verb[io->req_.op],
		      (unsigned long long)io->off_bytes,
		      strerror(-io->req_.result));
}

void convert_reap(struct convert_job *job)
{
	struct vhd_req *done[REAP_MAX];
	unsigned n = vhd_queue_reap(job->queue, done, REAP_MAX);

	for (unsigned i = 0; i < n; i++) {
		struct convert_io *io = done[i]->user;

		io->result = io->req_.result;
		if (io->result)
			fault_of(job, io);
		io->done(io);
	}
}

void convert_drain(struct convert_job *job)
{
	/* A broken engine completes everything with -EIO. */
	while (vhd_queue_in_flight(job->queue)) {
		(void)vhd_queue_wait(job->queue, -1, WAIT_MS);
		convert_reap(job);
	}
}

bool convert_may_read(struct convert_job *job)
{
	return !job->rate.bytes_per_s ||
	       cli_rate_wait_ms(&job->rate, cli_now_ms()) == 0;
}

void convert_paid(struct convert_job *job, uint64_t bytes)
{
	cli_rate_take(&job->rate, bytes);
}

/* How long to wait for what is in flight, or, where the rate keeps all from
 * being read, for time to pass.
 */
static int wait_ms(struct convert_job *job)
{
	int64_t ms = WAIT_MS;

	if (!job->rate.bytes_per_s)
		return WAIT_MS;
	ms = cli_rate_wait_ms(&job->rate, cli_now_ms());
	return ms && ms < WAIT_MS ? (int)ms : WAIT_MS;
}

int convert_wait(struct convert_job *job, struct vhd_err *err)
{
	int rc = vhd_queue_wait(job->queue, job->wake_fd, wait_ms(job));

	if (!rc)
		return 0;
	job->blame = job->src;
	return vhd_fail(err, rc, VHD_WHY_IO, 0, "the I/O engine failed: %s",
			strerror(-rc));
}
