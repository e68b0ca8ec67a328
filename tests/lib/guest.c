/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine of the user-space guest: memory, message slots, event flags and
 * connection ids behind struct vmbus_host_ops, and the control thread.
 */
#include "guest_int.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PAGE 16 /* GPA 0 is worth keeping free */
#define HIGH_GPA   (4ull << 30)
#define CONN_BASE  0x2000u

void guest_die(const char *what)
{
	fprintf(stderr, "guest: %s\n", what);
	abort();
}

void *guest_grow(void *array, size_t count, size_t *room, size_t bytes)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 16;
	array = realloc(array, *room * bytes);
	if (!array)
		guest_die("no memory");
	return array;
}

/* ------------------------------------------------------------ host ops -- */

static int op_post(void *host, uint32_t vp, uint8_t sint, const void *msg,
		   size_t len)
{
	struct guest *g = host;
	struct guest_slot *s = &g->slot[vp];
	int rc = 0;

	if (vp >= g->opts.vps || sint != VMBUS_SINT ||
	    len > VMBUS_MESSAGE_BYTES_MAX)
		guest_die("the bus posts where nothing is");
	pthread_mutex_lock(&g->lock);
	if (g->off[vp]) {
		rc = -ENXIO;
	} else if (s->busy) {
		s->pending = true;
		rc = -EAGAIN;
	} else {
		memcpy(s->data, msg, len);
		s->len = len;
		s->busy = true;
		pthread_cond_broadcast(&g->change);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static void op_signal(void *host, uint32_t vp, uint8_t sint, uint16_t flag)
{
	struct guest *g = host;
	struct guest_irq *irq = &g->irq[flag % GUEST_RELIDS];

	if (vp >= g->opts.vps || sint != VMBUS_SINT || flag == 0 ||
	    flag >= GUEST_RELIDS)
		guest_die("the bus signals what does not exist");
	pthread_mutex_lock(&g->lock);
	irq->calls++;
	irq->vp = vp;
	if (!(irq->flags & 1ull << vp))
		pthread_cond_broadcast(&g->change);
	irq->flags |= 1ull << vp;
	pthread_mutex_unlock(&g->lock);
}

static int *bound_at(struct guest *g, uint32_t connection_id)
{
	if (connection_id < CONN_BASE ||
	    connection_id >= CONN_BASE + GUEST_RELIDS)
		return NULL;
	return &g->bound[connection_id - CONN_BASE];
}

static int op_bind(void *host, uint32_t connection_id, int fd)
{
	struct guest *g = host;
	int *at = bound_at(g, connection_id);
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	if (g->refuse_bind)
		rc = -EBADF;
	else if (!at || *at >= 0)
		rc = -EEXIST;
	else
		*at = fd;
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static void op_unbind(void *host, uint32_t connection_id, int fd)
{
	struct guest *g = host;
	int *at = bound_at(g, connection_id);

	pthread_mutex_lock(&g->lock);
	if (!at || *at != fd)
		guest_die("the bus unbinds what it did not bind");
	*at = -1;
	pthread_mutex_unlock(&g->lock);
}

static uint32_t op_vp_count(void *host)
{
	return ((struct guest *)host)->opts.vps;
}

static const struct vmbus_host_ops host_ops = {
	.post = op_post,
	.signal = op_signal,
	.bind = op_bind,
	.unbind = op_unbind,
	.vp_count = op_vp_count,
};

static uint64_t clock_now(void *arg)
{
	struct guest *g = arg;
	uint64_t now;

	pthread_mutex_lock(&g->lock);
	now = g->clock_ms;
	pthread_mutex_unlock(&g->lock);
	return now;
}

static void log_line(void *arg, const char *line)
{
	struct guest *g = arg;

	pthread_mutex_lock(&g->lock);
	g->log_lines++;
	snprintf(g->log_last, sizeof(g->log_last), "%s", line);
	pthread_mutex_unlock(&g->lock);
	if (g->opts.log)
		g->opts.log(g->opts.log_arg, line);
}

/* ---------------------------------------------------------------- life -- */

static void *control_main(void *arg)
{
	struct guest *g = arg;
	struct pollfd fds[2] = {
		{.fd = vmbus_eventfd(g->bus), .events = POLLIN},
		{.fd = g->stop_fd, .events = POLLIN},
	};
	int wait_ms = 0;

	while (!(fds[1].revents & POLLIN)) {
		if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
			guest_die("poll failed");
		wait_ms = vmbus_service(g->bus);
	}
	return NULL;
}

static uint8_t *map_ram(struct guest *g, uint64_t gpa, uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || hv_mem_add(g->mem, gpa, len, p))
		guest_die("no memory for RAM");
	return p;
}

/* Its waits are by a clock that nobody sets. */
static void init_change(struct guest *g)
{
	pthread_condattr_t how;

	if (pthread_condattr_init(&how) ||
	    pthread_condattr_setclock(&how, CLOCK_MONOTONIC) ||
	    pthread_cond_init(&g->change, &how))
		guest_die("no condition variable");
	pthread_condattr_destroy(&how);
}

struct guest *guest_create(const struct guest_opts *opts)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct vmbus_opts bus_opts;

	if (!g || hv_mem_create(&g->mem))
		guest_die("no memory");
	if (opts)
		g->opts = *opts;
	if (g->opts.vps == 0)
		g->opts.vps = 1;
	if (g->opts.memory_bytes == 0)
		g->opts.memory_bytes = 16u << 20;
	g->ram = map_ram(g, 0, g->opts.memory_bytes);
	if (g->opts.high_bytes)
		g->high = map_ram(g, HIGH_GPA, g->opts.high_bytes);
	g->next_low = FIRST_PAGE;
	g->next_high = g->opts.memory_bytes / HV_PAGE_BYTES;
	pthread_mutex_init(&g->lock, NULL);
	init_change(g);
	for (unsigned i = 0; i < GUEST_RELIDS; i++)
		g->bound[i] = -1;
	g->clock_ms = 1000;
	g->next_handle = 0xE1E10;
	g->stop_fd = eventfd(0, EFD_CLOEXEC);
	bus_opts = (struct vmbus_opts){
		.mem = g->mem,
		.ops = &host_ops,
		.host = g,
		.log = log_line,
		.log_arg = g,
		.max_version = g->opts.max_version,
		.clock_ms = g->opts.threaded ? NULL : clock_now,
		.clock_arg = g,
	};
	if (g->stop_fd < 0 || vmbus_create(&bus_opts, &g->bus, NULL))
		guest_die("no bus");
	return g;
}

void guest_start_control(struct guest *g)
{
	if (!g->opts.threaded || g->started)
		return;
	g->started = true;
	if (pthread_create(&g->control, NULL, control_main, g))
		guest_die("no thread");
}

void guest_destroy(struct guest *g)
{
	if (g->started) {
		if (eventfd_write(g->stop_fd, 1) ||
		    pthread_join(g->control, NULL))
			guest_die("cannot stop the control thread");
	}
	vmbus_destroy(g->bus);
	hv_mem_destroy(g->mem);
	munmap(g->ram, g->opts.memory_bytes);
	if (g->high)
		munmap(g->high, g->opts.high_bytes);
	close(g->stop_fd);
	guest_forget_offers(g);
	free(g->offers);
	free(g->free_pages);
	pthread_cond_destroy(&g->change);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

struct vmbus *guest_bus(struct guest *g)
{
	return g->bus;
}

struct hv_mem *guest_mem(struct guest *g)
{
	return g->mem;
}

unsigned guest_log_lines(const struct guest *g)
{
	return g->log_lines;
}

const char *guest_log_last(const struct guest *g)
{
	return g->log_last;
}

/* -------------------------------------------------------------- memory -- */

void *guest_ptr(struct guest *g, uint64_t gpa)
{
	if (gpa < g->opts.memory_bytes)
		return g->ram + gpa;
	if (gpa >= HIGH_GPA && gpa - HIGH_GPA < g->opts.high_bytes)
		return g->high + (gpa - HIGH_GPA);
	return NULL;
}

void guest_alloc(struct guest *g, unsigned count, uint64_t *gpas)
{
	for (unsigned i = 0; i < count; i++) {
		if (g->free_count > 0) {
			gpas[i] = g->free_pages[--g->free_count];
		} else {
			if (g->next_low == g->next_high)
				guest_die("out of guest memory");
			/* Downwards: neighbours never continue each other. */
			gpas[i] = (g->opts.scatter ? --g->next_high
						   : g->next_low++) *
				  HV_PAGE_BYTES;
		}
		memset(g->ram + gpas[i], 0, HV_PAGE_BYTES);
	}
}

uint64_t guest_alloc_page(struct guest *g)
{
	uint64_t gpa;

	guest_alloc(g, 1, &gpa);
	return gpa;
}

/* Last out, first in: pages come back in the order they were given. */
void guest_free_pages(struct guest *g, unsigned count, const uint64_t *gpas)
{
	while (count > 0) {
		g->free_pages =
			guest_grow(g->free_pages, g->free_count, &g->free_room,
				   sizeof(g->free_pages[0]));
		g->free_pages[g->free_count++] = gpas[--count];
	}
}

/* --------------------------------------------------------------- time -- */

void guest_advance(struct guest *g, unsigned ms)
{
	pthread_mutex_lock(&g->lock);
	g->clock_ms += ms;
	pthread_mutex_unlock(&g->lock);
}

int guest_service(struct guest *g)
{
	struct pollfd fd = {.fd = vmbus_eventfd(g->bus), .events = POLLIN};
	int wait_ms;

	do
		wait_ms = vmbus_service(g->bus);
	while (poll(&fd, 1, 0) > 0);
	return wait_ms;
}

bool guest_wait_locked(struct guest *g, int timeout_ms,
		       bool (*done)(struct guest *g, void *arg), void *arg)
{
	struct timespec until;

	if (!timeout_ms) /* a simulation asks often: not the kernel */
		return done(g, arg);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	while (!done(g, arg))
		if (pthread_cond_timedwait(&g->change, &g->lock, &until))
			return done(g, arg);
	return true;
}
