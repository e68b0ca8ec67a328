/* SPDX-License-Identifier: BSD-2-Clause */
#include "simvsp.h"

static int make_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	struct simvsp *w = arg;
	struct simengine *s;

	(void)err;
	if (w->engines == SIMVSP_ENGINES)
		abort();
	s = simengine_create(&w->sim_opts);
	w->sim[w->engines++] = s;
	return simengine_queue(s, 64, out);
}

void simvsp_start(struct simvsp *w, const struct vsc_opts *opts,
		  const struct sim_opts *sim)
{
	struct vsc_opts o = opts ? *opts : (struct vsc_opts){0};

	*w = (struct simvsp){0};
	if (sim)
		w->sim_opts = *sim;
	o.vsp.queue_create = make_queue;
	o.vsp.queue_arg = w;
	w->v = vsc_create(&o);
	for (unsigned i = 0; i < 2; i++) {
		w->m[i] = memfile_create();
		w->img[i] = qtest_create_mem(memfile_file(w->m[i]),
					     i ? VHD_FORMAT_FIXED
					       : VHD_FORMAT_DYNAMIC,
					     SIMVSP_BYTES, 512 << 10);
		vsc_disk(w->v, w->img[i], 0, 0, (uint8_t)i, false);
	}
	w->c = vsc_open(w->v, 0);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
	vsc_buffer_init(w->v, &w->b, 16);
}

void simvsp_stop(struct simvsp *w)
{
	vsc_destroy(w->v);
	for (unsigned i = 0; i < w->engines; i++) {
		assert_int_equal(simengine_in_flight(w->sim[i]), 0);
		simengine_destroy(w->sim[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (vhd_flush(w->img[i], NULL))
			vhd_abandon(w->img[i]);
		else
			qtest_close(w->img[i]);
		memfile_destroy(w->m[i]);
	}
}

struct vsc_channel *simvsp_sub(struct simvsp *w, uint16_t index)
{
	struct vsc_channel *c = vsc_open(w->v, index);

	assert_non_null(c);
	return c;
}

uint64_t simvsp_send(struct simvsp *w, struct vsc_channel *c, char what,
		     uint8_t lun, uint64_t lba)
{
	struct vsc_cmd cmd =
		vsc_rw(what != 'r', lun, lba, 8, what == 'f', &w->b);
	uint64_t id;

	if (what == 's')
		cmd = (struct vsc_cmd){.lun = lun,
				       .cdb = {0x35},
				       .data_in = STORVSP_DATA_NONE};
	if (what == 'z')
		cmd = (struct vsc_cmd){.lun = lun,
				       .cdb = {0x93, 0x01, [5] = (uint8_t)(lba >> 32),
					       [6] = (uint8_t)(lba >> 24),
					       [7] = (uint8_t)(lba >> 16),
					       [8] = (uint8_t)(lba >> 8),
					       [9] = (uint8_t)lba, [13] = 8},
				       .data_in = STORVSP_DATA_NONE};
	id = vsc_start(c, &cmd);
	assert_true(id != 0);
	return id;
}

uint64_t simvsp_reset(struct vsc_channel *c, uint32_t op, uint8_t path,
		      uint8_t target, uint8_t lun)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(op),
		.flags = le32_put(1),
		.u.request.path = path,
		.u.request.target = target,
		.u.request.lun = lun,
	};
	uint64_t id = vsc_send(c, &p, sizeof(p), NULL, 0);

	assert_true(id != 0);
	return id;
}

void simvsp_expect(struct vsc_channel *c, uint64_t id, const char *outcome)
{
	struct vsc_answer a;

	assert_true(vsc_recv(c, &a));
	assert_int_equal(a.id, id);
	if (!strcmp(outcome, "good")) {
		assert_true(vsc_good(&a));
	} else if (!strcmp(outcome, "aborted")) {
		assert_int_equal(vsc_status(&a).srb, 0x82);
		assert_int_equal(vsc_status(&a).scsi, 0x02);
		assert_int_equal(vsc_status(&a).key, 0xB);
		assert_int_equal(le32_get(a.p.status), 0xC0000120);
	} else {
		assert_int_equal(le32_get(a.p.status), 0);
		assert_int_equal(a.p.u.request.srb_status, 0);
	}
}

void simvsp_quiet(struct vsc_channel *c)
{
	struct vsc_answer a;

	assert_false(vsc_recv(c, &a));
}

void simvsp_hold(struct simvsp *w, bool held)
{
	for (unsigned i = 0; i < w->engines; i++)
		simengine_hold(w->sim[i], held);
}
