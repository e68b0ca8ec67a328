/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: disks on an NBD server (fakenbd.h) that come to a guest in memory
 * while it runs, with connections that somebody else makes.
 */
#include <sys/socket.h>

#include "tests/lib/ctlworld.h"
#include "tests/lib/nbdhand.h"

#define ROOM (4u << 20)
#define RAW "{\"command\":\"add\",\"name\":\"nbd://a/b\",\"format\":\"raw\"}"

struct both {
	struct world w;
	struct fakenbd server;
	struct nbdhand hand;
};

static void begin_both(struct both *b)
{
	start(&b->w);
	fakenbd_init(&b->server, ROOM);
	nbdhand_init(&b->hand, &b->server);
}

/* Every connector has ended by then: its disk has gone. */
static void end_both(struct both *b)
{
	nbdhand_fini(&b->hand);
	fakenbd_fini(&b->server);
	stop(&b->w);
}

static void add_export(struct both *b, const char *request, const char *part)
{
	int fd = nbdhand_start(&b->hand);

	expect(b->w.fd, request, &fd, 1, part);
	close(fd);
}

static bool guest_moves(struct world *w, bool write, uint8_t lun,
			uint64_t lba)
{
	struct vsc_cmd cmd = vsc_rw(write, lun, lba, 8, false, &w->b);
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	return vsc_good(&a);
}

static void put(struct world *w, uint8_t lun, uint64_t lba, uint8_t byte)
{
	uint8_t data[4096];

	memset(data, byte, sizeof(data));
	vsc_buffer_put(&w->b, data, sizeof(data));
	assert_true(guest_moves(w, true, lun, lba));
}

static void check(struct world *w, uint8_t lun, uint64_t lba, uint8_t byte)
{
	uint8_t data[4096];

	memset(data, (uint8_t)~byte, sizeof(data));
	vsc_buffer_put(&w->b, data, sizeof(data));
	assert_true(guest_moves(w, false, lun, lba));
	vsc_buffer_get(&w->b, data, sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], byte);
}

static void attention_over(struct world *w, uint8_t lun)
{
	while (run(w, lun, 0).key == 6)
		;
}

static void an_export_comes_outlives_its_server_and_goes(void **state)
{
	struct both b;

	(void)state;
	begin_both(&b);
	add_export(&b, RAW, "\"lun\":1");
	appears(&b.w, 1, true);
	attention_over(&b.w, 1);
	expect(b.w.fd, "{\"command\":\"list\"}", NULL, 0, "\"format\":\"raw\"");
	put(&b.w, 1, 64, 7);
	assert_int_equal(b.server.cache[64 * 512], 7);
	/* what was not flushed is written again to the next one */
	fakenbd_kill(&b.server);
	check(&b.w, 1, 64, 7);
	put(&b.w, 1, 128, 9);
	assert_int_equal(run(&b.w, 1, 0x35).srb, 0x01);
	assert_int_equal(b.server.medium[64 * 512], 7);
	assert_int_equal(b.server.medium[128 * 512], 9);
	assert_int_equal(fakenbd_connections(&b.server), 2);
	expect(b.w.fd, "{\"command\":\"stats\",\"lun\":1}", NULL, 0,
	       "latency-ns");
	expect(b.w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	appears(&b.w, 1, false);
	end_both(&b);
}

static void what_is_wrong_with_an_export_is_said(void **state)
{
	struct both b;
	unsigned fds;
	int pair[2];

	(void)state;
	begin_both(&b);
	/* the server has taken its client by then */
	expect(b.w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	fds = fds_open();
	b.server.refuse = true;
	add_export(&b, RAW, "cannot connect");
	b.server.refuse = false;
	add_export(&b, "{\"command\":\"add\",\"name\":\"nbd://a/b\"}",
		   "not a VHD; if it is a raw disk");
	b.server.flags |= FAKENBD_READ_ONLY;
	add_export(&b, RAW, "only be read");
	/* nobody is at the other end */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[1]);
	expect(b.w.fd, RAW, pair, 1, "for this guest");
	close(pair[0]);
	b.server.flags &= (uint16_t)~FAKENBD_READ_ONLY;
	add_export(&b, "{\"command\":\"add\",\"name\":\"x\",\"lun\":0,"
		       "\"format\":\"raw\"}", "taken");
	appears(&b.w, 1, false);
	/* of each connector the end that the test has for it is left */
	for (unsigned i = 0; i < b.hand.connectors; i++)
		fds++;
	for (unsigned i = 0; fds_open() > fds && i < VSC_WAIT_MS; i++)
		(void)usleep(1000); /* the server's own threads end */
	assert_int_equal(fds_open(), fds);
	end_both(&b);
}

static void an_export_to_be_read_serves_as_such(void **state)
{
	struct both b;

	(void)state;
	begin_both(&b);
	b.server.flags |= FAKENBD_READ_ONLY;
	memset(b.server.cache, 5, 4096);
	add_export(&b, "{\"command\":\"add\",\"name\":\"nbd://a/b\","
		       "\"format\":\"raw\",\"read-only\":true}", "\"lun\":1");
	appears(&b.w, 1, true);
	attention_over(&b.w, 1);
	check(&b.w, 1, 0, 5);
	assert_false(guest_moves(&b.w, true, 1, 0));
	expect(b.w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	end_both(&b);
}

/* A lost server costs requests no more than their time, and the disk goes. */
static void a_disk_goes_although_its_server_is_gone(void **state)
{
	struct both b;

	(void)state;
	begin_both(&b);
	add_export(&b, "{\"command\":\"add\",\"name\":\"nbd://a/b\","
		       "\"format\":\"raw\",\"reconnect\":1}", "\"lun\":1");
	appears(&b.w, 1, true);
	attention_over(&b.w, 1);
	pthread_mutex_lock(&b.server.lock);
	b.server.refuse = true;
	pthread_mutex_unlock(&b.server.lock);
	fakenbd_kill(&b.server);
	assert_false(guest_moves(&b.w, false, 1, 0));
	expect(b.w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	end_both(&b);
}

/* The guest's end: what was added and is still there is let go of. */
static void a_disk_that_is_left_ends_with_the_guest(void **state)
{
	struct both b;

	(void)state;
	begin_both(&b);
	add_export(&b, RAW, "\"lun\":1");
	stop(&b.w);
	nbdhand_fini(&b.hand);
	fakenbd_fini(&b.server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_export_comes_outlives_its_server_and_goes),
		cmocka_unit_test(what_is_wrong_with_an_export_is_said),
		cmocka_unit_test(an_export_to_be_read_serves_as_such),
		cmocka_unit_test(a_disk_goes_although_its_server_is_gone),
		cmocka_unit_test(a_disk_that_is_left_ends_with_the_guest),
	};

	/* for the connectors, which are threads here; hv needs no such */
	if (cli_sandbox_set("test", "off") || hv_nbd_load(NULL))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
