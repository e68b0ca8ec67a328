/* SPDX-License-Identifier: BSD-2-Clause */
/* A channel's life: made by the bus' control thread, run by a thread of its own
 * (in manual mode by the caller), stopped when nothing of it is in flight any
 * more.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "channel.h"
#include "clock.h"
#include "disks.h"
#include "drain.h"
#include "gate.h"
#include "leave.h"
#include "mail.h"
#include "request.h"
#include "reset.h"
#include "state.h"
#include "vhd/nap.h"

#define STOP_S	 5
#define HURRY_MS 1000u
/* Between looks for news, where no engine waits for them any more. */
#define DEAD_US	 10000u

/* -------------------------------------------------------- disk queue ----- */

static int thread_begins(struct channel *ch)
{
	const struct storvsp_opts *o = &ch->vsp->opts;

	return o->thread_begins
		       ? o->thread_begins(o->thread_arg,
					  vhd_queue_engine(ch->queue),
					  &ch->start_err)
		       : 0;
}

static void register_memory(struct channel *ch)
{
	_Static_assert(HV_MEM_REGIONS_MAX <= VHD_QUEUE_MEMORY_MAX, "all fit");
	struct iovec mem[HV_MEM_REGIONS_MAX];
	unsigned n = hv_mem_backing(ch->mem, mem);
	unsigned index = vmbus_channel_index(ch->bus);
	struct vhd_err err = {0};
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += mem[i].iov_len;
	if (vhd_queue_memory(ch->queue, mem, n, &err))
		storvsp_log_line(ch->log,
				 "channel %u: guest memory is not registered: "
				 "%s", index, err.text);
	else
		storvsp_log_line(ch->log,
				 "channel %u: %llu MiB of guest memory "
				 "registered with %s", index,
				 (unsigned long long)(bytes >> 20),
				 vhd_engine_name(vhd_queue_engine(ch->queue)));
}

static int queue_start(struct channel *ch, const struct storvsp_luns *luns)
{
	const struct storvsp_opts *o = &ch->vsp->opts;
	const struct vhd_queue_opts q = {
		.engine = o->engine,
		.depth = ch->places,
		.nbd_later = o->nbd_later,
	};
	int rc = o->queue_create
			 ? o->queue_create(o->queue_arg, &ch->queue,
					   &ch->start_err)
			 : vhd_queue_create(&q, &ch->queue, &ch->start_err);

	if (rc)
		return rc;
	storvsp_leave_attach(ch, luns);
	if (o->register_memory)
		register_memory(ch);
	return 0;
}

/* End what is in flight, without the ring, and let the queue go. Bounded by
 * the time the kernel needs for operations it has already begun: their
 * buffers are the guest's pages.
 */
static void queue_stop(struct channel *ch)
{
	ch->stopping = true;
	storvsp_reset_cancel(ch, NULL);
	while (level_get(&ch->on_disk) > 0) {
		struct vhd_req *done[STORVSP_BATCH];
		unsigned n = vhd_queue_reap(ch->queue, done, STORVSP_BATCH);

		ch->now_ns = 0;
		for (unsigned i = 0; i < n; i++)
			storvsp_request_end(ch, done[i]->user);
		if (n == 0 && vhd_queue_wait(ch->queue, -1, -1) < 0)
			vhd_nap(1000); /* broken: do not spin */
	}
	/* answers and a reset that nobody waits for any more */
	stat_add(&ch->stats, STAT_CANCELLED, level_get(&ch->busy));
	storvsp_leave_all(ch);
	vhd_queue_destroy(ch->queue);
}

/* ------------------------------------------------------------ thread ----- */

/* Tell the processor that this is a loop that waits. */
static void relax(void)
{
	__builtin_ia32_pause();
}

/* Look for work for a while: true when some was done. Everything a channel
 * does is looked for, so nothing is late while this goes on.
 */
static bool spin(struct channel *ch, uint64_t since_ns)
{
	uint64_t window_ns = spin_window(&ch->spin);

	if (window_ns == 0 || ch->queue_dead)
		return false;
	do {
		relax();
		if (storvsp_channel_step(ch)) {
			stat_add(&ch->stats, STAT_POLLED, 1);
			return true;
		}
	} while (!ch->stopping && clock_monotonic_ns() - since_ns < window_ns);
	return false;
}

static void sleep_until_news(struct channel *ch)
{
	int fd = vmbus_channel_eventfd(ch->bus);
	int ms = storvsp_gate_timeout_ms(ch);
	eventfd_t n;

	if (!ch->queue_dead && vhd_queue_wait(ch->queue, fd, ms) < 0) {
		ch->queue_dead = true;
		storvsp_log_line(ch->log, "channel %u: the disk engine broke",
				 vmbus_channel_index(ch->bus));
		return;
	}
	if (ch->queue_dead)
		vhd_nap(DEAD_US);
	/* does not block: nothing to read after a completion */
	(void)eventfd_read(fd, &n);
}

/* How the thread is woken next time, by what the last time brought. */
static void gather(struct channel *ch)
{
	const struct sched_param none = {0};
	uint64_t packets = stat_get(&ch->stats, STAT_PACKETS);
	bool full = gather_wake(&ch->gather, packets - ch->packets_then);

	ch->packets_then = packets;
	if (!full || !gather_round(&ch->gather, clock_monotonic_ns()))
		return;
	/* refused: then it stays as it is, and this is not asked again */
	if (sched_setscheduler(0, ch->gather.patient ? SCHED_BATCH
						     : SCHED_OTHER,
			       &none) < 0)
		ch->gather.may = false;
}

/* There was nothing to do. */
static void wait_for_work(struct channel *ch)
{
	uint64_t since_ns = ch->spin.max_ns ? clock_monotonic_ns() : 0;

	if (spin(ch, since_ns) || storvsp_channel_idle(ch) || ch->stopping)
		return;
	stat_add(&ch->stats, STAT_SLEEPS, 1);
	if (ch->gather.may)
		gather(ch);
	sleep_until_news(ch);
	if (ch->spin.max_ns)
		spin_slept(&ch->spin, clock_monotonic_ns() - since_ns);
}

struct start {
	struct channel *ch;
	const struct storvsp_luns *luns; /* until `started` */
};

static void *run(void *arg)
{
	const struct start *s = arg;
	struct channel *ch = s->ch;
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "scsi-%u", vmbus_channel_index(ch->bus));
	(void)pthread_setname_np(pthread_self(), name); /* for people only */
	rc = queue_start(ch, s->luns);
	if (rc == 0) {
		/* A queue with disks on servers puts what it waits for in one
		 * place, by a call that is given up next.
		 */
		(void)vhd_queue_wait(ch->queue, vmbus_channel_eventfd(ch->bus),
				     0);
		rc = thread_begins(ch);
		if (rc)
			queue_stop(ch);
	}
	ch->start_result = rc;
	sem_post(&ch->started); /* `s` is gone now */
	if (rc)
		return NULL;
	while (!ch->stopping)
		if (!storvsp_channel_step(ch))
			wait_for_work(ch);
	queue_stop(ch);
	sem_post(&ch->ended);
	return NULL;
}

/* Signals are for the program's own threads. */
static int thread_create(struct channel *ch, struct start *s)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&ch->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

int storvsp_channel_start(struct channel *ch, const struct storvsp_luns *luns)
{
	struct start s = {.ch = ch, .luns = luns};
	int rc;

	if (ch->vsp->opts.manual)
		return queue_start(ch, luns);
	rc = thread_create(ch, &s);
	if (rc)
		return vhd_fail(&ch->start_err, rc, VHD_WHY_SYSTEM, 0,
				"no thread for the channel");
	while (sem_wait(&ch->started) && errno == EINTR)
		;
	if (ch->start_result)
		pthread_join(ch->thread, NULL);
	return ch->start_result;
}

static bool ends_within(struct channel *ch, time_t seconds)
{
	struct timespec due;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &due);
	due.tv_sec += seconds;
	do
		rc = sem_clockwait(&ch->ended, CLOCK_MONOTONIC, &due);
	while (rc < 0 && errno == EINTR);
	return rc == 0;
}

/* The thread ends what is in flight. Where that is for servers to do, and they
 * do not, they are not waited for as long as a guest's requests would.
 */
static void thread_join(struct channel *ch)
{
	bool late = !ends_within(ch, STOP_S);

	if (late)
		storvsp_disks_wait_less(ch->vsp, HURRY_MS);
	pthread_join(ch->thread, NULL);
	if (late)
		storvsp_disks_wait_less(ch->vsp, VHD_NBD_FOREVER);
}

void storvsp_channel_stop(struct channel *ch)
{
	if (ch->vsp->opts.manual) {
		queue_stop(ch);
	} else {
		storvsp_mail_stop(ch);
		thread_join(ch);
	}
}

/* ------------------------------------------------------------ memory ----- */

void storvsp_channel_destroy(struct channel *ch)
{
	sem_destroy(&ch->started);
	sem_destroy(&ch->ended);
	storvsp_gate_free(ch);
	free(ch->slots);
	free(ch->iovs);
	free(ch->patterns);
	free(ch->packet);
	free(ch->sink);
	free(ch->buffer.pfns);
	free(ch);
}

/* Large parts are touched only where a guest makes use of them. */
static struct channel *channel_alloc(const struct storvsp_opts *opts)
{
	struct channel *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->depth = opts->depth;
	ch->slot_count = ch->depth + (ch->depth + STORVSP_SLOT_SHARE - 1) /
					     STORVSP_SLOT_SHARE;
	ch->places = 2 * (ch->depth < STORVSP_PLACES_MAX ? ch->depth
							 : STORVSP_PLACES_MAX);
	ch->iov_max = storvsp_buffer_pages(HV_PAGE_BYTES - 1,
					   opts->max_transfer_bytes);
	sem_init(&ch->started, 0, 0);
	sem_init(&ch->ended, 0, 0);
	ch->slots = calloc(ch->slot_count, sizeof(*ch->slots));
	ch->iovs = calloc((size_t)ch->slot_count * ch->iov_max,
			  sizeof(*ch->iovs));
	ch->patterns = calloc(ch->slot_count, STORVSP_PATTERN_BYTES);
	ch->packet = malloc(STORVSP_RING_PACKET_MAX);
	ch->sink = aligned_alloc(HV_PAGE_BYTES, STORVSP_SINK_BYTES);
	ch->buffer.pfns = calloc(ch->iov_max, sizeof(*ch->buffer.pfns));
	ch->buffer.pfns_max = ch->iov_max;
	if (!ch->slots || !ch->iovs || !ch->patterns || !ch->packet ||
	    !ch->sink || !ch->buffer.pfns) {
		storvsp_channel_destroy(ch);
		return NULL;
	}
	ch->answers_tail = &ch->answers;
	return ch;
}

struct channel *storvsp_channel_create(struct storvsp *vsp,
				       struct vmbus_channel *bus)
{
	struct channel *ch = channel_alloc(&vsp->opts);

	if (!ch)
		return NULL;
	ch->vsp = vsp;
	ch->spin.max_ns = 1000ull * vsp->opts.poll_us;
	ch->gather.may = vsp->opts.one_processor;
	ch->bus = bus;
	ch->mem = vmbus_channel_mem(bus);
	ch->log = &vsp->log;
	ch->number = vmbus_channel_index(bus);
	ch->sub = ch->number != 0;
	ch->session.sub = ch->sub;
	ch->session.max_subchannels = vsp->opts.max_subchannels;
	ch->session.max_transfer_bytes = vsp->opts.max_transfer_bytes;
	return ch;
}

/* ----------------------------------------------- without its thread ------ */

/* Only the caller's thread opens and closes channels in manual mode, so the
 * list stands still without the lock.
 */
static bool poll_once(struct storvsp *vsp)
{
	bool did = false;

	for (struct channel *ch = vsp->channels; ch; ch = ch->next)
		did |= storvsp_channel_step(ch) || storvsp_channel_idle(ch);
	return did;
}

unsigned storvsp_poll(struct storvsp *vsp)
{
	struct storvsp_stats before, after;

	assert(vsp->opts.manual);
	storvsp_get_stats(vsp, &before);
	while (poll_once(vsp))
		;
	storvsp_get_stats(vsp, &after);
	return (unsigned)(after.packets - before.packets + after.completions -
			  before.completions);
}
