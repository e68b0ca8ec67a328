/* SPDX-License-Identifier: BSD-2-Clause */
#include "scsitask.h"

#include <string.h>

void task_init(struct task *k, uint32_t buffer_bytes, uint8_t data_in)
{
	memset(k, 0, sizeof(*k));
	k->switches.sectors = TASK_SECTORS;
	k->disk.switches = &k->switches;
	storvsp_reserve_init(&k->switches.reserve,
			     &(struct storvsp_disk_opts){0});
	for (unsigned i = 0; i < 16; i++)
		k->disk.unique_id[i] = (uint8_t)i;
	storvsp_luns_add(&k->luns, &k->disk);
	k->t.buffer_bytes = buffer_bytes;
	k->t.data_in = data_in;
	k->t.max_transfer_bytes = 2u << 20;
	memset(k->t.reply, 0xEE, sizeof(k->t.reply));
}

enum scsi_verdict task_run(struct task *k, uint8_t lun, const void *cdb,
			   uint8_t n)
{
	struct scsi_task *t = &k->t;

	t->luns = &k->luns;
	t->lun = lun;
	t->disk = storvsp_luns_find(&k->luns, t->path, t->target, lun);
	memset(t->cdb, 0, sizeof(t->cdb));
	memcpy(t->cdb, cdb, n);
	return scsi_run(t, n);
}
