/* SPDX-License-Identifier: BSD-2-Clause */
/* One pass of vmbus_service: how much it does at most, what it leaves for the
 * next one, when it wants to be called again. The host here takes every
 * message at once, and guest messages come while the pass is on its way, as
 * other processors post them.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "hv/vmbus/bus.h"
#include "tests/lib/bytes.h"
#include "tests/lib/cm.h"
#include "tests/lib/fakedev.h"

struct host {
	struct hv_mem *mem;
	struct vmbus *bus;
	bool busy;     /* the slot stays full */
	unsigned told; /* messages that arrived */
	unsigned more; /* to be posted while messages arrive */
	uint64_t now_ms;
};

/* Answered each time: teardown of a handle that is not there. */
static void ask(struct host *h)
{
	uint8_t m[16] = {11, [8] = 1};

	assert_int_equal(vmbus_post_message(h->bus, 4, 1, m, sizeof(m)),
			 VMBUS_HV_SUCCESS);
}

static int take(void *host, uint32_t vp, uint8_t sint, const void *msg,
		size_t len)
{
	struct host *h = host;

	(void)vp;
	(void)sint;
	(void)msg;
	(void)len;
	if (h->busy)
		return -EAGAIN;
	h->told++;
	if (h->more) {
		h->more--;
		ask(h);
	}
	return 0;
}

static void ignore(void *host, uint32_t vp, uint8_t sint, uint16_t flag)
{
	(void)host;
	(void)vp;
	(void)sint;
	(void)flag;
}

static int bind(void *host, uint32_t connection_id, int eventfd)
{
	(void)host;
	(void)connection_id;
	(void)eventfd;
	return 0;
}

static void unbind(void *host, uint32_t connection_id, int eventfd)
{
	bind(host, connection_id, eventfd);
}

static uint32_t vps(void *host)
{
	(void)host;
	return 1;
}

static uint64_t now(void *host)
{
	return ((struct host *)host)->now_ms;
}

static const struct vmbus_host_ops ops = {
	.post = take,
	.signal = ignore,
	.bind = bind,
	.unbind = unbind,
	.vp_count = vps,
};

#define RAM_PAGES 16u

/* Connected at 5.3, with `devices` on offer that nobody has asked for. */
static void start(struct host *h, struct fakedev *dev, unsigned devices)
{
	static uint8_t ram[RAM_PAGES * HV_PAGE_BYTES]
		__attribute__((aligned(4096)));
	const struct vmbus_opts opts = {
		.ops = &ops, .host = h, .clock_ms = now, .clock_arg = h};
	uint8_t contact[40] = {14, [8] = 3, 0, 5, [16] = VMBUS_SINT};
	struct vmbus_opts o = opts;

	*h = (struct host){.now_ms = 1000};
	memset(ram, 0, sizeof(ram));
	assert_int_equal(hv_mem_create(&h->mem), 0);
	assert_int_equal(hv_mem_add(h->mem, 0, sizeof(ram), ram), 0);
	o.mem = h->mem;
	assert_int_equal(vmbus_create(&o, &h->bus, NULL), 0);
	for (unsigned i = 0; i < devices; i++)
		fakedev_add(&dev[i], h->bus, (uint8_t)i);
	assert_int_equal(vmbus_post_message(h->bus, 4, 1, contact, 40), 0);
	vmbus_service(h->bus);
	assert_int_equal(vmbus_version(h->bus), 0x00050003);
	h->told = 0;
}

static void stop(struct host *h)
{
	vmbus_destroy(h->bus);
	hv_mem_destroy(h->mem);
}

static bool awake(const struct host *h)
{
	struct pollfd fd = {.fd = vmbus_eventfd(h->bus), .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static void offers_of_many_devices_go_out_in_one_pass(void **state)
{
	static struct fakedev dev[100];
	uint8_t request[8] = {3};
	struct host h;

	(void)state;
	start(&h, dev, 100);
	assert_int_equal(vmbus_post_message(h.bus, 4, 1, request, 8), 0);
	vmbus_service(h.bus);
	assert_int_equal(h.told, 101); /* and the end of them */
	stop(&h);
}

/* GPADL 7 of four pages from page 4 on. */
static void make_gpadl(struct host *h)
{
	uint8_t m[240] = {8};

	set32(m + 8, 1);
	set32(m + 12, 7);
	m[16] = 40; /* bytes of the range */
	m[18] = 1;  /* ranges */
	set32(m + 20, 4 * HV_PAGE_BYTES);
	for (unsigned i = 0; i < 4; i++)
		m[28 + 8 * i] = (uint8_t)(4 + i);
	assert_int_equal(vmbus_post_message(h->bus, 4, 1, m, 60), 0);
}

/* A channel on it: the bus wants to signal it once more 100 ms later. */
static void open_channel(struct host *h)
{
	uint8_t m[240] = {5};

	set32(m + 8, 1);
	set32(m + 16, 7);
	set32(m + 24, 2);
	assert_int_equal(vmbus_post_message(h->bus, 4, 1, m, 148), 0);
}

/* A device: another message comes while its channel is opened. */
static int open_and_ask(void *dev, struct vmbus_channel *ch,
			const uint8_t *user)
{
	(void)ch;
	(void)user;
	ask(dev);
	return 0;
}

static void close_it(void *dev, struct vmbus_channel *ch)
{
	(void)dev;
	(void)ch;
}

static const struct vmbus_device_ops asking = {"asking", open_and_ask,
					       close_it};

/* Each answer brings another question. As answers leave when 64 of them wait,
 * a pass that ends at 256 ends with questions waiting if the first 64 messages
 * have one answer less, and one message more.
 */
static void a_pass_handles_256_messages_and_comes_back_for_more(void **state)
{
	uint8_t request[8] = {3}, unknown[8] = {99};
	struct vmbus_offer offer = {.ops = &asking};
	struct vmbus_channel *ch;
	struct host h;

	(void)state;
	start(&h, NULL, 0);
	offer.dev = &h;
	assert_int_equal(vmbus_offer_add(h.bus, &offer, &ch, NULL), 0);
	assert_int_equal(vmbus_post_message(h.bus, 4, 1, request, 8), 0);
	vmbus_service(h.bus);
	make_gpadl(&h);
	vmbus_service(h.bus);
	h.told = 0;
	open_channel(&h);
	assert_int_equal(vmbus_post_message(h.bus, 4, 1, unknown, 8), 0);
	for (unsigned i = 2; i < VMBUS_QUEUE_IN; i++)
		ask(&h);
	h.more = 500;
	vmbus_service(h.bus);
	assert_in_range(h.told, 64 * 3, VMBUS_SERVICE_MAX);
	assert_true(awake(&h));
	while (awake(&h))
		vmbus_service(h.bus);
	/* every question, the one while opening, and the open itself */
	assert_int_equal(h.told, VMBUS_QUEUE_IN - 2 + 500 + 1 + 1);
	stop(&h);
}

static void the_earlier_of_two_times_is_asked_for(void **state)
{
	static struct fakedev dev[1];
	uint8_t request[8] = {3};
	struct host h;

	(void)state;
	start(&h, dev, 1);
	assert_int_equal(vmbus_post_message(h.bus, 4, 1, request, 8), 0);
	vmbus_service(h.bus);
	make_gpadl(&h);
	open_channel(&h);
	assert_int_equal(vmbus_service(h.bus), VMBUS_UNSTICK_MS);
	assert_int_equal(dev[0].opens, 1);
	h.busy = true;
	ask(&h);
	assert_int_equal(vmbus_service(h.bus), VMBUS_RETRY_MS);
	h.now_ms += VMBUS_UNSTICK_MS - VMBUS_RETRY_MS / 2;
	assert_int_equal(vmbus_service(h.bus), VMBUS_RETRY_MS / 2);
	h.now_ms += VMBUS_RETRY_MS;
	assert_int_equal(vmbus_service(h.bus), VMBUS_RETRY_MS);
	h.busy = false;
	assert_int_equal(vmbus_service(h.bus), -1);
	stop(&h);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_pass_handles_256_messages_and_comes_back_for_more),
		T(offers_of_many_devices_go_out_in_one_pass),
		T(the_earlier_of_two_times_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
