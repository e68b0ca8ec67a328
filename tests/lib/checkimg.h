/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of checking and repairing share: the findings of a check kept
 * for looking at, images that have more parts than vhdimg.h's, and a table of
 * damages.
 */
#ifndef TESTS_LIB_CHECKIMG_H
#define TESTS_LIB_CHECKIMG_H

#include "tests/lib/cm.h"
#include "tests/lib/vhdimg.h"
#include "vhd/check.h"

#define MIB (1u << 20)

#define FOUND_MAX   64
#define FOUND_NOW_S 1700000000

struct found {
	struct vhd_finding f[FOUND_MAX];
	unsigned count;
	struct vhd_check_result r;
	struct vhd_err err;
	int rc;
};

/* Check with these options, findings into `all`; or with everything. */
void found_by(struct memfile *m, struct vhd_check_opts *o, struct found *all);
void found_in(struct memfile *m, struct found *all);
const struct vhd_finding *found_find(const struct found *all,
				     enum vhd_finding_code code);
/* Errors and warnings. */
uint64_t found_faults(const struct found *all);

void img_poke(struct memfile *m, const void *b, size_t len, uint64_t off);
void img_poke_zeros(struct memfile *m, size_t len, uint64_t off);
uint64_t img_end(const struct memfile *m); /* of a trailing footer */

/* Four blocks of 1 MiB, three of them used: 2, 0, 3 in the file's order. */
#define IMG_THREE_BYTES (4u << 20)
extern const uint32_t img_three_order[3];
struct memfile *img_three(void);
/* Its block 0 gets a bitmap with a 0 over data. */
void img_hide_sector(struct memfile *m);

/* blktap's: four blocks, all full, the batmap at IMG_BATMAP. */
#define IMG_BATMAP (IMG_TABLE + 512)
struct memfile *img_blktap(uint8_t map);

/* img_three as a differencing disk over `p.vhd`. */
struct memfile *img_child(void);

/* One damage to img_three and the finding that tells of it. */
struct img_damage {
	const char *what;
	void (*harm)(struct memfile *m);
	enum vhd_finding_code code;
	enum vhd_severity severity;
	uint32_t hresult;
	uint64_t at; /* or IMG_ANYWHERE */
	uint64_t block;
};

#define IMG_ANYWHERE UINT64_MAX

extern const struct img_damage img_damages[];
extern const size_t img_damage_count;
/* The one of this name. */
void img_harm(struct memfile *m, const char *what);

#endif
