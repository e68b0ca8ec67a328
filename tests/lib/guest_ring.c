/* SPDX-License-Identifier: BSD-2-Clause */
/* Channels and rings from the guest's side, after Linux drivers/hv/channel.c
 * and ring_buffer.c (facts, not code). Apart from hv/vmbus on purpose: the two
 * sides check each other.
 */
#include "guest_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define RING_IN	      0
#define RING_OUT      4
#define RING_MASK     8
#define RING_PENDING  12
#define RING_FEATURES 64

#define MSG_OPEN	5
#define MSG_OPEN_RESULT 6
#define MSG_CLOSE	7
#define DEFAULT_PAGES	32

static void put(uint8_t *p, uint64_t v, size_t len)
{
	memcpy(p, &v, len);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t *word(const struct guest_half *h, unsigned off)
{
	return (uint32_t *)(void *)(h->ctrl + off);
}

static uint32_t load(const struct guest_half *h, unsigned off)
{
	return __atomic_load_n(word(h, off), __ATOMIC_ACQUIRE);
}

static void store(const struct guest_half *h, unsigned off, uint32_t v)
{
	__atomic_store_n(word(h, off), v, __ATOMIC_RELEASE);
}

static void full_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ------------------------------------------------------------ channels -- */

static void half_init(struct guest *g, struct guest_half *h, uint64_t *gpas,
		      unsigned pages)
{
	h->ctrl_gpa = gpas[0];
	h->ctrl = guest_ptr(g, gpas[0]);
	h->gpas = gpas + 1;
	h->size = (pages - 1) * HV_PAGE_BYTES;
	memset(h->ctrl, 0, HV_PAGE_BYTES);
	store(h, RING_FEATURES, 1);
}

static int64_t say_open(struct guest_channel *ch, unsigned split, uint32_t vp,
			const uint8_t *user)
{
	uint8_t m[VMBUS_MESSAGE_BYTES_MAX] = {0};

	put(m, MSG_OPEN, 4);
	put(m + 8, ch->relid, 4);
	put(m + 12, ch->relid, 4);
	put(m + 16, ch->handle, 4);
	put(m + 20, vp, 4);
	put(m + 24, split, 4);
	if (user)
		memcpy(m + 28, user, 120);
	guest_insist(ch->g, m, 148);
	do {
		if (guest_hear_type(ch->g, MSG_OPEN_RESULT, m) < 20)
			return GUEST_NO_ANSWER;
	} while (get32(m + 8) != ch->relid || get32(m + 12) != ch->relid);
	return get32(m + 16);
}

struct guest_channel *guest_open(struct guest *g,
				 const struct guest_offer *offer,
				 const struct guest_open_opts *opts,
				 int64_t *status)
{
	struct guest_open_opts o = opts ? *opts : (struct guest_open_opts){0};
	struct guest_channel *ch = calloc(1, sizeof(*ch));
	int64_t rc;

	if (!o.out_pages)
		o.out_pages = DEFAULT_PAGES;
	if (!o.in_pages)
		o.in_pages = DEFAULT_PAGES;
	if (!ch)
		guest_die("no memory");
	ch->g = g;
	ch->relid = offer->relid;
	ch->connection_id = offer->connection_id;
	ch->handle = g->next_handle++;
	ch->pages = o.out_pages + o.in_pages;
	ch->gpas = calloc(ch->pages, sizeof(ch->gpas[0]));
	if (!ch->gpas)
		guest_die("no memory");
	guest_alloc(g, ch->pages, ch->gpas);
	half_init(g, &ch->out, ch->gpas, o.out_pages);
	half_init(g, &ch->in, ch->gpas + o.out_pages, o.in_pages);
	rc = guest_gpadl_create(g, ch->relid, ch->handle, ch->gpas, ch->pages);
	if (rc == 0) {
		rc = say_open(ch, o.out_pages, o.vp, o.user);
		if (rc != 0)
			guest_gpadl_teardown(g, ch->relid, ch->handle);
	}
	if (status)
		*status = rc;
	if (rc == 0)
		return ch;
	guest_drop(ch);
	return NULL;
}

void guest_drop(struct guest_channel *ch)
{
	guest_free_pages(ch->g, ch->pages, ch->gpas);
	free(ch->gpas);
	free(ch);
}

int guest_close(struct guest_channel *ch)
{
	uint8_t m[12] = {0};
	int rc;

	put(m, MSG_CLOSE, 4);
	put(m + 8, ch->relid, 4);
	guest_insist(ch->g, m, sizeof(m));
	rc = guest_gpadl_teardown(ch->g, ch->relid, ch->handle);
	guest_drop(ch);
	return rc;
}

uint32_t guest_channel_relid(const struct guest_channel *ch)
{
	return ch->relid;
}

uint32_t guest_channel_gpadl(const struct guest_channel *ch)
{
	return ch->handle;
}

uint64_t guest_out_ctrl(const struct guest_channel *ch)
{
	return ch->out.ctrl_gpa;
}

uint64_t guest_in_ctrl(const struct guest_channel *ch)
{
	return ch->in.ctrl_gpa;
}

uint32_t guest_out_size(const struct guest_channel *ch)
{
	return ch->out.size;
}

uint64_t guest_out_gpa(const struct guest_channel *ch, uint32_t off)
{
	off %= ch->out.size;
	return ch->out.gpas[off / HV_PAGE_BYTES] + off % HV_PAGE_BYTES;
}

/* ------------------------------------------------------------- signals -- */

void guest_signal(struct guest_channel *ch)
{
	struct guest *g = ch->g;
	int fd;

	ch->signals_sent++;
	pthread_mutex_lock(&g->lock);
	fd = g->bound[ch->connection_id - 0x2000];
	if (fd >= 0 && eventfd_write(fd, 1))
		guest_die("eventfd refuses a signal");
	pthread_mutex_unlock(&g->lock);
}

uint64_t guest_signals_sent(const struct guest_channel *ch)
{
	return ch->signals_sent;
}

static bool take_flag(struct guest *g, void *arg)
{
	struct guest_irq *irq = arg;
	bool any = irq->flags != 0;

	(void)g;
	irq->flags = 0;
	return any;
}

bool guest_take_interrupt(struct guest_channel *ch)
{
	return guest_wait_interrupt(ch, 0);
}

bool guest_wait_interrupt(struct guest_channel *ch, int timeout_ms)
{
	struct guest *g = ch->g;
	bool any;

	pthread_mutex_lock(&g->lock);
	any = guest_wait_locked(g, timeout_ms, take_flag, &g->irq[ch->relid]);
	pthread_mutex_unlock(&g->lock);
	return any;
}

uint64_t guest_interrupts(const struct guest_channel *ch)
{
	uint64_t n;

	pthread_mutex_lock(&ch->g->lock);
	n = ch->g->irq[ch->relid].calls;
	pthread_mutex_unlock(&ch->g->lock);
	return n;
}

uint32_t guest_interrupt_vp(const struct guest_channel *ch)
{
	uint32_t vp;

	pthread_mutex_lock(&ch->g->lock);
	vp = ch->g->irq[ch->relid].vp;
	pthread_mutex_unlock(&ch->g->lock);
	return vp;
}

/* --------------------------------------------------------------- bytes -- */

static uint32_t copy(const struct guest_channel *ch, const struct guest_half *h,
		     uint32_t at, void *bytes, size_t len, bool to_ring)
{
	uint8_t *mine = bytes;

	while (len > 0) {
		uint32_t in_page = at % HV_PAGE_BYTES;
		size_t n = HV_PAGE_BYTES - in_page;
		uint8_t *ring = guest_ptr(ch->g, h->gpas[at / HV_PAGE_BYTES]);

		if (n > len)
			n = len;
		if (to_ring)
			memcpy(ring + in_page, mine, n);
		else
			memcpy(mine, ring + in_page, n);
		mine += n;
		len -= n;
		at = (at + (uint32_t)n) % h->size;
	}
	return at;
}

static uint32_t used(const struct guest_half *h)
{
	uint32_t in = load(h, RING_IN), out = load(h, RING_OUT);

	return in >= out ? in - out : h->size - out + in;
}

/* ---------------------------------------------------------------- send -- */

/* Room for `len` bytes, or a note in pending_send_sz. */
static bool have_room(struct guest_channel *ch, uint32_t len)
{
	struct guest_half *h = &ch->out;

	if (h->size - used(h) <= len) {
		store(h, RING_PENDING, len);
		full_fence(); /* with the host's, before it reads PENDING */
		if (h->size - used(h) <= len)
			return false;
	}
	if (load(h, RING_PENDING))
		store(h, RING_PENDING, 0);
	return true;
}

static void publish(struct guest_channel *ch, uint32_t old, uint32_t new)
{
	struct guest_half *h = &ch->out;

	store(h, RING_IN, new);
	full_fence(); /* with the host's, between unmask and its last look */
	if (load(h, RING_MASK) == 0 && load(h, RING_OUT) == old)
		guest_signal(ch);
}

static int send_packet(struct guest_channel *ch, uint8_t *head, size_t head_len,
		       const void *payload, size_t len)
{
	size_t total = head_len + (len + 7) / 8 * 8;
	uint32_t old = load(&ch->out, RING_IN), at;
	uint8_t pad[8] = {0}, trailer[8] = {0};
	void *bytes = (void *)(uintptr_t)payload;

	if (!have_room(ch, (uint32_t)total + 8))
		return -EAGAIN;
	put(head + 4, total / 8, 2);
	put(trailer + 4, old, 4);
	at = copy(ch, &ch->out, old, head, head_len, true);
	at = copy(ch, &ch->out, at, bytes, len, true);
	at = copy(ch, &ch->out, at, pad, total - head_len - len, true);
	at = copy(ch, &ch->out, at, trailer, sizeof(trailer), true);
	publish(ch, old, at);
	return 0;
}

int guest_send(struct guest_channel *ch, uint16_t type, uint16_t flags,
	       uint64_t trans_id, const void *payload, size_t len)
{
	uint8_t head[16] = {0};

	put(head, type, 2);
	put(head + 2, 2, 2);
	put(head + 6, flags, 2);
	put(head + 8, trans_id, 8);
	return send_packet(ch, head, sizeof(head), payload, len);
}

int guest_send_gpa(struct guest_channel *ch, uint16_t flags, uint64_t trans_id,
		   const struct guest_range *ranges, uint32_t count,
		   const void *payload, size_t len)
{
	size_t head_len = 24, at = 24;
	uint8_t *head;
	int rc;

	for (uint32_t i = 0; i < count; i++)
		head_len += 8 + 8 * (size_t)ranges[i].pages;
	head = calloc(1, head_len);
	if (!head)
		guest_die("no memory");
	put(head, VMBUS_PACKET_GPA_DIRECT, 2);
	put(head + 2, head_len / 8, 2);
	put(head + 6, flags, 2);
	put(head + 8, trans_id, 8);
	put(head + 16, 0xDEADBEEF, 4); /* reserved: garbage is allowed */
	put(head + 20, count, 4);
	for (uint32_t i = 0; i < count; i++) {
		put(head + at, ranges[i].len, 4);
		put(head + at + 4, ranges[i].offset, 4);
		at += 8;
		for (unsigned p = 0; p < ranges[i].pages; p++, at += 8)
			put(head + at, ranges[i].gpas[p] / HV_PAGE_BYTES, 8);
	}
	rc = send_packet(ch, head, head_len, payload, len);
	free(head);
	return rc;
}

int guest_send_raw(struct guest_channel *ch, const void *bytes, size_t len)
{
	uint32_t old = load(&ch->out, RING_IN), at;

	if (!have_room(ch, (uint32_t)len))
		return -EAGAIN;
	at = copy(ch, &ch->out, old, (void *)(uintptr_t)bytes, len, true);
	publish(ch, old, at);
	return 0;
}

/* ------------------------------------------------------------- receive -- */

/* The host waits for more than `pending` free bytes: tell it when there are
 * and were not before `len` bytes were given back.
 */
static void signal_space(struct guest_channel *ch, uint32_t len)
{
	struct guest_half *h = &ch->in;
	uint32_t pending, free_now;

	full_fence(); /* with the host's, after it writes PENDING */
	if (!(load(h, RING_FEATURES) & 1))
		return;
	pending = load(h, RING_PENDING);
	if (!pending)
		return;
	free_now = h->size - used(h);
	if (free_now > pending && free_now - len <= pending)
		guest_signal(ch);
}

int guest_recv(struct guest_channel *ch, void *buf, size_t cap,
	       struct guest_packet *out)
{
	struct guest_half *h = &ch->in;
	uint32_t at = load(h, RING_OUT), avail, total, header;
	uint8_t head[16], trailer[8];

	if (load(h, RING_IN) >= h->size || load(h, RING_IN) % 8)
		return -EBADMSG;
	avail = used(h);
	if (avail == 0)
		return 0;
	copy(ch, h, at, head, sizeof(head), false);
	header = (get32(head) >> 16) * 8;
	total = (get32(head + 4) & 0xffff) * 8;
	if (header < 16 || total < header || total + 8 > avail)
		return -EBADMSG;
	*out = (struct guest_packet){
		.type = (uint16_t)get32(head),
		.flags = (uint16_t)(get32(head + 4) >> 16),
		.payload_len = total - header,
		.start = at,
	};
	memcpy(&out->trans_id, head + 8, 8);
	if (total - header <= cap)
		copy(ch, h, (at + header) % h->size, buf, total - header,
		     false);
	copy(ch, h, (at + total) % h->size, trailer, sizeof(trailer), false);
	memcpy(&out->trailer, trailer, sizeof(trailer));
	store(h, RING_OUT, (at + total + 8) % h->size);
	signal_space(ch, total + 8);
	return total - header <= cap ? 1 : -EMSGSIZE;
}

void guest_mask(struct guest_channel *ch)
{
	store(&ch->in, RING_MASK, 1);
}

bool guest_unmask(struct guest_channel *ch)
{
	store(&ch->in, RING_MASK, 0);
	full_fence(); /* with the host's, before it reads our mask */
	return used(&ch->in) > 0;
}
