/* SPDX-License-Identifier: BSD-2-Clause */
/* The disks of a running guest, as requests see them: what ctl_disk.c, which
 * changes them, and ctl_look.c, which tells of them, share. All of it belongs
 * to the server's thread but for the flags that notices set.
 */
#ifndef TOOLS_HV_CTL_DISK_INT_H
#define TOOLS_HV_CTL_DISK_INT_H

#include <semaphore.h>
#include <stdatomic.h>

#include "ctl.h"

enum ctl_disk_state { CTL_ABSENT, CTL_SERVED, CTL_LEAVING };

struct ctl_disk {
	enum ctl_disk_state state;
	struct vhd *img;
	struct hv_keeper *keeper; /* of one that was added; or NULL */
	int initial; /* its index in hv_disks, or -1: it was added */
	char name[CTL_TEXT_MAX];
	bool read_only, dvd;
	struct vhd *old; /* the disc that was in the drive before, or NULL */
	uint8_t id[16];
	uint64_t left; /* number of the removal that left this LUN; 0: none */
	sem_t told; /* posted with each notice */
	atomic_bool free, idle;
};

struct ctl_disks {
	struct hv_disks *disks;
	struct hv_controllers *controllers;
	struct ctl_disk at[HV_CONTROLLERS_MAX][HV_LUNS_MAX];
	uint64_t removals;
	struct storvsp_disk_stats seen; /* of the disk looked at last */
};

static inline struct ctl_disk *ctl_disk_at(struct ctl_disks *d,
					   const struct ctl_request *r)
{
	return &d->at[r->controller][r->lun];
}

static inline struct storvsp *ctl_controller(struct ctl_disks *d,
					     const struct ctl_request *r)
{
	return d->controllers->vsp[r->controller];
}

static inline struct storvsp_address ctl_place(unsigned controller,
					       unsigned lun)
{
	if (hv_is_ide(controller))
		return hv_ide_address(controller);
	return (struct storvsp_address){.lun = (uint8_t)lun};
}

static inline struct storvsp_address ctl_address(const struct ctl_request *r)
{
	return ctl_place(r->controller, r->lun);
}

/* ---------------------------------------------------------- ctl_look.c --- */

/* What the controller counts of a disk, or of one that is gone, zeros. */
const struct storvsp_disk_stats *ctl_look_at(struct ctl_disks *d, unsigned c,
					     unsigned lun);

/* Parts of answers. */
void ctl_put_number(struct json_object *o, const char *key, uint64_t n);
void ctl_put_place(struct json_object *o, unsigned controller, unsigned lun);
void ctl_put_limits(struct json_object *o, const struct storvsp_limits *l);

/* The answers to LIST and STATS. */
struct json_object *ctl_list(struct ctl_disks *d);
struct json_object *ctl_stats(struct ctl_disks *d, const struct ctl_request *r);

#endif
