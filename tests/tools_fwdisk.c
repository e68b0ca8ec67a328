/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks as firmware reaches them: bytes, bounds, and whose they are. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <seccomp.h>
#include <stdatomic.h>

#include "tests/lib/nbdtest.h"
#include "tools/hv/fwdisk.h"

#define SIZE_BYTES (8u << 20)
#define BLOCK	   4096u

static char dir[] = "/tmp/tools_fwdisk.XXXXXX";

struct world {
	struct hv_args args;
	struct hv_disks disks;
	struct hv_fwdisks *f;
	char path[sizeof(dir) + 16];
};

/* Disk 0: 512-byte blocks; 1: 4096, read only; 2: a DVD drive without a disc;
 * the first on controller 0, the others on 1.
 */
static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct vhd_create_opts o = {.format = VHD_FORMAT_DYNAMIC,
				    .size_bytes = SIZE_BYTES};
	struct vhd_err err;

	w->args.disk_count = 3;
	w->args.disks[1].sector_bytes = BLOCK;
	w->args.disks[1].read_only = true;
	w->args.disks[1].controller = w->args.disks[2].controller = 1;
	w->args.disks[2].lun = 1;
	w->args.disks[2].dvd = true;
	w->disks.args = &w->args;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(w->path, sizeof(w->path), "%s/%u.vhd", dir, i);
		assert_int_equal(vhd_create(w->path, &o, &w->disks.img[i],
					    &err), 0);
		(void)unlink(w->path);
		w->disks.id[i][0] = (uint8_t)(i + 1);
	}
	if (hv_fwdisks_create(&w->disks, NULL, &w->f, &err) < 0)
		fail_msg("%s", err.text);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	struct vhd_err err;

	hv_fwdisks_destroy(w->f);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vhd_close(w->disks.img[i], &err), 0);
	free(w);
	return 0;
}

static void started(struct world *w)
{
	struct vhd_err err;

	assert_int_equal(hv_fwdisks_start(w->f, NULL, &err), 0);
}

static const struct hv_disk *disk(const struct world *w, unsigned i)
{
	return hv_fwdisk(w->f, w->args.disks[i].controller,
			 w->args.disks[i].lun);
}

static int put(struct world *w, unsigned i, uint64_t lba, void *b, size_t len)
{
	const struct hv_disk *d = disk(w, i);
	const struct iovec iov[2] = {{b, len / 2},
				     {(uint8_t *)b + len / 2, len - len / 2}};

	return d->ops->write(d->arg, lba, iov, 2);
}

static int get(struct world *w, unsigned i, uint64_t lba, void *b, size_t len)
{
	const struct hv_disk *d = disk(w, i);
	const struct iovec iov = {b, len};

	return d->ops->read(d->arg, lba, &iov, 1);
}

static int flush(struct world *w, unsigned i)
{
	const struct hv_disk *d = disk(w, i);

	return d->ops->flush(d->arg);
}

static void what_is_written_is_read_back(void **state)
{
	struct world *w = *state;
	uint8_t out[2 * BLOCK], in[2 * BLOCK];

	started(w);
	assert_int_equal(disk(w, 0)->blocks, SIZE_BYTES / 512);
	assert_int_equal(disk(w, 0)->id[0], 1);
	memset(out, 0x5a, sizeof(out));
	assert_int_equal(put(w, 0, 7, out, sizeof(out)), 0);
	assert_int_equal(flush(w, 0), 0);
	assert_int_equal(get(w, 0, 7, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	/* the storage controller's own image has it, too */
	hv_fwdisks_forget(w->f, 0, 0);
	assert_int_equal(vhd_read(w->disks.img[0], 7 * 512, in, sizeof(in),
				  NULL), 0);
	assert_memory_equal(in, out, sizeof(in));
}

static void a_block_is_of_the_disk_s_size(void **state)
{
	struct world *w = *state;
	uint8_t b[2 * BLOCK];

	started(w);
	assert_int_equal(disk(w, 1)->blocks, SIZE_BYTES / BLOCK);
	assert_int_equal(get(w, 1, SIZE_BYTES / BLOCK - 2, b, 2 * BLOCK), 0);
	assert_int_equal(get(w, 1, SIZE_BYTES / BLOCK - 1, b, 2 * BLOCK),
			 -EINVAL);
	assert_int_equal(get(w, 1, 0, b, 512), -EINVAL);
	assert_int_equal(get(w, 0, SIZE_BYTES / 512 - 1, b, 512), 0);
	assert_int_equal(get(w, 0, SIZE_BYTES / 512, b, 512), -EINVAL);
	assert_int_equal(get(w, 0, UINT64_MAX, b, 512), -EINVAL);
	assert_int_equal(get(w, 0, 0, b, 0), -EINVAL);
}

static void a_call_of_too_many_pieces_is_refused(void **state)
{
	struct world *w = *state;
	const struct hv_disk *d = disk(w, 0);
	static uint8_t b[512];
	struct iovec iov[HV_DISK_IOV_MAX + 1];

	started(w);
	for (unsigned i = 0; i <= HV_DISK_IOV_MAX; i++)
		iov[i] = (struct iovec){b, sizeof(b)};
	assert_int_equal(d->ops->read(d->arg, 0, iov, HV_DISK_IOV_MAX), 0);
	assert_int_equal(d->ops->read(d->arg, 0, iov, HV_DISK_IOV_MAX + 1),
			 -EINVAL);
}

static void read_only_disks_and_empty_drives_say_so(void **state)
{
	struct world *w = *state;
	uint8_t b[BLOCK] = {0};

	started(w);
	assert_int_equal(put(w, 1, 0, b, BLOCK), -EROFS);
	assert_int_equal(flush(w, 1), 0);
	assert_true(disk(w, 2)->dvd);
	assert_int_equal(disk(w, 2)->block_bytes, 2048);
	assert_int_equal(get(w, 2, 0, b, 2048), -EINVAL);
}

static void writes_are_the_guest_s_while_it_has_the_controller(void **state)
{
	struct world *w = *state;
	uint8_t b[512] = {1};

	started(w);
	hv_fwdisks_guest_has(w->f, 1, true);
	assert_int_equal(put(w, 0, 0, b, 512), 0); /* the other one's */
	hv_fwdisks_guest_has(w->f, 0, true);
	assert_int_equal(put(w, 0, 0, b, 512), -EBUSY);
	assert_int_equal(get(w, 0, 0, b, 512), 0);
	assert_int_equal(flush(w, 0), 0);
	hv_fwdisks_guest_has(w->f, 0, false);
	assert_int_equal(put(w, 0, 0, b, 512), 0);
}

static void an_image_that_leaves_is_no_medium(void **state)
{
	struct world *w = *state;
	uint8_t b[512];

	started(w);
	assert_int_equal(get(w, 0, 0, b, 512), 0);
	hv_fwdisks_forget(w->f, 0, 0);
	assert_int_equal(get(w, 0, 0, b, 512), -ENOMEDIUM);
	assert_int_equal(put(w, 0, 0, b, 512), -ENOMEDIUM);
	hv_fwdisks_forget(w->f, 0, 0);
	hv_fwdisks_forget(NULL, 0, 0);
}

/* ------------------------------------------------------ the next machine */

/* What a place has now, as somebody who adds it would say. */
static void comes(struct world *w, unsigned controller, unsigned lun,
		  struct vhd *img, bool dvd)
{
	const struct hv_fwdisk_is is = {.img = img, .dvd = dvd,
					.id = {0x77}};
	struct vhd_err err;

	assert_int_equal(hv_fwdisks_put(w->f, controller, lun, &is, &err), 0);
}

static struct vhd *another(struct world *w, uint64_t bytes)
{
	const struct vhd_open_opts how = {.writable = true};
	struct vhd_create_opts o = {.format = VHD_FORMAT_FIXED,
				    .size_bytes = bytes};
	struct vhd_err err;
	struct vhd *img;

	snprintf(w->path, sizeof(w->path), "%s/more.vhd", dir);
	assert_int_equal(vhd_create(w->path, &o, &img, &err), 0);
	assert_int_equal(vhd_close(img, &err), 0);
	assert_int_equal(vhd_open(w->path, &how, &img, &err), 0);
	(void)unlink(w->path);
	return img;
}

static int read_there(struct world *w, unsigned controller, unsigned lun,
		      uint64_t lba, size_t len)
{
	const struct hv_disk *d = hv_fwdisk(w->f, controller, lun);
	static uint8_t b[BLOCK];
	const struct iovec iov = {b, len};

	return d->ops->read(d->arg, lba, &iov, 1);
}

static void a_disk_that_grew_is_larger_for_the_next_machine(void **state)
{
	struct vhd *img = another(*state, 64 << 10);
	struct world *w = *state;
	struct vhd_err err;

	comes(w, 3, 63, img, false);
	hv_fwdisks_renew(w->f);
	started(w);
	assert_int_equal(hv_fwdisks_hold(w->f, 3, 63, 60000, &err), 0);
	hv_fwdisks_renew(w->f); /* a reset waits for no host */
	if (vhd_grow(img, 128 << 10, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(hv_fwdisks_let_go(w->f, 3, 63, &err), 0);
	assert_int_equal(hv_fwdisk(w->f, 3, 63)->blocks, 128);
	assert_int_equal(read_there(w, 3, 63, 128, 512), -EINVAL);
	hv_fwdisks_renew(w->f);
	assert_int_equal(hv_fwdisk(w->f, 3, 63)->blocks, 256);
	assert_int_equal(read_there(w, 3, 63, 255, 512), 0);
	assert_int_equal(read_there(w, 3, 63, 256, 512), -EINVAL);
	hv_fwdisks_forget(w->f, 3, 63);
	assert_int_equal(vhd_close(img, &err), 0);
}

static void *reads(void *arg)
{
	static uint8_t b[512];

	return (void *)(intptr_t)get(arg, 0, 0, b, sizeof(b));
}

/* However long the image takes to grow: the guest opens its controllers, the
 * next who wants to hold it is told, and the machine can stop although a
 * processor waits.
 */
static void who_holds_the_images_holds_up_nobody_for_ever(void **state)
{
	struct world *w = *state;
	struct vhd_err err;
	pthread_t t;
	void *result;

	started(w);
	assert_int_equal(hv_fwdisks_hold(w->f, 0, 0, 1, &err), 0);
	hv_fwdisks_guest_has(w->f, 0, true);
	hv_fwdisks_guest_has(w->f, 0, false);
	assert_int_equal(hv_fwdisks_hold(w->f, 0, 1, 1, &err), -EBUSY);
	assert_int_equal(pthread_create(&t, NULL, reads, w), 0);
	hv_fwdisks_hurry(w->f, true);
	assert_int_equal(pthread_join(t, &result), 0);
	assert_int_equal((intptr_t)result, -ECANCELED);
	hv_fwdisks_hurry(w->f, false);
	assert_int_equal(hv_fwdisks_let_go(w->f, 0, 0, &err), 0);
	assert_int_equal((intptr_t)reads(w), 0);
}

static void the_list_is_of_the_disks_that_the_machine_began_with(void **state)
{
	struct vhd *added = another(*state, 64 << 10);
	struct world *w = *state;
	uint8_t b[512];

	started(w);
	for (unsigned i = 0; i < 3; i++)
		assert_ptr_equal(hv_fwdisks_nth(w->f, i), disk(w, i));
	assert_null(hv_fwdisks_nth(w->f, 3));

	comes(w, 0, 7, added, false);
	assert_null(hv_fwdisks_nth(w->f, 3));
	assert_true(read_there(w, 0, 7, 0, 512) < 0);
	hv_fwdisks_renew(w->f);
	assert_ptr_equal(hv_fwdisks_nth(w->f, 3), hv_fwdisk(w->f, 0, 7));
	assert_int_equal(hv_fwdisk(w->f, 0, 7)->blocks, 128);
	assert_int_equal(hv_fwdisk(w->f, 0, 7)->id[0], 0x77);
	assert_int_equal(read_there(w, 0, 7, 127, 512), 0);

	hv_fwdisks_forget(w->f, 0, 0);
	assert_ptr_equal(hv_fwdisks_nth(w->f, 0), disk(w, 0));
	assert_int_equal(get(w, 0, 0, b, 512), -ENOMEDIUM);
	hv_fwdisks_renew(w->f);
	assert_ptr_equal(hv_fwdisks_nth(w->f, 0), disk(w, 1));
	assert_ptr_equal(hv_fwdisks_nth(w->f, 2), hv_fwdisk(w->f, 0, 7));
	assert_null(hv_fwdisks_nth(w->f, 3));

	hv_fwdisks_forget(w->f, 0, 7);
	assert_int_equal(vhd_close(added, NULL), 0);
}

/* Nobody who was told of the former one may meet another disk there. */
static void another_disk_at_a_place_is_none_before_a_reset(void **state)
{
	struct vhd *added = another(*state, 64 << 10);
	struct world *w = *state;
	uint8_t b[512];

	started(w);
	hv_fwdisks_forget(w->f, 0, 0);
	comes(w, 0, 0, added, false);
	assert_int_equal(get(w, 0, 0, b, 512), -ENOMEDIUM);
	assert_int_equal(put(w, 0, 0, b, 512), -ENOMEDIUM);
	hv_fwdisks_renew(w->f);
	assert_int_equal(get(w, 0, 0, b, 512), 0);
	/* it came last, so it is the last one */
	assert_ptr_equal(hv_fwdisks_nth(w->f, 2), disk(w, 0));
	hv_fwdisks_forget(w->f, 0, 0);
	assert_int_equal(vhd_close(added, NULL), 0);
}

static void a_disc_that_is_changed_is_there_after_a_reset(void **state)
{
	struct vhd *disc = another(*state, 64 << 10);
	struct world *w = *state;

	started(w);
	assert_int_equal(disk(w, 2)->blocks, 0);
	comes(w, 1, 1, disc, true);
	assert_int_equal(disk(w, 2)->blocks, 0);
	hv_fwdisks_renew(w->f);
	assert_int_equal(disk(w, 2)->blocks, 32);
	assert_int_equal(read_there(w, 1, 1, 31, 2048), 0);
	assert_ptr_equal(hv_fwdisks_nth(w->f, 2), disk(w, 2));
	comes(w, 1, 1, NULL, true);
	assert_int_equal(read_there(w, 1, 1, 0, 2048), -ENOMEDIUM);
	assert_int_equal(vhd_close(disc, NULL), 0);
	hv_fwdisks_renew(w->f);
	assert_int_equal(disk(w, 2)->blocks, 0);
	assert_true(disk(w, 2)->dvd);
	assert_ptr_equal(hv_fwdisks_nth(w->f, 2), disk(w, 2));
}

/* The image is there already: the queue takes it once. */
static void a_disk_that_does_not_come_leaves_its_place_empty(void **state)
{
	struct hv_fwdisk_is is = {.img = NULL};
	struct world *w = *state;
	struct vhd_err err;

	for (unsigned i = 0; i < 2; i++) {
		is.img = w->disks.img[0];
		assert_int_equal(hv_fwdisks_put(w->f, 0, 9, &is, &err),
				 -EEXIST);
		hv_fwdisks_renew(w->f);
		assert_null(hv_fwdisks_nth(w->f, 3));
		is.dvd = true;
		assert_int_equal(hv_fwdisks_put(w->f, 0, 9, &is, &err),
				 -EEXIST);
		hv_fwdisks_renew(w->f);
		assert_int_equal(hv_fwdisks_nth(w->f, 3)->blocks, 0);
		hv_fwdisks_forget(w->f, 0, 9);
		is.dvd = false;
		if (i == 0)
			started(w);
	}
	assert_int_equal(hv_fwdisks_put(NULL, 0, 9, &is, &err), 0);
	hv_fwdisks_renew(NULL);
}

static void in_a_hurry_nothing_is_begun(void **state)
{
	struct world *w = *state;
	uint8_t b[512];

	assert_int_equal(get(w, 0, 0, b, 512), -ECANCELED); /* no thread yet */
	started(w);
	hv_fwdisks_hurry(w->f, true);
	assert_int_equal(get(w, 0, 0, b, 512), -ECANCELED);
	hv_fwdisks_hurry(w->f, false);
	assert_int_equal(get(w, 0, 0, b, 512), 0);
}

static int barred(enum vhd_engine engine, struct vhd_err *err)
{
	(void)engine;
	return vhd_fail(err, -EPERM, VHD_WHY_SYSTEM, 0, "no");
}

static void a_thread_that_may_not_begin_is_told(void **state)
{
	struct world *w = *state;
	struct vhd_err err;
	uint8_t b[512];

	assert_int_equal(hv_fwdisks_start(w->f, barred, &err), -EPERM);
	assert_string_equal(err.text, "no");
	assert_int_equal(get(w, 0, 0, b, 512), -ECANCELED);
	hv_fwdisks_forget(w->f, 0, 0);
}

/* ---------------------------------------------------- several processors */

struct cpu {
	struct world *w;
	unsigned number;
	bool ok;
};

static void *work(void *arg)
{
	struct cpu *c = arg;
	uint8_t out[512], in[512];

	c->ok = true;
	for (unsigned i = 0; i < 100; i++) {
		uint64_t lba = 1000 * c->number + i;

		memset(out, (int)(c->number * 50 + i), sizeof(out));
		c->ok = c->ok && put(c->w, 0, lba, out, 512) == 0 &&
			get(c->w, 0, lba, in, 512) == 0 &&
			memcmp(in, out, 512) == 0;
	}
	return NULL;
}

static void several_processors_take_turns(void **state)
{
	struct world *w = *state;
	pthread_t t[4];
	struct cpu c[4];

	started(w);
	for (unsigned i = 0; i < 4; i++) {
		c[i] = (struct cpu){.w = w, .number = i};
		assert_int_equal(pthread_create(&t[i], NULL, work, &c[i]), 0);
	}
	for (unsigned i = 0; i < 20; i++)
		hv_fwdisks_guest_has(w->f, 1, i % 2 == 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_true(c[i].ok);
	}
}

/* ------------------------------------------- servers that do not answer - */

/* Disk 0 is on a server. */
struct served {
	struct world *w;
	struct fixture f;
	pthread_t thread;
	enum vhd_op op;
	int result;
	atomic_bool over;
};

static int serve(void **state)
{
	struct served *s = calloc(1, sizeof(*s));
	struct vhd_err err;
	void *world;

	set_up(&world);
	s->w = world;
	hv_fwdisks_destroy(s->w->f);
	assert_int_equal(vhd_close(s->w->disks.img[0], &err), 0);
	fakenbd_init(&s->f.server, ROOM);
	s->f.how = (struct nbd_how){
		.reconnect_ms = VHD_NBD_FOREVER,
		.answer_ms = VHD_NBD_FOREVER,
		.writable = true,
		.socket = fakenbd_connect,
		.socket_arg = &s->f.server,
	};
	s->w->disks.img[0] = open_image(&s->f, VHD_FORMAT_RAW);
	if (hv_fwdisks_create(&s->w->disks, NULL, &s->w->f, &err) < 0)
		fail_msg("%s", err.text);
	*state = s;
	return 0;
}

static int serve_no_more(void **state)
{
	struct served *s = *state;
	void *world = s->w;

	hv_fwdisks_destroy(s->w->f);
	s->w->f = NULL;
	vhd_hurry(s->w->disks.img[0], 1);
	(void)vhd_close(s->w->disks.img[0], NULL); /* the server may be lost */
	s->w->disks.img[0] = NULL;
	tear_down(&world);
	fakenbd_fini(&s->f.server);
	free(s);
	return 0;
}

/* No call that a thread in the sandbox may not have. */
static int confined(enum vhd_engine engine, struct vhd_err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	(void)engine;
	(void)err;
	if (!ctx ||
	    seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS,
			     SCMP_SYS(epoll_create1), 0) ||
	    seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(epoll_ctl),
			     0) ||
	    seccomp_load(ctx))
		return vhd_fail(err, -EPERM, VHD_WHY_SYSTEM, 0, "no filter");
	seccomp_release(ctx);
	return 0;
}

static void *ask_one(void *arg)
{
	struct served *s = arg;
	uint8_t b[512] = {0};

	s->result = s->op == VHD_OP_READ ? get(s->w, 0, 0, b, 512)
					 : put(s->w, 0, 0, b, 512);
	atomic_store(&s->over, true);
	return NULL;
}

/* The answer is waited for: it does not come before it is. */
static void a_disk_on_a_server_is_read_in_the_sandbox(void **state)
{
	struct served *s = *state;
	struct vhd_err err;

	assert_int_equal(hv_fwdisks_start(s->w->f, confined, &err), 0);
	pthread_mutex_lock(&s->f.server.lock);
	s->f.server.hold = true;
	pthread_mutex_unlock(&s->f.server.lock);
	s->op = VHD_OP_READ;
	assert_int_equal(pthread_create(&s->thread, NULL, ask_one, s), 0);
	fakenbd_await(&s->f.server, FAKENBD_READ, 1);
	fakenbd_release(&s->f.server);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	assert_int_equal(s->result, 0);
}

/* A request that the server has, and keeps. */
static void hang(struct served *s, enum vhd_op op)
{
	bool write = op == VHD_OP_WRITE;
	unsigned n = write ? FAKENBD_WRITE : FAKENBD_READ;
	unsigned before = fakenbd_count(&s->f.server, n);

	fakenbd_hush(&s->f.server, 64);
	s->op = op;
	atomic_store(&s->over, false);
	assert_int_equal(pthread_create(&s->thread, NULL, ask_one, s), 0);
	fakenbd_await(&s->f.server, n, before + 1);
}

static int hung_result(struct served *s)
{
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	fakenbd_hush(&s->f.server, 0);
	return s->result;
}

static void a_guest_opens_a_controller_while_another_s_disk_hangs(void **state)
{
	struct served *s = *state;

	started(s->w);
	hang(s, VHD_OP_WRITE);
	hv_fwdisks_guest_has(s->w->f, 1, true);
	assert_false(atomic_load(&s->over));
	hv_fwdisks_hurry(s->w->f, true); /* the machine stops */
	assert_true(hung_result(s) < 0);
	hv_fwdisks_hurry(s->w->f, false);
	assert_int_equal(put(s->w, 0, 0, (uint8_t[512]){0}, 512), 0);
}

static void a_write_that_hangs_ends_before_the_guest_s_begin(void **state)
{
	struct served *s = *state;

	started(s->w);
	hang(s, VHD_OP_WRITE);
	hv_fwdisks_guest_has(s->w->f, 0, true);
	assert_true(hung_result(s) < 0);
	assert_int_equal(put(s->w, 0, 0, (uint8_t[512]){0}, 512), -EBUSY);
}

static void an_image_leaves_where_a_request_hangs(void **state)
{
	struct served *s = *state;

	started(s->w);
	hang(s, VHD_OP_READ);
	assert_int_equal(hv_fwdisks_hold(s->w->f, 0, 0, 60000, NULL), 0);
	assert_int_equal(hv_fwdisks_let_go(s->w->f, 0, 0, NULL), 0);
	assert_true(hung_result(s) < 0);
	assert_int_equal(get(s->w, 0, 0, (uint8_t[512]){0}, 512), 0);
	hang(s, VHD_OP_READ);
	hv_fwdisks_forget(s->w->f, 0, 0);
	assert_true(hung_result(s) < 0);
}

int main(void)
{
#define SERVED(f) cmocka_unit_test_setup_teardown(f, serve, serve_no_more)
#define WORLD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WORLD(what_is_written_is_read_back),
		WORLD(a_block_is_of_the_disk_s_size),
		WORLD(a_call_of_too_many_pieces_is_refused),
		WORLD(read_only_disks_and_empty_drives_say_so),
		WORLD(writes_are_the_guest_s_while_it_has_the_controller),
		WORLD(an_image_that_leaves_is_no_medium),
		WORLD(a_disk_that_grew_is_larger_for_the_next_machine),
		WORLD(who_holds_the_images_holds_up_nobody_for_ever),
		WORLD(the_list_is_of_the_disks_that_the_machine_began_with),
		WORLD(another_disk_at_a_place_is_none_before_a_reset),
		WORLD(a_disc_that_is_changed_is_there_after_a_reset),
		WORLD(a_disk_that_does_not_come_leaves_its_place_empty),
		WORLD(in_a_hurry_nothing_is_begun),
		WORLD(a_thread_that_may_not_begin_is_told),
		WORLD(several_processors_take_turns),
		SERVED(a_disk_on_a_server_is_read_in_the_sandbox),
		SERVED(a_guest_opens_a_controller_while_another_s_disk_hangs),
		SERVED(a_write_that_hangs_ends_before_the_guest_s_begin),
		SERVED(an_image_leaves_where_a_request_hangs),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return failed;
}
