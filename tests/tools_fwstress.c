/* SPDX-License-Identifier: BSD-2-Clause */
/* All that reaches the disks of firmware at once: processors that read and
 * write, the control thread that resets the machine again and again and hands
 * controllers to the guest's driver, hv ctl that adds, removes and grows disks.
 * Each request ends once, and what was written is what is read, by this door
 * and after the end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tools/hv/fwdisk.h"

enum { CPUS = 3, SECTORS = 64, REQUESTS = 1500, GROWTHS = 40 };
#define SIZE_BYTES (8u << 20)

struct world {
	struct hv_args args;
	struct hv_disks disks;
	struct hv_fwdisks *f;
	/* A processor's call holds it for reading, a reset for writing. */
	pthread_rwlock_t running;
	atomic_bool over;
};

struct cpu {
	struct world *w;
	pthread_t thread;
	uint64_t base; /* its own sectors of disk 0 */
	bool may[SECTORS][256]; /* be, each of its bytes */
	unsigned done, wrong;
	uint64_t seed;
};

static struct vhd *image(const char *dir, unsigned i)
{
	struct vhd_create_opts o = {.format = VHD_FORMAT_DYNAMIC,
				    .size_bytes = SIZE_BYTES};
	struct vhd_err err;
	struct vhd *img;
	char path[64];

	snprintf(path, sizeof(path), "%s/%u.vhd", dir, i);
	assert_int_equal(vhd_create(path, &o, &img, &err), 0);
	(void)unlink(path);
	return img;
}

static void must_be(struct cpu *c, unsigned i, uint8_t val)
{
	memset(c->may[i], 0, sizeof(c->may[i]));
	c->may[i][val] = true;
}

/* What a cancelled request left is old or new. */
static void one(struct cpu *c, uint64_t r)
{
	const struct hv_disk *d = hv_fwdisk(c->w->f, 0, 0);
	unsigned i = (unsigned)(r >> 8) % SECTORS;
	uint8_t b[512];
	const struct iovec iov = {b, sizeof(b)};
	int rc;

	switch (r & 7) {
	case 0:
		rc = d->ops->flush(d->arg);
		c->wrong += rc != 0 && rc != -ECANCELED;
		return;
	case 1:
	case 2:
	case 3:
		memset(b, (int)(r >> 32 & 0xff), sizeof(b));
		rc = d->ops->write(d->arg, c->base + i, &iov, 1);
		c->wrong += rc != 0 && rc != -ECANCELED && rc != -EBUSY;
		c->may[i][b[0]] = true;
		if (rc == 0)
			must_be(c, i, b[0]);
		return;
	default:
		rc = d->ops->read(d->arg, c->base + i, &iov, 1);
		c->wrong += rc != 0 && rc != -ECANCELED;
		if (rc)
			return;
		c->wrong += !c->may[i][b[0]] || b[0] != b[511];
		must_be(c, i, b[0]);
	}
}

static void *processor(void *arg)
{
	struct cpu *c = arg;

	for (; c->done < REQUESTS; c->done++) {
		pthread_rwlock_rdlock(&c->w->running);
		one(c, random_next(&c->seed));
		pthread_rwlock_unlock(&c->w->running);
	}
	return NULL;
}

static void *control(void *arg)
{
	struct world *w = arg;

	for (unsigned n = 0; !atomic_load(&w->over); n++) {
		hv_fwdisks_guest_has(w->f, 0, true);
		hv_fwdisks_guest_has(w->f, 0, false);
		if (n % 4)
			continue;
		hv_fwdisks_hurry(w->f, true);
		pthread_rwlock_wrlock(&w->running);
		hv_fwdisks_renew(w->f);
		hv_fwdisks_hurry(w->f, false);
		pthread_rwlock_unlock(&w->running);
	}
	return NULL;
}

/* Disk 0 grows, another one comes and goes. */
static void *ctl(void *arg)
{
	struct world *w = arg;
	struct hv_fwdisk_is is = {.img = w->disks.img[1]};
	uint64_t size = SIZE_BYTES;
	unsigned *faults = calloc(1, sizeof(*faults));
	struct vhd_err err;

	for (unsigned n = 0; n < GROWTHS; n++) {
		*faults += hv_fwdisks_put(w->f, 0, 1, &is, &err) != 0;
		*faults += hv_fwdisks_hold(w->f, 0, 0, 60000, &err) != 0;
		size += 1u << 20;
		*faults += vhd_grow(w->disks.img[0], size, &err) != 0;
		*faults += hv_fwdisks_let_go(w->f, 0, 0, &err) != 0;
		hv_fwdisks_forget(w->f, 0, 1);
	}
	return faults;
}

static void start(struct world *w, const char *dir)
{
	struct vhd_err err;

	w->args.disk_count = 1;
	w->disks.args = &w->args;
	w->disks.img[0] = image(dir, 0);
	w->disks.img[1] = image(dir, 1);
	pthread_rwlock_init(&w->running, NULL);
	assert_int_equal(hv_fwdisks_create(&w->disks, NULL, &w->f, &err), 0);
	assert_int_equal(hv_fwdisks_start(w->f, NULL, &err), 0);
}

static void check_after(struct world *w, const struct cpu *c)
{
	uint8_t b[512];
	struct vhd_err err;

	assert_int_equal(c->wrong, 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		assert_int_equal(vhd_read(w->disks.img[0], (c->base + i) * 512,
					  b, 512, &err), 0);
		assert_true(c->may[i][b[0]]);
	}
}

static void whoever_comes_each_request_ends_once_and_data_stay(void **state)
{
	static struct world w;
	static struct cpu c[CPUS];
	char dir[] = "/tmp/tools_fwstress.XXXXXX";
	pthread_t control_thread, ctl_thread;
	void *faults;
	struct vhd_err err;

	(void)state;
	assert_non_null(mkdtemp(dir));
	start(&w, dir);
	assert_int_equal(rmdir(dir), 0);
	for (unsigned i = 0; i < CPUS; i++) {
		c[i] = (struct cpu){.w = &w, .base = 1000 * i, .seed = i + 1};
		for (unsigned j = 0; j < SECTORS; j++)
			must_be(&c[i], j, 0);
		assert_int_equal(pthread_create(&c[i].thread, NULL, processor,
						&c[i]), 0);
	}
	assert_int_equal(pthread_create(&control_thread, NULL, control, &w), 0);
	assert_int_equal(pthread_create(&ctl_thread, NULL, ctl, &w), 0);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pthread_join(c[i].thread, NULL), 0);
	assert_int_equal(pthread_join(ctl_thread, &faults), 0);
	atomic_store(&w.over, true);
	assert_int_equal(pthread_join(control_thread, NULL), 0);
	assert_int_equal(*(unsigned *)faults, 0);
	free(faults);
	hv_fwdisks_destroy(w.f);
	for (unsigned i = 0; i < CPUS; i++)
		check_after(&w, &c[i]);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vhd_close(w.disks.img[i], &err), 0);
	pthread_rwlock_destroy(&w.running);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			whoever_comes_each_request_ends_once_and_data_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
