/* SPDX-License-Identifier: BSD-2-Clause */
/* A VSP in manual mode with one dynamic disk of 8 MiB in memory, its queue on
 * the sync engine, and a guest that has opened the primary channel.
 */
#ifndef TESTS_LIB_PLAINVSP_H
#define TESTS_LIB_PLAINVSP_H

#include "tests/lib/qtest.h"
#include "tests/lib/vsc.h"

#define DISK_BYTES (8u << 20)
#define SECTORS	   (DISK_BYTES / SECTOR)

struct world {
	struct vsc *v;
	struct vsc_channel *c;
	struct memfile *m;
	struct vhd *img;
	struct vsc_buffer b;
};

static inline void start_with(struct world *w, struct vsc_opts opts)
{
	opts.vsp.engine = VHD_ENGINE_SYNC;
	w->m = memfile_create();
	w->img = qtest_create_mem(memfile_file(w->m), VHD_FORMAT_DYNAMIC,
				  DISK_BYTES, 512 << 10);
	w->v = vsc_create(&opts);
	vsc_disk(w->v, w->img, 0, 0, 0, false);
	w->c = vsc_open(w->v, 0);
	assert_non_null(w->c);
	vsc_buffer_init(w->v, &w->b, VSC_BUFFER_PAGES);
}

static inline void start(struct world *w)
{
	start_with(w, (struct vsc_opts){0});
}

static inline void stop(struct world *w)
{
	vsc_destroy(w->v);
	qtest_close(w->img);
	memfile_destroy(w->m);
}

static inline void run_rw(struct world *w, bool write, uint64_t lba,
			  uint32_t sectors, bool fua)
{
	struct vsc_cmd cmd = vsc_rw(write, 0, lba, sectors, fua, &w->b);
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length),
			 sectors * SECTOR);
}

#endif
