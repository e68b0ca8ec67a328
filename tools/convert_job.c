/* SPDX-License-Identifier: BSD-2-Clause */
/* What the long steps of a conversion share: signals, buffers, waiting, and
 * failed requests as errors.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
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
		 "interrupted by %s%s, nothing was kept",
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

int convert_req_fail(struct convert_job *job, const struct vhd_req *req,
		     const char *path, struct vhd_err *err)
{
	static const char *const verb[] = {
		[VHD_OP_READ] = "read",
		[VHD_OP_WRITE] = "write",
		[VHD_OP_FLUSH] = "sync",
	};

	job->blame = path;
	return vhd_fail(err, req->result, req->why, 0,
			"cannot %s at disk offset %llu: %s", verb[req->op],
			(unsigned long long)req->lba * VHD_SECTOR_BYTES,
			strerror(-req->result));
}

void convert_drain(struct convert_job *job)
{
	struct vhd_req *done[REAP_MAX];

	/* A broken engine completes everything with -EIO. */
	while (vhd_queue_in_flight(job->queue))
		if (!vhd_queue_reap(job->queue, done, REAP_MAX))
			(void)vhd_queue_wait(job->queue, -1, WAIT_MS);
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
	int rc = 0;

	if (vhd_queue_in_flight(job->queue) || !convert_may_read(job))
		rc = vhd_queue_wait(job->queue, job->signal_fd, wait_ms(job));
	if (!rc)
		return 0;
	job->blame = job->src;
	return vhd_fail(err, rc, VHD_WHY_IO, 0, "the I/O engine failed: %s",
			strerror(-rc));
}
